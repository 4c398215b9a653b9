#include "storage/sst_read.h"
#include "base/enc.h"
#include "base/hash.h"
#include "base/log.h"
#include "storage/bloom.h"
#include "storage/sst_write.h"
#include <assert.h>
#include <inttypes.h>

char *sst_path(const char *dir, uint64_t id)
{
    struct buf b = {0};
    buf_printf(&b, "%s/%016" PRIx64 ".sst", dir, id);
    buf_char(&b, 0);
    return b.p;
}

enum err sst_unseal(struct sst *t, struct str sealed, uint64_t at, struct block **out)
{
    enum err err = block_unseal(sealed, t->id, at, out);
    if (err != ERR_OK && !atomic_exchange(&t->is_damage_said, true))
        log_error("table_unreadable", "file=%s at=%" PRIu64 " error=%s", t->path, at, err_name(err));
    return err;
}

enum err sst_load(struct sst *t, uint64_t at, uint32_t len, struct block **out)
{
    char *sealed = mem_try(len);
    enum err err;

    TRY(sealed ? ERR_OK : ERR_NOMEM);
    err = file_read_exact(t->file, sealed, len, at);
    if (err != ERR_OK && !atomic_exchange(&t->is_damage_said, true))
        log_error("table_unreadable", "file=%s at=%" PRIu64 " error=%s", t->path, at, err_name(err));
    TRY(err);
    TRY(sst_unseal(t, str_of(sealed, len), at, out));
out:
    mem_free(sealed);
    return err;
}

void sst_ahead(struct sst *t, uint64_t at, uint32_t len) { file_ahead(t->file, at, len); }

/* A sealed block that the footer or the meta block names. */
static enum err load_at(struct sst *t, uint64_t at, uint64_t len, struct block **out)
{
    if (len > BLOCK_BYTES_MAX || at > t->bytes || len > t->bytes - at)
        return ERR_CORRUPT;
    return sst_load(t, at, (uint32_t)len, out);
}

/* Lines lie on cache lines, so that a question meets one. */
static enum err keep_filter(struct sst *t, const struct block *b)
{
    char *p = t->filter_memory = mem_pages(b->len + BLOOM_LINE);
    if (!p)
        return ERR_NOMEM;
    t->filter.len = b->len;
    p += -(uintptr_t)p % BLOOM_LINE;
    memcpy(p, b->bytes, b->len);
    t->filter.p = p;
    return ERR_OK;
}

static enum err keep_index(struct sst *t, const struct block *b)
{
    t->index_memory = mem_pages(b->len);
    if (!t->index_memory)
        return ERR_NOMEM;
    memcpy(t->index_memory, b->bytes, b->len);
    t->index = str_of(t->index_memory, b->len);
    return ERR_OK;
}

static void keep_heads(struct sst *t)
{
    struct block_iter w;
    block_iter_init(&w, t->index);
    if (w.err != ERR_OK)
        return; /* a search says so */
    t->heads = mem_new_array(uint64_t, w.n_restarts);
    for (uint32_t i = 0; i < w.n_restarts; i++)
        t->heads[i] = block_iter_restart_head(&w, i);
}

static enum err read_meta(struct sst *t, const struct block *meta)
{
    struct dec d = dec_of(str_of(meta->bytes, meta->len));
    struct block *filter = NULL, *index = NULL;
    enum err err;

    t->entries = dec_get_varint(&d);
    t->tombstones = dec_get_varint(&d);
    t->blocks = dec_get_varint(&d);
    t->filter_prefix = dec_get_varint(&d);
    uint64_t filter_at = dec_get_varint(&d), filter_len = dec_get_varint(&d);
    uint64_t index_at = dec_get_varint(&d), index_len = dec_get_varint(&d);
    struct str first = dec_get_field(&d), last = dec_get_field(&d);
    TRY(dec_done(&d) && first.len > 0 && str_cmp(first, last) <= 0 ? ERR_OK : ERR_CORRUPT);
    TRY(load_at(t, filter_at, filter_len, &filter));
    TRY(keep_filter(t, filter));
    TRY(load_at(t, index_at, index_len, &index));
    TRY(keep_index(t, index));
    keep_heads(t);
    t->data_end = filter_at;
    t->first = str_of(mem_dup(first), first.len);
    t->last = str_of(mem_dup(last), last.len);
out:
    block_unref(filter);
    block_unref(index);
    return err;
}

static enum err read_footer(struct sst *t, uint64_t expected_bytes)
{
    char footer[SST_FOOTER_BYTES];
    struct block *meta = NULL;
    enum err err;

    TRY(file_size(t->file, &t->bytes));
    TRY(t->bytes >= sizeof(footer) && (!expected_bytes || expected_bytes == t->bytes) ? ERR_OK : ERR_CORRUPT);
    TRY(file_read_exact(t->file, footer, sizeof(footer), t->bytes - sizeof(footer)));
    TRY(dec_u64(footer + 32) == SST_MAGIC && dec_u64(footer + 24) == hash_sum(footer, 24, SST_MAGIC) &&
                dec_u64(footer + 16) == t->id
            ? ERR_OK
            : ERR_CORRUPT);
    TRY(dec_u32(footer + 12) == SST_VERSION ? ERR_OK : ERR_UNSUPPORTED);
    TRY(load_at(t, dec_u64(footer), dec_u32(footer + 8), &meta));
    TRY(read_meta(t, meta));
out:
    block_unref(meta);
    return err;
}

