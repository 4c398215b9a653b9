/* stores add, drain, status: a line to the admin socket (services/admin.h), and its answer. Waiting is asking again:
 * the server does the work whether somebody waits or not. */
#include "base/conf.h"
#include "cmd/parley_stores.h"
#include "cmd/parley_tool.h"
#include "services/admin.h"
#include <stdio.h>
#include <time.h>
#include <unistd.h>

struct move_options {
    const char *data;
    bool wait;
};
static const struct conf_option options[] = {
    {"data", CONF_TEXT, offsetof(struct move_options, data), "data", 0, 0, "the running server's data folder"},
    {"wait", CONF_SWITCH, offsetof(struct move_options, wait), "off", 0, 0, "until nothing is left to move"},
};
enum { OPTIONS = sizeof options / sizeof options[0], AGAIN_MS = 200 };

static void help(struct str text)
{
    struct buf all = {0};

    buf_str(&all, text);
    conf_help(options, OPTIONS, &all);
    fwrite(all.p, 1, all.len, stdout);
    buf_deinit(&all);
}

void stores_add_help(void)
{
    help(
        STR("parley stores add NAME --data DIR [--wait]\n\nThe server makes DIR/stores/NAME and moves its share of the "
            "shards there, while it serves.\nThe folder may be a link to another disk's, made before.\n\n"));
}

void stores_drain_help(void)
{
    help(STR("parley stores drain NAME --data DIR [--wait]\n\nThe server moves all shards of this store to the others, "
             "while it serves, and gives it up.\nIts folder goes at the next start.\n\n"));
}

void stores_status_help(void)
{
    help(STR("parley stores status --data DIR [--wait]\n\nThe stores, how much is left to move, and what it waits for."
             "\n\n"));
}

/* Sends a line; what comes before `ok` goes to `out`. Returns the exit status. */
static int ask(const char *data, struct str line, struct buf *out)
{
    char text[512];
    enum err err;
    int fd = -1, result = -1;
    FILE *f;

    err = admin_connect(data, &fd);
    if (err != ERR_OK)
        return tool_complain(data,
                             err == ERR_NOT_FOUND ? "no server runs on this folder; start it first" : err_text(err));
    if (write(fd, line.p, line.len) != (ssize_t)line.len) {
        close(fd);
        return tool_complain("the server does not listen", NULL);
    }
    f = fdopen(fd, "r");
    while (result < 0 && fgets(text, sizeof text, f)) {
        struct str s = str_c(text);

        if (str_eq(s, STR("ok\n"))) {
            result = 0;
        } else if (str_starts(s, STR("error "))) {
            text[s.len - 1] = '\0';
            result = tool_complain(text + strlen("error "), NULL);
        } else {
            buf_str(out, s);
        }
    }
    fclose(f);
    return result < 0 ? tool_complain("the server ended before it answered", NULL) : result;
}

static bool is_done(struct str status)
{
    struct str line;

    while (str_cut(status, '\n', &line, &status)) {
        if (str_eq(line, STR("left 0")))
            return true;
    }
    return false;
}

static int show(const struct move_options *o)
{
    struct buf out = {0};
    int result;

    for (;;) {
        buf_clear(&out);
        result = ask(o->data, STR("stores status\n"), &out);
        if (result != 0 || !o->wait || is_done(buf_get(&out)))
            break;
        nanosleep(&(struct timespec){.tv_nsec = AGAIN_MS * 1000000}, NULL);
    }
    if (result == 0)
        fwrite(out.p, 1, out.len, stdout);
    buf_deinit(&out);
    return result;
}

static int run(int argc, char **argv, const char *verb)
{
    struct move_options o = {0};
    struct buf line = {0}, none = {0};
    char *why = NULL;
    int result = 2, words = verb ? 2 : 1;

    if (conf_load(options, OPTIONS, &o, &argc, argv, &why) != ERR_OK) {
        tool_complain(why, NULL);
    } else if (argc != words) {
        tool_complain(verb ? "the name of one store is wanted" : "what is wanted: parley stores status --data DIR",
                      NULL);
    } else if (verb) {
        buf_printf(&line, "stores %s %s\n", verb, argv[1]);
        result = ask(o.data, buf_get(&line), &none);
        if (result == 0 && o.wait)
            result = show(&o);
    } else {
        result = show(&o);
    }
    buf_deinit(&line);
    buf_deinit(&none);
    mem_free(why);
    return result;
}

int stores_add(int argc, char **argv) { return run(argc, argv, "add"); }
int stores_drain(int argc, char **argv) { return run(argc, argv, "drain"); }
int stores_status(int argc, char **argv) { return run(argc, argv, NULL); }
