#include "schema/devices.h"

enum err devices_find_token(struct db *d, const uint8_t token_hash[32], user_id *user, device_id *device)
{
    struct rows q = {0};
    enum err err;

    TRY(rows_begin(&q, d, "SELECT user_id, device_id FROM devices WHERE token_hash = ?", "x", str_of(token_hash, 32)));
    TRY(rows_next(&q));
    *user = rows_u64(&q, 0);
    *device = rows_u64(&q, 1);
out:
    rows_end(&q);
    return err;
}

enum err devices_exists(struct db *d, user_id user, device_id device, bool *out)
{
    struct rows q = {0};
    enum err err;

    TRY(rows_begin(&q, d, "SELECT 1 FROM devices WHERE user_id = ? AND device_id = ?", "uu", user, device));
    err = rows_next(&q);
    if (err == ERR_OK || err == ERR_NOT_FOUND) {
        *out = err == ERR_OK;
        err = ERR_OK;
    }
out:
    rows_end(&q);
    return err;
}

/* Ids are kept as signed integers, so that is their order here: the walk starts below the smallest of them. */
enum err devices_list(struct db *d, user_id user, device_id after, struct device_row *out, size_t max, size_t *n)
{
    struct rows q = {0};
    size_t got = 0;
    enum err err;

    TRY(rows_begin(&q, d,
                   "SELECT device_id, created FROM devices WHERE user_id = ?1 AND (?2 = 0 OR device_id > ?2)"
                   " ORDER BY device_id LIMIT ?3",
                   "uui", user, after, (int64_t)max));
    for (err = rows_next(&q); err == ERR_OK; err = rows_next(&q))
        out[got++] = (struct device_row){rows_u64(&q, 0), rows_i64(&q, 1)};
    if (err == ERR_NOT_FOUND) {
        *n = got;
        err = ERR_OK;
    }
out:
    rows_end(&q);
    return err;
}

enum err devices_put(struct db *d, const struct device_record *r)
{
    return db_run(d,
                  "INSERT INTO devices (user_id, device_id, token_hash, created) VALUES (?, ?, ?, ?)"
                  " ON CONFLICT (user_id, device_id) DO UPDATE SET token_hash = excluded.token_hash",
                  "uuxi", r->user, r->device, str_of(r->token_hash, sizeof r->token_hash), r->ts);
}

enum err devices_remove(struct db *d, const struct device_gone_record *r)
{
    return db_run(d, "DELETE FROM devices WHERE user_id = ? AND device_id = ?", "uu", r->user, r->device);
}
