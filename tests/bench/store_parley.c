#include "tests/bench/store_engine.h"
#include "base/worker.h"
#include "storage/lsm.h"
#include <time.h>

struct store {
    struct block_cache *cache;
    struct pool *pool;
    struct mailbox *home;
    struct lsm *lsm;
    struct buf value;
    uint64_t position;
};

static void must(enum err err)
{
    if (err != ERR_OK)
        engine_failed("parley", err_text(err));
}

static void no_wake(void *arg) { (void)arg; }

static void *parley_open(const char *dir, size_t cache_bytes)
{
    struct store *s = mem_new(struct store);
    char *why = NULL;
    block_cache_create(cache_bytes, &s->cache);
    mailbox_create(no_wake, NULL, &s->home);
    must(pool_create("bench", 1, 1000, &s->pool));
    struct lsm_conf c = {.env = env_posix(),
                         .dir = dir,
                         .pool = s->pool,
                         .home = s->home,
                         .cache = s->cache,
                         .memtable_bytes = ENGINE_MEMTABLES_BYTES / 4, /* one active, three frozen */
                         .filter_prefix = ENGINE_PREFIX};
    if (lsm_open(&c, &s->lsm, &why) != ERR_OK)
        engine_failed("parley", why);
    return s;
}

static void parley_close(void *e)
{
    struct store *s = e;
    lsm_close(s->lsm);
    pool_destroy(s->pool);
    mailbox_drain(s->home);
    mailbox_destroy(s->home);
    block_cache_destroy(s->cache);
    buf_deinit(&s->value);
    mem_free(s);
}

static void nap(void)
{
    struct timespec t = {0, 200000}; /* not a busy wait: that would be counted as the engine's CPU */
    nanosleep(&t, NULL);
}

static void parley_write(void *e, const struct engine_put *puts, size_t n)
{
    struct store *s = e;
    while (lsm_is_busy(s->lsm))
        if (mailbox_drain(s->home) == 0)
            nap();
    for (size_t i = 0; i < n; i++)
        must(lsm_put(s->lsm, puts[i].key, puts[i].value));
    lsm_applied(s->lsm, 1, ++s->position);
    mailbox_drain(s->home);
}

static void parley_settle(void *e)
{
    enum { QUIET_NAPS = 1500 }; /* no work has come home for so long: none is under way */
    struct store *s = e;
    while (lsm_flush(s->lsm) == ERR_AGAIN || !lsm_is_clean(s->lsm))
        if (mailbox_drain(s->home) == 0)
            nap();
    for (int quiet = 0; quiet < QUIET_NAPS; quiet++) {
        if (mailbox_drain(s->home) > 0)
            quiet = 0;
        nap();
    }
}

static bool parley_get(void *e, struct str key)
{
    struct store *s = e;
    enum err err = lsm_get(s->lsm, key, NULL, &s->value);
    if (err != ERR_NOT_FOUND)
        must(err);
    if (err == ERR_OK)
        engine_look(buf_get(&s->value));
    return err == ERR_OK;
}

static bool look(void *arg, struct str key, struct str value)
{
    (void)key;
    engine_look(value);
    ++*(size_t *)arg;
    return true;
}

static size_t parley_scan(void *e, struct str from, struct str to, size_t max)
{
    struct store *s = e;
    size_t n = 0;
    must(lsm_scan_run(s->lsm, from, to, max, NULL, look, &n));
    return n;
}

static void parley_describe(void *e)
{
    struct lsm_stats s;
    lsm_stats(((struct store *)e)->lsm, &s);
    double n = (double)s.entries;
    printf("parley: %zu tables, %llu flushes, %llu merges, each byte merged %.2f times; in memory for each key "
           "%.2f bytes of filter, %.2f of index\n",
           s.tables, (unsigned long long)s.flushes, (unsigned long long)s.compactions,
           (double)s.compacted_bytes / (double)s.table_bytes, (double)s.filter_bytes / n, (double)s.index_bytes / n);
}

const struct engine engine_parley = {.name = "parley",
                                     .open = parley_open,
                                     .close = parley_close,
                                     .write = parley_write,
                                     .settle = parley_settle,
                                     .get = parley_get,
                                     .scan = parley_scan,
                                     .describe = parley_describe};
