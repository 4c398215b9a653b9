/* Replay applies to the store exactly what a live shard would have: the authority in memory, then its puts. It keeps
 * the authorities it has touched, since the next record is often of the same conversation, and forgets all of them at
 * once when they are many or large: a replay must not need more memory than the server had.
 *
 * Of what a message puts, its conversation's state is what the next message puts again, and its cid falls anywhere in
 * the memtable. Who replays much has both put late, when the memtable is full: each state once, and both in the order
 * of keys, so that one falls where the one before did. */
#include "storage/convlog_codec.h"
#include "base/map.h"

enum { BYTES_KEPT = 64 << 20, CIDS_MAX = 1 << 17 };

struct cached {
    struct authority a;
    struct lsm *lsm;
    uint16_t shard;
    bool is_late; /* its state is to be put: it is in `late` */
};
struct late_cid {
    struct lsm *lsm;
    uint64_t order; /* of coming */
    uint16_t shard;
    uint8_t hash[16];
    uint64_t seq, fingerprint;
};
struct convlog_replay {
    struct map convs; /* of struct cached, in the arena */
    struct arena arena;
    struct arena scratch; /* one record's */
    bool defers;
    struct cached **late;
    size_t n_late, cap_late;
    struct late_cid *cids;
    size_t n_cids, cap_cids;
};

void convlog_replay_create(struct convlog_replay **out) { *out = mem_new(struct convlog_replay); }

void convlog_replay_defer(struct convlog_replay *p) { p->defers = true; }

static void forget(struct convlog_replay *p)
{
    map_deinit(&p->convs);
    arena_deinit(&p->arena);
    p->n_late = 0; /* who forgets has settled, or ends */
}

void convlog_replay_destroy(struct convlog_replay *p)
{
    if (!p)
        return;
    forget(p);
    arena_deinit(&p->scratch);
    mem_free(p->late);
    mem_free(p->cids);
    mem_free(p);
}

/* ---- what is put late ---- */

static void note_state(struct convlog_replay *p, struct cached *c)
{
    if (c->is_late)
        return;
    if (p->n_late == p->cap_late) {
        p->cap_late = p->cap_late ? p->cap_late * 2 : 1024;
        p->late = mem_realloc(p->late, p->cap_late * sizeof p->late[0]);
    }
    p->late[p->n_late++] = c;
    c->is_late = true;
}

static void note_cid(struct convlog_replay *p, struct lsm *l, uint16_t shard, const struct entry *e)
{
    struct late_cid *c;

    if (p->n_cids == p->cap_cids) {
        p->cap_cids = p->cap_cids ? p->cap_cids * 2 : 1024;
        p->cids = mem_realloc(p->cids, p->cap_cids * sizeof p->cids[0]);
    }
    c = &p->cids[p->n_cids];
    *c = (struct late_cid){l, p->n_cids++, shard, {0}, e->seq, e->fingerprint};
    memcpy(c->hash, e->cid_hash, sizeof c->hash);
}

static int by_conv(const void *x, const void *y)
{
    const struct cached *a = *(struct cached *const *)x, *b = *(struct cached *const *)y;

    return a->shard != b->shard ? (a->shard > b->shard) - (a->shard < b->shard) : memcmp(&a->a.id, &b->a.id, 16);
}

/* Of equal ones the last that came is put last. */
static int by_cid(const void *x, const void *y)
{
    const struct late_cid *a = x, *b = y;
    int c = (a->shard > b->shard) - (a->shard < b->shard);

    c = c ? c : memcmp(a->hash, b->hash, sizeof a->hash);
    return c ? c : (a->order > b->order) - (a->order < b->order);
}

/* Those of other stores stay, in front of the rest; how many. */
static size_t set_states_apart(struct convlog_replay *p, const struct lsm *l)
{
    size_t n = 0;

    for (size_t i = 0; l && i < p->n_late; i++) {
        struct cached *c = p->late[i];
        if (c->lsm == l)
            continue;
        p->late[i] = p->late[n];
        p->late[n++] = c;
    }
    return n;
}

static size_t set_cids_apart(struct convlog_replay *p, const struct lsm *l)
{
    size_t n = 0;

    for (size_t i = 0; l && i < p->n_cids; i++) {
        struct late_cid c = p->cids[i];
        if (c.lsm == l)
            continue;
        p->cids[i] = p->cids[n];
        p->cids[n++] = c;
    }
    return n;
}

static enum err settle_states(struct convlog_replay *p, struct lsm *l, struct buf *scratch)
{
    size_t others = set_states_apart(p, l);
    enum err err = ERR_OK;

