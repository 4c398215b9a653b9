/* db_copy: a copy of a database as it is at one moment, while others write it.
 *
 * The moment is held by a read transaction: nobody waits for it, but what is written meanwhile cannot be checkpointed.
 * Thread: one. */
#pragma once
#include "schema/db.h"

/* The same into memory, where it can be written on; `out` takes no checkpoints. */
MUST_CHECK enum err db_copy_into_memory(struct db *from, struct db **out);
/* Copies what `from` shows to a new file, which is neither synced nor beside a write-ahead file. `paced` is called
 * after each piece with its bytes, and may wait; NULL: none. On failure the file is worth nothing. */
MUST_CHECK enum err db_copy(struct db *from, const char *to, void (*paced)(void *arg, uint64_t bytes), void *arg);
