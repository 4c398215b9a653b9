/* What a reactor does to its stores for a move: puts batches, in the order in which they come, flushes, cleans. Each
 * waits as long as the store is busy, for who writes goes first. And lets go of a store that is emptied. */
#include "base/log.h"
#include "services/move_state.h"
#include "services/shard_log.h"
#include "storage/lsm_need.h"
#include "storage/shard_copy.h"

enum { RETRY_MS = 1, LOOK_MS = 1 };

struct putting {
    struct link link;
    struct request *q;
    size_t at;
};

/* A flush or a clean-up under way; in the request's memory. */
struct waiting {
    struct link link;
    struct moves *m;
    struct request *q;
    struct lsm *store;
    uint64_t until_ms; /* 0: as long as it takes */
    int64_t erased_ms; /* to be marked before the flush; 0: nothing */
    bool is_cleaning, is_reading, is_parting;
    struct shard_clean clean;
};

static struct lsm *store_of(struct moves *m, const struct request *q)
{
    return m->r->stores[((const struct inner_move *)q->result)->to];
}

static void mark(struct lsm *l) { lsm_applied(l, MOVE_LOG, lsm_position(l, MOVE_LOG) + 1); }

/* AGAIN: later. */
static enum err put(struct moves *m, struct putting *p)
{
    const struct inner_move *a = p->q->result;
    struct lsm *l = store_of(m, p->q);
    enum err err;

    if (!shards_are_between(m->r->shards) || lsm_is_busy(l))
        return ERR_AGAIN;
    err = shard_copy_apply(l, buf_get(&a->batch), &p->at);
    if (err == ERR_OK)
        mark(l);
    return err == ERR_LIMIT ? ERR_AGAIN : err;
}

static void put_all(struct moves *m)
{
    while (!list_is_empty(&m->batches)) {
        struct putting *p = list_first(&m->batches, struct putting, link);
        enum err err = put(m, p);

        if (err == ERR_AGAIN) {
            timer_set(m->r->loop, &m->retry, RETRY_MS);
            return;
        }
        list_remove(&p->link);
        if (err != ERR_OK)
            log_warn("move_put_failed", "err=%s", err_name(err));
        move_answer(m->r, p->q, err == ERR_OK);
    }
}

static void on_retry(struct timer *t) { put_all(container_of(t, struct moves, retry)); }

void move_put(struct moves *m, struct request *q)
{
    struct putting *p = arena_alloc(&q->arena, sizeof *p);

    p->q = q;
    list_push(&m->batches, &p->link);
    put_all(m);
}

static enum err clean_step(struct reactor *r, void *arg, struct lsm_need *need)
{
    struct waiting *w = arg;
    enum err err = shard_clean_some(w->store, &w->clean, need);

    (void)r;
    if (err == ERR_AGAIN)
        return err;
    w->is_reading = false;
    if (err == ERR_OK || err == ERR_LIMIT)
        return ERR_OK;
    log_warn("move_clean_failed", "shard=%u err=%s", w->clean.shard, err_name(err));
    list_remove(&w->link);
    move_answer(w->m->r, w->q, false);
    return ERR_OK;
}

static bool is_flushed(struct lsm *l)
{
    if (lsm_is_clean(l) || lsm_durable(l, MOVE_LOG) >= lsm_position(l, MOVE_LOG))
        return true;
    (void)!lsm_flush(l); /* AGAIN: it runs; what fails the store says itself */
    return false;
}

/* May end it. */
static void look_at(struct waiting *w)
{
    struct reactor *r = w->m->r;

    if (w->is_reading || (w->is_parting && !lsm_is_idle(w->store)))
        return;
    if (w->is_parting) {
        list_remove(&w->link);
        move_answer(r, w->q, true);
        return;
    }
    if (w->is_cleaning && !w->clean.is_done) {
        if (lsm_is_busy(w->store))
            return;
        w->is_reading = true;
        reactor_read(r, clean_step, w);
        return;
    }
    if (w->is_cleaning) {
        if (!shards_are_between(r->shards))
            return;
        lsm_erased(w->store, env_now_ms(r->world->env)); /* what is erased elsewhere must not stay below the deletes */
        mark(w->store);
        w->is_cleaning = false;
    }
    if (w->erased_ms && shards_are_between(r->shards)) {
        lsm_erased(w->store, w->erased_ms);
        mark(w->store);
        w->erased_ms = 0;
    }
    if (!w->erased_ms && is_flushed(w->store)) {
        list_remove(&w->link);
        move_answer(r, w->q, true);
    } else if (w->until_ms && loop_now_ms(r->loop) >= w->until_ms) {
        list_remove(&w->link);
        move_answer(r, w->q, false);
    }
}

static void on_look(struct timer *t)
{
    struct moves *m = container_of(t, struct moves, look);

    list_each (&m->waits, w, struct waiting, link)
        look_at(w);
    if (!list_is_empty(&m->waits))
        timer_set(m->r->loop, t, LOOK_MS);
}

static struct waiting *wait_for(struct moves *m, struct request *q)
{
    struct waiting *w = arena_alloc(&q->arena, sizeof *w);

    w->m = m;
    w->q = q;
    w->store = store_of(m, q);
    list_push(&m->waits, &w->link);
    return w;
}

void move_flush(struct moves *m, struct request *q)
{
    const struct inner_move *a = q->result;
    struct waiting *w = wait_for(m, q);

    w->erased_ms = a->erased_ms;
    w->until_ms = a->within_ms ? loop_now_ms(m->r->loop) + a->within_ms : 0;
    on_look(&m->look);
}

void move_clean(struct moves *m, struct request *q)
{
    struct waiting *w = wait_for(m, q);

    w->is_cleaning = true;
    w->clean.shard = ((const struct inner_move *)q->result)->shard;
    on_look(&m->look);
}

void move_part(struct moves *m, struct request *q)
{
    struct waiting *w = wait_for(m, q);

    w->is_parting = true;
    m->r->stores[((const struct inner_move *)q->result)->to] = NULL;
    lsm_retire(w->store);
    on_look(&m->look);
}

void move_target_init(struct moves *m)
{
    list_init(&m->batches);
    list_init(&m->waits);
    m->retry.fn = on_retry;
    m->look.fn = on_look;
}

void move_target_deinit(struct moves *m)
{
    timer_stop(&m->retry);
    timer_stop(&m->look);
}
