/* A turn ends in uv's prepare phase, the last stop before the loop may sleep: whatever ran since the last one (I/O,
 * uv's own timers, closings) is followed by the mailbox, our timers and the hooks, and only then by sleep. So nothing
 * that a callback produced waits for the next event.
 *
 * Sleep ends by I/O, by uv_async (a foreign thread's message or stop) or by one uv_timer, set to the next tick of the
 * wheel that has a timer; without timers nothing wakes an idle loop. A message that the loop's own thread posts costs
 * no system call: a flag, and, when it came too late for this turn's mailbox, an idle handle that keeps uv from
 * sleeping.
 *
 * The wheel: a timer for time t sits in slot ceil(t / 64 ms) mod SLOTS, among others of the same slot whose rounds are
 * still to come. All slots up to `tick` have been visited. No slot before `armed` has a timer in it: stopping does not
 * tell the wheel, so `armed` may be too early, which costs one look, but never too late. */
#include "base/loop.h"
#include <assert.h>
#include <stdatomic.h>
#include <uv.h>

enum { TICK_MS = 64, SLOTS = 1024 };
#define NO_TICK UINT64_MAX

struct loop {
    uv_loop_t uv;
    uv_async_t wake;
    uv_timer_t alarm;
    uv_prepare_t before_sleep;
    uv_idle_t no_sleep;
    struct mailbox *mailbox;
    struct link hooks;
    atomic_bool stopping;
    bool posted; /* by this loop's thread, since the mailbox was last drained; or while hooks ran, there was work for
                    them */
    bool is_in_hooks;
    uint64_t tick, armed, alarm_tick;
    struct link slots[SLOTS];
};

/* Which loop this thread runs: the one thing that a poster has to know about its own thread. */
static _Thread_local struct loop *running;

static uint64_t now_tick(const struct loop *l) { return loop_now_ms(l) / TICK_MS; }

static uint64_t tick_of(const struct timer *t) { return (t->at_ms + TICK_MS - 1) / TICK_MS; }

static uint64_t next_used_tick(const struct loop *l)
{
    for (uint64_t tick = l->tick + 1; tick <= l->tick + SLOTS; tick++) {
        if (!list_is_empty(&l->slots[tick % SLOTS]))
            return tick;
    }
    return NO_TICK;
}

/* Moves what is due to `due`: a callback may then set and stop any timer, those that wait in `due` too. */
static void collect(struct loop *l, uint64_t now, struct link *due)
{
    uint64_t first = now - l->tick > SLOTS ? now - SLOTS + 1 : l->tick + 1;
    for (uint64_t tick = first; tick <= now; tick++) {
        list_each (&l->slots[tick % SLOTS], t, struct timer, link) {
            if (tick_of(t) <= now) {
                list_remove(&t->link);
                list_push(due, &t->link);
            }
        }
    }
}

static void run_timers(struct loop *l)
{
    uint64_t now = now_tick(l);
    struct link due;

    if (l->armed > now) {
        l->tick = now; /* there was nothing on the way */
        return;
    }
    list_init(&due);
    collect(l, now, &due);
    l->tick = now;
    l->armed = next_used_tick(l);
    while (!list_is_empty(&due)) {
        struct timer *t = list_first(&due, struct timer, link);
        list_remove(&t->link);
        t->fn(t);
    }
}

/* The cursor stands behind the running hook, which may therefore remove itself or any other. */
static void run_hooks(struct loop *l)
{
    for (struct link *at = l->hooks.next, cursor; at != &l->hooks;) {
        struct turn_hook *h = container_of(at, struct turn_hook, link);
        list_push_front(at, &cursor);
        h->fn(h);
        at = cursor.next;
        list_remove(&cursor);
    }
}

static void on_alarm(uv_timer_t *alarm) { (void)alarm; /* it ended the sleep, that is all */ }
static void on_wake(uv_async_t *wake) { (void)wake; /* the same */ }
static void on_no_sleep(uv_idle_t *idle) { (void)idle; /* the same */ }

