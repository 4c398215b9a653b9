/* memtable: what was put and is not in a table yet: an ordered map in memory.
 *
 * A deleted key is an entry too (a tombstone), since older tables may still hold the key.
 * Thread: its owner's alone while it changes; once nobody puts any more, any thread reads it without a lock.
 * Memory: all of it in one arena, freed at once; what reads return is borrowed until the memtable changes. */
#pragma once
#include "base/mem.h"
#include "storage/iter.h"

struct memtable;
struct memtable_leaf;
struct memtable_entry;
void memtable_create(struct memtable **out);
void memtable_destroy(struct memtable *m);

/* A key is 1 to 255 bytes. A value of the same size as the one there overwrites it in place. */
void memtable_put(struct memtable *m, struct str key, struct str value);
void memtable_delete(struct memtable *m, struct str key);
/* Where a key was put or looked for, so that the same one, or one that belongs beside it, need not be searched for from
 * the root. It is a guess: whatever was put meanwhile, the outcome is the same. Zeroed it knows nothing; it is of one
 * memtable, and not asked when that is gone. */
struct memtable_near {
    struct memtable_leaf *leaf;
    struct memtable_entry *entry; /* of that very key; NULL: it was not there */
};
void memtable_put_near(struct memtable *m, struct str key, struct str value, struct memtable_near *near);
/* For who puts the same key with values of one size again and again: there is no search at all. */
void memtable_put_again(struct memtable *m, struct str key, struct str value, struct memtable_near *near);
/* The same, put late: reads and walks know nothing of it until memtable_settle sorts in all that was put late, in the
 * order of keys, which costs a fraction of finding the place of each as it comes. Until then nothing else is put. Of
 * equal keys the last counts. */
void memtable_put_late(struct memtable *m, struct str key, struct str value);
void memtable_delete_late(struct memtable *m, struct str key);
void memtable_settle(struct memtable *m);
/* False when it says nothing about the key. */
bool memtable_get(const struct memtable *m, struct str key, struct str *value, bool *is_tombstone);
bool memtable_get_near(const struct memtable *m, struct str key, struct memtable_near *near, struct str *value,
                       bool *is_tombstone);      /* and `near` gets to know the place */
size_t memtable_bytes(const struct memtable *m); /* of memory, with all overhead but malloc's */
size_t memtable_count(const struct memtable *m); /* of keys; each put that was late and is not settled is one, too */

struct memtable_iter {
    struct iter it;
    const struct memtable_leaf *leaf;
    unsigned i;
};
/* From the first key at or after `from`. */
void memtable_iter_init(struct memtable_iter *w, const struct memtable *m, struct str from);
