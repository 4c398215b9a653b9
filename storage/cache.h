/* cache: blocks of tables in memory, bounded in bytes, shared by all stores of a process.
 *
 * Thread: any; sharded by key, a lock each. A block is referenced while it is used; eviction (CLOCK) drops the cache's
 * reference only. */
#pragma once
#include "base/mem.h"
#include <stdatomic.h>

struct block {
    _Atomic uint32_t refs;
    uint32_t len;
    char bytes[];
};
struct block_cache;
void block_cache_create(size_t bytes, struct block_cache **out);
void block_cache_destroy(struct block_cache *c);
/* A number for a table's blocks that no other table of this process has: stores number their files each for itself. */
uint64_t block_cache_new_table(struct block_cache *c);
struct block *block_cache_get(struct block_cache *c, uint64_t table, uint64_t at); /* a reference, or NULL */
void block_cache_put(struct block_cache *c, uint64_t table, uint64_t at,
                     struct block *b); /* takes a reference of its own */
static inline struct block *block_ref(struct block *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}
void block_unref(struct block *b);
uint64_t block_cache_hits(const struct block_cache *c);
uint64_t block_cache_misses(const struct block_cache *c);
