#include "cmd/parley_source.h"
#include "cmd/parley_tool.h"
#include "queue/seglog_copy.h"
#include "services/admin.h"
#include "storage/manifest.h"
#include "storage/placement.h"
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

static enum err refuse(char **why, enum err err, const char *fmt, const char *what)
{
    struct buf b = {0};

    buf_printf(&b, "%s%s%c", fmt, what, 0);
    mem_free(*why);
    *why = b.p;
    return err;
}

static void add_log(struct source *s, const struct source_log *l)
{
    s->logs = mem_realloc(s->logs, (s->n_logs + 1) * sizeof s->logs[0]);
    s->logs[s->n_logs++] = *l;
}

static struct source_store *add_store(struct source *s, struct str name)
{
    s->stores = mem_realloc(s->stores, (s->n_stores + 1) * sizeof s->stores[0]);
    s->stores[s->n_stores] = (struct source_store){.name = mem_dup(name)};
    return &s->stores[s->n_stores++];
}

/* --- a running server --- */

static bool get_hex(struct str text, struct buf *out)
{
    for (size_t i = 0; i + 1 < text.len; i += 2) {
        char two[3] = {text.p[i], text.p[i + 1], '\0'}, *end;
        long v = strtol(two, &end, 16);
        if (*end)
            return false;
        buf_char(out, (char)v);
    }
    return text.len % 2 == 0;
}

static bool take_log(struct source *s, struct str rest)
{
    char text[128], role[16];
    struct source_log l = {0};

    snprintf(text, sizeof text, STR_FMT, STR_ARG(rest));
    if (sscanf(text, "%" SCNx64 " %15s %" SCNu64 " %" SCNu64, &l.id, role, &l.from, &l.kept) != 4)
        return false;
    l.is_directory = str_eq(str_c(role), STR("directory"));
    add_log(s, &l);
    return true;
}

static bool take_old(struct source *s, struct str rest)
{
    char text[32];
    struct source_log l = {.end = SEGLOG_COPY_STILL};

    snprintf(text, sizeof text, STR_FMT, STR_ARG(rest));
    if (sscanf(text, "%" SCNx64, &l.id) != 1)
        return false;
    add_log(s, &l);
    return true;
}

static bool take_store(struct source *s, struct str rest)
{
    struct str name, hex;
    struct manifest m = {0};
    struct source_store *store;
    bool ok;

    if (!str_cut(rest, ' ', &name, &hex))
        return false;
    store = add_store(s, name);
    ok = get_hex(hex, &store->manifest) && manifest_decode(buf_get(&store->manifest), &m) == ERR_OK;
    manifest_deinit(&m);
    return ok;
}

static bool take_end(struct source *s, struct str rest)
{
    char text[64];
    uint64_t id, pos;

    snprintf(text, sizeof text, STR_FMT, STR_ARG(rest));
    if (sscanf(text, "%" SCNx64 " %" SCNu64, &id, &pos) != 2)
        return false;
    for (size_t i = 0; i < s->n_logs; i++) {
        if (s->logs[i].id == id)
            s->logs[i].end = pos;
    }
    return true;
}

static bool take_line(struct source *s, struct str verb, struct str rest)
{
    if (str_eq(verb, STR("epoch"))) {
        s->epoch = mem_dup(rest);
        return true;
    }
    if (str_eq(verb, STR("log")))
        return take_log(s, rest);
    if (str_eq(verb, STR("old")))
        return take_old(s, rest);
    if (str_eq(verb, STR("store")))
        return take_store(s, rest);
    return str_eq(verb, STR("end")) && take_end(s, rest);
}

/* Takes lines up to `last`. */
static enum err take_answer(struct source *s, const char *last, char **why)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    enum err err = ERR_AGAIN;

    while (err == ERR_AGAIN && (n = getline(&line, &cap, s->from)) > 0) {
        struct str one = str_of(line, (size_t)n - (line[n - 1] == '\n')), verb = one, rest = {0};
        (void)!str_cut(one, ' ', &verb, &rest);
        line[one.len] = '\0';
        if (str_eq(one, str_c(last)))
            err = ERR_OK;
        else if (str_eq(verb, STR("error")))
            err = refuse(why, ERR_CLOSED, "the server says: ", line + strlen("error "));
        else if (!take_line(s, verb, rest))
            err = refuse(why, ERR_UNSUPPORTED, "the server said what this program does not know: ", line);
    }
    free(line); /* getline's */
    if (err == ERR_AGAIN)
        err = refuse(why, ERR_CLOSED, "the server ended meanwhile", "");
    return err;
}

