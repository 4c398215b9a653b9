#include "base/worker.h"
#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>

struct pool {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t work;
    struct job *first, **last;
    bool ending;
    atomic_size_t waiting; /* written under the lock, read without */
    size_t max_waiting;
    char name[16];
    unsigned threads;
    pthread_t thread[];
};

static void come_home(struct msg *msg)
{
    struct job *j = container_of(msg, struct job, msg);
    j->done(j);
}

static void run_job(struct job *j)
{
    j->run(j);
    if (!j->home) {
        j->done(j);
        return;
    }
    j->msg.run = come_home;
    mailbox_post(j->home, &j->msg);
}

/* NULL when there is none: with `wait` only when the pool ends. */
static struct job *next_job(struct pool *p, bool wait)
{
    pthread_mutex_lock(&p->lock);
    while (wait && !p->first && !p->ending)
        pthread_cond_wait(&p->work, &p->lock);
    struct job *j = p->first;
    if (j) {
        p->first = j->next;
        if (!p->first)
            p->last = &p->first;
        atomic_fetch_sub(&p->waiting, 1);
    }
    pthread_mutex_unlock(&p->lock);
    return j;
}

static void *work(void *arg)
{
    struct pool *p = arg;
    pthread_setname_np(pthread_self(), p->name);
    for (struct job *j; (j = next_job(p, true)) != NULL;)
        run_job(j);
    return NULL;
}

enum err pool_create(const char *name, unsigned threads, size_t max_waiting, struct pool **out)
{
    struct pool *p = mem_alloc(sizeof(*p) + threads * sizeof(p->thread[0]));
    sigset_t all, before;

    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    p->last = &p->first;
    p->max_waiting = max_waiting;
    snprintf(p->name, sizeof(p->name), "%s", name);
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

    assert(j->run && j->done);
    pthread_mutex_lock(&p->lock);
    if (atomic_load(&p->waiting) < p->max_waiting) {
        j->next = NULL;
        *p->last = j;
        p->last = &j->next;
        atomic_fetch_add(&p->waiting, 1);
        pthread_cond_signal(&p->work);
        err = ERR_OK;
    }
    pthread_mutex_unlock(&p->lock);
    return err;
}

size_t pool_waiting(const struct pool *p) { return atomic_load(&p->waiting); }

bool pool_step(struct pool *p)
{
    struct job *j = next_job(p, false);
    if (j)
        run_job(j);
    return j != NULL;
}
