/* From the logs to the tables. A turn's work is one transaction: the directory's own records that are durable, what the
 * reactors' logs hold for the tables, and what is owed. Only when it is committed do positions move and answers leave.
 *
 * If the transaction fails for want of space, nothing of it happened: the same is tried again after a while, and until
 * then writes are refused. Any other failure ends the process: a record that cannot be applied must not be skipped. */
#include "services/directory_state.h"
#include "base/log.h"
#include "proto/metrics.h"

enum { FOLLOW_BYTES = 1 << 20, RETRY_MS = 500 };

/* What one transaction reached, to be published when it is committed. */
struct reached {
    bool any, own;
    uint64_t follow[BUS_PORTS_MAX]; /* 0: not moved */
    struct msg **owed_end;          /* behind the last batch that is in it */
    int64_t records;
};

struct following {
    struct directory *d;
    struct reached *r;
};

void directory_failed(struct directory *d, enum err err)
{
    if (d->has_failed)
        return;
    d->has_failed = true;
    if (d->conf.on_failure)
        d->conf.on_failure(d->conf.arg, err);
}

enum err directory_follow_open(struct directory *d, unsigned port)
{
    struct directory_follow *f = &d->follow[port];
    uint64_t from = tables_position(d->tables, stream_log_id(f->stream)).applied;
    struct consumer_conf c = {.stream = f->stream, .from = from, .topics = TOPIC_TABLES};

    consumer_close(f->consumer);
    f->consumer = NULL;
    atomic_store(&d->applied[port], from);
    return consumer_open(&c, &f->consumer);
}

/* The parts of a transaction. */
static enum err apply_own(struct directory *d, struct reached *r)
{
    enum err err = ERR_OK;

    list_each (&d->records, rec, struct directory_record, link) {
        struct log_record lr = {.log_id = d->log_id,
                                .pos = rec->pos,
                                .kind = rec->kind,
                                .topics = TOPIC_TABLES,
                                .shard = SHARD_DIRECTORY,
                                .body = str_of(rec->bytes, rec->len)};
        if (rec->pos >= d->committed)
            break;
        TRY(tables_apply(d->tables, &lr));
        r->any = r->own = true;
        r->records++;
    }
    if (r->own)
        TRY(tables_reached(d->tables, d->log_id, d->committed));
out:
    return err;
}

static enum err apply_followed(void *arg, const struct log_record *rec)
{
    struct following *f = arg;

    f->r->records++;
    return tables_apply(f->d->tables, rec);
}

/* A log whose end for the tables was reached is read on only now and then: its other records just move the position. */
static enum err apply_log(struct directory *d, unsigned port, struct reached *r)
{
    struct directory_follow *f = &d->follow[port];
    uint64_t at = atomic_load_explicit(&d->applied[port], memory_order_relaxed), pos = at;
    uint64_t want = d->looks_further ? stream_committed(f->stream) : stream_topic_end(f->stream, TOPIC_TABLES);
    struct following arg = {d, r};
    enum err err = ERR_OK;

    if (at >= want)
        return ERR_OK;
    TRY(consumer_read(f->consumer, FOLLOW_BYTES, apply_followed, &arg, &pos));
    if (pos > at) {
        TRY(tables_reached(d->tables, stream_log_id(f->stream), pos));
        r->follow[port] = pos;
        r->any = true;
    }
    d->is_behind |= pos > at && pos < want;
out:
    return err;
}

static enum err apply_owed(struct directory *d, struct reached *r)
{
    enum err err = ERR_OK;

    r->owed_end = &d->owed;
    for (struct msg *m = d->owed; m; m = *r->owed_end) {
        const struct owed_batch *b = container_of(m, struct owed_batch, msg);
        for (size_t i = 0; i < b->n; i++)
            TRY(tables_owe(d->tables, &b->v[i]));
        TRY(tables_owed_reached(d->tables, b->log_id, b->pos));
        r->any = true;
        r->owed_end = &m->next;
    }
out:
    return err;
}

static enum err apply_all(struct directory *d, struct reached *r)
{
    enum err err;

    TRY(apply_own(d, r));
    for (unsigned i = 0; i < d->world->reactors; i++) {
        if (d->follow[i].consumer)
            TRY(apply_log(d, i, r));
    }
    TRY(apply_owed(d, r));
out:
    return err;
}

/* What was committed is published. */
static void owed_home(struct msg *m)
{
    struct owed_batch *b = container_of(m, struct owed_batch, msg);
    b->done(b);
}

static void publish_owed(struct directory *d, struct msg **end)
{
    struct msg *m = d->owed, *rest = *end;

    if (end == &d->owed)
        return;
    d->owed = rest;
    if (!rest)
        d->owed_last = &d->owed;
    for (struct msg *next; m != rest; m = next) {
        struct owed_batch *b = container_of(m, struct owed_batch, msg);

        next = m->next;
        b->err = ERR_OK;
        m->run = owed_home;
        mailbox_post(b->home, m);
    }
}

