#include "cmd/parley_backup.h"
#include "base/conf.h"
#include "cmd/parley_backup_dir.h"
#include "cmd/parley_backup_job.h"
#include "cmd/parley_tool.h"
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

struct backup_options {
    const char *data;
    int64_t rate;
    bool copy;
};
#define AT(field) offsetof(struct backup_options, field)
static const struct conf_option options[] = {
    {"data", CONF_TEXT, AT(data), "data", 0, 0, "the server's data folder, running or stopped"},
    {"rate", CONF_BYTES, AT(rate), "64m", 0, INT64_MAX, "at most so many bytes a second; 0: as fast as it goes"},
    {"copy", CONF_SWITCH, AT(copy), "off", 0, 0, "share no file with the data folder, though it is on the same disk"},
};
enum { OPTIONS = sizeof options / sizeof options[0] };

void backup_help(void)
{
    tool_help("parley backup DIR --data DATA\n\n"
              "Makes a backup in a new folder of DIR, of a server that runs or of a stopped one's folder: all\n"
              "that was acknowledged before it began, consistent as one. Tables that the last backup in DIR has\n"
              "already are linked, not copied. It holds what the data folder holds, secret.key included.\n\n",
              options, OPTIONS);
}

static void say(const struct backup_job *j, uint64_t us)
{
    char all[16], fresh[16], written[16];

    tool_bytes(backup_list_bytes(&j->list), all);
    tool_bytes(j->list.new_bytes, fresh);
    tool_bytes(j->written, written);
    printf("%s: %zu files, %s; new since %s: %s (%" PRIu64 " bytes); written: %s; %.1f s\n", j->list.name, j->list.n,
           all, j->previous ? j->previous : "the beginning", fresh, j->list.new_bytes, written, (double)us / 1e6);
}

static int run(struct backup_job *j, const char *data)
{
    uint64_t begun_us = env_mono_us(j->env);
    struct source source = {0};
    char *why = NULL;
    int result = 1;

    j->list.begun_ms = env_now_ms(j->env);
    if (source_open(j->env, data, &source, &why) != ERR_OK) {
        tool_complain(data, why);
    } else {
        j->source = &source;
        if (backup_job_run(j, &why) == ERR_OK)
            result = 0;
        else
            tool_complain("no backup was made", why);
    }
    if (result == 0)
        say(j, env_mono_us(j->env) - begun_us);
    source_close(&source);
    mem_free(why);
    return result;
}

/* Two at once would remove each other's half-made folders. */
static int lock_and_run(const struct backup_options *o, const char *dir)
{
    struct env *env = env_posix();
    struct backup_job j = {.env = env, .dir = dir, .never_link = o->copy};
    char *path = tool_path(dir, "lock");
    struct file *lock = NULL;
    int result = 1;
    enum err err;

    pace_begin(&j.pace, env, (uint64_t)o->rate);
    TRY(fs_mkdirs(env->fs, dir));
    TRY(fs_open(env->fs, path, FS_CREATE, &lock));
    TRY(file_lock(lock));
    result = run(&j, o->data);
out:
    if (err == ERR_LOCKED)
        tool_complain(path, "another backup is being made in this folder");
    else if (err != ERR_OK)
        tool_complain(dir, err_text(err));
    backup_job_deinit(&j);
    file_close(lock);
    mem_free(path);
    return result;
}

int backup(int argc, char **argv)
{
    struct backup_options o = {0};
    char *why = NULL;
    int result = 2;

    signal(SIGPIPE, SIG_IGN);
    tool_be_nice();
    if (conf_load(options, OPTIONS, &o, &argc, argv, &why) != ERR_OK)
        tool_complain(why, NULL);
    else if (argc != 2)
        tool_complain("what is wanted: parley backup DIR --data DATA", NULL);
    else
        result = lock_and_run(&o, argv[1]);
    mem_free(why);
    return result;
}

/* --- list --- */

void backup_list_help(void)
{
    fputs("parley backup list DIR\n\nLists the backups in DIR, oldest first. To remove one, delete its folder.\n",
          stdout);
}

static void print(const struct backup_list *l)
{
    time_t s = (time_t)(l->begun_ms / 1000);
    char when[32], all[16], fresh[16];
    struct tm tm;

    gmtime_r(&s, &tm);
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &tm);
    tool_bytes(backup_list_bytes(l), all);
    tool_bytes(l->new_bytes, fresh);
    printf("%-20s  %s  %10s  %10s new  epoch %s\n", l->name, when, all, fresh, l->epoch);
}

int backup_list_all(int argc, char **argv)
{
    struct backup_list *v = NULL;
    size_t n = 0, halves, bad;
    enum err err;

    if (argc != 2) {
        tool_complain("what is wanted: parley backup list DIR", NULL);
        return 2;
    }
    err = backup_dir_read(env_posix()->fs, argv[1], &v, &n, &halves, &bad);
    if (err != ERR_OK)
        return tool_complain(argv[1], err_text(err));
    for (size_t i = 0; i < n; i++)
        print(&v[i]);
    if (halves)
        fprintf(stderr, "parley: %zu unfinished: being made, or to be removed by the next backup\n", halves);
    if (bad)
        fprintf(stderr, "parley: %zu with a list that is damaged or of a later program\n", bad);
    backup_dir_free(v, n);
    return bad ? 1 : 0;
}
