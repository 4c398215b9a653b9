/* shard_log: from admitted to durable. An entry is admitted when the log has taken it: from then on `ahead` counts on
 * it. When the log says that it is durable, it is applied to `now` and to the store, answered, and told to the members,
 * in this order and in the order of the log, so that who is told of an entry finds it. The state of a conversation
 * follows at the end of what was committed together, once, and then the store is told how far it has everything.
 *
 * The store may refuse for a while (its memtables wait for the disk). Then everything behind waits too, and admission
 * stops long before memory is at stake (lsm_is_busy). Any other failure of the store ends the process: the log has all.
 *
 * Where there is no room just now, in the log or in a store, an append waits for it, up to STALL_MS, holding its
 * conversation; connections with much unanswered are not read meanwhile, so who produces slows down. Only then it is
 * refused. */
#include "services/shard_log.h"
#include "base/log.h"
#include "proto/metrics.h"
#include "services/expiry.h"
#include "services/shard_state.h"

enum { RETRY_STORE_MS = 64, RETRY_AFTER_MS = 200, STALL_MS = 2000, STALL_LOOK_MS = 8 };
enum { BYTES_KEPT = 1024 }; /* larger ones are encoded again, so that they don't take their memory twice */

static bool is_entry(const struct appended *a) { return a->rec.kind == RECORD_ENTRY; }

/* More than the head of `ahead` changes by it. */
static bool changes_rights(const struct record *rec)
{
    return rec->kind == RECORD_ENTRY && (rec->entry.kind != ENTRY_MESSAGE || rec->entry.seq == 1);
}

/* Admission. */
static void admit(struct conv *c, const struct record *rec)
{
    if (changes_rights(rec)) {
        c->changing++;
        if (!c->is_deep) {
            struct authority deep;

            authority_copy(&c->ahead, &c->ahead_arena, &deep);
            c->ahead = deep;
            c->is_deep = true;
        }
        authority_apply(&c->ahead, rec, &c->ahead_arena);
        return;
    }
    if (rec->kind != RECORD_ENTRY)
        return;
    c->ahead.head = rec->entry.seq;
    c->ahead.ordinal = rec->entry.ordinal;
    c->ahead.last_ts = rec->entry.ts;
}

enum err shard_log_append(struct reactor *r, struct appended *a)
{
    struct shards *s = reactor_shards(r);
    struct conv *c = a->conv;
    struct buf *b = reactor_scratch(r);
    uint8_t topics = record_is_for_tables(&a->rec) ? TOPIC_TABLES : 0;
    enum err err;

    if (atomic_load_explicit(&reactor_world(r)->draining, memory_order_relaxed))
        return ERR_CLOSED;
    if (s->has_failed || lsm_is_busy(conv_store(r, c)))
        return lsm_is_full(conv_store(r, c)) ? ERR_FULL : ERR_LIMIT;
    record_encode(&a->rec, b);
    err = stream_append(reactor_stream(r), (uint8_t)a->rec.kind, c->shard, topics, buf_get(b), &a->pos);
    if (err != ERR_OK)
        return err;
    if (topics)
        atomic_fetch_add_explicit(&reactor_world(r)->tables_lag, record_table_rows(&a->rec), memory_order_relaxed);
    if (a->memory && b->len <= BYTES_KEPT)
        a->bytes = arena_dup(a->memory, buf_get(b));
    admit(c, &a->rec);
    c->in_flight++;
    list_push(&s->appended, &a->link);
    return ERR_OK;
}

void shard_log_refuse(struct reactor *r, struct request *q, enum err err)
{
    request_fail(q, CODE_UNAVAILABLE, "%s",
                 err == ERR_CLOSED ? "the server is going down; reconnect and try again"
                 : err == ERR_FULL ? "no space on the disk; nothing was written"
                                   : "the server is busy; try again");
    q->retry_after_ms = RETRY_AFTER_MS;
    reactor_end(r, q);
}

struct entry *shard_entry(struct request *q) { return &work_of(q)->log.rec.entry; }

static int64_t time_of(struct reactor *r, const struct conv *c)
{
    int64_t now = env_now_ms(reactor_env(r));

    return now > c->ahead.last_ts ? now : c->ahead.last_ts;
}

static void entry_committed(struct reactor *r, struct appended *a);
static void unchanged_committed(struct reactor *r, struct appended *a);
static void submit(struct reactor *r, struct conv *c, struct request *q);

/* False when it waited long enough. */
static bool stall(struct reactor *r, struct conv *c, struct work *w)
{
    struct shards *s = reactor_shards(r);

    if (s->has_failed || loop_now_ms(reactor_loop(r)) >= w->since_ms + STALL_MS)
        return false;
    shard_hold(c);
    list_push(&s->stalled, &w->link);
    if (!timer_is_set(&s->stall))
        timer_set(reactor_loop(r), &s->stall, STALL_LOOK_MS);
    return true;
}

