/*   next ─► COPY ─► FLUSH ─► PAUSE ─► FLUSH ─► tables ─► placement written ─► ARRIVE ─► owner ─► LEAVE ─► FENCE ─► OPEN
 *    ▲                ▲        │too late │        │                                                            │
 *    │                └─put off┴─────────┴────────┘ RESUME                                                     │
 *    ├── STOP ◄── broken                                                                                       │
 *    └─────────────────────────────────────────────────────────────────────────────────────────────────────────┘
 *
 * Before the placement is written everything can be taken back; after it nothing is, and a step that finds no room at a
 * port is asked again. */
#include "services/mover.h"
#include "base/log.h"
#include "services/directory_state.h"
#include "services/hold.h"
#include "services/inner.h"
#include "services/move.h"
#include "services/views.h"
#include <inttypes.h>
#include <limits.h>

enum {
    LOOK_MS = 500,
    AGAIN_MS = 10,
    PUT_OFF_MS = 1000,
    BROKEN_MS = 5000,
    AHEAD_MS = 60000,
    AHEAD_BYTES = 1 << 20, /* that are flushed before requests wait for the flush of what comes after them */
};

struct mover {
    struct directory *d;
    struct placement p;
    bool is_dirty; /* what is in the file means the same, but is not the same */
    bool is_old_gone, is_switching, is_asking, is_stopped, is_moving, is_closing;
    unsigned n_kept;       /* of the stores that went: folders that could not be removed; the next start tries again */
    struct inner_move now; /* what is asked of the reactors */
    struct timer timer;
    void (*later)(struct mover *m); /* what the timer does */
    void (*then)(struct mover *m, bool ok);
    unsigned n_asked;
    bool all_ok;
    uint64_t until_ms, not_before_ms, moved;
    const char *note; /* NULL: nothing waits */
};

static uint16_t home_of(const struct mover *m, unsigned store) { return (uint16_t)(store % m->d->world->reactors); }

/* --- asking, and waiting --- */

static bool is_over(const struct mover *m) { return m->is_stopped || m->d->is_stopping || m->d->has_failed; }

static void on_timer(struct timer *t)
{
    struct mover *m = container_of(t, struct mover, timer);

    if (!is_over(m))
        m->later(m);
}

static void wait(struct mover *m, uint64_t ms, void (*later)(struct mover *))
{
    m->later = later;
    timer_set(m->d->loop, &m->timer, ms);
}

static void on_answer(struct request *q)
{
    struct mover *m = q->asker;

    m->all_ok &= q->code == CODE_OK;
    m->now = *(const struct inner_move *)q->result;
    request_free(q);
    if (--m->n_asked > 0)
        return;
    m->is_asking = false;
    if (!is_over(m))
        m->then(m, m->all_ok);
}

/* Reactors from..to-1. */
static void ask_some(struct mover *m, unsigned from, unsigned to, enum move_step step,
                     void (*then)(struct mover *, bool))
{
    m->now.step = step;
    m->then = then;
    m->all_ok = m->is_asking = true;
    m->n_asked = to - from;
    for (unsigned i = from; i < to; i++) {
        struct request *q = request_new(on_answer, m);
        struct inner_move *a = arena_alloc(&q->arena, sizeof *a);

        *a = m->now;
        q->inner = INNER_MOVE;
        q->result = a;
        bus_request(m->d->port, i, q);
    }
}

static void ask(struct mover *m, unsigned to, enum move_step step, void (*then)(struct mover *, bool))
{
    ask_some(m, to, to + 1, step, then);
}

static void next(struct mover *m);

/* False: the disk is full, nothing was written. */
static bool write_placement(struct mover *m)
{
    enum err err = placement_write(m->d->env->fs, m->d->world->data->path, &m->p);

    m->is_dirty &= err != ERR_OK;
    if (err != ERR_OK && err != ERR_FULL && err != ERR_SCARCE)
        directory_failed(m->d, err);
    return err == ERR_OK;
}

static void put_off(struct mover *m, uint64_t ms, const char *note)
{
    m->note = note;
    m->not_before_ms = loop_now_ms(m->d->loop) + ms;
    wait(m, ms, next);
}

/* --- a move --- */

