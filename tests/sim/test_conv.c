/* The path of a message on a simulated disk, end to end: admitted, appended to the log, committed, applied to its
 * store; the log trimmed behind what the stores have durably; killed, cut, recovered, replayed, and on. Two stores, a
 * few conversations; no threads. Beside it runs a model: all records in their order, and what the conversations were
 * after each.
 *
 * After each start: every record that was told to be durable is there, and each that an earlier start found; behind
 * them at most a prefix of the rest. A conversation's entries are its first_seq to its head, each once, as they were
 * sent, or as stubs if a record that is left erases them, purges or not; those below are no more. Its authority is what
 * its records make; each cid leads to its seq, and of a forgotten entry to its time; the index of what expires names
 * those that have their content and expire, and of others at most such as are no more. */
#include "base/enc.h"
#include "storage/convlog_expiry.h"
#include "tests/lib/simwalk.h"
#include "tests/sim/simcopy.h"
#include "tests/sim/simlog.h"
#include "tests/unit/storage/conv_model.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { CONVS = 5, STORES = 2, LOGS_MAX = 24 };

struct logged {
    uint64_t log, pos, next;
    unsigned conv;
    uint8_t kind;
    struct str bytes;
    struct conv_model after;
};

struct conv {
    struct conv_model ahead; /* as admitted */
    struct authority now;    /* as applied */
    struct arena arena;
};

struct world {
    struct simlog log;
    struct pool *pool; /* NULL: none */
    struct block_cache *cache;
    struct lsm *stores[STORES];
    bool store_failed;
    size_t memtable_bytes;

    struct conv convs[CONVS];
    struct logged *v; /* all records */
    size_t n, cap;
    size_t committed; /* so many of them were told to be durable, or found by a start */
    size_t applied;   /* so many are in the stores, in this life */
    bool is_in_now;   /* the next one is in its conversation's `now` already: its store refused it */
    uint64_t live;
    bool is_leaving[LOGS_MAX], is_gone[LOGS_MAX];

    struct simcopy copy;
    uint64_t copied[STORES][LOGS_MAX]; /* what the copy must have durably */
};

static bool percent(struct world *w, unsigned p) { return dice_percent(&w->log, p); }
static uint64_t below(struct world *w, uint64_t n) { return dice_below(&w->log, n); }
static struct env *env_of(struct world *w) { return &w->log.env.env; }
static uint16_t shard_of(unsigned conv) { return (uint16_t)(conv * 7 + 3); }
static struct lsm *store_of(struct world *w, unsigned conv) { return w->stores[conv % STORES]; }

static bool goes_on(const struct world *w)
{
    return !w->log.has_failed && !w->store_failed && !simdisk_is_down(w->log.disk);
}

/* --- admitting and committing --- */

static void keep(struct world *w, unsigned conv, const struct record *r, struct str bytes, uint64_t pos)
{
    if (w->n == w->cap) {
        w->cap = w->cap ? 2 * w->cap : 256;
        w->v = mem_realloc(w->v, w->cap * sizeof w->v[0]);
    }
    w->v[w->n++] = (struct logged){
        .log = w->live,
        .pos = pos,
        .next = stream_end(w->log.stream),
        .conv = conv,
        .kind = (uint8_t)r->kind,
        .bytes = str_of(mem_dup(bytes), bytes.len),
        .after = w->convs[conv].ahead,
    };
}

/* Of a few messages that are in the store; those that are stubs already become the same again. */
static bool erasing(struct world *w, unsigned conv, struct arena *a, struct record *out)
{
    uint64_t from = 1 + below(w, w->convs[conv].now.head + 1), to = from + below(w, 4);
    struct entry *stubs = arena_alloc(a, 4 * sizeof *stubs);
    size_t n = 0;

    for (size_t i = 0; i < w->applied; i++) {
        struct record r;
        if (w->v[i].conv != conv || w->v[i].kind != RECORD_ENTRY)
            continue;
        assert_ok(record_decode(w->v[i].kind, w->v[i].bytes, a, &r));
        if (r.entry.seq < from || r.entry.seq > to || r.entry.kind != ENTRY_MESSAGE)
            continue;
        stubs[n] = r.entry;
        entry_erase(&stubs[n++], ENTRY_DELETED);
    }
    *out = (struct record){.kind = RECORD_ERASE};
    out->erase = (struct erase_record){w->convs[conv].ahead.conv, env_now_ms(env_of(w)), stubs, n};
    return n > 0;
}

