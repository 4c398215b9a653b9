/*   WAITING (for a shard to have changed its store) ──►
 *   PINNING ──all reactors──► CHECKPOINTING ──all──► HELD ──hold_end, or broken──► RELEASING ──all──► gone
 *
 * An end that comes while reactors are asked waits for their answers. */
#include "services/hold.h"
#include "base/log.h"
#include "services/directory_state.h"
#include "services/inner.h"
#include "services/mover.h"
#include <inttypes.h>

enum { WATCH_MS = 1000 };

struct hold {
    struct directory *d;
    struct hold_conf conf;
    enum hold_state { WAITING, PINNING, CHECKPOINTING, HELD, RELEASING } state;
    unsigned pending;
    bool is_over; /* nobody is told any more */
    struct buf lines;
    struct timer watch;
};

static void free_hold(struct hold *h)
{
    timer_stop(&h->watch);
    h->d->hold = NULL;
    buf_deinit(&h->lines);
    mem_free(h);
}

static void go_on(struct hold *h);

static void on_answer(struct request *q)
{
    struct hold *h = q->asker;

    buf_add(&h->lines, q->out.p, q->out.len);
    request_free(q);
    if (--h->pending == 0)
        go_on(h);
}

static void ask_all(struct hold *h, enum hold_state state, enum hold_step step)
{
    struct directory *d = h->d;

    h->state = state;
    h->pending = d->world->reactors;
    for (unsigned i = 0; i < d->world->reactors; i++) {
        struct request *q = request_new(on_answer, h);
        struct inner_hold *a = arena_alloc(&q->arena, sizeof *a);

        a->step = step;
        q->inner = INNER_HOLD;
        q->result = a;
        bus_request(d->port, i, q);
    }
}

static void say_own(struct hold *h)
{
    const struct directory *d = h->d;

    buf_printf(&h->lines, "log %" PRIx64 " directory %" PRIu64 " %" PRIu64 "\n", d->log_id,
               tables_position(d->tables, d->log_id).durable, stream_trimmed(d->stream));
}

static void go_on(struct hold *h)
{
    if (h->state == RELEASING) {
        log_info("hold_ended", "reactors=%u", h->d->world->reactors);
        free_hold(h);
    } else if (h->is_over) {
        ask_all(h, RELEASING, HOLD_RELEASE);
    } else if (h->state == PINNING) {
        ask_all(h, CHECKPOINTING, HOLD_CHECKPOINT);
    } else {
        h->state = HELD;
        say_own(h);
        h->conf.held(h->conf.arg, buf_get(&h->lines));
    }
}

static void end(struct hold *h)
{
    h->is_over = true;
    if (h->state == HELD && !h->d->is_stopping)
        go_on(h);
}

/* A disk that fills up for want of what is held would refuse everybody's writes. */
static void on_watch(struct timer *t)
{
    struct hold *h = container_of(t, struct hold, watch);
    struct env *env = h->d->env;
    uint64_t space = 0;

    if (h->is_over)
        return;
    if (fs_space(env->fs, h->d->world->data->path, &space) != ERR_OK || space >= HOLD_SPARE_BYTES) {
        timer_set(h->d->loop, t, WATCH_MS);
        return;
    }
    log_warn("hold_broken", "free=%" PRIu64, space);
    end(h);
    h->conf.broken(h->conf.arg, CODE_UNAVAILABLE, "the disk is nearly full; writes need what the backup holds");
}

struct hold *hold_start(struct directory *d, const struct hold_conf *c)
{
    struct hold *h;

    if (d->hold || d->is_stopping || !d->stream) {
        c->broken(c->arg, d->hold ? CODE_CONFLICT : CODE_UNAVAILABLE,
                  d->hold ? "another backup or export is under way" : "the server is ending");
        return NULL;
    }
    h = mem_new(struct hold);
    h->d = d;
    h->conf = *c;
    h->watch.fn = on_watch;
    d->hold = h;
    buf_printf(&h->lines, "epoch %s\n", d->world->data->epoch);
    timer_set(d->loop, &h->watch, WATCH_MS);
    log_info("hold_begun", "reactors=%u", d->world->reactors);
    if (!mover_is_switching(d->mover))
        ask_all(h, PINNING, HOLD_PIN);
    return h;
}

void hold_switched(struct directory *d)
{
    struct hold *h = d->hold;

    if (!h || h->state != WAITING)
        return;
    if (h->is_over)
        free_hold(h);
    else
        ask_all(h, PINNING, HOLD_PIN);
}

static void say_end(const struct stream *s, struct buf *out)
{
    buf_printf(out, "end %" PRIx64 " %" PRIu64 "\n", stream_log_id(s), stream_committed(s));
}

void hold_ends(const struct hold *h, struct buf *out)
{
    const struct directory *d = h->d;

    for (unsigned i = 0; i < d->world->reactors; i++)
        say_end(d->world->streams[i], out);
    if (d->stream)
        say_end(d->stream, out);
}

void hold_end(struct hold *h)
{
    if (h && !h->is_over)
        end(h);
}

void hold_abandon(struct directory *d)
{
    if (d->hold)
        free_hold(d->hold);
}
