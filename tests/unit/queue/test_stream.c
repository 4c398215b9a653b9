/* Appending and committing: order, group commit, bounds, a full disk, and failures. */
#include <unistd.h>
#include "queue/stream_in.h"
#include "tests/unit/queue/log_rig.h"

PROMISE(what_was_committed_is_replayed_in_order_over_many_segments)
{
    enum { N = 3000 };
    struct rig r;
    uint64_t *numbers;
    size_t n;

    rig_start(&r);
    rig_open(&r, 7, 16384);
    rig_fill(&r, 0, N, 13);
    rig_wait(&r, stream_end(r.stream));
    assert_int_equal(r.committed, rig_pos(N));
    assert_int_equal(rig_count(&r, 7), N);
    rig_close(&r);
    assert_int_equal(rig_count(&r, 7), N);

    char *dir = segment_log_dir(r.dir, 7);
    assert_ok(segment_list(r.env.fs, dir, ".seg", &numbers, &n));
    assert_true(n > 20);
    mem_free(numbers);
    mem_free(dir);
    rig_end(&r);
}

PROMISE(a_replay_starts_at_any_record_and_brings_the_topics_asked_for)
{
    enum { N = 400 };
    struct rig r;

    rig_start(&r);
    rig_open(&r, 7, 8192);
    rig_fill(&r, 0, N, 5);
    rig_close(&r);
    for (unsigned i = 0; i <= N; i += 9) {
        struct expecting e = {.i = i};
        assert_ok(seglog_replay(&r.env, r.dir, 7, rig_pos(i), 0, rig_expect, &e));
        assert_int_equal(e.i, i >= N ? i : N);
    }
    struct expecting e = {.topics = 2};
    assert_ok(seglog_replay(&r.env, r.dir, 7, 0, 2, rig_expect, &e));
    assert_int_equal(e.seen, N / 10);
    rig_end(&r);
}

/* A sync that waits until the test lets it go. */
struct gate {
    sem_t reached, go;
};

static void at_gate(void *arg, enum fault_op op, const char *path)
{
    struct gate *g = arg;
    (void)op;
    (void)path;
    sem_post(&g->reached);
    sem_wait(&g->go);
}

/* Opens a log, of which record 0 is committed, so that the segment is in place; from now on syncs stop at the gate. */
static void open_gated(struct rig *r, struct gate *g, struct stream_conf *c)
{
    sem_init(&g->reached, 0, 0);
    sem_init(&g->go, 0, 0);
    assert_ok(stream_open(c, &r->stream));
    rig_fill(r, 0, 1, 1);
    rig_wait(r, stream_end(r->stream));
    faultfs_hook(r->faults, FAULT_SYNC, at_gate, g);
}

static void open_up(struct rig *r, struct gate *g)
{
    faultfs_hook(r->faults, 0, NULL, NULL);
    sem_post(&g->go);
}

static void gate_end(struct gate *g)
{
    sem_destroy(&g->reached);
    sem_destroy(&g->go);
}

PROMISE(all_that_came_during_a_sync_shares_the_next_one)
{
    struct rig r;
    struct gate g;

    rig_start(&r);
    assert_ok(rig_try_pool(&r, 1 << 20, 1));
    struct stream_conf c = rig_conf(&r, 7);
    open_gated(&r, &g, &c);
    rig_fill(&r, 1, 2, 1);
    sem_wait(&g.reached); /* record 1 is written and not yet synced */
    rig_fill(&r, 2, 300, 1);
    mailbox_drain(r.home);
    assert_int_equal(r.committed, rig_pos(1));
    uint64_t writes = faultfs_calls(r.faults, FAULT_WRITE), syncs = faultfs_calls(r.faults, FAULT_SYNC);
    open_up(&r, &g);
    rig_wait(&r, rig_pos(300));
    assert_int_equal(faultfs_calls(r.faults, FAULT_WRITE), writes + 1);
    assert_int_equal(faultfs_calls(r.faults, FAULT_SYNC), syncs + 1);
    rig_close(&r);
    assert_int_equal(rig_count(&r, 7), 300);
    rig_end(&r);
    gate_end(&g);
}