/* A few of the oldest entries that are in the store. More than one such record may be under way. */
static bool forgetting(struct world *w, unsigned conv, struct arena *a, struct record *out)
{
    const struct authority *now = &w->convs[conv].now;
    struct forgotten *v = arena_alloc(a, 4 * sizeof *v);
    struct forget_record f = {.conv = w->convs[conv].ahead.conv, .ts = env_now_ms(env_of(w)), .v = v};
    struct record r;

    if (now->head <= now->first_seq)
        return false;
    f.from = now->first_seq;
    f.n = 1 + below(w, now->head - now->first_seq < 4 ? now->head - now->first_seq : 4);
    f.first_seq = f.from + f.n;
    for (size_t i = 0; i < w->applied; i++) {
        if (w->v[i].conv != conv || w->v[i].kind != RECORD_ENTRY)
            continue;
        assert_ok(record_decode(w->v[i].kind, w->v[i].bytes, a, &r));
        if (r.entry.seq < f.from || r.entry.seq >= f.first_seq)
            continue;
        memcpy(v[r.entry.seq - f.from].cid_hash, r.entry.cid_hash, sizeof v->cid_hash);
        v[r.entry.seq - f.from].fingerprint = r.entry.fingerprint;
        v[r.entry.seq - f.from].ts = r.entry.ts;
        f.ordinal = r.entry.ordinal;
    }
    *out = (struct record){.kind = RECORD_FORGET, .forget = f};
    return true;
}

static struct record some_record(struct world *w, unsigned conv, struct arena *scratch)
{
    struct conv *c = &w->convs[conv];
    struct record r;

    if (percent(w, 8) && erasing(w, conv, scratch, &r))
        return r;
    if (percent(w, 6) && forgetting(w, conv, scratch, &r))
        return r;
    if (percent(w, 2) && c->now.head)
        return model_retention(&c->ahead, below(w, 2) * 86400000);
    return model_next(&c->ahead);
}

static bool append(struct world *w)
{
    unsigned conv = (unsigned)below(w, CONVS);
    struct arena scratch = {0};
    struct conv *c = &w->convs[conv];
    struct conv_model before = c->ahead;
    struct buf bytes = {0};
    uint64_t pos;

    if (lsm_is_busy(store_of(w, conv)))
        return false;
    struct record r = some_record(w, conv, &scratch);
    record_encode(&r, &bytes);
    arena_deinit(&scratch);
    enum err err = stream_append(w->log.stream, (uint8_t)r.kind, shard_of(conv), 0, buf_get(&bytes), &pos);
    if (err == ERR_OK) {
        keep(w, conv, &r, buf_get(&bytes), pos);
    } else {
        assert_true(err == ERR_FULL || err == ERR_LIMIT || err == ERR_CLOSED);
        c->ahead = before; /* refused: nothing was done */
    }
    buf_deinit(&bytes);
    return err == ERR_OK;
}

static void told(struct simlog *l, uint64_t end)
{
    struct world *w = container_of(l, struct world, log);
    while (w->committed < w->n && w->v[w->committed].next <= end)
        w->committed++;
}

/* What is committed goes to the stores, in order, as far as they take it. */
static bool apply_next(struct world *w)
{
    const struct logged *at = &w->v[w->applied];
    struct conv *c = &w->convs[at->conv];
    struct arena scratch = {0};
    struct record r;

    assert_ok(record_decode(at->kind, at->bytes, &scratch, &r));
    if (!w->is_in_now)
        authority_apply(&c->now, &r, &c->arena);
    enum err err = convlog_put(store_of(w, at->conv), shard_of(at->conv), &r, &c->now);
    arena_deinit(&scratch);
    w->is_in_now = err != ERR_OK;
    w->applied += err == ERR_OK;
    assert_true(err == ERR_OK || err == ERR_LIMIT || !goes_on(w));
    return err == ERR_OK;
}

static void apply(struct world *w)
{
    size_t before = w->applied;

    while (w->applied < w->committed && goes_on(w) && apply_next(w))
        ;
    for (unsigned i = 0; i < STORES && w->applied > before && goes_on(w); i++)
        if (!w->is_in_now || w->v[w->applied].conv % STORES != i) /* half a record is no batch */
            lsm_applied(w->stores[i], w->live, w->v[w->applied - 1].next);
}

/* What every store has durably need not be in the log. */
static void trim(struct world *w)
{
    uint64_t pos = UINT64_MAX;

    for (unsigned i = 0; i < STORES; i++)
        pos = lsm_durable(w->stores[i], w->live) < pos ? lsm_durable(w->stores[i], w->live) : pos;
    stream_trim(w->log.stream, pos);
}

static bool step_stores(struct world *w)
{
    bool moved = w->pool && pool_step(w->pool);
    return (w->pool && mailbox_drain(w->log.home) > 0) || moved;
}

/* --- one process --- */

static void store_failed(void *arg, enum err err)
{
    assert_int_not_equal(err, ERR_OK);
    ((struct world *)arg)->store_failed = true;
}

