#include "schema/applied.h"

enum err applied_each(struct db *d, applied_fn *fn, void *arg)
{
    return db_each_pair(d, "SELECT log_id, applied FROM positions ORDER BY log_id", fn, arg);
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
