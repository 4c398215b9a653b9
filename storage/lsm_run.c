/* Reading what has no gaps: a range of which it is known which keys it can hold, as a page of a conversation's entries
 * is. A general scan has to stand in all tables at once before it knows its first key. Here the newest source that
 * knows the conversation is read first, and when all keys have been met nothing older can say more: the last entries of
 * a busy conversation are in the newest tables, those of a quiet one are in one table.
 *
 * An old page is in one of the older tables, and each newer one would be read only to find that what it has of the
 * conversation begins behind the page. Its filter says that without: it knows whole keys, and those of a run can be
 * named. It is asked where a block would have to be loaded; a block in memory answers as fast.
 *
 * What was met so far is a sorted list; each further source's keys are merged into it, and of equal ones the newer,
 * which was there before, is kept. Nearly always the older source's keys come before all others.
 *
 * Blocks that will be missed. It is not known how many tables must be asked, so a few are looked into together, and of
 * each all blocks that the range goes through: with a need they are noted, to be loaded in one go; a read that blocks
 * tells the disk about them before it waits for the first. */
#include "base/enc.h"
#include "storage/bloom.h"
#include "storage/lsm_need.h"
#include "storage/lsm_store.h"

enum { AHEAD_TABLES = 3, AHEAD_BLOCKS = 8, NUMBER = 8 /* bytes at a key's end that count up */, NAMED_MAX = 256 };

struct met {
    size_t key_at, key_len;
    struct str value;
    bool is_dead;
};

struct run {
    struct sst_source source;
    struct lsm *l;
    struct lsm_need *need;
    struct lsm_range range;
    size_t max;
    size_t at, ahead;       /* tables: the one that is asked; up to which one it was looked ahead */
    struct buf pins;        /* struct block *: referenced until the end */
    struct buf keys;        /* the bytes of the keys */
    struct buf met, merged; /* struct met each, ascending; merged takes turns with met */
    struct buf found;       /* of the source that is asked */
    struct buf hashes;      /* uint64_t each: of all keys of the run, once a filter is asked */
};

static size_t count(const struct buf *b) { return b->len / sizeof(struct met); }
static struct met *list(const struct buf *b) { return (struct met *)(void *)b->p; }

static struct str key_of(const struct run *r, const struct met *m) { return str_of(r->keys.p + m->key_at, m->key_len); }

/* --- what a table surely has none of --- */

static uint64_t number_of(struct str key) { return dec_be64(key.p + key.len - NUMBER); }

/* The bounds are so far apart as there are keys, so each number between them is one. */
static bool can_name(const struct run *r)
{
    struct str from = r->range.from, to = r->range.to;
    return r->max <= NAMED_MAX && from.len == to.len && from.len > NUMBER &&
           memcmp(from.p, to.p, from.len - NUMBER) == 0 && number_of(to) - number_of(from) == r->max;
}

static void name_keys(struct run *r)
{
    char key[BLOCK_KEY_MAX];
    struct str from = r->range.from;
    uint64_t *hashes = (uint64_t *)(void *)buf_reserve(&r->hashes, r->max * sizeof(*hashes));

    memcpy(key, from.p, from.len);
    for (size_t i = 0; i < r->max; i++) {
        enc_be64(key + from.len - NUMBER, number_of(from) + i);
        hashes[i] = bloom_hash(str_of(key, from.len));
    }
    r->hashes.len = r->max * sizeof(*hashes);
}

/* False: it has none of those that were not met yet. */
static bool may_have_wanted(struct run *r, const struct sst *t)
{
    if (!can_name(r))
        return true;
    if (r->hashes.len == 0)
        name_keys(r);
    const uint64_t *hashes = (const uint64_t *)(const void *)r->hashes.p;
    const struct met *m = list(&r->met), *end = m + count(&r->met);
    for (size_t i = 0; i < r->max; i++) {
        if (m < end && number_of(key_of(r, m)) == number_of(r->range.from) + i)
            m++;
        else if (bloom_may_have(t->filter, hashes[i]))
            return true;
    }
    return false;
}

