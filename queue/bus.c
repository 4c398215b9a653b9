/* The local backend of the bus: threads of one process, each behind a mailbox.
 *
 * What crosses: a request or its answer as a pointer, a delivery with references to its frame and audience, a loss as
 * one flag and one message of the port. What stays on its thread is a plain call.
 *
 * Parcels. What one port has for another within a turn goes as parcels of up to PARCEL items: they leave when they are
 * full and when the turn ends. One by one each item would be an allocation that is freed on another thread, a
 * compare-and-swap on a line that both threads write, and, for who takes the list apart, a line of another core's that
 * no processor can foresee, since each says where the next one is. In a parcel they lie in a row. A port that follows
 * no loop has no turns: each of its items leaves at once, in a parcel of one. A large parcel that has been emptied is
 * kept for what goes the other way.
 *
 * Bounds. At PORT_WAITING items that wait for a port a request is answered `unavailable` and an entry is dropped and
 * the port told to resync; an ephemeral is dropped, already when EPHEMERAL_WAITING wait. Answers and closings always
 * go: answers are bounded by what was asked, closings by revocations. What is in a parcel that has not left is not
 * counted, which is less than PARCEL for each pair of ports; a large one that has left counts for PARCEL_LEAST at
 * least, so what waits for a port that gets no processor takes 23 MB of parcels at most.
 *
 * Nobody falls between catching up and listening. Who commits first publishes the stream's topic end, then (on the
 * stream's owner) emits, which looks up the joined ports under the user's stripe lock; a session first joins, under the
 * same lock, then reads the topic end. One of the two comes first at that lock. If it is the join, the look-up sees it
 * and the entry is delivered. If it is the look-up, then the publication happened before its unlock, that before the
 * join's lock, and that before the session's read: the session sees the entry's position and catches up to it.
 *
 * Nobody falls into a loss. An entry is dropped first, then `lost` is raised; the port lowers it first, then resyncs.
 * If an emitter finds it raised, the resync is still to come, hence after the drop; else it posts a new one. */
#include "queue/bus.h"
#include "queue/where.h"
#include <assert.h>

enum { EPHEMERAL_WAITING = 4096, PARCEL = 32, PARCEL_LEAST = 8, AHEAD = 4, SPARES = 16 };

struct item {
    void (*run)(struct port *to, struct item *i);
    const void *first; /* what run looks at first */
    union {
        struct request *request;
        struct delivery delivery; /* with references of its own */
    };
};

struct parcel {
    struct msg msg;
    struct port *to;
    struct parcel *next; /* among spares */
    unsigned n, cap;     /* cap: PARCEL, or 1 */
    struct item items[];
};

struct port {
    struct bus *bus;
    struct mailbox *mailbox;
    struct loop *loop; /* whose turns the parcels follow; NULL: none */
    unsigned index;
    bus_serve_fn *serve;
    void *serve_ctx;
    bus_sink_fn *sink;
    void *sink_ctx;
    struct turn_hook turn_end;
    struct parcel *open[BUS_PORTS_MAX]; /* by whom they are for */
    uint64_t opened;                    /* bits: which of these there are */
    struct parcel *spares;
    unsigned n_spares;
    struct msg loss;
    _Alignas(64) atomic_size_t waiting; /* of what others sent here, what has left and has not run */
    size_t bound;
    _Atomic bool lost; /* loss is posted and has not run */
};

struct bus {
    struct where *where;
    unsigned n;
    struct port *ports[BUS_PORTS_MAX];
};

static void loss_run(struct msg *m)
{
    struct port *p = container_of(m, struct port, loss);
    const struct delivery d = {.class = DELIVER_LOST};

    atomic_store(&p->lost, false);
    p->sink(p->sink_ctx, &d);
}

/* What it counts for: a large one takes 2.8 KiB, whatever is in it. */
static unsigned weight(const struct parcel *p) { return p->cap > 1 && p->n < PARCEL_LEAST ? PARCEL_LEAST : p->n; }

static void send_off(struct port *here, struct port *to)
{
    struct parcel *p = here->open[to->index];

    here->open[to->index] = NULL;
    here->opened &= ~(UINT64_C(1) << to->index);
    atomic_fetch_add_explicit(&to->waiting, weight(p), memory_order_relaxed);
    mailbox_post(to->mailbox, &p->msg);
}

