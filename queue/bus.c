/* The local backend of the bus: threads of one process, each behind a mailbox.
 *
 * What crosses: a request as itself (its msg is the bus's), a delivery as a small message that holds references to its
 * frame and audience, a loss as one flag and one message of the port. What stays on its thread is a plain call.
 *
 * Bounds. Requests, other threads' entries and ephemerals go through mailbox_try_post. At a full mailbox a request is
 * answered `unavailable`, an entry is dropped and the port told to resync, an ephemeral is dropped, already when
 * EPHEMERAL_WAITING messages wait. Answers and closings always go: answers are bounded by what was asked, closings by
 * revocations.
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

enum { EPHEMERAL_WAITING = 4096 };

struct port {
    struct bus *bus;
    struct mailbox *mailbox;
    unsigned index;
    bus_serve_fn *serve;
    void *serve_ctx;
    bus_sink_fn *sink;
    void *sink_ctx;
    _Atomic bool lost; /* loss is posted and has not run */
    struct msg loss;
} __attribute__((aligned(64)));

struct bus {
    struct where *where;
    unsigned n;
    struct port *ports[BUS_PORTS_MAX];
};

/* A delivery on its way to another thread. */
struct crossing {
    struct msg msg;
    struct port *to;
    struct delivery d;
};

static void loss_run(struct msg *m)
{
    struct port *p = container_of(m, struct port, loss);
    const struct delivery d = {.class = DELIVER_LOST};

    atomic_store(&p->lost, false);
    p->sink(p->sink_ctx, &d);
}

static struct port *port_create(struct bus *b, unsigned index)
{
    struct port *p = aligned_alloc(_Alignof(struct port), sizeof *p);
    if (!p)
        abort();
    *p = (struct port){.bus = b, .index = index, .loss.run = loss_run};
    return p;
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
        free(b->ports[i]); /* aligned_alloc's */
    where_destroy(b->where);
    mem_free(b);
}

struct port *bus_port(struct bus *b, unsigned index)
{
    assert(index < b->n);
    return b->ports[index];
}

void port_attach(struct port *p, struct mailbox *m) { p->mailbox = m; }

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

/* Asking. While a request crosses, nobody serves it, and its `server` says to which port it goes. */
static void request_arrives(struct msg *m)
{
    struct request *r = container_of(m, struct request, msg);
    struct port *p = r->server;

    r->server = NULL;
    p->serve(p->serve_ctx, r);
}

static void answer_arrives(struct msg *m)
{
    struct request *r = container_of(m, struct request, msg);
    r->done(r);
}

void bus_forward(struct port *here, unsigned to, struct request *r)
{
    struct port *p = bus_port(here->bus, to);

    if (p == here) {
        r->server = NULL;
        p->serve(p->serve_ctx, r);
        return;
    }
    r->server = p;
    r->msg.run = request_arrives;
    if (mailbox_try_post(p->mailbox, &r->msg) == ERR_OK)
        return;
    r->server = NULL;
    request_fail(r, CODE_UNAVAILABLE, "the server is busy; try again");
    bus_reply(here, r);
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
    r->msg.run = answer_arrives;
    mailbox_post(r->origin->mailbox, &r->msg);
}

void bus_post(struct bus *b, unsigned to, struct msg *m) { mailbox_post(bus_port(b, to)->mailbox, m); }

/* Telling. */
void bus_join(struct port *here, user_id user) { where_join(here->bus->where, user, here->index); }

void bus_leave(struct port *here, user_id user) { where_leave(here->bus->where, user, here->index); }

bool bus_is_online(struct bus *b, user_id user) { return where_ports(b->where, user) != 0; }

static void crossing_free(struct crossing *c)
{
    frame_unref(c->d.frame);
    audience_unref(c->d.to);
    mem_free(c);
}

static void crossing_run(struct msg *m)
{
    struct crossing *c = container_of(m, struct crossing, msg);

    c->to->sink(c->to->sink_ctx, &c->d);
    crossing_free(c);
}

static struct crossing *crossing_new(struct port *to, const struct delivery *d)
{
    struct crossing *c = mem_new(struct crossing);

    *c = (struct crossing){{NULL, crossing_run}, to, *d};
    if (d->frame)
        frame_ref(d->frame);
    if (d->to)
        audience_ref(d->to);
    return c;
}

static void tell_of_loss(struct port *p)
{
    if (!atomic_exchange(&p->lost, true))
        mailbox_post(p->mailbox, &p->loss);
}

static void cross(struct port *to, const struct delivery *d)
{
    if (d->class == DELIVER_EPHEMERAL && mailbox_waiting(to->mailbox) >= EPHEMERAL_WAITING)
        return;
    struct crossing *c = crossing_new(to, d);
    if (d->class == DELIVER_CLOSE) {
        mailbox_post(to->mailbox, &c->msg);
    } else if (mailbox_try_post(to->mailbox, &c->msg) != ERR_OK) {
        crossing_free(c);
        if (d->class == DELIVER_ENTRY)
            tell_of_loss(to);
    }
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
            cross(p, d);
    }
}
