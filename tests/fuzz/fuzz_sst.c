/* Any bytes as a table's file, the checksums along the way to what the footer names made right: no crash; what opens is
 * walked to an end or to an error, and a search never ends before the key. */
#include "base/enc.h"
#include "base/hash.h"
#include "storage/bloom.h"
#include "storage/sst_read.h"
#include "storage/sst_write.h"
#include "tests/fuzz/fuzz_disk.h"

enum { TABLE = 42, SEARCHES = 64 };
#define DIR "/t"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- checksums --- */

static bool is_within(const struct buf *b, uint64_t at, uint64_t len)
{
    return len > SEAL_BYTES && at <= b->len && len <= b->len - at;
}

static void seal_again(struct buf *b, uint64_t at, uint64_t len)
{
    char *p = b->p + at;

    enc_u64(p + len - 8, hash_sum(p, len - 8, hash_u64(TABLE ^ hash_u64(at + 1)))); /* as block.c has it */
}

/* Its bytes, opened; NULL: it is no block. */
static struct block *open_block(struct buf *b, uint64_t at, uint64_t len)
{
    struct block *out;

    if (!is_within(b, at, len))
        return NULL;
    seal_again(b, at, len);
    return block_unseal(str_of(b->p + at, len), TABLE, at, &out) == ERR_OK ? out : NULL;
}

static void fix_index(struct buf *b, const struct block *index)
{
    struct block_iter w;

    for (block_iter_init(&w, str_of(index->bytes, index->len)); w.is_valid; block_iter_next(&w)) {
        struct dec d = dec_of(w.value);
        uint64_t at = dec_get_varint(&d), len = dec_get_varint(&d);
        if (dec_done(&d) && is_within(b, at, len))
            seal_again(b, at, len);
    }
}

static void fix_meta(struct buf *b, const struct block *meta)
{
    struct dec d = dec_of(str_of(meta->bytes, meta->len));
    uint64_t v[8];

    for (size_t i = 0; i < 8; i++)
        v[i] = dec_get_varint(&d);
    struct block *filter = open_block(b, v[4], v[5]), *index = open_block(b, v[6], v[7]);
    if (index)
        fix_index(b, index);
    block_unref(filter);
    block_unref(index);
}

static void fix(struct buf *b)
{
    if (b->len < SST_FOOTER_BYTES)
        return;
    char *footer = b->p + b->len - SST_FOOTER_BYTES;
    enc_u64(footer + 16, TABLE);
    enc_u64(footer + 24, hash_sum(footer, 24, SST_MAGIC));
    enc_u64(footer + 32, SST_MAGIC);
    struct block *meta = open_block(b, dec_u64(footer), dec_u32(footer + 8));
    if (meta)
        fix_meta(b, meta);
    block_unref(meta);
}

/* --- reading --- */

static enum err load(struct sst_source *s, struct sst *t, const struct block_iter *index, struct block **out)
{
    uint64_t at;
    uint32_t len;

    (void)s;
    return sst_index_place(t, index, &at, &len) ? sst_load(t, at, len, out) : ERR_CORRUPT;
}

static struct sst_source source = {load};

static void search(struct sst *t, struct str key)
{
    struct sst_iter w;

    (void)sst_may_have(t, key, bloom_hash(key));
    (void)sst_may_have_range(t, key, (struct str){0});
    sst_iter_init(&w, t, &source, key);
    if (w.it.is_valid && (str_cmp(w.it.key, key) < 0 || w.it.key.len > BLOCK_KEY_MAX))
        abort(); /* a search ends at the key or behind it, whatever the bytes are */
    sst_iter_deinit(&w);
}

static void walk(struct sst *t)
{
    struct sst_iter w;
    uint64_t met = 0;

    for (sst_iter_init(&w, t, &source, (struct str){0}); w.it.is_valid; w.it.next(&w.it)) {
        if (met++ < SEARCHES)
            search(t, w.it.key);
    }
    if (w.it.err != ERR_OK && w.it.err != ERR_CORRUPT && w.it.err != ERR_NOMEM)
        abort();
    sst_iter_deinit(&w);
}

static void read_table(struct str bytes)
{
    struct simdisk *d;
    struct sst *t = NULL;
    struct buf why = {0};
    char *path = sst_path(DIR, TABLE);

    simdisk_create(1, &d);
    fuzz_put(d, DIR, path, bytes);
    if (sst_open(simdisk_fs(d), DIR, TABLE, bytes.len, &t, &why) == ERR_OK)
        walk(t);
    else if (why.len == 0)
        abort();
    sst_close(t);
    buf_deinit(&why);
    mem_free(path);
    simdisk_destroy(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf b = {0};

    read_table(str_of(data, size));
    buf_add(&b, data, size);
    fix(&b);
    read_table(buf_get(&b));
    buf_deinit(&b);
    return 0;
}
