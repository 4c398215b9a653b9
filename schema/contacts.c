#include "schema/contacts.h"

enum err contacts_apply(struct db *d, const struct contact_record *r)
{
    if (r->on)
        return db_run(d, "INSERT INTO contacts (user_id, other, since) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", "uui",
                      r->user, r->other, r->ts);
    return db_run(d, "DELETE FROM contacts WHERE user_id = ? AND other = ?", "uu", r->user, r->other);
}

enum err contacts_apply_blocked(struct db *d, const struct contact_record *r)
{
    if (r->on)
        return db_run(d, "INSERT INTO blocks (user_id, other, since) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", "uui",
                      r->user, r->other, r->ts);
    return db_run(d, "DELETE FROM blocks WHERE user_id = ? AND other = ?", "uu", r->user, r->other);
}

static enum err has(struct db *d, const char *sql, user_id user, user_id other, bool *out)
{
    struct rows q = {0};
    enum err err;

    TRY(rows_begin(&q, d, sql, "uu", user, other));
    err = rows_next(&q);
    if (err == ERR_OK || err == ERR_NOT_FOUND) {
        *out = err == ERR_OK;
        err = ERR_OK;
    }
out:
    rows_end(&q);
    return err;
}

enum err contacts_has(struct db *d, user_id user, user_id other, bool *out)
{
    return has(d, "SELECT 1 FROM contacts WHERE user_id = ? AND other = ?", user, other, out);
}

enum err contacts_has_blocked(struct db *d, user_id user, user_id other, bool *out)
{
    return has(d, "SELECT 1 FROM blocks WHERE user_id = ? AND other = ?", user, other, out);
}
