#include "schema/rebuild_rows.h"

enum err rebuild_rows_each(struct db *d, rebuild_rows_fn *fn, void *arg)
{
    struct rows q = {0};
    enum err err;

    TRY(rows_begin(&q, d, "SELECT shard, what, conv FROM rebuild ORDER BY shard", ""));
    for (err = rows_next(&q); err == ERR_OK; err = rows_next(&q)) {
        struct rebuild_row r = {.shard = (uint16_t)rows_i64(&q, 0), .what = (uint8_t)rows_i64(&q, 1)};
        struct str conv = rows_str(&q, 2);

        r.has_conv = conv.len == sizeof r.conv;
        if (r.has_conv)
            memcpy(r.conv.b, conv.p, conv.len);
        fn(arg, &r);
    }
    if (err == ERR_NOT_FOUND)
        err = ERR_OK;
out:
    rows_end(&q);
    return err;
}

enum err rebuild_rows_put(struct db *d, const struct rebuild_row *r)
{
    if (!r->what)
        return db_run(d, "DELETE FROM rebuild WHERE shard = ?", "i", (int64_t)r->shard);
    if (!r->has_conv)
        return db_run(d, "INSERT OR REPLACE INTO rebuild (shard, what) VALUES (?, ?)", "ii", (int64_t)r->shard,
                      (int64_t)r->what);
    return db_run(d, "INSERT OR REPLACE INTO rebuild (shard, what, conv) VALUES (?, ?, ?)", "iix", (int64_t)r->shard,
                  (int64_t)r->what, str_of(r->conv.b, sizeof r->conv.b));
}
