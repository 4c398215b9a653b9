/* runner: where each request goes. What reaches a reactor's port is one of three: an op from the gateway, an op
 * forwarded by the reactor that the gateway runs on, or a question of another service (inner.h). */
#include "services/reactor_state.h"
#include "services/shard.h"

/* The conversation ops begin with `conv`, so the router needs no table of where it is. */
#define CONV_FIRST(id) _Static_assert(offsetof(struct args_##id, conv) == 0, "conv is the first argument of " #id);
CONV_FIRST(message_send)
CONV_FIRST(history)
CONV_FIRST(receipt)
CONV_FIRST(receipt_list)
CONV_FIRST(typing)
CONV_FIRST(group_update)
CONV_FIRST(group_remove)
CONV_FIRST(group_leave)
CONV_FIRST(group_role)
CONV_FIRST(group_members)
CONV_FIRST(conversation_get)

/* A request handed over crosses as an inner one of this kind; what it was before is kept in its arena. */
enum { HANDED_OVER = -1 };
struct hand {
    reactor_fn *fn;
    int inner;
    void *result, *server;
};

unsigned reactor_owner(const struct reactor *r, const struct conv_id *c)
{
    return r->world->owner_of[naming_hash(r->naming, c) % SHARD_COUNT];
}

void reactor_hand_over(struct reactor *r, struct request *q, const struct conv_id *c, reactor_fn *fn)
{
    unsigned to = reactor_owner(r, c);
    struct hand *hand;

    if (to == r->conf.index) {
        fn(r, q);
        return;
    }
    hand = arena_alloc(&q->arena, sizeof *hand);
    *hand = (struct hand){fn, q->inner, q->result, q->server};
    q->inner = HANDED_OVER;
    q->result = hand;
    bus_forward(r->port, to, q);
}

/* message.send names its conversation or the other person (args.h: exactly one); from here on it always has `conv`.
 * False: it was ended. */
static bool name_conv(struct reactor *r, struct request *q)
{
    struct args_message_send *a = &q->args->message_send;

    if (a->has_user && a->user == 0) {
        reactor_fail(r, q, CODE_NOT_FOUND, "no such user");
        return false;
    }
    if (a->has_user)
        naming_pair(r->naming, q->actor.user, a->user, &a->conv);
    return true;
}

/* What reads waits for its turn (bulk.h). */
static void serve_here(struct reactor *r, struct request *q)
{
    if (bulk_is(q))
        bulk_serve(r->bulk, q);
    else
        r->conf.ops[q->op](r, q);
}

static void to_conv(struct reactor *r, struct request *q)
{
    unsigned owner;

    if (q->op == OP_message_send && !name_conv(r, q))
        return;
    owner = reactor_owner(r, (const struct conv_id *)(const void *)q->args);
    if (owner == r->conf.index)
        serve_here(r, q);
    else
        bus_forward(r->port, owner, q);
}

static void take_over(struct reactor *r, struct request *q)
{
    const struct hand *hand = q->result;

    q->inner = hand->inner;
    q->result = hand->result;
    q->server = hand->server;
    hand->fn(r, q);
}

static void answer_inner(struct reactor *r, struct request *q)
{
    op_fn *fn = (unsigned)q->inner < INNER_KINDS ? r->conf.inner[q->inner] : NULL;

    if (fn)
        fn(r, q);
    else
        reactor_broken(r, q, "inner", ERR_UNSUPPORTED);
}

void runner_read(struct reactor *r, struct request *q)
{
    if (q->inner)
        answer_inner(r, q);
    else
        r->conf.ops[q->op](r, q);
}

void runner_serve(void *ctx, struct request *q)
{
    struct reactor *r = ctx;

    if (q->inner == HANDED_OVER) {
        take_over(r, q);
        return;
    }
    if (q->inner) {
        if (bulk_is(q))
            bulk_serve(r->bulk, q);
        else
            answer_inner(r, q);
        return;
    }
    switch (op_table[q->op].where) {
    case WHERE_HERE:
        serve_here(r, q);
        break;
    case WHERE_CONV:
        to_conv(r, q);
        break;
    case WHERE_DIR:
        bus_forward(r->port, world_directory(r->world), q);
        break;
    default:
        bus_forward(r->port, world_lookup(r->world), q);
        break; /* LOOK, and auth for the gateway */
    }
}
