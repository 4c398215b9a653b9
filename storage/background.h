/* background: jobs of one owner on a pool, which it can wait for and give up.
 *
 * Thread: the owner's; `run` is on a worker, `done` at home. Without a pool both are called inside background_start. */
#pragma once
#include "base/list.h"
#include "base/worker.h"

struct background {
    struct pool *pool;
    struct mailbox *home;
    struct link out; /* jobs that have not come home */
};
void background_init(struct background *b, struct pool *pool, struct mailbox *home);
/* The class and the time are a job's (worker.h). LIMIT: the pool has enough; nothing happened. */
MUST_CHECK enum err background_start(struct background *b, enum job_class class, uint64_t due_us, void (*run)(void *),
                                     void (*done)(void *), void *arg);
/* Waits until no job runs. Those that have not come home never will: their done is not called. The pool must be
 * destroyed, or the home drained, before the home goes. */
void background_deinit(struct background *b);
