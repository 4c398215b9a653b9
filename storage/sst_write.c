/* A table file, front to back; every byte is under a checksum that knows the table's id and the place:
 *
 *   data blocks   sealed blocks (block.c) of about 4 KiB; a value as large as that has one of its own
 *   filter        one sealed block: Bloom lines of every key and, once each, of every key's first `filter_prefix` bytes
 *   index         one sealed block: last key of each data block -> varint offset, varint length (sealed)
 *   meta          one sealed block: the numbers of struct sst_meta as varints, then the least and the greatest key
 *   footer        u64 meta's offset   u32 meta's length (sealed)   u32 version   u64 table id
 *                 u64 XXH3 of the 24 bytes before, seeded with the magic   u64 magic
 *
 * Writes are large, and every few MiB the file is synced, so that the disk's queue stays short for the log's own syncs.
 */
#include "storage/sst_write.h"
#include "base/enc.h"
#include "base/hash.h"
#include <assert.h>

enum { WRITE_BYTES = 256 << 10, SYNC_BYTES = 8 << 20 };

void sst_writer_init(struct sst_writer *w, struct file *file, uint64_t table, size_t filter_prefix, bool compress)
{
    *w = (struct sst_writer){.file = file, .table = table, .filter_prefix = filter_prefix, .compress = compress};
}

/* Falls to SST_BITS_LEAST, by two where a table is four times as large. */
unsigned sst_filter_bits(uint64_t hashes)
{
    unsigned bits = SST_BITS_MOST;
    for (uint64_t n = UINT64_C(1) << 18; bits > SST_BITS_LEAST && hashes > n; n *= 4)
        bits -= 2;
    return bits;
}

/* A filter doesn't say with how many bits it was made. Each entry has a hash, so what gives fewer is not it; what fits
 * none was folded, or is older than the rule. */
uint64_t sst_filter_hashes(uint64_t filter_bytes, uint64_t entries)
{
    for (unsigned bits = SST_BITS_LEAST; bits <= SST_BITS_MOST; bits += 2) {
        uint64_t n = filter_bytes * 8 / bits + 1;
        if (n >= entries && sst_filter_bits(n) == bits)
            return n;
    }
    return filter_bytes * 8 / SST_BITS_LEAST + 1;
}

enum err sst_writer_expect(struct sst_writer *w, size_t hashes)
{
    assert(w->entries == 0);
    return bloom_begin(&w->bloom, hashes, sst_filter_bits(hashes));
}

void sst_writer_deinit(struct sst_writer *w)
{
    buf_deinit(&w->pending);
    block_builder_deinit(&w->data);
    block_builder_deinit(&w->index);
    buf_deinit(&w->first);
    buf_deinit(&w->hashes);
    bloom_deinit(&w->bloom);
}

/* In pieces: a filter of a large table is many times what may be unsynced. */
static enum err write_pending(struct sst_writer *w)
{
    enum err err = ERR_OK;
    for (size_t done = 0, n; done < w->pending.len; done += n) {
        n = w->pending.len - done < SYNC_BYTES ? w->pending.len - done : SYNC_BYTES;
        TRY(file_write(w->file, w->pending.p + done, n, w->written + done));
        if (w->written + done + n - w->synced >= SYNC_BYTES) {
            w->synced = w->written + done + n;
            TRY(file_sync(w->file));
        }
    }
out:
    w->written += w->pending.len;
    buf_clear(&w->pending);
    return err;
}

struct place {
    uint64_t at;
    uint32_t len;
};

static struct place seal(struct sst_writer *w, struct str raw, bool compress)
{
    uint64_t at = sst_writer_bytes(w);
    block_seal(raw, w->table, at, compress, &w->pending);
    return (struct place){at, (uint32_t)(sst_writer_bytes(w) - at)};
}

