#include "schema/db_check.h"
#include "schema/db_in.h"
#include "base/log.h"
#include "base/map.h"
#include "base/hash.h"
#include "schema/migrations.h"
#include <assert.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <unistd.h>

/* A reader waits for recovery at most. The writer has no rival but an operator's shell, and its caller tries again. A
 * reader's own cache needs to hold the inner pages; a leaf, one of very many, is in the system's cache as well. */
enum { READER_BUSY_MS = 5000, WRITER_BUSY_MS = 100, CACHE_KIB = 16384, READER_CACHE_KIB = 1024 };

struct kept {
    const char *sql;
    sqlite3_stmt *stmt;
};

struct db {
    sqlite3 *h;
    struct map statements; /* struct kept, by the address of its text */
    size_t wal_pages;
    bool in_transaction;
};

static enum err translate(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return ERR_OK;
    case SQLITE_FULL:
        return ERR_FULL;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_AGAIN;
    case SQLITE_NOMEM:
        return ERR_NOMEM;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_MISMATCH:
        return ERR_CORRUPT;
    case SQLITE_CONSTRAINT:
        return ERR_EXISTS;
    default:
        return ERR_IO;
    }
}

static enum err failed(struct db *d, int rc, const char *what)
{
    log_warn("sqlite_failed", "code=%d what=\"%s\" why=\"%s\"", sqlite3_extended_errcode(d->h), what,
             sqlite3_errmsg(d->h));
    return translate(rc);
}

struct sqlite3 *db_handle(struct db *d) { return d->h; }

const char *db_why(const struct db *d) { return d->h ? sqlite3_errmsg(d->h) : "it cannot be opened"; }

static enum err exec(struct db *d, const char *sql)
{
    int rc = sqlite3_exec(d->h, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? ERR_OK : failed(d, rc, sql);
}

static int on_wal(void *arg, sqlite3 *h, const char *name, int pages)
{
    struct db *d = arg;

    (void)h;
    (void)name;
    d->wal_pages = (size_t)pages;
    return SQLITE_OK;
}

static enum err handle_open(const char *path, int flags, int busy_ms, struct db **out)
{
    struct db *d = mem_new(struct db);
    int rc = sqlite3_open_v2(path, &d->h, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL);
    enum err err;

    if (rc != SQLITE_OK) {
        err = failed(d, rc, "open");
        db_close(d);
        return err;
    }
    sqlite3_extended_result_codes(d->h, 1);
    sqlite3_busy_timeout(d->h, busy_ms);
    *out = d;
    return ERR_OK;
}

/* Migrations. */
static enum err version(struct db *d, int64_t *out)
{
    struct rows q = {0};
    enum err err;

    TRY(rows_begin(&q, d, "PRAGMA user_version", ""));
    TRY(rows_next(&q));
    *out = rows_i64(&q, 0);
out:
    rows_end(&q);
    return err;
}

static enum err migrate_to(struct db *d, int next)
{
    char set[64];
    enum err err;

    snprintf(set, sizeof set, "PRAGMA user_version = %d", next);
    TRY(db_begin(d));
    TRY(exec(d, migrations[next - 1]));
    TRY(exec(d, set));
    TRY(db_commit(d));
out:
    db_rollback(d);
    return err;
}

static enum err migrate(struct db *d)
{
    int64_t at = 0;
    enum err err;

    TRY(version(d, &at));
    if (at > migrations_count)
        return ERR_UNSUPPORTED;
    for (; at < migrations_count; at++)
        TRY(migrate_to(d, (int)at + 1));
out:
    return err;
}

/* SQLite makes its files by the umask; made by us first, it copies our mode to the files beside it. */
static enum err make_private(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return ERR_IO;
    close(fd);
    return ERR_OK;
}

static enum err set_cache(struct db *d, int kib)
{
    char set[64];

    snprintf(set, sizeof set, "PRAGMA cache_size = -%d", kib);
    return exec(d, set);
}

enum err db_open(const char *path, struct db **out)
{
    struct db *d = NULL;
    enum err err;

    TRY(make_private(path));
    TRY(handle_open(path, SQLITE_OPEN_READWRITE, WRITER_BUSY_MS, &d));
    TRY(exec(d, "PRAGMA journal_mode = WAL"));
    TRY(exec(d, "PRAGMA synchronous = NORMAL"));
    TRY(exec(d, "PRAGMA secure_delete = ON"));
    TRY(exec(d, "PRAGMA foreign_keys = ON"));
    TRY(set_cache(d, CACHE_KIB));
    TRY(exec(d, "PRAGMA wal_autocheckpoint = 0"));
    sqlite3_wal_hook(d->h, on_wal, d); /* after the pragma, which sets a hook of its own */
    TRY(migrate(d));
    *out = d;
    d = NULL;
out:
    db_close(d);
    return err;
}

enum err db_open_reader(const char *path, struct db **out)
{
    struct db *d = NULL;
    enum err err;

