/* A block is entries, then restart points, then their number:
 *
 *   entry     varint shared     bytes of the key that are those of the key before (0 at a restart point)
 *             varint own        bytes of the key that follow
 *             varint value      length of the value * 2 + 1 if the entry is a tombstone
 *             key[own], value[length]
 *   restarts  u32 offset of every 4th entry, ascending; u32 how many
 *
 * and sealed, on the disk:
 *
 *   payload   the block, or the LZ4 block of it
 *   u8        0 plain, 1 LZ4
 *   u32       length of the block
 *   u64       XXH3 of all before, seeded with the table's id and the offset in the file
 *
 * A search halves the restart points, then walks at most 4 entries. Everything that comes from the bytes is bounded
 * before it is used, though the checksum has been right: a checksum finds damage, not malice or our own mistakes. */
#include "storage/block.h"
#include "base/enc.h"
#include "base/hash.h"
#include <assert.h>
#include <lz4.h>

enum { KIND_PLAIN = 0, KIND_LZ4 = 1 };

void block_builder_deinit(struct block_builder *b)
{
    buf_deinit(&b->out);
    buf_deinit(&b->restarts);
}

static size_t shared_bytes(const char *a, const char *b, size_t max)
{
    size_t n = 0;
    while (n < max && a[n] == b[n])
        n++;
    return n;
}

void block_builder_add(struct block_builder *b, struct str key, struct str value, bool is_tombstone)
{
    size_t shared = 0;
    assert(key.len >= 1 && key.len <= BLOCK_KEY_MAX && value.len <= BLOCK_VALUE_MAX);
    if (b->since_restart == 0) {
        enc_add_u32(&b->restarts, (uint32_t)b->out.len);
        b->since_restart = BLOCK_RESTART_EVERY;
    } else {
        shared = shared_bytes(b->last, key.p, b->last_len < key.len ? b->last_len : key.len);
    }
    b->since_restart--;
    char *p = buf_reserve(&b->out, 30 + key.len + value.len);
    size_t n = enc_varint(p, shared);
    n += enc_varint(p + n, key.len - shared);
    n += enc_varint(p + n, (uint64_t)value.len << 1 | is_tombstone);
    memcpy(p + n, key.p + shared, key.len - shared);
    n += key.len - shared;
    if (value.len)
        memcpy(p + n, value.p, value.len);
    b->out.len += n + value.len;
    memcpy(b->last + shared, key.p + shared, key.len - shared);
    b->last_len = key.len;
}

bool block_builder_is_empty(const struct block_builder *b) { return b->out.len == 0; }

size_t block_builder_bytes(const struct block_builder *b) { return b->out.len + b->restarts.len + 4; }

struct str block_builder_last(const struct block_builder *b) { return str_of(b->last, b->last_len); }

struct str block_builder_finish(struct block_builder *b)
{
    uint32_t n = (uint32_t)(b->restarts.len / 4);
    buf_str(&b->out, buf_get(&b->restarts));
    enc_add_u32(&b->out, n);
    return buf_get(&b->out);
}

void block_builder_clear(struct block_builder *b)
{
    buf_clear(&b->out);
    buf_clear(&b->restarts);
    b->since_restart = 0;
    b->last_len = 0;
}

static void damaged(struct block_iter *w)
{
    w->is_valid = false;
    w->err = ERR_CORRUPT;
}

static inline bool get_varint(const uint8_t **p, const uint8_t *end, uint32_t *out)
{
    uint32_t v = 0;
    if (*p < end && **p < 0x80) { /* nearly always */
        *out = *(*p)++;
        return true;
    }
    for (unsigned shift = 0; shift < 32 && *p < end; shift += 7) {
        uint8_t c = *(*p)++;
        v |= (uint32_t)(c & 0x7f) << shift;
        if (c < 0x80) {
            *out = v;
            return true;
        }
    }
    return false;
}

void block_iter_next(struct block_iter *w)
{
    const uint8_t *p = w->at;
    uint32_t shared, own, value;
    if (p == w->end) {
        w->is_valid = false;
        return;
    }
    if (!get_varint(&p, w->end, &shared) || !get_varint(&p, w->end, &own) || !get_varint(&p, w->end, &value) ||
        shared > w->key_len || own > BLOCK_KEY_MAX - shared || shared + own == 0 || own > (size_t)(w->end - p) ||
        value >> 1 > (size_t)(w->end - p) - own) {
        damaged(w);
        return;
    }
    memcpy(w->key + shared, p, own);
    w->key_len = shared + own;
    w->value = str_of(p + own, value >> 1);
    w->is_tombstone = value & 1;
    w->at = p + own + (value >> 1);
    w->is_valid = true;
}

