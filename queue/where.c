/* A stripe is an open-addressing table of pairs (user, port) with a count. A pair's home is decided by its user alone,
 * so the pairs of one user stand in one run: joining one walks it to its pair, asking for all ports walks it to its
 * end. Nearly every user is at one or two ports, so a run is a cache line. Taking a pair away shifts back what stands
 * behind it: there are no tombstones, and a free slot always ends a run. */
#include "queue/where.h"
#include "base/mem.h"
#include <assert.h>
#include <pthread.h>

enum { STRIPES = 64, CAP_MIN = 8 };

struct pair {
    uint64_t user;
    uint32_t port, count; /* count 0: a free slot */
};

struct stripe {
    pthread_mutex_t lock;
    struct pair *pairs;
    size_t cap, used;
} __attribute__((aligned(64))); /* a lock that is taken does not slow its neighbours */

struct where {
    uint64_t seed; /* so that nobody can choose users that meet in one run */
    struct stripe *stripes;
    void *memory;
};

void where_create(const struct hash_key *key, struct where **out)
{
    struct where *w = mem_new(struct where);

    w->seed = hash_keyed64(key, "where", 5);
    w->memory = mem_alloc((STRIPES + 1) * sizeof(struct stripe)); /* mem_alloc aligns to less than a stripe */
    uintptr_t slack = -(uintptr_t)w->memory % sizeof(struct stripe);
    w->stripes = (struct stripe *)(void *)((char *)w->memory + slack);
    for (size_t i = 0; i < STRIPES; i++)
        pthread_mutex_init(&w->stripes[i].lock, NULL);
    *out = w;
}

void where_destroy(struct where *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < STRIPES; i++) {
        pthread_mutex_destroy(&w->stripes[i].lock);
        mem_free(w->stripes[i].pairs);
    }
    mem_free(w->memory);
    mem_free(w);
}

static uint64_t hash_of(const struct where *w, uint64_t user) { return hash_u64(user ^ w->seed); }

static struct stripe *stripe_of(struct where *w, uint64_t hash) { return &w->stripes[hash >> 58]; }

/* Where the pair is, or the free slot that ends its user's run. */
static size_t find(const struct stripe *s, uint64_t hash, uint64_t user, unsigned port)
{
    size_t mask = s->cap - 1, i = hash & mask;
    while (s->pairs[i].count && (s->pairs[i].user != user || s->pairs[i].port != port))
        i = (i + 1) & mask;
    return i;
}

static void resize(const struct where *w, struct stripe *s, size_t cap)
{
    struct stripe old = *s;

    s->pairs = mem_new_array(struct pair, cap);
    s->cap = cap;
    for (size_t i = 0; i < old.cap; i++) {
        struct pair *p = &old.pairs[i];
        if (p->count)
            s->pairs[find(s, hash_of(w, p->user), p->user, p->port)] = *p;
    }
    mem_free(old.pairs);
}

static void add(const struct where *w, struct stripe *s, uint64_t hash, uint64_t user, unsigned port)
{
    if ((s->used + 1) * 4 > s->cap * 3)
        resize(w, s, s->cap ? s->cap * 2 : CAP_MIN);
    struct pair *p = &s->pairs[find(s, hash, user, port)];
    s->used += p->count == 0;
    *p = (struct pair){user, port, p->count + 1};
}

/* Fills the hole from behind: a pair further on moves into it unless its home lies behind the hole. */
static void shift_back(const struct where *w, struct stripe *s, size_t hole)
{
    size_t mask = s->cap - 1;
    for (size_t i = (hole + 1) & mask; s->pairs[i].count; i = (i + 1) & mask) {
        size_t from_home = (i - hash_of(w, s->pairs[i].user)) & mask, from_hole = (i - hole) & mask;
        if (from_home >= from_hole) {
            s->pairs[hole] = s->pairs[i];
            hole = i;
        }
    }
    s->pairs[hole] = (struct pair){0};
}

static void take(const struct where *w, struct stripe *s, uint64_t hash, uint64_t user, unsigned port)
{
    size_t at = s->used ? find(s, hash, user, port) : 0;

    assert(s->used && s->pairs[at].count);
    if (--s->pairs[at].count > 0)
        return;
    shift_back(w, s, at);
    s->used--;
    if (s->cap > CAP_MIN && s->used * 8 < s->cap)
        resize(w, s, s->cap / 2);
}

void where_join(struct where *w, uint64_t user, unsigned port)
{
    uint64_t hash = hash_of(w, user);
    struct stripe *s = stripe_of(w, hash);

    pthread_mutex_lock(&s->lock);
    add(w, s, hash, user, port);
    pthread_mutex_unlock(&s->lock);
}

void where_leave(struct where *w, uint64_t user, unsigned port)
{
    uint64_t hash = hash_of(w, user);
    struct stripe *s = stripe_of(w, hash);

    pthread_mutex_lock(&s->lock);
    take(w, s, hash, user, port);
    pthread_mutex_unlock(&s->lock);
}

uint64_t where_ports(struct where *w, uint64_t user)
{
    uint64_t hash = hash_of(w, user), ports = 0;
    struct stripe *s = stripe_of(w, hash);

    pthread_mutex_lock(&s->lock);
    for (size_t mask = s->cap - 1, i = hash & mask; s->used && s->pairs[i].count; i = (i + 1) & mask) {
        if (s->pairs[i].user == user)
            ports |= UINT64_C(1) << s->pairs[i].port;
    }
    pthread_mutex_unlock(&s->lock);
    return ports;
}
