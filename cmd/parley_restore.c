/* restore: a data folder out of a backup. Everything is read and compared first, and again while it is copied. What
 * makes it a data folder, parley.json with its new epoch, is written last: before that no server starts on it. */
#include "cmd/parley_restore.h"
#include "base/conf.h"
#include "cmd/parley_backup_check.h"
#include "cmd/parley_tool.h"
#include "storage/placement.h"
#include <stdio.h>

struct restore_options {
    const char *data;
    int64_t rate;
};
#define AT(field) offsetof(struct restore_options, field)
static const struct conf_option options[] = {
    {"data", CONF_TEXT, AT(data), "", 0, 0, "the new data folder: empty, or not there (needed)"},
    {"rate", CONF_BYTES, AT(rate), "0", 0, INT64_MAX, "at most so many bytes a second; 0: as fast as it goes"},
};
enum { OPTIONS = sizeof options / sizeof options[0] };
#define FILES_PREFIX STR(BACKUP_FILES "/")

void restore_help(void)
{
    tool_help("parley restore BACKUP --data NEWDIR\n\n"
              "Makes a new data folder out of a backup, which is checked first and stays as it is. The folder\n"
              "gets a new epoch: clients see that this is another history and sync afresh. What happened after\n"
              "the backup is not in it; tokens and passwords are again what they were then.\n\n",
              options, OPTIONS);
}

struct restoring {
    struct env *env;
    const char *backup, *data;
    struct backup_list list;
    struct pace pace;
    char *why;
};

static enum err because(struct restoring *r, enum err err, const char *where)
{
    struct buf b = {0};

    if (err == ERR_OK || r->why)
        return err;
    buf_printf(&b, "%s: %s%c", where, err_text(err), 0);
    r->why = b.p;
    return err;
}

static void count(void *arg, const char *name)
{
    (void)name;
    ++*(size_t *)arg;
}

static enum err claim_folder(struct restoring *r)
{
    size_t n = 0;
    enum err err;

    TRY(because(r, fs_mkdirs(r->env->fs, r->data), r->data));
    TRY(because(r, fs_list(r->env->fs, r->data, count, &n), r->data));
    if (n > 0) {
        r->why = mem_dup(STR("the folder for it is not empty"));
        err = ERR_EXISTS;
    }
out:
    return err;
}

static enum err check(struct restoring *r)
{
    uint64_t damages = 0;

    backup_check(&r->pace, r->backup, &r->list, &damages);
    if (damages == 0)
        return ERR_OK;
    r->why = mem_dup(STR("the backup is damaged; nothing was restored"));
    return ERR_CORRUPT;
}

/* The folders of `rel` below the data folder; synced by who makes them. */
static enum err make_parent(struct restoring *r, const char *to)
{
    const char *slash = strrchr(to, '/');
    char *parent = mem_dup(str_of(to, (size_t)(slash - to)));
    enum err err = because(r, fs_mkdirs(r->env->fs, parent), parent);

    mem_free(parent);
    return err;
}

static enum err sync_parent(struct restoring *r, const char *to)
{
    const char *slash = strrchr(to, '/');
    char *parent = mem_dup(str_of(to, (size_t)(slash - to)));
    enum err err = because(r, fs_sync_dir(r->env->fs, parent), parent);

    mem_free(parent);
    return err;
}

static bool is_description(struct str rel) { return str_eq(rel, STR("parley.json")); }

static enum err copy_one(struct restoring *r, const struct backup_file *f)
{
    struct str rel = str_from(str_c(f->path), FILES_PREFIX.len);
    char *from = tool_path(r->backup, f->path), *to = tool_path(r->data, rel.p);
    struct copied c;
    enum err err = ERR_OK;

    if (!str_starts(str_c(f->path), FILES_PREFIX) || is_description(rel))
        goto out;
    TRY(make_parent(r, to));
    TRY(because(r, copy_file(&r->pace, from, to, COPY_ALL, (struct str){0}, &c), from));
    TRY(because(r, c.bytes == f->bytes && digest_eq(&c.digest, &f->digest) ? ERR_OK : ERR_CORRUPT, from));
    TRY(sync_parent(r, to));
out:
    mem_free(from);
    mem_free(to);
    return err;
}

static enum err describe(struct restoring *r)
{
    char *from = tool_path(r->backup, BACKUP_FILES "/parley.json"), *to = tool_path(r->data, "parley.json");
    struct str old = {0};
    struct buf text = {0};
    enum err err;

    TRY(because(r, fs_read_all(r->env->fs, from, 1 << 20, &old), from));
    TRY(because(r, data_dir_new_epoch(r->env, old, &text), from));
    TRY(because(r, fs_replace(r->env->fs, to, buf_get(&text)), to));
out:
    mem_free((void *)(uintptr_t)old.p);
    buf_deinit(&text);
    mem_free(from);
    mem_free(to);
    return err;
}

static enum err run(struct restoring *r)
{
    enum err err;

    TRY(backup_open(r->env, r->backup, &r->list, &r->why));
    TRY(claim_folder(r));
    TRY(check(r));
    for (size_t i = 0; i < r->list.n; i++)
        TRY(copy_one(r, &r->list.v[i]));
    TRY(describe(r));
out:
    return err;
}

static int restore_to(const struct restore_options *o, const char *backup)
{
    struct restoring r = {.env = env_posix(), .backup = backup, .data = o->data};
    char bytes[16];
    int result = 1;

    pace_begin(&r.pace, r.env, (uint64_t)o->rate);
    if (run(&r) == ERR_OK) {
        tool_bytes(backup_list_bytes(&r.list), bytes);
        printf("%s restored to %s: %zu files, %s; it has a new epoch\n", r.list.name, o->data, r.list.n, bytes);
        result = 0;
    } else {
        tool_complain(o->data, r.why);
    }
    backup_list_deinit(&r.list);
    mem_free(r.why);
    return result;
}

int restore(int argc, char **argv)
{
    struct restore_options o = {0};
    char *why = NULL;
    int result = 2;

    if (conf_load(options, OPTIONS, &o, &argc, argv, &why) != ERR_OK)
        tool_complain(why, NULL);
    else if (argc != 2 || !*o.data)
        tool_complain("what is wanted: parley restore BACKUP --data NEWDIR", NULL);
    else
        result = restore_to(&o, argv[1]);
    mem_free(why);
    return result;
}