static enum err open_store(struct world *w, unsigned i)
{
    char dir[32], *why = NULL;
    struct lsm_conf c = {
        .env = env_of(w),
        .dir = dir,
        .pool = w->pool,
        .home = w->pool ? w->log.home : NULL,
        .cache = w->cache,
        .memtable_bytes = w->memtable_bytes,
        .filter_prefix = CONVLOG_FILTER_PREFIX,
        .on_failure = store_failed,
        .arg = w,
    };

    snprintf(dir, sizeof dir, "/data/stores/%u", i);
    enum err err = lsm_open(&c, &w->stores[i], &why);
    if (err == ERR_CORRUPT)
        fail_msg("%s", why);
    mem_free(why);
    return err;
}

static void close_all(struct world *w)
{
    while (w->pool && pool_step(w->pool)) /* closing a store waits for what a worker has */
        ;
    for (unsigned i = 0; i < STORES; i++) {
        lsm_close(w->stores[i]);
        w->stores[i] = NULL;
    }
    simlog_close(&w->log);
}

static void die_and_boot(struct world *w, enum death how)
{
    simdisk_die(w->log.disk, how);
    close_all(w);
    simdisk_boot(w->log.disk);
}

/* --- recovery and replay, as a server does them --- */

struct replay {
    struct world *w;
    struct convlog_replay *convs;
};

/* The record must be one that was appended there. */
static const struct logged *find(const struct world *w, uint64_t log, uint64_t pos)
{
    size_t a = 0, b = w->n;
    while (a < b) {
        size_t mid = (a + b) / 2;
        bool is_before = w->v[mid].log < log || (w->v[mid].log == log && w->v[mid].pos < pos);
        a = is_before ? mid + 1 : a;
        b = is_before ? b : mid;
    }
    return a < w->n && w->v[a].log == log && w->v[a].pos == pos ? &w->v[a] : NULL;
}

/* What waited is put, and only then said to be applied. */
static enum err settle_stores(struct replay *p, uint64_t log, uint64_t end)
{
    struct world *w = p->w;
    enum err err = ERR_OK;

    for (unsigned i = 0; i < STORES && goes_on(w); i++) {
        for (unsigned tries = 0; tries < 50; tries++) {
            err = convlog_replay_settle(p->convs, w->stores[i]);
            if (err != ERR_LIMIT || !goes_on(w))
                break;
            if (!step_stores(w))
                w->log.env.now_us += 1000000;
        }
        TRY(err);
        lsm_applied(w->stores[i], log, end);
    }
out:
    return err;
}

static enum err replay_record(void *arg, const struct log_record *r)
{
    struct replay *p = arg;
    struct world *w = p->w;
    const struct logged *sent = find(w, r->log_id, r->pos);
    enum err err = ERR_OK;

    assert_non_null(sent);
    assert_true(sent->kind == r->kind && str_eq(sent->bytes, r->body) && shard_of(sent->conv) == r->shard);
    struct lsm *store = store_of(w, sent->conv);
    if (r->pos < lsm_durable(store, r->log_id))
        return ERR_OK;
    for (unsigned tries = 0; tries < 50; tries++) {
        if (!goes_on(w))
            return ERR_IO;
        err = convlog_replay_record(p->convs, store, r->shard, r->kind, r->body);
        if (err != ERR_LIMIT)
            break;
        if (!step_stores(w))
            w->log.env.now_us += 1000000;
    }
    if (err == ERR_OK && percent(w, 10))
        err = settle_stores(p, r->log_id, r->next);
    return err;
}

/* Records of a log behind `end` are lost, if they may be. */
static void drop_behind(struct world *w, uint64_t log, uint64_t end)
{
    size_t kept = 0, committed = w->committed;

    for (size_t i = 0; i < w->n; i++) {
        bool is_lost = w->v[i].log == log && w->v[i].next > end;
        if (is_lost) {
            assert_true(i >= committed);
            mem_free((char *)(uintptr_t)w->v[i].bytes.p);
        } else {
            w->v[kept++] = w->v[i];
        }
    }
    w->n = kept;
}

static uint64_t log_end(const struct world *w, uint64_t log)
{
    uint64_t end = 0;
    for (size_t i = 0; i < w->n; i++)
        end = w->v[i].log == log ? w->v[i].next : end;
    return end;
}

static enum err remove_log(struct world *w, uint64_t log)
{
    enum err err;

    w->is_leaving[log] = true;
    TRY(seglog_remove(env_of(w), LOG_DIR, log));
    w->is_gone[log] = true;
out:
    return err;
}

static enum err recover_log(struct replay *p, uint64_t log)
{
    struct world *w = p->w;
    struct seglog_report report;
    uint64_t low = UINT64_MAX, high = 0;
    char *why = NULL;
    enum err err;

