#include "base/enc.h"
#include "base/hash.h"
#include "base/loop.h"
#include "cmd/parleyd_replay.h"
#include "queue/stream.h"
#include "tests/lib/unit.h"
#include <sched.h>
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

/* A log that ended well, with what `fill` appends. */
static uint64_t write_log(struct env *env, const char *log_dir, uint64_t log_id,
                          uint64_t (*fill)(struct stream *s, const struct data_dir *data), const struct data_dir *data)
{
    struct segpool *pool;
    struct mailbox *home;
    struct stream *s;
    uint64_t pos;

    assert_ok(segpool_open(&(struct segpool_conf){env, log_dir, 1 << 20, 2, false}, &pool));
    mailbox_create(nothing, NULL, &home);
    assert_ok(stream_open(&(struct stream_conf){.env = env,
                                                .dir = log_dir,
                                                .log_id = log_id,
                                                .pool = pool,
                                                .home = home,
                                                .max_in_flight = 16 << 20,
                                                .on_commit = on_commit,
                                                .on_failure = on_failure},
                          &s));
    pos = fill(s, data);
    stream_close(s);
    mailbox_drain(home);
    mailbox_destroy(home);
    segpool_close(pool);
    return pos;
}

/* One that is no store's business, then one that no store understands. */
static uint64_t fill_wrong(struct stream *s, const struct data_dir *data)
{
    uint64_t first, second;

    (void)data;
    assert_ok(stream_append(s, 1, SHARD_COUNT, 0, STR("the directory's"), &first));
    assert_ok(stream_append(s, 1, SHARD, 0, STR("not a record"), &second));
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
    pos = write_log(env, log_dir, log_id, fill_wrong, &data);
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

enum { CHATS = 150, MESSAGES = 20000, MEMTABLE = 128 << 10, THREADS = 2 };

static void make_message(const struct data_dir *data, uint64_t i, uint64_t *heads, char *content, struct entry *e)
{
    uint64_t chat = hash_u64(i) % CHATS, seq = ++heads[chat];

    memset(content, (int)('a' + i % 26), 100);
    *e =
        (struct entry){.seq = seq, .kind = ENTRY_MESSAGE, .conv_kind = CONV_PAIR, .ordinal = seq, .ts = (int64_t)i + 1};
    e->from = 1 + 2 * chat + i % 2;
    e->peer = 2 + 2 * chat - i % 2;
    e->device = 1000 + e->from;
    pair_conv(&data->keys, e->from, e->peer, &e->conv);
    e->cid = STR("0123456789abcdef01234");
    enc_u64(e->cid_hash, hash_u64(i));
    e->content = str_of(content, i % 100);
}

static uint64_t fill_messages(struct stream *s, const struct data_dir *data)
{
    uint64_t heads[CHATS] = {0}, pos = 0;
    struct buf body = {0};
    char content[100];

    for (uint64_t i = 0; i < MESSAGES; i++) {
        struct record r = {.kind = RECORD_ENTRY};
        make_message(data, i, heads, content, &r.entry);
        buf_clear(&body);
        record_encode(&r, &body);
        enum err err;
        while ((err = stream_append(s, RECORD_ENTRY, shard_of(data, &r.entry.conv), 0, buf_get(&body), &pos)) ==
               ERR_LIMIT)
            stream_flush(s); /* a segment is being filled */
        assert_ok(err);
    }
    buf_deinit(&body);
    return pos;
}

/* One by one, into stores of their own, which are flushed at other moments. */
struct plain {
    const struct data_dir *data;
    struct lsm *stores[STORES];
    struct convlog_replay *convs;
};

static enum err replay_plainly(void *arg, const struct log_record *r)
{
    struct plain *p = arg;
    struct lsm *l = p->stores[p->data->store_of[r->shard]];

    assert_ok(convlog_replay_record(p->convs, l, r->shard, r->kind, r->body));
    lsm_applied(l, r->log_id, r->next);
    return ERR_OK;
}

static bool add_to(void *arg, struct str key, struct str value)
{
    buf_str(arg, key);
    buf_str(arg, value);
    return true;
}

static void assert_same(struct lsm *a, struct lsm *b)
{
    struct buf of_a = {0}, of_b = {0};

    assert_ok(lsm_scan(a, STR(""), STR(""), 0, NULL, add_to, &of_a));
    assert_ok(lsm_scan(b, STR(""), STR(""), 0, NULL, add_to, &of_b));
    assert_true(of_a.len > 100000);
    assert_true(str_eq(buf_get(&of_a), buf_get(&of_b)));
    buf_deinit(&of_a);
    buf_deinit(&of_b);
}

static bool has_entry(struct lsm *l, uint16_t shard, const struct conv_id *c, uint64_t seq)
{
    struct arena arena = {0};
    struct entry e;
    enum err err = convlog_entry(l, shard, c, seq, NULL, &arena, &e);

    arena_deinit(&arena);
    assert_true(err == ERR_OK || err == ERR_NOT_FOUND);
    return err == ERR_OK;
}

/* What a crash now would leave: of each chat the state and the entries up to it, or neither. Returns how many chats. */
static unsigned assert_whole(struct lsm *l, const struct data_dir *data, unsigned store)
{
    unsigned found = 0;

    for (uint64_t chat = 0; chat < CHATS; chat++) {
        struct authority a = {0};
        struct arena arena = {0};
        struct conv_id c;
        pair_conv(&data->keys, 1 + 2 * chat, 2 + 2 * chat, &c);
        uint16_t shard = shard_of(data, &c);
        if (data->store_of[shard] != store)
            continue;
        enum err err = convlog_load(l, shard, &c, NULL, &arena, &a);
        assert_true(err == ERR_OK || err == ERR_NOT_FOUND);
        found += err == ERR_OK;
        assert_true(a.head == 0 || has_entry(l, shard, &c, a.head));
        assert_false(has_entry(l, shard, &c, a.head + 1));
        arena_deinit(&arena);
    }
    return found;
}

/* Several memtables were full; the last flushes may be under way yet. */
static void until_flushed(struct lsm *l, struct loop *home)
{
    struct lsm_stats stats = {0};

    while (stats.flushes <= 1) {
        if (mailbox_drain(loop_mailbox(home)) == 0)
            sched_yield();
        lsm_stats(l, &stats);
    }
}

PROMISE(what_threads_replay_into_full_memtables_is_what_record_after_record_makes)
{
    struct env *env = env_posix();
    char dir[] = "/tmp/parley-replay-XXXXXX", path[128], log_dir[64], *why = NULL;
    struct loop *homes[STORES];
    struct plain plain = {0};
    struct lsm *stores[STORES];
    struct views_log *old = NULL;
    struct data_dir data;
    struct block_cache *cache;
    struct tables *tables;
    struct pool *pool;
    uint64_t log_id;
    size_t n = 0;

    assert_non_null(mkdtemp(dir));
    assert_ok(data_dir_open(env, dir, STORES, &data, &why));
    snprintf(log_dir, sizeof log_dir, "%s/log", dir);
    assert_ok(data_dir_next_log_id(env, &data, &log_id));
    (void)write_log(env, log_dir, log_id, fill_messages, &data);
    block_cache_create(1 << 20, &cache);
    assert_ok(pool_create("flush", THREADS, 100, &pool));
    for (unsigned i = 0; i < STORES; i++) {
        assert_ok(loop_create(&homes[i]));
        snprintf(path, sizeof path, "%s/stores/%s", dir, data.stores[i]);
        assert_ok(lsm_open(&(struct lsm_conf){.env = env,
                                              .dir = path,
                                              .pool = pool,
                                              .home = loop_mailbox(homes[i]),
                                              .cache = cache,
                                              .memtable_bytes = MEMTABLE},
                           &stores[i], &why));
        snprintf(path, sizeof path, "%s/plain%u", dir, i);
        assert_ok(lsm_open(&(struct lsm_conf){.env = env, .dir = path, .cache = cache}, &plain.stores[i], &why));
    }
    snprintf(path, sizeof path, "%s/tables.db", dir);
    assert_ok(tables_open(env, path, &tables, &why));
    plain.data = &data;
    convlog_replay_create(&plain.convs);
    assert_ok(seglog_replay(env, log_dir, log_id, 0, 0, replay_plainly, &plain));
    convlog_replay_destroy(plain.convs);
    assert_ok(replay_logs(&(struct replay_conf){.env = env,
                                                .data = &data,
                                                .log_dir = log_dir,
                                                .stores = stores,
                                                .homes = homes,
                                                .n_homes = STORES,
                                                .tables = tables},
                          &old, &n, &why));
    for (unsigned i = 0; i < STORES; i++) {
        until_flushed(stores[i], homes[i]);
        assert_int_equal(lsm_position(stores[i], log_id), old[0].end);
        assert_same(stores[i], plain.stores[i]);
    }
    mem_free(old);
    tables_close(tables);
    for (unsigned i = 0; i < STORES; i++) {
        lsm_close(stores[i]); /* what is in memory only is gone */
        lsm_close(plain.stores[i]);
        snprintf(path, sizeof path, "%s/stores/%s", dir, data.stores[i]);
        assert_ok(lsm_open(&(struct lsm_conf){.env = env, .dir = path, .cache = cache}, &stores[i], &why));
        assert_true(assert_whole(stores[i], &data, i) > 10);
        lsm_close(stores[i]);
    }
    pool_destroy(pool);
    for (unsigned i = 0; i < STORES; i++) {
        mailbox_drain(loop_mailbox(homes[i]));
        loop_destroy(homes[i]);
    }
    block_cache_destroy(cache);
    data_dir_close(&data);
    snprintf(path, sizeof path, "rm -rf '%s'", dir);
    assert_int_equal(system(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_record_that_a_store_cannot_take_is_named_with_its_log_offset_and_store),
        HOLDS(what_threads_replay_into_full_memtables_is_what_record_after_record_makes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
