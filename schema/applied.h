/* applied: how far each log was applied. Thread: the db's. */
#pragma once
#include "schema/db.h"

typedef void applied_fn(void *arg, uint64_t log_id, uint64_t applied);
MUST_CHECK enum err applied_each(struct db *d, applied_fn *fn, void *arg);
MUST_CHECK enum err applied_put(struct db *d, uint64_t log_id, uint64_t applied);
MUST_CHECK enum err applied_forget(struct db *d, uint64_t log_id);
