/* LevelDB: Snappy, blocks of 4 KiB, Bloom filters of 10 bits, tables of 16 MiB. It has no way to leave out its own log
 * (which it doesn't sync here), no prefix filters and no LZ4; and no way to say whether it is at work, so settling
 * waits until the process uses no CPU. */
#include "tests/bench/store_engine.h"
#include <leveldb/c.h>
#include <time.h>

struct store {
    leveldb_t *db;
    leveldb_options_t *options;
    leveldb_cache_t *cache;
    leveldb_filterpolicy_t *filter;
    leveldb_readoptions_t *read;
    leveldb_writeoptions_t *put;
    leveldb_writebatch_t *batch;
};

static void must(char *error)
{
    if (error)
        engine_failed("leveldb", error);
}

static void *level_open(const char *dir, size_t cache_bytes)
{
    struct store *s = mem_new(struct store);
    char *error = NULL;
    leveldb_options_t *o = s->options = leveldb_options_create();
    s->cache = leveldb_cache_create_lru(cache_bytes);
    s->filter = leveldb_filterpolicy_create_bloom(10);
    leveldb_options_set_create_if_missing(o, 1);
    leveldb_options_set_compression(o, leveldb_snappy_compression);
    leveldb_options_set_block_size(o, 4096);
    leveldb_options_set_cache(o, s->cache);
    leveldb_options_set_filter_policy(o, s->filter);
    leveldb_options_set_write_buffer_size(o, ENGINE_MEMTABLES_BYTES / 2); /* one active, one being flushed */
    leveldb_options_set_max_file_size(o, 16 << 20);
    leveldb_options_set_max_open_files(o, 10000);
    s->db = leveldb_open(o, dir, &error);
    must(error);
    s->read = leveldb_readoptions_create();
    leveldb_readoptions_set_verify_checksums(s->read, 1); /* the others always do */
    s->put = leveldb_writeoptions_create();
    s->batch = leveldb_writebatch_create();
    return s;
}

static void level_close(void *e)
{
    struct store *s = e;
    leveldb_writebatch_destroy(s->batch);
    leveldb_writeoptions_destroy(s->put);
    leveldb_readoptions_destroy(s->read);
    leveldb_close(s->db);
    leveldb_options_destroy(s->options);
    leveldb_filterpolicy_destroy(s->filter);
    leveldb_cache_destroy(s->cache);
    mem_free(s);
}

static void level_write(void *e, const struct engine_put *puts, size_t n)
{
    struct store *s = e;
    char *error = NULL;
    leveldb_writebatch_clear(s->batch);
    for (size_t i = 0; i < n; i++)
        leveldb_writebatch_put(s->batch, puts[i].key.p, puts[i].key.len, puts[i].value.p, puts[i].value.len);
    leveldb_write(s->db, s->put, s->batch, &error);
    must(error);
}

static double cpu(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void level_settle(void *e)
{
    enum { QUIET = 10 };
    struct store *s = e;
    struct timespec nap = {0, 50000000};
    leveldb_compact_range(s->db, "\xff\xff", 2, "\xff\xff\xff", 3); /* no key is there: flushes the memtable only */
    for (int quiet = 0; quiet < QUIET; quiet++) {
        double from = cpu();
        nanosleep(&nap, NULL);
        if (cpu() - from > 0.002)
            quiet = 0;
    }
}

static bool level_get(void *e, struct str key)
{
    struct store *s = e;
    char *error = NULL;
    struct str v;
    char *value = leveldb_get(s->db, s->read, key.p, key.len, &v.len, &error);
    must(error);
    if (!value)
        return false;
    v.p = value;
    engine_look(v);
    leveldb_free(value);
    return true;
}

static size_t level_scan(void *e, struct str from, struct str to, size_t max)
{
    struct store *s = e;
    size_t n = 0;
    char *error = NULL;
    leveldb_iterator_t *it = leveldb_create_iterator(s->db, s->read);
    for (leveldb_iter_seek(it, from.p, from.len); leveldb_iter_valid(it); leveldb_iter_next(it)) {
        struct str key, v;
        key.p = leveldb_iter_key(it, &key.len);
        if (str_cmp(key, to) >= 0)
            break;
        v.p = leveldb_iter_value(it, &v.len);
        engine_look(v);
        if (++n == max)
            break;
    }
    leveldb_iter_get_error(it, &error);
    must(error);
    leveldb_iter_destroy(it);
    return n;
}

const struct engine engine_leveldb = {.name = "leveldb",
                                      .open = level_open,
                                      .close = level_close,
                                      .write = level_write,
                                      .settle = level_settle,
                                      .get = level_get,
                                      .scan = level_scan};