static void owe_cleanup(struct mover *m, uint16_t shard, uint16_t store)
{
    if (placement_owe_cleanup(&m->p, shard, store) != ERR_OK)
        directory_failed(m->d, ERR_LIMIT); /* all are done before the next move, so there are never so many */
}

static void stop_move(struct mover *m);

static void on_stopped(struct mover *m, bool ok)
{
    if (!ok) {
        wait(m, AGAIN_MS, stop_move);
        return;
    }
    log_info("move_stopped", "shard=%u", m->now.shard);
    m->is_moving = m->p.has_move = false;
    owe_cleanup(m, m->now.shard, m->now.to);
    m->is_dirty = true; /* the file notes the move, which means the same */
    put_off(m, BROKEN_MS, "a copy could not be finished; it is tried again");
}

static void stop_move(struct mover *m) { ask(m, m->now.source, MOVE_STOP, on_stopped); }

static void flush_ahead(struct mover *m);

static void end_switch(struct mover *m)
{
    m->is_switching = false;
    hold_switched(m->d);
}

static void on_resumed(struct mover *m, bool ok);
static void resume(struct mover *m) { ask(m, m->now.source, MOVE_RESUME, on_resumed); }

static void on_resumed(struct mover *m, bool ok)
{
    if (!ok) {
        wait(m, AGAIN_MS, resume);
        return;
    }
    end_switch(m);
    m->note = "a shard is too busy to change its store just now; it is tried again";
    wait(m, PUT_OFF_MS, flush_ahead);
}

static void on_opened(struct mover *m, bool ok);
static void open_target(struct mover *m) { ask(m, m->now.source, MOVE_OPEN, on_opened); }

static void on_opened(struct mover *m, bool ok)
{
    if (!ok) {
        wait(m, AGAIN_MS, open_target);
        return;
    }
    log_info("moved", "shard=%u from=%s to=%s waited_ms=%" PRIu64, m->now.shard, m->p.stores[m->now.from].name,
             m->p.stores[m->now.to].name, loop_now_ms(m->d->loop) + MOVER_SWITCH_MS - m->until_ms);
    m->moved++;
    m->is_moving = false;
    m->note = NULL;
    end_switch(m);
    next(m);
}

static void fence(struct mover *m);

static void on_fenced(struct mover *m, bool ok)
{
    if (ok)
        open_target(m);
    else
        wait(m, AGAIN_MS, fence);
}

static void fence(struct mover *m) { ask_some(m, 0, m->d->world->reactors, MOVE_FENCE, on_fenced); }

static void leave(struct mover *m);

static void on_left(struct mover *m, bool ok)
{
    if (ok)
        fence(m);
    else
        wait(m, AGAIN_MS, leave);
}

static void leave(struct mover *m) { ask(m, m->now.source, MOVE_LEAVE, on_left); }

static void arrive(struct mover *m);

static void on_arrived(struct mover *m, bool ok)
{
    if (!ok) {
        wait(m, AGAIN_MS, arrive);
        return;
    }
    atomic_store(&m->d->world->owner_of[m->now.shard], m->now.target);
    leave(m);
}

static void arrive(struct mover *m) { ask(m, m->now.target, MOVE_ARRIVE, on_arrived); }

static uint64_t source_log(const struct mover *m) { return stream_log_id(m->d->world->streams[m->now.source]); }

static void commit(struct mover *m)
{
    struct placement before = {0};

    placement_copy(&m->p, &before);
    m->p.has_move = false;
    m->p.store_of[m->now.shard] = m->now.to;
    owe_cleanup(m, m->now.shard, m->now.from);
    placement_raise_floor(&m->p, m->now.shard, source_log(m), m->now.end);
    if (write_placement(m)) {
        placement_deinit(&before);
        arrive(m);
        return;
    }
    placement_deinit(&m->p);
    m->p = before;
    if (!is_over(m))
        resume(m);
}

/* What the log has for the tables is in them, durably: else a later record of the other log might come before it. */
static void settle_tables(struct mover *m)
{
    struct directory *d = m->d;
    uint64_t end = stream_topic_end(d->world->streams[m->now.source], TOPIC_TABLES);

    d->looks_further = d->has_work = true;
    directory_work(d);
    if (!d->has_failed && tables_position(d->tables, source_log(m)).applied >= end)
        directory_checkpoint(d);
    if (is_over(m))
        return;
    if (tables_position(d->tables, source_log(m)).durable >= end)
        commit(m);
    else if (loop_now_ms(d->loop) >= m->until_ms || d->is_stalled)
        resume(m);
    else
        wait(m, AGAIN_MS, settle_tables);
}

