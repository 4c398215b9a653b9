#include "base/loop.h"
#include "base/worker.h"
#include "tests/lib/unit.h"
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

enum { JOBS = 2000 };

struct work {
    struct job job;
    pthread_t ran_on, done_on;
    unsigned ran, done;
};

static struct work works[JOBS];
static struct loop *loop;
static atomic_uint done_count;
static sem_t started, gate;

static void run_work(struct job *j)
{
    struct work *w = container_of(j, struct work, job);
    w->ran_on = pthread_self();
    w->ran++;
}

static void done_at_home(struct job *j)
{
    struct work *w = container_of(j, struct work, job);
    w->done_on = pthread_self();
    w->done++;
    if (atomic_fetch_add(&done_count, 1) + 1 == JOBS)
        loop_stop(loop);
}

static void done_anywhere(struct job *j)
{
    container_of(j, struct work, job)->done_on = pthread_self();
    atomic_fetch_add(&done_count, 1);
}

static void wait_at_gate(struct job *j)
{
    (void)j;
    sem_post(&started);
    sem_wait(&gate);
}

static int set_up(void **state)
{
    (void)state;
    memset(works, 0, sizeof(works));
    atomic_store(&done_count, 0);
    sem_init(&started, 0, 0);
    sem_init(&gate, 0, 0);
    return 0;
}

PROMISE(every_job_runs_once_on_a_worker_and_comes_home)
{
    struct pool *p;
    assert_ok(loop_create(&loop));
    assert_ok(pool_create("test", 3, JOBS, &p));
    for (size_t i = 0; i < JOBS; i++) {
        works[i].job = (struct job){.home = loop_mailbox(loop), .run = run_work, .done = done_at_home};
        assert_ok(pool_submit(p, &works[i].job));
    }
    loop_run(loop);
    for (size_t i = 0; i < JOBS; i++) {
        assert_int_equal(works[i].ran, 1);
        assert_int_equal(works[i].done, 1);
        assert_false(pthread_equal(works[i].ran_on, pthread_self()));
        assert_true(pthread_equal(works[i].done_on, pthread_self()));
    }
    pool_destroy(p);
    loop_destroy(loop);
}

PROMISE(at_its_bound_a_pool_refuses_and_then_takes_again)
{
    struct pool *p;
    struct job blocker = {.run = wait_at_gate, .done = done_anywhere};

    assert_ok(pool_create("test", 1, 2, &p));
    blocker = (struct job){.run = wait_at_gate, .done = done_anywhere};
    struct work first = {.job = blocker};
    assert_ok(pool_submit(p, &first.job));
    sem_wait(&started); /* it runs, so it does not wait */
    for (size_t i = 0; i < 3; i++)
        works[i].job = (struct job){.run = run_work, .done = done_anywhere};
    assert_ok(pool_submit(p, &works[0].job));
    assert_ok(pool_submit(p, &works[1].job));
    assert_int_equal(pool_waiting(p), 2);
    assert_int_equal(pool_submit(p, &works[2].job), ERR_LIMIT);
    sem_post(&gate);
    pool_destroy(p);
    assert_int_equal(atomic_load(&done_count), 3);
    assert_int_equal(works[2].ran, 0);
}

PROMISE(a_pool_that_ends_runs_what_waits)
{
    struct pool *p;
    struct work first = {.job = {.run = wait_at_gate, .done = done_anywhere}};

    assert_ok(pool_create("a name that is longer than threads can have", 1, JOBS, &p));
    assert_ok(pool_submit(p, &first.job));
    for (size_t i = 0; i < 100; i++) {
        works[i].job = (struct job){.run = run_work, .done = done_anywhere};
        assert_ok(pool_submit(p, &works[i].job));
    }
    sem_post(&gate);
    pool_destroy(p);
    assert_int_equal(atomic_load(&done_count), 101);
    for (size_t i = 0; i < 100; i++)
        assert_true(pthread_equal(works[i].ran_on, works[i].done_on)); /* no home: done where it ran */
    pool_destroy(NULL);
}

PROMISE(a_pool_without_threads_moves_when_it_is_stepped)
{
    struct pool *p;
    assert_ok(pool_create("test", 0, 2, &p));
    for (size_t i = 0; i < 2; i++) {
        works[i].job = (struct job){.run = run_work, .done = done_anywhere};
        assert_ok(pool_submit(p, &works[i].job));
    }
    assert_int_equal(works[0].ran, 0);
    assert_true(pool_step(p));
    assert_int_equal(works[0].ran + works[1].ran, 1);
    assert_true(pool_step(p));
    assert_false(pool_step(p));
    assert_int_equal(works[0].ran + works[1].ran, 2);
    assert_int_equal(atomic_load(&done_count), 2);
    pool_destroy(p);
}

static enum job_class order[64];
static size_t n_ran;

static void note_class(struct job *j) { order[n_ran++] = j->class; }

static void submit_class(struct pool *p, struct work *w, enum job_class class)
{
    w->job = (struct job){.run = note_class, .done = done_anywhere, .class = class};
    assert_ok(pool_submit(p, &w->job));
}

PROMISE(reads_go_before_flushes_and_flushes_before_merges)
{
    struct pool *p;
    n_ran = 0;
    assert_ok(pool_create("test", 0, JOBS, &p));
    for (size_t i = 0; i < 9; i++)
        submit_class(p, &works[i], JOB_MERGE - i % 3);
    assert_int_equal(pool_waiting_of(p, JOB_MERGE), 3);
    for (size_t i = 0; i < 9; i++) {
        assert_true(pool_step(p));
        assert_int_equal(order[i], i / 3);
    }
    assert_false(pool_step(p));
    assert_int_equal(pool_waiting_of(p, JOB_MERGE), 0);
    pool_destroy(p);
}

PROMISE(no_class_waits_for_ever_behind_another)
{
    struct pool *p;
    size_t at = 0;
    n_ran = 0;
    assert_ok(pool_create("test", 0, JOBS, &p));
    submit_class(p, &works[0], JOB_MERGE);
    for (size_t i = 1; i < 40; i++)
        submit_class(p, &works[i], JOB_READ);
    while (pool_step(p))
        ;
    while (order[at] != JOB_MERGE)
        at++;
    assert_int_equal(at, POOL_PATIENCE);
    pool_destroy(p);
}

PROMISE(a_job_that_is_due_much_later_runs_when_the_pool_ends)
{
    struct pool *p;
    assert_ok(pool_create("test", 2, JOBS, &p));
    works[0].job = (struct job){.run = run_work, .done = done_anywhere, .class = JOB_MERGE, .due_us = UINT64_MAX / 2};
    assert_ok(pool_submit(p, &works[0].job));
    works[1].job = (struct job){.run = wait_at_gate, .done = done_anywhere};
    assert_ok(pool_submit(p, &works[1].job));
    sem_wait(&started);
    sem_post(&gate);
    assert_int_equal(works[0].ran, 0);
    pool_destroy(p);
    assert_int_equal(works[0].ran, 1);
}

#define FRESH(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FRESH(every_job_runs_once_on_a_worker_and_comes_home),
        FRESH(at_its_bound_a_pool_refuses_and_then_takes_again),
        FRESH(a_pool_that_ends_runs_what_waits),
        FRESH(a_pool_without_threads_moves_when_it_is_stepped),
        FRESH(reads_go_before_flushes_and_flushes_before_merges),
        FRESH(no_class_waits_for_ever_behind_another),
        FRESH(a_job_that_is_due_much_later_runs_when_the_pool_ends),
    };
    return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
