#include "services/naming.h"

enum { PLACES = 4096 };

struct named {
    user_id low, high; /* 0, 0: a free place. Nobody's id is 0 */
    struct conv_id conv;
    uint64_t hash;
};
struct naming {
    const struct data_keys *keys;
    struct conv_id last;
    uint64_t last_hash;
    struct named v[PLACES];
};

static uint64_t hash_of(const struct naming *n, const struct conv_id *c)
{
    return hash_keyed64(&n->keys->shard, c->b, sizeof c->b);
}

void naming_create(const struct data_keys *keys, struct naming **out)
{
    struct naming *n = mem_new(struct naming);

    n->keys = keys;
    n->last_hash = hash_of(n, &n->last);
    *out = n;
}

void naming_destroy(struct naming *n) { mem_free(n); }

static void name(const struct naming *n, struct named *at, user_id low, user_id high)
{
    at->low = low;
    at->high = high;
    pair_conv(n->keys, low, high, &at->conv);
    at->hash = hash_of(n, &at->conv);
}

void naming_pair(struct naming *n, user_id a, user_id b, struct conv_id *out)
{
    user_id low = a < b ? a : b, high = a < b ? b : a;
    struct named *at = &n->v[hash_u64(low ^ hash_u64(high)) % PLACES];

    if (at->low != low || at->high != high || high == 0)
        name(n, at, low, high);
    n->last = at->conv;
    n->last_hash = at->hash;
    *out = at->conv;
}

uint64_t naming_hash(struct naming *n, const struct conv_id *c)
{
    if (!conv_eq(&n->last, c)) {
        n->last = *c;
        n->last_hash = hash_of(n, c);
    }
    return n->last_hash;
}
