#include "schema/db_copy.h"
#include "base/log.h"
#include "schema/db_in.h"
#include <sqlite3.h>

enum { PIECE_PAGES = 256, TRIES_MAX = 1000, WAIT_MS = 10 };

static enum err page_bytes(struct db *d, uint64_t *out)
{
    struct rows q = {0};
    enum err err;

    TRY(rows_begin(&q, d, "PRAGMA page_size", ""));
    TRY(rows_next(&q));
    *out = rows_u64(&q, 0);
out:
    rows_end(&q);
    return err;
}

/* A read transaction begins with the first read in it. */
static enum err hold_moment(struct db *d)
{
    struct rows q = {0};
    enum err err;

    TRY(db_run(d, "BEGIN", ""));
    TRY(rows_begin(&q, d, "SELECT count(*) FROM sqlite_schema", ""));
    err = rows_next(&q);
out:
    rows_end(&q);
    return err;
}

static enum err copy_all(sqlite3_backup *b, uint64_t piece, void (*paced)(void *arg, uint64_t bytes), void *arg)
{
    int rc = SQLITE_OK;

    for (int busy = 0; rc == SQLITE_OK && busy < TRIES_MAX;) {
        rc = sqlite3_backup_step(b, PIECE_PAGES);
        if (rc == SQLITE_BUSY || rc == SQLITE_LOCKED) {
            sqlite3_sleep(WAIT_MS);
            rc = SQLITE_OK;
            busy++;
            continue;
        }
        if (paced)
            paced(arg, piece);
    }
    return rc == SQLITE_DONE ? ERR_OK : (rc & 0xff) == SQLITE_FULL ? ERR_FULL : ERR_IO;
}

static enum err copy_into(struct db *from, sqlite3 *out, void (*paced)(void *arg, uint64_t bytes), void *arg)
{
    sqlite3_backup *b;
    uint64_t bytes = 0;
    enum err err;

    TRY(page_bytes(from, &bytes));
    TRY(hold_moment(from));
    /* Half a copy is thrown away, so it needs no journal. */
    TRY(sqlite3_exec(out, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF", NULL, NULL, NULL) == SQLITE_OK
            ? ERR_OK
            : ERR_IO);
    b = sqlite3_backup_init(out, "main", db_handle(from), "main");
    TRY(b ? ERR_OK : ERR_IO);
    err = copy_all(b, bytes * PIECE_PAGES, paced, arg);
    if (sqlite3_backup_finish(b) != SQLITE_OK && err == ERR_OK)
        err = ERR_IO;
out:
    if (err != ERR_OK)
        log_warn("sqlite_copy_failed", "err=%s why=\"%s\"", err_name(err), sqlite3_errmsg(out));
    (void)!db_run(from, "COMMIT", ""); /* it only read */
    return err;
}

enum err db_copy(struct db *from, const char *to, void (*paced)(void *arg, uint64_t bytes), void *arg)
{
    sqlite3 *out = NULL;
    enum err err = ERR_IO;

    if (sqlite3_open_v2(to, &out, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) == SQLITE_OK)
        err = copy_into(from, out, paced, arg);
    sqlite3_close(out);
    return err;
}

enum err db_copy_into_memory(struct db *from, struct db **out)
{
    struct db *d = NULL;
    enum err err;

    TRY(db_open_memory(&d));
    TRY(copy_into(from, db_handle(d), NULL, NULL));
    *out = d;
    d = NULL;
out:
    db_close(d);
    return err;
}
