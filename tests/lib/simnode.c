/* What a power cut leaves.
 *
 * A file is known twice: `cache` is what programs read, `disk` what survives. Between them stand the changes since the
 * last sync. The page cache writes whole sectors back, each when it likes: so on the disk a sector is as it was before
 * the first change to it, or as it was behind any of them, whatever its neighbours are; and the one that the power
 * catches may be torn at any byte. The size is one of those that the file had meanwhile, whatever its sectors are.
 *
 * A folder's names are changed one by one and each change may be there or not, whatever the order; only a rename within
 * a folder is one change. A rename from folder to folder is two, so the file may be in both, or in none: POSIX promises
 * no more, and file systems with a journal less trouble. A name that survives names the file's disk image, which is
 * empty when the file was never synced. */
#include "tests/lib/simnode.h"

/* --- images --- */

static void image_resize(struct image *im, size_t len)
{
    if (len > im->cap) {
        im->cap = len + len / 2;
        im->p = mem_realloc(im->p, im->cap);
    }
    if (len > im->len)
        memset(im->p + im->len, 0, len - im->len);
    im->len = len;
}

static void image_put(struct image *im, uint64_t off, const uint8_t *bytes, uint64_t len)
{
    if (off + len > im->len)
        image_resize(im, off + len);
    if (bytes && len)
        memcpy(im->p + off, bytes, len);
    else if (len)
        memset(im->p + off, 0, len);
}

static void image_copy(struct image *to, const struct image *from)
{
    image_resize(to, from->len);
    if (from->len)
        memcpy(to->p, from->p, from->len);
}

/* --- names --- */

static struct named *names_find(const struct names *t, struct str name)
{
    for (size_t i = 0; i < t->n; i++)
        if (str_eq(str_c(t->v[i].name), name))
            return &t->v[i];
    return NULL;
}

static void names_set(struct names *t, const char *name, struct simnode *node)
{
    struct named *at = names_find(t, str_c(name));

    if (at && node) {
        at->node = node;
    } else if (at) {
        mem_free(at->name);
        *at = t->v[--t->n];
    } else if (node) {
        t->v = mem_realloc(t->v, (t->n + 1) * sizeof t->v[0]);
        t->v[t->n++] = (struct named){mem_dup(str_c(name)), node};
    }
}

static void names_apply(struct names *t, const struct naming *c)
{
    for (size_t i = 0; i < c->n; i++)
        names_set(t, c->names[i].name, c->names[i].node);
}

static void names_clear(struct names *t)
{
    for (size_t i = 0; i < t->n; i++)
        mem_free(t->v[i].name);
    mem_free(t->v);
    *t = (struct names){0};
}

static void names_copy(struct names *to, const struct names *from)
{
    names_clear(to);
    for (size_t i = 0; i < from->n; i++)
        names_set(to, from->v[i].name, from->v[i].node);
}

/* --- changing --- */

static void forget_changes(struct simnode *n)
{
    for (size_t i = 0; i < n->n_changes; i++)
        mem_free(n->changes[i].bytes);
    n->n_changes = 0;
    for (size_t i = 0; i < n->n_namings; i++)
        for (size_t k = 0; k < n->namings[i].n; k++)
            mem_free(n->namings[i].names[k].name);
    n->n_namings = 0;
}

void simnode_free(struct simnode *n)
{
    forget_changes(n);
    mem_free(n->changes);
    mem_free(n->namings);
    names_clear(&n->cached_names);
    names_clear(&n->disk_names);
    mem_free(n->cache.p);
    mem_free(n->disk.p);
    mem_free(n);
}

static void add_change(struct simnode *n, const struct change *c)
{
    if (n->n_changes == n->cap_changes) {
        n->cap_changes = n->cap_changes ? n->cap_changes * 2 : 8;
        n->changes = mem_realloc(n->changes, n->cap_changes * sizeof n->changes[0]);
    }
    n->changes[n->n_changes++] = *c;
}

void simnode_write(struct simnode *n, uint64_t tick, const void *p, uint64_t len, uint64_t off)
{
    struct change c = {.tick = tick, .off = off, .len = len};

    if (p && len) {
        c.bytes = mem_alloc(len);
        memcpy(c.bytes, p, len);
    }
    image_put(&n->cache, off, p, len);
    c.size = n->cache.len;
    add_change(n, &c);
}

void simnode_resize(struct simnode *n, uint64_t tick, uint64_t size)
{
    uint64_t old = n->cache.len;

    image_resize(&n->cache, size);
    /* What is cut off reads as zeros if the file grows again. */
    add_change(n, &(struct change){.tick = tick, .off = size, .len = old > size ? old - size : 0, .size = size});
}

struct simnode *simnode_find(const struct simnode *folder, struct str name)
{
    const struct named *at = names_find(&folder->cached_names, name);
    return at ? at->node : NULL;
}

static void add_name(struct simnode *folder, struct naming *c, struct str name, struct simnode *node)
{
    struct simnode *before = simnode_find(folder, name);

    if (before)
        before->links--;
    if (node)
        node->links++;
    c->names[c->n++] = (struct named){mem_dup(name), node};
}

void simnode_name(struct simnode *folder, uint64_t tick, struct str name, struct simnode *node, struct str name2,
                  struct simnode *node2)
{
    struct naming c = {.tick = tick};

