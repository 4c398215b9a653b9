/* notify_replay: after a crash, who is owed what. Who was online is not known any more; who confirmed what is. So every
 * member who had not confirmed a message is owed it, and a receipt of a live device will clear what was too much. */
#include "base/map.h"
#include "services/notify.h"
#include "services/owed.h"

enum { BYTES_KEPT = 64 << 20 };

struct notify_replay {
    struct notify_replay_conf conf;
    struct owed_table table;
    struct map convs;   /* struct authority, in the arena: the stores change no more, so each is loaded once */
    struct arena arena; /* when it is large, all are forgotten */
};

void notify_replay_create(const struct notify_replay_conf *c, struct notify_replay **out)
{
    struct notify_replay *p = mem_new(struct notify_replay);

    p->conf = *c;
    owed_init(&p->table, &c->world->data->keys.bus);
    *out = p;
}

void notify_replay_destroy(struct notify_replay *p)
{
    if (!p)
        return;
    owed_deinit(&p->table);
    map_deinit(&p->convs);
    arena_deinit(&p->arena);
    mem_free(p);
}

static void forget(struct notify_replay *p)
{
    map_deinit(&p->convs);
    arena_deinit(&p->arena);
}

static bool is_conv(const void *value, const void *key) { return conv_eq(&((const struct authority *)value)->id, key); }

static enum err load(struct notify_replay *p, uint16_t shard, const struct conv_id *c, const struct authority **out)
{
    struct lsm *store = p->conf.stores[p->conf.world->data->store_of[shard]];
    uint64_t hash = dec_u64(c->b); /* a keyed hash as it is */
    struct authority *a = map_get(&p->convs, hash, is_conv, c);
    enum err err = ERR_OK;

    if (!a) {
        if (p->arena.bytes >= BYTES_KEPT)
            forget(p);
        a = arena_alloc(&p->arena, sizeof *a);
        TRY(convlog_load(store, shard, c, NULL, &p->arena, a));
        map_add(&p->convs, hash, a);
    }
    *out = a;
out:
    return err;
}

static enum err owe_all(struct notify_replay *p, const struct authority *a, const struct entry *e)
{
    for (size_t i = 0; i < a->n_members; i++) {
        const struct member *m = &a->members[i];
        enum err err;

        if (m->user == e->from || m->delivered >= e->seq || !member_sees(m, e->seq))
            continue;
        err = owed_add(&p->table, SIZE_MAX, m->user, &e->conv, e->seq, e->ts);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

enum err notify_replay_record(void *replay, const struct log_record *rec)
{
    struct notify_replay *p = replay;
    struct arena arena = {0};
    const struct authority *a;
    struct record r;
    enum err err;

    if (rec->kind != RECORD_ENTRY)
        return ERR_OK;
    TRY(record_decode(rec->kind, rec->body, &arena, &r));
    if (r.entry.kind != ENTRY_MESSAGE)
        goto out;
    TRY(load(p, rec->shard, &r.entry.conv, &a));
    if (r.entry.seq >= a->first_seq)
        err = owe_all(p, a, &r.entry);
out:
    arena_deinit(&arena);
    return err;
}

/* If the tables could not take it, the log's owed position stays, so the log does, and the next start tries again. */
static void on_written(struct owed_batch *b)
{
    mem_free(b->v);
    mem_free(b);
}

void notify_replay_end(struct notify_replay *p, uint64_t end, notify_owe_fn *owe, struct mailbox *home)
{
    struct owed_batch *b = mem_new(struct owed_batch);

    owed_take(&p->table, b);
    b->log_id = p->conf.log_id;
    b->pos = end;
    b->home = home;
    b->done = on_written;
    owe(p->conf.world->directory, b);
}
