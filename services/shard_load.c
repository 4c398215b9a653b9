/* shard_load: conversations from the store. Those that are asked for in one turn of the loop are gathered and, when it
 * ends, read LOAD_TOGETHER by one read: each round tries all that are not there yet and gathers the blocks that they
 * lack, so the disk is asked for them at once, and a worker is woken once for all. One that is complete is there at
 * once, whatever the others wait for. When a read fails, each of its conversations is read by itself, so that damage in
 * one is no other's.
 *
 * A conversation that is loading can't go (conv_is_idle), so a load may point to it. */
#include "services/shard_state.h"

struct load {
    struct link link;              /* in shards.loads, then in shards.loading */
    struct conv *v[LOAD_TOGETHER]; /* of one store */
    size_t n;
    bool is_alone;
};

/* It is out of the map first: who is refused may ask again at once, and then loads it anew. */
static void refuse_all(struct reactor *r, struct conv *c, enum err err)
{
    conv_detach(reactor_shards(r), c);
    while (!list_is_empty(&c->waiting)) {
        struct work *w = list_first(&c->waiting, struct work, link);

        list_remove(&w->link);
        reactor_broken(r, w->q, "conv_load", err);
    }
    conv_free(c);
}

static void load_alone(struct reactor *r, struct conv *c);

/* False: AGAIN. Else it is loaded, gone, or, where the fault may be another's, begun anew by itself. */
static bool load_one(struct reactor *r, struct conv *c, bool is_alone, struct lsm_need *need)
{
    enum err err;

    arena_begin(&c->arena, CONV_ARENA);
    err = convlog_load(conv_store(r, c), c->shard, &c->id, need, &c->arena, &c->now);
    if (err == ERR_OK || err == ERR_NOT_FOUND) {
        c->ahead = c->now;
        c->is_loading = false;
        c->is_loaded = true;
        conv_pump(r, c);
        return true;
    }
    arena_deinit(&c->arena);
    if (err == ERR_AGAIN)
        return false;
    if (is_alone)
        refuse_all(r, c, err);
    else
        load_alone(r, c);
    return true;
}

static enum err load_step(struct reactor *r, void *arg, struct lsm_need *need)
{
    struct load *l = arg;
    size_t n = 0;

    for (size_t i = 0; i < l->n; i++)
        if (!load_one(r, l->v[i], l->is_alone, need))
            l->v[n++] = l->v[i];
    l->n = n;
    if (n)
        return ERR_AGAIN;
    list_remove(&l->link);
    mem_free(l);
    return ERR_OK;
}

static void add(struct load *l, struct conv *c)
{
    c->is_loading = true;
    l->v[l->n++] = c;
}

static void begin(struct reactor *r, struct load *l)
{
    list_push(&reactor_shards(r)->loading, &l->link);
    reactor_read(r, load_step, l);
}

static void load_alone(struct reactor *r, struct conv *c)
{
    struct load *l = mem_new(struct load);

    l->is_alone = true;
    add(l, c);
    begin(r, l);
}

static void gather(struct reactor *r, struct conv *c)
{
    struct shards *s = reactor_shards(r);
    struct load **open = &s->open[reactor_store_index(r, c->shard)];

    if (!*open || (*open)->n == LOAD_TOGETHER) {
        *open = mem_new(struct load);
        list_push(&s->loads, &(*open)->link);
        loop_again(reactor_loop(r)); /* another hook may ask, behind the one that begins loads */
    }
    add(*open, c);
}

void shard_load(struct reactor *r, struct conv *c, struct work *w)
{
    list_push(&c->waiting, &w->link);
    if (!c->is_loading)
        gather(r, c);
}

void shard_load_ahead(struct reactor *r, const struct conv_id *const *ids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (shard_is_cold(r, ids[i]))
            gather(r, conv_get(reactor_shards(r), ids[i]));
}

/* What was loaded at once may have asked for more, or have answered whom other hooks look after, which have run. */
void shards_load_gathered(struct shards *s)
{
    struct link all;

    if (list_is_empty(&s->loads))
        return;
    list_init(&all);
    list_move(&all, &s->loads);
    memset(s->open, 0, sizeof s->open);
    while (!list_is_empty(&all)) {
        struct load *l = list_first(&all, struct load, link);

        list_remove(&l->link);
        begin(s->r, l);
    }
    loop_again(reactor_loop(s->r));
}

void shard_drop_loads(struct shards *s)
{
    list_each (&s->loads, l, struct load, link)
        mem_free(l);
    list_each (&s->loading, l, struct load, link)
        mem_free(l);
}
