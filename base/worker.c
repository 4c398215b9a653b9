#include "base/worker.h"
#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

/* Jobs that wait: of a class as they came, those of JOB_MERGE as they are due. */
struct queue {
    struct job *first, **last;
    unsigned passed; /* how often others went first while one waited here */
    atomic_size_t waiting;
};

struct pool {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t work;
    struct queue queue[JOB_CLASSES];
    bool ending, is_stepped; /* is_stepped: has no threads */
    atomic_size_t waiting;   /* written under the lock, read without, as those of the queues */
    size_t max_waiting;
    unsigned merging, merging_max; /* jobs of JOB_MERGE that run, and may */
    char name[16];
    unsigned threads;
    pthread_t thread[];
};

static void come_home(struct msg *msg)
{
    struct job *j = container_of(msg, struct job, msg);
    j->done(j);
}

void jobs_lost(struct mailbox *home)
{
    for (struct msg *m = mailbox_left(home), *next; m; m = next) {
        struct job *j = container_of(m, struct job, msg);

        next = m->next;
        if (m->run == come_home && j->lost)
            j->lost(j);
    }
}

void job_home(struct job *j)
{
    j->msg.run = come_home;
    mailbox_post(j->home, &j->msg);
}

static void run_job(struct job *j)
{
    j->run(j);
    if (j->home)
        job_home(j);
    else
        j->done(j);
}

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* --- under the lock --- */

static void append(struct queue *q, struct job *j)
{
    struct job **at = q->last;
    if (j->class == JOB_MERGE) /* few: a store has two steps under way */
        for (at = &q->first; *at && (*at)->due_us <= j->due_us;)
            at = &(*at)->next;
    j->next = *at;
    *at = j;
    if (!j->next)
        q->last = &j->next;
}

static bool is_empty(const struct pool *p) { return atomic_load(&p->waiting) == 0; }

static struct job *take(struct pool *p, enum job_class c)
{
    struct queue *q = &p->queue[c];
    struct job *j = q->first;

    q->first = j->next;
    if (!q->first)
        q->last = &q->first;
    atomic_fetch_sub(&q->waiting, 1);
    atomic_fetch_sub(&p->waiting, 1);
    for (int i = 0; i < JOB_CLASSES; i++)
        p->queue[i].passed += p->queue[i].first != NULL;
    q->passed = 0;
    p->merging += c == JOB_MERGE;
    if (!is_empty(p))
        pthread_cond_signal(&p->work); /* this thread may have been the one that slept until a merge is due */
    return j;
}

/* May the first of a class run now? *due_us: when it may, if only the time is missing; else left alone. */
static bool is_ready(const struct pool *p, enum job_class c, uint64_t *due_us)
{
    const struct job *j = p->queue[c].first;
    if (!j || c != JOB_MERGE)
        return j != NULL;
    if (p->merging >= p->merging_max)
        return false;
    if (p->ending || p->is_stepped || j->due_us == 0 || j->due_us <= now_us())
        return true;
    *due_us = j->due_us;
    return false;
}

/* The class whose turn it is; JOB_CLASSES: none. */
static enum job_class next_class(const struct pool *p, uint64_t *due_us)
{
    enum job_class best = JOB_CLASSES;
    for (enum job_class c = 0; c < JOB_CLASSES; c++) {
        if (!is_ready(p, c, due_us))
            continue;
        if (p->queue[c].passed >= POOL_PATIENCE)
            return c;
        best = best == JOB_CLASSES ? c : best;
    }
    return best;
}

static void wait_for_work(struct pool *p, uint64_t due_us)
{
    if (due_us == 0) {
        pthread_cond_wait(&p->work, &p->lock);
        return;
    }
    struct timespec until = {(time_t)(due_us / 1000000), (long)(due_us % 1000000) * 1000};
    pthread_cond_timedwait(&p->work, &p->lock, &until);
}

/* NULL when there is none: with `wait` only when the pool ends. */
static struct job *next_job(struct pool *p, bool wait)
{
    struct job *j = NULL;
    for (;;) {
        uint64_t due_us = 0;
        enum job_class c = next_class(p, &due_us);
        if (c < JOB_CLASSES)
            j = take(p, c);
        if (j || !wait || (p->ending && is_empty(p)))
            return j;
        wait_for_work(p, due_us);
    }
}

/* A merge that has run makes room for one that waits, and may have a thread asleep that looks after it. */
static void has_run(struct pool *p, enum job_class c)
{
    if (c != JOB_MERGE)
        return;
    p->merging--;
    if (p->queue[JOB_MERGE].first)
        pthread_cond_signal(&p->work);
}

/* --- */

static void *work(void *arg)
{
    struct pool *p = arg;
    pthread_setname_np(pthread_self(), p->name);
    pthread_mutex_lock(&p->lock);
    for (struct job *j; (j = next_job(p, true)) != NULL;) {
        enum job_class c = j->class;
        pthread_mutex_unlock(&p->lock);
        run_job(j);
        pthread_mutex_lock(&p->lock);
        has_run(p, c);
    }
    pthread_cond_broadcast(&p->work); /* the pool ends, and others may wait for a job that this thread took */
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static void init(struct pool *p, const char *name, unsigned threads, size_t max_waiting)
{
    pthread_condattr_t by_mono;

    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&by_mono);
    pthread_condattr_setclock(&by_mono, CLOCK_MONOTONIC);
    pthread_cond_init(&p->work, &by_mono);
    pthread_condattr_destroy(&by_mono);
    for (int i = 0; i < JOB_CLASSES; i++)
        p->queue[i].last = &p->queue[i].first;
    p->is_stepped = threads == 0;
    p->max_waiting = max_waiting;
    p->merging_max = threads > 3 ? threads - 2 : 1;
    snprintf(p->name, sizeof(p->name), "%s", name);
}

enum err pool_create(const char *name, unsigned threads, size_t max_waiting, struct pool **out)
{
    struct pool *p = mem_alloc(sizeof(*p) + threads * sizeof(p->thread[0]));
    sigset_t all, before;

    init(p, name, threads, max_waiting);
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (p->threads < threads && pthread_create(&p->thread[p->threads], NULL, work, p) == 0)
        p->threads++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (p->threads < threads) {
        pool_destroy(p);
        return ERR_LIMIT;
    }
    *out = p;
    return ERR_OK;
}

void pool_destroy(struct pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->ending = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->threads; i++)
        pthread_join(p->thread[i], NULL);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
}

enum err pool_submit(struct pool *p, struct job *j)
{
    enum err err = ERR_LIMIT;

    assert(j->run && j->done && j->class < JOB_CLASSES);
    pthread_mutex_lock(&p->lock);
    if (atomic_load(&p->waiting) < p->max_waiting) {
        append(&p->queue[j->class], j);
        atomic_fetch_add(&p->queue[j->class].waiting, 1);
        atomic_fetch_add(&p->waiting, 1);
        pthread_cond_signal(&p->work);
        err = ERR_OK;
    }
    pthread_mutex_unlock(&p->lock);
    return err;
}

size_t pool_waiting(const struct pool *p) { return atomic_load(&p->waiting); }

size_t pool_waiting_of(const struct pool *p, enum job_class c) { return atomic_load(&p->queue[c].waiting); }

bool pool_step(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    struct job *j = next_job(p, false);
    enum job_class c = j ? j->class : JOB_READ;
    pthread_mutex_unlock(&p->lock);
    if (!j)
        return false;
    run_job(j);
    pthread_mutex_lock(&p->lock);
    has_run(p, c);
    pthread_mutex_unlock(&p->lock);
    return true;
}
