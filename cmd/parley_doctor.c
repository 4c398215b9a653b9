/* A running server is asked through its admin socket, which gives the lines of services/standing.h. */
#include "cmd/parley_doctor.h"
#include "base/conf.h"
#include "cmd/parley_doctor_say.h"
#include "cmd/parley_doctor_stopped.h"
#include "cmd/parley_tool.h"
#include "services/admin.h"
#include "services/trim.h"
#include "services/views.h"
#include <inttypes.h>
#include <stdio.h>

/* From where on somebody should look. A store is flushed at FLUSH_BEHIND_BYTES; the others every other second. */
enum { STORES_BEHIND_BYTES = 4 * FLUSH_BEHIND_BYTES, BEHIND_MS = 60000 };

struct doctor_options {
    const char *data;
};
static const struct conf_option options[] = {
    {"data", CONF_TEXT, offsetof(struct doctor_options, data), "data", 0, 0, "the server's data folder"},
};
enum { OPTIONS = sizeof options / sizeof options[0] };

static const char *const names[VIEWS] = {"the message stores", "the tables", "what is owed to offline members"};

void doctor_help(void)
{
    tool_help("parley doctor --data DIR\n\n"
              "Says how a running or stopped server is: how far each view of its logs is, which one keeps them from\n"
              "being trimmed, whether records wait for you; of a stopped one also whether what a start needs is there\n"
              "and whole. Ends with 0 when all is well, 1 when something needs you (the line says which command goes\n"
              "on), 2 when it could not look. Changes nothing. `parley verify` reads everything and takes longer.\n\n",
              options, OPTIONS);
}

static void say_holder(const struct views_state *s)
{
    int slowest = 0;

    for (int i = 1; i < VIEWS; i++) {
        if (s->view[i].pos < s->view[slowest].pos)
            slowest = i;
    }
    if (s->view[slowest].pos < s->end)
        printf("  the log is trimmed up to %" PRIu64 " of %" PRIu64 "; %s hold%s the rest\n", s->trimmed, s->end,
               names[slowest], slowest == VIEW_OWED ? "s" : "");
}

static void judge(struct diagnosis *d, const struct views_state *s)
{
    uint64_t behind = s->end - s->view[VIEW_STORES].pos;
    char text[16];

    printf("log %016" PRIx64 ":\n", s->log_id);
    for (int i = 0; i < VIEWS; i++)
        say_behind(names[i], s->end - s->view[i].pos, s->view[i].ms);
    say_holder(s);
    tool_bytes(behind, text);
    if (behind > STORES_BEHIND_BYTES)
        say_finding(d,
                    "the stores are %s behind log %016" PRIx64
                    ": the disk is full or too slow; look for store_full in the server's log",
                    text, s->log_id);
    for (int i = VIEW_TABLES; i < VIEWS; i++) {
        if (s->view[i].ms > BEHIND_MS)
            say_finding(d,
                        "%s: %" PRIu64 " s behind log %016" PRIx64
                        "; look for tables_stalled in the server's log, and whether the disk is full",
                        names[i], s->view[i].ms / 1000, s->log_id);
    }
}

static bool take_line(struct diagnosis *d, const char *line)
{
    struct views_state s = {0};
    uint64_t n, bytes;

    if (sscanf(line,
               "log %" SCNx64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
               " %" SCNu64,
               &s.log_id, &s.end, &s.trimmed, &s.view[0].pos, &s.view[0].ms, &s.view[1].pos, &s.view[1].ms,
               &s.view[2].pos, &s.view[2].ms) == 9)
        judge(d, &s);
    else if (sscanf(line, "letters %" SCNu64 " %" SCNu64, &n, &bytes) == 2)
        say_letters(d, n, bytes);
    else if (sscanf(line, "rebuild %" SCNu64 " %" SCNu64, &n, &bytes) == 2)
        say_rebuild(n, bytes, true);
    else if (str_eq(str_c(line), STR("held")))
        printf("a backup or an export holds everything in its place\n");
    else
        return false;
    return true;
}

static int examine_running(int fd, struct diagnosis *d)
{
    struct buf out = {0};
    int result = tool_ask(fd, "views", &out) == 0 ? 0 : 2;
    char *line, *end;

    printf("the server runs\n");
    buf_char(&out, '\0');
    for (line = out.p; result == 0 && (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        if (!take_line(d, line)) {
            tool_complain("the server is of another version, and answers", line);
            result = 2;
        }
    }
    buf_deinit(&out);
    return result;
}

static int examine(struct diagnosis *d)
{
    int fd = -1, result;
    enum err err = admin_connect(d->data, &fd);

    if (err == ERR_OK)
        result = examine_running(fd, d);
    else if (err == ERR_NOT_FOUND)
        result = doctor_stopped(d);
    else
        result = (tool_complain(d->data, err_text(err)), 2);
    return result ? result : say_end(d);
}

int doctor(int argc, char **argv)
{
    struct doctor_options o = {0};
    char *why = NULL;
    int result = 2;

    if (conf_load(options, OPTIONS, &o, &argc, argv, &why) != ERR_OK)
        tool_complain(why, NULL);
    else if (argc > 1)
        tool_complain("what is wanted: parley doctor --data DIR", NULL);
    else
        result = examine(&(struct diagnosis){.data = o.data});
    mem_free(why);
    return result;
}
