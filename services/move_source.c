/* The source of a move.
 *
 *   COPYING ──through, little missing──► FOLLOWING ──PAUSE──► DRAINING ──quiet──► QUIET ──LEAVE──► gone
 *      │                                   ▲    │                │                  │
 *      └──────── a fault, or STOP ─────────┼────┴► ENDING        └── too late ──────┴─RESUME─► FOLLOWING
 *                                          └─────────────────────────────────────────┘
 *
 * Whatever state it is in, what is put goes on to the target until it ends. Batches are requests to the target; what is
 * not acknowledged yet is bounded: the scan stops at MOVE_WINDOW, and at MOVE_LAG_MAX (the target's store takes nothing
 * for long) the copy is broken and the mover gives it up. */
#include "base/log.h"
#include "services/inner.h"
#include "services/move_state.h"
#include "services/notify.h"
#include "services/receipt.h"
#include "services/shard_log.h"
#include "services/typing.h"
#include "storage/shard_copy.h"

enum { TICK_MS = 1 };

struct source {
    struct moves *m;
    struct inner_move a;
    struct shard_copy copy;
    struct request *asked; /* who waits for what it becomes */
    enum { COPYING, FOLLOWING, DRAINING, QUIET, ENDING } state;
    bool is_broken, is_reading, is_scanning;
    bool has_left; /* DRAINING: no conversation is in memory any more */
    uint64_t owed; /* and what is owed must be written up to here */
    uint64_t until_ms;
    size_t budget;      /* bytes that may be scanned until the next tick */
    size_t unacked;     /* bytes */
    unsigned n_batches; /* under way */
    uint64_t sent;
    uint64_t erasings; /* of the world, and when: as the copy began */
    int64_t begun_ms;
    struct timer tick;
    struct turn_hook turn;
};

static void advance(struct source *s);

static void answer(struct source *s, bool is_ok)
{
    struct request *q = s->asked;
    struct inner_move *a = q->result;

    s->asked = NULL;
    a->is_broken = s->is_broken;
    a->bytes = s->sent;
    move_answer(s->m->r, q, is_ok);
}

static void free_source(struct source *s)
{
    s->m->source = NULL;
    timer_stop(&s->tick);
    loop_unhook(&s->turn);
    shard_copy_end(&s->copy);
    mem_free(s);
}

void move_source_free(struct moves *m)
{
    if (m->source)
        free_source(m->source);
}

static void on_put(struct request *q)
{
    struct source *s = q->asker;
    struct inner_move *a = q->result;

    s->unacked -= a->batch.len;
    s->n_batches--;
    s->is_broken |= q->code != CODE_OK;
    buf_deinit(&a->batch);
    request_free(q);
    advance(s);
}

static void send(struct source *s)
{
    struct request *q = request_new(on_put, s);
    struct inner_move *a = arena_alloc(&q->arena, sizeof *a);

    *a = s->a;
    a->step = MOVE_BATCH_PUT;
    a->batch = s->copy.out;
    s->copy.out = (struct buf){0};
    s->unacked += a->batch.len;
    s->sent += a->batch.len;
    s->n_batches++;
    q->inner = INNER_MOVE;
    q->result = a;
    bus_request(s->m->r->port, s->a.target, q);
}

static enum err scan_step(struct reactor *r, void *arg, struct lsm_need *need)
{
    struct source *s = arg;
    size_t before = s->copy.out.len, more;
    enum err err = shard_copy_scan(&s->copy, MOVE_BATCH, need);

    (void)r;
    if (err == ERR_AGAIN)
        return err;
    s->is_reading = false;
    if (err != ERR_OK) {
        s->is_broken = true;
        log_warn("move_broken", "shard=%u err=%s", s->a.shard, err_name(err));
    }
    more = s->copy.out.len > before ? s->copy.out.len - before : 0;
    s->budget -= more < s->budget ? more : s->budget;
    if (!s->is_scanning)
        advance(s);
    return ERR_OK;
}

static bool may_scan(const struct source *s)
{
    return s->state == COPYING && !s->is_broken && !s->is_reading && !s->copy.is_through && s->budget > 0 &&
           s->unacked + s->copy.out.len < MOVE_WINDOW;
}

/* Everything that was put is in the target's store. */
static bool is_even(const struct source *s) { return s->copy.out.len == 0 && s->n_batches == 0; }

/* What was erased while it was copied may have arrived with its content, and the store it came from forget it. */
static int64_t erased_since(const struct source *s)
{
    int64_t since = lsm_erased_since(s->copy.from);

    if (since == 0 && atomic_load(&s->m->r->world->erasings) != s->erasings)
        return s->begun_ms;
    return since;
}

