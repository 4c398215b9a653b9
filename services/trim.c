#include "services/trim.h"
#include "base/log.h"
#include "proto/metrics.h"
#include "services/directory.h"
#include "services/lag.h"
#include "services/views.h"

struct trim {
    struct reactor *r;
    const char *log_dir;
    struct pool *pool;
    struct views *views;
    struct timer timer;
    struct job remove;
    struct lag lag;
    bool stores_have_old, has_forgotten, is_removing, is_held;
    bool is_left; /* a log could not be removed */
};

/* A store with nothing in memory has everything that it was given, whatever its manifest says: the last records that it
 * was passed did not concern it. */
static uint64_t durable(const struct lsm *l, uint64_t log_id)
{
    return lsm_is_clean(l) ? lsm_position(l, log_id) : lsm_durable(l, log_id);
}

static void flush(struct lsm *l)
{
    enum err err = lsm_is_clean(l) ? ERR_OK : lsm_flush(l);

    if (err != ERR_OK && err != ERR_AGAIN)
        log_warn("trim_flush_failed", "err=%s", err_name(err)); /* the store itself reports what is final */
}

static uint64_t smaller(uint64_t a, uint64_t b) { return a < b ? a : b; }

static uint64_t stores_durable(struct trim *t, uint64_t log_id, uint64_t end)
{
    struct lsm *const *stores;
    size_t n = reactor_stores(t->r, &stores);
    uint64_t pos = end;

    for (size_t i = 0; i < n; i++) {
        uint64_t has = stores[i] ? durable(stores[i], log_id) : end;

        if (has + FLUSH_BEHIND_BYTES < end)
            flush(stores[i]);
        pos = smaller(pos, has);
    }
    return pos;
}

static void show(struct trim *t, enum metric_id id, uint64_t n) { metric_put(reactor_metrics(t->r), id, (int64_t)n); }

/* Who is furthest behind is who holds the log. */
static void show_lag(struct trim *t, struct views_state *s, uint64_t now)
{
    static const enum metric_id bytes[VIEWS] = {METRIC_VIEW_STORES, METRIC_VIEW_TABLES, METRIC_VIEW_OWED};
    static const enum metric_id seconds[VIEWS] = {METRIC_LAG_STORES, METRIC_LAG_TABLES, METRIC_LAG_OWED};
    uint64_t slowest = s->end;

    lag_note(&t->lag, s->end, now);
    for (int i = 0; i < VIEWS; i++) {
        s->view[i].ms = lag_ms(&t->lag, s->view[i].pos, now);
        show(t, bytes[i], s->end - smaller(s->end, s->view[i].pos));
        show(t, seconds[i], s->view[i].ms / 1000);
        slowest = smaller(slowest, s->view[i].pos);
    }
    lag_forget(&t->lag, slowest);
}

/* What the tables show, whether or not it is durable there. */
static void show_unapplied(struct trim *t, uint64_t end, uint64_t now)
{
    const struct directory *d = reactor_world(t->r)->directory;
    uint64_t pos = d ? directory_applied(d, port_index(reactor_port(t->r))) : end;

    show(t, METRIC_TABLES_UNAPPLIED, end - smaller(end, pos));
    show(t, METRIC_TABLES_UNSHOWN, lag_ms(&t->lag, pos, now) / 1000);
}

static void trim_log(struct trim *t)
{
    struct stream *s = reactor_stream(t->r);
    struct views_state st = {.log_id = stream_log_id(s), .end = stream_committed(s)};
    uint64_t now = loop_now_ms(reactor_loop(t->r)), pos;

    st.view[VIEW_STORES].pos = stores_durable(t, st.log_id, st.end);
    views_durable(t->views, st.log_id, &st.view[VIEW_TABLES].pos, &st.view[VIEW_OWED].pos);
    show_lag(t, &st, now);
    show_unapplied(t, st.end, now);
    pos = smaller(st.view[VIEW_STORES].pos, smaller(st.view[VIEW_TABLES].pos, st.view[VIEW_OWED].pos));
    if (pos > stream_trimmed(s) && !t->is_held)
        stream_trim(s, pos);
    show(t, METRIC_LOG_LAG, st.end - smaller(st.end, pos));
    st.trimmed = stream_trimmed(s);
    views_put_state(t->views, &st);
}

