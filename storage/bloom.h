/* bloom: a filter that says "surely not here" for almost every key that is not.
 *
 * One line of 64 bytes holds all bits of a key, so a question costs one cache miss. At 10 bits a key about 1 % of the
 * questions for absent keys are answered wrongly with "maybe". Thread: pure functions. */
#pragma once
#include "base/buf.h"

enum { BLOOM_LINE = 64 };
/* The hash of a key, as the other two want it. */
uint64_t bloom_hash(struct str key);
/* Appends a filter of these hashes to `out`: a whole number of lines, at least one. */
void bloom_build(const uint64_t *hashes, size_t n, unsigned bits_per_key, struct buf *out);
/* The same, bit by bit, for more keys than one wants to keep the hashes of: the memory is the filter's. `at_most`
 * hashes are expected: of fewer, the lines are folded to as few as they need, or up to half as many again. */
enum { BLOOM_DELAY = 16 };
struct bloom_builder {
    struct buf filter;
    size_t lines, added;
    uint64_t waiting[BLOOM_DELAY]; /* whose lines are being brought near */
};
MUST_CHECK enum err bloom_begin(struct bloom_builder *b, size_t at_most, unsigned bits_per_key); /* NOMEM */
void bloom_add(struct bloom_builder *b, uint64_t hash);
struct str bloom_end(struct bloom_builder *b, unsigned bits_per_key); /* borrowed from b->filter */
void bloom_deinit(struct bloom_builder *b);
/* An empty or misshapen filter answers maybe. */
bool bloom_may_have(struct str filter, uint64_t hash);
/* Has the line that the question needs brought near. */
void bloom_prefetch(struct str filter, uint64_t hash);