/* In the order in which they came; those that still find no room line up again. */
void shards_stall_over(struct timer *t)
{
    struct shards *s = container_of(t, struct shards, stall);
    struct link all;

    list_init(&all);
    list_move(&all, &s->stalled);
    while (!list_is_empty(&all)) {
        struct work *w = list_first(&all, struct work, link);

        list_remove(&w->link);
        shard_continue(s->r, w->conv, w->q, submit);
    }
}

static void submit(struct reactor *r, struct conv *c, struct request *q)
{
    struct work *w = work_of(q);
    enum err err = shard_log_append(r, &w->log);

    if (err == ERR_OK)
        map_add(&reactor_shards(r)->cids, cid_slot(w->log.rec.entry.cid_hash), w);
    else if (err != ERR_LIMIT || !stall(r, c, w))
        shard_log_refuse(r, q, err);
}

void shard_append(struct reactor *r, struct conv *c, struct request *q)
{
    struct work *w = work_of(q);
    struct entry *e = &w->log.rec.entry;

    w->log.rec.kind = RECORD_ENTRY;
    w->log.memory = &q->arena;
    w->log.conv = c;
    w->log.committed = entry_committed;
    e->conv = c->id;
    e->seq = c->ahead.head + 1;
    e->ordinal = c->ahead.ordinal + (e->kind == ENTRY_MESSAGE);
    e->from = q->actor.user;
    e->device = q->actor.device;
    e->ts = time_of(r, c);
    if (e->expires_at)
        e->expires_at += e->ts;
    submit(r, c, q);
}

/* The entry that stands is before this record in the same log, so it is committed before. */
void shard_unchanged(struct reactor *r, struct conv *c, struct request *q, uint64_t seq, int64_t ts)
{
    struct work *w = work_of(q);
    struct entry *e = &w->log.rec.entry;

    w->log.rec.kind = RECORD_UNCHANGED;
    w->log.conv = c;
    w->log.committed = unchanged_committed;
    e->conv = c->id;
    e->from = q->actor.user;
    e->seq = seq;
    e->ts = ts;
    submit(r, c, q);
}

/* Commit. */

/* Of the authority itself it changes how far it is, and no more: all else `ahead` shares with `now`. */
static bool only_goes_on(const struct conv *c, const struct record *rec)
{
    return !c->is_deep && rec->kind == RECORD_ENTRY && !changes_rights(rec) && !rec->entry.n_mentions;
}

static void apply_in_memory(struct appended *a)
{
    struct conv *c = a->conv;
    struct authority ahead;

    authority_apply(&c->now, &a->rec, &c->arena);
    a->is_applied = true;
    if (only_goes_on(c, &a->rec))
        return;
    ahead = c->ahead;
    c->touched += !is_entry(a) || a->rec.entry.kind != ENTRY_MESSAGE || a->rec.entry.n_mentions;
    if (changes_rights(&a->rec)) {
        conv_members_changed(c);
        c->changing--;
    }
    if (c->is_deep && c->changing) {
        c->ahead.first_seq = c->now.first_seq;
        c->ahead.first_ordinal = c->now.first_ordinal;
        c->ahead.retention_ms = c->now.retention_ms;
        return;
    }
    arena_deinit(&c->ahead_arena); /* nothing but messages is under way, so `ahead` borrows from `now` again */
    c->is_deep = false;
    conv_tidy(c);
    c->ahead = c->now;
    c->ahead.head = ahead.head;
    c->ahead.ordinal = ahead.ordinal;
    c->ahead.last_ts = ahead.last_ts;
}

static enum err apply_entry(struct shards *s, struct appended *a)
{
    struct conv *c = a->conv;
    struct work *w = container_of(a, struct work, log);
    struct str bytes = a->bytes;
    enum err err;

    if (!bytes.len) {
        struct buf *b = reactor_scratch(s->r);

        record_encode(&a->rec, b);
        bytes = buf_get(b);
    }
    err = convlog_put_entry(conv_store(s->r, c), c->shard, &a->rec.entry, bytes, &c->now, &c->near, &w->cid);
    if (err == ERR_OK && !link_is_in(&c->stale))
        list_push(&s->stale, &c->stale);
    return err;
}

static enum err apply(struct shards *s, struct appended *a)
{
    struct conv *c = a->conv;
    enum err err;

    if (!a->is_applied)
        apply_in_memory(a);
    if (is_entry(a))
        return apply_entry(s, a);
    err = convlog_put(conv_store(s->r, c), c->shard, &a->rec, &c->now);
    if (err == ERR_OK && (a->rec.kind == RECORD_ERASE || a->rec.kind == RECORD_FORGET))
        tail_drop(&s->tails, c); /* what it copied is no more */
    return err;
}

