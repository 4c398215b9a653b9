/* From the logs to the tables. A turn's work is two transactions: the directory's own records that are durable, and a
 * slice of what the reactors' logs hold for the tables and of what is owed. Only when one is committed do its positions
 * move and its answers leave. A slice is bounded by the rows that it writes, and each turn another log is the first: so
 * sign-ups, logins and whoever waits for the tables never wait for all that somebody made at once.
 *
 * If a transaction fails for want of space, nothing of it happened: the same is tried again after a while, and until
 * then writes are refused. Any other failure of the tables ends the process.
 *
 * A record that does not fit is no failure of the tables. One of a reactor's log is tried again, for other logs may
 * bring what it lacks, and what is behind it in its log waits; after REDELIVER's attempts it becomes a dead letter
 * (schema/letters.h) and the log goes on. One of the directory's own becomes a letter at once, since nobody else writes
 * the rows that it contradicts; who asked for it is answered `internal`. With too many letters nothing is passed over:
 * that log stands still for the tables, and is tried again and again. */
#include "services/directory_state.h"
#include "base/log.h"
#include "proto/metrics.h"
#include "services/inner.h"
#include "services/rebuild.h"

static const struct redeliver_conf REDELIVER = {.first_ms = 64, .most_ms = 500, .attempts = 4};
static const struct redeliver_conf LETTERS_FULL = {.first_ms = 1000, .most_ms = 30000};

enum { FOLLOW_BYTES = 1 << 20, SLICE_ROWS = 2000, RETRY_MS = 500, BARRIER_MS = 10000 };

/* What one transaction reached, to be published when it is committed. */
struct reached {
    uint64_t follow[BUS_PORTS_MAX]; /* 0: not moved */
    struct msg **owed_end;          /* behind the last batch that is in it */
    int64_t records;
    uint64_t rows, owed_rows; /* of the logs, and beside them */
    bool is_full;             /* a record was left for the next slice */
};

struct following {
    struct directory *d;
    struct reached *r;
    struct directory_follow *log;
    bool is_waiting; /* for a record that did not fit */
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

/* The write that a record of the directory's log belongs to. */
static void mark_kept(struct directory *d, uint64_t pos)
{
    list_each (&d->writes, w, struct directory_write, link) {
        if (w->last >= pos) {
            w->is_kept = true;
            return;
        }
    }
}

static enum err apply_own_record(struct directory *d, const struct log_record *rec)
{
    bool is_kept = false;
    enum err err = tables_apply(d->tables, rec, &is_kept);

    if (err == ERR_INVALID) {
        err = tables_keep_letter(d->tables, rec, 1);
        is_kept = true;
    }
    if (err == ERR_OK && is_kept)
        mark_kept(d, rec->pos);
    return err;
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
        TRY(apply_own_record(d, &lr));
        r->records++;
    }
    TRY(tables_reached(d->tables, d->log_id, d->committed));
out:
    return err;
}

static enum err later(struct following *f, const struct redeliver_conf *c, uint64_t pos)
{
    struct directory *d = f->d;
    uint64_t now = loop_now_ms(d->loop);

    if (redeliver_failed(&f->log->again, c, d->env, pos, now) == REDELIVER_NEVER)
        return ERR_OK;
    f->is_waiting = true;
    timer_set(d->loop, &d->redeliver, f->log->again.due_ms - now);
    return ERR_LIMIT;
}

/* OK: it is done with, applied or a letter. LIMIT: it waits, and ends this log's part of the slice. */
static enum err apply_or_keep(struct following *f, const struct log_record *rec)
{
    struct redeliver *again = &f->log->again;
    bool is_kept;
    enum err err = tables_apply(f->d->tables, rec, &is_kept);

    if (err == ERR_INVALID) {
        TRY(later(f, &REDELIVER, rec->pos));
        err = tables_keep_letter(f->d->tables, rec, again->failures);
    }
    if (err == ERR_LIMIT)
        return later(f, &LETTERS_FULL, rec->pos);
    if (err == ERR_OK && again->failures && again->id == rec->pos)
        redeliver_done(again);
out:
    return err;
}

static enum err apply_followed(void *arg, const struct log_record *rec)
{
    struct following *f = arg;
    uint64_t before = tables_rows(f->d->tables);
    enum err err;

    if (f->r->rows >= SLICE_ROWS) {
        f->r->is_full = true;
        return ERR_LIMIT;
    }
    err = apply_or_keep(f, rec);
    f->r->rows += err == ERR_OK ? tables_rows(f->d->tables) - before : 0;
    f->r->records += err == ERR_OK;
    return err;
}

