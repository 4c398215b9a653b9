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
/* An empty or misshapen filter answers maybe. */
bool bloom_may_have(struct str filter, uint64_t hash);
/* Has the line that the question needs brought near. */
void bloom_prefetch(struct str filter, uint64_t hash);
