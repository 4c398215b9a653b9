/* In this order, because each needs what the one before says: parley.json, the key and the placement; SQLite, which
 * says how far it has each log; the stores' manifests, which say the same; the logs, of which all before these
 * positions must be whole; the stores' tables, and with the logs the conversations. */
#include "cmd/parley_verify_folder.h"
#include "cmd/parley_tool.h"
#include "queue/seglog_verify.h"
#include "schema/applied.h"
#include "schema/db_check.h"
#include "schema/owed_rows.h"
#include "storage/convlog_verify.h"
#include "storage/manifest.h"
#include "storage/placement.h"
#include "storage/store_verify.h"
#include <inttypes.h>
#include <stdio.h>

struct names {
    char **v;
    size_t n;
};
struct verifying {
    struct env *env;
    const char *path;
    struct verify_totals *totals;
    struct damage_sink sink;
    struct convlog_verify *convs;
    struct names stores;
    struct positions floors;   /* how far anybody has each log durably */
    struct positions *durable; /* how far each store has */
    bool is_placed;            /* placement is known */
    struct placement placement;
    size_t store; /* whose keys are read */
    uint64_t last_log;
};

static void on_damage(void *arg, const char *file, uint64_t at, const char *what)
{
    struct verifying *v = arg;

    v->totals->damages++;
    printf("damaged: file %s offset %" PRIu64 ": %s\n", file, at, what);
}

static void on_conversation(void *arg, const struct conv_id *c, const char *what)
{
    struct verifying *v = arg;
    char text[CONV_TEXT];

    v->totals->damages++;
    if (conv_eq(c, &CONV_NONE))
        printf("damaged: %s\n", what);
    else
        printf("damaged: conversation %.*s: %s\n", (int)conv_text(text, c), text, what);
}

static void in_file(struct verifying *v, const char *name, const char *what)
{
    char *path = tool_path(v->path, name);

    on_damage(v, path, 0, what);
    mem_free(path);
}

static void note_name(void *arg, const char *name)
{
    struct names *names = arg;

    names->v = mem_realloc(names->v, (names->n + 1) * sizeof names->v[0]);
    names->v[names->n++] = mem_dup(str_c(name));
}

/* Without a description the folders that are there are taken for the stores. */
static enum err find_stores(struct verifying *v)
{
    struct data_dir d = {0};
    char *why = NULL, *folder = NULL;
    enum err err = data_dir_look(v->env, v->path, false, &d, &why);

    if (err == ERR_OK) {
        for (unsigned i = 0; i < d.n_stores; i++)
            note_name(&v->stores, d.stores[i]);
        placement_copy(&d.placement, &v->placement);
        v->is_placed = true;
        data_dir_close(&d);
        return ERR_OK;
    }
    in_file(v, "parley.json", why);
    mem_free(why);
    folder = tool_path(v->path, "stores");
    err = fs_list(v->env->fs, folder, note_name, &v->stores);
    mem_free(folder);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

/* --- SQLite --- */

static void raise_floor(void *arg, uint64_t log_id, uint64_t pos)
{
    struct verifying *v = arg;

    if (pos > positions_get(&v->floors, log_id))
        positions_set(&v->floors, log_id, pos);
}

static void verify_tables(struct verifying *v)
{
    char *path = tool_path(v->path, "tables.db"), *wal = tool_path(v->path, "tables.db-wal");
    struct db *d = NULL;
    enum err err = ERR_NOT_FOUND;

    if (tool_is_there(v->env, path))
        err = db_open_still(path, !tool_is_there(v->env, wal), &d);
    if (err == ERR_OK)
        err = db_check(d, path, &v->sink);
    else
        on_damage(v, path, 0, err_text(err));
    /* Where this cannot be read, the check has said so; then no more of a log is demanded than others know. */
    if (err == ERR_OK) {
        (void)!applied_each(d, raise_floor, v);
        (void)!owed_rows_each_position(d, raise_floor, v);
    }
    db_close(d);
    mem_free(path);
    mem_free(wal);
}

/* --- logs --- */

/* Will the store take it from the log? What it has durably, by its own word or by the floor of a move, is not read
 * there again. */
static bool is_wanted(const struct verifying *v, const struct log_record *r)
{
    return !v->is_placed || (r->pos >= placement_floor(&v->placement, r->shard, r->log_id) &&
                             r->pos >= positions_get(&v->durable[v->placement.store_of[r->shard]], r->log_id));
}

static enum err on_record(void *arg, const struct log_record *r)
{
    struct verifying *v = arg;