    assert_true(log <= w->live && !w->is_gone[log]);
    for (unsigned i = 0; i < STORES; i++) {
        uint64_t pos = lsm_durable(w->stores[i], log);
        low = pos < low ? pos : low;
        high = pos > high ? pos : high;
    }
    err = seglog_recover(env_of(w), LOG_DIR, log, high, &report, &why);
    if (err == ERR_CORRUPT)
        fail_msg("%s", why);
    mem_free(why);
    TRY(err);
    if (!w->is_leaving[log])
        drop_behind(w, log, report.end);
    if (report.end == 0)
        return remove_log(w, log);
    TRY(seglog_replay(env_of(w), LOG_DIR, log, low, 0, replay_record, p));
    TRY(settle_stores(p, log, report.end));
out:
    return err;
}

static enum err recover_logs(struct world *w)
{
    struct replay p = {.w = w};
    bool found[LOGS_MAX] = {false};
    uint64_t *ids = NULL;
    size_t n = 0;
    enum err err;

    convlog_replay_create(&p.convs);
    if (percent(w, 50))
        convlog_replay_defer(p.convs);
    TRY(seglog_list(env_of(w), LOG_DIR, &ids, &n));
    for (size_t i = 0; i < n; i++) {
        TRY(recover_log(&p, ids[i]));
        found[ids[i]] = true;
    }
    for (uint64_t log = 1; log <= w->live; log++)
        if (!found[log] && !w->is_leaving[log])
            drop_behind(w, log, 0);
out:
    convlog_replay_destroy(p.convs);
    mem_free(ids);
    return err;
}

/* --- comparing --- */

static void assert_is_entry(const struct entry *got, const struct logged *sent, bool is_erased)
{
    struct arena scratch = {0};
    struct record r;

    assert_ok(record_decode(sent->kind, sent->bytes, &scratch, &r));
    assert_int_equal(r.kind, RECORD_ENTRY);
    struct entry *e = &r.entry;
    if (is_erased)
        entry_erase(e, ENTRY_DELETED);
    assert_true(got->gone == e->gone && got->n_mentions == e->n_mentions && got->seq == e->seq &&
                got->expires_at == e->expires_at && got->ordinal == e->ordinal && got->kind == e->kind &&
                got->from == e->from && got->ts == e->ts && str_eq(got->cid, e->cid) &&
                str_eq(got->content, e->content));
    arena_deinit(&scratch);
}

/* A store as it is looked at: one that lives has all records, a copy those that were durable when it was made. */
struct view {
    struct world *w;
    struct lsm *store;
    bool is_copy;
};

static bool is_in(const struct view *v, const struct logged *r)
{
    return !v->is_copy || r->next <= lsm_durable(v->store, r->log);
}

/* Which of its seqs records that are left erase. */
static bool *erased_of(const struct view *v, unsigned conv, struct arena *arena)
{
    const struct world *w = v->w;
    size_t n = w->convs[conv].now.head + 1;
    bool *is = arena_alloc(arena, n);
    struct record r;

    memset(is, 0, n);
    for (size_t i = 0; i < w->n; i++) {
        if (w->v[i].conv != conv || w->v[i].kind != RECORD_ERASE || !is_in(v, &w->v[i]))
            continue;
        assert_ok(record_decode(w->v[i].kind, w->v[i].bytes, arena, &r));
        for (size_t k = 0; k < r.erase.n; k++)
            is[r.erase.stubs[k].seq] = true;
    }
    return is;
}

/* A conversation has its shard for itself here. What is before its first entry may be named, and does no harm. */
static enum err check_index(const struct view *v, unsigned conv, const struct entry_list *list, struct arena *arena)
{
    uint64_t first = list->n ? list->v[0].seq : 1;
    size_t max = list->n + first, n = 0, wanted = 0, met = 0;
    struct expiring *found = arena_alloc(arena, max * sizeof *found);
    int64_t next = 0;
    enum err err;

    TRY(convlog_expiring(v->store, shard_of(conv), 0, INT64_MAX - 1, max, NULL, found, &n, &next));
    assert_true(next == EXPIRY_NEVER);
    for (size_t i = 0; i < list->n; i++)
        wanted += list->v[i].expires_at && !list->v[i].gone;
    for (size_t i = 0; i < n; i++) {
        const struct entry *e = &list->v[found[i].seq - first];
        if (found[i].seq < first)
            continue;
        assert_true(found[i].seq < first + list->n);
        assert_true(e->expires_at == found[i].at && !e->gone && conv_eq(&e->conv, &found[i].conv));
        met++;
    }
    assert_int_equal(met, wanted);
out:
    return err;
}

/* Nothing is left of it but its cid and its time. */
static enum err check_forgotten(const struct view *v, unsigned conv, const struct logged *sent, struct arena *arena)
{
    struct record r;
    struct entry none;
    uint64_t found, fingerprint;
    int64_t ts;
    enum err err;