PROMISE(a_busy_log_waits_for_those_it_just_answered)
{
    struct rig r;
    struct gate g;

    rig_start(&r);
    assert_ok(rig_try_pool(&r, 1 << 20, 1));
    struct stream_conf c = rig_conf(&r, 7);
    c.linger_us = 3600u * 1000 * 1000; /* would not end by itself */
    open_gated(&r, &g, &c);
    rig_fill(&r, 1, 2, 1);
    sem_wait(&g.reached);
    rig_fill(&r, 2, 3, 1); /* came during a sync, so the log is busy: it now waits for two */
    uint64_t syncs = faultfs_calls(r.faults, FAULT_SYNC);
    open_up(&r, &g);
    rig_wait(&r, rig_pos(2));
    rig_fill(&r, 3, 4, 1);
    rig_wait(&r, rig_pos(4));
    assert_int_equal(faultfs_calls(r.faults, FAULT_SYNC), syncs + 1);
    rig_fill(&r, 4, 5, 1); /* nothing came during that one */
    rig_wait(&r, rig_pos(5));
    rig_end(&r);
    gate_end(&g);
}

PROMISE(an_append_that_is_alone_never_waits_for_company)
{
    struct rig r;

    rig_start(&r);
    assert_ok(rig_try_pool(&r, 1 << 20, 1));
    struct stream_conf c = rig_conf(&r, 7);
    c.linger_us = 3600u * 1000 * 1000;
    assert_ok(stream_open(&c, &r.stream));
    for (unsigned i = 0; i < 20; i++) {
        rig_fill(&r, i, i + 1, 1);
        rig_wait(&r, rig_pos(i + 1));
    }
    rig_end(&r);
}

PROMISE(too_much_in_flight_is_refused_until_some_is_durable)
{
    struct rig r;
    struct gate g;
    uint64_t pos, end;
    unsigned i = 1;

    rig_start(&r);
    assert_ok(rig_try_pool(&r, 1 << 20, 1));
    struct stream_conf c = rig_conf(&r, 7);
    c.max_in_flight = 10000;
    open_gated(&r, &g, &c);
    while (rig_append(&r, i, &pos) == ERR_OK)
        i++;
    assert_int_equal(rig_append(&r, i, &pos), ERR_LIMIT);
    end = stream_end(r.stream);
    assert_int_equal(end, rig_pos(i));
    assert_in_range(end - rig_pos(1), 10000 - 16 - 300, 10000);
    stream_flush(r.stream);
    sem_wait(&g.reached);
    assert_int_equal(rig_append(&r, i, &pos), ERR_LIMIT); /* written is not durable */
    open_up(&r, &g);
    rig_wait(&r, end);
    assert_ok(rig_append(&r, i, &pos));
    assert_int_equal(pos, end);
    rig_end(&r);
    gate_end(&g);
}

PROMISE(records_that_belong_together_are_taken_all_or_none)
{
    struct rig r;
    struct log_record v[2] = {{.kind = 1, .body = rig_body(1)}, {.kind = 2, .body = rig_body(1)}};
    uint64_t pos, end;

    rig_start(&r);
    assert_ok(rig_try_pool(&r, 8192, 2));
    struct stream_conf c = rig_conf(&r, 7);
    c.max_in_flight = 2 * RECORD_HEADER + 2 * rig_len(1) + 1; /* two and not three */
    assert_ok(stream_open(&c, &r.stream));
    assert_ok(stream_append(r.stream, 0, 0, 0, rig_body(1), &pos));
    end = stream_end(r.stream);
    assert_int_equal(stream_append_all(r.stream, v, 2), ERR_LIMIT); /* one would have fitted */
    assert_int_equal(stream_end(r.stream), end);
    stream_flush(r.stream);
    rig_wait(&r, end);
    assert_ok(stream_append_all(r.stream, v, 2));
    assert_int_equal(v[0].pos, end);
    assert_int_equal(v[1].pos, v[0].next);
    assert_int_equal(stream_end(r.stream), v[1].next);
    rig_end(&r);
}