    v->totals->records++;
    if (r->shard < SHARD_COUNT)
        convlog_verify_record(v->convs, r->kind, r->body, is_wanted(v, r));
    return ERR_OK;
}

static char *store_path(const struct verifying *v, const char *name)
{
    struct buf b = {0};

    buf_printf(&b, "%s/stores/%s%c", v->path, name, 0);
    return b.p;
}

static void ask_manifests(struct verifying *v)
{
    v->durable = mem_new_array(struct positions, v->stores.n + 1);
    for (size_t i = 0; i < v->stores.n; i++) {
        struct manifest m = {0};
        char *dir = store_path(v, v->stores.v[i]);

        if (manifest_read(v->env->fs, dir, &m) == ERR_OK) { /* if not, it is said when the store's turn comes */
            for (size_t k = 0; k < m.durable.n; k++)
                raise_floor(v, m.durable.v[k].log_id, m.durable.v[k].pos);
            positions_copy(&m.durable, &v->durable[i]);
        }
        manifest_deinit(&m);
        mem_free(dir);
    }
}

static enum err verify_logs(struct verifying *v)
{
    char *dir = tool_path(v->path, "log");
    uint64_t *ids = NULL;
    size_t n = 0;
    enum err err;

    TRY(seglog_list(v->env, dir, &ids, &n));
    for (size_t i = 0; i < n; i++) {
        struct seglog_report r = {0};
        TRY(seglog_verify(v->env, dir, ids[i], positions_get(&v->floors, ids[i]), &v->sink, on_record, v, &r));
        v->totals->logs++;
        v->totals->torn_bytes += r.cut_bytes;
        v->last_log = ids[i];
    }
out:
    mem_free(ids);
    mem_free(dir);
    return err;
}

/* An id that is given twice would bring records of two logs into one. */
static void verify_next_log(struct verifying *v)
{
    char *path = tool_path(v->path, "log/next");
    struct str text = {0};
    int64_t next = 0;
    enum err err = fs_read_all(v->env->fs, path, 32, &text);

    if (err == ERR_NOT_FOUND && v->last_log)
        on_damage(v, path, 0, "it is missing, though there are logs");
    else if (err != ERR_OK && err != ERR_NOT_FOUND)
        on_damage(v, path, 0, err_text(err));
    else if (err == ERR_OK && (!str_to_i64(text, 1, INT64_MAX, &next) || (uint64_t)next <= v->last_log))
        on_damage(v, path, 0, "it is not a number above those of all logs");
    mem_free((void *)(uintptr_t)text.p);
    mem_free(path);
}

/* --- stores --- */

/* A key begins with its shard. What a store has of a shard that is not its own counts for nothing: a copy that was not
 * finished, or what a move has not removed yet. */
static bool is_leftover(const struct verifying *v, struct str key)
{
    return v->is_placed && key.len > 0 && v->placement.store_of[(uint8_t)key.p[0]] != v->store;
}

static void on_key(void *arg, struct str key, struct str value)
{
    struct verifying *v = arg;

    if (!is_leftover(v, key))
        convlog_verify_key(v->convs, key, value);
}

static void on_lost(void *arg, struct str after, struct str last, struct buf *out)
{
    (void)arg;
    convlog_verify_lost(after, last, out);
}

static enum err verify_stores(struct verifying *v)
{
    enum err err = ERR_OK;

    for (size_t i = 0; i < v->stores.n; i++) {
        char *dir = store_path(v, v->stores.v[i]);
        struct store_counts c = {0};

        v->store = i;
        err = store_verify(&(struct store_verify){v->env->fs, dir, &v->sink, v, on_key, on_lost}, &c);
        convlog_verify_store_end(v->convs);
        if (err != ERR_OK)
            on_damage(v, dir, 0, err_text(err));
        mem_free(dir);
        v->totals->stores++;
        v->totals->tables += c.tables;
        v->totals->blocks += c.blocks;
        v->totals->bytes += c.bytes;
        v->totals->entries += c.entries;
        if (err == ERR_NOMEM)
            break;
    }
    return err == ERR_NOMEM ? err : ERR_OK;
}

enum err verify_folder(struct env *env, const char *path, struct verify_totals *out, char **why)
{
    struct verifying v = {.env = env, .path = path, .totals = out};
    struct convlog_counts counts = {0};
    enum err err;

    v.sink = (struct damage_sink){on_damage, &v};
    convlog_verify_create(&(struct convlog_verify_conf){on_conversation, &v}, &v.convs);
    TRY(find_stores(&v));
    verify_tables(&v);
    ask_manifests(&v);
    TRY(verify_logs(&v));
    verify_next_log(&v);
    TRY(verify_stores(&v));
    convlog_verify_end(v.convs, &counts);
    out->conversations = counts.conversations;
out:
    if (err != ERR_OK)
        *why = mem_dup(str_c(err_text(err)));
    convlog_verify_destroy(v.convs);
    for (size_t i = 0; i < v.stores.n; i++) {
        mem_free(v.stores.v[i]);
        if (v.durable)
            positions_deinit(&v.durable[i]);
    }
    mem_free(v.stores.v);
    mem_free(v.durable);
    positions_deinit(&v.floors);
    placement_deinit(&v.placement);
    return err;
}