    assert_ok(record_decode(sent->kind, sent->bytes, arena, &r));
    err = convlog_entry(v->store, shard_of(conv), &r.entry.conv, r.entry.seq, NULL, arena, &none);
    assert_int_not_equal(err, ERR_OK);
    TRY(err == ERR_NOT_FOUND ? ERR_OK : err);
    TRY(convlog_find_cid(v->store, shard_of(conv), r.entry.cid_hash, NULL, &found, &fingerprint));
    TRY(convlog_forgotten_ts(v->store, shard_of(conv), r.entry.cid_hash, NULL, &ts));
    assert_true(found == r.entry.seq && fingerprint == r.entry.fingerprint && ts == r.entry.ts);
out:
    return err;
}

/* The entries of a conversation that were sent, and not forgotten, are those that are there. */
static enum err check_entries(const struct view *v, unsigned conv, const struct authority *now, struct arena *arena)
{
    struct world *w = v->w;
    const struct conv_id *id = &w->convs[conv].ahead.conv;
    struct entry_list list = {0};
    uint64_t seq = 0, below_first = now->first_seq - 1, found, fingerprint;
    const bool *erased = erased_of(v, conv, arena);
    enum err err;

    TRY(convlog_read(v->store, shard_of(conv), id, now->first_seq, now->head, SIZE_MAX, SIZE_MAX, false, NULL, arena,
                     &list));
    for (size_t i = 0; i < w->n; i++) {
        if (w->v[i].conv != conv || w->v[i].kind != RECORD_ENTRY || !is_in(v, &w->v[i]))
            continue;
        if (++seq <= below_first) {
            TRY(check_forgotten(v, conv, &w->v[i], arena));
            continue;
        }
        const struct entry *e = &list.v[seq - now->first_seq];
        assert_true(seq - below_first <= list.n);
        assert_int_equal(e->seq, seq);
        assert_is_entry(e, &w->v[i], erased[seq]);
        TRY(convlog_find_cid(v->store, shard_of(conv), e->cid_hash, NULL, &found, &fingerprint));
        assert_int_equal(found, seq);
    }
    assert_int_equal(seq - below_first, list.n);
    TRY(check_index(v, conv, &list, arena));
out:
    return err;
}

/* It is what `now` says. */
static enum err check_conv(const struct view *v, unsigned conv, const struct authority *now)
{
    struct authority got = {0};
    struct arena arena = {0};
    enum err err = convlog_load(v->store, shard_of(conv), &v->w->convs[conv].ahead.conv, NULL, &arena, &got);

    if (!now->kind) {
        assert_true(err != ERR_OK);
        err = err == ERR_NOT_FOUND ? ERR_OK : err;
        goto out;
    }
    TRY(err);
    assert_true(model_eq(&got, now));
    if (now->head)
        TRY(check_entries(v, conv, now, &arena));
out:
    arena_deinit(&arena);
    assert_true(err == ERR_OK || err == ERR_IO); /* as ordered: nothing is missing or damaged */
    return err;
}

/* What the model's conversations are, from the records that are left. */
static void rebuild(struct world *w)
{
    struct arena scratch = {0};
    struct record r;

    for (unsigned i = 0; i < CONVS; i++) {
        struct conv *c = &w->convs[i];
        arena_deinit(&c->arena);
        c->now = (struct authority){.id = c->ahead.conv};
        model_init(&c->ahead, w->log.segment_bytes + i, i % 2 ? CONV_GROUP : CONV_PAIR);
    }
    for (size_t i = 0; i < w->n; i++) {
        struct conv *c = &w->convs[w->v[i].conv];
        assert_ok(record_decode(w->v[i].kind, w->v[i].bytes, &scratch, &r));
        authority_apply(&c->now, &r, &c->arena);
        c->ahead = w->v[i].after;
    }
    arena_deinit(&scratch);
    w->committed = w->applied = w->n; /* from now on they are served */
    w->is_in_now = false;
}

static enum err start(struct world *w)
{
    enum err err;

    w->log.has_failed = w->store_failed = false;
    TRY(fs_mkdirs(env_of(w)->fs, DATA_DIR));
    TRY(fs_mkdirs(env_of(w)->fs, LOG_DIR));
    TRY(fs_mkdirs(env_of(w)->fs, "/data/stores"));
    for (unsigned i = 0; i < STORES; i++)
        TRY(open_store(w, i));
    TRY(recover_logs(w));
    TRY(goes_on(w) ? ERR_OK : ERR_IO);
    rebuild(w);
    for (unsigned i = 0; i < CONVS; i++)
        TRY(check_conv(&(struct view){w, store_of(w, i), false}, i, &w->convs[i].now));
out:
    return err;
}

/* --- lives and deaths --- */

static enum death some_death(struct world *w) { return percent(w, 50) ? DEATH_KILL : DEATH_CUT; }