static void set_alarm(struct loop *l)
{
    if (l->armed == l->alarm_tick)
        return;
    l->alarm_tick = l->armed;
    if (l->armed == NO_TICK) {
        uv_timer_stop(&l->alarm);
    } else {
        uint64_t at = l->armed * TICK_MS, now = loop_now_ms(l);
        uv_timer_start(&l->alarm, on_alarm, at > now ? at - now : 0, 0);
    }
}

static void end_turn(struct loop *l)
{
    l->posted = false;
    mailbox_drain(l->mailbox);
    run_timers(l);
    l->is_in_hooks = true;
    run_hooks(l);
    l->is_in_hooks = false;
    set_alarm(l);
    if (l->posted)
        uv_idle_start(&l->no_sleep, on_no_sleep);
    else
        uv_idle_stop(&l->no_sleep);
}

static void on_before_sleep(uv_prepare_t *prepare) { end_turn(prepare->data); }

static void wake(void *arg)
{
    struct loop *l = arg;
    if (running == l)
        l->posted = true;
    else
        uv_async_send(&l->wake);
}

enum err loop_create(struct loop **out)
{
    struct loop *l = mem_new(struct loop);

    if (uv_loop_init(&l->uv) != 0) {
        mem_free(l);
        return ERR_IO; /* no descriptors left */
    }
    if (uv_async_init(&l->uv, &l->wake, on_wake) != 0) {
        uv_loop_close(&l->uv);
        mem_free(l);
        return ERR_IO;
    }
    uv_timer_init(&l->uv, &l->alarm);
    uv_idle_init(&l->uv, &l->no_sleep);
    uv_prepare_init(&l->uv, &l->before_sleep);
    l->before_sleep.data = l;
    uv_prepare_start(&l->before_sleep, on_before_sleep);
    mailbox_create(wake, l, &l->mailbox);
    list_init(&l->hooks);
    for (size_t i = 0; i < SLOTS; i++)
        list_init(&l->slots[i]);
    l->tick = now_tick(l);
    l->armed = l->alarm_tick = NO_TICK;
    *out = l;
    return ERR_OK;
}

void loop_destroy(struct loop *l)
{
    if (!l)
        return;
    uv_close((uv_handle_t *)&l->wake, NULL);
    uv_close((uv_handle_t *)&l->alarm, NULL);
    uv_close((uv_handle_t *)&l->before_sleep, NULL);
    uv_close((uv_handle_t *)&l->no_sleep, NULL);
    uv_run(&l->uv, UV_RUN_DEFAULT); /* closes them, and what a borrower is still closing */
    int busy = uv_loop_close(&l->uv);
    assert(!busy); /* a borrower left a handle open */
    mailbox_destroy(l->mailbox);
    mem_free(l);
}

void loop_run(struct loop *l)
{
    running = l;
    while (!atomic_load(&l->stopping))
        uv_run(&l->uv, UV_RUN_ONCE);
    end_turn(l); /* of what came in since the last one */
    atomic_store(&l->stopping, false);
    running = NULL;
}

void loop_turn(struct loop *l)
{
    running = l;
    uv_run(&l->uv, UV_RUN_NOWAIT);
    running = NULL;
}

void loop_stop(struct loop *l)
{
    atomic_store(&l->stopping, true);
    uv_async_send(&l->wake);
}

struct mailbox *loop_mailbox(struct loop *l) { return l->mailbox; }

struct uv_loop_s *loop_uv(struct loop *l) { return &l->uv; }

uint64_t loop_now_ms(const struct loop *l) { return uv_now(&l->uv); }

void loop_hook(struct loop *l, struct turn_hook *h) { list_push(&l->hooks, &h->link); }

void loop_unhook(struct turn_hook *h) { list_remove(&h->link); }

void loop_again(struct loop *l) { l->posted |= l->is_in_hooks; }

void timer_set(struct loop *l, struct timer *t, uint64_t in_ms)
{
    t->at_ms = loop_now_ms(l) + in_ms;
    uint64_t tick = tick_of(t) > l->tick ? tick_of(t) : l->tick + 1;
    list_remove(&t->link);
    list_push(&l->slots[tick % SLOTS], &t->link);
    if (tick < l->armed)
        l->armed = tick;
}

void timer_stop(struct timer *t) { list_remove(&t->link); }
