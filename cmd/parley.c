/* parley: the operator's tool. A subcommand is a row here and a function in a file of its own. */
#include "cmd/parley_backup.h"
#include "cmd/parley_dead.h"
#include "cmd/parley_doctor.h"
#include "cmd/parley_erase.h"
#include "cmd/parley_export.h"
#include "cmd/parley_import.h"
#include "cmd/parley_restore.h"
#include "cmd/parley_retention.h"
#include "cmd/parley_stores.h"
#include "cmd/parley_users.h"
#include "cmd/parley_verify.h"
#include "base/str.h"
#include <stdio.h>

struct command {
    const char *words[2];              /* the second may be missing */
    int (*run)(int argc, char **argv); /* argv[0] is the last of its words */
    void (*help)(void);
    const char *what;
};
static const struct command commands[] = {
    {{"users", "seed"}, users_seed, users_seed_help, "make accounts without a password, for load and tests"},
    {{"backup", "list"}, backup_list_all, backup_list_help, "list the backups in a folder"},
    {{"backup"}, backup, backup_help, "back up a running or stopped server"},
    {{"restore"}, restore, restore_help, "make a new data folder out of a backup"},
    {{"erase"}, erase_messages, erase_help, "erase messages of a running server, for good"},
    {{"retention"}, retention, retention_help, "how long a running server keeps a conversation's messages"},
    {{"export"}, export_all, export_help, "people and conversations as lines of JSON"},
    {{"import"}, import_file, import_help, "take in what export wrote"},
    {{"dead"}, dead, dead_help, "list, show, replay or drop the records that the tables could not take"},
    {{"doctor"}, doctor, doctor_help, "how a running or stopped server is, and what needs you"},
    {{"stores", "list"}, stores_list, stores_list_help, "which stores there are, and how many shards each holds"},
    {{"stores", "add"}, stores_add, stores_add_help, "give a running server one more store"},
    {{"stores", "drain"}, stores_drain, stores_drain_help, "empty a store of a running server, and give it up"},
    {{"stores", "status"}, stores_status, stores_status_help, "what a running server still has to move"},
    {{"verify"}, verify, verify_help, "read all of a data folder or a backup, and name what is damaged"},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void usage(FILE *out)
{
    fputs("parley: looks after a Parley server's data. `parley COMMAND --help` says more.\n\n", out);
    for (int i = 0; i < COMMANDS; i++)
        fprintf(out, "  parley %-7s %-5s %s\n", commands[i].words[0], commands[i].words[1] ? commands[i].words[1] : "",
                commands[i].what);
}

static bool is_word(int argc, char **argv, int at, const char *word)
{
    return at < argc && str_eq(str_c(argv[at]), str_c(word));
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (is_word(argc, argv, i, "--help"))
            return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    for (int i = 0; i < COMMANDS; i++) {
        const struct command *c = &commands[i];
        int words = c->words[1] ? 2 : 1;

        if (!is_word(argc, argv, 1, c->words[0]) || (words == 2 && !is_word(argc, argv, 2, c->words[1])))
            continue;
        if (wants_help(argc, argv)) {
            c->help();
            return 0;
        }
        return c->run(argc - words, argv + words);
    }
    if (is_word(argc, argv, 1, "--help")) {
        usage(stdout);
        return 0;
    }
    usage(stderr);
    return 2;
}
