/* The directory's side: one question to the conversation's owner. */
#include "services/directory_state.h"
#include "services/retention.h"

struct retention_ask {
    struct retention_conf conf;
    bool is_cancelled;
};

static void on_answer(struct request *q)
{
    struct retention_ask *a = q->asker;

    if (!a->is_cancelled)
        a->conf.done(a->conf.arg, q->code, q->why, q->result);
    mem_free(a);
    request_free(q);
}

struct retention_ask *retention_ask(struct directory *d, const struct inner_retention *what,
                                    const struct retention_conf *c)
{
    struct retention_ask *a = mem_new(struct retention_ask);
    struct request *q = request_new(on_answer, a);
    struct inner_retention *s = arena_alloc(&q->arena, sizeof *s);

    a->conf = *c;
    *s = *what;
    q->inner = INNER_RETENTION;
    q->result = s;
    bus_request(d->port, d->world->owner_of[shard_of(d->world->data, &s->conv)], q);
    return a;
}

void retention_cancel(struct retention_ask *a)
{
    if (a)
        a->is_cancelled = true;
}