/* --- what will be missed --- */

static void note(struct run *r, struct sst *t, uint64_t at, uint32_t len)
{
    struct block *b = lsm_block_find(r->l, r->need, t, at);

    if (!b && r->need)
        lsm_need_add(r->need, r->l, t, at, len);
    else if (!b)
        sst_ahead(t, at, len);
    block_unref(b);
}

/* Behind the block whose last key this is the run goes on in this table. What else stands there is nobody's who reads
 * the run: it might be damaged. */
static bool goes_on(struct run *r, const struct sst *t, struct str last)
{
    struct str from = r->range.from;
    uint64_t next;

    if (!can_name(r) || last.len != from.len || memcmp(last.p, from.p, from.len - NUMBER) != 0)
        return false;
    if (r->hashes.len == 0)
        name_keys(r);
    next = number_of(last) + 1 - number_of(from);
    return next < r->max && bloom_may_have(t->filter, ((const uint64_t *)(const void *)r->hashes.p)[next]);
}

/* The blocks behind the one that `index` stands on, as far as the run goes through them. */
static void note_rest(struct run *r, struct sst *t, const struct block_iter *index)
{
    struct block_iter w = *index;
    uint64_t at;
    uint32_t len;

    for (unsigned n = 0; n < AHEAD_BLOCKS && goes_on(r, t, block_iter_key(&w)); n++) {
        block_iter_next(&w);
        if (!w.is_valid || !sst_index_place(t, &w, &at, &len))
            return; /* who comes there will say so */
        note(r, t, at, len);
    }
}

/* Notes what the table has of the range, when its beginning is neither held nor cached. False: it has nothing. */
static bool look_into(struct run *r, struct sst *t)
{
    struct block_iter index;
    struct block *b;
    uint64_t at;
    uint32_t len;

    sst_index_seek(t, r->range.from, &index);
    if (!index.is_valid || !sst_index_place(t, &index, &at, &len))
        return true; /* who asks this table will say so */
    b = lsm_block_find(r->l, r->need, t, at);
    block_unref(b);
    if (b)
        return true;
    if (!may_have_wanted(r, t))
        return false;
    note(r, t, at, len);
    note_rest(r, t, &index);
    return true;
}

static void look_ahead(struct run *r)
{
    size_t n = 0;
    if (r->ahead <= r->at)
        r->ahead = r->at + 1;
    for (; r->ahead < r->l->n_tables && n < AHEAD_TABLES; r->ahead++) {
        struct sst *t = r->l->tables[r->ahead];
        if (lsm_range_may_have(&r->range, t))
            n += look_into(r, t);
    }
}

/* NOT_FOUND: the table need not be read. */
static enum err run_block(struct sst_source *source, struct sst *t, const struct block_iter *index, struct block **out)
{
    struct run *r = container_of(source, struct run, source);
    uint64_t at;
    uint32_t len;
    enum err err;

    TRY(sst_index_place(t, index, &at, &len) ? ERR_OK : ERR_CORRUPT);
    *out = lsm_block_find(r->l, r->need, t, at);
    if (!*out) {
        TRY(r->found.len || may_have_wanted(r, t) ? ERR_OK : ERR_NOT_FOUND);
        note_rest(r, t, index);
        if (r->ahead <= r->at)
            look_ahead(r);
        TRY(lsm_block_get(r->l, r->need, t, at, len, out));
    }
    block_ref(*out);
    buf_add(&r->pins, out, sizeof(*out));
out:
    return err;
}

/* --- meeting keys --- */

static void meet(struct run *r, const struct iter *it)
{
    struct met m = {r->keys.len, it->key.len, it->value, it->is_tombstone};
    buf_str(&r->keys, it->key);
    buf_add(&r->found, &m, sizeof(m));
}

