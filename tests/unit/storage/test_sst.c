#include "base/enc.h"
#include "storage/bloom.h"
#include "storage/build.h"
#include "storage/sst_read.h"
#include "storage/sst_write.h"
#include "tests/lib/unit.h"
#include "tests/unit/storage/quiet.h"
#include <unistd.h>

enum { TABLE = 42, PREFIX = 8, KEY = 16, CONVS = 40, SEQS = 60, N = CONVS * SEQS };

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/parley-sst-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    char *path = sst_path(dir, TABLE);
    unlink(path);
    mem_free(path);
    return rmdir(dir);
}

static struct str key_of(uint64_t i, char *out)
{
    enc_be64(out, i / SEQS * 3);
    enc_be64(out + 8, i % SEQS * 2);
    return str_of(out, KEY);
}

/* Mostly small, some empty, one of several blocks' size. */
static size_t size_of(uint64_t i) { return i == 700 ? 100000 : i % 9 == 0 ? 0 : i * 13 % 300; }

static struct str value_of(uint64_t i, struct buf *b)
{
    buf_clear(b);
    char *p = buf_reserve(b, size_of(i) + 8);
    for (size_t at = 0; at < size_of(i); at += 8)
        enc_u64(p + at, i * 0x9e3779b97f4a7c15u + at % 64);
    return str_of(p, size_of(i));
}

static struct sst *build_now(const struct build_conf *c)
{
    struct build *b;
    enum err err;
    build_create(c, &b);
    while ((err = build_step(b, 10000)) == ERR_AGAIN)
        ;
    assert_ok(err);
    struct sst *t = build_take(b);
    build_destroy(b);
    return t;
}

static void write_table(void)
{
    struct memtable *m;
    struct buf value = {0};
    char key[KEY], *path = sst_path(dir, TABLE);
    unlink(path);
    memtable_create(&m);
    for (uint64_t i = 0; i < N; i++) {
        if (i % 17 == 0)
            memtable_delete(m, key_of(i, key));
        else
            memtable_put(m, key_of(i, key), value_of(i, &value));
    }
    struct build_conf c = {.fs = fs_posix(), .dir = dir, .table = TABLE, .filter_prefix = PREFIX, .memtable = m};
    sst_close(build_now(&c));
    memtable_destroy(m);
    buf_deinit(&value);
    mem_free(path);
}

static enum err load(struct sst_source *s, struct sst *t, const struct block_iter *index, struct block **out)
{
    uint64_t at;
    uint32_t len;
    (void)s;
    return sst_index_place(t, index, &at, &len) ? sst_load(t, at, len, out) : ERR_CORRUPT;
}

static struct sst_source source = {load};

/* Opens it and walks it all: how a whole table is checked. */
static enum err read_all(uint64_t bytes, uint64_t *met, struct buf *why)
{
    struct sst *t = NULL;
    struct sst_iter w;
    struct buf value = {0};
    char key[KEY];
    enum err err = sst_open(fs_posix(), dir, TABLE, bytes, &t, why);
    if (err != ERR_OK)
        return err;
    uint64_t i = 0;
    for (sst_iter_init(&w, t, &source, (struct str){0}); w.it.is_valid; w.it.next(&w.it), i++) {
        assert_true(str_eq(w.it.key, key_of(i, key)));
        assert_int_equal(w.it.is_tombstone, i % 17 == 0);
        assert_true(w.it.is_tombstone ? w.it.value.len == 0 : str_eq(w.it.value, value_of(i, &value)));
    }
    err = w.it.err;
    *met = i;
    sst_iter_deinit(&w);
    sst_close(t);
    buf_deinit(&value);
    return err;
}

PROMISE(a_walk_meets_what_was_written)
{
    uint64_t met;
    struct buf why = {0};
    write_table();
    assert_ok(read_all(0, &met, &why));
    assert_int_equal(met, N);
}

