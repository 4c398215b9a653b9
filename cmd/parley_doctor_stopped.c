/* In the order in which each needs what the one before says: the description and the key; what must be there; the
 * tables and the stores' manifests, which say how far they have each log; the logs, of which all before that must be
 * whole, and whose records behind it the next start will apply. */
#include "cmd/parley_doctor_stopped.h"
#include "cmd/parley_tool.h"
#include "queue/seglog_verify.h"
#include "schema/applied.h"
#include "schema/db_check.h"
#include "schema/letters.h"
#include "schema/owed_rows.h"
#include "schema/rebuild_rows.h"
#include "storage/manifest.h"
#include "storage/placement.h"
#include <inttypes.h>
#include <stdio.h>

#define RESTORE \
    "`parley verify --data %s` says what is damaged; nothing repairs it: `parley restore` makes a folder of a backup"

struct patient {
    struct diagnosis *d;
    struct env *env;
    struct data_dir data;
    struct positions tables, owed;
    struct positions stores[STORES_MAX];
    bool are_known; /* all said how far they are */
    uint64_t log_id, stores_lack, refused;
};

static void on_damage(void *arg, const char *file, uint64_t at, const char *what)
{
    struct patient *p = arg;

    say_finding(p->d, "file %s is damaged at offset %" PRIu64 ": %s; " RESTORE, file, at, what, p->d->data);
}

static void take_position(void *arg, uint64_t log_id, uint64_t pos) { positions_set(arg, log_id, pos); }

static void count_rebuilt(void *arg, const struct rebuild_row *r)
{
    uint64_t *n = arg;

    n[0] += (r->what & REBUILD_TABLES) != 0;
    n[1] += (r->what & REBUILD_OWED) != 0;
}

static void ask_tables(struct patient *p)
{
    char *path = tool_path(p->d->data, "tables.db"), *wal = tool_path(p->d->data, "tables.db-wal");
    struct letters_total letters = {0};
    uint64_t rebuilt[2] = {0};
    struct db *db = NULL;
    enum err err;

    TRY(db_open_still(path, !tool_is_there(p->env, wal), &db));
    TRY(letters_total(db, &letters));
    TRY(applied_each(db, take_position, &p->tables));
    TRY(owed_rows_each_position(db, take_position, &p->owed));
    TRY(rebuild_rows_each(db, count_rebuilt, rebuilt));
    say_letters(p->d, letters.n, letters.bytes);
    say_rebuild(rebuilt[0], rebuilt[1], false);
out:
    if (err != ERR_OK) {
        p->are_known = false;
        say_finding(p->d, "%s cannot be read: %s; " RESTORE, path, err_text(err), p->d->data);
    }
    db_close(db);
    mem_free(path);
    mem_free(wal);
}

static void ask_stores(struct patient *p)
{
    for (unsigned i = 0; i < p->data.n_stores; i++) {
        struct manifest m = {0};
        struct buf dir = {0};
        enum err err;

        buf_printf(&dir, "%s/stores/%s%c", p->d->data, p->data.stores[i], 0);
        err = manifest_read(p->env->fs, dir.p, &m);
        if (err == ERR_OK) {
            positions_copy(&m.durable, &p->stores[i]);
        } else if (err != ERR_NOT_FOUND) { /* a store that no start has made yet; a lost one was found before */
            p->are_known = false;
            say_finding(p->d, "file %s/MANIFEST is damaged: %s; " RESTORE, dir.p, err_text(err), p->d->data);
        }
        manifest_deinit(&m);
        buf_deinit(&dir);
    }
}

/* A record that no start will get past is named before the start meets it. */
static enum err on_record(void *arg, const struct log_record *r)
{
    struct patient *p = arg;
    struct arena arena = {0};
    struct record rec;
    enum err err = ERR_OK;

