/* The hash's upper half chooses the line, by multiplication instead of division; its lower half, multiplied again and
 * again by an odd constant, gives six positions of 9 bits within the line. */
#include "storage/bloom.h"
#include "base/hash.h"

enum { PROBES = 6, SEED = 0x626c6f6f };

uint64_t bloom_hash(struct str key) { return hash_sum(key.p, key.len, SEED); }

static size_t line_of(size_t lines, uint64_t hash) { return (size_t)(((hash >> 32) * lines) >> 32); }

static unsigned next_bit(uint32_t *h)
{
    *h *= 0x9e3779b9u;
    return *h >> 23;
}

void bloom_build(const uint64_t *hashes, size_t n, unsigned bits_per_key, struct buf *out)
{
    size_t lines = (n * bits_per_key + 8 * BLOOM_LINE - 1) / (8 * BLOOM_LINE);
    if (lines == 0)
        lines = 1;
    char *filter = buf_reserve(out, lines * BLOOM_LINE);
    memset(filter, 0, lines * BLOOM_LINE);
    for (size_t i = 0; i < n; i++) {
        uint8_t *line = (uint8_t *)filter + line_of(lines, hashes[i]) * BLOOM_LINE;
        uint32_t h = (uint32_t)hashes[i];
        for (unsigned p = 0; p < PROBES; p++) {
            unsigned bit = next_bit(&h);
            line[bit / 8] = (uint8_t)(line[bit / 8] | 1u << bit % 8);
        }
    }
    out->len += lines * BLOOM_LINE;
}

bool bloom_may_have(struct str filter, uint64_t hash)
{
    if (filter.len == 0 || filter.len % BLOOM_LINE != 0)
        return true;
    const uint8_t *line = (const uint8_t *)filter.p + line_of(filter.len / BLOOM_LINE, hash) * BLOOM_LINE;
    uint32_t h = (uint32_t)hash;
    for (unsigned p = 0; p < PROBES; p++) {
        unsigned bit = next_bit(&h);
        if (!(line[bit / 8] & 1u << bit % 8))
            return false;
    }
    return true;
}

void bloom_prefetch(struct str filter, uint64_t hash)
{
    if (filter.len)
        __builtin_prefetch(filter.p + line_of(filter.len / BLOOM_LINE, hash) * BLOOM_LINE);
}