/* Of every conversation that entries came to, once for all of them. */
static enum err apply_states(struct shards *s)
{
    enum err err = ERR_OK;

    while (err == ERR_OK && !list_is_empty(&s->stale)) {
        struct conv *c = list_first(&s->stale, struct conv, stale);

        err = convlog_put_state_near(conv_store(s->r, c), c->shard, &c->now, reactor_scratch(s->r), &c->near);
        if (err == ERR_OK)
            list_remove(&c->stale);
    }
    return err;
}

/* All stores, those too that the records before `pos` don't concern: they have nothing to miss. Not `half`, which took
 * a part of the record at `pos`: it must not be flushed before it has the rest. */
static void stores_applied(struct shards *s, uint64_t pos, const struct lsm *half)
{
    struct lsm *const *stores;
    size_t n = reactor_stores(s->r, &stores);

    for (size_t i = 0; i < n; i++)
        if (stores[i] && stores[i] != half)
            lsm_applied(stores[i], stream_log_id(reactor_stream(s->r)), pos);
}

static void process(struct shards *s);
static void on_retry(struct timer *t) { process(container_of(t, struct shards, retry)); }

/* A store can't take the next for now, or for good. */
static void stand_still(struct shards *s, const struct conv *c, enum err err)
{
    if (err == ERR_LIMIT) {
        s->retry.fn = on_retry;
        timer_set(reactor_loop(s->r), &s->retry, RETRY_STORE_MS);
        return;
    }
    s->has_failed = true;
    log_error("shard_failed", "shard=%u err=%s", c->shard, err_name(err));
    s->on_failure(s->r, err);
}

enum { FETCH_MAX = 512 }; /* of a record's bytes */

/* Where thousands are under way, what belongs to one has left the cache since it was appended. While one is applied and
 * answered, what the next points to is fetched, and the one after that itself. */
static inline __attribute__((always_inline)) void fetch_ahead(const struct shards *s, const struct appended *a)
{
    const struct appended *next = container_of(a->link.next, struct appended, link);

    if (a->link.next == &s->appended)
        return;
    mem_fetch(next->conv, sizeof *next->conv);
    mem_fetch(next->bytes.p, next->bytes.len < FETCH_MAX ? next->bytes.len : FETCH_MAX); /* the rest comes by itself */
    if (is_entry(next))
        mem_fetch(container_of(next, struct work, log)->q, sizeof(struct request));
    if (next->link.next != &s->appended)
        mem_fetch(next->link.next, sizeof *next);
}

/* What is committed, up to the first that its store can't take. */
static enum err apply_committed(struct shards *s, bool *for_tables)
{
    struct appended *a;
    enum err err = ERR_OK;

    while ((a = list_first(&s->appended, struct appended, link)) != NULL && a->pos < s->committed) {
        fetch_ahead(s, a);
        err = apply(s, a);
        if (err != ERR_OK)
            break;
        s->is_unmarked = true;
        *for_tables |= record_is_for_tables(&a->rec);
        list_remove(&a->link);
        a->committed(s->r, a);
    }
    return err;
}

/* The stores learn how far they have everything when they have: the states of what they took, too. */
static void process(struct shards *s)
{
    bool for_tables = false;
    enum err err, states;

    if (s->has_failed || timer_is_set(&s->retry))
        return;
    err = apply_committed(s, &for_tables);
    states = apply_states(s);
    if (states != ERR_OK) {
        stand_still(s, list_first(&s->stale, struct conv, stale), states);
    } else if (err != ERR_OK) {
        const struct appended *a = list_first(&s->appended, struct appended, link);

        stores_applied(s, a->pos, conv_store(s->r, a->conv));
        stand_still(s, a->conv, err);
    } else if (s->is_unmarked) {
        s->is_unmarked = false;
        stores_applied(s, s->committed, NULL);
        notify_accounted(reactor_notify(s->r), s->committed);
    }
    if (for_tables && s->on_tables)
        s->on_tables(reactor_world(s->r)->directory);
}

uint64_t shards_applied(const struct shards *s)
{
    const struct appended *a = list_first(&s->appended, struct appended, link);

    return a && a->pos < s->committed ? a->pos : s->committed;
}

bool shards_are_between(const struct shards *s) { return !timer_is_set(&s->retry) && !s->has_failed; }

void shards_committed(struct shards *s, uint64_t end)
{
    s->committed = end;
    process(s);
    if (!list_is_empty(&s->stalled)) /* the log has room again */
        timer_set(reactor_loop(s->r), &s->stall, 0);
}

/* What follows from an entry that is durable and applied. */
static struct frame *print_event(struct reactor *r, const struct entry *e)
{
    struct buf *b = reactor_scratch(r);
    struct entry shown;