    if (r->shard >= SHARD_COUNT || r->pos < positions_get(&p->stores[p->data.store_of[r->shard]], r->log_id) ||
        r->pos < placement_floor(&p->data.placement, r->shard, r->log_id))
        return ERR_OK; /* it is not the stores', or they have it */
    p->stores_lack += r->next - r->pos;
    err = record_decode(r->kind, r->body, &arena, &rec);
    arena_deinit(&arena);
    if (err != ERR_OK && p->refused++ == 0)
        say_finding(p->d,
                    "log %016" PRIx64 " at offset %" PRIu64
                    " holds a record of kind %u that the message stores don't understand, so no start gets past it: "
                    "a newer server wrote it, or `parley restore` makes a folder of a backup",
                    r->log_id, r->pos, r->kind);
    return err == ERR_NOMEM ? err : ERR_OK;
}

static uint64_t behind(const struct positions *p, uint64_t log_id, uint64_t end)
{
    uint64_t pos = positions_get(p, log_id);

    return pos < end ? end - pos : 0;
}

static uint64_t floor_of(const struct patient *p, uint64_t log_id)
{
    uint64_t high = positions_get(&p->tables, log_id), owed = positions_get(&p->owed, log_id);

    high = owed > high ? owed : high;
    for (unsigned i = 0; i < p->data.n_stores; i++) {
        uint64_t pos = positions_get(&p->stores[i], log_id);
        high = pos > high ? pos : high;
    }
    return high;
}

static enum err examine_log(struct patient *p, const char *dir, uint64_t log_id)
{
    const struct damage_sink sink = {on_damage, p};
    struct seglog_report r = {0};
    enum err err;

    p->stores_lack = 0;
    TRY(seglog_verify(p->env, dir, log_id, floor_of(p, log_id), &sink, on_record, p, &r));
    if (r.end == 0 && r.cut_bytes == 0)
        goto out;
    printf("log %016" PRIx64 ":\n", log_id);
    if (r.cut_bytes)
        printf("  a torn write of %" PRIu64 " bytes, answered to nobody, ends it; the next start cuts it\n",
               r.cut_bytes);
    if (!p->are_known)
        goto out;
    say_behind("the message stores", p->stores_lack, 0);
    say_behind("the tables", behind(&p->tables, log_id, r.end), 0);
    say_behind("what is owed to offline members", behind(&p->owed, log_id, r.end), 0);
out:
    return err;
}

static void examine_logs(struct patient *p)
{
    char *dir = tool_path(p->d->data, "log");
    uint64_t *ids = NULL;
    size_t n = 0;
    enum err err;

    TRY(seglog_list(p->env, dir, &ids, &n));
    for (size_t i = 0; i < n; i++)
        TRY(examine_log(p, dir, ids[i]));
    printf("the next start applies what is lacking, then removes these logs\n");
out:
    if (err != ERR_OK)
        say_finding(p->d, "the logs in %s cannot be read: %s", dir, err_text(err));
    mem_free(ids);
    mem_free(dir);
}

static void patient_deinit(struct patient *p)
{
    positions_deinit(&p->tables);
    positions_deinit(&p->owed);
    for (unsigned i = 0; i < STORES_MAX; i++)
        positions_deinit(&p->stores[i]);
    data_dir_close(&p->data);
}

int doctor_stopped(struct diagnosis *d)
{
    struct patient p = {.d = d, .env = env_posix(), .are_known = true};
    char *why = NULL;
    enum err err = data_dir_look(p.env, d->data, true, &p.data, &why);

    if (err == ERR_CORRUPT) {
        say_finding(d, "%s; " RESTORE, why, d->data);
    } else if (err == ERR_OK) {
        printf("the server does not run\n");
        err = data_dir_check(p.env, &p.data, &why);
        if (err != ERR_OK)
            say_finding(d, "%s; " RESTORE, why ? why : err_text(err), d->data);
        ask_tables(&p);
        ask_stores(&p);
        examine_logs(&p);
        err = ERR_OK;
    } else {
        tool_complain(why ? why : d->data, why ? NULL : err_text(err));
    }
    patient_deinit(&p);
    mem_free(why);
    return err == ERR_OK || err == ERR_CORRUPT ? 0 : 2;
}
