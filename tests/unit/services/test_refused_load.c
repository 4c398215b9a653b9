#include "tests/unit/services/world_test.h"

/* Workers that stand still, and a pool that is full behind them. */
enum { WORKERS = 2, WAITING = 1000 };
struct stopper {
    struct job job;
    sem_t go;
};
static void stop_worker(struct job *j) { sem_wait(&container_of(j, struct stopper, job)->go); }
static void nothing(struct job *j) { (void)j; }

static void flush_stores(void *arg)
{
    struct lsm *const *stores;
    size_t n = reactor_stores(arg, &stores);

    for (size_t i = 0; i < n; i++)
        assert_true(!stores[i] || lsm_is_clean(stores[i]) || lsm_flush(stores[i]) != ERR_IO);
}
static void are_clean(void *arg)
{
    struct {
        struct world_test *w;
        bool all;
    } *c = arg;
    struct lsm *const *stores;
    size_t n = reactor_stores(c->w->r[0], &stores);

    c->all = true;
    for (size_t i = 0; i < n; i++)
        c->all &= !stores[i] || lsm_is_clean(stores[i]);
}

/* What a session with more reads than may be under way does: the end of one asks for the next, from inside the answer.
 */
struct chain {
    struct world_test *w;
    struct request *next;
    sem_t done;
    enum code codes[2];
    int n;
};
static void chain_done(struct request *q)
{
    struct chain *c = q->asker;
    struct request *next = c->next;

    c->codes[c->n++] = q->code;
    request_free(q);
    c->next = NULL;
    if (next)
        bus_request(bus_port(c->w->bus, 0), 0, next);
    sem_post(&c->done);
}
static struct request *history(struct chain *c, struct world_test *w)
{
    struct request *q = request_new(chain_done, c);
    struct frame_head head = {0};
    const char *json = JSON("{\"id\":1,\"op\":\"history\",\"conv\":\"%s\"}", pair_z(w, ANN, BEN));

    assert_int_equal(args_parse_frame(arena_dup(&q->arena, str_c(json)), q, &head), CODE_OK);
    q->actor = (struct actor){ANN, 1};
    return q;
}
struct starting {
    struct chain *c;
    struct request *q;
};
static void start(void *arg)
{
    struct starting *s = arg;
    bus_request(bus_port(s->c->w->bus, 0), 0, s->q);
}

PROMISE(who_asks_again_from_inside_a_refusal_is_served_by_a_load_of_its_own)
{
    struct world_test *w = world_start(1);
    struct {
        struct world_test *w;
        bool all;
    } clean = {w, false};
    struct stopper stoppers[WORKERS] = {0};
    struct job *jobs = mem_new_array(struct job, WAITING);
    struct chain c = {.w = w};
    struct starting s = {&c, NULL};

    expect(w, ANN, SEND_TO(BEN, "c1", "x"), CODE_OK, "\"seq\":1");
    do {
        on_reactor(w, 0, flush_stores, w->r[0]);
        on_reactor(w, 0, are_clean, &clean);
    } while (!clean.all);
    world_crash(w);
    for (int i = 0; i < WORKERS; i++) {
        sem_init(&stoppers[i].go, 0, 0);
        stoppers[i].job = (struct job){.run = stop_worker, .done = nothing};
        assert_ok(pool_submit(w->pool, &stoppers[i].job));
    }
    while (pool_waiting(w->pool))
        usleep(1000);
    for (int i = 0; i < WAITING; i++) {
        jobs[i] = (struct job){.run = nothing, .done = nothing};
        assert_ok(pool_submit(w->pool, &jobs[i]));
    }
    sem_init(&c.done, 0, 0);
    c.next = history(&c, w);
    s.q = history(&c, w);
    on_reactor(w, 0, start, &s);
    sem_wait(&c.done);
    sem_wait(&c.done);
    for (int i = 0; i < WORKERS; i++)
        sem_post(&stoppers[i].go);
    while (pool_waiting(w->pool)) /* it has room again */
        usleep(1000);
    expect(w, ANN, JSON("{\"op\":\"history\",\"conv\":\"%s\"}", pair_z(w, ANN, BEN)), CODE_OK, "\"seq\":1");
    assert_int_equal(c.codes[0], CODE_UNAVAILABLE);
    assert_int_equal(c.codes[1], CODE_UNAVAILABLE);
    world_end(w);
    mem_free(jobs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(who_asks_again_from_inside_a_refusal_is_served_by_a_load_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
