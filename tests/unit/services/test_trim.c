#include "services/reactor_state.h"
#include "services/trim.h"
#include "tests/unit/services/world_test.h"
#include <sched.h>

static void trim_on(void *arg) { trim_now(((struct reactor *)arg)->trim); }
static void trim_all(struct world_test *w)
{
    for (unsigned i = 0; i < w->reactors; i++)
        on_reactor(w, i, trim_on, w->r[i]);
}
/* Background work has its own pace; every look is a step of the same timer. */
#define UNTIL(condition) \
    do {                 \
        trim_all(w);     \
        sched_yield();   \
    } while (!(condition))

static size_t count_logs(struct world_test *w)
{
    uint64_t *ids;
    size_t n;

    assert_ok(seglog_list(w->world.env, w->log_dir, &ids, &n));
    mem_free(ids);
    return n;
}

PROMISE(old_logs_go_when_every_view_has_them_and_nothing_is_lost)
{
    struct world_test *w = world_start(2);
    struct answer *before, *after;

    for (int i = 0; i < 20; i++)
        expect(w, ANN, SEND_TO(BEN, JSON("a%d", i), "x"), CODE_OK, "\"seq\":");
    before = ask(w, 0, ANN, 1, JSON("{\"op\":\"history\",\"conv\":\"%s\"}", pair_z(w, ANN, BEN)));
    world_crash(w);
    assert_int_equal(count_logs(w), 4);
    trim_all(w);
    assert_false(views_old_are_done(w->views)); /* the tables have not said so */
    for (size_t i = 0; i < w->n_old; i++) {
        views_tables_durable(w->views, w->old[i].log_id, w->old[i].end);
        assert_false(views_old_are_removed(w->views));
        views_owed_durable(w->views, w->old[i].log_id, w->old[i].end);
    }
    UNTIL(views_old_are_removed(w->views));
    trim_all(w);
    assert_int_equal(count_logs(w), 2);
    for (int i = 0; i < 2; i++) {
        world_crash(w);
        after = ask(w, 0, ANN, 1, JSON("{\"op\":\"history\",\"conv\":\"%s\"}", pair_z(w, ANN, BEN)));
        assert_string_equal(before->text, after->text);
        answer_free(after);
    }
    answer_free(before);
    world_end(w);
}

static void flush_stores(void *arg)
{
    struct reactor *r = arg;
    struct lsm *const *stores;
    size_t n = reactor_stores(r, &stores);

    for (size_t i = 0; i < n; i++) {
        enum err err = stores[i] && !lsm_is_clean(stores[i]) ? lsm_flush(stores[i]) : ERR_OK;
        assert_true(err == ERR_OK || err == ERR_AGAIN);
    }
}

PROMISE(a_log_is_trimmed_behind_the_slowest_view)
{
    enum { N = 300, SEGMENT = 64 << 10 };
    struct world_test *w = world_new(1);
    char text[1001] = {0};
    struct stream *s;
    uint64_t log_id, end;

    w->segment_bytes = SEGMENT;
    world_open(w);
    s = w->world.streams[0];
    log_id = w->log_ids[0];
    memset(text, 'x', sizeof text - 1);
    for (int i = 0; i < N; i++)
        expect(w, ANN, SEND_TO(BEN, JSON("a%d", i), text), CODE_OK, "\"seq\":");
    end = stream_committed(s);
    trim_all(w);
    views_tables_durable(w->views, log_id, end);
    views_owed_durable(w->views, log_id, end / 2);
    trim_all(w);
    assert_int_equal(stream_trimmed(s), 0); /* the store has nothing durably */
    on_reactor(w, 0, flush_stores, w->r[0]);
    UNTIL(stream_trimmed(s) > 0);
    assert_in_range(stream_trimmed(s), end / 2 - SEGMENT, end / 2);
    views_owed_durable(w->views, log_id, end);
    UNTIL(stream_trimmed(s) > end / 2);
    assert_in_range(stream_trimmed(s), end - SEGMENT, end);
    world_crash(w);
    expect(w, ANN, SEND_TO(BEN, "a7", text), CODE_OK, "\"dup\":true");
    expect(w, ANN, SEND_TO(BEN, "new", "x"), CODE_OK, JSON("\"seq\":%d", N + 1));
    world_end(w);
}

