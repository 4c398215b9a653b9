#include "schema/owed_rows.h"

static struct str bytes_of(const struct conv_id *c) { return str_of(c->b, sizeof c->b); }

enum err owed_rows_add(struct db *d, const struct owed_row *o)
{
    return db_run(
        d,
        "INSERT INTO owed (user_id, conv, first_seq, last_seq, count, since) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (user_id, conv) DO UPDATE SET last_seq = excluded.last_seq, count = count +"
        " iif(excluded.first_seq > last_seq, excluded.count, min(excluded.count, excluded.last_seq - last_seq))"
        " WHERE excluded.last_seq > last_seq",
        "uxuuui", o->user, bytes_of(&o->conv), o->first_seq, o->last_seq, o->count, o->since);
}

/* A row whose end is past `seq` starts behind it now; of its count, seqs cannot hold more than there are of them. */
enum err owed_rows_clear(struct db *d, user_id user, const struct conv_id *c, uint64_t seq)
{
    enum err err;

    TRY(db_run(d, "DELETE FROM owed WHERE user_id = ? AND conv = ? AND last_seq <= ?", "uxu", user, bytes_of(c), seq));
    TRY(db_run(d,
               "UPDATE owed SET first_seq = ?3 + 1, count = min(count, last_seq - ?3)"
               " WHERE user_id = ?1 AND conv = ?2 AND first_seq <= ?3",
               "uxu", user, bytes_of(c), seq));
out:
    return err;
}

enum err owed_rows_put(struct db *d, const struct owed_row *o)
{
    if (o->count == 0)
        return db_run(d, "DELETE FROM owed WHERE user_id = ? AND conv = ?", "ux", o->user, bytes_of(&o->conv));
    return db_run(d,
                  "INSERT OR REPLACE INTO owed (user_id, conv, first_seq, last_seq, count, since)"
                  " VALUES (?, ?, ?, ?, ?, ?)",
                  "uxuuui", o->user, bytes_of(&o->conv), o->first_seq, o->last_seq, o->count, o->since);
}

enum err owed_rows_get(struct db *d, user_id user, const struct conv_id *c, struct owed_row *out)
{
    struct rows q = {0};
    enum err err;

    TRY(rows_begin(&q, d, "SELECT first_seq, last_seq, count, since FROM owed WHERE user_id = ? AND conv = ?", "ux",
                   user, bytes_of(c)));
    TRY(rows_next(&q));
    *out = (struct owed_row){user, *c, false, rows_u64(&q, 0), rows_u64(&q, 1), rows_u64(&q, 2), rows_i64(&q, 3)};
out:
    rows_end(&q);
    return err;
}

enum err owed_rows_each_position(struct db *d, owed_rows_position_fn *fn, void *arg)
{
    return db_each_pair(d, "SELECT log_id, pos FROM owed_positions ORDER BY log_id", fn, arg);
}

enum err owed_rows_reached(struct db *d, uint64_t log_id, uint64_t pos)
{
    return db_run(d,
                  "INSERT INTO owed_positions (log_id, pos) VALUES (?, ?)"
                  " ON CONFLICT (log_id) DO UPDATE SET pos = max(pos, excluded.pos)",
                  "uu", log_id, pos);
}

enum err owed_rows_forget(struct db *d, uint64_t log_id)
{
    return db_run(d, "DELETE FROM owed_positions WHERE log_id = ?", "u", log_id);
}
