/* What a reactor keeps for a backup (hold.h). The stores are flushed first, so that little of the log is needed: until
 * each has durably what was committed when it was asked, or for HOLD_FLUSH_MS. */
#include "services/hold.h"
#include "services/inner.h"
#include "services/reactor_state.h"
#include "services/trim.h"
#include "services/views.h"
#include <inttypes.h>

enum { LOOK_MS = 64 };

struct held {
    struct reactor *r;
    struct lsm_checkpoint *stores; /* by store index */
    struct timer look;
    struct request *waits; /* for the stores to be flushed */
    uint64_t target, until_ms;
};

/* Starts what is missing; true when nothing is. */
static bool stores_have(struct held *h)
{
    struct lsm *const *stores;
    size_t n = reactor_stores(h->r, &stores);
    bool all = true;

    for (size_t i = 0; i < n; i++) {
        struct lsm *l = stores[i];
        if (!l || lsm_is_clean(l) || lsm_durable(l, stream_log_id(h->r->stream)) >= h->target)
            continue;
        (void)!lsm_flush(l); /* AGAIN: it runs; what fails the store says itself, and the checkpoint is only older */
        all = false;
    }
    return all;
}

static void say_log(struct held *h, uint64_t from, struct buf *out)
{
    const struct stream *s = h->r->stream;

    buf_printf(out, "log %" PRIx64 " reactor %" PRIu64 " %" PRIu64 "\n", stream_log_id(s), from, stream_trimmed(s));
}

static void say_store(const char *name, const struct buf *manifest, struct buf *out)
{
    buf_printf(out, "store %s ", name);
    for (size_t i = 0; i < manifest->len; i++)
        buf_printf(out, "%02x", (unsigned)(uint8_t)manifest->p[i]);
    buf_char(out, '\n');
}

static void take_checkpoints(struct held *h, struct buf *out)
{
    const struct stream *s = h->r->stream;
    struct lsm *const *stores;
    size_t n = reactor_stores(h->r, &stores);
    uint64_t from = stream_committed(s);

    for (size_t i = 0; i < n; i++) {
        if (!stores[i])
            continue;
        uint64_t has = lsm_durable(stores[i], stream_log_id(s));
        from = has < from ? has : from;
        lsm_checkpoint_begin(stores[i], &h->stores[i]);
        say_store(reactor_store_name(h->r, i), &h->stores[i].manifest, out);
    }
    say_log(h, from, out);
}

static void answer(struct reactor *r, struct request *q)
{
    request_ok(q);
    bus_reply(r->port, q);
}

static void on_look(struct timer *t)
{
    struct held *h = container_of(t, struct held, look);
    struct request *q = h->waits;

    if (!stores_have(h) && loop_now_ms(h->r->loop) < h->until_ms) {
        timer_set(h->r->loop, t, LOOK_MS);
        return;
    }
    h->waits = NULL;
    take_checkpoints(h, &q->out);
    answer(h->r, q);
}

static void pin(struct reactor *r, struct request *q)
{
    const struct views_log *old;
    size_t n = views_old(r->conf.views, &old);

    r->held = mem_new(struct held);
    r->held->r = r;
    r->held->stores = mem_new_array(struct lsm_checkpoint, STORES_MAX);
    trim_hold(r->trim, true);
    if (r->conf.index == 0 && trim_needs_old(r->trim)) {
        for (size_t i = 0; i < n; i++)
            buf_printf(&q->out, "old %" PRIx64 "\n", old[i].log_id);
    }
    answer(r, q);
}

static void checkpoint(struct held *h, struct request *q)
{
    h->waits = q;
    h->target = stream_committed(h->r->stream);
    h->until_ms = loop_now_ms(h->r->loop) + HOLD_FLUSH_MS;
    h->look.fn = on_look;
    on_look(&h->look);
}

void reactor_drop_held(struct reactor *r)
{
    struct held *h = r->held;
    struct lsm *const *stores;
    size_t n = reactor_stores(r, &stores);

    if (!h)
        return;
    r->held = NULL;
    timer_stop(&h->look);
    if (h->waits)
        request_free(h->waits);
    for (size_t i = 0; i < n; i++) {
        if (stores[i])
            lsm_checkpoint_end(stores[i], &h->stores[i]);
    }
    trim_hold(r->trim, false);
    mem_free(h->stores);
    mem_free(h);
}

void inner_hold(void *service, struct request *q)
{
    struct reactor *r = service;
    const struct inner_hold *a = q->result;

    switch (a->step) {
    case HOLD_PIN:
        pin(r, q);
        break;
    case HOLD_CHECKPOINT:
        checkpoint(r->held, q);
        break;
    case HOLD_RELEASE:
        reactor_drop_held(r);
        answer(r, q);
        break;
    }
}