enum { TAKES_SPACE = FAULT_WRITE | FAULT_SYNC | FAULT_FILL | FAULT_TRUNCATE | FAULT_RENAME | FAULT_MKDIR };

static void order_trouble(struct world *w, uint64_t calls)
{
    uint64_t n = 1 + below(w, calls), dice = below(w, 100);
    struct faults *f = simdisk_faults(w->log.disk);

    if (dice < 50)
        simdisk_die_at(w->log.disk, FAULT_ALL, n, some_death(w));
    else if (dice < 60)
        faults_fail(f, FAULT_WRITE | FAULT_SYNC | FAULT_SYNC_DIR | FAULT_RENAME, 1 + n / 2, 1, ERR_IO);
    else if (dice < 65)
        faults_fail(f, FAULT_ALL, n, 1, ERR_IO);
    else if (dice < 72)
        faults_fail(f, TAKES_SPACE, 1 + n / 4, 1 + below(w, 5), ERR_FULL);
}

static void come_up(struct world *w)
{
    for (unsigned tries = 0;; tries++) {
        if (tries < 4 && percent(w, 50))
            order_trouble(w, 150);
        if (tries == 4)
            simdisk_set_capacity(w->log.disk, UINT64_MAX); /* somebody made space */
        enum err err = start(w);
        if (err == ERR_OK && goes_on(w))
            break;
        assert_true(tries < 4);
        die_and_boot(w, some_death(w));
    }
    simdisk_die_at(w->log.disk, 0, 0, DEATH_KILL);
    faults_heal(simdisk_faults(w->log.disk));
}

/* Old logs go when all stores have them; only then are they forgotten. */
static void remove_old(struct world *w)
{
    for (uint64_t log = 1; log < w->live; log++) {
        bool has = log_end(w, log) > 0 && !w->is_gone[log];
        for (unsigned i = 0; i < STORES; i++)
            has = has && lsm_durable(w->stores[i], log) >= log_end(w, log);
        if (!has || remove_log(w, log) != ERR_OK)
            continue;
        for (unsigned i = 0; i < STORES; i++)
            lsm_forget_log(w->stores[i], log);
    }
}

static void move(struct world *w)
{
    uint64_t dice = below(w, 100);

    if (dice < 45) {
        for (uint64_t n = 1 + below(w, 5); n > 0 && append(w); n--)
            ;
    } else if (dice < 58) {
        stream_flush(w->log.stream);
    } else if (dice < 72) {
        stream_step(w->log.stream);
    } else if (dice < 77) {
        segpool_step(w->log.pool);
    } else if (dice < 86) {
        mailbox_drain(w->log.home);
        apply(w);
    } else if (dice < 90) {
        step_stores(w);
    } else if (dice < 94) {
        trim(w);
    } else if (dice < 97) {
        if (percent(w, 30))
            lsm_purge(w->stores[below(w, STORES)], INT64_MAX);
        else
            (void)!lsm_flush(w->stores[below(w, STORES)]); /* an error that counts comes as a failure */
    } else if (dice < 98) {
        w->log.env.now_us += 500000;
    } else if (dice < 99) {
        remove_old(w);
    } else if (w->applied == w->committed) {
        struct authority got = {0};
        struct arena arena = {0};
        unsigned conv = (unsigned)below(w, CONVS);
        const struct conv *c = &w->convs[conv];
        if (convlog_load(store_of(w, conv), shard_of(conv), &c->ahead.conv, NULL, &arena, &got) == ERR_OK)
            assert_true(model_eq(&got, &c->now));
        arena_deinit(&arena);
    }
}

static void live(struct world *w)
{
    uint64_t moves = 10 + below(w, 400);

    order_trouble(w, 300);
    w->log.told = told;
    if (simlog_open(&w->log, ++w->live, percent(w, 30) ? 4000 : 1 << 20) == ERR_OK)
        while (moves-- > 0 && goes_on(w))
            move(w);
    if (goes_on(w) && percent(w, 30))
        close_all(w);
    die_and_boot(w, some_death(w));
}

static void world_start(struct world *w, uint64_t seed)
{
    *w = (struct world){0};
    simlog_start(&w->log, seed);
    w->memtable_bytes = 3000 + below(w, 12000);
    block_cache_create(percent(w, 50) ? 1 << 20 : 0, &w->cache);
    rebuild(w);
    for (unsigned i = 0; i < CONVS; i++)
        w->convs[i].now.id = w->convs[i].ahead.conv;
}

/* Flushes, merges and manifests are under way while writing goes on, not done when they are due. */
static void give_pool(struct world *w) { assert_ok(pool_create("sim", 0, 1 + below(w, 8), &w->pool)); }