static void swap(struct buf *a, struct buf *b)
{
    struct buf old = *a;
    *a = *b;
    *b = old;
}

static void merge_found(struct run *r)
{
    const struct met *a = list(&r->met), *a_end = a + count(&r->met);
    const struct met *b = list(&r->found), *b_end = b + count(&r->found);

    buf_clear(&r->merged);
    while (a < a_end && b < b_end) {
        int c = str_cmp(key_of(r, a), key_of(r, b));
        const struct met *next = c <= 0 ? a : b;
        buf_add(&r->merged, next, sizeof(*next));
        b += c >= 0;
        a += c <= 0;
    }
    if (b < b_end)
        buf_add(&r->merged, b, (size_t)(b_end - b) * sizeof(*b));
    if (a < a_end)
        buf_add(&r->merged, a, (size_t)(a_end - a) * sizeof(*a));
    swap(&r->met, &r->merged);
}

/* Takes in all that one source has of the range. */
static enum err ask(struct run *r, struct iter *it)
{
    buf_clear(&r->found);
    for (; it->is_valid && str_cmp(it->key, r->range.to) < 0; it->next(it)) {
        meet(r, it);
        if (count(&r->found) == r->max)
            break; /* without a step that may need one more block */
    }
    if (!it->is_valid && it->err != ERR_OK)
        return it->err;
    if (r->met.len == 0)
        swap(&r->met, &r->found);
    else if (r->found.len > 0)
        merge_found(r);
    return ERR_OK;
}

static void ask_memory(struct run *r, const struct memtable *m)
{
    struct memtable_iter w;
    memtable_iter_init(&w, m, r->range.from);
    (void)!ask(r, &w.it); /* memory does not fail */
}

static enum err ask_table(struct run *r, struct sst *t)
{
    struct sst_iter w;
    sst_iter_init(&w, t, &r->source, r->range.from);
    enum err err = ask(r, &w.it);
    sst_iter_deinit(&w);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static bool has_all(const struct run *r) { return count(&r->met) >= r->max; }

static enum err ask_all(struct run *r)
{
    struct lsm *l = r->l;
    ask_memory(r, l->active);
    for (size_t i = l->n_frozen; i-- > 0 && !has_all(r);)
        ask_memory(r, l->frozen[i].table);
    if (has_all(r))
        return ERR_OK;
    lsm_range_prefetch(&r->range, l);
    for (r->at = 0; r->at < l->n_tables && !has_all(r); r->at++) {
        struct sst *t = l->tables[r->at];
        enum err err = lsm_range_may_have(&r->range, t) ? ask_table(r, t) : ERR_OK;
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

static void run_close(struct run *r)
{
    for (size_t i = 0; i < r->pins.len; i += sizeof(struct block *)) {
        struct block *b;
        memcpy(&b, r->pins.p + i, sizeof(b));
        block_unref(b);
    }
    buf_deinit(&r->pins);
    buf_deinit(&r->keys);
    buf_deinit(&r->met);
    buf_deinit(&r->merged);
    buf_deinit(&r->found);
    buf_deinit(&r->hashes);
}

enum err lsm_scan_run(struct lsm *l, struct str from, struct str to, size_t max, struct lsm_need *need, lsm_each_fn *fn,
                      void *arg)
{
    struct run r = {.source.get = run_block, .l = l, .need = need, .max = max};
    enum err err;

    if (need && need->err != ERR_OK)
        return need->err;
    lsm_range_init(&r.range, l, from, to);
    if (max <= NAMED_MAX) { /* mostly they are all there: memory is asked for once */
        buf_reserve(&r.keys, max * from.len);
        buf_reserve(&r.found, max * sizeof(struct met));
    }
    TRY(ask_all(&r));
    for (const struct met *m = list(&r.met), *end = m + count(&r.met); m < end; m++)
        if (!m->is_dead && !fn(arg, key_of(&r, m), m->value))
            break;
out:
    run_close(&r);
    return err;
}
