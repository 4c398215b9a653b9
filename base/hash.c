#include "base/hash.h"
#include <sodium.h>
#include <xxhash.h>

_Static_assert(sizeof(struct hash_key) == crypto_shorthash_KEYBYTES, "SipHash has keys of 16 bytes");
_Static_assert(crypto_shorthash_BYTES == 8 && crypto_shorthash_siphashx24_BYTES == 16, "and answers of 8 and 16");

uint64_t hash_sum(const void *p, size_t n, uint64_t seed) { return XXH3_64bits_withSeed(p, n, seed); }

uint64_t hash_keyed64(const struct hash_key *k, const void *p, size_t n)
{
    uint64_t out;
    crypto_shorthash((unsigned char *)&out, p, n, k->b);
    return out;
}

void hash_keyed128(const struct hash_key *k, const void *p, size_t n, uint8_t out[16])
{
    crypto_shorthash_siphashx24(out, p, n, k->b);
}
