/*   next ─► asked ─► page ─► written, slice by slice ─► next ─► … ─► through
 *    ▲        │ refused, too early, of an earlier round    │
 *    └─ again ┴────────────── does not fit ────────────────┘ */
#include "services/rebuild.h"
#include "base/log.h"
#include "proto/metrics.h"
#include "services/directory_state.h"
#include "services/inner.h"
#include "services/views.h"
#include <inttypes.h>

enum { SLICE_ROWS = 2000, EARLY_MS = 10, REFUSED_MS = 200, BROKEN_MS = 5000 };

static const char *name_of(uint8_t what)
{
    return what == REBUILD_TABLES ? "tables" : what == REBUILD_OWED ? "owed" : "tables,owed";
}

static void show(struct directory *d)
{
    if (d->metrics)
        metric_put(d->metrics, METRIC_REBUILDING, tables_rebuild_left(d->tables, REBUILD_TABLES | REBUILD_OWED));
}

static void on_again(struct timer *t) { container_of(t, struct directory, rebuild.again)->has_work = true; }

static void again(struct directory *d, uint64_t ms) { timer_set(d->loop, &d->rebuild.again, ms); }

/* What is asked stays with who is asked: its answer is then of an earlier round. */
static void drop_page(struct directory *d)
{
    if (d->rebuild.page)
        request_free(d->rebuild.page);
    d->rebuild.page = NULL;
}

bool rebuild_freezes(const struct directory *d, unsigned port)
{
    return (d->rebuild.asked || d->rebuild.page) && d->rebuild.port == port && !d->is_stopping;
}

/* --- detaching --- */

/* Up to where a view must be for the log to be trimmed as it should. */
static uint64_t due(const struct directory *d, const struct stream *s)
{
    uint64_t end = stream_committed(s), max = world_max_lag(d->world), wanted = 0;

    if (d->conf.views)
        wanted = views_wanted(d->conf.views, stream_log_id(s));
    return end > max && end - max > wanted ? end - max : wanted;
}

static void say_detached(struct directory *d, uint8_t what, const struct tables_position *p, uint64_t to)
{
    log_warn("view_detached",
             "view=%s log=%016" PRIx64 " tables=%" PRIu64 " owed=%" PRIu64 " to=%" PRIu64
             " effect=\"its rows are made anew from the conversations\"",
             name_of(what), p->log_id, p->applied, p->owed, to);
    if (d->metrics)
        metric_add(d->metrics, METRIC_DETACHED, (what & REBUILD_TABLES ? 1 : 0) + (what & REBUILD_OWED ? 1 : 0));
    show(d);
}

static enum err note_detached(struct directory *d, unsigned port, uint8_t what, uint64_t log_id, uint64_t end)
{
    uint8_t of[SHARD_COUNT] = {0};
    enum err err;

    for (unsigned i = 0; i < SHARD_COUNT; i++)
        of[i] = atomic_load(&d->world->owner_of[i]) == port ? what : 0;
    TRY(tables_begin(d->tables));
    TRY(tables_detach(d->tables, of));
    if (what & REBUILD_TABLES)
        TRY(tables_reached(d->tables, log_id, end));
    if (what & REBUILD_OWED)
        TRY(tables_owed_reached(d->tables, log_id, end));
    TRY(tables_end(d->tables));
out:
    if (err != ERR_OK)
        tables_abandon(d->tables);
    return err;
}

/* The rows that are passed over count as caught up with; how many that is of the log nobody counted. */
static enum err follow_anew(struct directory *d, unsigned port)
{
    atomic_store_explicit(&d->is_incomplete, true, memory_order_release);
    redeliver_done(&d->follow[port].again);
    world_tables_caught_up(d->world, UINT64_MAX);
    return directory_follow_open(d, port);
}

static void begin(struct directory *d, unsigned port, uint8_t what)
{
    if (d->rebuild.since_ms == 0)
        d->rebuild.since_ms = loop_now_ms(d->loop);
    if (what & REBUILD_OWED)
        d->rebuild.begins |= UINT64_C(1) << port;
    d->rebuild.round++;
    drop_page(d);
    d->has_work = true;
}

static enum err detach(struct directory *d, unsigned port, uint8_t what)
{
    struct tables_position before = tables_position(d->tables, stream_log_id(d->follow[port].stream));
    uint64_t end = stream_committed(d->follow[port].stream);
    enum err err;

    TRY(note_detached(d, port, what, before.log_id, end));
    begin(d, port, what);
    if (what & REBUILD_TABLES)
        TRY(follow_anew(d, port));
    say_detached(d, what, &before, end);
out:
    return err;
}

