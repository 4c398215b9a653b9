#include "cmd/parley_verify.h"
#include "base/conf.h"
#include "cmd/parley_backup_check.h"
#include "cmd/parley_tool.h"
#include "cmd/parley_verify_folder.h"
#include "storage/placement.h"
#include <inttypes.h>
#include <stdio.h>

struct verify_options {
    const char *data;
};
static const struct conf_option options[] = {
    {"data", CONF_TEXT, offsetof(struct verify_options, data), "", 0, 0, "the data folder of a stopped server"},
};
enum { OPTIONS = sizeof options / sizeof options[0] };

void verify_help(void)
{
    tool_help("parley verify --data DIR\nparley verify BACKUP\n\n"
              "Reads every block of every table, every record of the logs, SQLite and every conversation's\n"
              "entries, and names all that is damaged. Ends with 0 when all is whole, 1 when it is not, 2 when\n"
              "it could not look. Changes nothing.\n\n",
              options, OPTIONS);
}

static void say(const struct verify_totals *t)
{
    char bytes[16];

    tool_bytes(t->bytes, bytes);
    printf("read: %" PRIu64 " logs with %" PRIu64 " records, %" PRIu64 " stores with %" PRIu64 " tables, %" PRIu64
           " blocks, %" PRIu64 " keys, %s; %" PRIu64 " conversations\n",
           t->logs, t->records, t->stores, t->tables, t->blocks, t->entries, bytes, t->conversations);
    if (t->torn_bytes)
        printf("a torn write of %" PRIu64 " bytes, answered to nobody, ends a log; the next start cuts it\n",
               t->torn_bytes);
    if (t->damages)
        printf("%" PRIu64 " damages\n", t->damages);
    else
        printf("whole\n");
}

/* First what the list says of each file, then what is in them: damage that was copied is damage, too. */
static int verify_backup(const char *folder)
{
    struct env *env = env_posix();
    struct verify_totals totals = {0};
    struct backup_list list = {0};
    char *files = tool_path(folder, BACKUP_FILES), *why = NULL;
    struct pace pace;
    int result = 2;
    enum err err;

    pace_begin(&pace, env, 0);
    TRY(backup_open(env, folder, &list, &why));
    backup_check(&pace, folder, &list, &totals.damages);
    TRY(verify_folder(env, files, &totals, &why));
    say(&totals);
    result = totals.damages ? 1 : 0;
out:
    if (err != ERR_OK)
        tool_complain(folder, why);
    backup_list_deinit(&list);
    mem_free(files);
    mem_free(why);
    return err == ERR_CORRUPT ? 1 : result;
}

static int verify_data(const char *data)
{
    struct env *env = env_posix();
    struct verify_totals totals = {0};
    struct file *lock = NULL;
    char *why = NULL;
    int result = 2;

    if (data_dir_lock(env, data, &lock, &why) != ERR_OK) {
        tool_complain(why, NULL);
    } else if (verify_folder(env, data, &totals, &why) != ERR_OK) {
        tool_complain(data, why);
    } else {
        say(&totals);
        result = totals.damages ? 1 : 0;
    }
    file_close(lock);
    mem_free(why);
    return result;
}

int verify(int argc, char **argv)
{
    struct verify_options o = {0};
    char *why = NULL;
    int result = 2;

    tool_be_nice();
    if (conf_load(options, OPTIONS, &o, &argc, argv, &why) != ERR_OK)
        tool_complain(why, NULL);
    else if (argc > 2 || (argc == 2) == (*o.data != '\0'))
        tool_complain("what is wanted: parley verify --data DIR, or parley verify BACKUP", NULL);
    else
        result = argc == 2 ? verify_backup(argv[1]) : verify_data(o.data);
    mem_free(why);
    return result;
}
