#include "schema/users.h"

#define COLUMNS "user_id, username, name, status, picture, phone, last_seen, password, read_receipts, created"

static void read_row(const struct rows *q, struct arena *a, struct user_row *out)
{
    *out = (struct user_row){
        .user = rows_u64(q, 0),
        .username = arena_dup(a, rows_str(q, 1)),
        .name = arena_dup(a, rows_str(q, 2)),
        .status = arena_dup(a, rows_str(q, 3)),
        .picture = arena_dup(a, rows_str(q, 4)),
        .phone = arena_dup(a, rows_str(q, 5)),
        .last_seen = arena_dup(a, rows_str(q, 6)),
        .password = arena_dup(a, rows_str(q, 7)),
        .read_receipts = rows_i64(q, 8) != 0,
        .created = rows_i64(q, 9),
    };
}

enum err users_get(struct db *d, user_id user, struct arena *a, struct user_row *out)
{
    struct rows q = {0};
    enum err err;

    TRY(rows_begin(&q, d, "SELECT " COLUMNS " FROM users WHERE user_id = ?", "u", user));
    TRY(rows_next(&q));
    read_row(&q, a, out);
out:
    rows_end(&q);
    return err;
}

enum err users_find(struct db *d, struct str username, struct arena *a, struct user_row *out)
{
    struct rows q = {0};
    enum err err;

    TRY(rows_begin(&q, d, "SELECT " COLUMNS " FROM users WHERE username = ?", "t", username));
    TRY(rows_next(&q));
    read_row(&q, a, out);
out:
    rows_end(&q);
    return err;
}

enum err users_each(struct db *d, users_each_fn *fn, void *arg)
{
    struct arena arena = {0};
    struct rows q = {0};
    struct user_row row;
    bool more = true;
    enum err err;

    TRY(rows_begin(&q, d, "SELECT " COLUMNS " FROM users ORDER BY user_id", ""));
    while (more && (err = rows_next(&q)) == ERR_OK) {
        read_row(&q, &arena, &row);
        more = fn(arg, &row);
        arena_deinit(&arena);
    }
    if (err == ERR_NOT_FOUND)
        err = ERR_OK;
out:
    rows_end(&q);
    return err;
}

enum err users_id_of(struct db *d, struct str username, user_id *out)
{
    struct rows q = {0};
    enum err err;

    TRY(rows_begin(&q, d, "SELECT user_id FROM users WHERE username = ?", "t", username));
    TRY(rows_next(&q));
    *out = rows_u64(&q, 0);
out:
    rows_end(&q);
    return err;
}

enum err users_exists(struct db *d, user_id user, bool *out)
{
    struct rows q = {0};
    enum err err;

    TRY(rows_begin(&q, d, "SELECT 1 FROM users WHERE user_id = ?", "u", user));
    err = rows_next(&q);
    if (err == ERR_OK || err == ERR_NOT_FOUND) {
        *out = err == ERR_OK;
        err = ERR_OK;
    }
out:
    rows_end(&q);
    return err;
}

enum err users_add(struct db *d, const struct account_record *r)
{
    return db_run(d,
                  "INSERT INTO users (user_id, username, name, phone, password, created) VALUES (?, ?, ?, ?, ?, ?)"
                  " ON CONFLICT (user_id) DO NOTHING",
                  "utnnni", r->user, r->username, r->name, r->phone, r->password, r->ts);
}

enum err users_change(struct db *d, const struct profile_record *r)
{
    return db_run(
        d,
        "UPDATE users SET name = iif(?1, ?2, name), status = iif(?3, ?4, status), picture = iif(?5, ?6, picture),"
        " last_seen = iif(?7, ?8, last_seen), read_receipts = iif(?9, ?10, read_receipts) WHERE user_id = ?11",
        "bnbnbnbnbbu", r->has_name, r->name, r->has_status, r->status, r->has_picture, r->picture, r->has_last_seen,
        r->last_seen, r->has_read_receipts, r->read_receipts, r->user);
}