static bool store_has_old(struct lsm *l, const struct views_log *logs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!logs[i].is_directory && durable(l, logs[i].log_id) < logs[i].end)
            return false;
    }
    return true;
}

static void look_at_old(struct trim *t)
{
    const struct views_log *logs;
    size_t n_logs = views_old(t->views, &logs);
    struct lsm *const *stores;
    size_t n = reactor_stores(t->r, &stores);
    bool all = true;

    for (size_t i = 0; i < n; i++) {
        if (!stores[i] || store_has_old(stores[i], logs, n_logs))
            continue;
        flush(stores[i]);
        all = false;
    }
    if (all) {
        t->stores_have_old = true;
        views_stores_durable(t->views);
    }
}

static void remove_old(struct job *j)
{
    struct trim *t = container_of(j, struct trim, remove);
    const struct views_log *logs;
    size_t n = views_old(t->views, &logs);

    for (size_t i = 0; i < n; i++) {
        enum err err = seglog_remove(reactor_env(t->r), t->log_dir, logs[i].log_id);

        if (err == ERR_OK || err == ERR_NOT_FOUND)
            continue;
        t->is_left = true; /* so its positions stay, or the next start would apply it again to what is newer */
        log_warn("log_not_removed", "log=%llx err=%s", (unsigned long long)logs[i].log_id, err_name(err));
    }
}

static void on_removed(struct job *j)
{
    struct trim *t = container_of(j, struct trim, remove);
    const struct views_log *logs;

    log_info("log_old_removed", "logs=%zu", views_old(t->views, &logs));
    if (!t->is_left)
        views_old_removed(t->views);
}

static void start_removing(struct trim *t)
{
    t->remove = (struct job){.home = loop_mailbox(reactor_loop(t->r)), .run = remove_old, .done = on_removed};
    t->is_removing = pool_submit(t->pool, &t->remove) == ERR_OK; /* a full pool: next time */
}

static void forget_old(struct trim *t)
{
    const struct views_log *logs;
    size_t n_logs = views_old(t->views, &logs);
    struct lsm *const *stores;
    size_t n = reactor_stores(t->r, &stores);

    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; stores[i] && j < n_logs; j++)
            lsm_forget_log(stores[i], logs[j].log_id);
    t->has_forgotten = true;
}

void trim_now(struct trim *t)
{
    trim_log(t);
    if (!t->stores_have_old)
        look_at_old(t);
    if (port_index(reactor_port(t->r)) == 0 && !t->is_held && !t->is_removing && views_old_are_done(t->views))
        start_removing(t);
    if (!t->has_forgotten && views_old_are_removed(t->views))
        forget_old(t);
}

void trim_hold(struct trim *t, bool is_held) { t->is_held = is_held; }

bool trim_needs_old(const struct trim *t) { return !t->is_removing && !views_old_are_removed(t->views); }

static void on_timer(struct timer *timer)
{
    struct trim *t = container_of(timer, struct trim, timer);

    trim_now(t);
    stream_shrink(reactor_stream(t->r));
    timer_set(reactor_loop(t->r), &t->timer, TRIM_EVERY_MS);
}

void trim_create(struct reactor *r, const char *log_dir, struct pool *pool, struct views *v, struct trim **out)
{
    struct trim *t = mem_new(struct trim);

    t->r = r;
    t->log_dir = log_dir;
    t->pool = pool;
    t->views = v;
    t->timer.fn = on_timer;
    timer_set(reactor_loop(r), &t->timer, TRIM_EVERY_MS);
    trim_log(t); /* so that how it stands is known from the beginning */
    *out = t;
}

void trim_destroy(struct trim *t)
{
    if (!t)
        return;
    timer_stop(&t->timer);
    mem_free(t);
}