PROMISE(a_full_disk_refuses_before_the_first_byte_and_recovers)
{
    struct rig r;
    uint64_t pos;
    unsigned i = 0;
    enum err err;

    rig_start(&r);
    assert_ok(rig_try_pool(&r, 8192, 2));
    faultfs_fail(r.faults, FAULT_FILL, 1, UINT64_MAX, ERR_FULL);
    struct stream_conf c = rig_conf(&r, 7);
    assert_ok(stream_open(&c, &r.stream));
    while ((err = rig_append(&r, i, &pos)) == ERR_OK || err == ERR_LIMIT) /* LIMIT: it has not tried to fill yet */
        i += err == ERR_OK;
    assert_int_equal(err, ERR_FULL);
    assert_int_equal(stream_end(r.stream), rig_pos(i));
    stream_flush(r.stream);
    rig_wait(&r, rig_pos(i)); /* what was admitted is written, for its space was there */
    assert_int_equal(r.failures, 0);
    assert_int_equal(rig_append(&r, i, &pos), ERR_FULL);

    faultfs_heal(r.faults);
    while ((err = rig_append(&r, i, &pos)) != ERR_OK) /* until the pool has tried again */
        assert_true(err == ERR_FULL || err == ERR_LIMIT);
    rig_fill(&r, i + 1, i + 200, 10);
    rig_close(&r);
    assert_int_equal(rig_count(&r, 7), i + 200);
    rig_end(&r);
}

static void assert_fails(enum fault_op op, enum err with)
{
    struct rig r;
    uint64_t pos;

    rig_start(&r);
    rig_open(&r, 7, 1 << 16);
    rig_fill(&r, 0, 10, 10);
    rig_wait(&r, rig_pos(10));
    faultfs_fail(r.faults, op, 1, 1, with);
    rig_fill(&r, 10, 20, 10);
    rig_wait(&r, rig_pos(20));
    assert_int_equal(r.failures, 1);
    assert_int_equal(r.failure, with);
    assert_int_equal(rig_append(&r, 20, &pos), ERR_CLOSED);
    rig_close(&r);
    assert_int_equal(r.failures, 1);
    assert_int_equal(r.committed, rig_pos(10));
    rig_end(&r);
}

PROMISE(after_a_failed_sync_it_is_said_once_and_nothing_is_committed) { assert_fails(FAULT_SYNC, ERR_IO); }
PROMISE(after_a_failed_write_it_is_said_once_and_nothing_is_committed) { assert_fails(FAULT_WRITE, ERR_FULL); }

static void assert_waits(enum fault_op op, uint64_t times)
{
    struct rig r;

    rig_start(&r);
    assert_ok(rig_try_pool(&r, 8192, 4));
    struct stream_conf c = rig_conf(&r, 7);
    assert_ok(stream_open(&c, &r.stream));
    faultfs_fail(r.faults, op, 1, times, ERR_SCARCE);
    rig_fill(&r, 0, 100, 10); /* over several segments */
    rig_wait(&r, rig_pos(100));
    assert_true(faultfs_has_failed(r.faults));
    assert_int_equal(r.failures, 0);
    rig_close(&r);
    assert_int_equal(rig_count(&r, 7), 100);
    rig_end(&r);
}

PROMISE(without_a_descriptor_for_a_segment_the_log_waits_for_one) { assert_waits(FAULT_OPEN, 3); }
PROMISE(without_a_descriptor_for_a_folder_the_log_waits_for_one) { assert_waits(FAULT_SYNC_DIR, 3); }

/* A log of some segments in which the n-th call fails; false when no call did. */
static bool run_with_fault(uint64_t n)
{
    enum { N = 150 };
    struct rig r;
    struct seglog_report rep;
    uint64_t pos;
    char *why;

    rig_start(&r);
    faultfs_fail(r.faults, FAULT_ALL, n, 1, ERR_IO);
    if (rig_try_pool(&r, 8192, 2) == ERR_OK) {
        struct stream_conf c = rig_conf(&r, 7);
        if (stream_open(&c, &r.stream) == ERR_OK) {
            for (unsigned i = 0; i < N && rig_append(&r, i, &pos) == ERR_OK; i++) {
                stream_flush(r.stream);
                rig_wait(&r, stream_end(r.stream));
            }
            rig_close(&r);
        }
    }
    bool failed = faultfs_has_failed(r.faults);
    faultfs_heal(r.faults);
    if (r.committed) {
        assert_ok(seglog_recover(&r.env, r.dir, 7, r.committed, &rep, &why));
        assert_true(rep.end >= r.committed);
        assert_int_equal(rig_pos(rig_count(&r, 7)), rep.end);
    }
    rig_end(&r);
    return failed;
}

