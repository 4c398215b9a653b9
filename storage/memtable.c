/* A B+ tree of wide nodes. A skip list meets about twenty keys on its way to one, each on a cache line of its own; here
 * a node keeps the first eight bytes of its keys side by side, so a step down costs two or three lines, and only keys
 * that agree in these bytes (the entries of one conversation) are compared in full.
 *
 *   inner   first[0] ... first[n-1]   the least key of each child when that child was split off
 *           child[0] ... child[n-1]
 *   leaf    first[0] ... first[n-1]  ->  entries in the arena: length, flags, key, value
 *           next -> the leaf to the right, and its first key's first eight bytes
 *
 * An inner node's first[0] is never asked: keys below it come to child[0] all the same, and when that is split, the new
 * separator beside it may be below it.
 *
 * Who knows the leaf of a key, or of one beside it (memtable_near), begins there: what belongs to a leaf is all from
 * its first key to the next one's, which are the separators above them, so they don't change. Only keys below all
 * others come before the first key of a leaf, and only a split needs the way from the root.
 *
 * Nothing is ever taken out, so there is no merging of nodes, and an entry that was replaced stays where separators in
 * inner nodes may still point at it.
 *
 * What is put late lies in the arena like all else, and in a list in the order of coming. It is sorted by heads, byte
 * by byte, then where heads are equal by keys; both keep the order of coming among equals. Each key then falls beside
 * the one before, mostly behind all that are there. */
#include "storage/memtable.h"
#include <assert.h>

enum { WIDTH = 64, HEIGHT_MAX = 10 }; /* half full nodes: 32^10 keys */
enum { HEAD_BYTES = 8, LATE_MIN = 1024, FETCH_AHEAD = 8 };

struct memtable_entry {
    uint32_t value_len;
    uint8_t key_len;
    bool is_tombstone;
    bool is_replaced; /* another stands in its place: it is a separator at most */
    char bytes[];     /* key, value */
};

struct keys {
    unsigned n;
    uint64_t head[WIDTH]; /* the key's first 8 bytes, big endian, zeros behind a short one */
    struct memtable_entry *entry[WIDTH];
};

struct memtable_leaf {
    struct memtable_leaf *next;
    uint64_t end; /* the head of next's first key; all ones without a next */
    struct keys keys;
};

struct inner {
    struct keys keys;
    void *child[WIDTH]; /* leaves in the lowest inner nodes */
};

struct late {
    uint64_t head;
    struct memtable_entry *entry;
};

struct memtable {
    struct arena arena;
    size_t bytes, count;
    unsigned height; /* inner nodes above a leaf */
    void *root;
    struct memtable_leaf *last; /* the rightmost */
    struct late *late;          /* in the order of coming */
    size_t n_late, cap_late;
};

/* The way from the root to a leaf, for splits. */
struct path {
    struct inner *node[HEIGHT_MAX];
    unsigned at[HEIGHT_MAX];
};

static void *take(struct memtable *m, size_t bytes)
{
    m->bytes += bytes;
    return arena_alloc(&m->arena, bytes);
}

void memtable_create(struct memtable **out)
{
    struct memtable *m = mem_new(struct memtable);
    m->last = take(m, sizeof(struct memtable_leaf));
    m->last->end = UINT64_MAX;
    m->root = m->last;
    *out = m;
}

void memtable_destroy(struct memtable *m)
{
    if (!m)
        return;
    arena_deinit(&m->arena);
    mem_free(m->late);
    mem_free(m);
}

static struct str key_of(const struct memtable_entry *e) { return str_of(e->bytes, e->key_len); }

/* How many of the heads are below, not asking those before `lo`. Without branches that can't be foreseen. */
static unsigned heads_below(const struct keys *k, unsigned lo, uint64_t head)
{
    const uint64_t *at = k->head + lo;
    unsigned n = k->n - lo;
    if (n == 0)
        return lo;
    for (unsigned half; n > 1; n -= half) {
        half = n / 2;
        at = at[half - 1] < head ? at + half : at;
    }
    return (unsigned)(at - k->head) + (*at < head);
}

/* How many heads from lo on are not above. */
static unsigned heads_up_to(const struct keys *k, unsigned lo, uint64_t head)
{
    return head == UINT64_MAX ? k->n : heads_below(k, lo, head + 1);
}