static void world_end(struct world *w)
{
    close_all(w);
    pool_destroy(w->pool);
    block_cache_destroy(w->cache);
    for (size_t i = 0; i < w->n; i++)
        mem_free((char *)(uintptr_t)w->v[i].bytes.p);
    mem_free(w->v);
    for (unsigned i = 0; i < CONVS; i++)
        arena_deinit(&w->convs[i].arena);
    simlog_end(&w->log);
}

static uint64_t play(uint64_t seed)
{
    struct world w;

    world_start(&w, seed);
    if (percent(&w, 50))
        give_pool(&w);
    if (percent(&w, 15))
        simdisk_set_capacity(w.log.disk, w.log.segment_bytes * (2 + below(&w, 10)) + below(&w, 30000));
    for (uint64_t lives = 1 + below(&w, 5); lives > 0; lives--) {
        come_up(&w);
        live(&w);
    }
    come_up(&w);
    die_and_boot(&w, DEATH_CUT); /* what was served before is still there */
    simdisk_set_capacity(w.log.disk, UINT64_MAX);
    assert_ok(start(&w));
    uint64_t sum = simdisk_sum(w.log.disk) + w.n;
    world_end(&w);
    return sum;
}

static void play_seed(uint64_t seed) { (void)play(seed); }

PROMISE(a_seed_replays_exactly)
{
    for (uint64_t seed = 1; seed <= 20; seed++)
        assert_int_equal(play(seed), play(seed));
}

/* --- walks: what happens once at each call in turn --- */

enum { SCRIPT_RECORDS = 60, DISKS = 2, COPY_AT = 37, TRIES = 50 };

/* When a life's stores are copied. */
enum copying { NO_COPY, COPY_MEANWHILE, COPY_AT_END };

static void start_walk(struct world *w, uint64_t seed)
{
    world_start(w, seed);
    w->memtable_bytes = 2000;
    if (seed % 2)
        give_pool(w);
    assert_ok(start(w));
}

static void move_on(struct world *w)
{
    stream_flush(w->log.stream);
    stream_step(w->log.stream);
    segpool_step(w->log.pool);
    mailbox_drain(w->log.home);
    apply(w);
    if (!step_stores(w))
        w->log.env.now_us += 1000000;
}

static bool push(struct world *w)
{
    for (unsigned tries = 0; tries < TRIES && goes_on(w); tries++) {
        if (append(w))
            return true;
        move_on(w);
    }
    return false;
}

static void begin_copy(struct world *w)
{
    for (unsigned i = 0; i < STORES; i++)
        for (uint64_t log = 1; log <= w->live; log++)
            w->copied[i][log] = lsm_durable(w->stores[i], log);
    simcopy_begin(&w->copy, env_of(w)->fs, w->stores, STORES);
}

static void end_copy(struct world *w)
{
    while (simcopy_step(&w->copy))
        ;
    simcopy_end(&w->copy);
}

/* One record, and now and then what a server does beside. */
static bool script_step(struct world *w, unsigned i)
{
    if (!push(w))
        return false;
    if (i % 3 == 0)
        stream_flush(w->log.stream);
    if (i % 4 == 0)
        stream_step(w->log.stream);
    if (i % 10 == 0)
        segpool_step(w->log.pool);
    if (i % 5 == 0) {
        mailbox_drain(w->log.home);
        apply(w);
        (void)!lsm_flush(w->stores[i % 20 == 0]); /* an error that counts comes as a failure */
    }
    step_stores(w);
    if (i % 15 == 0)
        trim(w);
    return goes_on(w);
}

/* A life: what is appended is committed and applied, stores are flushed and merged, the log is trimmed and one before
 * it removed, if nothing stops it. */
static void run_script(struct world *w, enum copying copying)
{
    w->log.told = told;
    if (simlog_open(&w->log, ++w->live, 1 << 20) != ERR_OK)
        return;
    for (unsigned i = 1; i <= SCRIPT_RECORDS && script_step(w, i); i++) {
        if (copying == COPY_MEANWHILE && i == COPY_AT)
            begin_copy(w);
        if (i % 2)
            simcopy_step(&w->copy);
    }
    for (unsigned tries = 0; tries < TRIES && goes_on(w) && w->applied < w->n; tries++)
        move_on(w);
    if (goes_on(w))
        remove_old(w);
    if (copying == COPY_AT_END)
        begin_copy(w);
    end_copy(w);
}

/* The model of one conversation as a copy should have it. */
static void authority_in(const struct view *v, unsigned conv, struct arena *arena, struct authority *out)
{
    struct arena scratch = {0};
    struct record r;

    *out = (struct authority){.id = v->w->convs[conv].ahead.conv};
    for (size_t i = 0; i < v->w->n; i++) {
        const struct logged *at = &v->w->v[i];
        if (at->conv != conv || !is_in(v, at))
            continue;
        assert_ok(record_decode(at->kind, at->bytes, &scratch, &r));
        authority_apply(out, &r, arena);
    }
    arena_deinit(&scratch);
}

