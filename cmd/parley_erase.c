#include "cmd/parley_erase.h"
#include "base/conf.h"
#include "cmd/parley_time.h"
#include "cmd/parley_tool.h"
#include "proto/id.h"
#include "proto/op.h"
#include "services/admin.h"
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct erase_options {
    const char *data, *before, *user;
    bool status, wait;
};
#define AT(field) offsetof(struct erase_options, field)
static const struct conf_option options[] = {
    {"data", CONF_TEXT, AT(data), "data", 0, 0, "the running server's data folder"},
    {"before", CONF_TEXT, AT(before), "", 0, 0,
     "only what was sent before 2026-01-31T12:00:00Z, or longer ago than 30d, 12h, 45m"},
    {"user", CONF_TEXT, AT(user), "", 0, 0, "a username or user id: what they sent, in all conversations"},
    {"status", CONF_SWITCH, AT(status), "off", 0, 0, "say how long the oldest erasing has been in the files"},
    {"wait", CONF_SWITCH, AT(wait), "off", 0, 0, "return when all that was erased has left the files"},
};
enum { OPTIONS = sizeof options / sizeof options[0], WAIT_LOOK_MS = 500 };

void erase_help(void)
{
    tool_help(
        "parley erase CONV SEQ[-SEQ] ... --data DIR\n"
        "parley erase CONV --before TIME --data DIR\n"
        "parley erase --user NAME|ID [--before TIME] --data DIR\n"
        "parley erase --status on --data DIR\n\n"
        "Interrupted, it is begun again by the same command. Backups keep what they have until they are removed.\n\n",
        options, OPTIONS);
}

/* Where somebody looks: one line that changes. */
static void show_progress(const char *line, const char *what)
{
    unsigned long long at, of, erased;

    if (isatty(STDERR_FILENO) && sscanf(line, "progress %llu %llu %llu", &at, &of, &erased) == 3)
        fprintf(stderr, "\r%llu of %llu %s, %llu messages erased ", at, of, what, erased);
}

/* One command, one answer: a number before `ok`. 0: done. */
static int ask(const char *data, const char *line, const char *what, unsigned long long *n)
{
    char answer[512];
    int fd = -1, result = -1;
    enum err err = admin_connect(data, &fd);
    FILE *in;

    if (err != ERR_OK)
        return tool_complain(data, err == ERR_NOT_FOUND ? "no server runs on it" : err_text(err));
    if (write(fd, line, strlen(line)) != (ssize_t)strlen(line)) {
        close(fd);
        return tool_complain("the server does not listen", NULL);
    }
    in = fdopen(fd, "r");
    while (fgets(answer, sizeof answer, in)) {
        struct str s = str_c(answer);

        if (str_starts(s, STR("progress "))) {
            show_progress(answer, what);
        } else if (str_eq(s, STR("ok\n"))) {
            result = 0;
        } else if (str_starts(s, STR("error "))) {
            fprintf(stderr, "parley: %s", answer + strlen("error "));
            result = 1;
        } else {
            (void)!sscanf(answer, "%*s %llu", n);
        }
    }
    fclose(in);
    return result < 0 ? tool_complain("the server ended before it was done; the same command goes on", NULL) : result;
}

static int say_status(const struct erase_options *o)
{
    unsigned long long since = 0;
    int result = ask(o->data, "erase-status\n", "", &since);
    struct env *env = env_posix();

    if (result == 0 && since == 0)
        printf("nothing that was erased is in the files any more\n");
    else if (result == 0)
        printf("the oldest erasing whose content may still be in the files is %lld s old\n",
               (long long)(env_now_ms(env) - (int64_t)since) / 1000);
    return result;
}

static int wait_for_end(const struct erase_options *o)
{
    unsigned long long since;
    int64_t begun = env_now_ms(env_posix());
    int result;

    for (;;) {
        since = 0;
        result = ask(o->data, "erase-status\n", "", &since);
        if (result != 0 || since == 0 || (int64_t)since > begun)
            return result;
        nanosleep(&(struct timespec){.tv_nsec = WAIT_LOOK_MS * 1000000L}, NULL);
    }
}

