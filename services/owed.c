#include "services/owed.h"

struct gathered {
    struct link link;
    user_id user;
    struct conv_id conv;
    uint64_t cleared, first, last, count; /* cleared 0: nothing; count 0: nothing owed */
    int64_t since;
};

struct owed_key {
    user_id user;
    struct conv_id conv;
};

void owed_init(struct owed_table *t, const struct hash_key *key)
{
    *t = (struct owed_table){.key = *key};
    list_init(&t->all);
}

void owed_deinit(struct owed_table *t)
{
    map_deinit(&t->map);
    arena_deinit(&t->arena);
}

static bool is_of(const void *value, const void *key)
{
    const struct gathered *g = value;
    const struct owed_key *k = key;

    return g->user == k->user && conv_eq(&g->conv, &k->conv);
}

/* NULL: there is none and no room for one. */
static struct gathered *get(struct owed_table *t, size_t max, user_id user, const struct conv_id *c)
{
    struct owed_key k = {user, *c};
    uint64_t hash = hash_keyed64(&t->key, &k, sizeof k);
    struct gathered *g = map_get(&t->map, hash, is_of, &k);

    if (g || t->map.count >= max)
        return g;
    g = arena_alloc(&t->arena, sizeof *g);
    g->user = user;
    g->conv = *c;
    map_add(&t->map, hash, g);
    list_push(&t->all, &g->link);
    return g;
}

enum err owed_add(struct owed_table *t, size_t max, user_id user, const struct conv_id *c, uint64_t seq, int64_t ts)
{
    struct gathered *g = get(t, max, user, c);

    if (!g)
        return ERR_LIMIT;
    if (g->count++ == 0) {
        g->first = seq;
        g->since = ts;
    }
    g->last = seq;
    return ERR_OK;
}

/* What is owed past `up_to` stays; how many of its messages are covered isn't known, so the count is a bound from
 * above. */
enum err owed_clear(struct owed_table *t, size_t max, user_id user, const struct conv_id *c, uint64_t up_to)
{
    struct gathered *g = get(t, max, user, c);

    if (!g)
        return ERR_LIMIT;
    if (up_to > g->cleared)
        g->cleared = up_to;
    if (g->count && up_to >= g->last) {
        g->count = 0;
    } else if (g->count && up_to >= g->first) {
        uint64_t left = g->last - up_to;

        g->first = up_to + 1;
        g->count = g->count < left ? g->count : left;
    }
    return ERR_OK;
}

void owed_take(struct owed_table *t, struct owed_batch *b)
{
    struct hash_key key = t->key;

    b->v = mem_new_array(struct owed_row, 2 * owed_count(t));
    b->n = 0;
    list_each (&t->all, g, struct gathered, link) {
        if (g->cleared)
            b->v[b->n++] = (struct owed_row){.user = g->user, .conv = g->conv, .clear = true, .last_seq = g->cleared};
        if (g->count)
            b->v[b->n++] = (struct owed_row){g->user, g->conv, false, g->first, g->last, g->count, g->since};
    }
    owed_deinit(t);
    owed_init(t, &key);
}