void block_iter_init(struct block_iter *w, struct str bytes)
{
    w->is_valid = false;
    w->err = ERR_OK;
    w->key_len = 0;
    w->begin = w->at = w->end = (const uint8_t *)bytes.p;
    w->n_restarts = bytes.len >= 8 ? dec_u32(bytes.p + bytes.len - 4) : 0;
    if (w->n_restarts == 0 || w->n_restarts > (bytes.len - 4) / 4) {
        damaged(w);
        return;
    }
    w->restarts = w->begin + bytes.len - 4 - (size_t)w->n_restarts * 4;
    w->end = w->restarts;
    block_iter_next(w);
}

/* Stands on a restart point. */
static void go_to_restart(struct block_iter *w, uint32_t i)
{
    uint32_t at = dec_u32(w->restarts + (size_t)i * 4);
    if (at >= (size_t)(w->end - w->begin)) {
        damaged(w);
        return;
    }
    w->at = w->begin + at;
    w->key_len = 0;
    block_iter_next(w);
}

/* The key of the entry at a restart point, where it lies: it shares nothing. */
static bool restart_key(const struct block_iter *w, uint32_t i, struct str *key)
{
    uint32_t at = dec_u32(w->restarts + (size_t)i * 4), shared, own, value;
    const uint8_t *p = w->begin + at;
    if (at >= (size_t)(w->end - w->begin) || !get_varint(&p, w->end, &shared) || !get_varint(&p, w->end, &own) ||
        !get_varint(&p, w->end, &value) || shared != 0 || own == 0 || own > BLOCK_KEY_MAX || own > (size_t)(w->end - p))
        return false;
    *key = str_of(p, own);
    return true;
}

uint64_t block_iter_restart_head(const struct block_iter *w, uint32_t i)
{
    struct str key;
    return restart_key(w, i, &key) ? str_head(key) : 0;
}

void block_iter_seek_between(struct block_iter *w, struct str key, uint32_t lo, uint32_t hi)
{
    while (w->err == ERR_OK && hi - lo > 1) {
        uint32_t mid = lo + (hi - lo) / 2;
        struct str there;
        if (!restart_key(w, mid, &there))
            damaged(w);
        else if (str_cmp(there, key) <= 0)
            lo = mid;
        else
            hi = mid;
    }
    if (w->err == ERR_OK)
        go_to_restart(w, lo);
    while (w->is_valid && str_cmp(block_iter_key(w), key) < 0)
        block_iter_next(w);
}

void block_iter_seek(struct block_iter *w, struct str key) { block_iter_seek_between(w, key, 0, w->n_restarts); }

static uint64_t seed_of(uint64_t table, uint64_t at) { return hash_u64(table ^ hash_u64(at + 1)); }

/* The length of the LZ4 form, written at p, or 0 when it is not worth it. */
static size_t lz4_into(char *p, struct str raw)
{
    int most = (int)(raw.len - raw.len / 8);
    int n = LZ4_compress_default(raw.p, p, (int)raw.len, most);
    return n > 0 ? (size_t)n : 0;
}

void block_seal(struct str raw, uint64_t table, uint64_t at, bool compress, struct buf *out)
{
    assert(raw.len > 0 && raw.len <= BLOCK_BYTES_MAX);
    char *p = buf_reserve(out, raw.len + SEAL_BYTES);
    size_t n = compress ? lz4_into(p, raw) : 0;
    char kind = n ? KIND_LZ4 : KIND_PLAIN;
    if (!n) {
        memcpy(p, raw.p, raw.len);
        n = raw.len;
    }
    p[n] = kind;
    enc_u32(p + n + 1, (uint32_t)raw.len);
    enc_u64(p + n + 5, hash_sum(p, n + 5, seed_of(table, at)));
    out->len += n + SEAL_BYTES;
}

enum err block_unseal(struct str sealed, uint64_t table, uint64_t at, struct block **out)
{
    if (sealed.len <= SEAL_BYTES)
        return ERR_CORRUPT;
    size_t n = sealed.len - SEAL_BYTES;
    uint32_t raw_len = dec_u32(sealed.p + n + 1);
    char kind = sealed.p[n];
    if (dec_u64(sealed.p + n + 5) != hash_sum(sealed.p, n + 5, seed_of(table, at)) || raw_len == 0 ||
        raw_len > BLOCK_BYTES_MAX || (kind == KIND_PLAIN && raw_len != n) || (kind != KIND_PLAIN && kind != KIND_LZ4))
        return ERR_CORRUPT;
    struct block *b = mem_try(sizeof(*b) + raw_len);
    if (!b)
        return ERR_NOMEM;
    atomic_init(&b->refs, 1);
    b->len = raw_len;
    if (kind == KIND_PLAIN) {
        memcpy(b->bytes, sealed.p, n);
    } else if (LZ4_decompress_safe(sealed.p, b->bytes, (int)n, (int)raw_len) != (int)raw_len) {
        block_unref(b);
        return ERR_CORRUPT;
    }
    *out = b;
    return ERR_OK;
}
