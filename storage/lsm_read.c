/* Reading. A read runs from the start each time it is asked, against what is there then; blocks that its need holds are
 * found at once, so every round gets further. A round that misses a block looks for what else it will miss, in the same
 * table and in the others, so that few rounds are needed.
 *
 * A get asks newest first and stops at the first that knows the key. A scan walks all at once, but only tables whose
 * filter admits the prefix that its bounds share; it gathers first and tells its caller after, so that it can be
 * repeated as a whole. Blocks stay referenced until it has told. */
#include "storage/bloom.h"
#include "storage/lsm_need.h"
#include "storage/lsm_store.h"
#include "storage/merge.h"

enum { AHEAD_MAX = 16 };

struct block *lsm_block_find(struct lsm *l, struct lsm_need *need, const struct sst *t, uint64_t at)
{
    struct block *b = need && need->n_held ? lsm_need_find(need, t, at) : NULL;
    return b ? b : block_cache_get(l->conf.cache, t->cache_id, at);
}

enum err lsm_block_get(struct lsm *l, struct lsm_need *need, struct sst *t, uint64_t at, uint32_t len,
                       struct block **out)
{
    struct block *b = NULL;
    enum err err;

    if (need) {
        if (need->n_held >= LSM_NEED_HELD)
            return ERR_LIMIT;
        lsm_need_add(need, l, t, at, len);
        return ERR_AGAIN;
    }
    err = sst_load(t, at, len, &b);
    if (err != ERR_OK)
        return err;
    block_cache_put(l->conf.cache, t->cache_id, at, b);
    *out = b;
    return ERR_OK;
}

/* A block from the need, the cache, or, when it may be waited for, the file. AGAIN: in none, noted in the need. */
static enum err get_block(struct lsm *l, struct lsm_need *need, struct sst *t, uint64_t at, uint32_t len,
                          struct block **out)
{
    *out = lsm_block_find(l, need, t, at);
    return *out ? ERR_OK : lsm_block_get(l, need, t, at, len, out);
}

/* --- get --- */

static enum err answer(struct str value, bool is_tombstone, struct buf *out)
{
    if (is_tombstone)
        return ERR_NOT_FOUND;
    buf_clear(out);
    buf_str(out, value);
    return ERR_OK;
}

/* What the memtables know; AGAIN when nothing. */
static enum err get_from_memory(const struct lsm *l, struct str key, struct lsm_near *near, struct buf *out)
{
    struct str value;
    bool is_tombstone;
    if (memtable_get_near(l->active, key, lsm_near_in(l, near), &value, &is_tombstone))
        return answer(value, is_tombstone, out);
    for (size_t i = l->n_frozen; i-- > 0;)
        if (memtable_get(l->frozen[i].table, key, &value, &is_tombstone))
            return answer(value, is_tombstone, out);
    return ERR_AGAIN;
}

/* *is_known: the table has the key, dead or alive. */
static enum err get_from_table(struct lsm *l, struct sst *t, struct str key, struct lsm_need *need, struct buf *out,
                               bool *is_known)
{
    struct block_iter index, data;
    struct block *b = NULL;
    uint64_t at;
    uint32_t len;
    enum err err;

    sst_index_seek(t, key, &index);
    if (!index.is_valid)
        return index.err;
    TRY(sst_index_place(t, &index, &at, &len) ? ERR_OK : ERR_CORRUPT);
    TRY(get_block(l, need, t, at, len, &b));
    block_iter_init(&data, str_of(b->bytes, b->len));
    block_iter_seek(&data, key);
    TRY(data.err);
    *is_known = data.is_valid && str_eq(block_iter_key(&data), key);
    if (*is_known)
        err = answer(data.value, data.is_tombstone, out);
out:
    block_unref(b);
    return err;
}