static void on_flushed(struct mover *m, bool ok)
{
    if (ok)
        settle_tables(m);
    else
        resume(m);
}

static void on_paused(struct mover *m, bool ok)
{
    uint64_t now_ms = loop_now_ms(m->d->loop);

    if (ok) {
        m->now.within_ms = now_ms < m->until_ms ? m->until_ms - now_ms : 1;
        ask(m, m->now.target, MOVE_FLUSH, on_flushed);
        return;
    }
    end_switch(m);
    if (m->now.is_broken) {
        stop_move(m);
        return;
    }
    m->note = "a shard is too busy to change its store just now; it is tried again";
    wait(m, PUT_OFF_MS, flush_ahead);
}

static void try_switch(struct mover *m)
{
    if (m->d->hold) {
        m->note = "a backup or an export is under way";
        wait(m, LOOK_MS, try_switch);
        return;
    }
    m->is_switching = true;
    m->until_ms = loop_now_ms(m->d->loop) + MOVER_SWITCH_MS;
    m->now.within_ms = MOVER_PAUSE_MS;
    ask(m, m->now.source, MOVE_PAUSE, on_paused);
}

static void on_flushed_ahead(struct mover *m, bool ok)
{
    if (ok)
        try_switch(m);
    else
        wait(m, PUT_OFF_MS, flush_ahead);
}

static void flush_ahead(struct mover *m)
{
    m->now.within_ms = AHEAD_MS;
    ask(m, m->now.target, MOVE_FLUSH, on_flushed_ahead);
}

static void on_copied(struct mover *m, bool ok)
{
    if (!ok)
        stop_move(m);
    else if (m->now.bytes >= AHEAD_BYTES)
        flush_ahead(m);
    else
        try_switch(m);
}

static void start_move(struct mover *m, uint16_t shard, uint16_t to)
{
    uint16_t from = m->p.store_of[shard];

    m->p.has_move = true;
    m->p.move = (struct placement_move){shard, from, to};
    if (!write_placement(m)) {
        m->p.has_move = false;
        put_off(m, BROKEN_MS, "no space on the disk");
        return;
    }
    m->is_moving = true;
    m->now = (struct inner_move){
        .shard = shard, .from = from, .to = to, .source = home_of(m, from), .target = home_of(m, to)};
    ask(m, m->now.source, MOVE_COPY, on_copied);
}

/* --- stores --- */

static void became_active(struct mover *m, unsigned store)
{
    m->p.stores[store].state = STORE_ACTIVE;
    log_info("store_added", "name=%s", m->p.stores[store].name);
    m->is_dirty = true; /* as new it holds nothing, and before it gets something this is written */
    next(m);
}

static void on_store_opened(struct mover *m, bool ok);
static void tell_of_store(struct mover *m) { ask(m, home_of(m, m->now.to), MOVE_STORE_OPENED, on_store_opened); }

static void on_store_opened(struct mover *m, bool ok)
{
    if (ok)
        became_active(m, m->now.to);
    else
        wait(m, AGAIN_MS, tell_of_store);
}

static void open_store(struct mover *m, unsigned store)
{
    struct lsm *l = NULL;
    enum err err;

    if (store < m->d->world->data->n_stores) { /* the start opened it */
        became_active(m, store);
        return;
    }
    err = m->d->conf.open_store(m->d->conf.arg, store, m->p.stores[store].name, &l);
    if (err != ERR_OK) {
        log_warn("store_not_opened", "name=%s err=%s", m->p.stores[store].name, err_name(err));
        put_off(m, BROKEN_MS, "a new store could not be opened; it is tried again");
        return;
    }
    m->now = (struct inner_move){.to = (uint16_t)store, .store = l, .name = m->p.stores[store].name};
    tell_of_store(m);
}

static void on_store_gone(struct mover *m, bool ok);
static void take_store(struct mover *m) { ask(m, home_of(m, m->now.to), MOVE_STORE_GONE, on_store_gone); }