void port_send(struct port *here)
{
    while (here->opened)
        send_off(here, here->bus->ports[__builtin_ctzll(here->opened)]);
}

static void turn_ends(struct turn_hook *h) { port_send(container_of(h, struct port, turn_end)); }

static struct port *port_create(struct bus *b, unsigned index)
{
    struct port *p = aligned_alloc(_Alignof(struct port), sizeof *p);
    if (!p)
        abort();
    *p = (struct port){.bus = b, .index = index, .bound = PORT_WAITING, .loss.run = loss_run, .turn_end.fn = turn_ends};
    return p;
}

static void delivery_free(const struct delivery *d)
{
    frame_unref(d->frame);
    audience_unref(d->to);
}

static void delivery_arrives(struct port *to, struct item *i)
{
    to->sink(to->sink_ctx, &i->delivery);
    delivery_free(&i->delivery);
}

/* It will not run. Requests are their askers'. */
static void parcel_abandon(struct parcel *p)
{
    for (unsigned i = 0; i < p->n; i++) {
        if (p->items[i].run == delivery_arrives)
            delivery_free(&p->items[i].delivery);
    }
    mem_free(p);
}

static void port_destroy(struct port *p)
{
    for (; p->opened; p->opened &= p->opened - 1)
        parcel_abandon(p->open[__builtin_ctzll(p->opened)]);
    for (struct parcel *s = p->spares, *next; s; s = next) {
        next = s->next;
        mem_free(s);
    }
    free(p); /* aligned_alloc's */
}

void bus_create(const struct bus_conf *c, struct bus **out)
{
    struct bus *b = mem_new(struct bus);

    assert(c->ports <= BUS_PORTS_MAX);
    where_create(c->key, &b->where);
    for (b->n = 0; b->n < c->ports; b->n++)
        b->ports[b->n] = port_create(b, b->n);
    *out = b;
}

void bus_destroy(struct bus *b)
{
    if (!b)
        return;
    for (unsigned i = 0; i < b->n; i++)
        port_destroy(b->ports[i]);
    where_destroy(b->where);
    mem_free(b);
}

struct port *bus_port(struct bus *b, unsigned index)
{
    assert(index < b->n);
    return b->ports[index];
}

void port_attach(struct port *p, struct mailbox *m) { p->mailbox = m; }

void port_follow(struct port *p, struct loop *l)
{
    p->loop = l;
    p->mailbox = loop_mailbox(l);
    loop_hook(l, &p->turn_end);
}

void port_bound(struct port *p, size_t items) { p->bound = items ? items : PORT_WAITING; }

size_t port_waiting(const struct port *p) { return atomic_load_explicit(&p->waiting, memory_order_relaxed); }

unsigned port_index(const struct port *p) { return p->index; }

void bus_serve(struct port *p, bus_serve_fn *fn, void *ctx)
{
    p->serve = fn;
    p->serve_ctx = ctx;
}

void bus_sink(struct port *p, bus_sink_fn *fn, void *ctx)
{
    p->sink = fn;
    p->sink_ctx = ctx;
}

/* Parcels. */
static void parcel_arrives(struct msg *m)
{
    struct parcel *p = container_of(m, struct parcel, msg);
    struct port *here = p->to;

    for (unsigned i = 0; i < p->n; i++) {
        if (i + AHEAD < p->n)
            __builtin_prefetch(p->items[i + AHEAD].first);
        p->items[i].run(here, &p->items[i]);
    }
    atomic_fetch_sub_explicit(&here->waiting, weight(p), memory_order_relaxed);
    if (p->cap != PARCEL || here->n_spares == SPARES) {
        mem_free(p);
        return;
    }
    p->next = here->spares;
    here->spares = p;
    here->n_spares++;
}

/* Not zeroed: items are filled one by one. */
static struct parcel *parcel_new(unsigned cap)
{
    struct parcel *p = mem_realloc(NULL, sizeof *p + cap * sizeof p->items[0]);

    p->cap = cap;
    return p;
}

static struct parcel *parcel_take(struct port *here)
{
    struct parcel *p = here->spares;

    if (!here->loop || !p)
        return parcel_new(here->loop ? PARCEL : 1);
    here->spares = p->next;
    here->n_spares--;
    return p;
}

