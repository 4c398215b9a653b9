/* lsm_rig: a store in a folder of its own, with or without workers, for the tests of the engine. */
#pragma once
#include "base/worker.h"
#include "storage/lsm.h"
#include "storage/lsm_need.h"
#include "tests/lib/unit.h"
#include <dirent.h>
#include <sched.h>
#include <unistd.h>

enum { RIG_PREFIX = 18 };

struct rig {
    char dir[64];
    struct block_cache *cache;
    struct pool *pool;
    struct mailbox *home;
    struct lsm *lsm;
    struct lsm_conf conf;
    unsigned durables, failures, rounds; /* rounds: of loading missing blocks */
    enum err failure;
};

static inline void rig_no_wake(void *arg) { (void)arg; }

static inline void rig_on_durable(void *arg) { ((struct rig *)arg)->durables++; }

static inline void rig_on_failure(void *arg, enum err err)
{
    struct rig *r = arg;
    r->failures++;
    r->failure = err;
}

static inline void rig_open(struct rig *r)
{
    char *why = NULL;
    enum err err = lsm_open(&r->conf, &r->lsm, &why);
    if (err != ERR_OK)
        fail_msg("%s", why);
}

static inline void rig_make(struct rig *r, size_t memtable_bytes, size_t cache_bytes, bool has_home)
{
    *r = (struct rig){0};
    snprintf(r->dir, sizeof(r->dir), "/tmp/parley-lsm-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    block_cache_create(cache_bytes, &r->cache);
    if (has_home) {
        mailbox_create(rig_no_wake, NULL, &r->home);
        assert_ok(pool_create("work", 2, 1000, &r->pool));
    }
    r->conf = (struct lsm_conf){.env = env_posix(),
                                .dir = r->dir,
                                .pool = r->pool,
                                .home = r->home,
                                .cache = r->cache,
                                .memtable_bytes = memtable_bytes,
                                .filter_prefix = RIG_PREFIX,
                                .on_durable = rig_on_durable,
                                .on_failure = rig_on_failure,
                                .arg = r};
    rig_open(r);
}

static inline void rig_remove(const char *dir)
{
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        char path[512];
        snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
        unlink(path);
    }
    closedir(d);
    rmdir(dir);
}

static inline void rig_drop(struct rig *r)
{
    lsm_close(r->lsm);
    pool_destroy(r->pool);
    if (r->home)
        mailbox_drain(r->home);
    mailbox_destroy(r->home);
    block_cache_destroy(r->cache);
    rig_remove(r->dir);
}

static inline void rig_wait(struct rig *r)
{
    if (r->home && mailbox_drain(r->home) == 0)
        sched_yield();
}

static inline void rig_flush(struct rig *r)
{
    enum err err;
    while ((err = lsm_flush(r->lsm)) == ERR_AGAIN || !lsm_is_clean(r->lsm))
        rig_wait(r);
    assert_ok(err);
}

struct rig_read {
    struct lsm_need need;
    bool is_back;
};

static inline void rig_back(struct lsm_need *n) { container_of(n, struct rig_read, need)->is_back = true; }

static inline void rig_load(struct rig *r, struct rig_read *w)
{
    w->is_back = false;
    w->need.done = rig_back;
    lsm_need_load(&w->need);
    while (!w->is_back)
        rig_wait(r);
    r->rounds++;
}

static inline enum err rig_get(struct rig *r, struct str key, struct buf *value)
{
    struct rig_read w = {0};
    enum err err;
    while ((err = lsm_get(r->lsm, key, &w.need, value)) == ERR_AGAIN)
        rig_load(r, &w);
    lsm_need_deinit(&w.need);
    return err;
}
