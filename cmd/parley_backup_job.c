/* The order is what makes the parts fit together (the source holds everything still, see hold.h):
 *
 *   1. the stores: their manifests as they were durable at one moment, and the tables that these name
 *   2. SQLite, with how far it has each log
 *   3. only now is asked where the logs end, the reactors' first: so they reach at least as far as any view above, and
 *      the directory's last: so whoever wrote an entry has an account in it
 *   4. the logs, from where the views need them up to those ends, and sealed there
 *   5. placement, parley.json, secret.key, log/next
 *   6. whether all of it was still held; then the list, and last the folder gets its name
 *
 * Tables never change. So one that the backup before has is linked from there, and one that it has not is linked from
 * the data folder where that is the same file system, or else copied. The table of the backup before is the same one
 * when its history (epoch), store, number and length are, and its last bytes, with the index of what it holds. Segments
 * of live logs are always copied: they are written over when their time has come.
 *
 * Everything is made in NAME.part, synced, and renamed to NAME when the list in it is there. */
#include "cmd/parley_backup_job.h"
#include "cmd/parley_backup_dir.h"
#include "cmd/parley_tool.h"
#include "queue/seglog_copy.h"
#include "schema/applied.h"
#include "schema/db_check.h"
#include "schema/db_copy.h"
#include "schema/owed_rows.h"
#include "storage/manifest.h"
#include "storage/sst_read.h"
#include <inttypes.h>
#include <time.h>

enum { TAIL_BYTES = 64 << 10 };

struct making {
    struct backup_job *j;
    struct fs *fs;
    char *part;              /* DIR/NAME.part */
    struct backup_list last; /* the backup before; empty: none */
    char *last_folder;
    struct positions tables, owed; /* how far the copied SQLite has each log */
    char **why;
};

static enum err because(struct making *m, enum err err, const char *file)
{
    struct buf b = {0};

    if (err == ERR_OK || *m->why)
        return err;
    buf_printf(&b, "%s: %s%c", file, err_text(err), 0);
    *m->why = b.p;
    return err;
}

static void add(struct making *m, const char *rel, const struct copied *c, bool is_new, uint64_t written)
{
    backup_list_add(&m->j->list, str_c(rel), c->bytes, &c->digest);
    m->j->list.new_bytes += is_new ? c->bytes : 0;
    m->j->written += written;
}

static enum err make_folder(struct making *m, const char *rel)
{
    char *path = tool_path(m->part, rel);
    enum err err = because(m, fs_mkdirs(m->fs, path), path);

    mem_free(path);
    return err;
}

static enum err sync_folder(struct making *m, const char *rel)
{
    char *path = tool_path(m->part, rel);
    enum err err = because(m, fs_sync_dir(m->fs, path), path);

    mem_free(path);
    return err;
}

static enum err add_copy(struct making *m, const char *from, const char *rel, int64_t bytes, struct str tail)
{
    char *to = tool_path(m->part, rel);
    struct copied c;
    enum err err;

    TRY(source_still_holds(m->j->source, m->why));
    TRY(because(m, copy_file(&m->j->pace, from, to, bytes, tail, &c), from));
    add(m, rel, &c, true, c.bytes);
out:
    mem_free(to);
    return err;
}

static enum err add_bytes(struct making *m, struct str bytes, const char *rel)
{
    char *to = tool_path(m->part, rel);
    struct copied c;
    enum err err = because(m, copy_bytes(&m->j->pace, bytes, to, &c), to);

    if (err == ERR_OK)
        add(m, rel, &c, true, c.bytes);
    mem_free(to);
    return err;
}

/* --- tables --- */

static enum err read_tail(struct fs *fs, const char *path, uint64_t bytes, char *out)
{
    size_t n = bytes < TAIL_BYTES ? (size_t)bytes : TAIL_BYTES;
    struct file *f = NULL;
    uint64_t size = 0;
    enum err err;

    TRY(fs_open(fs, path, FS_READ, &f));
    TRY(file_size(f, &size));
    TRY(size == bytes ? ERR_OK : ERR_CORRUPT);
    TRY(file_read_exact(f, out, n, bytes - n));
out:
    file_close(f);
    return err;
}