static void publish_own(struct directory *d)
{
    list_each (&d->records, rec, struct directory_record, link) {
        if (rec->pos >= d->committed)
            break;
        list_remove(&rec->link);
        mem_free(rec);
    }
    directory_writes_applied(d);
}

static bool is_reached(const struct directory *d, const struct directory_waiting *w)
{
    for (unsigned i = 0; i < d->world->reactors; i++) {
        if (atomic_load_explicit(&d->applied[i], memory_order_relaxed) < w->targets[i])
            return false;
    }
    return true;
}

static void publish_barriers(struct directory *d)
{
    list_each (&d->barriers, w, struct directory_waiting, link) {
        if (is_reached(d, w)) {
            list_remove(&w->link);
            directory_answer(d, w->request);
        }
    }
}

static void publish(struct directory *d, const struct reached *r)
{
    if (d->metrics)
        metric_add(d->metrics, METRIC_TABLES_APPLIED, r->records);
    for (unsigned i = 0; i < d->world->reactors; i++) {
        if (r->follow[i])
            atomic_store_explicit(&d->applied[i], r->follow[i], memory_order_release);
    }
    publish_owed(d, r->owed_end);
    if (r->own)
        publish_own(d);
    publish_barriers(d);
}

/* Nothing waits for what may take long: barriers are refused, and the consumers go back to where the tables are. */
static void stall(struct directory *d, enum err err)
{
    log_warn("tables_stalled", "err=%s effect=\"sign-ups and logins are refused; it is tried again\"", err_name(err));
    d->is_stalled = true;
    timer_set(d->loop, &d->retry, RETRY_MS);
    while (!list_is_empty(&d->barriers)) {
        struct directory_waiting *w = list_first(&d->barriers, struct directory_waiting, link);
        list_remove(&w->link);
        directory_refuse(d, w->request, ERR_AGAIN);
    }
    for (unsigned i = 0; i < d->world->reactors; i++) {
        enum err again = d->follow[i].consumer ? directory_follow_open(d, i) : ERR_OK;
        if (again != ERR_OK)
            directory_failed(d, again);
    }
}

static bool has_anything(const struct directory *d)
{
    const struct directory_record *own = list_first(&d->records, struct directory_record, link);

    if ((own && own->pos < d->committed) || d->owed)
        return true;
    for (unsigned i = 0; i < d->world->reactors; i++) {
        const struct directory_follow *f = &d->follow[i];
        uint64_t at = atomic_load_explicit(&d->applied[i], memory_order_relaxed);

        if (f->consumer &&
            at < (d->looks_further ? stream_committed(f->stream) : stream_topic_end(f->stream, TOPIC_TABLES)))
            return true;
    }
    return false;
}

void directory_work(struct directory *d)
{
    struct reached r = {.owed_end = &d->owed};
    enum err err;

    if (d->is_stalled || d->has_failed)
        return;
    d->has_work = d->is_behind = false;
    if (!has_anything(d)) {
        d->looks_further = false;
        return;
    }
    TRY(tables_begin(d->tables));
    TRY(apply_all(d, &r));
    d->looks_further = false;
    TRY(tables_end(d->tables));
    publish(d, &r);
    if (tables_checkpoint_is_due(d->tables))
        directory_checkpoint(d);
    return;
out:
    tables_abandon(d->tables);
    if (err == ERR_FULL || err == ERR_AGAIN || err == ERR_SCARCE)
        stall(d, err);
    else
        directory_failed(d, err);
}

void directory_checkpoint(struct directory *d)
{
    const struct tables_position *p;
    size_t n;
    enum err err = tables_checkpoint(d->tables);

    if (err != ERR_OK) {
        if (err == ERR_FULL)
            log_warn("tables_checkpoint_failed", "err=full effect=\"the logs grow until one succeeds\"");
        else if (err != ERR_AGAIN)
            directory_failed(d, err); /* a failed sync is not repeated: the pages are gone */
        return;
    }
    p = tables_positions(d->tables, &n);
    for (size_t i = 0; i < n; i++) {
        if (p[i].log_id == d->log_id && d->stream && !d->hold)
            stream_trim(d->stream, p[i].durable);
        if (d->conf.on_durable)
            d->conf.on_durable(d->conf.arg, &p[i]);
    }
}

void directory_barrier(struct directory *d, struct request *r)
{
    struct directory_waiting *w = arena_alloc(&r->arena, sizeof *w + d->world->reactors * sizeof w->targets[0]);

    if (d->is_stalled) {
        directory_refuse(d, r, ERR_AGAIN);
        return;
    }
    w->request = r;
    for (unsigned i = 0; i < d->world->reactors; i++)
        w->targets[i] = d->follow[i].stream ? stream_topic_end(d->follow[i].stream, TOPIC_TABLES) : 0;
    if (is_reached(d, w)) {
        directory_answer(d, r);
        return;
    }
    list_push(&d->barriers, &w->link);
    d->has_work = true;
}
