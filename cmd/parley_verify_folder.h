/* parley_verify_folder: reads everything of a data folder that nobody writes, and says what is damaged.
 *
 * Nothing in the folder changes, except that SQLite may leave its -shm file beside a -wal that is there. */
#pragma once
#include "base/env.h"

struct verify_totals {
    uint64_t damages;
    uint64_t logs, records, torn_bytes;
    uint64_t stores, tables, blocks, bytes, entries;
    uint64_t conversations;
};
/* A line on stdout for each damage. Errors: it cannot be read at all (*why, mem_free). */
MUST_CHECK enum err verify_folder(struct env *env, const char *path, struct verify_totals *out, char **why);
