/* A running server is asked through its admin socket, a line a connection; of a stopped one the folder is locked and
 * its tables are opened here. What a line means is the same in both (services/dead.h). */
#include "cmd/parley_dead.h"
#include "base/conf.h"
#include "cmd/parley_tool.h"
#include "services/admin.h"
#include "services/dead.h"
#include "storage/placement.h"
#include <inttypes.h>
#include <stdio.h>

struct dead_options {
    const char *data;
};
static const struct conf_option options[] = {
    {"data", CONF_TEXT, offsetof(struct dead_options, data), "data", 0, 0, "the server's data folder"},
};
enum { OPTIONS = sizeof options / sizeof options[0] };

/* Where lines go: a running server, or the tables of a stopped one. */
struct door {
    const char *data;
    struct file *lock;
    struct tables *tables;
};

void dead_help(void)
{
    tool_help("parley dead list --data DIR\nparley dead show ID --data DIR\n"
              "parley dead replay ID|all --data DIR\nparley dead drop ID --data DIR\n\n"
              "Records that the tables could not take. `all` goes in order, and ends with 1 when some stay.\n\n",
              options, OPTIONS);
}

static int open_tables(struct door *d)
{
    struct env *env = env_posix();
    char *path = tool_path(d->data, "tables.db"), *why = NULL;
    int result = 0;

    if (data_dir_lock(env, d->data, &d->lock, &why) != ERR_OK)
        result = tool_complain(why, NULL);
    else if (!tool_is_there(env, path))
        result = tool_complain(path, "it is not there");
    else if (tables_open(env, path, &d->tables, &why) != ERR_OK)
        result = tool_complain(why, NULL);
    mem_free(path);
    mem_free(why);
    return result;
}

static void close_tables(struct door *d)
{
    tables_close(d->tables);
    file_close(d->lock);
}

static int ask(struct door *d, const char *verb, const char *what, struct buf *out)
{
    char line[128];
    struct buf why = {0};
    int fd = -1, result = 0;

    snprintf(line, sizeof line, "dead %s %s", verb, what);
    if (!d->tables) {
        enum err err = admin_connect(d->data, &fd);

        if (err == ERR_OK)
            return tool_ask(fd, line, out);
        if (err != ERR_NOT_FOUND)
            return tool_complain(d->data, err_text(err));
        if (open_tables(d) != 0)
            return 2;
    }
    if (dead_obey(d->tables, str_c(line + strlen("dead ")), out, &why) != CODE_OK)
        result = tool_complain(why.p, NULL);
    buf_deinit(&why);
    return result;
}

/* Every letter, by pages of DEAD_LIST; `each` gets its line. */
static int each_letter(struct door *d, int (*each)(struct door *, const char *line))
{
    char after[32] = "0";
    int result = 0;

    for (bool more = true; more;) {
        struct buf page = {0};
        int asked = ask(d, "list", after, &page);

        buf_char(&page, '\0');
        more = asked == 0 && page.len > 1;
        for (char *line = page.p, *end; asked == 0 && (end = strchr(line, '\n')) != NULL; line = end + 1) {
            *end = '\0';
            snprintf(after, sizeof after, "%.*s", (int)strcspn(line, " "), line);
            result |= each(d, line);
        }
        buf_deinit(&page);
        result |= asked;
    }
    return result;
}

static int print_line(struct door *d, const char *line)
{
    (void)d;
    puts(line);
    return 0;
}

static int replay_line(struct door *d, const char *line)
{
    struct buf out = {0};
    char id[32];
    int result;

    snprintf(id, sizeof id, "%.*s", (int)strcspn(line, " "), line);
    result = ask(d, "replay", id, &out);
    buf_deinit(&out);
    return result;
}

static int obey(struct door *d, const char *verb, const char *what)
{
    struct buf out = {0};
    int result;

    if (str_eq(str_c(verb), STR("list")) && !what) {
        puts("ID LOG OFFSET KIND BYTES ATTEMPTS KEPT_MS WHY");
        return each_letter(d, print_line);
    }
    if (!what) {
        tool_complain("what is wanted: parley dead list, show ID, replay ID or all, drop ID", NULL);
        return 2;
    }
    if (str_eq(str_c(verb), STR("replay")) && str_eq(str_c(what), STR("all")))
        return each_letter(d, replay_line);
    result = ask(d, verb, what, &out);
    fwrite(out.p ? out.p : "", 1, out.len, stdout);
    buf_deinit(&out);
    return result;
}

int dead(int argc, char **argv)
{
    struct dead_options o = {0};
    struct door d = {0};
    char *why = NULL;
    int result = 2;

    if (conf_load(options, OPTIONS, &o, &argc, argv, &why) != ERR_OK)
        tool_complain(why, NULL);
    else if (argc < 2 || argc > 3)
        tool_complain("what is wanted: parley dead list, show ID, replay ID or all, drop ID", NULL);
    else {
        d.data = o.data;
        result = obey(&d, argv[1], argc == 3 ? argv[2] : NULL);
    }
    close_tables(&d);
    mem_free(why);
    return result;
}