/* What is applied and only not synced needs no more than that: a reader may be in the way of a checkpoint for long. */
static enum err look_at(struct directory *d, unsigned port)
{
    const struct stream *s = d->follow[port].stream;
    struct tables_position p = tables_position(d->tables, stream_log_id(s));
    uint64_t target = due(d, s);
    uint8_t what = (uint8_t)((p.applied < target ? REBUILD_TABLES : 0) | (p.owed < target ? REBUILD_OWED : 0));
    enum err err = ERR_OK;

    if (p.durable >= target && p.owed_durable >= target)
        return ERR_OK;
    if (what)
        TRY(detach(d, port, what));
    TRY(tables_sync(d->tables));
    directory_publish_durable(d);
out:
    return err;
}

void rebuild_look(struct directory *d)
{
    enum err err = ERR_OK;

    if (d->has_failed || d->is_stopping)
        return;
    for (unsigned i = 0; i < d->world->reactors && err == ERR_OK; i++) {
        if (d->follow[i].consumer)
            err = look_at(d, i);
    }
    if (err == ERR_FULL || err == ERR_AGAIN || err == ERR_SCARCE)
        log_warn("view_not_detached", "err=%s effect=\"the log grows; it is tried again\"", err_name(err));
    else if (err != ERR_OK)
        directory_failed(d, err); /* a failed sync is not repeated */
}

/* --- asking --- */

static void ask(struct directory *d, unsigned port, const struct inner_rebuild *what, void (*done)(struct request *))
{
    struct request *q = request_new(done, d);
    struct inner_rebuild *a = arena_alloc(&q->arena, sizeof *a);

    *a = *what;
    a->port = port;
    a->round = d->rebuild.round;
    q->inner = INNER_REBUILD;
    q->result = a;
    d->rebuild.asked = q;
    d->rebuild.port = port;
    bus_request(d->port, port, q); /* may be answered by now, with a refusal */
}

static void on_begun(struct request *q)
{
    struct directory *d = q->asker;
    const struct inner_rebuild *a = q->result;

    d->rebuild.asked = NULL;
    if (q->code != CODE_OK && !d->is_stopping)
        again(d, REFUSED_MS);
    else if (a->round == d->rebuild.round)
        d->rebuild.begins &= ~(UINT64_C(1) << a->port);
    d->has_work = true;
    request_free(q);
}

static void on_page(struct request *q)
{
    struct directory *d = q->asker;
    const struct inner_rebuild *a = q->result;

    d->rebuild.asked = NULL;
    d->has_work = true;
    if (q->code == CODE_OK && !d->is_stopping && a->round == d->rebuild.round && a->is_owner &&
        a->applied >= atomic_load_explicit(&d->applied[a->port], memory_order_relaxed)) {
        d->rebuild.page = q;
        memset(&d->rebuild.at, 0, sizeof d->rebuild.at);
        return;
    }
    if (!d->is_stopping)
        again(d, q->code == CODE_OK ? EARLY_MS : q->code == CODE_UNAVAILABLE ? REFUSED_MS : BROKEN_MS);
    request_free(q);
}

static unsigned lowest_bit(uint64_t bits) { return (unsigned)__builtin_ctzll(bits); }

static void ask_next(struct directory *d)
{
    struct rebuild_row next;

    if (d->rebuild.begins) {
        ask(d, lowest_bit(d->rebuild.begins), &(struct inner_rebuild){.is_beginning = true}, on_begun);
        return;
    }
    if (tables_rebuild_next(d->tables, &next))
        ask(d, atomic_load(&d->world->owner_of[next.shard]),
            &(struct inner_rebuild){
                .shard = next.shard, .what = next.what, .has_after = next.has_conv, .after = next.conv},
            on_page);
}

/* --- writing --- */

static enum err write_head(struct db *db, const struct rebuilt *c)
{
    if (c->kind == CONV_GROUP)
        return conversations_put_group(db, &c->conv, &c->group);
    return c->kind == CONV_PAIR ? conversations_put_pair(db, &c->conv, c->a, c->b, c->created) : ERR_OK;
}

static enum err write_conv(struct directory *d, const struct rebuilt *c, uint8_t what, size_t *rows)
{
    struct rebuilding *r = &d->rebuild;
    enum err err = ERR_OK;