static bool is_same_table(struct making *m, const char *a, const char *b, uint64_t bytes)
{
    char *x = mem_alloc(TAIL_BYTES), *y = mem_alloc(TAIL_BYTES);
    bool same = read_tail(m->fs, a, bytes, x) == ERR_OK && read_tail(m->fs, b, bytes, y) == ERR_OK &&
                memcmp(x, y, TAIL_BYTES) == 0;

    mem_free(x);
    mem_free(y);
    return same;
}

/* NOT_FOUND: the backup before does not have it, or it cannot be linked. */
static enum err link_last(struct making *m, const char *from, const char *rel, uint64_t bytes)
{
    const struct backup_file *f = backup_list_find(&m->last, str_c(rel));
    char *there, *to;
    enum err err = ERR_NOT_FOUND;

    if (!f || f->bytes != bytes)
        return err;
    there = tool_path(m->last_folder, rel);
    to = tool_path(m->part, rel);
    if (is_same_table(m, from, there, bytes) && fs_link(m->fs, there, to) == ERR_OK) {
        add(m, rel, &(struct copied){f->bytes, f->digest}, false, 0);
        err = ERR_OK;
    }
    mem_free(there);
    mem_free(to);
    return err;
}

/* NOT_FOUND: it cannot be linked: another file system, mostly. */
static enum err link_live(struct making *m, const char *from, const char *rel)
{
    char *to = tool_path(m->part, rel);
    struct copied c;
    enum err err = ERR_NOT_FOUND;

    if (!m->j->never_link && fs_link(m->fs, from, to) == ERR_OK) {
        err = because(m, copy_digest(&m->j->pace, to, &c), from);
        if (err == ERR_OK)
            add(m, rel, &c, true, 0);
    }
    mem_free(to);
    return err;
}

static enum err add_table(struct making *m, const char *store, const struct manifest_table *t)
{
    struct buf dir = {0}, rel_dir = {0};
    char *from, *rel;
    enum err err;

    buf_printf(&dir, "%s/stores/%s%c", m->j->source->data, store, 0);
    buf_printf(&rel_dir, BACKUP_FILES "/stores/%s%c", store, 0);
    from = sst_path(dir.p, t->id);
    rel = sst_path(rel_dir.p, t->id);
    err = link_last(m, from, rel, t->bytes);
    if (err == ERR_NOT_FOUND)
        err = link_live(m, from, rel);
    if (err == ERR_NOT_FOUND)
        err = add_copy(m, from, rel, COPY_ALL, (struct str){0});
    if (err == ERR_OK && m->j->list.v[m->j->list.n - 1].bytes != t->bytes)
        err = because(m, ERR_CORRUPT, from);
    buf_deinit(&dir);
    buf_deinit(&rel_dir);
    mem_free(from);
    mem_free(rel);
    return err;
}

static enum err add_store(struct making *m, const struct source_store *s)
{
    struct manifest manifest = {0};
    struct buf folder = {0}, rel = {0};
    enum err err;

    buf_printf(&folder, BACKUP_FILES "/stores/%s%c", s->name, 0);
    buf_printf(&rel, "%s/MANIFEST%c", folder.p, 0);
    TRY(make_folder(m, folder.p));
    TRY(because(m, manifest_decode(buf_get(&s->manifest), &manifest), rel.p));
    for (size_t i = 0; i < manifest.n_tables; i++)
        TRY(add_table(m, s->name, &manifest.tables[i]));
    TRY(add_bytes(m, buf_get(&s->manifest), rel.p));
    TRY(sync_folder(m, folder.p));
out:
    manifest_deinit(&manifest);
    buf_deinit(&folder);
    buf_deinit(&rel);
    return err;
}

/* --- SQLite --- */

static void on_page(void *arg, uint64_t bytes) { pace(&((struct making *)arg)->j->pace, bytes); }

static void note_position(void *arg, uint64_t log_id, uint64_t pos) { positions_set(arg, log_id, pos); }

static enum err read_positions(struct making *m, const char *path)
{
    struct db *d = NULL;
    enum err err;

    TRY(db_open_still(path, true, &d));
    TRY(applied_each(d, note_position, &m->tables));
    TRY(owed_rows_each_position(d, note_position, &m->owed));
out:
    db_close(d);
    return err;
}

