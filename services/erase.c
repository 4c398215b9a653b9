#include "services/erase.h"
#include "services/inner.h"
#include "services/purge.h"
#include "services/reactor_state.h"
#include "services/shard_state.h"
#include "storage/convlog_expiry.h"

enum { PAGE_BYTES = 1 << 20, RETRY_MS = 50, TRIES = 600 };

/* One page, in its request's memory. */
struct erasing {
    struct reactor *r;
    struct request *q;
    struct conv *conv;
    struct appended log;
    struct arena arena; /* what was read: the stubs' texts */
    struct timer retry;
    unsigned tries;
};

static struct inner_erase *page_of(const struct request *q) { return q->result; }

/* The conversation may be gone behind it, and the request is. */
static void end(struct erasing *e, enum err err)
{
    struct reactor *r = e->r;
    struct request *q = e->q;
    struct conv *c = e->conv;

    timer_stop(&e->retry);
    arena_deinit(&e->arena);
    if (err == ERR_OK)
        reactor_ok(r, q);
    else if (err == ERR_CLOSED || err == ERR_LIMIT || err == ERR_FULL)
        shard_log_refuse(r, q, err);
    else
        reactor_broken(r, q, "erase", err);
    conv_unpin(r, c);
}

static void on_committed(struct reactor *r, struct appended *a)
{
    struct erasing *e = container_of(a, struct erasing, log);

    a->conv->in_flight--;
    atomic_fetch_add(&reactor_world(r)->erasings, 1);
    page_of(e->q)->erased = a->rec.erase.n;
    end(e, ERR_OK);
}

static void on_retry(struct timer *t);

static void append(struct erasing *e)
{
    enum err err = shard_log_append(e->r, &e->log);

    if (err == ERR_OK)
        return;
    if (err != ERR_LIMIT || ++e->tries > TRIES) {
        end(e, err);
        return;
    }
    e->retry.fn = on_retry;
    timer_set(reactor_loop(e->r), &e->retry, RETRY_MS);
}

static void on_retry(struct timer *t) { append(container_of(t, struct erasing, retry)); }

/* What a reader was last told stays so: who asks for what has expired finds it expired. */
static void stub_of(const struct entry *from, int64_t now, struct entry *out)
{
    *out = *from;
    entry_erase(out, entry_is_due(from, now) ? ENTRY_EXPIRED : ENTRY_DELETED);
}

static void put_stubs(struct erasing *e, const struct entry *stubs, size_t n, int64_t now)
{
    if (n == 0) {
        end(e, ERR_OK);
        return;
    }
    e->log.conv = e->conv;
    e->log.committed = on_committed;
    e->log.rec.kind = RECORD_ERASE;
    e->log.rec.erase = (struct erase_record){.conv = *conv_id(e->conv), .ts = now, .stubs = stubs, .n = n};
    append(e);
}

static bool is_asked_for(const struct inner_erase *p, const struct entry *e)
{
    return e->kind == ENTRY_MESSAGE && !e->gone && (!p->before_ms || e->ts < p->before_ms) &&
           (!p->user || e->from == p->user);
}

static void take_page(struct erasing *e, const struct entry_list *page)
{
    struct inner_erase *p = page_of(e->q);
    struct entry *stubs = arena_alloc(&e->arena, ERASE_MAX * sizeof *stubs);
    int64_t now = env_now_ms(reactor_env(e->r));
    size_t n = 0;

    p->next = page->more ? page->v[page->n - 1].seq + 1 : 0;
    for (size_t i = 0; i < page->n; i++)
        if (is_asked_for(p, &page->v[i]))
            stub_of(&page->v[i], now, &stubs[n++]);
    put_stubs(e, stubs, n, now);
}

static enum err read_step(struct reactor *r, void *arg, struct lsm_need *need)
{
    struct erasing *e = arg;
    struct inner_erase *p = page_of(e->q);
    uint64_t first = conv_committed(e->conv)->first_seq; /* it may have risen since */
    struct entry_list page = {0};
    enum err err;

