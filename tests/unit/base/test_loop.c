/* Time is real here, so nothing is said about how late a timer is: only that it is never early, and that a loop which
 * should not sleep does not hang (a broken promise shows as a test that never ends). */
#include "base/loop.h"
#include "tests/lib/unit.h"
#include <pthread.h>
#include <unistd.h>
#include <uv.h>

struct trial {
    struct loop *loop;
    struct turn_hook hook;
    struct timer timers[8];
    struct msg msg;
    char trace[64]; /* one letter per happening */
    size_t traced;
    unsigned left;
};

static struct trial t;

static void trace(char c)
{
    if (t.traced < sizeof(t.trace) - 1)
        t.trace[t.traced++] = c;
}

static int set_up(void **state)
{
    (void)state;
    t = (struct trial){0};
    return loop_create(&t.loop) == ERR_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    loop_destroy(t.loop);
    return 0;
}

static void stop_by_message(struct msg *m)
{
    (void)m;
    trace('m');
    loop_stop(t.loop);
}

static void hook_traces(struct turn_hook *h)
{
    (void)h;
    trace('h');
}

PROMISE(a_turn_is_the_mailbox_then_timers_then_hooks_and_stop_finishes_it)
{
    t.msg.run = stop_by_message;
    t.hook.fn = hook_traces;
    loop_hook(t.loop, &t.hook);
    mailbox_post(loop_mailbox(t.loop), &t.msg);
    loop_run(t.loop);
    assert_memory_equal(t.trace, "mh", 2);
}

static void stop_by_timer(struct timer *timer)
{
    (void)timer;
    trace('t');
    loop_stop(t.loop);
}

static void hook_stops_after_a_timer(struct turn_hook *h)
{
    (void)h;
    if (t.traced && t.trace[t.traced - 1] == 't')
        loop_stop(t.loop);
}

static void trace_timer(struct timer *timer)
{
    assert_true(loop_now_ms(t.loop) >= timer->at_ms);
    assert_false(timer_is_set(timer));
    trace('t');
}

PROMISE(hooks_run_in_the_turn_of_a_timer_without_waiting_for_the_next_event)
{
    t.hook.fn = hook_stops_after_a_timer;
    loop_hook(t.loop, &t.hook);
    t.timers[0].fn = trace_timer;
    timer_set(t.loop, &t.timers[0], 1);
    loop_run(t.loop);
    assert_string_equal(t.trace, "t");
}

static void foreign_timer(uv_timer_t *timer)
{
    trace('t');
    uv_close((uv_handle_t *)timer, NULL);
}

PROMISE(hooks_run_after_a_borrower_s_uv_timer_before_the_loop_sleeps)
{
    uv_timer_t timer;
    uv_timer_init(loop_uv(t.loop), &timer);
    uv_timer_start(&timer, foreign_timer, 1, 0);
    t.hook.fn = hook_stops_after_a_timer;
    loop_hook(t.loop, &t.hook);
    loop_run(t.loop);
    assert_string_equal(t.trace, "t");
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    char c;
    (void)status;
    (void)events;
    assert_int_equal(read(*(int *)poll->data, &c, 1), 1);
    trace(c);
    loop_stop(t.loop);
}

PROMISE(hooks_run_after_io_even_in_the_last_turn)
{
    int fds[2];
    uv_poll_t poll;

    assert_ok(pipe(fds));
    assert_ok(uv_poll_init(loop_uv(t.loop), &poll, fds[0]));
    poll.data = &fds[0];
    uv_poll_start(&poll, UV_READABLE, on_readable);
    t.hook.fn = hook_traces;
    loop_hook(t.loop, &t.hook);
    assert_int_equal(write(fds[1], "r", 1), 1);
    loop_run(t.loop);
    assert_string_equal(t.trace, "hrh");
    uv_close((uv_handle_t *)&poll, NULL); /* loop_destroy ends the closing */
    loop_destroy(t.loop);
    close(fds[0]);
    close(fds[1]);
    assert_ok(loop_create(&t.loop));
}

static void hook_posts(struct turn_hook *h)
{
    (void)h;
    trace('h');
    if (t.left-- > 0)
        mailbox_post(loop_mailbox(t.loop), &t.msg);
}

static void message_counts(struct msg *m)
{
    (void)m;
    trace('m');
    if (t.left == 0)
        loop_stop(t.loop);
}