    TRY(handle_open(path, SQLITE_OPEN_READONLY, READER_BUSY_MS, &d));
    TRY(exec(d, "PRAGMA query_only = ON"));
    TRY(set_cache(d, READER_CACHE_KIB));
    *out = d;
    d = NULL;
out:
    db_close(d);
    return err;
}

enum err db_open_memory(struct db **out)
{
    return handle_open(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, 0, out);
}

/* As a URI, so that SQLite can be told that the file never changes: it then neither wants nor makes files beside it. */
static void still_uri(const char *path, struct buf *out)
{
    buf_str(out, STR("file:"));
    for (; *path; path++) {
        if (strchr("?#%", *path))
            buf_printf(out, "%%%02x", (unsigned char)*path);
        else
            buf_char(out, *path);
    }
    buf_str(out, STR("?immutable=1"));
    buf_char(out, '\0');
}

enum err db_open_still(const char *path, bool is_alone, struct db **out)
{
    struct buf uri = {0};
    struct db *d = NULL;
    enum err err;

    if (!is_alone)
        return db_open_reader(path, out);
    still_uri(path, &uri);
    TRY(handle_open(uri.p, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, READER_BUSY_MS, &d));
    *out = d;
out:
    buf_deinit(&uri);
    return err;
}

void db_close(struct db *d)
{
    size_t at = 0;

    if (!d)
        return;
    for (struct kept *k; (k = map_next(&d->statements, &at)) != NULL;) {
        sqlite3_finalize(k->stmt);
        mem_free(k);
    }
    map_deinit(&d->statements);
    sqlite3_close(d->h);
    mem_free(d);
}

/* Statements. */
static bool kept_is(const void *value, const void *key) { return ((const struct kept *)value)->sql == key; }

static enum err statement(struct db *d, const char *sql, sqlite3_stmt **out)
{
    uint64_t hash = hash_u64((uintptr_t)sql);
    struct kept *k = map_get(&d->statements, hash, kept_is, sql);
    sqlite3_stmt *stmt = NULL;

    if (!k) {
        int rc = sqlite3_prepare_v3(d->h, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL);
        if (rc != SQLITE_OK)
            return failed(d, rc, sql);
        k = mem_new(struct kept);
        *k = (struct kept){sql, stmt};
        map_add(&d->statements, hash, k);
    }
    *out = k->stmt;
    return ERR_OK;
}

static int bind_str(sqlite3_stmt *s, int at, char type, struct str v)
{
    const char *p = v.len ? v.p : "";

    if (type == 'n' && v.len == 0)
        return sqlite3_bind_null(s, at);
    return type == 'x' ? sqlite3_bind_blob64(s, at, p, v.len, SQLITE_STATIC)
                       : sqlite3_bind_text64(s, at, p, v.len, SQLITE_STATIC, SQLITE_UTF8);
}

static int bind(sqlite3_stmt *s, const char *types, va_list ap)
{
    int rc = SQLITE_OK;

    assert(sqlite3_bind_parameter_count(s) == (int)strlen(types));
    for (int at = 1; *types && rc == SQLITE_OK; types++, at++) {
        switch (*types) {
        case 'i':
            rc = sqlite3_bind_int64(s, at, va_arg(ap, int64_t));
            break;
        case 'u':
            rc = sqlite3_bind_int64(s, at, (int64_t)va_arg(ap, uint64_t));
            break;
        case 'b':
            rc = sqlite3_bind_int(s, at, va_arg(ap, int) != 0);
            break;
        default:
            rc = bind_str(s, at, *types, va_arg(ap, struct str));
            break;
        }
    }
    return rc;
}

enum err db_run(struct db *d, const char *sql, const char *types, ...)
{
    sqlite3_stmt *s = NULL;
    va_list ap;
    enum err err = statement(d, sql, &s);
    int rc;

    if (err != ERR_OK)
        return err;
    va_start(ap, types);
    rc = bind(s, types, ap);
    va_end(ap);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(s);
    assert(rc != SQLITE_ROW);
    err = rc == SQLITE_DONE ? ERR_OK : failed(d, rc, sql);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return err;
}

enum err rows_begin(struct rows *q, struct db *d, const char *sql, const char *types, ...)
{
    sqlite3_stmt *s = NULL;
    va_list ap;
    enum err err = statement(d, sql, &s);
    int rc;

