/* parley_view: a source (parley_source.h) read as one: its stores and SQLite with everything that the logs add, in
 * memory. Nothing on the disk changes.
 *
 * Thread: one. Memory: what the logs add to the stores, and all of SQLite. */
#pragma once
#include "cmd/parley_source.h"
#include "schema/db.h"
#include "storage/convlog.h"
#include "storage/placement.h"

struct view {
    struct env *env;
    struct data_dir data; /* not locked by it */
    struct block_cache *cache;
    struct lsm **stores; /* by index, as data.stores */
    struct db *tables;
    bool is_damaged; /* something of a log could not be read; it was said on stderr */
};
/* On failure *why (mem_free) says it. */
MUST_CHECK enum err view_open(struct source *s, struct view *out, char **why);
void view_close(struct view *v);
static inline struct lsm *view_store(const struct view *v, const struct conv_id *c)
{
    return v->stores[v->data.store_of[shard_of(&v->data, c)]];
}
