/* parley_offline: the directory without a server around it, for a data folder that no server holds. */
#pragma once
#include "base/env.h"

/* Makes accounts (services/seed.h) through a log of its own. `line` gets one for each account that is durable. On
 * failure *why (mem_free) says it; accounts whose line was given stay. LOCKED: a server holds the folder. */
MUST_CHECK enum err offline_seed(const char *data, struct str prefix, uint64_t count,
                                 bool (*line)(void *arg, struct str line), void *arg, char **why);