static void on_store_gone(struct mover *m, bool ok)
{
    if (!ok) {
        wait(m, AGAIN_MS, take_store);
        return;
    }
    m->d->conf.close_store(m->d->conf.arg, m->now.to);
    m->is_closing = false;
    next(m);
}

/* Its files go when it is closed. */
static void drop_store(struct mover *m, unsigned store)
{
    struct placement before = {0};

    placement_copy(&m->p, &before);
    memcpy(m->p.dropped[m->p.n_dropped++], m->p.stores[store].name, sizeof m->p.dropped[0]);
    placement_strike_store(&m->p, store);
    if (!write_placement(m)) {
        placement_deinit(&m->p);
        m->p = before;
        put_off(m, BROKEN_MS, "no space on the disk");
        return;
    }
    log_info("store_dropped", "name=%s", before.stores[store].name);
    placement_deinit(&before);
    m->now = (struct inner_move){.to = (uint16_t)store};
    m->is_closing = true;
    take_store(m);
}

/* --- the folders of stores that went --- */

enum { REMOVED_AT_ONCE = 4 /* files: a large one takes a while */ };

struct removing {
    struct fs *fs;
    const char *dir;
    unsigned most, seen;
};

static void remove_file(void *arg, const char *name)
{
    struct removing *w = arg;
    struct buf path = {0};

    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || w->seen++ >= w->most)
        return;
    buf_printf(&path, "%s/%s%c", w->dir, name, 0);
    (void)!fs_remove(w->fs, path.p);
    buf_deinit(&path);
}

/* Some of its files; AGAIN: there are others. */
static enum err remove_some(struct mover *m, const char *name, unsigned most)
{
    struct fs *fs = m->d->env->fs;
    struct buf dir = {0};
    struct removing w = {.fs = fs, .most = most};
    enum err err;