static uint64_t wanted(const struct directory *d, unsigned port)
{
    const struct stream *s = d->follow[port].stream;

    return d->looks_further ? stream_committed(s) : stream_topic_end(s, TOPIC_TABLES);
}

/* A log whose end for the tables was reached is read on only now and then: its other records just move the position. */
static enum err apply_log(struct directory *d, unsigned port, struct reached *r)
{
    struct directory_follow *f = &d->follow[port];
    uint64_t at = atomic_load_explicit(&d->applied[port], memory_order_relaxed), pos = at;
    uint64_t want = wanted(d, port);
    struct following arg = {.d = d, .r = r, .log = f};
    enum err err = ERR_OK;

    if (at >= want || rebuild_freezes(d, port) || redeliver_waits(&f->again, loop_now_ms(d->loop)))
        return ERR_OK;
    err = consumer_read(f->consumer, FOLLOW_BYTES, apply_followed, &arg, &pos);
    TRY((r->is_full || arg.is_waiting) && err == ERR_LIMIT ? ERR_OK : err);
    if (pos > at) {
        TRY(tables_reached(d->tables, stream_log_id(f->stream), pos));
        r->follow[port] = pos;
    }
    d->is_behind |= pos < want && !arg.is_waiting && (pos > at || r->is_full);
out:
    return err;
}

static enum err apply_owed(struct directory *d, struct reached *r)
{
    enum err err = ERR_OK;

    r->owed_end = &d->owed;
    for (struct msg *m = d->owed; m && r->owed_rows < SLICE_ROWS; m = *r->owed_end) {
        const struct owed_batch *b = container_of(m, struct owed_batch, msg);
        for (size_t i = 0; i < b->n; i++)
            TRY(tables_owe(d->tables, &b->v[i]));
        TRY(tables_owed_reached(d->tables, b->log_id, b->pos));
        r->owed_rows += b->n;
        r->owed_end = &m->next;
    }
    d->is_behind |= *r->owed_end != NULL;
out:
    return err;
}

static enum err apply_slice(struct directory *d, struct reached *r)
{
    enum err err;