enum err lsm_get_near(struct lsm *l, struct str key, struct lsm_need *need, struct lsm_near *near, struct buf *value)
{
    if (need && need->err != ERR_OK)
        return need->err;
    enum err err = get_from_memory(l, key, near, value);
    if (err != ERR_AGAIN)
        return err;
    uint64_t hash = bloom_hash(key);
    for (size_t i = 0; i < l->n_tables; i++)
        bloom_prefetch(l->tables[i]->filter, hash);
    for (size_t i = 0; i < l->n_tables; i++) {
        bool is_known = false;
        if (!sst_may_have(l->tables[i], key, hash))
            continue;
        err = get_from_table(l, l->tables[i], key, need, value, &is_known);
        if (err != ERR_OK || is_known)
            return err; /* a missing block hides what older tables may say: they wait for it */
    }
    return ERR_NOT_FOUND;
}

enum err lsm_get(struct lsm *l, struct str key, struct lsm_need *need, struct buf *value)
{
    struct lsm_near near = {0};
    return lsm_get_near(l, key, need, &near, value);
}

/* --- scan --- */

struct scan {
    struct sst_source source;
    struct lsm *l;
    struct lsm_need *need;
    struct str from, to;
    size_t max;
    struct buf pins; /* struct block *: referenced until the end */
    struct sst_iter *tables;
    struct memtable_iter *memtables;
    size_t n_tables, n_memtables;
    struct merge merge;
    struct buf keys, found; /* the bytes of the keys; struct found each */
};

struct found {
    size_t key_at, key_len;
    struct str value;
};

/* Notes the blocks of a table that will be missed after the one that is: as many as hold what is still wanted. */
static void note_ahead(struct scan *s, struct sst *t, const struct block_iter *index)
{
    struct block_iter ahead = *index;
    size_t found = s->found.len / sizeof(struct found);
    size_t blocks = AHEAD_MAX;
    if (s->max) {
        size_t a_block = t->blocks ? t->entries / t->blocks + 1 : 1;
        blocks = (s->max - found) / a_block + 1;
    }
    for (; blocks > 0; blocks--) {
        uint64_t at;
        uint32_t len;
        if (s->to.len && str_cmp(block_iter_key(&ahead), s->to) >= 0)
            break; /* it ends behind the range, and so does all that follows */
        block_iter_next(&ahead);
        if (!ahead.is_valid || !sst_index_place(t, &ahead, &at, &len) || s->need->n_missing == LSM_NEED_MISSING)
            break;
        struct block *b = lsm_block_find(s->l, s->need, t, at);
        if (!b)
            lsm_need_add(s->need, s->l, t, at, len);
        block_unref(b);
    }
}

static enum err scan_block(struct sst_source *source, struct sst *t, const struct block_iter *index, struct block **out)
{
    struct scan *s = container_of(source, struct scan, source);
    uint64_t at;
    uint32_t len;
    enum err err;

    TRY(sst_index_place(t, index, &at, &len) ? ERR_OK : ERR_CORRUPT);
    err = get_block(s->l, s->need, t, at, len, out);
    if (err == ERR_AGAIN)
        note_ahead(s, t, index);
    TRY(err);
    block_ref(*out);
    buf_add(&s->pins, out, sizeof(*out));
out:
    return err;
}

/* Is `to` the first key behind all that start with `prefix`? */
static bool is_end_of(struct str to, struct str prefix)
{
    size_t n = prefix.len;
    while (n > 0 && (uint8_t)prefix.p[n - 1] == 0xff)
        n--;
    return n > 0 && to.len == n && memcmp(to.p, prefix.p, n - 1) == 0 &&
           (uint8_t)to.p[n - 1] == (uint8_t)prefix.p[n - 1] + 1;
}

/* The prefix that all keys of the range have, when filters know prefixes of that length; else empty. */
static struct str shared_prefix(const struct lsm *l, struct str from, struct str to)
{
    size_t n = l->conf.filter_prefix;
    if (n == 0 || from.len < n)
        return (struct str){0};
    struct str prefix = str_of(from.p, n);
    return str_starts(to, prefix) || is_end_of(to, prefix) ? prefix : (struct str){0};
}

