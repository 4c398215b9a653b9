/* A pass over all shards that this reactor serves, as a walk that may stop anywhere:
 *
 *   resting ── the time is over ──► walking ──► a conversation has something due ──► a page goes ──┐
 *      ▲                              │  ▲ │ a step is over: pause                   ▲  │ more: pause │
 *      └───── behind the last shard ──┘  └─┘                                         └──┘           │
 *                                        └──────────────────────────────── no more ────────────────┘
 *
 * A step stays in one store, as a read must. The walk reads a conversation's state and the time of its oldest entry
 * from the store, and loads nothing: what it finds is looked at again at the conversation. A page that could not go
 * waits for the next pass. */
#include "base/log.h"
#include "services/reactor_state.h"
#include "services/retention.h"
#include "services/shard_log.h"
#include <inttypes.h>

enum { LOOKS = 32 /* conversations in a step */, PAUSE_MS = 50, FIRST_MS = 30000, EVERY_MIN_MS = 100 };

struct sweep {
    struct reactor *r;
    struct timer timer;
    bool is_walking, has_begun; /* has_begun: its shard is found to be swept, and looked at behind `at` */
    bool is_due;                /* the conversation `at` has something */
    bool has_at;
    uint16_t shard;
    int64_t now_ms; /* when its sweep began: what comes of a jump meanwhile is the next one's to doubt */
    struct conv_id at;
    uint64_t doubt_us; /* since when the clock is doubted, by one that does not jump; 0: it is not */
    bool was_doubted;  /* in this pass */
    struct arena arena;
};

static struct lsm *store_of(const struct sweep *s) { return reactor_store(s->r, s->shard); }

static bool serves(const struct sweep *s)
{
    const struct reactor *r = s->r;

    return atomic_load(&r->world->owner_of[s->shard]) == r->conf.index && store_of(s);
}

static uint64_t every(const struct sweep *s)
{
    int64_t ms = world_erase_within(s->r->world) / SWEEPS_A_TIME;

    return (uint64_t)(ms < EVERY_MIN_MS ? EVERY_MIN_MS : ms > SWEEP_EVERY_MAX_MS ? SWEEP_EVERY_MAX_MS : ms);
}

static bool believes(struct sweep *s, int64_t swept_ms, int64_t now_ms)
{
    uint64_t now_us = env_mono_us(reactor_env(s->r));

    if (!swept_ms || now_ms - swept_ms <= SWEEP_DOUBT_MS)
        return true;
    s->was_doubted = true;
    if (!s->doubt_us) {
        s->doubt_us = now_us ? now_us : 1;
        log_warn("retention_waits", "reactor=%u shard=%u ahead_s=%" PRId64, s->r->conf.index, s->shard,
                 (now_ms - swept_ms) / 1000);
    }
    return now_us - s->doubt_us >= (uint64_t)SWEEP_DOUBT_MS * 1000;
}

static void next_shard(struct sweep *s)
{
    s->shard++;
    s->has_begun = s->has_at = false;
}

/* A mark that the store cannot take now is put by the next pass. */
static enum err begin_shard(struct sweep *s, struct lsm_need *need)
{
    int64_t swept_ms = 0;
    enum err err = convlog_swept(store_of(s), s->shard, need, &swept_ms);

    if (err != ERR_OK)
        return err;
    s->now_ms = env_now_ms(reactor_env(s->r));
    if (!believes(s, swept_ms, s->now_ms)) {
        next_shard(s);
        return ERR_OK;
    }
    s->has_begun = true;
    return ERR_OK;
}

/* The mark is a batch of its own: what no lsm_applied follows is not flushed. */
static void put_mark(struct sweep *s)
{
    struct lsm *l = store_of(s);
    uint64_t log_id = stream_log_id(s->r->stream);

    if (!shards_are_between(s->r->shards) || lsm_is_busy(l))
        return;
    if (convlog_put_swept(l, s->shard, s->now_ms) == ERR_OK)
        lsm_applied(l, log_id, lsm_position(l, log_id));
}

static void end_shard(struct sweep *s, bool has_conversations)
{
    if (has_conversations)
        put_mark(s);
    next_shard(s);
}

/* The walk goes on behind it. */
static void say_broken(const struct sweep *s, enum err err)
{
    log_warn("retention_broken", "shard=%u err=%s", s->shard, err_name(err));
}

/* The oldest is old enough, and is not a last one that has lost all that it can. */
static enum err look(struct sweep *s, const struct convlog_state *c, struct lsm_need *need)
{
    uint64_t keep = retention_of(s->r->world, c->retention_ms);
    struct entry oldest;
    enum err err;