    for (unsigned i = 0; i < d->world->reactors; i++) {
        unsigned port = (d->first_port + i) % d->world->reactors;

        if (d->follow[port].consumer)
            TRY(apply_log(d, port, r));
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

uint64_t directory_applied(const struct directory *d, unsigned port)
{
    return atomic_load_explicit(&d->applied[port], memory_order_acquire);
}

bool directory_has(const struct directory *d, const uint64_t *targets)
{
    if (atomic_load_explicit(&d->is_incomplete, memory_order_acquire))
        return false;
    for (unsigned i = 0; i < d->world->reactors; i++) {
        if (atomic_load_explicit(&d->applied[i], memory_order_acquire) < targets[i])
            return false;
    }
    return true;
}

void directory_publish_barriers(struct directory *d)
{
    list_each (&d->barriers, w, struct directory_waiting, link) {
        if (directory_has(d, w->targets)) {
            list_remove(&w->link);
            directory_answer(d, w->request);
        }
    }
}

static void note_commit(struct directory *d, const struct reached *r)
{
    if (!d->metrics)
        return;
    metric_add(d->metrics, METRIC_TABLES_APPLIED, r->records);
    metric_add(d->metrics, METRIC_TABLES_COMMITS, 1);
    metric_put(d->metrics, METRIC_LETTERS, (int64_t)tables_letters(d->tables).n);
    metric_put(d->metrics, METRIC_LETTERS_KEPT, (int64_t)tables_letters_kept(d->tables));
}

static void publish_slice(struct directory *d, const struct reached *r)
{
    note_commit(d, r);
    world_tables_caught_up(d->world, r->rows);
    d->first_port++;
    for (unsigned i = 0; i < d->world->reactors; i++) {
        if (r->follow[i])
            atomic_store_explicit(&d->applied[i], r->follow[i], memory_order_release);
    }
    publish_owed(d, r->owed_end);
    directory_publish_barriers(d);
}

static void refuse_barrier(struct directory *d, struct directory_waiting *w)
{
    list_remove(&w->link);
    directory_refuse(d, w->request, ERR_AGAIN);
}

void directory_barriers_overdue(struct timer *t)
{
    struct directory *d = container_of(t, struct directory, overdue);
    uint64_t now = loop_now_ms(d->loop);

    list_each (&d->barriers, w, struct directory_waiting, link) {
        if (w->until_ms > now) { /* in the order in which they came */
            timer_set(d->loop, t, w->until_ms - now);
            return;
        }
        refuse_barrier(d, w);
    }
}

/* Nothing waits for what may take long: barriers are refused, and the consumers go back to where the tables are. */
static void stall(struct directory *d, enum err err)
{
    log_warn("tables_stalled", "err=%s effect=\"sign-ups and logins are refused; it is tried again\"", err_name(err));
    d->is_stalled = true;
    timer_set(d->loop, &d->retry, RETRY_MS);
    while (!list_is_empty(&d->barriers))
        refuse_barrier(d, list_first(&d->barriers, struct directory_waiting, link));
    for (unsigned i = 0; i < d->world->reactors; i++) {
        enum err again = d->follow[i].consumer ? directory_follow_open(d, i) : ERR_OK;
        if (again != ERR_OK)
            directory_failed(d, again);
    }
}

static bool has_own(const struct directory *d)
{
    const struct directory_record *own = list_first(&d->records, struct directory_record, link);

    return own && own->pos < d->committed;
}

static bool has_slice(const struct directory *d)
{
    if (d->owed)
        return true;
    for (unsigned i = 0; i < d->world->reactors; i++) {
        if (d->follow[i].consumer && !rebuild_freezes(d, i) &&
            !redeliver_waits(&d->follow[i].again, loop_now_ms(d->loop)) &&
            atomic_load_explicit(&d->applied[i], memory_order_relaxed) < wanted(d, i))
            return true;
    }
    return false;
}

static enum err transact(struct directory *d, enum err (*apply)(struct directory *, struct reached *),
                         struct reached *r)
{
    enum err err;

    TRY(tables_begin(d->tables));
    TRY(apply(d, r));
    TRY(tables_end(d->tables));
    return ERR_OK;
out:
    tables_abandon(d->tables);
    return err;
}

static enum err work_own(struct directory *d)
{
    struct reached r = {0};
    enum err err = ERR_OK;

    if (!has_own(d))
        return ERR_OK;
    TRY(transact(d, apply_own, &r));
    note_commit(d, &r);
    publish_own(d);
out:
    return err;
}

static enum err work_slice(struct directory *d)
{
    struct reached r = {.owed_end = &d->owed};
    enum err err = ERR_OK;

    if (has_slice(d)) {
        TRY(transact(d, apply_slice, &r));
        publish_slice(d, &r);
    }
    d->looks_further = false;
out:
    return err;
}

void directory_work(struct directory *d)
{
    enum err err;

    if (d->is_stalled || d->has_failed)
        return;
    d->has_work = d->is_behind = false;
    TRY(work_own(d));
    TRY(work_slice(d));
    TRY(rebuild_work(d));
    if (tables_checkpoint_is_due(d->tables))
        directory_checkpoint(d);
    return;
out:
    if (err == ERR_FULL || err == ERR_AGAIN || err == ERR_SCARCE || err == ERR_LIMIT)
        stall(d, err);
    else
        directory_failed(d, err);
}

void directory_publish_durable(struct directory *d)
{
    const struct tables_position *p;
    size_t n;

    p = tables_positions(d->tables, &n);
    for (size_t i = 0; i < n; i++) {
        if (p[i].log_id == d->log_id && d->stream && !d->hold)
            stream_trim(d->stream, p[i].durable);
        if (d->conf.on_durable)
            d->conf.on_durable(d->conf.arg, &p[i]);
    }
}

void directory_checkpoint(struct directory *d)
{
    enum err err = directory_stale_checkpoint(d);

    if (err == ERR_OK)
        directory_publish_durable(d);
    else if (err == ERR_FULL)
        log_warn("tables_checkpoint_failed", "err=full effect=\"the logs grow until one succeeds\"");
    else if (err != ERR_AGAIN)
        directory_failed(d, err); /* a failed sync is not repeated: the pages are gone */
    directory_stale_show(d);
}

void directory_barrier(struct directory *d, struct request *r)
{
    struct directory_waiting *w = arena_alloc(&r->arena, sizeof *w);

    *w = (struct directory_waiting){.request = r, .targets = ((struct inner_barrier *)r->result)->targets};
    if (d->is_stalled) {
        directory_refuse(d, r, ERR_AGAIN);
        return;
    }
    if (directory_has(d, w->targets)) {
        directory_answer(d, r);
        return;
    }
    w->until_ms = loop_now_ms(d->loop) + (d->conf.barrier_ms ? d->conf.barrier_ms : BARRIER_MS);
    list_push(&d->barriers, &w->link);
    if (!timer_is_set(&d->overdue))
        timer_set(d->loop, &d->overdue, w->until_ms - loop_now_ms(d->loop));
    d->has_work = true;
}
