/* migrations: the schema's versions. Migration n (schema/00n_*.sql) brings a file from version n - 1 to n; what was
 * released is never changed. PRAGMA user_version holds the version. */
#pragma once

extern const char *const migrations[]; /* [0] is the first */
extern const int migrations_count;
