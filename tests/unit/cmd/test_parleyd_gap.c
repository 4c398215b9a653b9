/* A start that finds a log which begins behind what the tables have of it. */
#include "base/loop.h"
#include "cmd/parleyd_replay.h"
#include "queue/stream.h"
#include "storage/convlog.h"
#include "tests/lib/unit.h"
#include "tests/unit/cmd/first_entry.h"
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SEGMENT = 64 << 10, N = 20, CONTENT = 16 << 10 };

struct fixture {
    struct env *env;
    char dir[64], log_dir[80], tables_path[80];
    struct data_dir data;
    struct block_cache *cache;
    struct lsm *store;
    struct loop *home;
    struct tables *tables;
    uint64_t log_id;
};

static void on_wake(void *arg) { sem_post(arg); }
static void on_commit(void *arg, uint64_t end) { *(uint64_t *)arg = end; }
static void on_failure(void *arg, enum err err)
{
    (void)arg;
    fail_msg("the log failed: %s", err_name(err));
}

static void encode(struct fixture *f, unsigned i, bool is_directory, struct buf *out, uint16_t *shard)
{
    static char content[CONTENT];
    struct record r = {.kind = RECORD_ACCOUNT, .account = {.user = i + 1, .ts = 1, .username = STR("somebody")}};

    memset(content, 'x', sizeof content);
    *shard = SHARD_DIRECTORY;
    if (is_directory) {
        r.account.name = str_of(content, sizeof content);
        record_encode(&r, out);
        return;
    }
    struct conv_id c;
    pair_conv(&f->data.keys, 1, i + 2, &c);
    r = (struct record){.kind = RECORD_ENTRY, .entry = first_entry(c, i + 2, str_of(content, sizeof content))};
    *shard = shard_of(&f->data, &c);
    record_encode(&r, out);
}

static void write_log(struct fixture *f, bool is_directory)
{
    uint64_t committed = 0, pos;
    struct mailbox *home;
    struct segpool *pool;
    struct stream *s;
    sem_t woken;

    sem_init(&woken, 0, 0);
    mailbox_create(on_wake, &woken, &home);
    assert_ok(segpool_open(&(struct segpool_conf){f->env, f->log_dir, SEGMENT, 2, false}, &pool));
    assert_ok(stream_open(&(struct stream_conf){.env = f->env,
                                                .dir = f->log_dir,
                                                .log_id = f->log_id,
                                                .pool = pool,
                                                .home = home,
                                                .max_in_flight = 1 << 20,
                                                .on_commit = on_commit,
                                                .on_failure = on_failure,
                                                .arg = &committed},
                          &s));
    for (unsigned i = 0; i < N; i++) {
        struct buf b = {0};
        uint16_t shard;
        enum err err;

        encode(f, i, is_directory, &b, &shard);
        while ((err = stream_append(s, is_directory ? RECORD_ACCOUNT : RECORD_ENTRY, shard, 1, buf_get(&b), &pos)) ==
               ERR_LIMIT)
            usleep(1000); /* the next segment is being filled */
        assert_ok(err);
        buf_deinit(&b);
    }
    stream_close(s);
    segpool_close(pool);
    mailbox_drain(home);
    mailbox_destroy(home);
    sem_destroy(&woken);
}

static void lose_first_segment(const struct fixture *f)
{
    char command[256];

    snprintf(command, sizeof command, "cd '%s/%016llx' && rm \"$(ls *.seg | head -n 1)\"", f->log_dir,
             (unsigned long long)f->log_id);
    assert_int_equal(system(command), 0);
}

static void set_up(struct fixture *f)
{
    char path[160], *why = NULL;

    *f = (struct fixture){.env = env_posix()};
    snprintf(f->dir, sizeof f->dir, "/tmp/parley-gap-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->log_dir, sizeof f->log_dir, "%s/log", f->dir);
    snprintf(f->tables_path, sizeof f->tables_path, "%s/tables.db", f->dir);
    assert_ok(data_dir_open(f->env, f->dir, 1, &f->data, &why));
    assert_ok(data_dir_next_log_id(f->env, &f->data, &f->log_id));
    block_cache_create(1 << 20, &f->cache);
    snprintf(path, sizeof path, "%s/stores/%s", f->dir, f->data.stores[0]);
    assert_ok(lsm_open(&(struct lsm_conf){.env = f->env, .dir = path, .cache = f->cache, .filter_prefix = 18},
                       &f->store, &why));
    assert_ok(loop_create(&f->home));
    assert_ok(tables_open(f->env, f->tables_path, &f->tables, &why));
}

static void tear_down(struct fixture *f)
{
    char command[128];

    tables_close(f->tables);
    lsm_close(f->store);
    loop_destroy(f->home);
    block_cache_destroy(f->cache);
    data_dir_close(&f->data);
    snprintf(command, sizeof command, "rm -rf '%s'", f->dir);
    assert_int_equal(system(command), 0);
}

static enum err replay(struct fixture *f, uint64_t *end, char **why)
{
    struct views_log *old = NULL;
    size_t n = 0;
    enum err err = replay_logs(&(struct replay_conf){.env = f->env,
                                                     .data = &f->data,
                                                     .log_dir = f->log_dir,
                                                     .stores = &f->store,
                                                     .homes = &f->home,
                                                     .n_homes = 1,
                                                     .tables = f->tables},
                               &old, &n, why);

    *end = n ? old[0].end : 0;
    mem_free(old);
    return err;
}

PROMISE(tables_that_lack_the_beginning_of_a_reactor_s_log_are_made_anew)
{
    struct tables_position at;
    struct fixture f;
    uint64_t end;
    char *why = NULL;

    set_up(&f);
    write_log(&f, false);
    lose_first_segment(&f);
    assert_ok(replay(&f, &end, &why));
    assert_int_equal(tables_rebuild_left(f.tables, REBUILD_TABLES), SHARD_COUNT);
    assert_int_equal(tables_rebuild_left(f.tables, REBUILD_OWED), SHARD_COUNT);
    at = tables_position(f.tables, f.log_id);
    assert_int_equal(at.applied, end);
    assert_true(at.owed > 0);
    tear_down(&f);
}

PROMISE(a_log_that_is_whole_detaches_nothing)
{
    struct fixture f;
    uint64_t end;
    char *why = NULL;

    set_up(&f);
    write_log(&f, false);
    assert_ok(replay(&f, &end, &why));
    assert_int_equal(tables_rebuild_left(f.tables, REBUILD_TABLES | REBUILD_OWED), 0);
    assert_int_equal(tables_position(f.tables, f.log_id).applied, end);
    tear_down(&f);
}

PROMISE(accounts_are_in_no_conversation_so_without_their_log_there_is_no_start)
{
    struct fixture f;
    uint64_t end;
    char *why = NULL;

    set_up(&f);
    write_log(&f, true);
    lose_first_segment(&f);
    assert_int_equal(replay(&f, &end, &why), ERR_CORRUPT);
    assert_non_null(strstr(why, "accounts are nowhere else"));
    assert_int_equal(tables_rebuild_left(f.tables, REBUILD_TABLES | REBUILD_OWED), 0);
    mem_free(why);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(tables_that_lack_the_beginning_of_a_reactor_s_log_are_made_anew),
        HOLDS(a_log_that_is_whole_detaches_nothing),
        HOLDS(accounts_are_in_no_conversation_so_without_their_log_there_is_no_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
