/* What a request waits for: another service's answer, or blocks of a store from the disk. */
#include "services/reactor_state.h"

struct ask {
    struct reactor *r;
    struct request *q;
    reactor_answer_fn *fn;
};

static void on_answer(struct request *sub)
{
    struct ask *a = sub->asker;

    a->fn(a->r, a->q, sub);
    request_free(sub);
}

struct request *reactor_ask_new(struct reactor *r, struct request *q, int inner, reactor_answer_fn *fn)
{
    struct request *sub = request_new(on_answer, NULL);
    struct ask *a = arena_alloc(&sub->arena, sizeof *a);

    *a = (struct ask){r, q, fn};
    sub->asker = a;
    sub->inner = inner;
    sub->actor = q->actor;
    return sub;
}

void reactor_ask(struct reactor *r, struct request *sub, unsigned to) { bus_request(r->port, to, sub); }

/* Reads mostly find everything in memory, and then a struct read goes back to the spare ones as it came: zeroed. */
enum { SPARE_READS = 16 };
struct read {
    struct lsm_need need;
    struct link link;
    struct reactor *r;
    reactor_read_fn *fn;
    void *arg;
    bool is_cold;
};

static struct read *read_new(struct reactor *r)
{
    struct read *d = list_first(&r->spare_reads, struct read, link);

    if (!d)
        return mem_new(struct read);
    list_remove(&d->link);
    r->n_spare--;
    return d;
}

static void read_end(struct reactor *r, struct read *d)
{
    if (d->is_cold || d->need.n_missing || d->need.n_held) {
        lsm_need_deinit(&d->need);
        *d = (struct read){0};
    }
    if (r->n_spare == SPARE_READS) {
        mem_free(d);
        return;
    }
    list_push_front(&r->spare_reads, &d->link);
    r->n_spare++;
}

static void on_loaded(struct lsm_need *need)
{
    struct read *d = container_of(need, struct read, need);
    struct reactor *r = d->r;

    if (d->fn(r, d->arg, need) == ERR_AGAIN)
        lsm_need_load(need);
    else
        read_end(r, d);
}

/* The reactor's threads have ended. Whoever asked is left as it is, and goes with the reactor. */
static void on_lost(struct lsm_need *need)
{
    lsm_need_deinit(need);
    mem_free(container_of(need, struct read, need));
}

void reactor_read(struct reactor *r, reactor_read_fn *fn, void *arg)
{
    struct read *d = read_new(r);

    d->need.done = on_loaded;
    d->need.lost = on_lost;
    if (fn(r, arg, &d->need) != ERR_AGAIN) {
        read_end(r, d);
        return;
    }
    d->r = r;
    d->fn = fn;
    d->arg = arg;
    d->is_cold = true;
    lsm_need_load(&d->need);
}

void reactor_drop_reads(struct reactor *r)
{
    list_each (&r->spare_reads, d, struct read, link)
        mem_free(d);
}
