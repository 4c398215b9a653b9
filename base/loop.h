/* loop: one thread's event loop (libuv), its mailbox, its timers and its end-of-turn hooks. This is the only file of
 * the base that knows libuv; the gateway borrows the uv loop for libwebsockets.
 *
 * A turn is: I/O callbacks, the mailbox, timers, then every turn hook once. What a turn produced (bytes for sockets,
 * records for the log) is flushed by hooks, so it leaves in as few system calls as possible.
 * Thread: everything from the loop's own thread, except loop_stop and posting to the mailbox. */
#pragma once
#include "base/list.h"
#include "base/mailbox.h"

struct loop;
struct uv_loop_s;

MUST_CHECK enum err loop_create(struct loop **out); /* to be run by the thread that calls loop_run */
void loop_destroy(struct loop *l);
void loop_run(struct loop *l);  /* until loop_stop */
void loop_turn(struct loop *l); /* one turn, which waits for nothing: for who steps all parts by hand */
void loop_stop(struct loop *l); /* any thread; the turn under way is finished */
struct mailbox *loop_mailbox(struct loop *l);
struct uv_loop_s *loop_uv(struct loop *l);
uint64_t loop_now_ms(const struct loop *l); /* monotonic, read once a turn */

struct turn_hook {
    struct link link;
    void (*fn)(struct turn_hook *);
};
void loop_hook(struct loop *l, struct turn_hook *h); /* hooks run in the order they were added, every turn */
void loop_unhook(struct turn_hook *h);
/* There is work for a hook: the hooks of this turn will see it, or, when they have begun, another turn follows without
 * sleep. */
void loop_again(struct loop *l);

/* Timers sit in a hashed wheel of 64 ms ticks: setting, moving and stopping are O(1), firing may be up to 64 ms late,
 * never early. A timer fires once. A zeroed timer with fn set is valid and stopped. */
struct timer {
    struct link link;
    uint64_t at_ms;
    void (*fn)(struct timer *);
};
void timer_set(struct loop *l, struct timer *t, uint64_t in_ms);
void timer_stop(struct timer *t);
static inline bool timer_is_set(const struct timer *t) { return link_is_in(&t->link); }