PROMISE(whichever_call_fails_nothing_committed_is_lost)
{
    uint64_t n = 1;
    while (run_with_fault(n))
        n = n < 150 ? n + 1 : n + 29; /* the first segment call by call, then less */
    assert_true(n > 100);
}

PROMISE(closing_commits_what_was_appended)
{
    struct rig r;

    rig_start(&r);
    rig_open(&r, 7, 8192);
    rig_fill(&r, 0, 100, 1);
    uint64_t pos;
    enum err err = rig_append(&r, 100, &pos); /* not flushed */
    rig_close(&r);
    assert_int_equal(r.committed, rig_pos(err == ERR_OK ? 101 : 100));
    assert_int_equal(rig_count(&r, 7), err == ERR_OK ? 101 : 100);
    rig_end(&r);
}

/* What the log holds for batches. Nothing is under way. */
static size_t held(struct stream *s)
{
    size_t bytes = s->open->bytes.cap;

    pthread_mutex_lock(&s->lock);
    for (const struct chunk *c = s->idle; c; c = c->next)
        bytes += c->bytes.cap;
    pthread_mutex_unlock(&s->lock);
    return bytes;
}

/* `turns` batches of n records of 1,000 bytes, one after the other. */
static void write_batches(struct rig *r, unsigned turns, unsigned n)
{
    static const char body[1000];
    uint64_t pos;

    for (unsigned i = 0; i < turns; i++) {
        for (unsigned k = 0; k < n; k++)
            assert_ok(stream_append(r->stream, 1, 2, 0, str_of(body, sizeof body), &pos));
        stream_flush(r->stream);
        rig_wait(r, stream_end(r->stream));
    }
}

PROMISE(memory_of_large_batches_is_kept_while_they_come_and_then_given_back)
{
    struct rig r;

    rig_start(&r);
    rig_open(&r, 7, 16 << 20);
    write_batches(&r, 4, 600);
    size_t busy = held(r.stream);
    assert_true(busy >= 2 << 20 && busy <= 5 << 20); /* two take turns, of a mebibyte each */
    stream_shrink(r.stream);
    assert_int_equal(held(r.stream), busy);
    write_batches(&r, 4, 600);
    assert_int_equal(held(r.stream), busy);
    stream_shrink(r.stream);
    write_batches(&r, 1, 1);
    assert_int_equal(held(r.stream), busy);
    stream_shrink(r.stream); /* since the last one there was but that */
    assert_true(held(r.stream) <= 5 * (16 << 10));
    write_batches(&r, 4, 600);
    rig_close(&r);
    rig_end(&r);
}

PROMISE(what_waits_to_be_handed_over_is_not_freed)
{
    struct rig r;

    rig_start(&r);
    rig_open(&r, 7, 1 << 20);
    for (unsigned i = 0; i < 300; i++) {
        uint64_t pos;
        assert_ok(rig_append(&r, i, &pos));
        stream_shrink(r.stream);
    }
    rig_close(&r);
    assert_int_equal(rig_count(&r, 7), 300);
    rig_end(&r);
}

PROMISE(a_log_without_a_record_opens_and_closes)
{
    struct rig r;
    rig_start(&r);
    rig_open(&r, 7, 8192);
    stream_flush(r.stream);
    rig_close(&r);
    assert_int_equal(r.commits, 0);
    assert_int_equal(rig_count(&r, 7), 0);
    rig_end(&r);
}

PROMISE(a_body_of_a_mebibyte_fits_and_one_beyond_the_bound_is_refused)
{
    struct rig r;
    uint64_t pos;
    char *body = mem_alloc(BODY_MAX + 1);

    rig_start(&r);
    rig_open(&r, 7, 4 << 20);
    assert_int_equal(stream_append(r.stream, 1, 2, 1, str_of(body, BODY_MAX + 1), &pos), ERR_INVALID);
    assert_int_equal(stream_end(r.stream), 0);
    for (int i = 0; i < 8; i++) {
        enum err err;
        while ((err = stream_append(r.stream, 1, 2, 1, str_of(body, 1 << 20), &pos)) == ERR_LIMIT)
            rig_wait(&r, stream_end(r.stream));
        assert_ok(err);
        stream_flush(r.stream);
    }
    rig_close(&r);
    assert_int_equal(r.committed, 8 * ((1 << 20) + RECORD_HEADER));
    mem_free(body);
    rig_end(&r);
}

