/* What the placement says of shards that moved: replay keeps to its floors, verify does not count leftovers. */
#include "base/loop.h"
#include "cmd/parley_verify_folder.h"
#include "cmd/parleyd_replay.h"
#include "queue/stream.h"
#include "storage/convlog.h"
#include "tests/lib/unit.h"
#include "tests/unit/cmd/first_entry.h"
#include <semaphore.h>
#include <stdio.h>
#include <unistd.h>

enum { LOG = 1, STORES = 2 };

struct fixture {
    struct env *env;
    char dir[64], log_dir[80];
    struct data_dir data;
    struct block_cache *cache;
    struct lsm *stores[STORES];
    struct conv_id a, b; /* of other shards, in the same store */
    uint64_t pos[2];
};

static struct conv_id pair(struct fixture *f, user_id other)
{
    struct conv_id c;

    pair_conv(&f->data.keys, 1, other, &c);
    return c;
}

static void on_wake(void *arg) { sem_post(arg); }
static void on_commit(void *arg, uint64_t end) { *(uint64_t *)arg = end; }
static void on_failure(void *arg, enum err err)
{
    (void)arg;
    fail_msg("the log failed: %s", err_name(err));
}

/* A log with the first entry of `a`, then that of `b`. */
static void write_log(struct fixture *f, user_id of_a, user_id of_b)
{
    const struct entry entries[] = {first_entry(f->a, of_a, STR("{}")), first_entry(f->b, of_b, STR("{}"))};
    uint64_t committed = 0;
    struct mailbox *home;
    struct segpool *pool;
    struct stream *s;
    sem_t woken;

    sem_init(&woken, 0, 0);
    mailbox_create(on_wake, &woken, &home);
    assert_ok(segpool_open(&(struct segpool_conf){f->env, f->log_dir, 1 << 20, 2, false}, &pool));
    assert_ok(stream_open(&(struct stream_conf){.env = f->env,
                                                .dir = f->log_dir,
                                                .log_id = LOG,
                                                .pool = pool,
                                                .home = home,
                                                .max_in_flight = 1 << 20,
                                                .on_commit = on_commit,
                                                .on_failure = on_failure,
                                                .arg = &committed},
                          &s));
    for (size_t i = 0; i < 2; i++) {
        struct record r = {.kind = RECORD_ENTRY, .entry = entries[i]};
        struct buf b = {0};

        record_encode(&r, &b);
        assert_ok(stream_append(s, RECORD_ENTRY, shard_of(&f->data, &entries[i].conv), 0, buf_get(&b), &f->pos[i]));
        buf_deinit(&b);
    }
    stream_flush(s);
    stream_close(s);
    segpool_close(pool);
    mailbox_drain(home);
    assert_true(committed > f->pos[1]);
    mailbox_destroy(home);
    sem_destroy(&woken);
}

static void open_stores(struct fixture *f)
{
    for (unsigned i = 0; i < STORES; i++) {
        char path[160], *why = NULL;

        snprintf(path, sizeof path, "%s/stores/%s", f->dir, f->data.stores[i]);
        assert_ok(lsm_open(
            &(struct lsm_conf){.env = f->env, .dir = path, .cache = f->cache, .filter_prefix = CONVLOG_FILTER_PREFIX},
            &f->stores[i], &why));
    }
}

static unsigned store_of(const struct fixture *f, const struct conv_id *c)
{
    return f->data.store_of[shard_of(&f->data, c)];
}

