/* db: SQLite, wrapped once: opening, migrating, statements, transactions, checkpoints.
 *
 * The writer uses WAL and synchronous NORMAL: a transaction is one write, no fsync; a crash may lose the last ones as
 * wholes. db_checkpoint makes durable what there is. Deleted content is overwritten (secure_delete).
 * Statements are prepared at their first use and kept, by the address of their text: pass string constants.
 *
 * Errors: SQLite's are translated here and go no further (FULL, IO, CORRUPT, NOMEM, AGAIN for a lock, EXISTS for a
 * constraint, UNSUPPORTED); its words go to the log.
 * Thread: a db belongs to one thread at a time. */
#pragma once
#include "base/buf.h"

struct db;
struct sqlite3_stmt;

/* Makes the file if it is not there (0600) and runs the migrations it lacks. UNSUPPORTED: made by a later program. */
MUST_CHECK enum err db_open(const char *path, struct db **out);
MUST_CHECK enum err db_open_reader(const char *path, struct db **out); /* the file must be there */
void db_close(struct db *d);
const char *db_why(const struct db *d); /* SQLite's words for the last error */

MUST_CHECK enum err db_begin(struct db *d);
MUST_CHECK enum err db_commit(struct db *d); /* on failure the transaction is rolled back */
void db_rollback(struct db *d);              /* no-op outside of one */

/* Syncs everything committed. AGAIN: a reader was in the way, nothing is promised. */
MUST_CHECK enum err db_checkpoint(struct db *d);
/* The same, and the write-ahead file gets empty: of what was overwritten or deleted nothing is left in it. Never waits.
 */
MUST_CHECK enum err db_truncate(struct db *d);
/* Syncs the write-ahead file alone: everything committed is durable, also where a reader keeps it from being copied.
 * A failure is final: IO. */
MUST_CHECK enum err db_sync(struct db *d);
size_t db_wal_pages(const struct db *d); /* in the write-ahead file, as of the last commit; 0 after a checkpoint */

/* Statements. `types` has a letter for each parameter: i int64_t, u uint64_t (its bits), b int (0 or 1), t struct str
 * as text, n struct str as text and NULL when empty, x struct str as blob. Texts are borrowed until the statement ends.
 */
MUST_CHECK enum err db_run(struct db *d, const char *sql, const char *types, ...);

struct rows {
    struct db *db;
    struct sqlite3_stmt *stmt;
};
/* Starts a query; rows_next gives OK for a row, NOT_FOUND behind the last; rows_end always. Nothing may be nested over
 * the same statement. */
MUST_CHECK enum err rows_begin(struct rows *q, struct db *d, const char *sql, const char *types, ...);
MUST_CHECK enum err rows_next(struct rows *q);
void rows_end(struct rows *q);
int64_t rows_i64(const struct rows *q, int col);
static inline uint64_t rows_u64(const struct rows *q, int col) { return (uint64_t)rows_i64(q, col); }
struct str rows_str(const struct rows *q, int col); /* text or blob; empty for NULL; good until the next row */

/* Each row of a query without arguments that gives two numbers. */
MUST_CHECK enum err db_each_pair(struct db *d, const char *sql, void (*fn)(void *arg, uint64_t, uint64_t), void *arg);