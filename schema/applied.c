#include "schema/applied.h"

enum err applied_each(struct db *d, applied_fn *fn, void *arg)
{
    struct rows q = {0};
    enum err err;

    TRY(rows_begin(&q, d, "SELECT log_id, applied FROM positions ORDER BY log_id", ""));
    for (err = rows_next(&q); err == ERR_OK; err = rows_next(&q))
        fn(arg, rows_u64(&q, 0), rows_u64(&q, 1));
    if (err == ERR_NOT_FOUND)
        err = ERR_OK;
out:
    rows_end(&q);
    return err;
}

enum err applied_put(struct db *d, uint64_t log_id, uint64_t applied)
{
    return db_run(d,
                  "INSERT INTO positions (log_id, applied) VALUES (?, ?)"
                  " ON CONFLICT (log_id) DO UPDATE SET applied = excluded.applied",
                  "uu", log_id, applied);
}

enum err applied_forget(struct db *d, uint64_t log_id)
{
    return db_run(d, "DELETE FROM positions WHERE log_id = ?", "u", log_id);
}