static int make(void **state)
{
    struct fixture *f = mem_new(struct fixture);
    user_id of_a = 2, of_b = 3;
    char *why = NULL;
    uint64_t id = 0;

    f->env = env_posix();
    snprintf(f->dir, sizeof f->dir, "/tmp/parley-placement-use-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->log_dir, sizeof f->log_dir, "%s/log", f->dir);
    assert_ok(data_dir_open(f->env, f->dir, STORES, &f->data, &why));
    assert_ok(data_dir_next_log_id(f->env, &f->data, &id));
    assert_int_equal(id, LOG);
    f->a = pair(f, of_a);
    do
        f->b = pair(f, ++of_b);
    while (store_of(f, &f->b) != store_of(f, &f->a) || shard_of(&f->data, &f->b) == shard_of(&f->data, &f->a));
    block_cache_create(1 << 20, &f->cache);
    open_stores(f);
    write_log(f, of_a, of_b);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;
    char command[128];

    for (unsigned i = 0; i < STORES; i++)
        lsm_close(f->stores[i]);
    block_cache_destroy(f->cache);
    data_dir_close(&f->data);
    snprintf(command, sizeof command, "rm -rf %s", f->dir);
    assert_int_equal(system(command), 0);
    mem_free(f);
    return 0;
}

static enum err load(struct fixture *f, unsigned store, const struct conv_id *c)
{
    struct arena arena = {0};
    struct authority a = {0};
    enum err err = convlog_load(f->stores[store], shard_of(&f->data, c), c, NULL, &arena, &a);

    arena_deinit(&arena);
    return err;
}

static void replay(struct fixture *f)
{
    struct loop *home;
    char path[96], *why = NULL;
    struct views_log *old = NULL;
    struct tables *tables;
    size_t n = 0;

    assert_ok(loop_create(&home));
    snprintf(path, sizeof path, "%s/tables.db", f->dir);
    assert_ok(tables_open(f->env, path, &tables, &why));
    assert_ok(replay_logs(&(struct replay_conf){.env = f->env,
                                                .data = &f->data,
                                                .log_dir = f->log_dir,
                                                .stores = f->stores,
                                                .homes = &home,
                                                .n_homes = 1,
                                                .tables = tables},
                          &old, &n, &why));
    assert_int_equal(n, 1);
    mem_free(old);
    tables_close(tables);
    loop_destroy(home);
}

static void what_is_before_a_shards_floor_is_not_replayed_and_all_else_is(void **state)
{
    struct fixture *f = *state;

    placement_raise_floor(&f->data.placement, shard_of(&f->data, &f->a), LOG, f->pos[1]);
    placement_raise_floor(&f->data.placement, shard_of(&f->data, &f->b), LOG,
                          f->pos[1]); /* it stands there: not before */
    replay(f);
    assert_int_equal(load(f, store_of(f, &f->a), &f->a), ERR_NOT_FOUND);
    assert_int_equal(load(f, store_of(f, &f->b), &f->b), ERR_OK);
}

static uint64_t verify(struct fixture *f)
{
    struct verify_totals totals = {0};
    char *why = NULL;

    assert_ok(verify_folder(f->env, f->dir, &totals, &why));
    assert_int_equal(totals.conversations, 2);
    return totals.damages;
}

/* Half a copy of a conversation: its entry without its state. In the shard's own store it is damage. */
static void put_half(struct fixture *f, unsigned store)
{
    char key[27] = {(char)shard_of(&f->data, &f->a), 'c'};

    memcpy(key + 2, f->a.b, 16);
    key[18] = 9;
    key[26] = 7;
    assert_ok(lsm_put(f->stores[store], str_of(key, sizeof key), STR("half")));
    lsm_applied(f->stores[store], LOG, lsm_position(f->stores[store], LOG));
    (void)!lsm_flush(f->stores[store]);
    assert_true(lsm_is_clean(f->stores[store]));
}

static void leftovers_of_a_shard_in_a_store_that_is_not_its_own_are_no_damage(void **state)
{
    struct fixture *f = *state;

    replay(f);
    assert_int_equal(verify(f), 0);
    put_half(f, !store_of(f, &f->a));
    assert_int_equal(verify(f), 0);
    put_half(f, store_of(f, &f->a));
    assert_true(verify(f) > 0);
}

int main(void)
{
#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, make, end)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(what_is_before_a_shards_floor_is_not_replayed_and_all_else_is),
        IN_FOLDER(leftovers_of_a_shard_in_a_store_that_is_not_its_own_are_no_damage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
