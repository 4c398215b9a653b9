/* trim: gives back the space of what every view has.
 *
 * Every TRIM_EVERY_MS a reactor compares how durable its stores, the tables and what is owed are, and trims its log
 * behind the slowest. A store that holds back more than FLUSH_BEHIND_BYTES is flushed, so that a restart has little to
 * replay. The tables and what is owed hold the log back by at most world_max_lag: then they are detached (rebuild.h).
 * The stores are never: until they flushed it, the log is the only copy. The first reactor removes the logs of earlier
 * starts. Thread: the reactor's. */
#pragma once
#include "services/reactor.h"

enum { TRIM_EVERY_MS = 2000, FLUSH_BEHIND_BYTES = 64 << 20 };

struct trim;
void trim_create(struct reactor *r, const char *log_dir, struct pool *pool, struct views *v, struct trim **out);
void trim_destroy(struct trim *t); /* waits for nothing: the pool was ended before */
/* Held: nothing is given back, no log of an earlier start is removed, until it is let go. Stores are flushed as ever.
 */
void trim_hold(struct trim *t, bool is_held);
/* Whether the logs of earlier starts are still there and needed: not yet in every view durably. Asked while held. */
bool trim_needs_old(const struct trim *t);
/* What the timer does. */
void trim_now(struct trim *t);