PROMISE(a_walk_starts_at_the_first_key_at_or_after_any_other)
{
    struct sst *t = NULL;
    struct sst_iter w;
    struct buf why = {0};
    char key[KEY], want[KEY];
    write_table();
    assert_ok(sst_open(fs_posix(), dir, TABLE, 0, &t, &why));
    for (uint64_t i = 0; i + 1 < N; i += 7) {
        key_of(i, key);
        key[KEY - 1]++; /* between this one and the next */
        sst_iter_init(&w, t, &source, str_of(key, KEY));
        assert_true(w.it.is_valid && str_eq(w.it.key, key_of(i + 1, want)));
        sst_iter_deinit(&w);
    }
    sst_iter_init(&w, t, &source, STR("\xff"));
    assert_false(w.it.is_valid);
    assert_ok(w.it.err);
    sst_iter_deinit(&w);
    sst_close(t);
}

/* The table's first block, whatever is asked for: its sum is right, and its keys are not where the index says. */
static enum err load_first(struct sst_source *s, struct sst *t, const struct block_iter *index, struct block **out)
{
    struct block_iter first;
    (void)index;
    block_iter_init(&first, t->index);
    return load(s, t, &first, out);
}

PROMISE(a_search_that_would_end_before_its_key_is_damage)
{
    struct sst_source wrong = {load_first};
    struct sst *t = NULL;
    struct sst_iter w;
    struct buf why = {0};
    char key[KEY];
    write_table();
    assert_ok(sst_open(fs_posix(), dir, TABLE, 0, &t, &why));
    sst_iter_init(&w, t, &wrong, key_of(N / 2, key));
    assert_false(w.it.is_valid);
    assert_int_equal(w.it.err, ERR_CORRUPT);
    sst_iter_deinit(&w);
    sst_close(t);
}

PROMISE(its_filter_knows_keys_and_prefixes)
{
    struct sst *t = NULL;
    struct buf why = {0};
    char key[KEY];
    size_t wrong = 0, wrong_prefixes = 0;
    write_table();
    assert_ok(sst_open(fs_posix(), dir, TABLE, 0, &t, &why));
    for (uint64_t i = 0; i < N; i++) {
        struct str k = key_of(i, key), prefix = str_of(k.p, PREFIX);
        assert_true(sst_may_have(t, k, bloom_hash(k)));
        assert_true(bloom_may_have(t->filter, bloom_hash(prefix)));
        key[7]++; /* no such conversation */
        wrong += sst_may_have(t, k, bloom_hash(k));
        wrong_prefixes += bloom_may_have(t->filter, bloom_hash(prefix));
    }
    assert_true(wrong < N / 200);
    assert_true(wrong_prefixes <= 2 * SEQS); /* of two conversations of 40 */
    assert_true(t->entries == N && t->tombstones == (N + 16) / 17 && t->blocks > 10);
    assert_true(str_eq(t->first, key_of(0, key)));
    assert_true(str_eq(t->last, key_of(N - 1, key)));
    sst_close(t);
}

PROMISE(a_flush_is_written_as_it_is_and_compressed_when_merged)
{
    enum { MERGED = TABLE + 1 };
    struct sst *t = NULL;
    struct buf why = {0};
    write_table();
    assert_ok(sst_open(fs_posix(), dir, TABLE, 0, &t, &why));
    struct build_conf c = {
        .fs = fs_posix(), .dir = dir, .table = MERGED, .filter_prefix = PREFIX, .tables = &t, .n_tables = 1};
    struct sst *merged = build_now(&c);
    assert_true(t->entries == merged->entries);
    assert_true(merged->data_end + size_of(700) * 9 / 10 < t->data_end);
    assert_int_equal(unlink(merged->path), 0);
    sst_close(merged);
    sst_close(t);
}

/* Of any size, and of a table made when all had 10 bits: never fewer than there are, so that a merge's filter has room.
 */
PROMISE(a_filter_tells_how_many_hashes_it_holds)
{
    unsigned before = SST_BITS_MOST;

    for (uint64_t n = 1; n < UINT64_C(1) << 26; n += n / 7 + 1) {
        unsigned bits = sst_filter_bits(n);
        uint64_t lines = (n * bits + 511) / 512, old_lines = (n * SST_BITS_LEAST + 511) / 512;
        assert_true(bits <= before && bits >= SST_BITS_LEAST);
        before = bits;
        uint64_t told = sst_filter_hashes(lines * BLOOM_LINE, n / 2 + 1);
        assert_true(told >= n && told <= n * SST_BITS_MOST / SST_BITS_LEAST + 512);
        told = sst_filter_hashes(lines * BLOOM_LINE, n);
        assert_true(told <= n + 64 || sst_filter_bits(told) < bits); /* more where a larger one is as long */
        assert_true(sst_filter_hashes(old_lines * BLOOM_LINE, n) >= n);
        assert_true(sst_filter_hashes(old_lines * BLOOM_LINE, n / 2 + 1) >= n / 2); /* with many prefixes */
    }
    assert_int_equal(sst_filter_bits(100000), SST_BITS_MOST);
    assert_int_equal(sst_filter_bits(10000000), SST_BITS_LEAST);
}

