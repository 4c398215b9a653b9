/* When an erasing counts as gone: not while a view still needs the log that has it, nor with one that was before it. */
#include "services/purge.h"
#include "tests/unit/services/moved_clock.h"
#include "tests/unit/services/world_test.h"
#include "tests/unit/services/worn.h"

enum { WITHIN_MS = 2000, OTHER_LOG = 99 };

static struct world_test *start(void)
{
    struct world_test *w = world_new(1);

    w->env = moved_env();
    w->limits.erase_within_ms = WITHIN_MS;
    w->segment_bytes = 64 << 10;
    world_open(w);
    return w;
}

/* Of the oldest erasing that is not gone, s; 0: there is none. */
static int64_t age(struct world_test *w)
{
    struct buf all = {0};
    const char *line;
    int64_t n;

    metrics_print(w->world.metrics, &all);
    buf_char(&all, '\0');
    line = strstr(all.p, "\nparley_erased_age_seconds ");
    assert_non_null(line);
    n = strtoll(strchr(line, ' '), NULL, 10);
    buf_deinit(&all);
    return n;
}

/* Some erasing, on any reactor, and the time in which it may wait goes by. */
static void begin_erasing(struct world_test *w)
{
    atomic_fetch_add(&w->world.erasings, 1);
    advance(10 * WITHIN_MS);
    while (age(w) == 0)
        sched_yield();
}

/* It looks once more: whether anything is not gone then. */
static bool is_left(struct world_test *w)
{
    int64_t was = age(w), n;

    advance(100 * 1000);
    while ((n = age(w)) != 0 && n < was + 100)
        sched_yield();
    return n != 0;
}

static void until_gone(struct world_test *w)
{
    while (age(w))
        sched_yield();
}

static void send(struct world_test *w, const char *cid) { expect(w, ANN, SEND_TO(BEN, cid, "x"), CODE_OK, "\"seq\":"); }

static struct stream *log_of(struct world_test *w) { return w->r[0]->stream; }

static void tables_have_all(struct world_test *w)
{
    views_tables_durable(w->views, w->log_ids[0], stream_committed(log_of(w)));
}
static void all_have_all(struct world_test *w)
{
    tables_have_all(w);
    views_owed_durable(w->views, w->log_ids[0], stream_committed(log_of(w)));
}

PROMISE(an_erasing_is_not_gone_while_any_view_needs_the_log_that_has_it)
{
    struct world_test *w = start();
    uint64_t end;

    send(w, "a");
    end = stream_committed(log_of(w));
    begin_erasing(w);
    assert_true(is_left(w));
    tables_have_all(w);
    assert_true(is_left(w)); /* what is owed is not recorded yet */
    all_have_all(w);
    until_gone(w);
    assert_true(stream_trimmed(log_of(w)) >= end);
    world_end(w);
}

/* On the reactor's thread, so that it sees all of it at its next look: the scrub that it waits for is done, it goes on
 * in an old segment, another log has something scrubbed, and something is erased. */
struct meddling {
    struct world_test *w;
    struct worn *other, *own;
};
static void meddle(void *arg)
{
    struct meddling *m = arg;

    worn_give_back(m->other);
    worn_take(m->own, m->w->segments, m->w->log_dir, m->w->log_ids[0]);
    (void)segpool_scrub(m->w->segments);
    atomic_fetch_add(&m->w->world.erasings, 1);
}

PROMISE(what_is_erased_while_a_scrub_is_waited_for_is_not_gone_with_what_was_before)
{
    struct world_test *w = start();
    struct worn other, own;
    uint64_t end;

    worn_take(&other, w->segments, w->log_dir, OTHER_LOG);
    send(w, "a");
    all_have_all(w);
    end = stream_committed(log_of(w));
    begin_erasing(w);
    while (stream_trimmed(log_of(w)) < end)
        sched_yield();
    assert_true(is_left(w)); /* in the other log, maybe */
    send(w, "b");
    end = stream_committed(log_of(w));
    on_reactor(w, 0, meddle, &(struct meddling){w, &other, &own});
    assert_true(is_left(w));
    worn_give_back(&own);
    assert_true(is_left(w)); /* the log has it: nobody said that the views have that part */
    all_have_all(w);
    until_gone(w);
    assert_true(stream_trimmed(log_of(w)) >= end);
    world_end(w);
}

/* Else two logs would have each other roll for ever. */
PROMISE(a_log_that_another_s_scrub_has_roll_asks_for_none_itself)
{
    struct world_test *w = start();
    struct worn own;
    uint64_t ticket;

    send(w, "a");
    worn_take(&own, w->segments, w->log_dir, w->log_ids[0]);
    ticket = segpool_scrub(w->segments);
    while (age(w) == 0) {
        advance(1000);
        sched_yield();
    }
    all_have_all(w);
    while (stream_trimmed(log_of(w)) < stream_committed(log_of(w))) /* it rolled */
        sched_yield();
    assert_true(is_left(w));
    worn_give_back(&own);
    until_gone(w);
    assert_int_equal(segpool_scrub(w->segments), ticket + 1);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(an_erasing_is_not_gone_while_any_view_needs_the_log_that_has_it),
        HOLDS(what_is_erased_while_a_scrub_is_waited_for_is_not_gone_with_what_was_before),
        HOLDS(a_log_that_another_s_scrub_has_roll_asks_for_none_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