PROMISE(the_end_of_a_topic_is_behind_its_last_committed_record)
{
    struct rig r;
    uint64_t pos;

    rig_start(&r);
    rig_open(&r, 7, 8192);
    assert_int_equal(stream_topic_end(r.stream, 4), 0);
    assert_ok(stream_append(r.stream, 0, 0, 4, STR("one"), &pos));
    stream_flush(r.stream);
    assert_ok(stream_append(r.stream, 0, 0, 4 | 1, STR("two"), &pos));
    uint64_t end = stream_end(r.stream);
    assert_ok(stream_append(r.stream, 0, 0, 1, STR("three"), &pos));
    stream_flush(r.stream);
    rig_wait(&r, stream_end(r.stream));
    assert_int_equal(stream_topic_end(r.stream, 4), end);
    assert_int_equal(stream_topic_end(r.stream, 1), stream_end(r.stream));
    assert_int_equal(stream_topic_end(r.stream, 2), 0);
    assert_int_equal(stream_topic_end(r.stream, 6), end);
    rig_end(&r);
}

/* The writer puts the new segment in place by itself. */
static void trim_all(struct rig *r)
{
    for (unsigned i = 0; i < 100000 && stream_trimmed(r->stream) < stream_end(r->stream); i++) {
        stream_trim(r->stream, stream_end(r->stream));
        usleep(100);
    }
    assert_int_equal(stream_trimmed(r->stream), stream_end(r->stream));
}

/* LIMIT: the next segment is still being made. */
static void roll(struct rig *r)
{
    enum err err;

    while ((err = stream_roll(r->stream)) == ERR_LIMIT)
        usleep(1000);
    assert_ok(err);
}

PROMISE(a_log_that_goes_on_in_a_new_segment_can_be_trimmed_to_its_end)
{
    struct expecting e = {.i = 50};
    struct rig r;

    rig_start(&r);
    rig_open(&r, 1, 1 << 20);
    roll(&r); /* nothing was written yet */
    rig_fill(&r, 0, 50, 7);
    roll(&r);
    roll(&r); /* it is empty: that is that */
    trim_all(&r);
    rig_fill(&r, 50, 100, 7);
    roll(&r);
    rig_fill(&r, 100, 130, 30);
    rig_close(&r);
    segpool_close(r.pool); /* by now what was trimmed has left the folder */
    r.pool = NULL;
    assert_ok(seglog_replay(&r.env, r.dir, 1, 0, 0, rig_expect, &e));
    assert_int_equal(e.seen, 80);
    rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(what_was_committed_is_replayed_in_order_over_many_segments),
        HOLDS(a_replay_starts_at_any_record_and_brings_the_topics_asked_for),
        HOLDS(all_that_came_during_a_sync_shares_the_next_one),
        HOLDS(a_busy_log_waits_for_those_it_just_answered),
        HOLDS(an_append_that_is_alone_never_waits_for_company),
        HOLDS(too_much_in_flight_is_refused_until_some_is_durable),
        HOLDS(records_that_belong_together_are_taken_all_or_none),
        HOLDS(a_full_disk_refuses_before_the_first_byte_and_recovers),
        HOLDS(after_a_failed_sync_it_is_said_once_and_nothing_is_committed),
        HOLDS(after_a_failed_write_it_is_said_once_and_nothing_is_committed),
        HOLDS(without_a_descriptor_for_a_segment_the_log_waits_for_one),
        HOLDS(without_a_descriptor_for_a_folder_the_log_waits_for_one),
        HOLDS(whichever_call_fails_nothing_committed_is_lost),
        HOLDS(closing_commits_what_was_appended),
        HOLDS(memory_of_large_batches_is_kept_while_they_come_and_then_given_back),
        HOLDS(what_waits_to_be_handed_over_is_not_freed),
        HOLDS(a_log_without_a_record_opens_and_closes),
        HOLDS(a_body_of_a_mebibyte_fits_and_one_beyond_the_bound_is_refused),
        HOLDS(the_end_of_a_topic_is_behind_its_last_committed_record),
        HOLDS(a_log_that_goes_on_in_a_new_segment_can_be_trimmed_to_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
