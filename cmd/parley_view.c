/* The logs are read after the tables were opened and up to where the source says that they end, so every view is
 * brought to at least there. Records that a view has already are left out by its position. */
#include "cmd/parley_view.h"
#include "cmd/parley_tool.h"
#include "queue/seglog_copy.h"
#include "queue/seglog_verify.h"
#include "schema/applied.h"
#include "schema/apply.h"
#include "schema/db_check.h"
#include "schema/db_copy.h"
#include "services/world.h"
#include "storage/manifest.h"
#include <inttypes.h>

enum { CACHE_BYTES = 32 << 20 };

struct opening {
    struct view *v;
    struct source *source;
    struct convlog_replay **replays; /* a store each */
    struct positions applied;        /* by the tables */
    struct arena arena;
    char **why;
};

static enum err because(struct opening *o, enum err err, const char *where)
{
    struct buf b = {0};

    if (err == ERR_OK || *o->why)
        return err;
    buf_printf(&b, "%s: %s%c", where, err_text(err), 0);
    *o->why = b.p;
    return err;
}

static const struct buf *manifest_of(const struct source *s, const char *name)
{
    for (size_t i = 0; i < s->n_stores; i++) {
        if (str_eq(str_c(s->stores[i].name), str_c(name)))
            return &s->stores[i].manifest;
    }
    return NULL;
}

static enum err open_stores(struct opening *o)
{
    struct view *v = o->v;
    enum err err = ERR_OK;

    v->stores = mem_new_array(struct lsm *, v->data.n_stores);
    o->replays = mem_new_array(struct convlog_replay *, v->data.n_stores);
    for (unsigned i = 0; i < v->data.n_stores && err == ERR_OK; i++) {
        const struct buf *manifest = manifest_of(o->source, v->data.stores[i]);
        struct buf dir = {0};

        buf_printf(&dir, "%s/stores/%s%c", o->source->data, v->data.stores[i], 0);
        err = ERR_CORRUPT;
        if (manifest)
            err = lsm_open_still(
                &(struct lsm_conf){
                    .env = v->env, .dir = dir.p, .cache = v->cache, .filter_prefix = CONVLOG_FILTER_PREFIX},
                buf_get(manifest), &v->stores[i], o->why);
        err = because(o, err, dir.p);
        convlog_replay_create(&o->replays[i]);
        buf_deinit(&dir);
    }
    return err;
}

static void note_position(void *arg, uint64_t log_id, uint64_t pos) { positions_set(arg, log_id, pos); }

static enum err open_tables(struct opening *o)
{
    char *path = tool_path(o->source->data, "tables.db"), *wal = tool_path(o->source->data, "tables.db-wal");
    struct db *d = NULL;
    enum err err;

    TRY(db_open_still(path, !o->source->is_running && !tool_is_there(o->v->env, wal), &d));
    TRY(db_copy_into_memory(d, &o->v->tables));
    TRY(applied_each(o->v->tables, note_position, &o->applied));
    TRY(db_begin(o->v->tables));
out:
    db_close(d);
    err = because(o, err, path);
    mem_free(path);
    mem_free(wal);
    return err;
}

static enum err to_tables(struct opening *o, const struct log_record *r)
{
    struct record record;
    enum err err;

    TRY(record_decode(r->kind, r->body, &o->arena, &record));
    if (record_is_for_tables(&record))
        TRY(apply_record(o->v->tables, &record));
out:
    arena_deinit(&o->arena);
    return err;
}

static enum err on_record(void *arg, const struct log_record *r)
{
    struct opening *o = arg;
    enum err err = ERR_OK;

    if ((r->topics & TOPIC_TABLES) && r->pos >= positions_get(&o->applied, r->log_id))
        TRY(to_tables(o, r));
    if (r->shard < SHARD_COUNT) {
        unsigned store = o->v->data.store_of[r->shard];
        if (r->pos >= placement_floor(&o->v->data.placement, r->shard, r->log_id) &&
            r->pos >= lsm_durable(o->v->stores[store], r->log_id))
            err = convlog_replay_record(o->replays[store], o->v->stores[store], r->shard, r->kind, r->body);
    }
out:
    return err;
}

static void on_damage(void *arg, const char *file, uint64_t at, const char *what)
{
    struct opening *o = arg;

    o->v->is_damaged = true;
    fprintf(stderr, "parley: damaged: file %s offset %" PRIu64 ": %s\n", file, at, what);
}

static enum err read_logs(struct opening *o)
{
    char *dir = tool_path(o->source->data, "log");
    struct damage_sink sink = {on_damage, o};
    enum err err = ERR_OK;

    for (size_t i = 0; i < o->source->n_logs && err == ERR_OK; i++) {
        const struct source_log *l = &o->source->logs[i];
        struct seglog_report report;

        if (l->end == SEGLOG_COPY_STILL)
            err = seglog_verify(o->v->env, dir, l->id, 0, &sink, on_record, o, &report);
        else
            err = seglog_read(o->v->env, dir, l->id, l->kept, l->end, on_record, o);
    }
    err = because(o, err, dir);
    mem_free(dir);
    return err;
}

enum err view_open(struct source *s, struct view *out, char **why)
{
    struct view v = {.env = s->env};
    struct opening o = {.v = &v, .source = s, .why = why};
    enum err err;

    block_cache_create(CACHE_BYTES, &v.cache);
    TRY(data_dir_look(s->env, s->data, false, &v.data, why));
    TRY(open_stores(&o));
    TRY(open_tables(&o));
    TRY(source_ends(s, why));
    TRY(read_logs(&o));
    TRY(because(&o, db_commit(v.tables), s->data));
    *out = v;
out:
    for (unsigned i = 0; o.replays && i < v.data.n_stores; i++)
        convlog_replay_destroy(o.replays[i]);
    mem_free(o.replays);
    positions_deinit(&o.applied);
    arena_deinit(&o.arena);
    if (err != ERR_OK)
        view_close(&v);
    return err;
}

void view_close(struct view *v)
{
    db_close(v->tables);
    for (unsigned i = 0; v->stores && i < v->data.n_stores; i++)
        lsm_close(v->stores[i]);
    mem_free(v->stores);
    block_cache_destroy(v->cache);
    data_dir_close(&v->data);
    *v = (struct view){0};
}
