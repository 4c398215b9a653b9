/* Of each shard it is known before when nothing in it expires (`next`): 0 for one that was not looked at yet. A look
 * takes the first that is due, reads a batch of its index, and asks the conversations' owners for their erasing, a few
 * at a time; one batch is under way. What could not be erased now keeps `next` from going beyond it, so it is found
 * again; so is all after a start. Nothing is read while nothing is due.
 *
 *   timer ─► a shard is due ─► its index is read ─► ask, ask, … ─► all are answered ─► timer */
#include "services/expiry.h"
#include "base/log.h"
#include "proto/metrics.h"
#include "services/inner.h"
#include "services/reactor_state.h"
#include "storage/convlog_expiry.h"
#include <stdlib.h>

enum {
    EVERY_MS = 1000,
    HOLD_MS = 3600 * 1000,
    SAME_MOMENT_US = 1000 * 1000,
    BATCH = 512,
    TOGETHER = 32, /* requests under way */
    MESSAGES = 8,  /* in one: of 64 KiB each, at most */
    LOOKS = 8,     /* at shards, in one turn */
};

struct expiry {
    struct reactor *r;
    struct timer timer;
    int64_t next[SHARD_COUNT];
    unsigned first; /* whose turn it is */

    /* The batch under way. */
    bool is_busy, is_asking, is_short; /* short: something is left for another time */
    uint16_t shard;
    int64_t now, following, noted; /* what the next `next` is to be, as the index says, and as was said meanwhile */
    struct expiring v[BATCH];
    size_t n, asked;
    unsigned in_flight;

    bool has_clock;
    int64_t offset_ms; /* of the wall clock to the one that does not jump */
    uint64_t held_until_us;
};

/* A part of the batch: messages of one conversation. */
struct asking {
    struct inner_erase erase;
    int64_t earliest;
};

static int64_t lesser(int64_t a, int64_t b) { return a < b ? a : b; }

void expiry_hide(const struct reactor *r, struct entry *v, size_t n)
{
    int64_t now = 0;

    for (size_t i = 0; i < n; i++) {
        if (!v[i].expires_at)
            continue;
        now = now ? now : env_now_ms(reactor_env(r));
        if (entry_is_due(&v[i], now))
            entry_erase(&v[i], ENTRY_EXPIRED);
    }
}

void expiry_note(struct expiry *x, uint16_t shard, int64_t at_ms)
{
    x->next[shard] = lesser(x->next[shard], at_ms);
    if (x->is_busy && x->shard == shard)
        x->noted = lesser(x->noted, at_ms);
}

void expiry_shard_came(struct expiry *x, uint16_t shard) { expiry_note(x, shard, 0); }

/* --- the clock --- */

static void hold(struct expiry *x, int64_t jumped_ms, uint64_t mono_us)
{
    int64_t ms = lesser(HOLD_MS, world_erase_within(x->r->world) / 4);

    x->held_until_us = mono_us + (uint64_t)ms * 1000;
    log_warn("expiry_waits", "jumped_ms=%lld for_ms=%lld", (long long)jumped_ms, (long long)ms);
}

/* Both clocks as of one moment: the thread may stand still between two looks. */
static void read_clocks(const struct expiry *x, int64_t *now, uint64_t *mono_us)
{
    struct env *env = reactor_env(x->r);

    do {
        *mono_us = env_mono_us(env);
        *now = env_now_ms(env);
    } while (env_mono_us(env) - *mono_us > SAME_MOMENT_US);
}

/* *now: the wall clock. */
static bool is_held(struct expiry *x, int64_t *now)
{
    uint64_t mono_us;
    int64_t offset;

    read_clocks(x, now, &mono_us);
    offset = *now - (int64_t)(mono_us / 1000);
    if (x->has_clock && offset - x->offset_ms > EXPIRY_JUMP_MS)
        hold(x, offset - x->offset_ms, mono_us);
    x->offset_ms = offset;
    x->has_clock = true;
    metric_put(reactor_metrics(x->r), METRIC_EXPIRY_HELD, mono_us < x->held_until_us);
    return mono_us < x->held_until_us;
}

/* --- a batch --- */

static bool is_mine(const struct expiry *x, unsigned shard)
{
    return atomic_load(&x->r->world->owner_of[shard]) == x->r->conf.index;
}

static void finish(struct expiry *x)
{
    x->next[x->shard] = lesser(x->following, x->noted);
    x->is_busy = false;
    timer_set(x->r->loop, &x->timer, x->is_short ? EVERY_MS : 0);
}

static void ask_more(struct expiry *x);

