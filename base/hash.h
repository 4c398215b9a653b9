/* hash: checksums against damage and keyed hashes against people.
 *
 * hash_sum is XXH3 (libxxhash), for files. The keyed ones are libsodium's SipHash, for identifiers and tables that a
 * peer's bytes reach. Thread-safe. */
#pragma once
#include "base/str.h"

struct hash_key {
    uint8_t b[16];
};

uint64_t hash_sum(const void *p, size_t n, uint64_t seed);
uint64_t hash_keyed64(const struct hash_key *k, const void *p, size_t n);               /* SipHash-2-4 */
void hash_keyed128(const struct hash_key *k, const void *p, size_t n, uint8_t out[16]); /* SipHash-2-4, 128 bits */
/* Mixes an id that is already random or secret into a table index (no secrecy). */
static inline uint64_t hash_u64(uint64_t x)
{
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    x ^= x >> 32;
    return x;
}
