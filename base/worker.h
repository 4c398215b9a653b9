/* worker: threads for what blocks (password hashing, cold reads, compaction).
 *
 * A job runs on one of the pool's threads and then comes home: its done function runs on the loop that owns `home`.
 * Thread: submit from any. Memory: the job is the pool's from submit until done. Order among jobs: none promised. */
#pragma once
#include "base/mailbox.h"

struct job {
    struct msg msg;
    struct job *next;
    struct mailbox *home;       /* where done runs; NULL: done runs on the worker's thread */
    void (*run)(struct job *);  /* on a worker */
    void (*done)(struct job *); /* at home; may free the job */
};
struct pool;

MUST_CHECK enum err pool_create(const char *name, unsigned threads, size_t max_waiting, struct pool **out);
void pool_destroy(struct pool *p);                              /* waits for running jobs and runs those that wait */
MUST_CHECK enum err pool_submit(struct pool *p, struct job *j); /* LIMIT when max_waiting jobs wait */
size_t pool_waiting(const struct pool *p);
/* Runs one waiting job here, for tests that replay a seed (a pool of 0 threads); false when none waits. */
bool pool_step(struct pool *p);
