/* purge: what was erased leaves the files within world.limits.erase_within_ms.
 *
 * When a quarter of that time has passed since an erasing, the stores purge their tables (lsm_purge), and the log goes
 * on in a new segment, so that all before can be trimmed and zeroed as soon as every view has it; the stores are
 * flushed for it. Any reactor's erasing has every reactor's log do so: what it erased may stand in any log. Without an
 * erasing nothing is done. Thread: the reactor's. */
#pragma once
#include "services/reactor.h"

struct purge;
void purge_create(struct reactor *r, struct purge **out);
void purge_destroy(struct purge *p);
/* When the oldest erasing was of which something may still be in this reactor's files, ms since 1970; 0: none. */
int64_t purge_since(const struct purge *p);
