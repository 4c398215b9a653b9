/* iter: one ascending walk over keys, whatever stands behind it (memtable, table, merge).
 *
 * Embed it first in a struct of your own. It is made standing on its first key; `key` and `value` are borrowed until
 * the next step. When it ends, ask `err`: a walk also ends at a damaged block, or at one that is not in memory (AGAIN).
 */
#pragma once
#include "base/err.h"
#include "base/str.h"

struct iter {
    void (*next)(struct iter *);
    struct str key, value;
    bool is_valid;
    bool is_tombstone; /* the key was deleted here; value is empty */
    enum err err;
};

static inline void iter_end(struct iter *it, enum err err)
{
    it->is_valid = false;
    it->err = err;
}