    add_name(folder, &c, name, node);
    if (name2.len)
        add_name(folder, &c, name2, node2);
    names_apply(&folder->cached_names, &c);
    if (folder->n_namings == folder->cap_namings) {
        folder->cap_namings = folder->cap_namings ? folder->cap_namings * 2 : 8;
        folder->namings = mem_realloc(folder->namings, folder->cap_namings * sizeof folder->namings[0]);
    }
    folder->namings[folder->n_namings++] = c;
}

/* --- what gets to the disk --- */

static uint64_t min_u64(uint64_t a, uint64_t b) { return a < b ? a : b; }

void simnode_sync(struct simnode *n)
{
    if (n->is_folder)
        names_copy(&n->disk_names, &n->cached_names);
    else
        image_resize(&n->disk, n->cache.len);
    for (size_t i = 0; i < n->n_changes; i++) { /* whole sectors, as a page cache does */
        uint64_t from = n->changes[i].off / SECTOR * SECTOR;
        uint64_t to = min_u64((n->changes[i].off + n->changes[i].len + SECTOR - 1) / SECTOR * SECTOR, n->cache.len);
        if (from < to)
            memcpy(n->disk.p + from, n->cache.p + from, to - from);
    }
    forget_changes(n);
}

static bool survives(const struct cut *c, uint64_t tick)
{
    switch (c->kind) {
    case CUT_NOTHING:
        return false;
    case CUT_ALL:
        return true;
    case CUT_UNTIL:
        return tick < c->until;
    case CUT_ANY:
        break;
    }
    return simrand_percent(c->rand, c->percent);
}

/* Of each sector: how many of the changes to it are on the disk. */
struct sectors {
    uint32_t *changes, *kept, *seen;
};

static void each_piece(const struct simnode *n, const struct cut *c, struct sectors *s,
                       void (*fn)(const struct cut *c, struct sectors *s, const struct change *ch, uint64_t sector,
                                  struct image *disk),
                       struct image *disk)
{
    for (size_t i = 0; i < n->n_changes; i++) {
        const struct change *ch = &n->changes[i];
        for (uint64_t at = ch->off / SECTOR; at * SECTOR < ch->off + ch->len; at++)
            fn(c, s, ch, at, disk);
    }
}

/* A sector's later changes include the earlier ones: so the number of those that are kept says all. */
static void count_piece(const struct cut *c, struct sectors *s, const struct change *ch, uint64_t sector,
                        struct image *disk)
{
    (void)disk;
    s->changes[sector]++;
    if (survives(c, ch->tick))
        s->kept[sector] = s->changes[sector];
}

static void put_piece(const struct cut *c, struct sectors *s, const struct change *ch, uint64_t sector,
                      struct image *disk)
{
    uint64_t from = sector * SECTOR > ch->off ? sector * SECTOR : ch->off;
    uint64_t len = min_u64((sector + 1) * SECTOR, ch->off + ch->len) - from;
    uint32_t index = s->seen[sector]++;

    if (index == s->kept[sector] && c->kind != CUT_NOTHING && simrand_percent(c->rand, 10))
        len = simrand_below(c->rand, len + 1); /* torn */
    else if (index >= s->kept[sector])
        return;
    image_put(disk, from, ch->bytes ? ch->bytes + (from - ch->off) : NULL, len);
}

/* One of the sizes that the file had since the last sync. */
static uint64_t size_left(const struct simnode *n, const struct cut *c, uint64_t before)
{
    uint64_t size = before;
    for (size_t i = 0; i < n->n_changes; i++)
        if (survives(c, n->changes[i].tick))
            size = n->changes[i].size;
    return size;
}

static void settle_bytes(struct simnode *n, const struct cut *c)
{
    uint64_t size = size_left(n, c, n->disk.len), end = 0;

    for (size_t i = 0; i < n->n_changes; i++)
        end = end > n->changes[i].off + n->changes[i].len ? end : n->changes[i].off + n->changes[i].len;
    size_t sectors = end / SECTOR + 1;
    struct sectors s = {mem_new_array(uint32_t, sectors), mem_new_array(uint32_t, sectors),
                        mem_new_array(uint32_t, sectors)};
    each_piece(n, c, &s, count_piece, NULL);
    each_piece(n, c, &s, put_piece, &n->disk);
    image_resize(&n->disk, size);
    mem_free(s.changes);
    mem_free(s.kept);
    mem_free(s.seen);
}

static void settle_names(struct simnode *n, const struct cut *c)
{
    for (size_t i = 0; i < n->n_namings; i++)
        if (survives(c, n->namings[i].tick))
            names_apply(&n->disk_names, &n->namings[i]);
}

void simnode_sync_failed(struct simnode *n, const struct cut *c)
{
    if (n->is_folder)
        return;
    if (n->n_changes)
        settle_bytes(n, c);
    forget_changes(n);
}

void simnode_cut(struct simnode *n, const struct cut *c)
{
    if (n->is_folder) {
        settle_names(n, c);
        names_copy(&n->cached_names, &n->disk_names);
    } else {
        if (n->n_changes)
            settle_bytes(n, c);
        image_copy(&n->cache, &n->disk);
    }
    forget_changes(n);
}
