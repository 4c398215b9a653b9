/* store_verify: reads every block of every table of a store that nobody writes, changes nothing, names all that is
 * damaged, and hands on the keys that are left, as the store would have them.
 *
 * Thread: one. Memory: a block and the index of each table. */
#pragma once
#include "base/damage.h"
#include "storage/manifest.h"

struct store_verify {
    struct fs *fs;
    const char *dir;
    const struct damage_sink *sink;
    void *arg; /* of the functions */
    /* Each live key, ascending. */
    void (*key)(void *arg, struct str key, struct str value);
    /* A damaged block held keys behind `after` (empty: from the first on) up to `last`: appends what they were of. */
    void (*lost)(void *arg, struct str after, struct str last, struct buf *out);
};
struct store_counts {
    uint64_t tables, blocks, bytes, entries;
};
/* Errors are of listing and memory alone; what cannot be read goes to the sink. With a lost manifest every table that
 * is there is read, the higher number being the newer. */
MUST_CHECK enum err store_verify(const struct store_verify *v, struct store_counts *counts);
