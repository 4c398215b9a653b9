/* RocksDB as one would run it beside a log of one's own: no WAL, LZ4, blocks of 4 KiB, Bloom filters of 10 bits for
 * keys and their prefixes, XXH3, hash index in data blocks, leveled compaction with dynamic levels, two background
 * jobs, one writer. Its scans know their prefix and their upper bound, its gets don't copy. Debian's build has its
 * asserts on. */
#include "tests/bench/store_engine.h"
#include <rocksdb/c.h>
#include <time.h>

struct store {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_block_based_table_options_t *table;
    rocksdb_cache_t *cache;
    rocksdb_readoptions_t *get, *scan;
    rocksdb_writeoptions_t *put;
    rocksdb_writebatch_t *batch;
};

static void must(char *error)
{
    if (error)
        engine_failed("rocksdb", error);
}

static void set_table(struct store *s, size_t cache_bytes)
{
    enum { XXH3 = 4, FORMAT = 5 };
    s->table = rocksdb_block_based_options_create();
    s->cache = rocksdb_cache_create_lru(cache_bytes);
    rocksdb_block_based_options_set_block_size(s->table, 4096);
    rocksdb_block_based_options_set_block_cache(s->table, s->cache);
    rocksdb_block_based_options_set_filter_policy(s->table, rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_block_based_options_set_whole_key_filtering(s->table, 1);
    rocksdb_block_based_options_set_format_version(s->table, FORMAT);
    rocksdb_block_based_options_set_checksum(s->table, XXH3);
    rocksdb_block_based_options_set_data_block_index_type(
        s->table, rocksdb_block_based_table_data_block_index_type_binary_search_and_hash);
    rocksdb_options_set_block_based_table_factory(s->options, s->table);
}

static void set_options(struct store *s)
{
    rocksdb_options_t *o = s->options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_compression(o, rocksdb_lz4_compression);
    rocksdb_options_set_prefix_extractor(o, rocksdb_slicetransform_create_fixed_prefix(ENGINE_PREFIX));
    rocksdb_options_set_memtable_prefix_bloom_size_ratio(o, 0.1);
    rocksdb_options_set_memtable_whole_key_filtering(o, 1);
    rocksdb_options_set_write_buffer_size(o, ENGINE_MEMTABLES_BYTES / 2);
    rocksdb_options_set_max_write_buffer_number(o, 2);
    rocksdb_options_set_max_background_jobs(o, 2);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(o, 1);
    rocksdb_options_set_allow_concurrent_memtable_write(o, 0);
    rocksdb_options_set_max_open_files(o, -1);
    rocksdb_options_set_bytes_per_sync(o, 8 << 20);
}

static void *rocks_open(const char *dir, size_t cache_bytes)
{
    struct store *s = mem_new(struct store);
    char *error = NULL;
    set_options(s);
    set_table(s, cache_bytes);
    s->db = rocksdb_open(s->options, dir, &error);
    must(error);
    s->get = rocksdb_readoptions_create();
    s->scan = rocksdb_readoptions_create();
    rocksdb_readoptions_set_prefix_same_as_start(s->scan, 1);
    s->put = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(s->put, 1);
    s->batch = rocksdb_writebatch_create();
    return s;
}

static void rocks_close(void *e)
{
    struct store *s = e;
    rocksdb_writebatch_destroy(s->batch);
    rocksdb_writeoptions_destroy(s->put);
    rocksdb_readoptions_destroy(s->get);
    rocksdb_readoptions_destroy(s->scan);
    rocksdb_close(s->db);
    rocksdb_block_based_options_destroy(s->table);
    rocksdb_options_destroy(s->options);
    rocksdb_cache_destroy(s->cache);
    mem_free(s);
}

static void rocks_write(void *e, const struct engine_put *puts, size_t n)
{
    struct store *s = e;
    char *error = NULL;
    rocksdb_writebatch_clear(s->batch);
    for (size_t i = 0; i < n; i++)
        rocksdb_writebatch_put(s->batch, puts[i].key.p, puts[i].key.len, puts[i].value.p, puts[i].value.len);
    rocksdb_write(s->db, s->put, s->batch, &error);
    must(error);
}

static bool is_at_work(struct store *s)
{
    static const char *const questions[] = {"rocksdb.num-running-compactions", "rocksdb.compaction-pending",
                                            "rocksdb.num-running-flushes", "rocksdb.mem-table-flush-pending"};
    uint64_t n = 0, all = 0;
    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++)
        all += rocksdb_property_int(s->db, questions[i], &n) == 0 ? n : 0;
    return all > 0;
}

static void rocks_settle(void *e)
{
    enum { QUIET_NAPS = 300 };
    struct store *s = e;
    struct timespec nap = {0, 1000000};
    rocksdb_flushoptions_t *o = rocksdb_flushoptions_create();
    char *error = NULL;
    rocksdb_flush(s->db, o, &error);
    must(error);
    rocksdb_flushoptions_destroy(o);
    for (int quiet = 0; quiet < QUIET_NAPS; quiet++) {
        if (is_at_work(s))
            quiet = 0;
        nanosleep(&nap, NULL);
    }
}

static bool rocks_get(void *e, struct str key)
{
    struct store *s = e;
    char *error = NULL;
    rocksdb_pinnableslice_t *value = rocksdb_get_pinned(s->db, s->get, key.p, key.len, &error);
    must(error);
    if (!value)
        return false;
    struct str v;
    v.p = rocksdb_pinnableslice_value(value, &v.len);
    engine_look(v);
    rocksdb_pinnableslice_destroy(value);
    return true;
}

static size_t rocks_scan(void *e, struct str from, struct str to, size_t max)
{
    struct store *s = e;
    size_t n = 0;
    char *error = NULL;
    rocksdb_readoptions_set_iterate_upper_bound(s->scan, to.p, to.len);
    rocksdb_iterator_t *it = rocksdb_create_iterator(s->db, s->scan);
    for (rocksdb_iter_seek(it, from.p, from.len); n < max && rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        struct str v;
        v.p = rocksdb_iter_value(it, &v.len);
        engine_look(v);
        if (++n == max)
            break; /* without a step that nobody asked for */
    }
    rocksdb_iter_get_error(it, &error);
    must(error);
    rocksdb_iter_destroy(it);
    return n;
}

static void rocks_describe(void *e)
{
    struct store *s = e;
    char *levels = rocksdb_property_value(s->db, "rocksdb.levelstats");
    uint64_t readers = 0;
    rocksdb_property_int(s->db, "rocksdb.estimate-table-readers-mem", &readers);
    printf("rocksdb: %.1f MiB of filters and indexes in memory; levels:", (double)readers / (1 << 20));
    for (char *line = levels, *end; line && (end = strchr(line, '\n')) != NULL; line = end + 1) {
        unsigned level, files, mib;
        if (sscanf(line, "%u %u %u", &level, &files, &mib) == 3 && files > 0)
            printf(" L%u %u tables %u MiB;", level, files, mib);
    }
    printf("\n");
    rocksdb_free(levels);
}

const struct engine engine_rocksdb = {.name = "rocksdb",
                                      .open = rocks_open,
                                      .close = rocks_close,
                                      .write = rocks_write,
                                      .settle = rocks_settle,
                                      .get = rocks_get,
                                      .scan = rocks_scan,
                                      .describe = rocks_describe};
