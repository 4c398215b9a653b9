/* The hashes that place things. Each input starts with a byte of its own or has a key of its own, so that no two kinds
 * of input can be the same bytes under the same key. What is computed here is where things lie on disk: it never
 * changes for a folder that exists (a test pins it). */
#include "storage/placement.h"
#include <assert.h>

enum { PAIR = 'p', GROUP = 'g' };

uint16_t shard_of(const struct data_dir *d, const struct conv_id *c)
{
    return (uint16_t)(hash_keyed64(&d->keys.shard, c->b, sizeof c->b) % SHARD_COUNT);
}

void pair_conv(const struct data_keys *k, user_id a, user_id b, struct conv_id *out)
{
    uint8_t text[1 + 2 * sizeof(user_id)] = {PAIR};

    enc_u64(text + 1, a < b ? a : b);
    enc_u64(text + 9, a < b ? b : a);
    hash_keyed128(&k->conv, text, sizeof text, out->b);
}

void group_conv(const struct data_keys *k, user_id creator, struct str cid, struct conv_id *out)
{
    uint8_t text[1 + sizeof(user_id) + CID_MAX] = {GROUP};

    assert(cid.len > 0 && cid.len <= CID_MAX);
    enc_u64(text + 1, creator);
    memcpy(text + 9, cid.p, cid.len);
    hash_keyed128(&k->conv, text, 9 + cid.len, out->b);
}

void cid_hash(const struct data_keys *k, const struct conv_id *c, user_id from, struct str cid, uint8_t out[16])
{
    uint8_t text[sizeof *c + sizeof(user_id) + CID_MAX];

    assert(cid.len > 0 && cid.len <= CID_MAX);
    memcpy(text, c->b, sizeof c->b);
    enc_u64(text + 16, from);
    memcpy(text + 24, cid.p, cid.len);
    hash_keyed128(&k->cid, text, 24 + cid.len, out);
}

/* The ring's key of a shard: its number, 2 bytes, little endian. */
static uint16_t place(const struct ring *r, uint16_t shard, const unsigned held[], unsigned most)
{
    unsigned owners[STORES_MAX];
    char text[2];
    size_t n, i = 0;

    enc_u16(text, shard);
    n = ring_owners(r, str_of(text, sizeof text), owners, STORES_MAX);
    while (i + 1 < n && held[owners[i]] >= most)
        i++;
    return (uint16_t)owners[i];
}

enum err placement_of_shards(const struct hash_key *ring, char *const *stores, unsigned n, uint16_t out[SHARD_COUNT])
{
    struct ring_node nodes[STORES_MAX];
    unsigned held[STORES_MAX] = {0}, even, most;
    struct ring *r;
    enum err err;

    if (n == 0 || n > STORES_MAX)
        return ERR_INVALID;
    for (unsigned i = 0; i < n; i++)
        nodes[i] = (struct ring_node){str_c(stores[i]), 1};
    err = ring_create(ring, nodes, n, &r);
    if (err != ERR_OK)
        return err;
    even = (SHARD_COUNT + n - 1) / n;
    most = SHARD_COUNT * 11 / (10 * n) > even ? SHARD_COUNT * 11 / (10 * n) : even;
    for (unsigned s = 0; s < SHARD_COUNT; s++) {
        out[s] = place(r, (uint16_t)s, held, most);
        held[out[s]]++;
    }
    ring_destroy(r);
    return ERR_OK;
}

enum err placement_target(const struct hash_key *ring, const struct placement *p, uint16_t out[SHARD_COUNT])
{
    char *names[STORES_MAX];
    uint16_t slots[STORES_MAX], target[SHARD_COUNT];
    unsigned n = 0;
    enum err err;

    for (unsigned i = 0; i < p->n_stores; i++) {
        if (p->stores[i].state != STORE_ACTIVE)
            continue;
        slots[n] = (uint16_t)i;
        names[n++] = (char *)(uintptr_t)p->stores[i].name; /* only read */
    }
    TRY(placement_of_shards(ring, names, n, target));
    for (unsigned s = 0; s < SHARD_COUNT; s++)
        out[s] = slots[target[s]];
out:
    return err;
}