PROMISE(what_a_hook_posts_runs_in_the_next_turn_without_a_sleep)
{
    t.left = 3;
    t.msg.run = message_counts;
    t.hook.fn = hook_posts;
    loop_hook(t.loop, &t.hook);
    loop_run(t.loop);
    assert_memory_equal(t.trace, "hmhmhm", 6);
}

static void message_asks_for_hooks(struct msg *m)
{
    (void)m;
    trace('m');
    loop_again(t.loop);
}

static void hook_asks_once(struct turn_hook *h)
{
    (void)h;
    trace('h');
    if (t.left-- > 0)
        loop_again(t.loop);
}

PROMISE(work_for_hooks_costs_a_turn_only_when_they_have_begun)
{
    t.msg.run = message_asks_for_hooks;
    t.hook.fn = hook_traces;
    loop_hook(t.loop, &t.hook);
    mailbox_post(loop_mailbox(t.loop), &t.msg);
    loop_turn(t.loop); /* the message's; and uv learns that it was the last */
    loop_turn(t.loop);
    assert_string_equal(t.trace, "mhh");
    assert_int_equal(uv_backend_timeout(loop_uv(t.loop)), -1);
    t.left = 1;
    t.hook.fn = hook_asks_once;
    loop_turn(t.loop);
    assert_int_equal(uv_backend_timeout(loop_uv(t.loop)), 0);
    loop_turn(t.loop);
    assert_int_equal(uv_backend_timeout(loop_uv(t.loop)), -1);
    assert_string_equal(t.trace, "mhhhh");
}

static void post_again(struct msg *m)
{
    trace('m');
    if (t.left-- > 0)
        mailbox_post(loop_mailbox(t.loop), m);
    else
        loop_stop(t.loop);
}

PROMISE(what_a_message_posts_runs_after_the_hooks_of_its_turn)
{
    t.left = 2;
    t.msg.run = post_again;
    t.hook.fn = hook_traces;
    loop_hook(t.loop, &t.hook);
    mailbox_post(loop_mailbox(t.loop), &t.msg);
    loop_run(t.loop);
    assert_memory_equal(t.trace, "mhmhmh", 6);
}

PROMISE(an_idle_loop_has_no_reason_to_wake)
{
    t.msg.run = stop_by_message;
    mailbox_post(loop_mailbox(t.loop), &t.msg);
    loop_run(t.loop);
    assert_int_equal(uv_backend_timeout(loop_uv(t.loop)), -1);
    t.timers[0].fn = stop_by_timer;
    timer_set(t.loop, &t.timers[0], 100000);
    timer_set(t.loop, &t.timers[0], 1);
    loop_run(t.loop);
    assert_int_equal(uv_backend_timeout(loop_uv(t.loop)), -1);
}

PROMISE(timers_fire_in_the_order_of_their_ticks_never_early_and_once)
{
    static const uint64_t in_ms[] = {200, 0, 70, 140, 270};
    for (size_t i = 0; i < 5; i++) {
        t.timers[i].fn = i == 4 ? stop_by_timer : trace_timer;
        timer_set(t.loop, &t.timers[i], in_ms[i]);
        assert_true(timer_is_set(&t.timers[i]));
    }
    loop_run(t.loop);
    assert_string_equal(t.trace, "ttttt");
    for (size_t i = 0; i < 5; i++)
        assert_false(timer_is_set(&t.timers[i]));
}

static void fail_timer(struct timer *timer)
{
    (void)timer;
    fail();
}

PROMISE(a_timer_of_a_later_round_is_not_fired_with_its_slot)
{
    t.timers[0].fn = fail_timer;
    t.timers[1].fn = stop_by_timer;
    timer_set(t.loop, &t.timers[0], 64 * 1024);
    timer_set(t.loop, &t.timers[2], 64 * 1024 + 64); /* the slot that is visited next */
    t.timers[2].fn = fail_timer;
    timer_set(t.loop, &t.timers[1], 130);
    loop_run(t.loop);
    assert_true(timer_is_set(&t.timers[0]) && timer_is_set(&t.timers[2]));
    timer_stop(&t.timers[0]);
    timer_stop(&t.timers[2]);
}

PROMISE(a_stopped_timer_does_not_fire_and_a_moved_one_fires_at_its_new_time)
{
    t.timers[0].fn = fail_timer;
    t.timers[1].fn = trace_timer;
    t.timers[2].fn = stop_by_timer;
    timer_set(t.loop, &t.timers[0], 1);
    timer_stop(&t.timers[0]);
    timer_stop(&t.timers[0]);
    timer_set(t.loop, &t.timers[1], 1);
    timer_set(t.loop, &t.timers[1], 100); /* trace_timer checks the time */
    timer_set(t.loop, &t.timers[2], 100000);
    timer_set(t.loop, &t.timers[2], 200);
    loop_run(t.loop);
    assert_string_equal(t.trace, "tt");
}