enum err sst_open(struct fs *fs, const char *dir, uint64_t id, uint64_t bytes, struct sst **out, struct buf *why)
{
    struct sst *t = mem_new(struct sst);
    enum err err;

    t->fs = fs;
    t->id = id;
    t->refs = 1;
    t->path = sst_path(dir, id);
    err = fs_open(fs, t->path, FS_READ, &t->file);
    TRY(err == ERR_NOT_FOUND ? ERR_CORRUPT : err);
    TRY(read_footer(t, bytes));
    *out = t;
    t = NULL;
out:
    if (t)
        buf_printf(why, "table %s: %s (it has %" PRIu64 " bytes, %" PRIu64 " expected)", t->path,
                   t->file ? err_text(err) : "cannot be opened", t->bytes, bytes ? bytes : t->bytes);
    sst_close(t);
    return err;
}

void sst_close(struct sst *t)
{
    if (!t)
        return;
    file_close(t->file);
    mem_free((char *)(uintptr_t)t->first.p); /* ours, by mem_dup */
    mem_free((char *)(uintptr_t)t->last.p);
    mem_free(t->heads);
    mem_pages_free(t->filter_memory, t->filter.len + BLOOM_LINE);
    mem_pages_free(t->index_memory, t->index.len);
    mem_free(t->path);
    mem_free(t);
}

bool sst_may_have(const struct sst *t, struct str key, uint64_t hash)
{
    return bloom_may_have(t->filter, hash) && str_cmp(key, t->last) <= 0 &&
           (str_cmp(t->first, key) <= 0 || str_starts(t->first, key));
}

bool sst_may_have_range(const struct sst *t, struct str from, struct str to)
{
    return str_cmp(from, t->last) <= 0 && (to.len == 0 || str_cmp(t->first, to) < 0);
}

/* How many of the heads are below. */
static uint32_t heads_below(const uint64_t *heads, uint32_t n, uint64_t head, bool or_equal)
{
    uint32_t lo = 0;
    while (n > 0) {
        uint32_t half = n / 2;
        bool is_below = heads[lo + half] < head || (or_equal && heads[lo + half] == head);
        lo = is_below ? lo + half + 1 : lo;
        n = is_below ? n - half - 1 : half;
    }
    return lo;
}

void sst_index_seek(const struct sst *t, struct str key, struct block_iter *out)
{
    block_iter_init(out, t->index);
    if (out->err != ERR_OK)
        return;
    uint64_t head = str_head(key);
    uint32_t lo = heads_below(t->heads, out->n_restarts, head, false);
    uint32_t hi = lo + heads_below(t->heads + lo, out->n_restarts - lo, head, true);
    block_iter_seek_between(out, key, lo > 0 ? lo - 1 : 0, hi);
}

bool sst_index_place(const struct sst *t, const struct block_iter *index, uint64_t *at, uint32_t *len)
{
    struct dec d = dec_of(index->value);
    uint64_t where = dec_get_varint(&d), n = dec_get_varint(&d);
    if (!dec_done(&d) || n > BLOCK_BYTES_MAX || where > t->data_end || n > t->data_end - where)
        return false;
    *at = where;
    *len = (uint32_t)n;
    return true;
}

static void leave_block(struct sst_iter *w)
{
    block_unref(w->block);
    w->block = NULL;
}

/* Opens the block that the index stands on; the walk ends behind the last one. */
static bool enter_block(struct sst_iter *w)
{
    leave_block(w);
    if (!w->index.is_valid) {
        iter_end(&w->it, w->index.err);
        return false;
    }
    enum err err = w->source->get(w->source, w->table, &w->index, &w->block);
    if (err != ERR_OK) {
        iter_end(&w->it, err);
        return false;
    }
    block_iter_init(&w->data, str_of(w->block->bytes, w->block->len));
    return true;
}

/* Makes the data block's entry the walk's, going on to the next block behind a block's last entry. */
static void stand(struct sst_iter *w)
{
    while (!w->data.is_valid) {
        if (w->data.err != ERR_OK) {
            iter_end(&w->it, w->data.err);
            return;
        }
        block_iter_next(&w->index);
        if (!enter_block(w))
            return;
    }
    w->it.key = block_iter_key(&w->data);
    w->it.value = w->data.value;
    w->it.is_tombstone = w->data.is_tombstone;
    w->it.is_valid = true;
}

static void step(struct iter *it)
{
    struct sst_iter *w = container_of(it, struct sst_iter, it);
    block_iter_next(&w->data);
    stand(w);
}

void sst_iter_init(struct sst_iter *w, struct sst *t, struct sst_source *source, struct str from)
{
    w->it = (struct iter){.next = step};
    w->table = t;
    w->source = source;
    w->block = NULL;
    sst_index_seek(t, from, &w->index);
    if (!enter_block(w))
        return;
    block_iter_seek(&w->data, from);
    bool is_here = w->data.is_valid;
    stand(w);
    if (!is_here && w->it.is_valid && str_cmp(w->it.key, from) < 0)
        iter_end(&w->it, ERR_CORRUPT); /* the index named this block, and the one behind it goes back */
}

void sst_iter_deinit(struct sst_iter *w) { leave_block(w); }