    if (err != ERR_OK)
        return err;
    assert(!sqlite3_stmt_busy(s));
    va_start(ap, types);
    rc = bind(s, types, ap);
    va_end(ap);
    if (rc != SQLITE_OK)
        return failed(d, rc, sql);
    *q = (struct rows){d, s};
    return ERR_OK;
}

enum err rows_next(struct rows *q)
{
    int rc = sqlite3_step(q->stmt);

    if (rc == SQLITE_ROW)
        return ERR_OK;
    return rc == SQLITE_DONE ? ERR_NOT_FOUND : failed(q->db, rc, sqlite3_sql(q->stmt));
}

void rows_end(struct rows *q)
{
    if (!q->stmt)
        return;
    sqlite3_reset(q->stmt);
    sqlite3_clear_bindings(q->stmt);
    q->stmt = NULL;
}

int64_t rows_i64(const struct rows *q, int col) { return sqlite3_column_int64(q->stmt, col); }

struct str rows_str(const struct rows *q, int col)
{
    const void *p = sqlite3_column_blob(q->stmt, col); /* of a text too: its bytes, unchanged */
    return str_of(p, (size_t)sqlite3_column_bytes(q->stmt, col));
}

/* Transactions. */
enum err db_begin(struct db *d)
{
    enum err err = db_run(d, "BEGIN IMMEDIATE", "");
    d->in_transaction = err == ERR_OK;
    return err;
}

enum err db_commit(struct db *d)
{
    enum err err = db_run(d, "COMMIT", "");

    if (err != ERR_OK)
        db_rollback(d);
    d->in_transaction = false;
    return err;
}

/* Some errors roll back by themselves, so SQLite is asked whether there is something left to do. */
void db_rollback(struct db *d)
{
    if (d->in_transaction && !sqlite3_get_autocommit(d->h) && db_run(d, "ROLLBACK", "") != ERR_OK)
        log_error("sqlite_rollback_failed", "why=\"%s\"", db_why(d));
    d->in_transaction = false;
}

/* A checkpoint syncs the write-ahead file before it copies, and the database after it has copied everything (SQLite's
 * documentation on WAL and synchronous NORMAL). Only when every page was copied do both hold for all that is committed.
 */
enum err db_checkpoint(struct db *d)
{
    int in_wal = 0, copied = 0;
    int rc = sqlite3_wal_checkpoint_v2(d->h, NULL, SQLITE_CHECKPOINT_PASSIVE, &in_wal, &copied);

    if (rc != SQLITE_OK)
        return translate(rc) == ERR_AGAIN ? ERR_AGAIN : failed(d, rc, "checkpoint");
    if (copied < in_wal)
        return ERR_AGAIN;
    d->wal_pages = 0;
    return ERR_OK;
}

/* Without the wait for readers that the mode asks for: who calls has others waiting, and calls again. */
enum err db_truncate(struct db *d)
{
    int rc;

    sqlite3_busy_timeout(d->h, 0);
    rc = sqlite3_wal_checkpoint_v2(d->h, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    sqlite3_busy_timeout(d->h, WRITER_BUSY_MS);
    if (rc != SQLITE_OK)
        return translate(rc) == ERR_AGAIN ? ERR_AGAIN : failed(d, rc, "truncate");
    d->wal_pages = 0;
    return ERR_OK;
}

/* All that is committed and not in the database yet stands in that file. */
enum err db_sync(struct db *d)
{
    sqlite3_file *f = NULL;
    int rc = sqlite3_file_control(d->h, "main", SQLITE_FCNTL_JOURNAL_POINTER, (void *)&f);

    if (rc == SQLITE_OK && f && f->pMethods)
        rc = f->pMethods->xSync(f, SQLITE_SYNC_NORMAL);
    return rc == SQLITE_OK ? ERR_OK : failed(d, rc, "sync");
}

size_t db_wal_pages(const struct db *d) { return d->wal_pages; }

enum err db_each_pair(struct db *d, const char *sql, void (*fn)(void *arg, uint64_t, uint64_t), void *arg)
{
    struct rows q = {0};
    enum err err;

    TRY(rows_begin(&q, d, sql, ""));
    for (err = rows_next(&q); err == ERR_OK; err = rows_next(&q))
        fn(arg, rows_u64(&q, 0), rows_u64(&q, 1));
    if (err == ERR_NOT_FOUND)
        err = ERR_OK;
out:
    rows_end(&q);
    return err;
}
