/* lookup: reads the tables: tokens, profiles, devices, who is in what.
 *
 * A thread with a loop, the port world_lookup and a read-only connection of its own. It sees everything that the
 * directory has committed, so everything that was ever answered.
 *
 * Thread: lookup_run's, but for create, stop and destroy. */
#pragma once
#include "services/handlers.h"
#include "services/world.h"

struct lookup;
struct lookup_conf {
    struct world *world;
    op_fn *const *ops; /* op_handlers; a test may give fewer */
    const char *path;  /* tables.db; tables_open has been there */
};
MUST_CHECK enum err lookup_create(const struct lookup_conf *c, struct lookup **out);
void lookup_run(struct lookup *l);  /* until lookup_stop */
void lookup_stop(struct lookup *l); /* any thread */
void lookup_destroy(struct lookup *l);
