/* The owner's side: one step at one conversation (inner.h). What is read is of one moment and what is appended comes
 * later, but nothing else makes first_seq rise: a reactor sweeps one conversation at a time. */
#include "services/retention.h"
#include "proto/metrics.h"
#include "services/shard_state.h"

enum { PAGE_BYTES = 1 << 20 };

/* In its request's memory. */
struct retaining {
    struct reactor *r;
    struct request *q;
    struct conv *conv;
    struct appended log;
    struct arena arena; /* what was read */
    int64_t before_ms;  /* entries of this time and older go */
};

static struct inner_retention *step_of(const struct request *q) { return q->result; }

uint64_t retention_of(const struct world *w, uint64_t own_ms)
{
    uint64_t ms = own_ms == RETENTION_SERVER ? w->limits.retention_ms : own_ms;

    return ms ? ms : RETENTION_FOREVER;
}

static void show(const struct authority *a, struct inner_retention *s)
{
    s->retention_ms = a->retention_ms;
    s->first_seq = a->first_seq;
    s->head = a->head;
}

/* The conversation may be gone behind it, and the request is. */
static void end(struct retaining *t, enum err err)
{
    struct reactor *r = t->r;
    struct request *q = t->q;
    struct conv *c = t->conv;

    arena_deinit(&t->arena);
    show(conv_committed(c), step_of(q));
    if (err == ERR_OK)
        reactor_ok(r, q);
    else if (err == ERR_CLOSED || err == ERR_LIMIT || err == ERR_FULL)
        shard_log_refuse(r, q, err);
    else
        reactor_broken(r, q, "retention", err);
    conv_unpin(r, c);
}

static void on_committed(struct reactor *r, struct appended *a)
{
    struct retaining *t = container_of(a, struct retaining, log);

    a->conv->in_flight--;
    if (a->rec.kind != RECORD_RETENTION)
        atomic_fetch_add(&reactor_world(r)->erasings, 1);
    if (a->rec.kind == RECORD_FORGET)
        metric_add(reactor_metrics(r), METRIC_FORGOTTEN, (int64_t)a->rec.forget.n);
    end(t, ERR_OK);
}

static void append(struct retaining *t)
{
    enum err err;

    t->log.conv = t->conv;
    t->log.committed = on_committed;
    err = shard_log_append(t->r, &t->log);
    if (err != ERR_OK)
        end(t, err);
}

static void set(struct retaining *t)
{
    t->log.rec = (struct record){.kind = RECORD_RETENTION};
    t->log.rec.retention = (struct retention_record){
        .conv = *conv_id(t->conv), .ts = env_now_ms(reactor_env(t->r)), .retention_ms = step_of(t->q)->retention_ms};
    append(t);
}

static bool has_content(const struct entry *e) { return e->kind == ENTRY_MESSAGE && !e->gone; }

static void make_stub(struct retaining *t, const struct entry *e)
{
    struct entry *stub = arena_alloc(&t->arena, sizeof *stub);

    *stub = *e;
    entry_erase(stub, ENTRY_EXPIRED);
    t->log.rec = (struct record){.kind = RECORD_ERASE};
    t->log.rec.erase =
        (struct erase_record){.conv = *conv_id(t->conv), .ts = env_now_ms(reactor_env(t->r)), .stubs = stub, .n = 1};
    append(t);
}

static void forget(struct retaining *t, const struct entry *v, size_t n)
{
    struct forgotten *list = arena_alloc(&t->arena, n * sizeof *list);

    for (size_t i = 0; i < n; i++) {
        memcpy(list[i].cid_hash, v[i].cid_hash, sizeof list[i].cid_hash);
        list[i].fingerprint = v[i].fingerprint;
        list[i].ts = v[i].ts;
    }
    t->log.rec = (struct record){.kind = RECORD_FORGET};
    t->log.rec.forget = (struct forget_record){.conv = *conv_id(t->conv),
                                               .ts = env_now_ms(reactor_env(t->r)),
                                               .from = v[0].seq,
                                               .first_seq = v[0].seq + n,
                                               .ordinal = v[n - 1].ordinal,
                                               .v = list,
                                               .n = n};
    append(t);
}

/* Times never fall along a conversation, so what is due stands at the beginning. */
static size_t count_due(const struct entry_list *page, int64_t before_ms)
{
    size_t n = 0;

    while (n < page->n && page->v[n].ts <= before_ms)
        n++;
    return n;
}

static void take_page(struct retaining *t, const struct entry_list *page)
{
    const struct authority *a = conv_committed(t->conv);
    size_t due = count_due(page, t->before_ms);
    size_t n = due && page->v[due - 1].seq == a->head ? due - 1 : due;
    bool is_first = due && a->kind == CONV_PAIR && page->v[0].seq == 1;

    step_of(t->q)->more = n < due ? n > 0 && has_content(&page->v[n]) : due == page->n && page->more;
    if (due && (n == 0 || is_first) && has_content(&page->v[0])) {
        step_of(t->q)->more = n > 0;
        make_stub(t, &page->v[0]);
    } else if (n) {
        forget(t, page->v, n);
    } else {
        end(t, ERR_OK);
    }
}

static enum err read_step(struct reactor *r, void *arg, struct lsm_need *need)
{
    struct retaining *t = arg;
    const struct authority *a = conv_committed(t->conv);
    struct entry_list page = {0};
    enum err err = convlog_read(conv_store(r, t->conv), conv_shard(t->conv), conv_id(t->conv), a->first_seq, a->head,
                                FORGET_MAX, PAGE_BYTES, false, need, &t->arena, &page);

    if (err == ERR_AGAIN) {
        arena_deinit(&t->arena);
        return err;
    }
    if (err == ERR_OK)
        take_page(t, &page);
    else
        end(t, err);
    return ERR_OK;
}

static void sweep(struct retaining *t)
{
    uint64_t keep = retention_of(reactor_world(t->r), conv_committed(t->conv)->retention_ms);

    if (keep == RETENTION_FOREVER) {
        end(t, ERR_OK);
        return;
    }
    t->before_ms = step_of(t->q)->now_ms - (int64_t)keep;
    reactor_read(t->r, read_step, t);
}

static void on_conv(struct reactor *r, struct conv *c, struct request *q)
{
    struct inner_retention *s = step_of(q);
    struct retaining *t;

    s->more = false;
    if (!conv_committed(c)->head) {
        reactor_no_conv(r, q);
        return;
    }
    t = arena_alloc(&q->arena, sizeof *t);
    *t = (struct retaining){.r = r, .q = q, .conv = c};
    conv_pin(c);
    if (s->step == RETENTION_SET)
        set(t);
    else if (s->step == RETENTION_SWEEP)
        sweep(t);
    else
        end(t, ERR_OK);
}

void inner_retention(void *service, struct request *q) { shard_read(service, &step_of(q)->conv, q, on_conv); }
