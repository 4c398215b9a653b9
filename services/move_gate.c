/* Who waits while a shard moves, and the steps that change that. */
#include "services/expiry.h"
#include "services/move_state.h"
#include "services/shard_state.h"

/* A request that waits, or is being handed over; in its memory, found by q->server. */
struct gated {
    struct link link;
    struct conv_id id;
    struct request *q;
    shard_fn *fn;
    bool is_write;
};

static void arrive(struct reactor *r, struct request *q);

static void hand_over(struct reactor *r, struct gated *g)
{
    g->q->server = g;
    reactor_hand_over(r, g->q, &g->id, arrive);
}

/* True: it waits, or is on its way. */
static bool stop_at(struct moves *m, struct gated *g, uint16_t shard, bool was_handed)
{
    struct reactor *r = m->r;

    if (shard == m->paused) {
        list_push(was_handed && m->is_arriving ? &m->handed : &m->direct, &g->link);
        return true;
    }
    if (atomic_load(&r->world->owner_of[shard]) == r->conf.index)
        return false;
    hand_over(r, g);
    return true;
}

static void serve(struct reactor *r, const struct gated *g)
{
    if (g->is_write)
        shard_write_now(r, &g->id, g->q, g->fn);
    else
        shard_read_now(r, &g->id, g->q, g->fn);
}

static void arrive(struct reactor *r, struct request *q)
{
    struct gated *g = q->server;

    if (!stop_at(r->moves, g, shard_of(r->world->data, &g->id), true))
        serve(r, g);
}

bool moves_gate(struct reactor *r, const struct conv_id *id, struct request *q, shard_fn *fn, bool is_write)
{
    struct moves *m = r->moves;
    struct gated *g;
    uint16_t shard;

    if (!m->is_on)
        return false;
    shard = shard_of(r->world->data, id);
    if (shard != m->paused && atomic_load(&r->world->owner_of[shard]) == r->conf.index)
        return false;
    g = arena_alloc(&q->arena, sizeof *g);
    *g = (struct gated){.id = *id, .q = q, .fn = fn, .is_write = is_write};
    return stop_at(m, g, shard, false);
}

bool moves_serves(const struct reactor *r, const struct conv_id *id)
{
    uint16_t shard;

    if (!r->moves->is_on)
        return true;
    shard = shard_of(r->world->data, id);
    return shard != r->moves->paused && atomic_load(&r->world->owner_of[shard]) == r->conf.index;
}

void move_pause(struct moves *m, uint16_t shard, bool is_arriving)
{
    m->is_on = true;
    m->paused = shard;
    m->is_arriving = is_arriving;
}

/* Whatever an answer makes its asker send next lines up behind those that wait. */
void move_release(struct moves *m)
{
    m->is_arriving = false;
    for (;;) {
        struct link *from = list_is_empty(&m->handed) ? &m->direct : &m->handed;
        struct gated *g = list_first(from, struct gated, link);

        if (!g)
            break;
        list_remove(&g->link);
        serve(m->r, g);
    }
    m->paused = NO_SHARD;
}

void move_hand_over(struct moves *m)
{
    m->paused = NO_SHARD;
    while (!list_is_empty(&m->direct)) {
        struct gated *g = list_first(&m->direct, struct gated, link);

        list_remove(&g->link);
        hand_over(m->r, g);
    }
}

static void pass_on(struct reactor *r, struct request *q, unsigned to)
{
    if (to == r->conf.index)
        move_answer(r, q, true);
    else
        bus_forward(r->port, to, q);
}

static void store_opened(struct moves *m, const struct inner_move *a)
{
    struct reactor *r = m->r;

    m->names[a->to] = mem_dup(str_c(a->name));
    r->stores[a->to] = a->store;
    if (r->n_stores <= a->to)
        r->n_stores = a->to + 1u;
}

static void arrived(struct moves *m, const struct inner_move *a)
{
    m->r->store_of[a->shard] = a->to;
    expiry_shard_came(m->r->expiry, a->shard);
    move_pause(m, a->shard, true);
}

static void open_gate(struct moves *m, struct request *q)
{
    const struct inner_move *a = q->result;

    if (a->target != m->r->conf.index) {
        bus_forward(m->r->port, a->target, q);
        return;
    }
    if (m->paused == a->shard)
        move_release(m);
    move_answer(m->r, q, true);
}

void inner_move(void *service, struct request *q)
{
    struct reactor *r = service;
    struct moves *m = r->moves;
    struct inner_move *a = q->result;

    switch (a->step) {
    case MOVE_STORE_OPENED:
        store_opened(m, a);
        move_answer(r, q, true);
        break;
    case MOVE_STORE_GONE:
        move_part(m, q);
        break;
    case MOVE_COPY:
        move_copy(m, q);
        break;
    case MOVE_BATCH_PUT:
        move_put(m, q);
        break;
    case MOVE_FLUSH:
        move_flush(m, q);
        break;
    case MOVE_PAUSE:
        move_drain(m, q);
        break;
    case MOVE_RESUME:
        move_resume(m, q);
        break;
    case MOVE_ARRIVE:
        arrived(m, a);
        move_answer(r, q, true);
        break;
    case MOVE_LEAVE:
        move_leave(m, q);
        break;
    case MOVE_FENCE:
        pass_on(r, q, a->source);
        break;
    case MOVE_OPEN:
        open_gate(m, q);
        break;
    case MOVE_STOP:
        move_stop(m, q);
        break;
    case MOVE_CLEAN:
        move_clean(m, q);
        break;
    }
}

const char *reactor_store_name(const struct reactor *r, size_t store)
{
    const char *name = r->moves->names[store];

    return name ? name : r->world->data->stores[store];
}

void moves_create(struct reactor *r, struct moves **out)
{
    struct moves *m = mem_new(struct moves);

    m->r = r;
    m->paused = NO_SHARD;
    list_init(&m->handed);
    list_init(&m->direct);
    move_target_init(m);
    *out = m;
}

void moves_destroy(struct moves *m)
{
    if (!m)
        return;
    move_source_free(m);
    move_target_deinit(m);
    for (unsigned i = 0; i < STORES_MAX; i++)
        mem_free(m->names[i]);
    mem_free(m);
}