static enum err copy_tables(struct making *m, const char *from, const char *to)
{
    char *wal = tool_path(m->j->source->data, "tables.db-wal");
    bool is_alone = !m->j->source->is_running && !tool_is_there(m->j->env, wal);
    struct file *f = NULL;
    struct db *d = NULL;
    enum err err;

    TRY(fs_open(m->fs, to, FS_CREATE_NEW, &f)); /* ours alone, before SQLite makes it by the umask */
    TRY(db_open_still(from, is_alone, &d));
    TRY(db_copy(d, to, on_page, m));
    TRY(file_sync(f));
out:
    db_close(d);
    file_close(f);
    mem_free(wal);
    return err;
}

static enum err add_tables(struct making *m)
{
    const char *rel = BACKUP_FILES "/tables.db";
    char *from = tool_path(m->j->source->data, "tables.db"), *to = tool_path(m->part, rel);
    struct copied c;
    enum err err = ERR_OK;

    if (m->j->source->is_running || tool_is_there(m->j->env, from)) {
        TRY(because(m, copy_tables(m, from, to), from));
        TRY(because(m, read_positions(m, to), to));
        TRY(because(m, copy_digest(&m->j->pace, to, &c), to));
        add(m, rel, &c, true, c.bytes);
    }
out:
    mem_free(from);
    mem_free(to);
    return err;
}

/* --- logs --- */

static enum err add_segment(void *arg, uint64_t number, const char *path, uint64_t bytes, struct str tail)
{
    struct making *m = arg;
    struct str all = str_c(path);
    struct buf rel = {0};
    enum err err;

    (void)number;
    buf_printf(&rel, BACKUP_FILES "/log/%s%c", path + all.len - (16 + 1 + 16 + 4), 0); /* ID/NUMBER.seg */
    err = add_copy(m, path, rel.p, (int64_t)bytes, tail);
    buf_deinit(&rel);
    return err;
}

/* What any view above still needs of it. */
static uint64_t needed_from(const struct making *m, const struct source_log *l)
{
    uint64_t tables = positions_get(&m->tables, l->id), owed = positions_get(&m->owed, l->id), from = l->from;

    if (l->is_directory)
        from = tables;
    from = tables < from ? tables : from;
    from = owed < from && !l->is_directory ? owed : from;
    return from > l->kept ? from : l->kept;
}

static enum err add_log(struct making *m, const struct source_log *l)
{
    char *dir = tool_path(m->j->source->data, "log");
    struct buf folder = {0};
    struct seglog_copy c = {.env = m->j->env,
                            .dir = dir,
                            .log_id = l->id,
                            .from = needed_from(m, l),
                            .end = l->end,
                            .segment = add_segment,
                            .arg = m};
    enum err err;

    buf_printf(&folder, BACKUP_FILES "/log/%016" PRIx64 "%c", l->id, 0);
    TRY(make_folder(m, folder.p));
    TRY(because(m, seglog_copy(&c), folder.p));
    TRY(sync_folder(m, folder.p));
out:
    buf_deinit(&folder);
    mem_free(dir);
    return err;
}

/* The directory's behind all others. */
static enum err add_logs(struct making *m)
{
    const struct source *s = m->j->source;
    enum err err = ERR_OK;

    for (int directory = 0; directory < 2; directory++) {
        for (size_t i = 0; i < s->n_logs; i++) {
            if (s->logs[i].is_directory == (directory == 1))
                TRY(add_log(m, &s->logs[i]));
        }
    }
out:
    return err;
}

/* --- all of it --- */

static enum err add_rest(struct making *m)
{
    static const char *const names[] = {"log/next", "secret.key", "placement", "parley.json"};
    enum err err = ERR_OK;

    for (size_t i = 0; i < sizeof names / sizeof names[0] && err == ERR_OK; i++) {
        char *from = tool_path(m->j->source->data, names[i]), *rel = tool_path(BACKUP_FILES, names[i]);
        if (i > 0 || tool_is_there(m->j->env, from)) /* a folder that never ran has no next log */
            err = add_copy(m, from, rel, COPY_ALL, (struct str){0});
        mem_free(from);
        mem_free(rel);
    }
    return err;
}

