/* An LSM tree without a log: the caller's log is it.
 *
 *   put ──► active memtable ──(lsm_applied, when full)──► frozen, at most 3 ──flush──► table ──merges──► larger tables
 *   get, scan: active, frozen newest first, tables newest first; the first that knows the key is right
 *
 *   DIR/MANIFEST         which tables are live, newest first, and the durable position of each log (manifest.c)
 *   DIR/<16 hex>.sst     a table (sst_write.c); its number is never given again
 *
 * What always holds: what the manifest names is on the disk, whole; the durable positions cover exactly what the tables
 * hold, or less, never more; a memtable is frozen only between two batches of puts, so a batch and its position become
 * durable together. After a crash the newest manifest is opened, files that it doesn't name are removed, and the
 * caller replays its logs from the durable positions. A key's versions are ordered by where they are, not by numbers:
 * memtable before tables, a newer table before an older one. */
#include "base/log.h"
#include "storage/lsm_store.h"
#include <assert.h>
#include <inttypes.h>
#include <sched.h>

enum { MEMTABLE_BYTES = 16 << 20, TABLE_MEMORY = 512 << 20 };

/* --- opening --- */

struct found {
    uint64_t *ids;
    size_t n;
};

/* Notes a file of a table's name. */
static void note_table(void *arg, const char *name)
{
    struct found *f = arg;
    uint64_t id = 0;
    size_t i = 0;
    for (; i < 16; i++) {
        const char *at = name[i] ? strchr("0123456789abcdef", name[i]) : NULL;
        if (!at)
            return;
        id = id << 4 | (uint64_t)(at - "0123456789abcdef");
    }
    if (strcmp(name + i, ".sst") != 0)
        return;
    f->ids = mem_realloc(f->ids, (f->n + 1) * sizeof(f->ids[0]));
    f->ids[f->n++] = id;
}

static bool is_live(const struct manifest *m, uint64_t id)
{
    for (size_t i = 0; i < m->n_tables; i++)
        if (m->tables[i].id == id)
            return true;
    return false;
}

static enum err write_manifest(struct lsm *l, struct manifest *m)
{
    struct buf encoded = {0};
    m->generation++;
    manifest_encode(m, &encoded);
    enum err err = manifest_switch(l->fs, l->dir, buf_get(&encoded));
    buf_deinit(&encoded);
    return err;
}

/* Removes what a crash left behind. Their numbers count as given: the manifest says so before they go. */
static enum err remove_leftovers(struct lsm *l, struct manifest *m, const struct found *f)
{
    size_t n = 0;
    enum err err = ERR_OK;
    for (size_t i = 0; i < f->n; i++) {
        n += !is_live(m, f->ids[i]);
        if (f->ids[i] >= m->next_table)
            m->next_table = f->ids[i] + 1;
    }
    if (n > 0)
        TRY(write_manifest(l, m));
    for (size_t i = 0; i < f->n; i++) {
        if (is_live(m, f->ids[i]))
            continue;
        char *path = sst_path(l->dir, f->ids[i]);
        (void)!fs_remove(l->fs, path); /* next time, then */
        mem_free(path);
    }
out:
    return err;
}

/* The folder is synced before its manifest is believed: a process that was killed may have switched it in the page
 * cache only. Whoever is told the positions of that one trims the log behind them, and a power cut brings the old one
 * back. */
static enum err read_root(struct lsm *l, struct manifest *m, struct buf *why)
{
    struct found f = {0};
    enum err err;

    TRY(fs_mkdirs(l->fs, l->dir));
    TRY(fs_sync_dir(l->fs, l->dir));
    TRY(fs_list(l->fs, l->dir, note_table, &f));
    err = manifest_read(l->fs, l->dir, m);
    if (err == ERR_NOT_FOUND && f.n == 0) {
        m->next_table = 1;
        TRY(write_manifest(l, m)); /* from now on tables without a manifest are damage */
    } else if (err == ERR_NOT_FOUND) {
        buf_printf(why, "%s/MANIFEST: missing, though there are tables", l->dir);
        TRY(ERR_CORRUPT);
    } else if (err != ERR_OK) {
        buf_printf(why, "%s/MANIFEST: %s", l->dir, err_text(err));
        TRY(err);
    }
    TRY(remove_leftovers(l, m, &f));
out:
    if (err != ERR_OK && why->len == 0)
        buf_printf(why, "%s: %s", l->dir, err_text(err));
    mem_free(f.ids);
    return err;
}