static enum err ask(struct source *s, const char *question, const char *last, char **why)
{
    if (fprintf(s->to, "%s\n", question) < 0 || fflush(s->to) != 0)
        return refuse(why, ERR_CLOSED, "the server ended meanwhile", "");
    return take_answer(s, last, why);
}

static enum err open_running(struct source *s, int fd, char **why)
{
    int other = dup(fd);

    s->is_running = true;
    s->to = fdopen(fd, "w");
    s->from = other < 0 ? NULL : fdopen(other, "r");
    if (!s->to || !s->from)
        return refuse(why, ERR_IO, "no more files can be opened", "");
    return ask(s, "backup", "held", why);
}

/* --- a folder that stands still --- */

static enum err find_logs(struct source *s)
{
    char *dir = tool_path(s->data, "log");
    uint64_t *ids = NULL;
    size_t n = 0;
    enum err err = seglog_list(s->env, dir, &ids, &n);

    for (size_t i = 0; err == ERR_OK && i < n; i++)
        add_log(s, &(struct source_log){.id = ids[i], .end = SEGLOG_COPY_STILL});
    mem_free(ids);
    mem_free(dir);
    return err;
}

static enum err find_stores(struct source *s, const struct data_dir *d, char **why)
{
    enum err err = ERR_OK;

    for (unsigned i = 0; i < d->n_stores; i++) {
        struct source_store *store = add_store(s, str_c(d->stores[i]));
        struct manifest m = {0};
        struct buf dir = {0};

        buf_printf(&dir, "%s/stores/%s%c", s->data, store->name, 0);
        err = manifest_read(s->env->fs, dir.p, &m);
        if (err == ERR_NOT_FOUND) { /* a folder that no server has opened yet */
            m.next_table = 1;
            err = ERR_OK;
        }
        if (err == ERR_OK)
            manifest_encode(&m, &store->manifest);
        else
            err = refuse(why, err, "its MANIFEST cannot be read: ", dir.p);
        manifest_deinit(&m);
        buf_deinit(&dir);
        TRY(err);
    }
out:
    return err;
}

static enum err open_still(struct source *s, bool is_ours, char **why)
{
    struct data_dir d = {0};
    enum err err;

    TRY(data_dir_look(s->env, s->data, !is_ours, &d, why));
    s->epoch = mem_dup(str_c(d.epoch));
    s->lock = d.lock;
    d.lock = NULL;
    TRY(find_stores(s, &d, why));
    TRY(find_logs(s));
out:
    data_dir_close(&d);
    return err;
}

/* --- */

enum err source_open(struct env *env, const char *data, struct source *out, char **why)
{
    struct source s = {.env = env, .data = mem_dup(str_c(data))};
    int fd = -1;
    enum err err = admin_connect(data, &fd);

    if (err == ERR_OK)
        err = open_running(&s, fd, why);
    else if (err == ERR_NOT_FOUND)
        err = open_still(&s, false, why);
    if (err != ERR_OK && !*why)
        (void)!refuse(why, err, err_text(err), "");
    if (err != ERR_OK)
        source_close(&s);
    else
        *out = s;
    return err;
}

enum err source_open_still(struct env *env, const char *data, struct source *out, char **why)
{
    struct source s = {.env = env, .data = mem_dup(str_c(data))};
    enum err err = open_still(&s, true, why);

    if (err != ERR_OK && !*why)
        (void)!refuse(why, err, err_text(err), "");
    if (err != ERR_OK)
        source_close(&s);
    else
        *out = s;
    return err;
}

enum err source_ends(struct source *s, char **why) { return s->is_running ? ask(s, "ends", "ok", why) : ERR_OK; }

/* It says nothing unasked but that it is over. */
enum err source_still_holds(struct source *s, char **why)
{
    struct pollfd p = {.events = POLLIN};

    if (!s->is_running)
        return ERR_OK;
    p.fd = fileno(s->from);
    return poll(&p, 1, 0) > 0 ? take_answer(s, "", why) : ERR_OK;
}

void source_close(struct source *s)
{
    if (s->to)
        fclose(s->to);
    if (s->from)
        fclose(s->from);
    for (size_t i = 0; i < s->n_stores; i++) {
        mem_free(s->stores[i].name);
        buf_deinit(&s->stores[i].manifest);
    }
    mem_free(s->stores);
    mem_free(s->logs);
    mem_free(s->data);
    mem_free(s->epoch);
    file_close(s->lock);
    *s = (struct source){0};
}
