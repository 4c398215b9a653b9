/* db_check: SQLite's own check of a whole file, which nobody writes meanwhile. Changes nothing in it.
 *
 * Thread: one. */
#pragma once
#include "base/damage.h"
#include "schema/db.h"

/* `is_alone`: there is no write-ahead file beside it; then none is made. */
MUST_CHECK enum err db_open_still(const char *path, bool is_alone, struct db **out);
/* integrity_check and foreign_key_check. A finding that names a page has its offset, others 0. An error means that the
 * check could not go on, and was said as well. */
MUST_CHECK enum err db_check(struct db *d, const char *path, const struct damage_sink *sink);