/* How many of the keys are less than `key`, not asking those before `lo`; *is_there: the next one equals it. Entries
 * are looked at only where heads are equal, and of these the last one first: a conversation's next entry stands behind
 * its others. */
static unsigned keys_below(const struct keys *k, unsigned lo, struct str key, uint64_t head, bool *is_there)
{
    lo = heads_below(k, lo, head);
    *is_there = false;
    if (lo == k->n || k->head[lo] != head)
        return lo;
    unsigned hi = heads_up_to(k, lo, head);
    for (unsigned at = hi - 1; lo < hi; at = (lo + hi) / 2) {
        int c = str_cmp(key_of(k->entry[at]), key);
        if (c < 0) {
            lo = at + 1;
        } else {
            hi = at;
            *is_there = *is_there || c == 0;
        }
    }
    return lo;
}

static struct memtable_leaf *find_leaf(const struct memtable *m, struct str key, uint64_t head, struct path *path)
{
    void *node = m->root;
    for (unsigned h = 0; h < m->height; h++) {
        struct inner *in = node;
        bool is_there;
        unsigned i = keys_below(&in->keys, 1, key, head, &is_there);
        i -= !is_there; /* the child before the first separator above the key */
        if (path) {
            path->node[h] = in;
            path->at[h] = i;
        }
        node = in->child[i];
        for (unsigned line = 0; line < WIDTH; line += 8) /* the search would ask for one after the other */
            __builtin_prefetch(&((const struct keys *)node)->head[line]);
    }
    return node;
}

static void keys_insert(struct keys *k, unsigned at, uint64_t head, struct memtable_entry *e)
{
    memmove(&k->head[at + 1], &k->head[at], (k->n - at) * sizeof(k->head[0]));
    memmove(&k->entry[at + 1], &k->entry[at], (k->n - at) * sizeof(k->entry[0]));
    k->head[at] = head;
    k->entry[at] = e;
    k->n++;
}

/* Moves the keys from `at` on to an empty node. */
static void keys_split(struct keys *from, unsigned at, struct keys *to)
{
    to->n = from->n - at;
    memcpy(to->head, &from->head[at], to->n * sizeof(to->head[0]));
    memcpy(to->entry, &from->entry[at], to->n * sizeof(to->entry[0]));
    from->n = at;
}

static void inner_insert(struct inner *in, unsigned at, uint64_t head, struct memtable_entry *e, void *child)
{
    memmove(&in->child[at + 1], &in->child[at], (in->keys.n - at) * sizeof(in->child[0]));
    in->child[at] = child;
    keys_insert(&in->keys, at, head, e);
}

static void grow_root(struct memtable *m, const struct keys *left, const struct keys *right, void *right_node)
{
    struct inner *root = take(m, sizeof(*root));
    assert(m->height < HEIGHT_MAX);
    inner_insert(root, 0, left->head[0], left->entry[0], m->root);
    inner_insert(root, 1, right->head[0], right->entry[0], right_node);
    m->root = root;
    m->height++;
}

/* Hangs `node`, split off to the right of `left`, whose parent is path->node[h - 1], into the tree. */
static void hang(struct memtable *m, struct path *path, unsigned h, const struct keys *left, const struct keys *right,
                 void *node)
{
    if (h == 0) {
        grow_root(m, left, right, node);
        return;
    }
    struct inner *in = path->node[h - 1];
    unsigned at = path->at[h - 1] + 1;
    if (in->keys.n == WIDTH) {
        struct inner *more = take(m, sizeof(*more));
        memcpy(more->child, &in->child[WIDTH / 2], WIDTH / 2 * sizeof(in->child[0]));
        keys_split(&in->keys, WIDTH / 2, &more->keys);
        hang(m, path, h - 1, &in->keys, &more->keys, more);
        if (at > WIDTH / 2) {
            in = more;
            at -= WIDTH / 2;
        }
    }
    inner_insert(in, at, right->head[0], right->entry[0], node);
}

static void leaf_insert(struct memtable *m, struct path *path, struct memtable_leaf *leaf, unsigned at, uint64_t head,
                        struct memtable_entry *e)
{
    if (leaf->keys.n < WIDTH) {
        keys_insert(&leaf->keys, at, head, e);
        return;
    }
    struct memtable_leaf *right = take(m, sizeof(*right));
    keys_split(&leaf->keys, at == WIDTH ? WIDTH - 1 : WIDTH / 2, &right->keys); /* ascending keys leave full leaves */
    right->next = leaf->next;
    right->end = leaf->end;
    leaf->next = right;
    leaf->end = right->keys.head[0];
    m->last = m->last == leaf ? right : m->last;
    hang(m, path, m->height, &leaf->keys, &right->keys, right);
    if (at > leaf->keys.n)
        keys_insert(&right->keys, at - leaf->keys.n, head, e);
    else
        keys_insert(&leaf->keys, at, head, e);
}