static void stop_the_others(struct timer *timer)
{
    for (size_t i = 0; i < 3; i++) {
        if (&t.timers[i] != timer)
            timer_stop(&t.timers[i]);
    }
    trace('t');
    timer->fn = stop_by_timer;
    timer_set(t.loop, timer, 0);
}

PROMISE(a_timer_may_stop_others_that_are_due_and_set_itself_again)
{
    for (size_t i = 0; i < 3; i++) {
        t.timers[i].fn = stop_the_others;
        timer_set(t.loop, &t.timers[i], 1);
    }
    loop_run(t.loop);
    assert_string_equal(t.trace, "tt");
}

static struct turn_hook hooks[3];

static void first_hook(struct turn_hook *h)
{
    trace('1');
    loop_unhook(h);
    loop_unhook(&hooks[1]);
}
static void second_hook(struct turn_hook *h)
{
    (void)h;
    trace('2');
}
static void third_hook(struct turn_hook *h)
{
    (void)h;
    trace('3');
    loop_stop(t.loop);
}

PROMISE(hooks_run_in_order_and_may_remove_themselves_and_others)
{
    void (*fn[])(struct turn_hook *) = {first_hook, second_hook, third_hook};
    for (size_t i = 0; i < 3; i++) {
        hooks[i] = (struct turn_hook){.fn = fn[i]};
        loop_hook(t.loop, &hooks[i]);
    }
    loop_run(t.loop);
    assert_memory_equal(t.trace, "133", 3); /* the last turn has only the third */
}

enum { THREADS = 3, EACH = 5000 };
static struct msg many[THREADS][EACH];
static unsigned arrived;

static void arrive(struct msg *m)
{
    (void)m;
    if (++arrived == THREADS * EACH)
        loop_stop(t.loop);
}

static void *post_many(void *arg)
{
    struct msg *msgs = arg;
    for (size_t i = 0; i < EACH; i++) {
        msgs[i].run = arrive;
        mailbox_post(loop_mailbox(t.loop), &msgs[i]);
    }
    return NULL;
}

PROMISE(no_message_of_another_thread_is_slept_over)
{
    pthread_t thread[THREADS];
    arrived = 0;
    for (size_t i = 0; i < THREADS; i++)
        assert_ok(pthread_create(&thread[i], NULL, post_many, many[i]));
    loop_run(t.loop);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(arrived, THREADS * EACH);
}

static void *stop_it(void *arg)
{
    loop_stop(arg);
    return NULL;
}

PROMISE(a_stop_from_another_thread_is_seen_and_the_loop_can_run_again)
{
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        assert_ok(pthread_create(&thread, NULL, stop_it, t.loop));
        loop_run(t.loop);
        pthread_join(thread, NULL);
    }
}

#define ON_A_LOOP(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_A_LOOP(a_turn_is_the_mailbox_then_timers_then_hooks_and_stop_finishes_it),
        ON_A_LOOP(hooks_run_in_the_turn_of_a_timer_without_waiting_for_the_next_event),
        ON_A_LOOP(hooks_run_after_a_borrower_s_uv_timer_before_the_loop_sleeps),
        ON_A_LOOP(hooks_run_after_io_even_in_the_last_turn),
        ON_A_LOOP(what_a_hook_posts_runs_in_the_next_turn_without_a_sleep),
        ON_A_LOOP(work_for_hooks_costs_a_turn_only_when_they_have_begun),
        ON_A_LOOP(what_a_message_posts_runs_after_the_hooks_of_its_turn),
        ON_A_LOOP(an_idle_loop_has_no_reason_to_wake),
        ON_A_LOOP(timers_fire_in_the_order_of_their_ticks_never_early_and_once),
        ON_A_LOOP(a_timer_of_a_later_round_is_not_fired_with_its_slot),
        ON_A_LOOP(a_stopped_timer_does_not_fire_and_a_moved_one_fires_at_its_new_time),
        ON_A_LOOP(a_timer_may_stop_others_that_are_due_and_set_itself_again),
        ON_A_LOOP(hooks_run_in_order_and_may_remove_themselves_and_others),
        ON_A_LOOP(no_message_of_another_thread_is_slept_over),
        ON_A_LOOP(a_stop_from_another_thread_is_seen_and_the_loop_can_run_again),
    };
    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