    if (!r->at.has_head && (what & REBUILD_TABLES))
        TRY(write_head(d->db, c));
    r->at.has_head = true;
    ++*rows;
    for (; r->at.member < c->n_members && *rows < SLICE_ROWS; r->at.member++, ++*rows)
        TRY(conversations_put_member(d->db, &c->conv, &c->members[r->at.member]));
    for (; r->at.owed < c->n_owed && *rows < SLICE_ROWS; r->at.owed++, ++*rows)
        TRY(owed_rows_put(d->db, &c->owed[r->at.owed]));
out:
    return err;
}

static bool is_written(const struct rebuilding *r, const struct rebuilt *c)
{
    return r->at.member == c->n_members && r->at.owed == c->n_owed;
}

static enum err write_slice(struct directory *d, bool *is_done)
{
    const struct inner_rebuild *p = d->rebuild.page->result;
    const struct conv_id *last = NULL;
    size_t rows = 0;
    enum err err = ERR_OK;

    while (d->rebuild.at.conv < p->n && rows < SLICE_ROWS) {
        const struct rebuilt *c = &p->v[d->rebuild.at.conv];
        size_t next = d->rebuild.at.conv + 1;

        TRY(write_conv(d, c, p->what, &rows));
        if (!is_written(&d->rebuild, c))
            break;
        last = &c->conv;
        memset(&d->rebuild.at, 0, sizeof d->rebuild.at);
        d->rebuild.at.conv = next;
        d->rebuild.convs++;
    }
    *is_done = d->rebuild.at.conv == p->n;
    if (*is_done && p->is_through)
        TRY(tables_rebuilt(d->tables, p->shard, NULL));
    else if (last)
        TRY(tables_rebuilt(d->tables, p->shard, last));
out:
    return err;
}

static void shard_is_through(struct directory *d)
{
    show(d);
    if (!tables_rebuild_left(d->tables, REBUILD_TABLES)) {
        atomic_store_explicit(&d->is_incomplete, false, memory_order_release);
        directory_publish_barriers(d);
    }
    if (tables_rebuild_left(d->tables, REBUILD_TABLES | REBUILD_OWED))
        return;
    log_info("view_rebuilt", "conversations=%" PRIu64 " ms=%" PRIu64, d->rebuild.convs,
             loop_now_ms(d->loop) - d->rebuild.since_ms);
    d->rebuild.convs = d->rebuild.since_ms = 0;
}

static enum err write_page(struct directory *d)
{
    bool is_done = false, is_through = ((const struct inner_rebuild *)d->rebuild.page->result)->is_through;
    enum err err;

    TRY(tables_begin(d->tables));
    TRY(write_slice(d, &is_done));
    TRY(tables_end(d->tables));
    d->is_behind = true; /* the next slice, or page, comes after a turn for all else */
    if (is_done)
        drop_page(d);
    if (is_done && is_through)
        shard_is_through(d);
    return ERR_OK;
out:
    tables_abandon(d->tables);
    drop_page(d);
    if (err == ERR_EXISTS) { /* somebody changed the tables by hand; all else goes on */
        log_warn("rebuild_failed", "err=%s effect=\"it is tried again\"", err_name(err));
        again(d, BROKEN_MS);
        err = ERR_OK;
    }
    return err;
}

/* Owners change on this thread alone. */
static bool page_is_owners(const struct directory *d)
{
    const struct inner_rebuild *a = d->rebuild.page->result;

    return atomic_load(&d->world->owner_of[a->shard]) == d->rebuild.port;
}

enum err rebuild_work(struct directory *d)
{
    if (d->is_stopping || timer_is_set(&d->rebuild.again) || d->rebuild.asked)
        return ERR_OK;
    if (d->rebuild.page && page_is_owners(d))
        return write_page(d);
    drop_page(d); /* its shard moved: the new owner is asked, from the last conversation done on */
    ask_next(d);
    return ERR_OK;
}

/* --- its life --- */

/* An earlier start may have left some to do. */
void rebuild_init(struct directory *d)
{
    d->rebuild.again.fn = on_again;
    d->rebuild.since_ms = loop_now_ms(d->loop);
    atomic_store(&d->is_incomplete, tables_rebuild_left(d->tables, REBUILD_TABLES) > 0);
    d->has_work = true;
    show(d);
}

void rebuild_stop(struct directory *d)
{
    timer_stop(&d->rebuild.again);
    drop_page(d);
}

/* Who was asked ended without an answer. */
void rebuild_deinit(struct directory *d)
{
    rebuild_stop(d);
    if (d->rebuild.asked)
        request_free(d->rebuild.asked);
    d->rebuild.asked = NULL;
}