static struct memtable_entry *make_entry(struct memtable *m, struct str key, struct str value, bool is_tombstone)
{
    assert(key.len >= 1 && key.len <= UINT8_MAX && value.len <= UINT32_MAX);
    size_t bytes = sizeof(struct memtable_entry) + key.len + value.len;
    struct memtable_entry *e = arena_room(&m->arena, bytes);
    m->bytes += bytes;
    *e = (struct memtable_entry){(uint32_t)value.len, (uint8_t)key.len, is_tombstone, false};
    memcpy(e->bytes, key.p, key.len);
    if (value.len)
        memcpy(e->bytes + key.len, value.p, value.len);
    return e;
}

/* What is there gets another value; returns where it stands now. */
static struct memtable_entry *replace(struct memtable *m, struct memtable_entry **at, struct str value,
                                      bool is_tombstone)
{
    struct memtable_entry *e = *at;
    if (e->value_len != value.len) {
        *at = make_entry(m, key_of(e), value, is_tombstone);
        e->is_replaced = true;
        return *at;
    }
    e->is_tombstone = is_tombstone;
    if (value.len)
        memcpy(e->bytes + e->key_len, value.p, value.len);
    return e;
}

/* From the root. `near`, where there is one, gets to know the place. */
static void put(struct memtable *m, struct str key, struct str value, bool is_tombstone, struct memtable_near *near)
{
    assert(m->n_late == 0);
    struct path path;
    struct memtable_entry *e;
    bool is_there;
    uint64_t head = str_head(key);
    struct memtable_leaf *leaf = find_leaf(m, key, head, &path);
    unsigned at = keys_below(&leaf->keys, 0, key, head, &is_there);
    if (is_there) {
        e = replace(m, &leaf->keys.entry[at], value, is_tombstone);
    } else {
        e = make_entry(m, key, value, is_tombstone);
        leaf_insert(m, &path, leaf, at, head, e);
        m->count++;
    }
    if (near)
        *near = (struct memtable_near){leaf, e};
}

void memtable_put(struct memtable *m, struct str key, struct str value) { put(m, key, value, false, NULL); }

void memtable_delete(struct memtable *m, struct str key) { put(m, key, (struct str){0}, true, NULL); }
/* --- late --- */

static void put_late(struct memtable *m, struct str key, struct str value, bool is_tombstone)
{
    if (m->n_late == m->cap_late) {
        m->cap_late = m->cap_late ? m->cap_late * 2 : LATE_MIN;
        m->late = mem_realloc(m->late, m->cap_late * sizeof m->late[0]);
    }
    m->late[m->n_late++] = (struct late){str_head(key), make_entry(m, key, value, is_tombstone)};
}

void memtable_put_late(struct memtable *m, struct str key, struct str value) { put_late(m, key, value, false); }

void memtable_delete_late(struct memtable *m, struct str key) { put_late(m, key, (struct str){0}, true); }

/* By one byte of the heads, from v to `to`. */
static void sort_by_byte(const struct late *v, size_t n, unsigned shift, const size_t counts[256], struct late *to)
{
    size_t at[256], sum = 0;

    for (unsigned byte = 0; byte < 256; byte++) {
        at[byte] = sum;
        sum += counts[byte];
    }
    for (size_t i = 0; i < n; i++)
        to[at[v[i].head >> shift & 0xff]++] = v[i];
}

/* Sorts v by heads, in turns from one half of 2 * n to the other; the half where they are then. */
static struct late *sort_by_heads(struct late *v, size_t n)
{
    static const unsigned byte_bits = 8;
    size_t counts[HEAD_BYTES][256] = {{0}};
    struct late *from = v, *to = v + n;

    for (size_t i = 0; i < n; i++)
        for (unsigned b = 0; b < HEAD_BYTES; b++)
            counts[b][v[i].head >> b * byte_bits & 0xff]++;
    for (unsigned b = 0; b < HEAD_BYTES; b++) {
        if (counts[b][v[0].head >> b * byte_bits & 0xff] == n)
            continue; /* all have the same */
        sort_by_byte(from, n, b * byte_bits, counts[b], to);
        struct late *other = from;
        from = to;
        to = other;
    }
    return from;
}

