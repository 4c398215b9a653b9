/* mailbox: how threads talk. Many post, one thread takes all at once.
 *
 * A posted message's run function is called on the mailbox's thread, in the order of posting (one poster's messages
 * keep their order). The wake-up costs a system call and happens only when the box was empty. Nothing bounds a box: who
 * posts does (the bus by what waits for a port, all others by what was asked of them). Thread: post from any;
 * drain from the owner. Memory: a message is the poster's until it runs, then run's to free. */
#pragma once
#include "base/err.h"
#include "base/mem.h"

struct msg {
    struct msg *next;
    void (*run)(struct msg *);
};

struct mailbox;
typedef void mailbox_wake_fn(void *arg); /* any thread; after the first message of a batch */

void mailbox_create(mailbox_wake_fn *wake, void *arg, struct mailbox **out);
void mailbox_destroy(struct mailbox *m); /* must be empty or abandoned */
/* What was posted and never ran, the newest first: for who ends it. */
struct msg *mailbox_left(struct mailbox *m);
void mailbox_post(struct mailbox *m, struct msg *msg);
size_t mailbox_drain(struct mailbox *m); /* runs all that waited when called; returns how many */
