/* Replay applies to the store exactly what a live shard would have: the authority in memory, then its puts. It keeps
 * the authorities it has touched, since the next record is often of the same conversation, and forgets all of them at
 * once when they are many or large: a replay must not need more memory than the server had. */
#include "storage/convlog_codec.h"
#include "base/map.h"

enum { BYTES_KEPT = 64 << 20 };

struct cached {
    struct authority a;
};
struct convlog_replay {
    struct map convs; /* of struct cached, in the arena */
    struct arena arena;
    struct arena scratch; /* one record's */
};

void convlog_replay_create(struct convlog_replay **out) { *out = mem_new(struct convlog_replay); }

static void forget(struct convlog_replay *p)
{
    map_deinit(&p->convs);
    arena_deinit(&p->arena);
}

void convlog_replay_destroy(struct convlog_replay *p)
{
    if (!p)
        return;
    forget(p);
    arena_deinit(&p->scratch);
    mem_free(p);
}

static bool is_conv(const void *value, const void *key) { return conv_eq(&((const struct cached *)value)->a.id, key); }

static enum err find_conv(struct convlog_replay *p, struct lsm *l, uint16_t shard, const struct conv_id *c,
                          struct authority **out)
{
    uint64_t hash = dec_u64(c->b); /* a keyed hash as it is */
    struct cached *known = map_get(&p->convs, hash, is_conv, c);
    enum err err = ERR_OK;

    if (!known) {
        if (p->arena.bytes >= BYTES_KEPT)
            forget(p);
        known = arena_alloc(&p->arena, sizeof *known);
        err = convlog_load(l, shard, c, NULL, &p->arena, &known->a);
        if (err == ERR_NOT_FOUND) {
            known->a = (struct authority){.id = *c};
            err = ERR_OK;
        }
        TRY(err);
        map_add(&p->convs, hash, known);
    }
    *out = &known->a;
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
    struct authority *a;
    const struct conv_id *c;
    enum err err;

    TRY(record_decode(kind, body, &p->scratch, &r));
    c = conv_of(&r);
    TRY(c ? ERR_OK : ERR_INVALID);
    TRY(find_conv(p, l, shard, c, &a));
    authority_apply(a, &r, &p->arena);
    err = a->kind ? convlog_put_bytes(l, shard, &r, body, a) : ERR_OK; /* a receipt of nothing is nothing */
out:
    arena_deinit(&p->scratch);
    return err;
}
