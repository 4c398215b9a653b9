#include "schema/db_check.h"
#include <stdlib.h>

enum { FINDINGS_MAX = 100 };

/* "… page 17 …" or "Page 17: …"; the first such number is where it was met. */
static uint64_t page_of(const char *text)
{
    const char *at = strstr(text, "age ");
    return at ? strtoull(at + 4, NULL, 10) : 0;
}

static enum err number(struct db *d, const char *sql, uint64_t *out)
{
    struct rows q = {0};
    enum err err;

    TRY(rows_begin(&q, d, sql, ""));
    TRY(rows_next(&q));
    *out = rows_u64(&q, 0);
out:
    rows_end(&q);
    return err;
}

static void finding(const char *path, uint64_t page_bytes, struct str text, const struct damage_sink *sink)
{
    char *line = mem_dup(text), *rest = line;

    for (char *one; (one = strsep(&rest, "\n")) != NULL;) {
        uint64_t page = page_of(one);
        if (*one && strncmp(one, "*** in database", 15) != 0)
            damage_found(sink, path, page ? (page - 1) * page_bytes : 0, one);
    }
    mem_free(line);
}

static enum err check_all(struct db *d, const char *path, uint64_t page_bytes, const struct damage_sink *sink)
{
    struct rows q = {0};
    enum err err;

    TRY(rows_begin(&q, d, "PRAGMA integrity_check(100)", ""));
    for (err = rows_next(&q); err == ERR_OK; err = rows_next(&q)) {
        if (!str_eq(rows_str(&q, 0), STR("ok")))
            finding(path, page_bytes, rows_str(&q, 0), sink);
    }
    if (err == ERR_NOT_FOUND)
        err = ERR_OK;
out:
    rows_end(&q);
    return err;
}

static enum err check_keys(struct db *d, const char *path, const struct damage_sink *sink)
{
    struct rows q = {0};
    int n = 0;
    enum err err;

    TRY(rows_begin(&q, d, "PRAGMA foreign_key_check", ""));
    for (err = rows_next(&q); err == ERR_OK && n++ < FINDINGS_MAX; err = rows_next(&q)) {
        struct buf text = {0};
        buf_printf(&text, "a row of " STR_FMT " belongs to none of " STR_FMT "%c", STR_ARG(rows_str(&q, 0)),
                   STR_ARG(rows_str(&q, 2)), 0);
        damage_found(sink, path, 0, text.p);
        buf_deinit(&text);
    }
    if (err == ERR_NOT_FOUND)
        err = ERR_OK;
out:
    rows_end(&q);
    return err;
}

enum err db_check(struct db *d, const char *path, const struct damage_sink *sink)
{
    uint64_t page_bytes = 0;
    enum err err;

    TRY(number(d, "PRAGMA page_size", &page_bytes));
    TRY(check_all(d, path, page_bytes, sink));
    TRY(check_keys(d, path, sink));
out:
    if (err != ERR_OK)
        damage_found(sink, path, 0, db_why(d));
    return err;
}