    if (keep == RETENTION_FOREVER || c->head < c->first_seq)
        return ERR_OK;
    err = convlog_entry(store_of(s), s->shard, &c->id, c->first_seq, need, &s->arena, &oldest);
    if (err == ERR_OK && oldest.ts <= s->now_ms - (int64_t)keep)
        s->is_due = c->first_seq < c->head || (oldest.kind == ENTRY_MESSAGE && !oldest.gone);
    arena_deinit(&s->arena);
    if (err == ERR_OK || err == ERR_AGAIN)
        return err;
    say_broken(s, err);
    return ERR_OK;
}

static enum err next_conversation(struct sweep *s, struct lsm_need *need)
{
    bool own = s->r->world->limits.retention_ms == 0;
    struct convlog_state c = {.head = 0};
    enum err err = convlog_next(store_of(s), s->shard, s->has_at ? &s->at : NULL, own, need, &c);

    if (err == ERR_OK)
        err = look(s, &c, need);
    if (err == ERR_OK) {
        s->at = c.id;
        s->has_at = true;
    } else if (err != ERR_AGAIN) {
        if (err != ERR_NOT_FOUND)
            say_broken(s, err);
        end_shard(s, err == ERR_NOT_FOUND && s->has_at);
        err = ERR_OK;
    }
    return err;
}

static void rest(struct sweep *s)
{
    if (!s->was_doubted)
        s->doubt_us = 0;
    s->was_doubted = s->is_walking = false;
    timer_set(reactor_loop(s->r), &s->timer, every(s));
}

static void go_on(struct sweep *s, uint64_t after_ms) { timer_set(reactor_loop(s->r), &s->timer, after_ms); }

static void on_page(struct request *q)
{
    struct sweep *s = q->asker;
    const struct inner_retention *p = q->result;

    s->is_due = q->code == CODE_OK && p->more;
    request_free(q);
    go_on(s, PAUSE_MS);
}

static void ask_page(struct sweep *s)
{
    struct request *q = request_new(on_page, s);
    struct inner_retention *p = arena_alloc(&q->arena, sizeof *p);

    *p = (struct inner_retention){.step = RETENTION_SWEEP, .conv = s->at, .now_ms = s->now_ms};
    q->inner = INNER_RETENTION;
    q->result = p;
    bus_request(s->r->port, s->r->conf.index, q);
}

static void skip_others(struct sweep *s)
{
    while (s->shard < SHARD_COUNT && !serves(s))
        next_shard(s);
}

/* A mark that cannot be read: no clock says that anything may go. */
static enum err look_further(struct sweep *s, struct lsm_need *need)
{
    enum err err = s->has_begun ? next_conversation(s, need) : begin_shard(s, need);

    if (err != ERR_OK && err != ERR_AGAIN) {
        say_broken(s, err);
        next_shard(s);
        err = ERR_OK;
    }
    skip_others(s);
    return err;
}

/* What was looked at stays so when a block is missing: the step goes on behind it. */
static enum err step(struct reactor *r, void *arg, struct lsm_need *need)
{
    struct sweep *s = arg;
    const struct lsm *store;
    unsigned n = 0;

    (void)r;
    skip_others(s);
    store = s->shard < SHARD_COUNT ? store_of(s) : NULL;
    for (; n < LOOKS && s->shard < SHARD_COUNT && store_of(s) == store && !s->is_due; n++)
        if (look_further(s, need) == ERR_AGAIN)
            return ERR_AGAIN;
    if (s->is_due)
        ask_page(s);
    else if (s->shard == SHARD_COUNT)
        rest(s);
    else
        go_on(s, n == LOOKS ? PAUSE_MS : 0);
    return ERR_OK;
}

static void on_timer(struct timer *t)
{
    struct sweep *s = container_of(t, struct sweep, timer);

    if (!s->is_walking) {
        s->is_walking = true;
        s->has_begun = s->has_at = false;
        s->shard = 0;
    }
    if (s->is_due)
        ask_page(s);
    else
        reactor_read(s->r, step, s);
}

void sweep_create(struct reactor *r, struct sweep **out)
{
    struct sweep *s = mem_new(struct sweep);
    uint64_t first;

    s->r = r;
    s->timer.fn = on_timer;
    first = every(s);
    timer_set(reactor_loop(r), &s->timer, first < FIRST_MS ? first : FIRST_MS);
    *out = s;
}

void sweep_destroy(struct sweep *s)
{
    if (!s)
        return;
    timer_stop(&s->timer);
    mem_free(s);
}