    if (e->expires_at) { /* it may have waited long for its commit */
        shown = *e;
        expiry_hide(r, &shown, 1);
        e = &shown;
    }
    entry_print(e, b);
    return frame_text(buf_get(b));
}

/* Who was removed is told so, and by then is in no more. */
static struct audience *audience_of(struct conv *c, const struct entry *e)
{
    struct audience *now = conv_audience(c), *all;

    if (e->kind != ENTRY_MEMBERS || e->change != MEMBERS_REMOVED)
        return audience_ref(now);
    all = audience_new(now->n + e->n_members);
    memcpy(all->users, now->users, now->n * sizeof now->users[0]);
    for (size_t i = 0; i < e->n_members; i++)
        all->users[now->n + i] = e->members[i].user;
    return all;
}

void conv_tell_one(struct reactor *r, const struct delivery *d, user_id user)
{
    struct delivery one = *d;

    one.to = NULL;
    one.only_user = user;
    bus_emit(reactor_port(r), &one, NULL, NULL);
}

void conv_tell_authors(struct reactor *r, const struct conv *c, const struct delivery *d, user_id but)
{
    for (unsigned i = 0; c->authors && i < AUTHORS_KEPT; i++) {
        user_id author = c->authors->v[i];
        const struct member *m = author && author != but ? authority_member(&c->now, author) : NULL;
        bool is_first = m && m->is_in;

        for (unsigned j = 0; j < i && is_first; j++)
            is_first = c->authors->v[j] != author;
        if (is_first)
            conv_tell_one(r, d, author);
    }
}

struct owing {
    struct notify *n;
    struct notify_hint *hint;
    const struct entry *e;
};

static void on_offline(void *arg, user_id user)
{
    const struct owing *o = arg;

    if (user != o->e->from)
        notify_owe(o->n, o->hint, user, o->e);
}

static void tell(struct reactor *r, struct conv *c, const struct entry *e)
{
    struct owing owing = {reactor_notify(r), &c->hint, e};
    struct delivery d = {
        .class = DELIVER_ENTRY,
        .frame = print_event(r, e),
        .to = audience_of(c, e),
        .skip_user = e->from,
        .skip_device = e->device,
    };

    bus_emit(reactor_port(r), &d, e->kind == ENTRY_MESSAGE ? on_offline : NULL, &owing);
    frame_unref(d.frame);
    audience_unref(d.to);
}

static void answer_repeats(struct reactor *r, struct work *w)
{
    while (!list_is_empty(&w->repeats)) {
        struct work *again = list_first(&w->repeats, struct work, link);

        list_remove(&again->link);
        metric_add(reactor_metrics(r), METRIC_DUPLICATES, 1);
        w->print(&w->log.rec.entry, true, &again->q->out);
        reactor_ok(r, again->q);
    }
}

/* Who writes a message has what is before it. */
static void author_has(struct reactor *r, struct conv *c, const struct entry *e)
{
    const struct member *m = authority_member(&c->now, e->from);

    if (m)
        notify_delivered(reactor_notify(r), &c->hint, e->from, &c->id, m->delivered, e->seq);
}

static bool is_work(const void *value, const void *key) { return value == key; }

/* Its answer, and that of those who asked the same meanwhile. */
static void answer(struct reactor *r, struct work *w)
{
    struct conv *c = w->conv;

    answer_repeats(r, w);
    w->print(&w->log.rec.entry, false, &w->q->out);
    reactor_ok(r, w->q); /* the entry's memory goes with the request */
    c->in_flight--;
    conv_settle(r, c);
}

static void note_author(struct conv *c, user_id u)
{
    if (c->now.kind != CONV_GROUP)
        return;
    if (!c->authors)
        c->authors = mem_new(struct authors);
    c->authors->v[c->authors->next++ % AUTHORS_KEPT] = u;
}

static void entry_committed(struct reactor *r, struct appended *a)
{
    struct work *w = container_of(a, struct work, log);
    struct conv *c = a->conv;
    const struct entry *e = &a->rec.entry;

    map_take(&reactor_shards(r)->cids, cid_slot(e->cid_hash), is_work, w);
    metric_add(reactor_metrics(r), METRIC_ENTRIES, 1);
    if (e->expires_at)
        expiry_note(reactor_expiry(r), c->shard, e->expires_at);
    note_author(c, e->from);
    author_has(r, c, e);
    tell(r, c, e);
    answer(r, w);
}

static void unchanged_committed(struct reactor *r, struct appended *a)
{
    struct work *w = container_of(a, struct work, log);

    map_take(&reactor_shards(r)->cids, cid_slot(a->rec.entry.cid_hash), is_work, w);
    answer(r, w);
}
