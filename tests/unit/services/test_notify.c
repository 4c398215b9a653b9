#include "services/owed.h"
#include "tests/unit/services/group_fixture.h"

/* The tables' side, faked: rows as they would stand there. */
static struct tables_fake {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct owed_row rows[256];
    size_t n;
    struct {
        uint64_t log_id, pos;
    } at[64];
    size_t logs;
    uint64_t batches;
    enum err answer; /* what the next batch is answered */
} tables = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static struct owed_row *row_of(user_id user, const struct conv_id *c)
{
    for (size_t i = 0; i < tables.n; i++)
        if (tables.rows[i].user == user && conv_eq(&tables.rows[i].conv, c))
            return &tables.rows[i];
    return NULL;
}

static void write_row(const struct owed_row *v)
{
    struct owed_row *row = row_of(v->user, &v->conv);

    if (v->clear) {
        if (row && row->last_seq <= v->last_seq)
            *row = tables.rows[--tables.n];
    } else if (row) {
        row->last_seq = v->last_seq;
        row->count += v->count;
    } else {
        assert_in_range(tables.n, 0, 255);
        tables.rows[tables.n++] = *v;
    }
}

static void set_position(uint64_t log_id, uint64_t pos)
{
    for (size_t i = 0; i < tables.logs; i++) {
        if (tables.at[i].log_id == log_id) {
            tables.at[i].pos = pos;
            return;
        }
    }
    tables.at[tables.logs].log_id = log_id;
    tables.at[tables.logs++].pos = pos;
}

static void answered(struct msg *m)
{
    struct owed_batch *b = container_of(m, struct owed_batch, msg);

    b->done(b);
}

static void owe_fake(struct directory *d, struct owed_batch *b)
{
    (void)d;
    pthread_mutex_lock(&tables.lock);
    b->err = tables.answer;
    tables.answer = ERR_OK;
    for (size_t i = 0; i < b->n && b->err == ERR_OK; i++)
        write_row(&b->v[i]);
    if (b->err == ERR_OK)
        set_position(b->log_id, b->pos);
    tables.batches++;
    pthread_cond_broadcast(&tables.changed);
    pthread_mutex_unlock(&tables.lock);
    b->msg.run = answered;
    mailbox_post(b->home, &b->msg);
}

/* Waits until the log of reactor 0 is accounted for as far as it is committed, twice: what was gathered late is in too.
 */
static void wait_for_tables(struct world_test *w)
{
    uint64_t log_id = w->log_ids[0], pos = 0;

    pthread_mutex_lock(&tables.lock);
    for (;;) {
        for (size_t i = 0; i < tables.logs; i++)
            pos = tables.at[i].log_id == log_id ? tables.at[i].pos : pos;
        if (pos > 0 && pos == stream_committed(w->world.streams[0]))
            break;
        pthread_cond_wait(&tables.changed, &tables.lock);
    }
    pthread_mutex_unlock(&tables.lock);
}

static struct owed_row owed(struct world_test *w, user_id user, user_id peer)
{
    struct conv_id c;
    struct owed_row *row, out = {0};

    pair_conv(&w->data.keys, user, peer, &c);
    pthread_mutex_lock(&tables.lock);
    row = row_of(user, &c);
    if (row)
        out = *row;
    pthread_mutex_unlock(&tables.lock);
    return out;
}

static struct world_test *world_owing(void)
{
    struct world_test *w = world_new(1);

    tables.n = tables.logs = tables.batches = 0;
    w->owe = owe_fake;
    world_open(w);
    return w;
}

#define READ(user, other, n) \
    expect(w, user, JSON("{\"op\":\"receipt\",\"conv\":\"%s\",\"read\":%d}", pair_z(w, user, other), n), CODE_OK, "{}")

PROMISE(who_is_nowhere_is_owed_and_who_is_online_or_wrote_is_not)
{
    struct world_test *w = world_owing();

    session_open(w, CAT, 1, 0);
    for (int i = 0; i < 5; i++) {
        expect(w, ANN, SEND_TO(BEN, JSON("b%d", i), "x"), CODE_OK, "\"seq\":");
        expect(w, ANN, SEND_TO(CAT, JSON("c%d", i), "x"), CODE_OK, "\"seq\":");
    }
    wait_for_tables(w);
    assert_int_equal(owed(w, BEN, ANN).first_seq, 1);
    assert_int_equal(owed(w, BEN, ANN).last_seq, 5);
    assert_int_equal(owed(w, BEN, ANN).count, 5);
    assert_int_equal(owed(w, CAT, ANN).count, 0);
    assert_int_equal(owed(w, ANN, BEN).count, 0);
    world_end(w);
}

