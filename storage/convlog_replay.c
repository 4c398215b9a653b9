/* Replay applies to the store exactly what a live shard would have: the authority in memory, then its puts. It keeps
 * the authorities it has touched, since the next record is often of the same conversation, and forgets all of them at
 * once when they are many or large: a replay must not need more memory than the server had.
 *
 * Of what a message puts, its conversation's state is what the next message puts again, and entry and cid fall anywhere
 * in the memtable. Who replays much has a state put once, when the memtable is full, and the store sort in all of it
 * then. Until then the store can't be asked for it; nothing of a conversation is, since its authority is kept. */
#include "storage/convlog_codec.h"
#include "base/map.h"

enum { BYTES_KEPT = 64 << 20 };

struct cached {
    struct authority a;
    struct lsm *lsm;
    uint16_t shard;
    bool is_late; /* its state is to be put: it is in `late` */
};
struct convlog_replay {
    struct map convs; /* of struct cached, in the arena */
    struct arena arena;
    struct arena scratch; /* one record's */
    bool defers;
    struct cached **late;
    size_t n_late, cap_late;
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

enum err convlog_replay_settle(struct convlog_replay *p, struct lsm *l)
{
    size_t others = set_states_apart(p, l);
    struct buf scratch = {0};
    enum err err = ERR_OK;

    for (size_t i = others; i < p->n_late; i++)
        TRY(convlog_put_state(p->late[i]->lsm, p->late[i]->shard, &p->late[i]->a, &scratch));
    for (size_t i = others; i < p->n_late; i++)
        p->late[i]->is_late = false;
    p->n_late = others;
out:
    buf_deinit(&scratch);
    return err;
}

/* They are loaded again. */
static enum err settle_and_forget(struct convlog_replay *p)
{
    enum err err;
    size_t at = 0;

    TRY(convlog_replay_settle(p, NULL));
    for (struct cached *c; (c = map_next(&p->convs, &at)) != NULL;)
        lsm_settle(c->lsm);
    forget(p);
out:
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
        if (p->arena.bytes >= BYTES_KEPT)
            TRY(settle_and_forget(p));
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
    bool owes_state = false;
    enum err err;

    TRY(record_decode(kind, body, &p->scratch, &r));
    c = conv_of(&r);
    TRY(c ? ERR_OK : ERR_INVALID);
    TRY(find_conv(p, l, shard, c, &known));
    authority_apply(&known->a, &r, &p->arena);
    if (p->defers)
        lsm_defer(l);
    if (known->a.kind) /* a receipt of nothing is nothing */
        TRY(convlog_put_bytes(l, shard, &r, body, &known->a, p->defers ? &owes_state : NULL));
    if (owes_state)
        note_state(p, known);
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