    if (p->n_late > others)
        qsort(p->late + others, p->n_late - others, sizeof p->late[0], by_conv);
    for (size_t i = others; i < p->n_late; i++)
        TRY(convlog_put_state(p->late[i]->lsm, p->late[i]->shard, &p->late[i]->a, scratch));
    for (size_t i = others; i < p->n_late; i++)
        p->late[i]->is_late = false;
    p->n_late = others;
out:
    return err;
}

static enum err settle_cids(struct convlog_replay *p, struct lsm *l, struct buf *scratch)
{
    size_t others = set_cids_apart(p, l);
    enum err err = ERR_OK;

    if (p->n_cids > others)
        qsort(p->cids + others, p->n_cids - others, sizeof p->cids[0], by_cid);
    for (size_t i = others; i < p->n_cids; i++) {
        struct entry e = {.seq = p->cids[i].seq, .fingerprint = p->cids[i].fingerprint};
        memcpy(e.cid_hash, p->cids[i].hash, sizeof e.cid_hash);
        TRY(convlog_put_cid(p->cids[i].lsm, p->cids[i].shard, &e, scratch));
    }
    p->n_cids = others;
out:
    return err;
}

enum err convlog_replay_settle(struct convlog_replay *p, struct lsm *l)
{
    struct buf scratch = {0};
    enum err err;

    TRY(settle_states(p, l, &scratch));
    TRY(settle_cids(p, l, &scratch));
out:
    buf_deinit(&scratch);
    return err;
}

/* ---- records ---- */

static bool is_conv(const void *value, const void *key) { return conv_eq(&((const struct cached *)value)->a.id, key); }

static enum err find_conv(struct convlog_replay *p, struct lsm *l, uint16_t shard, const struct conv_id *c,
                          struct cached **out)
{
    uint64_t hash = dec_u64(c->b); /* a keyed hash as it is */
    struct cached *known = map_get(&p->convs, hash, is_conv, c);
    enum err err = ERR_OK;

    if (!known) {
        if (p->arena.bytes >= BYTES_KEPT) {
            TRY(convlog_replay_settle(p, NULL)); /* they are loaded again */
            forget(p);
        }
        known = arena_alloc(&p->arena, sizeof *known);
        known->lsm = l;
        known->shard = shard;
        err = convlog_load(l, shard, c, NULL, &p->arena, &known->a);
        if (err == ERR_NOT_FOUND) {
            known->a = (struct authority){.id = *c};
            err = ERR_OK;
        }
        TRY(err);
        map_add(&p->convs, hash, known);
    }
    *out = known;
out:
    return err;
}

static const struct conv_id *conv_of(const struct record *r)
{
    switch (r->kind) {
    case RECORD_ENTRY:
    case RECORD_UNCHANGED:
        return &r->entry.conv;
    case RECORD_RECEIPT:
        return &r->receipt.conv;
    case RECORD_BLOCK:
        return &r->block.conv;
    case RECORD_ERASE:
        return &r->erase.conv;
    case RECORD_RETENTION:
        return &r->retention.conv;
    case RECORD_FORGET:
        return &r->forget.conv;
    default:
        return NULL;
    }
}

enum err convlog_replay_record(struct convlog_replay *p, struct lsm *l, uint16_t shard, unsigned kind, struct str body)
{
    struct record r;
    struct cached *known;
    const struct conv_id *c;
    struct convlog_late late = {0};
    enum err err;

    TRY(record_decode(kind, body, &p->scratch, &r));
    c = conv_of(&r);
    TRY(c ? ERR_OK : ERR_INVALID);
    TRY(find_conv(p, l, shard, c, &known));
    if (kind == RECORD_FORGET) /* it puts cids that are to stand behind those */
        TRY(convlog_replay_settle(p, l));
    authority_apply(&known->a, &r, &p->arena);
    if (known->a.kind) /* a receipt of nothing is nothing */
        TRY(convlog_put_bytes(l, shard, &r, body, &known->a, p->defers ? &late : NULL));
    if (late.state)
        note_state(p, known);
    if (late.cid)
        note_cid(p, l, shard, &r.entry);
    if (p->n_cids >= CIDS_MAX)
        err = convlog_replay_settle(p, NULL);
out:
    arena_deinit(&p->scratch);
    return err;
}

void convlog_replay_fetch(const struct convlog_replay *p, unsigned kind, struct str body, unsigned step)
{
    struct str id = record_subject(kind, body);
    const struct cached *c;
    const char *at;

    if (id.len != sizeof(struct conv_id))
        return;
    if (step == 0) {
        map_fetch(&p->convs, dec_u64(id.p));
        return;
    }
    c = map_peek(&p->convs, dec_u64(id.p));
    at = !c ? NULL : step == 1 ? (const char *)c : (const char *)c->a.members;
    for (size_t line = 0; at && line < sizeof *c; line += 64)
        __builtin_prefetch(at + line);
}
