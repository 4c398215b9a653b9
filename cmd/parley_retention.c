#include "cmd/parley_retention.h"
#include "base/conf.h"
#include "cmd/parley_tool.h"
#include "proto/id.h"
#include "services/admin.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct retention_options {
    const char *data;
};
static const struct conf_option options[] = {
    {"data", CONF_TEXT, offsetof(struct retention_options, data), "data", 0, 0, "the running server's data folder"},
};
enum { OPTIONS = sizeof options / sizeof options[0], LINE_BYTES = 160 };

void retention_help(void)
{
    tool_help(
        "parley retention CONV [AGE|forever|server] --data DIR\n\n"
        "Shows how long the entries of a conversation are kept, or sets it: an age such as 90d or 12h, forever, or\n"
        "as the server's option --retention says. What is older is erased for good within the server's\n"
        "--erase-within. Backups keep what they have until they are removed.\n\n",
        options, OPTIONS);
}

/* In the largest unit that has no rest. */
static void say_age(const char *word, char out[32])
{
    static const struct {
        const char *name;
        uint64_t ms;
    } units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    uint64_t ms = strtoull(word, NULL, 10);

    snprintf(out, 32, "%s", word);
    for (size_t i = 0; ms && i < sizeof units / sizeof units[0]; i++) {
        if (ms % units[i].ms == 0) {
            snprintf(out, 32, "%" PRIu64 "%s", ms / units[i].ms, units[i].name);
            return;
        }
    }
}

static int say(const char *answer)
{
    char own[32], servers[32], own_age[32], servers_age[32];
    unsigned long long first = 0, head = 0;

    if (sscanf(answer, "retention %31s %31s %llu %llu", own, servers, &first, &head) != 4)
        return tool_complain("the server's answer is not understood", NULL);
    say_age(own, own_age);
    say_age(servers, servers_age);
    if (str_eq(str_c(own), STR("server")))
        printf("kept: %s, as the server says\n", servers_age);
    else
        printf("kept: %s, its own (the server's: %s)\n", own_age, servers_age);
    printf("it has the entries %llu to %llu\n", first, head);
    return 0;
}

static int ask(const char *data, const char *line)
{
    struct buf answer = {0};
    int fd = -1, result;
    enum err err = admin_connect(data, &fd);

    if (err != ERR_OK)
        return tool_complain(data, err == ERR_NOT_FOUND ? "no server runs on it" : err_text(err));
    result = tool_ask(fd, line, &answer);
    buf_char(&answer, '\0');
    if (result == 0)
        result = say(answer.p);
    buf_deinit(&answer);
    return result;
}

/* `age` NULL: shown. False: it is none. */
static bool make_line(const char *conv, const char *age, char line[LINE_BYTES])
{
    struct conv_id id;
    int64_t ms = 0;

    if (!conv_parse(str_c(conv), &id))
        return false;
    if (!age)
        snprintf(line, LINE_BYTES, "retention %s", conv);
    else if (str_eq(str_c(age), STR("server")) || str_eq(str_c(age), STR("forever")))
        snprintf(line, LINE_BYTES, "retention %s %s", conv, age);
    else if (conf_parse_ms(str_c(age), &ms) && ms >= 1000)
        snprintf(line, LINE_BYTES, "retention %s %" PRId64, conv, ms);
    else
        return false;
    return true;
}

int retention(int argc, char **argv)
{
    struct retention_options o = {0};
    char *why = NULL, line[LINE_BYTES];
    int result = 2;

    if (conf_load(options, OPTIONS, &o, &argc, argv, &why) != ERR_OK)
        tool_complain(why, NULL);
    else if (argc < 2 || argc > 3 || !make_line(argv[1], argc == 3 ? argv[2] : NULL, line))
        tool_complain("what is wanted: parley retention CONV [AGE|forever|server], an age of 1s or more", NULL);
    else
        result = ask(o.data, line);
    mem_free(why);
    return result;
}
