#include "gateway/admission.h"
#include "base/mem.h"
#include <stdatomic.h>

enum {
    SLOTS = 1 << 14,
    OF_ONE_ADDRESS = 256,
    SHARE = 4,         /* strangers are a quarter of all connections, */
    ADDRESS_SHARE = 2, /* and those of one address at most half of that */
};

struct admission {
    struct hash_key key;
    bool spares_loopback;
    _Atomic uint32_t most, most_strangers;
    uint32_t most_of_one;
    _Atomic uint32_t all, strangers, of_address[SLOTS];
};

void admission_allow(struct admission *a, uint32_t connections)
{
    atomic_store(&a->most, connections);
    atomic_store(&a->most_strangers, connections / SHARE ? connections / SHARE : 1);
}

void admission_create(const struct admission_conf *c, struct admission **out)
{
    struct admission *a = mem_new(struct admission);
    uint32_t half;

    env_random(c->env, &a->key, sizeof a->key);
    a->spares_loopback = c->spares_loopback;
    admission_allow(a, c->connections);
    half = a->most_strangers / ADDRESS_SHARE ? a->most_strangers / ADDRESS_SHARE : 1;
    a->most_of_one = half < OF_ONE_ADDRESS ? half : OF_ONE_ADDRESS;
    *out = a;
}

void admission_destroy(struct admission *a) { mem_free(a); }

static void put_back(_Atomic uint32_t *n) { atomic_fetch_sub_explicit(n, 1, memory_order_relaxed); }

/* False: there are `most` already. */
static bool take(_Atomic uint32_t *n, uint32_t most)
{
    if (atomic_fetch_add_explicit(n, 1, memory_order_relaxed) < most)
        return true;
    put_back(n);
    return false;
}

static bool enter_stranger(struct admission *a, struct guest *g)
{
    if (!take(&a->of_address[g->slot], a->most_of_one))
        return false;
    if (take(&a->strangers, a->most_strangers))
        return true;
    put_back(&a->of_address[g->slot]);
    return false;
}

enum admission_answer admission_enter(struct admission *a, const uint8_t address[8], bool is_loopback, struct guest *g)
{
    bool is_spared = is_loopback && a->spares_loopback;

    *g = (struct guest){.slot = (uint32_t)(hash_keyed64(&a->key, address, 8) % SLOTS)};
    if (!take(&a->all, a->most))
        return ADMISSION_FULL;
    if (!is_spared && !enter_stranger(a, g)) {
        put_back(&a->all);
        return ADMISSION_CROWDED;
    }
    g->is_in = true;
    g->is_stranger = !is_spared;
    return ADMISSION_GRANTED;
}

void admission_known(struct admission *a, struct guest *g)
{
    if (!g->is_stranger)
        return;
    g->is_stranger = false;
    put_back(&a->of_address[g->slot]);
    put_back(&a->strangers);
}

void admission_leave(struct admission *a, struct guest *g)
{
    if (!g->is_in)
        return;
    admission_known(a, g);
    g->is_in = false;
    put_back(&a->all);
}