    buf_printf(&dir, "%s/stores/%s%c", m->d->world->data->path, name, 0);
    w.dir = dir.p;
    err = fs_list(fs, dir.p, remove_file, &w);
    if (err == ERR_OK)
        err = w.seen > most ? ERR_AGAIN : fs_remove(fs, dir.p);
    buf_deinit(&dir);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static void remove_dropped(struct mover *m)
{
    const char *name = m->p.dropped[m->n_kept];
    enum err err = remove_some(m, name, REMOVED_AT_ONCE);

    wait(m, AGAIN_MS, next);
    if (err == ERR_AGAIN)
        return;
    if (err != ERR_OK) {
        log_warn("store_not_removed", "name=%s err=%s effect=\"the next start tries again\"", name, err_name(err));
        m->n_kept++;
        return;
    }
    log_info("store_removed", "name=%s", name);
    m->p.n_dropped--;
    memmove(m->p.dropped[m->n_kept], m->p.dropped[m->n_kept + 1],
            (m->p.n_dropped - m->n_kept) * sizeof m->p.dropped[0]);
    m->is_dirty = true;
}

static void on_cleaned(struct mover *m, bool ok)
{
    if (!ok) {
        put_off(m, BROKEN_MS, "a clean-up could not be finished; it is tried again");
        return;
    }
    placement_strike_cleanup(&m->p, m->now.shard, m->now.to);
    m->is_dirty = true; /* until it is written it would only be done again */
    next(m);
}

/* --- what comes next --- */

/* In a store that is emptied there is nothing to clean: it goes as a whole. */
static const struct placement_cleanup *find_cleanup(const struct placement *p)
{
    for (unsigned i = 0; i < p->n_cleanups; i++) {
        if (p->stores[p->cleanups[i].store].state != STORE_DRAINING)
            return &p->cleanups[i];
    }
    return NULL;
}

static unsigned find_new(const struct placement *p)
{
    unsigned i = 0;

    while (i < p->n_stores && p->stores[i].state != STORE_NEW)
        i++;
    return i;
}

static unsigned find_empty(const struct placement *p)
{
    unsigned i = 0;

    while (i < p->n_stores && (p->stores[i].state != STORE_DRAINING || placement_shards_of(p, i) > 0))
        i++;
    return i;
}

/* How many shards are not where they should be; *shard and *to are the first of them. */
static unsigned find_moves(const struct mover *m, uint16_t *shard, uint16_t *to)
{
    uint16_t target[SHARD_COUNT];
    unsigned n = 0;

    if (placement_target(&m->d->world->data->keys.ring, &m->p, target) != ERR_OK)
        return 0;
    for (unsigned s = SHARD_COUNT; s-- > 0;) {
        if (target[s] == m->p.store_of[s])
            continue;
        *shard = (uint16_t)s;
        *to = target[s];
        n++;
    }
    return n;
}

static bool is_old_gone(struct mover *m)
{
    uint64_t ids[BUS_PORTS_MAX];
    const struct views_log *old;
    struct world *w = m->d->world;

    if (m->is_old_gone)
        return true;
    if (views_old(m->d->conf.views, &old) > 0 && !views_old_are_removed(m->d->conf.views))
        return false;
    for (unsigned i = 0; i < w->reactors; i++)
        ids[i] = stream_log_id(w->streams[i]);
    placement_keep_floors(&m->p, ids, w->reactors);
    return m->is_old_gone = true;
}

static bool must_wait(struct mover *m)
{
    if (m->d->hold)
        m->note = "a backup or an export is under way";
    else if (!is_old_gone(m))
        m->note = "the logs of the last start are still needed";
    else
        return loop_now_ms(m->d->loop) < m->not_before_ms;
    return true;
}

static void next(struct mover *m)
{
    const struct placement_cleanup *cleanup = find_cleanup(&m->p);
    uint16_t shard, to;

    if (m->is_asking || m->is_moving || m->is_closing || is_over(m))
        return;
    wait(m, LOOK_MS, next);
    if (must_wait(m))
        return;
    m->note = NULL;
    if (find_new(&m->p) < m->p.n_stores) {
        open_store(m, find_new(&m->p));
    } else if (cleanup) {
        m->now = (struct inner_move){.shard = cleanup->shard, .to = cleanup->store};
        ask(m, home_of(m, cleanup->store), MOVE_CLEAN, on_cleaned);
    } else if (find_moves(m, &shard, &to)) {
        start_move(m, shard, to);
    } else if (find_empty(&m->p) < m->p.n_stores) {
        drop_store(m, find_empty(&m->p));
    } else if (m->n_kept < m->p.n_dropped) {
        remove_dropped(m);
    } else if (m->is_dirty && !write_placement(m)) {
        m->note = "no space on the disk";
    }
}

/* --- asked by the operator --- */

static enum code refuse(const char **why, enum code code, const char *text)
{
    *why = text;
    return code;
}

static bool copy_name(struct str name, char out[STORE_NAME_MAX + 1])
{
    if (name.len > STORE_NAME_MAX)
        return false;
    memcpy(out, name.p, name.len);
    out[name.len] = '\0';
    return strlen(out) == name.len && store_name_is_fine(out);
}

static bool was_dropped(const struct placement *p, const char *name)
{
    for (unsigned i = 0; i < p->n_dropped; i++) {
        if (strcmp(p->dropped[i], name) == 0)
            return true;
    }
    return false;
}

static bool is_there(const struct mover *m, const char *name)
{
    struct buf path = {0};
    struct file *f = NULL;
    enum err err;

    buf_printf(&path, "%s/stores/%s/MANIFEST%c", m->d->world->data->path, name, 0);
    err = fs_open(m->d->env->fs, path.p, FS_READ, &f);
    file_close(f);
    buf_deinit(&path);
    return err != ERR_NOT_FOUND;
}

static enum code written(struct mover *m, const struct placement_store *was, unsigned store, const char **why)
{
    if (write_placement(m)) {
        m->not_before_ms = 0;
        next(m);
        return CODE_OK;
    }
    m->p.stores[store] = *was;
    return refuse(why, CODE_UNAVAILABLE, "no space on the disk; nothing was changed");
}

static enum code may_change(const struct mover *m, const char **why)
{
    if (m->d->hold)
        return refuse(why, CODE_CONFLICT, "a backup or an export is under way; try again when it is done");
    return is_over(m) ? refuse(why, CODE_UNAVAILABLE, "the server is ending") : CODE_OK;
}

enum code mover_add(struct mover *m, struct str text, const char **why)
{
    struct placement *p = &m->p;
    struct placement_store s = {.state = STORE_NEW}, none = {0};
    enum code code = may_change(m, why);

