/* map: a hash table from 64-bit hashes to the caller's structs (open addressing, linear probing, load at most 3/4).
 *
 * It holds pointers and their hashes; keys live in the structs and are compared by the caller's function. Deleting
 * shifts back, so there are no tombstones. Grows by doubling: O(1) amortised; shrinks when an eighth full.
 * Thread: one. Memory: 16 bytes a slot; entries are borrowed. A zeroed map is empty and valid. */
#pragma once
#include "base/mem.h"

struct map_slot {
    uint64_t hash;
    void *value;
};
struct map {
    struct map_slot *slots;
    size_t cap, count;
    size_t kept; /* slots that it does not shrink below */
};
typedef bool map_eq_fn(const void *value, const void *key);

void map_deinit(struct map *m);
/* For one that fills and empties all the time: it has at least `cap` slots (a power of two) from now on. */
void map_keep(struct map *m, size_t cap);
void *map_get(const struct map *m, uint64_t hash, map_eq_fn *eq, const void *key); /* NULL when absent */
/* Before map_get, so that it need not wait for memory: has the hash's place fetched; names what most likely is there.
 */
void map_fetch(const struct map *m, uint64_t hash);
void *map_peek(const struct map *m, uint64_t hash); /* NULL: nothing; else the caller knows only that hashes agree */
void map_add(struct map *m, uint64_t hash, void *value);                      /* the caller knows it is absent */
void *map_take(struct map *m, uint64_t hash, map_eq_fn *eq, const void *key); /* removes and returns it, or NULL */
/* Walks all in no order: start with *at = 0; NULL ends. Adding or taking while walking is not allowed. */
void *map_next(const struct map *m, size_t *at);