PROMISE(how_each_view_stands_is_said_with_the_log_s_end)
{
    struct world_test *w = world_start(2);
    struct views_state s[VIEWS_STATES_MAX];
    uint64_t end = 0;
    size_t at = 0;

    assert_int_equal(views_states(w->views, s), 2); /* from the beginning */
    expect(w, ANN, SEND_TO(BEN, "a", "x"), CODE_OK, "\"seq\":1");
    trim_all(w);
    assert_int_equal(views_states(w->views, s), 2);
    for (size_t i = 0; i < 2; i++) {
        if (s[i].end > end)
            at = i, end = s[i].end;
    }
    assert_true(end > 0);
    assert_int_equal(s[at].view[VIEW_STORES].pos, 0);
    assert_int_equal(s[at].view[VIEW_TABLES].pos, 0);
    views_tables_durable(w->views, s[at].log_id, end);
    views_owed_durable(w->views, s[at].log_id, end / 2);
    trim_all(w);
    assert_int_equal(views_states(w->views, s), 2);
    assert_int_equal(s[at].view[VIEW_TABLES].pos, end);
    assert_int_equal(s[at].view[VIEW_TABLES].ms, 0);
    assert_int_equal(s[at].view[VIEW_OWED].pos, end / 2);
    assert_int_equal(s[1 - at].end, 0);
    world_end(w);
}

static void hold(void *arg) { trim_hold(((struct reactor *)arg)->trim, true); }
static void let_go(void *arg) { trim_hold(((struct reactor *)arg)->trim, false); }

PROMISE(what_is_held_stays_until_it_is_let_go)
{
    enum { N = 200, SEGMENT = 64 << 10 };
    struct world_test *w = world_new(1);
    char text[1001] = {0};
    uint64_t end;

    w->segment_bytes = SEGMENT;
    world_open(w);
    expect(w, ANN, SEND_TO(BEN, "first", "x"), CODE_OK, "\"seq\":");
    world_crash(w);
    on_reactor(w, 0, hold, w->r[0]);
    memset(text, 'x', sizeof text - 1);
    for (int i = 0; i < N; i++)
        expect(w, ANN, SEND_TO(BEN, JSON("a%d", i), text), CODE_OK, "\"seq\":");
    end = stream_committed(w->world.streams[0]);
    on_reactor(w, 0, flush_stores, w->r[0]);
    views_tables_durable(w->views, w->log_ids[0], end);
    views_owed_durable(w->views, w->log_ids[0], end);
    for (size_t i = 0; i < w->n_old; i++) {
        views_tables_durable(w->views, w->old[i].log_id, w->old[i].end);
        views_owed_durable(w->views, w->old[i].log_id, w->old[i].end);
    }
    UNTIL(views_old_are_done(w->views));
    trim_all(w);
    assert_int_equal(stream_trimmed(w->world.streams[0]), 0);
    assert_int_equal(count_logs(w), 2);
    assert_true(trim_needs_old(w->r[0]->trim));
    on_reactor(w, 0, let_go, w->r[0]);
    UNTIL(stream_trimmed(w->world.streams[0]) > 0 && views_old_are_removed(w->views));
    assert_int_equal(count_logs(w), 1);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(old_logs_go_when_every_view_has_them_and_nothing_is_lost),
        HOLDS(a_log_is_trimmed_behind_the_slowest_view),
        HOLDS(how_each_view_stands_is_said_with_the_log_s_end),
        HOLDS(what_is_held_stays_until_it_is_let_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