static enum err add_all(struct making *m)
{
    struct source *s = m->j->source;
    enum err err;

    TRY(make_folder(m, BACKUP_FILES "/stores"));
    TRY(make_folder(m, BACKUP_FILES "/log"));
    for (size_t i = 0; i < s->n_stores; i++)
        TRY(add_store(m, &s->stores[i]));
    TRY(add_tables(m));
    TRY(source_ends(s, m->why));
    TRY(add_logs(m));
    TRY(add_rest(m));
    TRY(sync_folder(m, BACKUP_FILES "/stores"));
    TRY(sync_folder(m, BACKUP_FILES "/log"));
    TRY(sync_folder(m, BACKUP_FILES));
    TRY(source_ends(s, m->why)); /* so nothing was given back while it was read */
out:
    return err;
}

static enum err publish(struct making *m)
{
    struct backup_job *j = m->j;
    char *list = tool_path(m->part, BACKUP_LIST), *final = tool_path(j->dir, j->list.name);
    struct buf text = {0};
    enum err err;

    j->list.ended_ms = env_now_ms(j->env);
    backup_list_encode(&j->list, &text);
    TRY(because(m, fs_replace(m->fs, list, buf_get(&text)), list));
    TRY(because(m, fs_rename(m->fs, m->part, final), final));
    TRY(because(m, fs_sync_dir(m->fs, j->dir), j->dir));
out:
    buf_deinit(&text);
    mem_free(list);
    mem_free(final);
    return err;
}

/* The last backup of the same history. */
static enum err choose_last(struct making *m)
{
    struct backup_list *v = NULL;
    size_t n, halves, bad, best;
    enum err err;

    TRY(because(m, backup_dir_read(m->fs, m->j->dir, &v, &n, &halves, &bad), m->j->dir));
    for (best = n; best > 0 && !str_eq(str_c(v[best - 1].epoch), str_c(m->j->list.epoch)); best--)
        ;
    if (best > 0) {
        m->last = v[best - 1];
        v[best - 1] = (struct backup_list){0};
        m->last_folder = tool_path(m->j->dir, m->last.name);
        m->j->previous = mem_dup(str_c(m->last.name));
    }
    backup_dir_free(v, n);
out:
    return err;
}

/* By the clock, as people look for it; a second one in the same second is -2. */
static enum err choose_name(struct making *m)
{
    time_t s = (time_t)(m->j->list.begun_ms / 1000);
    struct tm tm;
    char stamp[32], name[48];
    enum err err = ERR_EXISTS;

    gmtime_r(&s, &tm);
    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &tm);
    for (int i = 1; err == ERR_EXISTS; i++) {
        snprintf(name, sizeof name, i > 1 ? "%s-%d" : "%s", stamp, i);
        char *path = tool_path(m->j->dir, name);
        err = tool_is_there(m->j->env, path) ? ERR_EXISTS : ERR_OK;
        mem_free(path);
    }
    m->j->list.name = mem_dup(str_c(name));
    snprintf(name + strlen(name), sizeof name - strlen(name), ".part");
    m->part = tool_path(m->j->dir, name);
    return because(m, fs_mkdirs(m->fs, m->part), m->part);
}

enum err backup_job_run(struct backup_job *j, char **why)
{
    struct making m = {.j = j, .fs = j->env->fs, .why = why};
    enum err err;

    j->list.epoch = mem_dup(str_c(j->source->epoch));
    TRY(because(&m, backup_dir_clean(m.fs, j->dir), j->dir));
    TRY(choose_last(&m));
    TRY(choose_name(&m));
    TRY(add_all(&m));
    TRY(publish(&m));
out:
    if (err != ERR_OK && m.part)
        (void)!backup_dir_remove(m.fs, m.part); /* or the next backup does */
    backup_list_deinit(&m.last);
    positions_deinit(&m.tables);
    positions_deinit(&m.owed);
    mem_free(m.last_folder);
    mem_free(m.part);
    return err;
}

void backup_job_deinit(struct backup_job *j)
{
    backup_list_deinit(&j->list);
    mem_free(j->previous);
}
