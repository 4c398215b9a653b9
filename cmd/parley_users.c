/* users seed: accounts without a password, with a device and a token each. A running server is asked through its admin
 * socket; otherwise the folder is taken and they go through a log of our own. */
#include "cmd/parley_users.h"
#include "base/conf.h"
#include "cmd/parley_offline.h"
#include "cmd/parley_tool.h"
#include "services/admin.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

struct seed_options {
    const char *data, *prefix, *out;
    int64_t count;
};
#define AT(field) offsetof(struct seed_options, field)
static const struct conf_option options[] = {
    {"data", CONF_TEXT, AT(data), "data", 0, 0, "the server's data folder"},
    {"count", CONF_INT, AT(count), "0", 0, 10000000, "how many (needed)"},
    {"prefix", CONF_TEXT, AT(prefix), "u", 0, 0, "their names are this and a number from 000000"},
    {"out", CONF_TEXT, AT(out), "", 0, 0,
     "file for the tokens (needed): username, user id, device, token, with tabs between"},
};
enum { OPTIONS = sizeof options / sizeof options[0] };

void users_seed_help(void)
{
    tool_help("parley users seed --data DIR --count N --prefix u --out FILE\n\n", options, OPTIONS);
}

/* The file is the owner's alone from its first byte on, whatever stood there before. */
static FILE *create(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return NULL;
    if (fchmod(fd, 0600) != 0 || ftruncate(fd, 0) != 0) {
        close(fd);
        return NULL;
    }
    return fdopen(fd, "w");
}

/* Lines go to the file as they come; the last, `ok` or `error …`, is kept. 0: ok. */
static int copy_answer(int fd, FILE *out)
{
    FILE *in = fdopen(fd, "r");
    char line[512];
    int result = -1;

    while (result < 0 && fgets(line, sizeof line, in)) {
        struct str s = str_c(line);

        if (str_eq(s, STR("ok\n"))) {
            result = 0;
        } else if (str_starts(s, STR("error "))) {
            line[s.len - 1] = '\0';
            result = tool_complain(line + strlen("error "), NULL);
        } else {
            fputs(line, out);
        }
    }
    fclose(in);
    return result < 0 ? tool_complain("the server ended before it was done", NULL) : result;
}

static int seed_running(const struct seed_options *o, int fd, FILE *out)
{
    char line[256];
    int n = snprintf(line, sizeof line, "seed %s %lld\n", o->prefix, (long long)o->count);

    if (n >= (int)sizeof line || write(fd, line, (size_t)n) != n) {
        close(fd);
        return tool_complain("the server does not listen", NULL);
    }
    return copy_answer(fd, out);
}

static bool write_line(void *arg, struct str line)
{
    fwrite(line.p, 1, line.len, arg);
    return true;
}

static int seed_stopped(const struct seed_options *o, FILE *out)
{
    char *why = NULL;
    int result = 0;

    if (offline_seed(o->data, str_c(o->prefix), (uint64_t)o->count, write_line, out, &why) != ERR_OK)
        result = tool_complain("no users were made, or not all", why);
    mem_free(why);
    return result;
}

static int seed(const struct seed_options *o)
{
    struct env *env = env_posix();
    uint64_t begun_us = env_mono_us(env);
    FILE *out = create(o->out);
    int fd = -1, result;
    enum err err;

    if (!out)
        return tool_complain(o->out, strerror(errno));
    err = admin_connect(o->data, &fd);
    if (err == ERR_OK)
        result = seed_running(o, fd, out);
    else if (err == ERR_NOT_FOUND)
        result = seed_stopped(o, out);
    else
        result = tool_complain(o->data, err_text(err));
    if ((ferror(out) | fclose(out)) != 0)
        result = tool_complain(o->out, "it could not be written");
    if (result == 0)
        fprintf(stderr, "%lld users in %.1f s\n", (long long)o->count, (double)(env_mono_us(env) - begun_us) / 1e6);
    return result;
}

int users_seed(int argc, char **argv)
{
    struct seed_options o = {0};
    char *why = NULL;
    int result = 2;

    if (conf_load(options, OPTIONS, &o, &argc, argv, &why) != ERR_OK)
        tool_complain(why, NULL);
    else if (argc > 1)
        tool_complain("what is this?", argv[1]);
    else if (o.count == 0 || !*o.out)
        tool_complain("--count and --out are needed", NULL);
    else
        result = seed(&o);
    mem_free(why);
    return result;
}
