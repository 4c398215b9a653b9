#include "services/notify.h"
#include "base/log.h"
#include "proto/metrics.h"
#include "services/owed.h"

struct notify {
    struct reactor *r;
    notify_owe_fn *owe;
    struct owed_table table;
    struct timer timer;
    struct owed_batch batch; /* on its way, or waiting to be sent again */
    bool is_sent, is_full;   /* full: something was not gathered, so the position stands still */
    uint64_t accounted, written;
};

static unsigned slot_of(user_id user) { return (unsigned)(hash_u64(user) % NOTIFY_SETTLED); }

static void send_batch(struct notify *n)
{
    n->is_sent = true;
    n->owe(reactor_world(n->r)->directory, &n->batch);
}

static void wait_for_next(struct notify *n)
{
    if (!timer_is_set(&n->timer))
        timer_set(reactor_loop(n->r), &n->timer, OWED_EVERY_MS);
}

static void on_written(struct owed_batch *b)
{
    struct notify *n = container_of(b, struct notify, batch);

    n->is_sent = false;
    if (b->err == ERR_FULL) {
        wait_for_next(n); /* with the same rows */
        return;
    }
    if (b->err == ERR_OK)
        n->written = b->pos;
    mem_free(b->v);
    b->v = NULL;
    if (owed_count(&n->table) || n->accounted > n->written)
        wait_for_next(n);
}

static void flush(struct notify *n)
{
    struct owed_batch *b = &n->batch;

    if (n->is_sent)
        return; /* the answer starts the next */
    if (b->v) {
        send_batch(n);
        return;
    }
    if (owed_count(&n->table) == 0 && n->accounted == n->written)
        return;
    owed_take(&n->table, b);
    b->log_id = stream_log_id(reactor_stream(n->r));
    b->pos = n->accounted;
    b->home = loop_mailbox(reactor_loop(n->r));
    b->done = on_written;
    send_batch(n);
}

static void on_timer(struct timer *t) { flush(container_of(t, struct notify, timer)); }

void notify_restart(struct notify *n, uint64_t pos)
{
    n->is_full = false;
    if (pos > n->accounted)
        notify_accounted(n, pos);
}

uint64_t notify_position(const struct notify *n) { return n->accounted; }

bool notify_has_written(struct notify *n, uint64_t pos)
{
    if (!n->owe)
        return true;
    if (n->is_full)
        return false;
    flush(n);
    return n->written >= pos;
}

void notify_create(struct reactor *r, notify_owe_fn *owe, struct notify **out)
{
    struct notify *n = mem_new(struct notify);

    n->r = r;
    n->owe = owe;
    n->timer.fn = on_timer;
    owed_init(&n->table, &reactor_keys(r)->bus);
    *out = n;
}

void notify_destroy(struct notify *n)
{
    if (!n)
        return;
    timer_stop(&n->timer);
    mem_free(n->batch.v);
    owed_deinit(&n->table);
    mem_free(n);
}

static void gathered(struct notify *n, enum err err)
{
    if (err != ERR_OK && !n->is_full) {
        n->is_full = true;
        log_warn("notify_full", "rows=%zu accounted=%llu", owed_count(&n->table), (unsigned long long)n->accounted);
    }
    if (owed_count(&n->table) >= OWED_BATCH_AT)
        flush(n);
    wait_for_next(n);
}

void notify_owe(struct notify *n, struct notify_hint *hint, user_id user, const struct entry *e)
{
    if (!n->owe)
        return;
    if (hint->settled[slot_of(user)] == user)
        hint->settled[slot_of(user)] = 0;
    metric_add(reactor_metrics(n->r), METRIC_OWED, 1);
    gathered(n, owed_add(&n->table, OWED_ROWS_MAX, user, &e->conv, e->seq, e->ts));
}

void notify_delivered(struct notify *n, struct notify_hint *hint, user_id user, const struct conv_id *c,
                      uint64_t delivered, uint64_t head)
{
    enum err err;

    if (!n->owe || hint->settled[slot_of(user)] == user)
        return;
    err = owed_clear(&n->table, OWED_ROWS_MAX, user, c, delivered);
    if (err == ERR_OK && delivered >= head)
        hint->settled[slot_of(user)] = user;
    gathered(n, err);
}

void notify_accounted(struct notify *n, uint64_t pos)
{
    if (!n->owe || n->is_full)
        return;
    n->accounted = pos;
    wait_for_next(n);
}
