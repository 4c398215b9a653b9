/* shard_once: a retry is harmless, for ever. What carries a cid is looked for first among what is under way, then in
 * the cid index of the store; only what was never seen is admitted. */
#include "proto/metrics.h"
#include "services/shard_state.h"

static bool cid_is(const void *value, const void *key)
{
    return memcmp(((const struct work *)value)->log.rec.entry.cid_hash, key, 16) == 0;
}

struct work *shard_in_flight(const struct shards *s, const uint8_t hash[16])
{
    return map_get(&s->cids, cid_slot(hash), cid_is, hash);
}

static uint64_t fingerprint(const struct reactor *r, const struct request *q, struct str canonical)
{
    return hash_keyed64(&reactor_keys(r)->print, canonical.p, canonical.len) ^ reactor_shards(r)->op_prints[q->op];
}

static void conflict(struct reactor *r, struct request *q)
{
    reactor_fail(r, q, CODE_CONFLICT, "this cid was used for something else");
}

static void answer_repeat(struct reactor *r, struct conv *c, struct request *q)
{
    (void)c;
    metric_add(reactor_metrics(r), METRIC_DUPLICATES, 1);
    reactor_ok(r, q);
}

static void answer_conflict(struct reactor *r, struct conv *c, struct request *q)
{
    (void)c;
    conflict(r, q);
}

static void answer_broken(struct reactor *r, struct conv *c, struct request *q)
{
    (void)c;
    reactor_broken(r, q, "cid_index", work_of(q)->err);
}

static void hold_once(struct conv *c)
{
    if (!c->is_held)
        shard_hold(c);
}

/* The entry is no more, but for what its repeat is told. Where the index has no time (only of a write that changed
 * nothing, which had no entry of its own) it is the conversation's latest. */
static enum err recall(struct reactor *r, struct work *w, struct lsm_need *need, uint64_t seq, struct entry *first)
{
    const struct entry *e = &w->log.rec.entry;
    struct conv *c = w->conv;
    int64_t ts = c->now.last_ts;
    enum err err = convlog_forgotten_ts(conv_store(r, c), c->shard, e->cid_hash, need, &ts);

    if (err != ERR_OK && err != ERR_NOT_FOUND)
        return err;
    *first = *e;
    first->conv = c->id;
    first->seq = seq;
    first->ts = ts;
    return ERR_OK;
}

/* Looks into the index; for what is there, reads the entry, since its time belongs to the answer. */
static enum err look_up(struct reactor *r, struct work *w, struct lsm_need *need, struct entry *first)
{
    const struct entry *e = &w->log.rec.entry;
    struct conv *c = w->conv;
    uint64_t seq = 0, print = 0;
    enum err err = convlog_find_cid_near(conv_store(r, c), c->shard, e->cid_hash, need, &w->cid, &seq, &print);

    if (err != ERR_OK)
        return err;
    if (print != e->fingerprint)
        return ERR_EXISTS;
    if (seq < c->now.first_seq)
        return recall(r, w, need, seq, first);
    err = convlog_entry(conv_store(r, c), c->shard, &c->id, seq, need, &w->q->arena, first);
    return err == ERR_NOT_FOUND ? ERR_CORRUPT : err; /* an index never runs ahead of its entries */
}

static enum err look_step(struct reactor *r, void *arg, struct lsm_need *need)
{
    struct work *w = arg;
    struct conv *c = w->conv;
    struct entry first = {0};
    enum err err = look_up(r, w, need, &first);

    switch (err) {
    case ERR_AGAIN:
        hold_once(c);
        return err;
    case ERR_NOT_FOUND:
        shard_go_on(r, c, w->q, w->admit);
        break;
    case ERR_EXISTS:
        shard_go_on(r, c, w->q, answer_conflict);
        break;
    case ERR_OK:
        w->print(&first, true, &w->q->out);
        shard_go_on(r, c, w->q, answer_repeat);
        break;
    default:
        w->err = err;
        shard_go_on(r, c, w->q, answer_broken);
        break;
    }
    return ERR_OK;
}

void shard_once(struct reactor *r, struct conv *c, struct request *q, struct str cid, struct str canonical,
                shard_print_fn *print, shard_fn *admit)
{
    struct work *w = work_of(q), *first;
    struct entry *e = &w->log.rec.entry;

    e->cid = cid;
    e->fingerprint = fingerprint(r, q, canonical);
    cid_hash(reactor_keys(r), &c->id, q->actor.user, cid, e->cid_hash);
    w->print = print;
    w->admit = admit;
    first = shard_in_flight(reactor_shards(r), e->cid_hash);
    if (!first)
        reactor_read(r, look_step, w);
    else if (first->log.rec.entry.fingerprint == e->fingerprint)
        list_push(&first->repeats, &w->link);
    else
        conflict(r, q);
}
