/* A stack that posters push onto by compare-and-swap; the owner takes the whole stack by one exchange and turns it
 * round. Nobody pops a single message, so the stack has no ABA problem. Who pushes onto an empty stack wakes the owner:
 * the owner emptied it by that same exchange, so a message is either taken by it or followed by a wake-up. */
#include "base/mailbox.h"
#include <stdatomic.h>

struct mailbox {
    _Atomic(struct msg *) newest;
    mailbox_wake_fn *wake;
    void *arg;
};

void mailbox_create(mailbox_wake_fn *wake, void *arg, struct mailbox **out)
{
    struct mailbox *m = mem_new(struct mailbox);
    m->wake = wake;
    m->arg = arg;
    *out = m;
}

void mailbox_destroy(struct mailbox *m) { mem_free(m); }

struct msg *mailbox_left(struct mailbox *m) { return atomic_exchange_explicit(&m->newest, NULL, memory_order_acquire); }

void mailbox_post(struct mailbox *m, struct msg *msg)
{
    struct msg *old = atomic_load_explicit(&m->newest, memory_order_relaxed);
    do
        msg->next = old;
    while (!atomic_compare_exchange_weak_explicit(&m->newest, &old, msg, memory_order_release, memory_order_relaxed));
    if (!old)
        m->wake(m->arg);
}

static struct msg *oldest_first(struct msg *newest)
{
    struct msg *oldest = NULL;
    while (newest) {
        struct msg *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

size_t mailbox_drain(struct mailbox *m)
{
    size_t ran = 0;
    if (!atomic_load_explicit(&m->newest, memory_order_relaxed))
        return 0; /* the usual case, without writing to a line that others share */
    struct msg *msg = oldest_first(atomic_exchange_explicit(&m->newest, NULL, memory_order_acquire));
    for (struct msg *next; msg; msg = next, ran++) {
        next = msg->next; /* run may free it */
        msg->run(msg);
    }
    return ran;
}
