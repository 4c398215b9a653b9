/* A job may be on its way home, in the mailbox, when its owner goes away; the mailbox belongs to others and can't be
 * searched. So a job is a piece of memory of its own that knows whether it still has an owner. */
#include "storage/background.h"
#include <pthread.h>

struct task {
    struct job job;
    struct link link;
    void (*run)(void *);
    void (*done)(void *); /* NULL: given up */
    void *arg;
    pthread_mutex_t lock; /* guards has_run */
    pthread_cond_t ran;
    bool has_run;
};

void background_init(struct background *b, struct pool *pool, struct mailbox *home)
{
    b->pool = pool;
    b->home = home;
    list_init(&b->out);
}

static void task_free(struct task *t)
{
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->ran);
    mem_free(t);
}

static void on_worker(struct job *j)
{
    struct task *t = container_of(j, struct task, job);
    t->run(t->arg);
    pthread_mutex_lock(&t->lock);
    t->has_run = true;
    pthread_cond_signal(&t->ran);
    pthread_mutex_unlock(&t->lock);
}

static void at_home(struct job *j)
{
    struct task *t = container_of(j, struct task, job);
    if (t->done) {
        list_remove(&t->link);
        t->done(t->arg);
    }
    task_free(t);
}

static void on_lost(struct job *j)
{
    struct task *t = container_of(j, struct task, job);
    list_remove(&t->link);
    task_free(t);
}

enum err background_start(struct background *b, enum job_class class, uint64_t due_us, void (*run)(void *),
                          void (*done)(void *), void *arg)
{
    if (!b->home) {
        run(arg);
        done(arg);
        return ERR_OK;
    }
    struct task *t = mem_new(struct task);
    t->job = (struct job){
        .home = b->home, .run = on_worker, .done = at_home, .lost = on_lost, .class = class, .due_us = due_us};
    t->run = run;
    t->done = done;
    t->arg = arg;
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->ran, NULL);
    list_push(&b->out, &t->link);
    enum err err = pool_submit(b->pool, &t->job);
    if (err != ERR_OK) {
        list_remove(&t->link);
        task_free(t);
    }
    return err;
}

void background_deinit(struct background *b)
{
    list_each (&b->out, t, struct task, link) {
        pthread_mutex_lock(&t->lock);
        while (!t->has_run)
            pthread_cond_wait(&t->ran, &t->lock);
        pthread_mutex_unlock(&t->lock);
        t->done = NULL;
        list_remove(&t->link);
    }
}
