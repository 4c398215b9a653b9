#include "base/loop.h"
#include "cmd/parleyd_replay.h"
#include "queue/stream.h"
#include "tests/lib/unit.h"
#include <stdlib.h>

enum { STORES = 2, SHARD = 5 };

static void nothing(void *arg) { (void)arg; }
static void on_commit(void *arg, uint64_t end)
{
    (void)arg;
    (void)end;
}
static void on_failure(void *arg, enum err err)
{
    (void)arg;
    fail_msg("the log failed: %s", err_name(err));
}

/* Two records in a log that ended well: one that is no store's business, then one that no store understands. */
static uint64_t write_log(struct env *env, const char *log_dir, uint64_t log_id)
{
    struct segpool *pool;
    struct mailbox *home;
    struct stream *s;
    uint64_t first, second;

    assert_ok(segpool_open(&(struct segpool_conf){env, log_dir, 1 << 20, 2, false}, &pool));
    mailbox_create(1000, nothing, NULL, &home);
    assert_ok(stream_open(&(struct stream_conf){.env = env,
                                                .dir = log_dir,
                                                .log_id = log_id,
                                                .pool = pool,
                                                .home = home,
                                                .max_in_flight = 1 << 20,
                                                .on_commit = on_commit,
                                                .on_failure = on_failure},
                          &s));
    assert_ok(stream_append(s, 1, SHARD_COUNT, 0, STR("the directory's"), &first));
    assert_ok(stream_append(s, 1, SHARD, 0, STR("not a record"), &second));
    stream_close(s);
    mailbox_drain(home);
    mailbox_destroy(home);
    segpool_close(pool);
    return second;
}

PROMISE(a_record_that_a_store_cannot_take_is_named_with_its_log_offset_and_store)
{
    struct env *env = env_posix();
    char dir[] = "/tmp/parley-replay-XXXXXX", path[128], log_dir[64], expected[128], *why = NULL;
    struct data_dir data;
    struct block_cache *cache;
    struct lsm *stores[STORES];
    struct tables *tables;
    struct views_log *old = NULL;
    uint64_t log_id, pos;
    size_t n = 0;

    struct loop *home;

    assert_ok(loop_create(&home));
    assert_non_null(mkdtemp(dir));
    assert_ok(data_dir_open(env, dir, STORES, &data, &why));
    snprintf(log_dir, sizeof log_dir, "%s/log", dir);
    assert_ok(data_dir_next_log_id(env, &data, &log_id));
    pos = write_log(env, log_dir, log_id);
    block_cache_create(1 << 20, &cache);
    for (unsigned i = 0; i < STORES; i++) {
        snprintf(path, sizeof path, "%s/stores/%s", dir, data.stores[i]);
        assert_ok(lsm_open(&(struct lsm_conf){.env = env, .dir = path, .cache = cache}, &stores[i], &why));
    }
    snprintf(path, sizeof path, "%s/tables.db", dir);
    assert_ok(tables_open(env, path, &tables, &why));
    assert_int_not_equal(replay_logs(&(struct replay_conf){.env = env,
                                                           .data = &data,
                                                           .log_dir = log_dir,
                                                           .stores = stores,
                                                           .homes = &home,
                                                           .n_homes = 1,
                                                           .tables = tables},
                                     &old, &n, &why),
                         ERR_OK);
    assert_true(pos > 0);
    snprintf(expected, sizeof expected,
             "log %016llx at offset %llu cannot be applied to store %s: ", (unsigned long long)log_id,
             (unsigned long long)pos, data.stores[data.store_of[SHARD]]);
    assert_non_null(why);
    if (!strstr(why, expected))
        fail_msg("said: %s\nexpected: %s", why, expected);
    mem_free(why);
    tables_close(tables);
    for (unsigned i = 0; i < STORES; i++)
        lsm_close(stores[i]);
    loop_destroy(home);
    block_cache_destroy(cache);
    data_dir_close(&data);
    snprintf(path, sizeof path, "rm -rf '%s'", dir);
    assert_int_equal(system(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_record_that_a_store_cannot_take_is_named_with_its_log_offset_and_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