static enum err open_tables(struct lsm *l, const struct manifest *m, struct buf *why)
{
    l->tables = mem_new_array(struct sst *, m->n_tables);
    for (; l->n_tables < m->n_tables; l->n_tables++) {
        const struct manifest_table *t = &m->tables[l->n_tables];
        enum err err = sst_open(l->fs, l->dir, t->id, t->bytes, &l->tables[l->n_tables], why);
        if (err != ERR_OK)
            return err;
        l->tables[l->n_tables]->cache_id = block_cache_new_table(l->conf.cache);
    }
    return ERR_OK;
}

static struct lsm *make(const struct lsm_conf *c)
{
    struct lsm *l = mem_new(struct lsm);
    l->conf = *c;
    if (l->conf.memtable_bytes == 0)
        l->conf.memtable_bytes = MEMTABLE_BYTES;
    if (l->conf.table_memory == 0)
        l->conf.table_memory = TABLE_MEMORY;
    if (l->conf.tables_max == 0)
        l->conf.tables_max = LSM_TABLES_MAX;
    l->fs = c->env->fs;
    l->dir = mem_dup(str_c(c->dir));
    l->conf.dir = l->dir;
    background_init(&l->background, c->pool, c->home);
    pace_init(&l->pace, c->merge_rate);
    memtable_create(&l->active);
    env_random(c->env, &l->active_id, sizeof l->active_id);
    for (size_t i = 0; i < TASKS; i++)
        l->task[i].lsm = l;
    return l;
}

/* Takes `l` and a manifest that was read: the state that it names, or where that cannot be had, why. */
static enum err open_state(struct lsm *l, struct manifest *m, enum err err, struct buf *reason, struct lsm **out,
                           char **why)
{
    TRY(err);
    TRY(open_tables(l, m, reason));
    l->next_table = m->next_table;
    l->generation = m->generation;
    l->purge.tables_ms = m->erased_ms;
    positions_copy(&m->durable, &l->durable);
    positions_copy(&m->durable, &l->applied);
    *out = l;
    l = NULL;
out:
    if (err != ERR_OK && why)
        *why = mem_dup(buf_get(reason));
    buf_deinit(reason);
    manifest_deinit(m);
    lsm_close(l);
    return err;
}

enum err lsm_open(const struct lsm_conf *c, struct lsm **out, char **why)
{
    assert(c->env && c->dir && c->cache && !c->home == !c->pool);
    struct manifest m = {0};
    struct buf reason = {0};
    struct lsm *l = make(c);
    enum err err = read_root(l, &m, &reason);

    return open_state(l, &m, err, &reason, out, why);
}

/* A memtable that is never full is never frozen, and without a flush or a merge nothing is written. */
enum err lsm_open_still(const struct lsm_conf *c, struct str manifest, struct lsm **out, char **why)
{
    struct manifest m = {0};
    struct buf reason = {0};
    struct lsm_conf still = *c;
    enum err err;

    assert(!c->home && !c->pool);
    still.memtable_bytes = SIZE_MAX / 4;
    err = manifest_decode(manifest, &m);
    if (err != ERR_OK)
        buf_printf(&reason, "%s: its manifest: %s", c->dir, err_text(err));
    return open_state(make(&still), &m, err, &reason, out, why);
}

void lsm_close(struct lsm *l)
{
    if (!l)
        return;
    while (atomic_load(&l->n_loading) > 0)
        sched_yield(); /* for a few blocks at most: only a process that ends has reads under way */
    background_deinit(&l->background);
    lsm_tasks_deinit(l);
    for (size_t i = 0; i < l->n_tables; i++)
        sst_close(l->tables[i]);
    for (size_t i = 0; i < l->n_frozen; i++) {
        memtable_destroy(l->frozen[i].table);
        positions_deinit(&l->frozen[i].positions);
    }
    memtable_destroy(l->active);
    positions_deinit(&l->applied);
    positions_deinit(&l->durable);
    mem_free(l->tables);
    mem_free(l->dir);
    mem_free(l);
}

void lsm_retire(struct lsm *l)
{
    if (l->failed == ERR_OK)
        l->failed = ERR_CLOSED;
}