/* What fails for good is said there, and passed over until the next start. */
static void on_erased(struct request *q)
{
    struct expiry *x = q->asker;
    const struct asking *a = container_of(q->result, struct asking, erase);

    metric_add(reactor_metrics(x->r), METRIC_EXPIRED, (int64_t)a->erase.erased);
    if (q->code == CODE_UNAVAILABLE || a->erase.next) {
        x->following = lesser(x->following, a->earliest);
        x->is_short = true;
    }
    request_free(q);
    x->in_flight--;
    ask_more(x);
}

/* From `asked` on, what is of one conversation. */
static size_t run_of(const struct expiry *x, int64_t *earliest)
{
    const struct expiring *v = x->v + x->asked;
    size_t n = 0;

    *earliest = v[0].at;
    while (x->asked + n < x->n && n < MESSAGES && conv_eq(&v[n].conv, &v[0].conv))
        *earliest = lesser(*earliest, v[n++].at);
    return n;
}

static void ask(struct expiry *x)
{
    struct request *q = request_new(on_erased, x);
    struct asking *a = arena_alloc(&q->arena, sizeof *a);
    size_t n = run_of(x, &a->earliest);

    a->erase = (struct inner_erase){.conv = x->v[x->asked].conv, .due = x->v + x->asked, .n_due = n};
    q->inner = INNER_ERASE;
    q->result = &a->erase;
    x->asked += n;
    x->in_flight++;
    bus_request(x->r->port, atomic_load(&x->r->world->owner_of[x->shard]), q);
}

/* An answer may come before the asking returns: the outermost call goes on. */
static void ask_more(struct expiry *x)
{
    if (x->is_asking)
        return;
    x->is_asking = true;
    while (x->asked < x->n && x->in_flight < TOGETHER)
        ask(x);
    x->is_asking = false;
    if (x->asked == x->n && x->in_flight == 0)
        finish(x);
}

static int by_conv(const void *x, const void *y)
{
    const struct expiring *a = x, *b = y;
    int order = memcmp(&a->conv, &b->conv, sizeof a->conv);

    return order ? order : (a->seq > b->seq) - (a->seq < b->seq);
}

static void give_up(struct expiry *x, enum err err)
{
    x->is_short = err == ERR_LIMIT; /* too many reads wait */
    x->following = x->is_short ? x->next[x->shard] : EXPIRY_NEVER;
    if (!x->is_short)
        log_error("expiry_unreadable", "shard=%u err=%s", x->shard, err_name(err));
    finish(x);
}

static enum err read_step(struct reactor *r, void *arg, struct lsm_need *need)
{
    struct expiry *x = arg;
    struct lsm *l = is_mine(x, x->shard) ? reactor_store(r, x->shard) : NULL;
    enum err err = ERR_OK;

    x->n = x->asked = 0;
    x->following = 0;
    if (l)
        err = convlog_expiring(l, x->shard, x->next[x->shard], x->now, BATCH, need, x->v, &x->n, &x->following);
    if (err == ERR_AGAIN)
        return err;
    if (err != ERR_OK) {
        give_up(x, err);
        return ERR_OK;
    }
    if (x->n)
        qsort(x->v, x->n, sizeof x->v[0], by_conv);
    ask_more(x);
    return ERR_OK;
}

/* False: no shard is due. */
static bool look(struct expiry *x, int64_t now)
{
    for (unsigned i = 0; i < SHARD_COUNT; i++) {
        unsigned shard = (x->first + i) % SHARD_COUNT;

        if (x->next[shard] > now || !is_mine(x, shard))
            continue;
        x->first = shard + 1;
        x->shard = (uint16_t)shard;
        x->now = now;
        x->noted = EXPIRY_NEVER;
        x->is_busy = true;
        x->is_short = false;
        reactor_read(x->r, read_step, x);
        return true;
    }
    return false;
}

static void on_timer(struct timer *t)
{
    struct expiry *x = container_of(t, struct expiry, timer);
    int64_t now;
    bool is_any = !is_held(x, &now) && !atomic_load(&x->r->world->draining);

    for (unsigned i = 0; i < LOOKS && is_any && !x->is_busy; i++)
        is_any = look(x, now) && !x->is_short;
    if (!x->is_busy)
        timer_set(x->r->loop, t, is_any ? 0 : EVERY_MS);
}

void expiry_now(struct expiry *x)
{
    timer_stop(&x->timer);
    on_timer(&x->timer);
}

void expiry_create(struct reactor *r, struct expiry **out)
{
    struct expiry *x = mem_new(struct expiry);

    x->r = r;
    x->timer.fn = on_timer;
    timer_set(r->loop, &x->timer, EVERY_MS);
    *out = x;
}

void expiry_destroy(struct expiry *x)
{
    if (!x)
        return;
    timer_stop(&x->timer);
    mem_free(x);
}