PROMISE(receipts_and_writing_clear_what_is_owed)
{
    struct world_test *w = world_owing();

    for (int i = 0; i < 5; i++) {
        expect(w, ANN, SEND_TO(BEN, JSON("b%d", i), "x"), CODE_OK, "\"seq\":");
        expect(w, ANN, SEND_TO(DAN, JSON("d%d", i), "x"), CODE_OK, "\"seq\":");
    }
    wait_for_tables(w);
    assert_int_equal(owed(w, BEN, ANN).count, 5);
    READ(BEN, ANN, 5);
    expect(w, DAN, SEND_TO(ANN, "back", "x"), CODE_OK, "\"seq\":6");
    wait_for_tables(w);
    assert_int_equal(owed(w, BEN, ANN).count, 0);
    assert_int_equal(owed(w, DAN, ANN).count, 0);
    assert_int_equal(owed(w, ANN, DAN).count, 1);
    expect(w, ANN, SEND_TO(BEN, "again", "x"), CODE_OK, "\"seq\":6");
    wait_for_tables(w);
    assert_int_equal(owed(w, BEN, ANN).first_seq, 6);
    assert_int_equal(owed(w, BEN, ANN).count, 1);
    world_end(w);
}

PROMISE(a_full_disk_delays_and_loses_nothing)
{
    struct world_test *w = world_owing();

    tables.answer = ERR_FULL;
    expect(w, ANN, SEND_TO(BEN, "b1", "x"), CODE_OK, "\"seq\":1");
    wait_for_tables(w);
    assert_in_range(tables.batches, 2, 10);
    assert_int_equal(owed(w, BEN, ANN).count, 1);
    world_end(w);
}

PROMISE(rows_gather_by_user_and_conversation)
{
    struct hash_key key = {{1}};
    struct conv_id c = {{1}}, other = {{2}};
    struct owed_table t;
    struct owed_batch b = {0};

    owed_init(&t, &key);
    for (uint64_t seq = 1; seq <= 4; seq++)
        assert_ok(owed_add(&t, 3, BEN, &c, seq, 100 + (int64_t)seq));
    assert_ok(owed_clear(&t, 3, BEN, &c, 2));
    assert_ok(owed_add(&t, 3, BEN, &other, 9, 1));
    assert_ok(owed_clear(&t, 3, BEN, &other, 9));
    assert_ok(owed_clear(&t, 3, CAT, &c, 7));
    assert_int_equal(owed_add(&t, 3, DAN, &c, 1, 1), ERR_LIMIT);
    owed_take(&t, &b);
    assert_int_equal(b.n, 4);
    assert_true(b.v[0].clear && b.v[0].last_seq == 2);
    assert_true(!b.v[1].clear && b.v[1].first_seq == 3 && b.v[1].last_seq == 4 && b.v[1].count == 2);
    assert_true(b.v[2].clear && b.v[2].last_seq == 9);
    assert_true(b.v[3].clear && b.v[3].user == CAT);
    assert_int_equal(owed_count(&t), 0);
    assert_ok(owed_add(&t, 3, DAN, &c, 1, 1));
    mem_free(b.v);
    owed_deinit(&t);
}

PROMISE(after_a_crash_whoever_had_not_confirmed_is_owed)
{
    struct world_test *w = world_owing();
    struct notify_replay *p;
    struct notify_replay_conf conf = {.world = &w->world, .stores = w->stores};

    session_open(w, BEN, 1, 0); /* online, and yet: who was is not known after a crash */
    for (int i = 0; i < 4; i++)
        expect(w, ANN, SEND_TO(BEN, JSON("b%d", i), "x"), CODE_OK, "\"seq\":");
    READ(BEN, ANN, 3);
    conf.log_id = w->log_ids[0];
    world_close(w);
    tables.n = tables.logs = 0;
    world_open(w);
    notify_replay_create(&conf, &p);
    assert_ok(seglog_replay(w->world.env, w->log_dir, conf.log_id, 0, 0, notify_replay_record, p));
    notify_replay_end(p, w->old[0].end, owe_fake, loop_mailbox(w->threads[0].loop));
    notify_replay_destroy(p);
    assert_int_equal(tables.at[0].pos, w->old[0].end);
    assert_int_equal(owed(w, BEN, ANN).first_seq, 4);
    assert_int_equal(owed(w, BEN, ANN).count, 1);
    assert_int_equal(owed(w, ANN, BEN).count, 0);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(rows_gather_by_user_and_conversation),
        HOLDS(who_is_nowhere_is_owed_and_who_is_online_or_wrote_is_not),
        HOLDS(receipts_and_writing_clear_what_is_owed),
        HOLDS(a_full_disk_delays_and_loses_nothing),
        HOLDS(after_a_crash_whoever_had_not_confirmed_is_owed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