static void try_quiet(struct source *s)
{
    struct reactor *r = s->m->r;
    struct inner_move *a = s->asked->result;

    if (!s->has_left) {
        receipts_leave(r->receipts, s->a.shard);
        typing_leave(r->typing, s->a.shard);
        if (!shards_leave(r->shards, s->a.shard))
            return;
        s->has_left = true;
        s->owed = notify_position(r->notify);
    }
    if (!notify_has_written(r->notify, s->owed) || !is_even(s))
        return;
    a->end = stream_committed(r->stream);
    a->erased_ms = erased_since(s);
    s->state = QUIET;
    answer(s, true);
}

static void resume(struct source *s)
{
    s->state = FOLLOWING;
    s->has_left = false;
    move_release(s->m);
}

static void drain(struct source *s)
{
    if (!s->is_broken)
        try_quiet(s);
    if (s->state != DRAINING)
        return;
    if (s->is_broken || loop_now_ms(s->m->r->loop) >= s->until_ms) {
        resume(s);
        answer(s, false);
    }
}

/* May free it. */
static void advance(struct source *s)
{
    if (s->is_scanning)
        return;
    s->is_scanning = true;
    while (may_scan(s)) {
        s->is_reading = true;
        reactor_read(s->m->r, scan_step, s);
        if (s->copy.out.len)
            send(s);
    }
    if (s->is_broken || s->state == ENDING)
        buf_clear(&s->copy.out); /* nobody wants it any more */
    if (s->copy.out.len && s->state != ENDING && !s->is_broken && s->unacked < MOVE_WINDOW)
        send(s);
    s->is_scanning = false;
    if (s->unacked + s->copy.out.len > MOVE_LAG_MAX)
        s->is_broken = true;
    if (s->state == COPYING && (s->is_broken || (s->copy.is_through && s->unacked + s->copy.out.len < MOVE_WINDOW))) {
        s->state = FOLLOWING;
        answer(s, !s->is_broken);
    } else if (s->state == ENDING && s->n_batches == 0 && !s->is_reading) {
        answer(s, true);
        free_source(s);
    }
}

/* Between DRAINING's looks lie ticks: they look at all conversations. */
static void on_tick(struct timer *t)
{
    struct source *s = container_of(t, struct source, tick);

    timer_set(s->m->r->loop, t, TICK_MS);
    s->budget = MOVE_WINDOW;
    if (s->state == DRAINING)
        drain(s);
    advance(s);
}

static void on_turn(struct turn_hook *h)
{
    struct source *s = container_of(h, struct source, turn);

    if (s->copy.out.len || s->state == ENDING)
        advance(s);
}

void move_copy(struct moves *m, struct request *q)
{
    struct source *s = mem_new(struct source);
    struct reactor *r = m->r;

    s->m = m;
    s->a = *(const struct inner_move *)q->result;
    s->asked = q;
    s->tick.fn = on_tick;
    s->turn.fn = on_turn;
    s->budget = MOVE_WINDOW;
    s->erasings = atomic_load(&r->world->erasings);
    s->begun_ms = env_now_ms(r->world->env);
    m->source = s;
    shard_copy_begin(&s->copy, r->stores[s->a.from], s->a.shard);
    loop_hook(r->loop, &s->turn);
    timer_set(r->loop, &s->tick, TICK_MS);
    advance(s);
}

void move_drain(struct moves *m, struct request *q)
{
    struct source *s = m->source;
    struct inner_move *a = q->result;

    if (s->is_broken) {
        a->is_broken = true;
        move_answer(m->r, q, false);
        return;
    }
    s->asked = q;
    s->state = DRAINING;
    s->has_left = false;
    s->until_ms = loop_now_ms(m->r->loop) + a->within_ms;
    move_pause(m, s->a.shard, false);
    drain(s);
}

void move_resume(struct moves *m, struct request *q)
{
    if (m->source && m->source->state == QUIET)
        resume(m->source);
    move_answer(m->r, q, true);
}

void move_leave(struct moves *m, struct request *q)
{
    const struct inner_move *a = q->result;

    move_source_free(m);
    if (a->source != a->target)
        move_hand_over(m);
    move_answer(m->r, q, true);
}

void move_stop(struct moves *m, struct request *q)
{
    struct source *s = m->source;

    if (!s) {
        move_answer(m->r, q, true);
        return;
    }
    lsm_mirror(s->copy.from, 0, NULL, NULL);
    s->state = ENDING;
    s->asked = q;
    advance(s);
}
