/* The log's side: an erasing is seen by world.erasings; a quarter of the time later the log rolls, at `target`. What
 * was erased stood before it. When that is trimmed it is scrubbed: for what this log and others gave back lies about in
 * ready segments, and in others' behind what they wrote (segpool.c). A log that has such a segment rolls at once.
 * Erasings behind are seen anew, when that is done. If a quarter of the time goes by after a roll and the log is not
 * trimmed yet, it says which view keeps it; the directory then detaches one that can be made anew (rebuild.h).
 *
 *   idle ──erased, or stale──► since_ms ──rolled──► target ──trimmed──► ticket ──scrubbed──► idle */
#include "services/purge.h"
#include "base/log.h"
#include "proto/metrics.h"
#include "services/reactor_state.h"
#include "services/trim.h"
#include "services/views.h"

enum { LOOK_MIN_MS = 100, LOOK_MAX_MS = 2000 };

struct purge {
    struct reactor *r;
    struct timer timer;
    int64_t within_ms, begun_ms;
    uint64_t seen;     /* world.erasings that the log has been, or is being, rid of */
    int64_t since_ms;  /* not after the first of those that it is not rid of yet; 0: none */
    int64_t next_ms;   /* the same of those that came after the roll */
    int64_t looked_ms; /* when it last looked: what it sees now came later */
    uint64_t since_us; /* when since_ms was set, by a clock that does not jump */
    uint64_t target;   /* of a roll: to be trimmed; 0: none */
    uint64_t ticket;   /* of a scrub; 0: none */
    uint64_t rolled_us;
    bool erases; /* what is before target was erased, and is to be scrubbed; else another's scrub wants it trimmed */
    bool is_said;
};

static int64_t share(const struct purge *p) { return p->within_ms / 4; }

/* A clock that was set back makes moments of the future: they are due. */
static int64_t due_until(const struct purge *p, int64_t now, int64_t since)
{
    return since > now ? since : now - share(p);
}

static void purge_stores(struct purge *p, int64_t now)
{
    struct lsm *const *stores;
    size_t n = reactor_stores(p->r, &stores);

    for (size_t i = 0; i < n; i++) {
        int64_t since = stores[i] ? lsm_erased_since(stores[i]) : 0;

        if (since && since <= due_until(p, now, since))
            lsm_purge(stores[i], due_until(p, now, since));
    }
}

static void flush_stores(struct purge *p)
{
    struct lsm *const *stores;
    size_t n = reactor_stores(p->r, &stores);

    for (size_t i = 0; i < n; i++) {
        struct lsm *l = stores[i];
        if (l && !lsm_is_clean(l) && lsm_durable(l, stream_log_id(p->r->stream)) < p->target)
            (void)!lsm_flush(l); /* AGAIN: it runs; what fails the store says itself */
    }
}

static void say_late(struct purge *p)
{
    const struct stream *s = p->r->stream;
    uint64_t tables = 0, owed = 0;

    views_durable(p->r->conf.views, stream_log_id(s), &tables, &owed);
    log_warn("erase_late", "log=%llx wanted=%llu trimmed=%llu tables=%llu owed=%llu",
             (unsigned long long)stream_log_id(s), (unsigned long long)p->target, (unsigned long long)stream_trimmed(s),
             (unsigned long long)tables, (unsigned long long)owed);
    views_want(p->r->conf.views, stream_log_id(s), p->target);
    p->is_said = true;
}

static bool has_passed(const struct purge *p, uint64_t now_us, int64_t ms)
{
    return now_us - p->since_us >= (uint64_t)ms * 1000;
}

/* A log that is only stale asks for no scrub: the one that made it so already waits for its segment, and another would
 * make others stale, and so on. */
static void roll(struct purge *p, uint64_t now_us)
{
    struct stream *s = p->r->stream;
    uint64_t seen = atomic_load(&p->r->world->erasings), target = stream_end(s);
    bool erases = p->next_ms && !p->ticket;

    if (erases)
        (void)stream_scrub(s); /* so that no log, and not this one, goes on in an old segment */
    if (stream_roll(s) != ERR_OK)
        return; /* no segment is ready: at the next look */
    p->target = target;
    p->erases = erases;
    p->rolled_us = now_us;
    if (!erases)
        return;
    p->seen = seen;
    p->next_ms = 0;
    if (target == 0)
        p->since_ms = 0;
}