static struct parcel *parcel_open(struct port *here, struct port *to)
{
    struct parcel *p = here->open[to->index] = parcel_take(here);

    p->msg.run = parcel_arrives;
    p->to = to;
    p->n = 0;
    here->opened |= UINT64_C(1) << to->index;
    if (here->loop)
        loop_again(here->loop); /* when hooks run by now, this one may have */
    return p;
}

static void put(struct port *here, struct port *to, struct item i)
{
    struct parcel *p = here->open[to->index];

    if (!p)
        p = parcel_open(here, to);
    p->items[p->n++] = i;
    if (p->n == p->cap)
        send_off(here, to);
}

static bool is_full(const struct port *to) { return port_waiting(to) >= to->bound; }

/* Asking. While a request crosses, nobody serves it. */
static void request_arrives(struct port *to, struct item *i) { to->serve(to->serve_ctx, i->request); }

static void answer_arrives(struct port *to, struct item *i)
{
    (void)to;
    i->request->done(i->request);
}

void bus_forward(struct port *here, unsigned to, struct request *r)
{
    struct port *p = bus_port(here->bus, to);

    r->server = NULL;
    if (p == here) {
        p->serve(p->serve_ctx, r);
    } else if (is_full(p)) {
        request_fail(r, CODE_UNAVAILABLE, "the server is busy; try again");
        bus_reply(here, r);
    } else {
        put(here, p, (struct item){request_arrives, r, {.request = r}});
    }
}

void bus_request(struct port *here, unsigned to, struct request *r)
{
    r->origin = here;
    bus_forward(here, to, r);
}

void bus_reply(struct port *here, struct request *r)
{
    if (r->origin == here) {
        r->done(r);
        return;
    }
    put(here, r->origin, (struct item){answer_arrives, r, {.request = r}});
}

void bus_post(struct bus *b, unsigned to, struct msg *m) { mailbox_post(bus_port(b, to)->mailbox, m); }

/* Telling. */
void bus_join(struct port *here, user_id user) { where_join(here->bus->where, user, here->index); }

void bus_leave(struct port *here, user_id user) { where_leave(here->bus->where, user, here->index); }

bool bus_is_online(struct bus *b, user_id user) { return where_ports(b->where, user) != 0; }

static void tell_of_loss(struct port *here, struct port *to)
{
    if (atomic_exchange(&to->lost, true))
        return;
    if (here->open[to->index])
        send_off(here, to); /* the order is kept */
    mailbox_post(to->mailbox, &to->loss);
}

static void cross(struct port *here, struct port *to, const struct delivery *d)
{
    if (d->class == DELIVER_EPHEMERAL && port_waiting(to) >= EPHEMERAL_WAITING)
        return;
    if (d->class != DELIVER_CLOSE && is_full(to)) {
        if (d->class == DELIVER_ENTRY)
            tell_of_loss(here, to);
        return;
    }
    if (d->frame)
        frame_ref(d->frame);
    if (d->to)
        audience_ref(d->to);
    put(here, to, (struct item){delivery_arrives, d->frame, {.delivery = *d}});
}

/* The ports of one addressed user; tells of those who have none. */
static uint64_t ports_of(struct bus *b, user_id user, bus_offline_fn *offline, void *arg)
{
    uint64_t ports = where_ports(b->where, user);
    if (!ports && offline)
        offline(arg, user);
    return ports;
}

static uint64_t ports_of_all(struct bus *b, const struct delivery *d, bus_offline_fn *offline, void *arg)
{
    uint64_t ports = 0;
    if (d->only_user)
        return ports_of(b, d->only_user, offline, arg);
    user_id skip = d->skip_device ? 0 : d->skip_user; /* who is skipped wholly is not addressed */
    for (uint32_t i = 0; i < d->to->n; i++) {
        if (d->to->users[i] != skip)
            ports |= ports_of(b, d->to->users[i], offline, arg);
    }
    return ports;
}

void bus_emit(struct port *here, const struct delivery *d, bus_offline_fn *offline, void *arg)
{
    struct bus *b = here->bus;

    for (uint64_t ports = ports_of_all(b, d, offline, arg); ports; ports &= ports - 1) {
        struct port *p = b->ports[__builtin_ctzll(ports)];
        if (p == here)
            p->sink(p->sink_ctx, d);
        else
            cross(here, p, d);
    }
}
