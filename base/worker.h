/* worker: threads for what blocks (password hashing, cold reads, flushes, merges).
 *
 * A job runs on one of the pool's threads and then comes home: its done function runs on the loop that owns `home`.
 * Thread: submit from any. Memory: the job is the pool's from submit until done.
 *
 * Order: jobs of a lower class first, within a class as they came; but a class that was passed over POOL_PATIENCE times
 * in a row has the next turn, so none waits for ever. Of JOB_MERGE no more run at a time than leave two threads to the
 * others (one does, whatever the number of threads), so that neither a read nor a flush waits behind a merge where
 * there are three threads or more. */
#pragma once
#include "base/mailbox.h"

enum job_class {
    JOB_READ, /* somebody waits for it; also whatever is of no class */
    JOB_FLUSH,
    JOB_MERGE,
    JOB_CLASSES
};
enum { POOL_PATIENCE = 16 };
struct job {
    struct msg msg;
    struct job *next;
    struct mailbox *home;       /* where done runs; NULL: done runs on the worker's thread */
    void (*run)(struct job *);  /* on a worker */
    void (*done)(struct job *); /* at home; may free the job */
    void (*lost)(
        struct job *); /* in place of done, where home ends before it came there; NULL: it is freed by others */
    enum job_class class;
    /* Of a JOB_MERGE: not before this, by the monotonic clock; 0: at once. A pool that ends, or has no threads, takes
     * no heed. */
    uint64_t due_us;
};
struct pool;

MUST_CHECK enum err pool_create(const char *name, unsigned threads, size_t max_waiting, struct pool **out);
void pool_destroy(struct pool *p);                              /* waits for running jobs and runs those that wait */
MUST_CHECK enum err pool_submit(struct pool *p, struct job *j); /* LIMIT when max_waiting jobs wait */
void job_home(struct job *j); /* done at home, without having run: for one that no pool took */
/* Of a mailbox that nobody drains any more, when the pool has ended and whoever posted is there yet: takes all out of
 * it, and has the jobs among them freed. */
void jobs_lost(struct mailbox *home);
size_t pool_waiting(const struct pool *p);
size_t pool_waiting_of(const struct pool *p, enum job_class c);
/* Runs one waiting job here, for tests that replay a seed (a pool of 0 threads); false when none waits. */
bool pool_step(struct pool *p);