    p->from = p->from < first ? first : p->from;
    err = convlog_read(conv_store(r, e->conv), conv_shard(e->conv), conv_id(e->conv), p->from, p->to, ERASE_MAX,
                       PAGE_BYTES, false, need, &e->arena, &page);

    if (err == ERR_AGAIN) {
        arena_deinit(&e->arena);
        return err;
    }
    if (err == ERR_OK)
        take_page(e, &page);
    else
        end(e, err);
    return ERR_OK;
}

/* --- what expired --- */

/* A key of the index for which there is no message that expires then: nothing is to be done for it any more. If the
 * store has no room the key is met again. */
static void forget(struct erasing *e, const struct expiring *x)
{
    (void)!convlog_expiry_delete(conv_store(e->r, e->conv), conv_shard(e->conv), x);
}

/* What was forgotten is a batch of its own: without its end an idle store could not be flushed. */
static void settle(struct erasing *e)
{
    struct lsm *l = conv_store(e->r, e->conv);
    uint64_t log = stream_log_id(reactor_stream(e->r));

    if (shards_are_between(reactor_shards(e->r)))
        lsm_applied(l, log, lsm_position(l, log));
}

static void take_due(struct erasing *e, const struct entry *v)
{
    struct inner_erase *p = page_of(e->q);
    struct entry *stubs = arena_alloc(&e->arena, p->n_due * sizeof *stubs);
    int64_t now = env_now_ms(reactor_env(e->r));
    size_t n = 0;

    for (size_t i = 0; i < p->n_due; i++) {
        if (v[i].gone || v[i].expires_at != p->due[i].at)
            forget(e, &p->due[i]);
        else if (entry_is_due(&v[i], now))
            stub_of(&v[i], now, &stubs[n++]);
        else
            p->next = 1; /* the clock was set back since */
    }
    settle(e);
    put_stubs(e, stubs, n, now);
}

/* All are asked for before it waits, so that the disk is asked once. What is not there stays zeroed. */
static enum err read_due_step(struct reactor *r, void *arg, struct lsm_need *need)
{
    struct erasing *e = arg;
    const struct inner_erase *p = page_of(e->q);
    struct entry *v = arena_alloc(&e->arena, p->n_due * sizeof *v);
    enum err all = ERR_OK;

    memset(v, 0, p->n_due * sizeof *v);
    for (size_t i = 0; i < p->n_due && (all == ERR_OK || all == ERR_AGAIN); i++) {
        enum err err = convlog_entry(conv_store(r, e->conv), conv_shard(e->conv), conv_id(e->conv), p->due[i].seq, need,
                                     &e->arena, &v[i]);

        if (err != ERR_OK && err != ERR_NOT_FOUND)
            all = err;
    }
    if (all == ERR_AGAIN)
        arena_deinit(&e->arena);
    else if (all == ERR_OK)
        take_due(e, v);
    else
        end(e, all);
    return all == ERR_AGAIN ? all : ERR_OK;
}

/* --- its requests --- */

static void begin(struct reactor *r, struct conv *c, struct request *q, reactor_read_fn *step)
{
    struct erasing *e = arena_alloc(&q->arena, sizeof *e);

    *e = (struct erasing){.r = r, .q = q, .conv = c};
    conv_pin(c);
    reactor_read(r, step, e);
}

static void on_conv(struct reactor *r, struct conv *c, struct request *q)
{
    const struct authority *a = conv_committed(c);
    struct inner_erase *p = page_of(q);

    if (p->n_due) {
        begin(r, c, q, read_due_step);
        return;
    }
    if (!a->head) {
        reactor_no_conv(r, q);
        return;
    }
    p->from = p->from < a->first_seq ? a->first_seq : p->from;
    p->to = p->to > a->head ? a->head : p->to;
    if (p->from > p->to)
        reactor_ok(r, q);
    else
        begin(r, c, q, read_step);
}

void inner_erase(void *service, struct request *q)
{
    struct reactor *r = service;
    struct inner_erase *p = q->result;

    p->erased = p->next = 0;
    if (p->is_status) {
        p->since_ms = purge_since(r->purge);
        reactor_ok(r, q);
    } else {
        shard_read(r, &p->conv, q, on_conv);
    }
}
