/* The hash's upper half chooses the line, by multiplication instead of division; its lower half, multiplied again and
 * again by an odd constant, gives six positions of 9 bits within the line. */
#include "storage/bloom.h"
#include "base/hash.h"

enum { PROBES = 6, SEED = 0x626c6f6f, FOLDS = 12 /* lines are folded by 2, 3, 4, 6 or 12 */ };

uint64_t bloom_hash(struct str key) { return hash_sum(key.p, key.len, SEED); }

static size_t line_of(size_t lines, uint64_t hash) { return (size_t)(((hash >> 32) * lines) >> 32); }

static unsigned next_bit(uint32_t *h)
{
    *h *= 0x9e3779b9u;
    return *h >> 23;
}

static size_t lines_for(size_t n, unsigned bits_per_key)
{
    size_t lines = (n * bits_per_key + 8 * BLOOM_LINE - 1) / (8 * BLOOM_LINE);
    return lines ? lines : 1;
}

static void set_bits(char *filter, size_t lines, uint64_t hash)
{
    uint8_t *line = (uint8_t *)filter + line_of(lines, hash) * BLOOM_LINE;
    uint32_t h = (uint32_t)hash;
    for (unsigned p = 0; p < PROBES; p++) {
        unsigned bit = next_bit(&h);
        line[bit / 8] = (uint8_t)(line[bit / 8] | 1u << bit % 8);
    }
}

void bloom_build(const uint64_t *hashes, size_t n, unsigned bits_per_key, struct buf *out)
{
    size_t lines = lines_for(n, bits_per_key);
    char *filter = buf_reserve(out, lines * BLOOM_LINE);
    memset(filter, 0, lines * BLOOM_LINE);
    for (size_t i = 0; i < n; i++)
        set_bits(filter, lines, hashes[i]);
    out->len += lines * BLOOM_LINE;
}

enum err bloom_begin(struct bloom_builder *b, size_t at_most, unsigned bits_per_key)
{
    size_t lines = lines_for(at_most, bits_per_key);
    lines = (lines + FOLDS - 1) / FOLDS * FOLDS;
    char *p = mem_try(lines * BLOOM_LINE);
    if (!p)
        return ERR_NOMEM;
    memset(p, 0, lines * BLOOM_LINE);
    *b = (struct bloom_builder){.filter = {p, lines * BLOOM_LINE, lines * BLOOM_LINE}, .lines = lines};
    return ERR_OK;
}

/* The line of a large filter is in no cache: it is asked for now and written 16 hashes later. */
void bloom_add(struct bloom_builder *b, uint64_t hash)
{
    uint64_t *slot = &b->waiting[b->added % BLOOM_DELAY];
    if (b->added >= BLOOM_DELAY)
        set_bits(b->filter.p, b->lines, *slot);
    __builtin_prefetch(b->filter.p + line_of(b->lines, hash) * BLOOM_LINE, 1);
    *slot = hash;
    b->added++;
}

/* f neighbouring lines become one. The line of a hash is floor(h * lines / 2^32), and the floor of an f-th of it is the
 * line among lines / f: so what comes out is what lines / f would have been from the beginning. */
static void fold(struct bloom_builder *b, size_t f)
{
    size_t lines = b->lines / f;
    for (size_t i = 0; i < lines; i++) {
        char *to = b->filter.p + i * BLOOM_LINE;
        memmove(to, b->filter.p + i * f * BLOOM_LINE, BLOOM_LINE);
        for (size_t k = 1; k < f; k++)
            for (size_t at = 0; at < BLOOM_LINE; at++)
                to[at] = (char)(to[at] | b->filter.p[(i * f + k) * BLOOM_LINE + at]);
    }
    b->lines = lines;
    b->filter.len = lines * BLOOM_LINE;
}

struct str bloom_end(struct bloom_builder *b, unsigned bits_per_key)
{
    size_t n = b->added < BLOOM_DELAY ? b->added : BLOOM_DELAY, needed = lines_for(b->added, bits_per_key);
    for (size_t i = 0; i < n; i++)
        set_bits(b->filter.p, b->lines, b->waiting[i]);
    for (size_t f = FOLDS; f > 1; f--) {
        if (FOLDS % f == 0 && b->lines % f == 0 && b->lines / f >= needed) {
            fold(b, f);
            break;
        }
    }
    return buf_get(&b->filter);
}

void bloom_deinit(struct bloom_builder *b) { buf_deinit(&b->filter); }

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