bool lsm_is_idle(const struct lsm *l) { return l->n_needs == 0 && list_is_empty(&l->background.out); }

/* --- writing --- */

/* Between the bound and twice the bound of the active memtable lies room for the batch that is being applied. */
static bool is_out_of_room(const struct lsm *l)
{
    return l->n_frozen == FROZEN_MAX && memtable_bytes(l->active) >= 2 * l->conf.memtable_bytes;
}

static void note_busy(struct lsm *l)
{
    if (l->busy_since_us == 0)
        l->busy_since_us = env_mono_us(l->conf.env);
}

static enum err may_put(struct lsm *l, struct str key)
{
    if (key.len == 0 || key.len > BLOCK_KEY_MAX)
        return ERR_INVALID;
    if (is_out_of_room(l))
        lsm_poke(l); /* a flush that waits for space may be due */
    if (l->failed != ERR_OK)
        return l->failed;
    if (!is_out_of_room(l))
        return ERR_OK;
    note_busy(l);
    return ERR_LIMIT;
}

void lsm_mirror(struct lsm *l, uint8_t first, lsm_mirror_fn *fn, void *arg)
{
    l->mirror = fn;
    l->mirror_first = first;
    l->mirror_arg = arg;
}

static void mirror(struct lsm *l, struct str key, const struct str *value)
{
    if (l->mirror && (uint8_t)key.p[0] == l->mirror_first)
        l->mirror(l->mirror_arg, key, value);
}

static enum err may_put_value(struct lsm *l, struct str key, struct str value)
{
    enum err err = may_put(l, key);
    return err != ERR_OK ? err : value.len > BLOCK_VALUE_MAX ? ERR_INVALID : ERR_OK;
}

static void put_plainly(struct lsm *l, struct str key, struct str value)
{
    if (l->defers)
        memtable_put_late(l->active, key, value);
    else
        memtable_put(l->active, key, value);
}

static void was_put(struct lsm *l, struct str key, struct str value)
{
    l->unapplied++;
    mirror(l, key, &value);
}

enum err lsm_put(struct lsm *l, struct str key, struct str value)
{
    enum err err = may_put_value(l, key, value);
    if (err != ERR_OK)
        return err;
    put_plainly(l, key, value);
    was_put(l, key, value);
    return ERR_OK;
}

typedef void put_fn(struct memtable *m, struct str key, struct str value, struct memtable_near *near);

static enum err put_beside(struct lsm *l, struct str key, struct str value, struct lsm_near *near, put_fn *put)
{
    enum err err = may_put_value(l, key, value);
    if (err != ERR_OK)
        return err;
    if (l->defers)
        put_plainly(l, key, value);
    else
        put(l->active, key, value, lsm_near_in(l, near));
    was_put(l, key, value);
    return ERR_OK;
}

enum err lsm_put_near(struct lsm *l, struct str key, struct str value, struct lsm_near *near)
{
    return put_beside(l, key, value, near, memtable_put_near);
}

enum err lsm_put_again(struct lsm *l, struct str key, struct str value, struct lsm_near *near)
{
    return put_beside(l, key, value, near, memtable_put_again);
}

enum err lsm_delete(struct lsm *l, struct str key)
{
    enum err err = may_put(l, key);
    if (err != ERR_OK)
        return err;
    if (l->defers)
        memtable_delete_late(l->active, key);
    else
        memtable_delete(l->active, key);
    l->unapplied++;
    mirror(l, key, NULL);
    return ERR_OK;
}

void lsm_defer(struct lsm *l) { l->defers = true; }

void lsm_settle(struct lsm *l)
{
    memtable_settle(l->active);
    l->defers = false;
}

bool lsm_is_busy(struct lsm *l)
{
    if (l->retry_at_us)
        lsm_poke(l);
    bool is_busy = l->failed != ERR_OK || l->is_full || l->n_frozen == FROZEN_MAX ||
                   (l->n_frozen == FROZEN_MAX - 1 && memtable_bytes(l->active) >= l->conf.memtable_bytes / 2);
    if (is_busy)
        note_busy(l);
    return is_busy;
}

bool lsm_is_full(const struct lsm *l) { return l->is_full && !l->is_scarce; }