static bool is_above(const struct late *a, const struct late *b)
{
    return str_cmp(key_of(a->entry), key_of(b->entry)) > 0;
}

/* By whole keys. A conversation's entries come in their order: then each is compared once. */
static void sort_by_keys(struct late *v, size_t n, struct late *scratch)
{
    size_t half = n / 2, a = 0, b = half, at = 0;

    if (n < 2)
        return;
    sort_by_keys(v, half, scratch);
    sort_by_keys(v + half, n - half, scratch);
    if (!is_above(&v[half - 1], &v[half]))
        return;
    memcpy(scratch, v, half * sizeof v[0]);
    while (a < half && b < n)
        v[at++] = is_above(&scratch[a], &v[b]) ? v[b++] : scratch[a++];
    memcpy(&v[at], &scratch[a], (half - a) * sizeof v[0]);
}

/* Behind all that are there, and without looking for the place. */
static bool append(struct memtable *m, const struct late *l)
{
    struct keys *k = &m->last->keys;

    if (k->n == 0 || k->n == WIDTH || l->head < k->head[k->n - 1])
        return false;
    if (l->head == k->head[k->n - 1] && !is_above(l, &(struct late){0, k->entry[k->n - 1]}))
        return false;
    keys_insert(k, k->n, l->head, l->entry);
    m->count++;
    return true;
}

static void sort_in(struct memtable *m, const struct late *l)
{
    struct path path;
    bool is_there;

    if (append(m, l))
        return;
    struct str key = key_of(l->entry);
    struct memtable_leaf *leaf = find_leaf(m, key, l->head, &path);
    unsigned at = keys_below(&leaf->keys, 0, key, l->head, &is_there);
    if (is_there) {
        leaf->keys.entry[at]->is_replaced = true;
        leaf->keys.entry[at] = l->entry;
        return;
    }
    leaf_insert(m, &path, leaf, at, l->head, l->entry);
    m->count++;
}

/* How many from i on have its head; they are fetched from memory, to be compared. */
static size_t run_of(const struct late *v, size_t i, size_t n)
{
    size_t end = i;

    for (; end < n && v[end].head == v[i].head; end++)
        if (end + FETCH_AHEAD < n)
            __builtin_prefetch(v[end + FETCH_AHEAD].entry);
    return end - i;
}

void memtable_settle(struct memtable *m)
{
    size_t n = m->n_late, run;

    if (n == 0)
        return;
    m->late = mem_realloc(m->late, 2 * n * sizeof m->late[0]);
    struct late *v = sort_by_heads(m->late, n), *scratch = v == m->late ? v + n : m->late;
    for (size_t i = 0; i < n; i += run) {
        run = run_of(v, i, n);
        sort_by_keys(v + i, run, scratch);
        for (size_t k = i; k < i + run; k++)
            sort_in(m, &v[k]);
    }
    mem_free(m->late);
    m->late = NULL;
    m->n_late = m->cap_late = 0;
}

static bool is_at_or_below(const struct keys *k, unsigned at, struct str key, uint64_t head)
{
    return k->head[at] != head ? k->head[at] < head : str_cmp(key_of(k->entry[at]), key) <= 0;
}

/* The leaf that the key belongs to, when that is `leaf` or one that was split off it since; NULL: it can't be told. A
 * leaf's first key never changes but by keys below all others, so from it to the next one's first is the leaf's. */
static struct memtable_leaf *leaf_near(struct memtable_leaf *leaf, struct str key, uint64_t head)
{
    enum { STEPS = 3 };
    if (!leaf || leaf->keys.n == 0 || !is_at_or_below(&leaf->keys, 0, key, head))
        return NULL;
    for (unsigned i = 0; i < STEPS; i++, leaf = leaf->next)
        if (head < leaf->end || !leaf->next || !is_at_or_below(&leaf->next->keys, 0, key, head))
            return leaf;
    return NULL;
}

/* Mostly it goes behind the last of its head, or its head is new. */
static unsigned keys_below_near(const struct keys *k, struct str key, uint64_t head, bool *is_there)
{
    unsigned at = heads_up_to(k, 0, head);
    *is_there = false;
    if (at == 0 || k->head[at - 1] != head || str_cmp(key_of(k->entry[at - 1]), key) < 0)
        return at;
    return keys_below(k, 0, key, head, is_there);
}

