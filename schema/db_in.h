/* db_in: SQLite's handle, for the files of the schema that need more than db.h gives. Nobody else includes it. */
#pragma once
#include "schema/db.h"

struct sqlite3;
struct sqlite3 *db_handle(struct db *d);
MUST_CHECK enum err db_open_memory(struct db **out); /* empty, without a schema */