    if (code != CODE_OK)
        return code;
    if (!copy_name(text, s.name))
        return refuse(why, CODE_BAD_REQUEST, "a store's name is 1 to 32 of a-z, 0-9, - and _");
    if (placement_find(p, s.name) < p->n_stores)
        return refuse(why, CODE_CONFLICT, "there is a store of this name");
    if (was_dropped(p, s.name) || is_there(m, s.name))
        return refuse(why, CODE_CONFLICT, "the folder of a store of this name is still there");
    if (p->n_stores == STORES_MAX)
        return refuse(why, CODE_CONFLICT, "there are too many stores; those that went count until the next start");
    p->stores[p->n_stores++] = s;
    code = written(m, &none, p->n_stores - 1, why);
    p->n_stores -= code != CODE_OK;
    return code;
}

static unsigned count_active(const struct placement *p)
{
    unsigned n = 0;

    for (unsigned i = 0; i < p->n_stores; i++)
        n += p->stores[i].state == STORE_ACTIVE;
    return n;
}

enum code mover_drain(struct mover *m, struct str text, const char **why)
{
    struct placement *p = &m->p;
    struct placement_store before;
    char name[STORE_NAME_MAX + 1];
    enum code code = may_change(m, why);
    unsigned i;

    if (code != CODE_OK)
        return code;
    if (!copy_name(text, name) || (i = placement_find(p, name)) == p->n_stores)
        return refuse(why, CODE_NOT_FOUND, "there is no store of this name");
    if (p->stores[i].state != STORE_ACTIVE)
        return refuse(why, CODE_CONFLICT, p->stores[i].state == STORE_NEW ? "it is being made" : "it is being emptied");
    if (count_active(p) == 1)
        return refuse(why, CODE_CONFLICT, "it is the last that takes shards; add another first");
    if (p->n_dropped == STORES_MAX)
        return refuse(why, CODE_CONFLICT, "too many stores went whose folders are still there");
    before = p->stores[i];
    p->stores[i].state = STORE_DRAINING;
    return written(m, &before, i, why);
}

void mover_status(const struct mover *m, struct buf *out)
{
    const struct placement *p = &m->p;
    uint16_t shard, to;
    unsigned left = find_moves(m, &shard, &to) + p->n_cleanups + m->is_moving + p->n_dropped - m->n_kept;

    for (unsigned i = 0; i < p->n_stores; i++) {
        const struct placement_store *s = &p->stores[i];

        if (s->state == STORE_NONE)
            continue;
        left += s->state != STORE_ACTIVE;
        buf_printf(out, "store %s %s %u\n", s->name, store_state_text(s->state), placement_shards_of(p, i));
    }
    buf_printf(out, "left %u\nmoved %" PRIu64 "\n", left + m->is_dirty, m->moved);
    if (m->is_moving)
        buf_printf(out, "moving %u %s %s\n", m->now.shard, p->stores[m->now.from].name, p->stores[m->now.to].name);
    if (m->note)
        buf_printf(out, "note %s\n", m->note);
}

bool mover_is_switching(const struct mover *m) { return m && m->is_switching; }

/* --- its life --- */

/* What went in an earlier start: nobody has it open, and nobody waits yet. An empty folder may stay. */
static void remove_all_dropped(struct mover *m)
{
    for (unsigned i = 0; i < m->p.n_dropped; i++)
        (void)!remove_some(m, m->p.dropped[i], UINT_MAX);
    m->is_dirty |= m->p.n_dropped > 0;
    m->p.n_dropped = 0;
}

void mover_create(struct directory *d, struct mover **out)
{
    struct mover *m = mem_new(struct mover);

    m->d = d;
    m->timer.fn = on_timer;
    placement_copy(&d->world->data->placement, &m->p);
    if (m->p.has_move) { /* it was cut short: what was copied is left over */
        m->p.has_move = false;
        owe_cleanup(m, m->p.move.shard, m->p.move.to);
        m->is_dirty = true;
    }
    remove_all_dropped(m);
    *out = m;
}

void mover_start(struct mover *m) { wait(m, LOOK_MS, next); }

void mover_stop(struct mover *m)
{
    m->is_stopped = true;
    timer_stop(&m->timer);
}

void mover_destroy(struct mover *m)
{
    if (!m)
        return;
    timer_stop(&m->timer);
    placement_deinit(&m->p);
    mem_free(m);
}