void memtable_put_near(struct memtable *m, struct str key, struct str value, struct memtable_near *near)
{
    assert(m->n_late == 0);
    uint64_t head = str_head(key);
    struct memtable_leaf *leaf = leaf_near(near->leaf, key, head);
    struct memtable_entry *e;
    bool is_there;
    unsigned at;
    if (!leaf || leaf->keys.n == WIDTH) { /* a split needs the way from the root */
        put(m, key, value, false, near);
        return;
    }
    at = keys_below_near(&leaf->keys, key, head, &is_there);
    if (is_there) {
        e = replace(m, &leaf->keys.entry[at], value, false);
    } else {
        e = make_entry(m, key, value, false);
        keys_insert(&leaf->keys, at, head, e);
        m->count++;
    }
    *near = (struct memtable_near){leaf, e};
}

void memtable_put_again(struct memtable *m, struct str key, struct str value, struct memtable_near *near)
{
    struct memtable_entry *e = near->entry;
    if (!e || e->is_replaced || e->value_len != value.len || !str_eq(key_of(e), key)) {
        put(m, key, value, false, near);
        return;
    }
    replace(m, &e, value, false);
}

/* --- reading --- */

static struct str value_of(const struct memtable_entry *e) { return str_of(e->bytes + e->key_len, e->value_len); }

bool memtable_get_near(const struct memtable *m, struct str key, struct memtable_near *near, struct str *value,
                       bool *is_tombstone)
{
    bool is_there;
    uint64_t head = str_head(key);
    struct memtable_leaf *leaf = find_leaf(m, key, head, NULL);
    unsigned at = keys_below(&leaf->keys, 0, key, head, &is_there);
    *near = (struct memtable_near){leaf, is_there ? leaf->keys.entry[at] : NULL};
    if (!is_there)
        return false;
    *value = value_of(near->entry);
    *is_tombstone = near->entry->is_tombstone;
    return true;
}

bool memtable_get(const struct memtable *m, struct str key, struct str *value, bool *is_tombstone)
{
    struct memtable_near near;
    return memtable_get_near(m, key, &near, value, is_tombstone);
}

size_t memtable_bytes(const struct memtable *m) { return m->bytes + m->cap_late * sizeof m->late[0]; }

size_t memtable_count(const struct memtable *m) { return m->count + m->n_late; }

/* A walk meets entries in the order of keys; in memory they lie in the order of putting, each on lines of its own. So
 * those a few steps ahead are fetched early. (The prefetches stand where the walk is: gcc drops calls of a function
 * that does nothing else.) */
static const char *a_few_ahead(const struct memtable_iter *w)
{
    enum { AHEAD = 6 };
    const struct keys *k = &w->leaf->keys;
    const struct memtable_leaf *next = w->leaf->next;
    const struct memtable_entry *e = k->entry[w->i];
    if (w->i + AHEAD < k->n)
        e = k->entry[w->i + AHEAD];
    else if (next && w->i + AHEAD - k->n < next->keys.n)
        e = next->keys.entry[w->i + AHEAD - k->n];
    return (const char *)e;
}

static void stand(struct memtable_iter *w)
{
    while (w->leaf && w->i == w->leaf->keys.n) {
        w->leaf = w->leaf->next;
        w->i = 0;
    }
    w->it.is_valid = w->leaf != NULL;
    if (!w->leaf)
        return;
    const struct memtable_entry *e = w->leaf->keys.entry[w->i];
    const char *ahead = a_few_ahead(w);
    for (unsigned line = 0; line < 4; line++)
        __builtin_prefetch(ahead + 64 * line);
    w->it.key = key_of(e);
    w->it.value = value_of(e);
    w->it.is_tombstone = e->is_tombstone;
}

static void step(struct iter *it)
{
    struct memtable_iter *w = container_of(it, struct memtable_iter, it);
    w->i++;
    stand(w);
}

void memtable_iter_init(struct memtable_iter *w, const struct memtable *m, struct str from)
{
    bool is_there;
    uint64_t head = str_head(from);
    *w = (struct memtable_iter){.it.next = step, .leaf = find_leaf(m, from, head, NULL)};
    w->i = keys_below(&w->leaf->keys, 0, from, head, &is_there);
    stand(w);
}