void lsm_range_init(struct lsm_range *r, const struct lsm *l, struct str from, struct str to)
{
    *r = (struct lsm_range){.from = from, .to = to, .prefix = shared_prefix(l, from, to)};
    r->hash = r->prefix.len ? bloom_hash(r->prefix) : 0;
}

bool lsm_range_may_have(const struct lsm_range *r, const struct sst *t)
{
    if (!sst_may_have_range(t, r->from, r->to))
        return false;
    return r->prefix.len == 0 || t->filter_prefix != r->prefix.len || bloom_may_have(t->filter, r->hash);
}

void lsm_range_prefetch(const struct lsm_range *r, const struct lsm *l)
{
    for (size_t i = 0; r->prefix.len && i < l->n_tables; i++)
        bloom_prefetch(l->tables[i]->filter, r->hash);
}

static void scan_open(struct scan *s)
{
    struct lsm *l = s->l;
    struct lsm_range range;
    struct iter **inputs = mem_new_array(struct iter *, l->n_tables + l->n_frozen + 1);
    size_t n = 0, wanted = 0;

    lsm_range_init(&range, l, s->from, s->to);
    lsm_range_prefetch(&range, l);
    s->source.get = scan_block;
    s->memtables = mem_new_array(struct memtable_iter, l->n_frozen + 1);
    memtable_iter_init(&s->memtables[s->n_memtables], l->active, s->from);
    inputs[n++] = &s->memtables[s->n_memtables++].it;
    for (size_t i = l->n_frozen; i-- > 0;) {
        memtable_iter_init(&s->memtables[s->n_memtables], l->frozen[i].table, s->from);
        inputs[n++] = &s->memtables[s->n_memtables++].it;
    }
    for (size_t i = 0; i < l->n_tables; i++)
        wanted += lsm_range_may_have(&range, l->tables[i]);
    s->tables = mem_new_array(struct sst_iter, wanted);
    for (size_t i = 0; i < l->n_tables; i++) {
        if (!lsm_range_may_have(&range, l->tables[i]))
            continue;
        sst_iter_init(&s->tables[s->n_tables], l->tables[i], &s->source, s->from);
        inputs[n++] = &s->tables[s->n_tables++].it;
    }
    merge_init(&s->merge, inputs, n);
    mem_free(inputs);
}

static void scan_close(struct scan *s)
{
    for (size_t i = 0; i < s->n_tables; i++)
        sst_iter_deinit(&s->tables[i]);
    for (size_t i = 0; i < s->pins.len; i += sizeof(struct block *)) {
        struct block *b;
        memcpy(&b, s->pins.p + i, sizeof(b));
        block_unref(b);
    }
    buf_deinit(&s->pins);
    buf_deinit(&s->keys);
    buf_deinit(&s->found);
    merge_deinit(&s->merge);
    mem_free(s->tables);
    mem_free(s->memtables);
}

static enum err gather(struct scan *s)
{
    struct iter *it = &s->merge.it;
    size_t n = 0;
    for (; it->is_valid; it->next(it)) {
        if (s->to.len && str_cmp(it->key, s->to) >= 0)
            return ERR_OK;
        if (it->is_tombstone)
            continue;
        struct found f = {s->keys.len, it->key.len, it->value};
        buf_str(&s->keys, it->key);
        buf_add(&s->found, &f, sizeof(f));
        if (++n == s->max)
            return ERR_OK; /* without a step that may need one more block */
    }
    return it->err;
}

enum err lsm_scan(struct lsm *l, struct str from, struct str to, size_t max, struct lsm_need *need, lsm_each_fn *fn,
                  void *arg)
{
    struct scan s = {.l = l, .need = need, .from = from, .to = to, .max = max};
    enum err err;

    if (need && need->err != ERR_OK)
        return need->err;
    scan_open(&s);
    TRY(gather(&s));
    for (size_t i = 0; i < s.found.len; i += sizeof(struct found)) {
        struct found f;
        memcpy(&f, s.found.p + i, sizeof(f));
        if (!fn(arg, str_of(s.keys.p + f.key_at, f.key_len), f.value))
            break;
    }
out:
    scan_close(&s);
    return err;
}