static void check_copied_store(struct world *w, unsigned i)
{
    struct view v = {w, NULL, true};

    simcopy_open(env_of(w), i, w->cache, CONVLOG_FILTER_PREFIX, &v.store);
    for (uint64_t log = 1; log <= w->live; log++)
        assert_int_equal(lsm_durable(v.store, log), w->copied[i][log]);
    for (unsigned conv = i; conv < CONVS; conv += STORES) {
        struct arena arena = {0};
        struct authority then;
        authority_in(&v, conv, &arena, &then);
        assert_ok(check_conv(&v, conv, &then));
        arena_deinit(&arena);
    }
    lsm_close(v.store);
}

/* A copy that has its name is whole, and one that was told to be made has it. */
static void check_copy(struct world *w)
{
    bool is_there = simcopy_is_there(env_of(w)->fs);

    assert_true(is_there || !w->copy.is_made);
    for (unsigned i = 0; is_there && i < STORES; i++)
        check_copied_store(w, i);
}

static void must_start(struct world *w)
{
    simdisk_boot(w->log.disk);
    assert_ok(start(w));
    check_copy(w);
    die_and_boot(w, DEATH_CUT);
    assert_ok(start(w)); /* and finds as much */
    check_copy(w);
}

static bool has_merged(const struct world *w)
{
    struct lsm_stats s;
    lsm_stats(w->stores[0], &s);
    return s.compactions > 0;
}

static bool live_and_copy_with(const struct trouble *t, uint64_t seed, uint64_t n, enum copying copying)
{
    struct world w;

    start_walk(&w, seed);
    trouble_order(t, w.log.disk, n);
    run_script(&w, copying);
    bool met = trouble_was_met(t, w.log.disk);
    assert_true(met || has_merged(&w));
    assert_true(met || copying == NO_COPY || w.copy.is_made);
    simdisk_die(w.log.disk, DEATH_CUT);
    close_all(&w);
    must_start(&w);
    world_end(&w);
    return met;
}

static bool live_with(const struct trouble *t, uint64_t seed, uint64_t n)
{
    return live_and_copy_with(t, seed, n, NO_COPY);
}

static bool copy_meanwhile_with(const struct trouble *t, uint64_t seed, uint64_t n)
{
    return live_and_copy_with(t, seed, n, COPY_MEANWHILE);
}

static bool copy_at_end_with(const struct trouble *t, uint64_t seed, uint64_t n)
{
    return live_and_copy_with(t, seed, n, COPY_AT_END);
}

/* Trouble while it starts and replays, after a kill in the middle of things, and in the life behind it, which removes
 * the old log. */
static bool start_with(const struct trouble *t, uint64_t seed, uint64_t n)
{
    struct world w;

    start_walk(&w, seed);
    simdisk_die_at(w.log.disk, FAULT_SYNC, 20, DEATH_KILL);
    run_script(&w, NO_COPY);
    assert_true(simdisk_is_down(w.log.disk));
    die_and_boot(&w, DEATH_KILL);
    trouble_order(t, w.log.disk, n);
    enum err err = start(&w);
    bool is_early = trouble_was_met(t, w.log.disk);
    assert_true(is_early || err == ERR_OK);
    if (err == ERR_OK)
        run_script(&w, NO_COPY);
    bool met = trouble_was_met(t, w.log.disk);
    assert_true(met || w.is_gone[1]);
    simdisk_die(w.log.disk, DEATH_CUT);
    close_all(&w);
    must_start(&w);
    world_end(&w);
    return met;
}

PROMISE(what_was_committed_survives_trouble_at_any_call_of_a_life) { walk_calls(live_with, DISKS, 50); }

PROMISE(a_start_cut_short_at_any_call_loses_nothing) { walk_calls(start_with, DISKS, 50); }

PROMISE(a_copy_made_while_life_goes_on_is_what_was_durable_when_it_began)
{
    walk_calls(copy_meanwhile_with, DISKS, 50);
}

PROMISE(a_copy_made_after_trouble_at_any_call_is_what_was_durable) { walk_calls(copy_at_end_with, DISKS, 50); }

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        SIM_HOLDS(a_seed_replays_exactly),
        SIM_HOLDS(what_was_committed_survives_trouble_at_any_call_of_a_life),
        SIM_HOLDS(a_start_cut_short_at_any_call_loses_nothing),
        SIM_HOLDS(a_copy_made_while_life_goes_on_is_what_was_durable_when_it_began),
        SIM_HOLDS(a_copy_made_after_trouble_at_any_call_is_what_was_durable),
    };
    return sim_main(argc, argv, play_seed, tests, sizeof tests / sizeof tests[0]);
}