static void freeze(struct lsm *l)
{
    struct lsm_frozen *f = &l->frozen[l->n_frozen++];
    f->table = l->active;
    positions_copy(&l->applied, &f->positions);
    lsm_purge_frozen(l, f);
    memtable_create(&l->active);
    l->active_id++;
    l->freeze_wanted = false;
}

bool lsm_is_ripe(const struct lsm *l)
{
    return l->freeze_wanted || memtable_bytes(l->active) >= l->conf.memtable_bytes;
}

void lsm_applied(struct lsm *l, uint64_t log_id, uint64_t pos)
{
    lsm_settle(l);
    positions_set(&l->applied, log_id, pos);
    l->unapplied = 0;
    if (l->n_frozen < FROZEN_MAX && lsm_is_ripe(l))
        freeze(l);
    if (l->n_frozen > 0 || l->retry_at_us)
        lsm_poke(l);
}

bool lsm_is_clean(const struct lsm *l)
{
    return l->n_frozen == 0 && memtable_count(l->active) == 0 && positions_eq(&l->applied, &l->durable);
}

enum err lsm_flush(struct lsm *l)
{
    lsm_poke(l);
    if (l->failed != ERR_OK)
        return l->failed;
    if (lsm_is_clean(l))
        return ERR_OK;
    if (l->unapplied > 0) {
        l->freeze_wanted = true;
        return ERR_AGAIN;
    }
    if (l->n_frozen > 0)
        return ERR_AGAIN;
    freeze(l);
    lsm_poke(l);
    return l->failed;
}

uint64_t lsm_durable(const struct lsm *l, uint64_t log_id) { return positions_get(&l->durable, log_id); }

uint64_t lsm_position(const struct lsm *l, uint64_t log_id) { return positions_get(&l->applied, log_id); }

void lsm_forget_log(struct lsm *l, uint64_t log_id) { positions_forget(&l->applied, log_id); }

/* What is installed is an older or the same state as the manifest on disk: whole, with every file there as long as it
 * is referenced. */
void lsm_checkpoint_begin(struct lsm *l, struct lsm_checkpoint *out)
{
    struct manifest m = {.generation = l->generation,
                         .next_table = l->next_table,
                         .n_tables = l->n_tables,
                         .erased_ms = lsm_purge_installed(l)};

    *out = (struct lsm_checkpoint){.tables = mem_new_array(struct sst *, l->n_tables), .n = l->n_tables};
    m.tables = mem_new_array(struct manifest_table, l->n_tables);
    for (size_t i = 0; i < l->n_tables; i++) {
        m.tables[i] = (struct manifest_table){l->tables[i]->id, l->tables[i]->bytes};
        out->tables[i] = l->tables[i];
        lsm_table_ref(l->tables[i]);
    }
    positions_copy(&l->durable, &m.durable);
    manifest_encode(&m, &out->manifest);
    manifest_deinit(&m);
}

void lsm_checkpoint_end(struct lsm *l, struct lsm_checkpoint *c)
{
    for (size_t i = 0; i < c->n; i++)
        lsm_table_unref(l, c->tables[i]);
    if (c->n)
        lsm_poke(l); /* removes the files of the last reference */
    mem_free(c->tables);
    buf_deinit(&c->manifest);
    *c = (struct lsm_checkpoint){0};
}

void lsm_stats(const struct lsm *l, struct lsm_stats *out)
{
    struct lsm_stats s = {.tables = l->n_tables,
                          .memtable_bytes = memtable_bytes(l->active),
                          .frozen = l->n_frozen,
                          .entries = memtable_count(l->active),
                          .flushes = l->flushes,
                          .compactions = l->compactions,
                          .compacted_bytes = l->compacted_bytes,
                          .cache_hits = block_cache_hits(l->conf.cache),
                          .cache_misses = block_cache_misses(l->conf.cache)};
    for (size_t i = 0; i < l->n_frozen; i++) {
        s.memtable_bytes += memtable_bytes(l->frozen[i].table);
        s.entries += memtable_count(l->frozen[i].table);
    }
    for (size_t i = 0; i < l->n_tables; i++) {
        s.table_bytes += l->tables[i]->bytes;
        s.entries += l->tables[i]->entries;
        s.index_bytes += l->tables[i]->index.len;
        s.filter_bytes += l->tables[i]->filter.len;
    }
    lsm_tasks_stats(l, &s);
    *out = s;
}
