/* A slot is free when its value is NULL. A hash's home is its low bits; an entry sits at its home or behind it, with no
 * free slot between. Everything below keeps that. */
#include "base/map.h"
#include <assert.h>

enum { CAP_MIN = 8 };

void map_deinit(struct map *m)
{
    mem_free(m->slots);
    *m = (struct map){0};
}

/* Where the entry is, or the free slot that ends its run. */
static size_t find(const struct map *m, uint64_t hash, map_eq_fn *eq, const void *key)
{
    size_t mask = m->cap - 1, i = hash & mask;
    while (m->slots[i].value && (m->slots[i].hash != hash || !eq(m->slots[i].value, key)))
        i = (i + 1) & mask;
    return i;
}

static void place(struct map *m, uint64_t hash, void *value)
{
    size_t mask = m->cap - 1, i = hash & mask;
    while (m->slots[i].value)
        i = (i + 1) & mask;
    m->slots[i] = (struct map_slot){hash, value};
}

static void resize(struct map *m, size_t cap)
{
    struct map old = *m;

    m->slots = mem_new_array(struct map_slot, cap);
    m->cap = cap;
    for (size_t i = 0; i < old.cap; i++) {
        if (old.slots[i].value)
            place(m, old.slots[i].hash, old.slots[i].value);
    }
    mem_free(old.slots);
}

void map_keep(struct map *m, size_t cap)
{
    assert(cap >= CAP_MIN && (cap & (cap - 1)) == 0);
    m->kept = cap;
    if (m->cap < cap)
        resize(m, cap);
}

void *map_get(const struct map *m, uint64_t hash, map_eq_fn *eq, const void *key)
{
    return m->count ? m->slots[find(m, hash, eq, key)].value : NULL;
}

void map_fetch(const struct map *m, uint64_t hash)
{
    if (m->count)
        __builtin_prefetch(&m->slots[hash & (m->cap - 1)]);
}

void *map_peek(const struct map *m, uint64_t hash)
{
    const struct map_slot *s = m->count ? &m->slots[hash & (m->cap - 1)] : NULL;

    return s && s->hash == hash ? s->value : NULL;
}

void map_add(struct map *m, uint64_t hash, void *value)
{
    assert(value);
    if ((m->count + 1) * 4 > m->cap * 3)
        resize(m, m->cap ? m->cap * 2 : CAP_MIN);
    place(m, hash, value);
    m->count++;
}

/* Fills the hole from behind: an entry further on moves into it unless its home lies behind the hole. */
static void shift_back(struct map *m, size_t hole)
{
    size_t mask = m->cap - 1;
    for (size_t i = (hole + 1) & mask; m->slots[i].value; i = (i + 1) & mask) {
        size_t from_home = (i - m->slots[i].hash) & mask, from_hole = (i - hole) & mask;
        if (from_home >= from_hole) {
            m->slots[hole] = m->slots[i];
            hole = i;
        }
    }
    m->slots[hole] = (struct map_slot){0};
}

void *map_take(struct map *m, uint64_t hash, map_eq_fn *eq, const void *key)
{
    if (m->count == 0)
        return NULL;
    size_t at = find(m, hash, eq, key);
    void *value = m->slots[at].value;
    if (!value)
        return NULL;
    shift_back(m, at);
    m->count--;
    if (m->cap > CAP_MIN && m->cap > m->kept && m->count * 8 <= m->cap)
        resize(m, m->cap / 2);
    return value;
}

void *map_next(const struct map *m, size_t *at)
{
    while (*at < m->cap) {
        void *value = m->slots[(*at)++].value;
        if (value)
            return value;
    }
    return NULL;
}
