/* Sixteen parts, each with a lock, a hash table and a ring in the order of arrival. CLOCK: when room is needed the
 * oldest goes, unless it was asked for since the hand was there last, then it gets another round. */
#include "storage/cache.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/map.h"
#include <pthread.h>

enum { PARTS = 16, ENTRY_COST = 128 /* malloc's and our own overhead for one block */ };

struct place {
    uint64_t table, at;
};

struct entry {
    struct link link;
    struct place place;
    struct block *block;
    bool was_asked;
};

struct part {
    _Alignas(64) pthread_mutex_t lock; /* guards all below */
    struct map map;
    struct link ring; /* the hand is at its head */
    size_t bytes;
    uint64_t hits, misses;
};

struct block_cache {
    struct part part[PARTS];
    size_t part_bytes;
    _Atomic uint64_t next_table;
};

void block_cache_create(size_t bytes, struct block_cache **out)
{
    struct block_cache *c =
        aligned_alloc(64, sizeof(*c)); /* parts do not share lines: mem_alloc does not promise that */
    if (!c)
        abort();
    memset(c, 0, sizeof(*c));
    c->part_bytes = bytes / PARTS;
    atomic_init(&c->next_table, 1);
    for (struct part *p = c->part; p < c->part + PARTS; p++) {
        pthread_mutex_init(&p->lock, NULL);
        list_init(&p->ring);
    }
    *out = c;
}

uint64_t block_cache_new_table(struct block_cache *c) { return atomic_fetch_add(&c->next_table, 1); }

static size_t cost_of(const struct block *b) { return b->len + ENTRY_COST; }

static bool is_at(const void *value, const void *key)
{
    const struct entry *e = value;
    const struct place *p = key;
    return e->place.at == p->at && e->place.table == p->table;
}

static uint64_t hash_of(struct place p) { return hash_u64(p.table * 0x9e3779b97f4a7c15u + p.at); }

static struct part *part_of(struct block_cache *c, uint64_t hash) { return &c->part[hash >> 60]; }

static void evict(struct part *p, struct entry *e)
{
    map_take(&p->map, hash_of(e->place), is_at, &e->place);
    list_remove(&e->link);
    p->bytes -= cost_of(e->block);
    block_unref(e->block);
    mem_free(e);
}

static void make_room(struct part *p, size_t bytes)
{
    while (p->bytes > bytes) {
        struct entry *e = list_first(&p->ring, struct entry, link);
        if (!e->was_asked) {
            evict(p, e);
            continue;
        }
        e->was_asked = false;
        list_remove(&e->link);
        list_push(&p->ring, &e->link);
    }
}

void block_cache_destroy(struct block_cache *c)
{
    if (!c)
        return;
    for (struct part *p = c->part; p < c->part + PARTS; p++) {
        make_room(p, 0);
        map_deinit(&p->map);
        pthread_mutex_destroy(&p->lock);
    }
    free(c);
}

void block_unref(struct block *b)
{
    if (b && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
        mem_free(b);
}

struct block *block_cache_get(struct block_cache *c, uint64_t table, uint64_t at)
{
    struct place place = {table, at};
    uint64_t hash = hash_of(place);
    struct part *p = part_of(c, hash);
    struct block *b = NULL;

    pthread_mutex_lock(&p->lock);
    struct entry *e = map_get(&p->map, hash, is_at, &place);
    if (e) {
        e->was_asked = true;
        b = block_ref(e->block);
        p->hits++;
    } else {
        p->misses++;
    }
    pthread_mutex_unlock(&p->lock);
    return b;
}

void block_cache_put(struct block_cache *c, uint64_t table, uint64_t at, struct block *b)
{
    struct place place = {table, at};
    uint64_t hash = hash_of(place);
    struct part *p = part_of(c, hash);

    if (cost_of(b) > c->part_bytes)
        return; /* it would push out everything else, and then itself */
    pthread_mutex_lock(&p->lock);
    if (!map_get(&p->map, hash, is_at, &place)) { /* two may have loaded it at the same time */
        make_room(p, c->part_bytes - cost_of(b));
        struct entry *e = mem_new(struct entry);
        *e = (struct entry){.place = place, .block = block_ref(b)};
        map_add(&p->map, hash, e);
        list_push(&p->ring, &e->link);
        p->bytes += cost_of(b);
    }
    pthread_mutex_unlock(&p->lock);
}

static uint64_t sum(const struct block_cache *c, bool hits)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < PARTS; i++) {
        pthread_mutex_t *lock =
            (pthread_mutex_t *)&c->part[i].lock; /* reading a counter changes nothing but the lock */
        pthread_mutex_lock(lock);
        n += hits ? c->part[i].hits : c->part[i].misses;
        pthread_mutex_unlock(lock);
    }
    return n;
}

uint64_t block_cache_hits(const struct block_cache *c) { return sum(c, true); }

uint64_t block_cache_misses(const struct block_cache *c) { return sum(c, false); }