/* SEQ or SEQ-SEQ. */
static bool parse_range(struct str s, int64_t *from, int64_t *to)
{
    struct str first, last;

    if (!str_cut(s, '-', &first, &last))
        first = last = s;
    return str_to_i64(first, 1, SEQ_MAX, from) && str_to_i64(last, *from, SEQ_MAX, to);
}

static int erase_range(const struct erase_options *o, const char *conv, int64_t from, int64_t to,
                       unsigned long long *all)
{
    unsigned long long n = 0;
    char line[200];
    int result;

    snprintf(line, sizeof line, "erase %s %lld %lld\n", conv, (long long)from, (long long)to);
    result = ask(o->data, line, "seqs", &n);
    *all += n;
    return result;
}

static int erase_ranges(const struct erase_options *o, int argc, char **argv, unsigned long long *all)
{
    int64_t from, to;
    int result = 0;

    for (int i = 2; i < argc; i++) {
        if (!parse_range(str_c(argv[i]), &from, &to)) {
            tool_complain("SEQ or SEQ-SEQ is wanted", argv[i]);
            return 2;
        }
    }
    for (int i = 2; i < argc && result == 0; i++) {
        (void)!parse_range(str_c(argv[i]), &from, &to);
        result = erase_range(o, argv[1], from, to, all);
    }
    return result;
}

static int erase_before(const struct erase_options *o, const char *conv, int64_t before, unsigned long long *all)
{
    char line[200];

    snprintf(line, sizeof line, "erase-before %s %lld\n", conv, (long long)before);
    return ask(o->data, line, "seqs", all);
}

static int erase_user(const struct erase_options *o, int64_t before, unsigned long long *all)
{
    char line[200];

    if (strchr(o->user, ' ') || strlen(o->user) > ID_TEXT_MAX) {
        tool_complain(o->user, "no username or user id");
        return 2;
    }
    snprintf(line, sizeof line, "erase-user %s %lld\n", o->user, (long long)before);
    return ask(o->data, line, "conversations", all);
}

/* 2: it was called in another way than erase_help says. */
static int erase_what_is_asked(const struct erase_options *o, int argc, char **argv, unsigned long long *all)
{
    struct conv_id conv;
    int64_t before = 0;

    if (*o->before && !time_parse(str_c(o->before), env_now_ms(env_posix()), &before)) {
        tool_complain(o->before, "a time is wanted, as 2026-01-31T12:00:00Z, or an age, as 30d");
        return 2;
    }
    if (*o->user && argc == 1)
        return erase_user(o, before, all);
    if (*o->user || argc < 2 || !conv_parse(str_c(argv[1]), &conv) || (argc == 2) != (before > 0)) {
        tool_complain("what is wanted: parley erase CONV SEQ[-SEQ] ..., or CONV --before TIME, or --user NAME|ID",
                      NULL);
        return 2;
    }
    return before ? erase_before(o, argv[1], before, all) : erase_ranges(o, argc, argv, all);
}

static int erase_all(const struct erase_options *o, int argc, char **argv)
{
    unsigned long long all = 0;
    int result = erase_what_is_asked(o, argc, argv, &all);

    if (result == 2)
        return result;
    printf("%llu messages were erased\n", all);
    return result == 0 && o->wait ? wait_for_end(o) : result;
}

int erase_messages(int argc, char **argv)
{
    struct erase_options o = {0};
    char *why = NULL;
    int result = 2;

    if (conf_load(options, OPTIONS, &o, &argc, argv, &why) != ERR_OK)
        tool_complain(why, NULL);
    else
        result = o.status ? say_status(&o) : erase_all(&o, argc, argv);
    mem_free(why);
    return result;
}