static void flip(struct file *f, uint64_t bit)
{
    char c;
    assert_ok(file_read_exact(f, &c, 1, bit / 8));
    c = (char)(c ^ 1 << bit % 8);
    assert_ok(file_write(f, &c, 1, bit / 8));
}

PROMISE(a_flipped_bit_anywhere_is_damage_and_is_never_read_past)
{
    struct file *f = NULL;
    struct buf why = {0};
    char *path = sst_path(dir, TABLE);
    uint64_t bytes, met;
    write_table();
    int said = quiet(); /* it names the file every time */
    assert_ok(fs_open(fs_posix(), path, FS_WRITE, &f));
    assert_ok(file_size(f, &bytes));
    for (uint64_t bit = 3; bit<bytes * 8; bit += bit>(bytes - 60) * 8 ? 1 : bytes * 8 / 1000 + 7) {
        flip(f, bit);
        buf_clear(&why);
        enum err err = read_all(0, &met, &why);
        assert_int_equal(err, ERR_CORRUPT);
        flip(f, bit);
    }
    assert_ok(read_all(bytes, &met, &why));
    loud(said);
    file_close(f);
    buf_deinit(&why);
    mem_free(path);
}

PROMISE(a_table_that_is_cut_or_missing_is_named)
{
    struct file *f = NULL;
    struct buf why = {0};
    char *path = sst_path(dir, TABLE);
    uint64_t bytes, met;
    write_table();
    int said = quiet();
    assert_ok(fs_open(fs_posix(), path, FS_WRITE, &f));
    assert_ok(file_size(f, &bytes));
    for (uint64_t cut = bytes; cut > 0;) {
        cut = cut > bytes - 100 ? cut - 1 : cut / 2;
        assert_ok(file_truncate(f, cut));
        for (int known = 0; known < 2; known++) {
            buf_clear(&why);
            assert_int_equal(read_all(known ? bytes : 0, &met, &why), ERR_CORRUPT);
            buf_char(&why, 0);
            assert_non_null(strstr(why.p, path));
        }
    }
    unlink(path);
    buf_clear(&why);
    assert_int_equal(read_all(bytes, &met, &why), ERR_CORRUPT);
    buf_char(&why, 0);
    assert_non_null(strstr(why.p, path));
    loud(said);
    file_close(f);
    buf_deinit(&why);
    mem_free(path);
}

PROMISE(a_table_under_another_number_is_damage)
{
    char *path = sst_path(dir, TABLE), *other = sst_path(dir, TABLE + 1);
    struct sst *t = NULL;
    struct buf why = {0};
    write_table();
    assert_ok(fs_rename(fs_posix(), path, other));
    assert_int_equal(sst_open(fs_posix(), dir, TABLE + 1, 0, &t, &why), ERR_CORRUPT);
    assert_ok(fs_rename(fs_posix(), other, path));
    buf_deinit(&why);
    mem_free(path);
    mem_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_walk_meets_what_was_written),
        HOLDS(a_walk_starts_at_the_first_key_at_or_after_any_other),
        HOLDS(a_search_that_would_end_before_its_key_is_damage),
        HOLDS(its_filter_knows_keys_and_prefixes),
        HOLDS(a_flush_is_written_as_it_is_and_compressed_when_merged),
        HOLDS(a_filter_tells_how_many_hashes_it_holds),
        HOLDS(a_flipped_bit_anywhere_is_damage_and_is_never_read_past),
        HOLDS(a_table_that_is_cut_or_missing_is_named),
        HOLDS(a_table_under_another_number_is_damage),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