static enum err cut_block(struct sst_writer *w)
{
    char at[20];
    if (block_builder_is_empty(&w->data))
        return ERR_OK;
    struct place p = seal(w, block_builder_finish(&w->data), w->compress);
    size_t n = enc_varint(at, p.at);
    n += enc_varint(at + n, p.len);
    block_builder_add(&w->index, block_builder_last(&w->data), str_of(at, n), false);
    block_builder_clear(&w->data);
    w->blocks++;
    return w->pending.len >= WRITE_BYTES ? write_pending(w) : ERR_OK;
}

static void add_hash(struct sst_writer *w, uint64_t hash)
{
    if (w->bloom.lines)
        bloom_add(&w->bloom, hash);
    else
        buf_add(&w->hashes, &hash, sizeof(hash));
}

static void add_to_filter(struct sst_writer *w, struct str key)
{
    add_hash(w, bloom_hash(key));
    if (w->filter_prefix == 0 || key.len <= w->filter_prefix)
        return;
    uint64_t prefix = bloom_hash(str_of(key.p, w->filter_prefix));
    if (prefix != w->last_prefix || w->entries == 0)
        add_hash(w, prefix);
    w->last_prefix = prefix;
}

enum err sst_writer_add(struct sst_writer *w, struct str key, struct str value, bool is_tombstone)
{
    enum err err = ERR_OK;
    if (value.len >= SST_BLOCK_BYTES)
        TRY(cut_block(w));
    if (w->entries == 0)
        buf_str(&w->first, key);
    add_to_filter(w, key);
    block_builder_add(&w->data, key, value, is_tombstone);
    w->entries++;
    w->tombstones += is_tombstone;
    if (block_builder_bytes(&w->data) >= SST_BLOCK_BYTES)
        TRY(cut_block(w));
out:
    return err;
}

static void put_meta(struct sst_writer *w, struct place filter, struct place index, struct str last, struct buf *out)
{
    uint64_t v[] = {w->entries, w->tombstones, w->blocks, w->filter_prefix, filter.at, filter.len, index.at, index.len};
    for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++)
        enc_add_varint(out, v[i]);
    enc_add_field(out, buf_get(&w->first));
    enc_add_field(out, last);
}

static void put_footer(struct sst_writer *w, struct place meta)
{
    char *p = buf_reserve(&w->pending, SST_FOOTER_BYTES);
    enc_u64(p, meta.at);
    enc_u32(p + 8, meta.len);
    enc_u32(p + 12, SST_VERSION);
    enc_u64(p + 16, w->table);
    enc_u64(p + 24, hash_sum(p, 24, SST_MAGIC));
    enc_u64(p + 32, SST_MAGIC);
    w->pending.len += SST_FOOTER_BYTES;
}

/* The filter, in `out` or the builder's memory. */
static struct str make_filter(struct sst_writer *w, struct buf *out)
{
    size_t n = w->hashes.len / sizeof(uint64_t);

    if (w->bloom.lines)
        return bloom_end(&w->bloom, sst_filter_bits(w->bloom.added));
    bloom_build((const uint64_t *)(void *)w->hashes.p, n, sst_filter_bits(n), out);
    buf_deinit(&w->hashes);
    return buf_get(out);
}

enum err sst_writer_finish(struct sst_writer *w)
{
    struct buf built = {0}, meta = {0};
    enum err err;

    assert(w->entries > 0);
    TRY(cut_block(w));
    TRY(write_pending(w));
    struct str filter = make_filter(w, &built);
    TRY(filter.len <= BLOCK_BYTES_MAX && block_builder_bytes(&w->index) <= BLOCK_BYTES_MAX ? ERR_OK : ERR_LIMIT);
    struct place at_filter = seal(w, filter, false);
    bloom_deinit(&w->bloom);
    TRY(write_pending(w)); /* not together with the index in memory */
    struct str last = block_builder_last(&w->index);
    struct place at_index = seal(w, block_builder_finish(&w->index), true);
    put_meta(w, at_filter, at_index, last, &meta);
    put_footer(w, seal(w, buf_get(&meta), false));
    TRY(write_pending(w));
    TRY(file_sync(w->file));
out:
    buf_deinit(&built);
    buf_deinit(&meta);
    return err;
}
