/* The hook is put behind all others when the first read comes, the gateway's among them: what a turn answered is on its
 * way to the sockets before reads that waited are served. Their own answers leave in the next turn, which follows
 * without sleep. */
#include "services/bulk.h"
#include "base/map.h"
#include "proto/metrics.h"
#include "services/inner.h"

enum { LIMIT_UNSAID = 100, BUSY_MS = 200 };

/* A user of whom reads wait. */
struct reader {
    struct link turn;
    user_id user;
    struct request *first, *last; /* by `next` */
    unsigned n;
};

struct bulk {
    struct reactor *r;
    reactor_fn *serve;
    struct turn_hook turn_end;
    size_t rows; /* of this turn, so far */
    size_t n_waiting;
    struct map readers; /* struct reader */
    struct link turns;  /* the same: who waited longest is first */
};

static size_t rows_of_batch(const struct inner_conv_batch *b)
{
    return b->kind == CONV_SYNC ? b->n + b->entries : b->n;
}

static size_t rows_of(const struct request *q)
{
    const union args *a = q->args;

    if (q->inner)
        return BULK_REQUEST_ROWS + rows_of_batch(q->result);
    switch (q->op) {
    case OP_history:
        return BULK_REQUEST_ROWS + (a->history.has_limit ? a->history.limit : LIMIT_UNSAID);
    case OP_receipt_list:
        return BULK_REQUEST_ROWS + (a->receipt_list.has_limit ? a->receipt_list.limit : LIMIT_UNSAID);
    case OP_group_members:
        return BULK_REQUEST_ROWS + (a->group_members.has_limit ? a->group_members.limit : LIMIT_UNSAID);
    default:
        return BULK_REQUEST_ROWS; /* sync and conversation.list take theirs by batches */
    }
}

bool bulk_is(const struct request *q)
{
    return q->inner ? q->inner == INNER_CONV_BATCH : op_table[q->op].rate == RATE_READ;
}

static bool is_reader(const void *value, const void *key)
{
    return ((const struct reader *)value)->user == *(const user_id *)key;
}

static struct reader *reader_of(struct bulk *b, user_id user)
{
    struct reader *u = map_get(&b->readers, hash_u64(user), is_reader, &user);

    if (u)
        return u;
    u = mem_new(struct reader);
    u->user = user;
    map_add(&b->readers, hash_u64(user), u);
    list_push(&b->turns, &u->turn);
    return u;
}

static void show(struct bulk *b) { metric_put(reactor_metrics(b->r), METRIC_BULK_WAITING, (int64_t)b->n_waiting); }

static void refuse(struct bulk *b, struct request *q)
{
    metric_add(reactor_metrics(b->r), METRIC_BULK_REFUSED, 1);
    request_fail(q, CODE_UNAVAILABLE, "too many reads wait; try again");
    q->retry_after_ms = BUSY_MS;
    reactor_end(b->r, q);
}

static void wait_for_turn(struct bulk *b, struct request *q)
{
    struct reader *u = b->n_waiting < BULK_WAITING_MAX ? reader_of(b, q->actor.user) : NULL;

    if (!u || u->n == BULK_OF_USER) {
        refuse(b, q);
        return;
    }
    q->next = NULL;
    if (u->n++)
        u->last->next = q;
    else
        u->first = q;
    u->last = q;
    b->n_waiting++;
    show(b);
}

static struct request *take_next(struct bulk *b)
{
    struct reader *u = list_first(&b->turns, struct reader, turn);
    struct request *q = u->first;

    list_remove(&u->turn);
    b->n_waiting--;
    if (--u->n) {
        u->first = q->next;
        list_push(&b->turns, &u->turn);
    } else {
        map_take(&b->readers, hash_u64(u->user), is_reader, &u->user);
        mem_free(u);
    }
    return q;
}

/* Its answer may ask for more before this returns: so the rows are counted first. */
static void serve(struct bulk *b, struct request *q)
{
    b->rows += rows_of(q);
    b->serve(b->r, q);
}

static void on_turn_end(struct turn_hook *h)
{
    struct bulk *b = container_of(h, struct bulk, turn_end);
    bool is_any = b->n_waiting > 0;

    while (b->n_waiting && b->rows < BULK_TURN_ROWS)
        serve(b, take_next(b));
    b->rows = 0;
    if (!is_any)
        return;
    show(b);
    loop_again(reactor_loop(b->r));
}

void bulk_serve(struct bulk *b, struct request *q)
{
    if (!link_is_in(&b->turn_end.link))
        loop_hook(reactor_loop(b->r), &b->turn_end);
    if (b->n_waiting == 0 && b->rows < BULK_TURN_ROWS)
        serve(b, q);
    else
        wait_for_turn(b, q);
}

void bulk_create(struct reactor *r, reactor_fn *fn, struct bulk **out)
{
    struct bulk *b = mem_new(struct bulk);

    b->r = r;
    b->serve = fn;
    b->turn_end.fn = on_turn_end;
    list_init(&b->turns);
    *out = b;
}

void bulk_destroy(struct bulk *b)
{
    size_t at = 0;

    if (!b)
        return;
    loop_unhook(&b->turn_end);
    for (struct reader *u; (u = map_next(&b->readers, &at));)
        mem_free(u);
    map_deinit(&b->readers);
    mem_free(b);
}