static void note_new(struct purge *p)
{
    if (!p->next_ms && atomic_load(&p->r->world->erasings) != p->seen)
        p->next_ms = p->looked_ms;
}

static void begin(struct purge *p, int64_t since_ms, uint64_t now_us)
{
    p->since_ms = since_ms;
    p->since_us = now_us;
    p->is_said = false;
}

static void trim(struct purge *p, uint64_t now_us)
{
    flush_stores(p);
    trim_now(p->r->trim);
    if (stream_trimmed(p->r->stream) >= p->target) {
        p->target = 0;
        if (p->erases)
            p->ticket = stream_scrub(p->r->stream);
    } else if (!p->is_said && now_us - p->rolled_us >= (uint64_t)share(p) * 1000) {
        say_late(p);
    }
}

static bool is_done(const struct purge *p)
{
    if (p->target)
        return false;
    if (p->ticket)
        return stream_is_scrubbed(p->r->stream, p->ticket);
    return !p->next_ms && !stream_is_stale(p->r->stream);
}

static void look_at_log(struct purge *p, int64_t now)
{
    uint64_t now_us = env_mono_us(reactor_env(p->r));
    bool is_stale = stream_is_stale(p->r->stream);

    note_new(p);
    p->looked_ms = now;
    if (!p->since_ms && p->next_ms)
        begin(p, p->next_ms, now_us);
    if (!p->since_ms && is_stale)
        begin(p, now, now_us);
    if (!p->since_ms)
        return;
    if (!p->target && (is_stale || (!p->ticket && has_passed(p, now_us, share(p)))))
        roll(p, now_us);
    if (p->target)
        trim(p, now_us);
    if (is_done(p)) {
        p->ticket = 0;
        p->since_ms = 0;
    }
}

/* What an earlier start erased may stand in its logs until they are removed, which is soon. */
static bool has_old(const struct purge *p)
{
    const struct views_log *logs;

    return views_old(p->r->conf.views, &logs) > 0 && !views_old_are_removed(p->r->conf.views);
}

int64_t purge_since(const struct purge *p)
{
    struct lsm *const *stores;
    size_t n = reactor_stores(p->r, &stores);
    int64_t since = lsm_older(p->since_ms, p->next_ms);

    if (!since && atomic_load(&p->r->world->erasings) != p->seen)
        since = p->looked_ms;
    if (has_old(p))
        since = lsm_older(since, p->begun_ms);
    for (size_t i = 0; i < n; i++)
        since = stores[i] ? lsm_older(since, lsm_erased_since(stores[i])) : since;
    return since;
}

static void show(struct purge *p, int64_t now)
{
    int64_t since = purge_since(p);

    metric_put(reactor_metrics(p->r), METRIC_ERASED_AGE, since && since < now ? (now - since) / 1000 : 0);
}

static int64_t every(const struct purge *p)
{
    int64_t ms = p->within_ms / 20;

    return ms < LOOK_MIN_MS ? LOOK_MIN_MS : ms > LOOK_MAX_MS ? LOOK_MAX_MS : ms;
}

static void on_timer(struct timer *t)
{
    struct purge *p = container_of(t, struct purge, timer);
    int64_t now = env_now_ms(reactor_env(p->r));

    purge_stores(p, now);
    look_at_log(p, now);
    show(p, now);
    timer_set(reactor_loop(p->r), t, (uint64_t)every(p));
}

void purge_create(struct reactor *r, struct purge **out)
{
    struct purge *p = mem_new(struct purge);

    p->r = r;
    p->within_ms = world_erase_within(reactor_world(r));
    p->begun_ms = p->looked_ms = env_now_ms(reactor_env(r));
    p->timer.fn = on_timer;
    timer_set(reactor_loop(r), &p->timer, (uint64_t)every(p));
    *out = p;
}

void purge_destroy(struct purge *p)
{
    if (!p)
        return;
    timer_stop(&p->timer);
    mem_free(p);
}
