/* The socket is reached through a descriptor of its folder: a path of any length then fits into a sockaddr_un, whose
 * own paths end at 107 bytes. Its mode is set before anybody may connect, and the folder is the owner's alone anyway.
 */
#include "services/admin.h"
#include "base/log.h"
#include "base/loop.h"
#include "proto/code.h"
#include "services/directory_state.h"
#include "services/dead.h"
#include "services/erase.h"
#include "services/hold.h"
#include "services/mover.h"
#include "services/retention.h"
#include "services/seed.h"
#include "services/standing.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#define SOCKET_NAME "admin.sock"
enum { CLIENTS_MAX = 8, LINE_MAX_BYTES = 256, WRITE_AT = 16 << 10, PAUSE_AT = 1 << 20 };

struct admin {
    uv_pipe_t listener;
    struct directory *directory; /* NULL: closing */
    int folder;
    struct link clients;
    size_t n_clients;
};

struct client {
    uv_pipe_t pipe;
    uv_write_t write;
    struct link link;
    struct admin *admin; /* NULL: closing */
    struct seed *seed;
    struct hold *hold;
    struct erase_run *erase;
    struct erase_user *erase_user;
    struct retention_ask *retention;
    const char *erase_word;
    char in[LINE_MAX_BYTES];
    size_t in_len;
    struct buf out, going;                                  /* what waits, what is being written */
    bool is_writing, was_asked, is_held, is_due, is_ending; /* is_due: `out` goes at once, however little it is */
};

static void socket_path(int folder, char out[64]) { snprintf(out, 64, "/proc/self/fd/%d/" SOCKET_NAME, folder); }

static void client_closed(uv_handle_t *h)
{
    struct client *c = h->data;

    buf_deinit(&c->out);
    buf_deinit(&c->going);
    mem_free(c);
}

static void client_close(struct client *c)
{
    if (!c->admin)
        return;
    if (c->seed)
        seed_cancel(c->admin->directory, c->seed);
    hold_end(c->hold);
    erase_cancel(c->erase);
    erase_user_cancel(c->erase_user);
    retention_cancel(c->retention);
    c->erase = NULL;
    c->erase_user = NULL;
    c->retention = NULL;
    c->seed = NULL;
    c->hold = NULL;
    c->admin->n_clients--;
    c->admin = NULL;
    list_remove(&c->link);
    uv_close((uv_handle_t *)&c->pipe, client_closed);
}

static void client_flush(struct client *c);

static void on_written(uv_write_t *w, int status)
{
    struct client *c = w->data;

    c->is_writing = false;
    if (!c->admin)
        return;
    if (status != 0 || (c->is_ending && c->out.len == 0)) {
        client_close(c);
        return;
    }
    client_flush(c);
    if (c->seed && c->out.len < PAUSE_AT)
        seed_resume(c->admin->directory, c->seed);
}

static void client_flush(struct client *c)
{
    struct buf done = c->going;
    uv_buf_t b;

    if (c->is_writing || c->out.len == 0 || (c->out.len < WRITE_AT && !c->is_due && !c->is_ending))
        return;
    c->going = c->out;
    c->out = done;
    buf_clear(&c->out);
    c->is_due = false;
    b = uv_buf_init(c->going.p, (unsigned)c->going.len);
    c->is_writing = true;
    c->write.data = c;
    if (uv_write(&c->write, (uv_stream_t *)&c->pipe, &b, 1, on_written) != 0) {
        c->is_writing = false;
        client_close(c);
    }
}

static void client_end(struct client *c, enum code code, const char *why)
{
    if (code == CODE_OK)
        buf_str(&c->out, STR("ok\n"));
    else
        buf_printf(&c->out, "error %s %s\n", code_text(code), why);
    c->is_ending = true;
    client_flush(c);
}

static bool seed_line(void *arg, struct str line)
{
    struct client *c = arg;

    buf_str(&c->out, line);
    if (c->out.len >= WRITE_AT && !c->is_writing)
        client_flush(c);
    return c->out.len < PAUSE_AT;
}

static void seed_done(void *arg, enum code code, const char *why)
{
    struct client *c = arg;

    c->seed = NULL;
    client_end(c, code, why);
}

static void send_now(struct client *c)
{
    c->is_due = true;
    client_flush(c);
}

static void on_held(void *arg, struct str lines)
{
    struct client *c = arg;

    buf_str(&c->out, lines);
    buf_str(&c->out, STR("held\n"));
    c->is_held = true;
    send_now(c);
}

static void on_broken(void *arg, enum code code, const char *why)
{
    struct client *c = arg;

    c->hold = NULL;
    c->is_held = false;
    client_end(c, code, why);
}

static void on_erased(void *arg, enum code code, const char *why, uint64_t n)
{
    struct client *c = arg;

    c->erase = NULL;
    c->erase_user = NULL;
    buf_printf(&c->out, "%s %llu\n", c->erase_word, (unsigned long long)n);
    client_end(c, code, why);
}

/* One line at a time: who does not read them gets fewer. */
static void on_erasing(void *arg, uint64_t at, uint64_t of, uint64_t erased)
{
    struct client *c = arg;

    if (c->out.len)
        return;
    buf_printf(&c->out, "progress %llu %llu %llu\n", (unsigned long long)at, (unsigned long long)of,
               (unsigned long long)erased);
    send_now(c);
}

/* It may have ended already, refused because too much waits there. */
static void keep_erase(struct client *c, struct erase_run *e) { c->erase = c->is_ending || !c->admin ? NULL : e; }

static void erase(struct client *c, struct str args)
{
    struct erase_range range = {0};
    struct str conv, rest, from, to;
    int64_t first, last;

    if (!str_cut(args, ' ', &conv, &rest) || !str_cut(rest, ' ', &from, &to) || !conv_parse(conv, &range.conv) ||
        !str_to_i64(from, 1, SEQ_MAX, &first) || !str_to_i64(to, first, SEQ_MAX, &last)) {
        client_end(c, CODE_BAD_REQUEST, "erase CONV FROM TO");
        return;
    }
    range.from = (uint64_t)first;
    range.to = (uint64_t)last;
    log_info("admin_erase", "conv=" STR_FMT " from=%lld to=%lld", STR_ARG(conv), (long long)first, (long long)last);
    c->erase_word = "erased";
    keep_erase(c, erase_start(c->admin->directory, &range, &(struct erase_conf){.done = on_erased, .arg = c}));
}

static void erase_before(struct client *c, struct str args)
{
    struct erase_conf conf = {.done = on_erased, .arg = c, .progress = on_erasing};
    struct erase_range range = {.from = 1, .to = SEQ_MAX};
    struct str conv, ms;

    if (!str_cut(args, ' ', &conv, &ms) || !conv_parse(conv, &range.conv) ||
        !str_to_i64(ms, 1, INT64_MAX, &range.before_ms)) {
        client_end(c, CODE_BAD_REQUEST, "erase-before CONV MS");
        return;
    }
    log_info("admin_erase", "conv=" STR_FMT " before_ms=%lld", STR_ARG(conv), (long long)range.before_ms);
    c->erase_word = "erased";
    keep_erase(c, erase_start(c->admin->directory, &range, &conf));
}

static void erase_user(struct client *c, struct str args)
{
    struct erase_conf conf = {.done = on_erased, .arg = c, .progress = on_erasing};
    struct erase_user *e;
    struct str who, ms;
    int64_t before;

    if (!str_cut(args, ' ', &who, &ms) || !str_to_i64(ms, 0, INT64_MAX, &before)) {
        client_end(c, CODE_BAD_REQUEST, "erase-user USER MS");
        return;
    }
    c->erase_word = "erased";
    e = erase_user_start(c->admin->directory, who, before, &conf);
    c->erase_user = c->is_ending || !c->admin ? NULL : e;
}

static void obey_erase(struct client *c, struct str verb, struct str args)
{
    if (str_eq(verb, STR("erase-before")))
        erase_before(c, args);
    else if (str_eq(verb, STR("erase-user")))
        erase_user(c, args);
    else
        erase(c, args);
}

static void erase_status(struct client *c)
{
    c->erase_word = "since";
    keep_erase(c, erase_ask_status(c->admin->directory, &(struct erase_conf){.done = on_erased, .arg = c}));
}

static void print_age(uint64_t ms, struct buf *out)
{
    if (ms == RETENTION_SERVER)
        buf_str(out, STR(" server"));
    else if (ms == RETENTION_FOREVER)
        buf_str(out, STR(" forever"));
    else
        buf_printf(out, " %llu", (unsigned long long)ms);
}

static bool parse_age(struct str s, uint64_t *out)
{
    int64_t ms = 0;

    if (str_eq(s, STR("server")))
        *out = RETENTION_SERVER;
    else if (str_eq(s, STR("forever")))
        *out = RETENTION_FOREVER;
    else if (str_to_i64(s, 1000, INT64_MAX / 2, &ms))
        *out = (uint64_t)ms;
    else
        return false;
    return true;
}

static void on_retention(void *arg, enum code code, const char *why, const struct inner_retention *is)
{
    struct client *c = arg;

    c->retention = NULL;
    if (code == CODE_OK) {
        buf_str(&c->out, STR("retention"));
        print_age(is->retention_ms, &c->out);
        print_age(retention_of(c->admin->directory->world, RETENTION_SERVER), &c->out);
        buf_printf(&c->out, " %llu %llu\n", (unsigned long long)is->first_seq, (unsigned long long)is->head);
    }
    client_end(c, code, why);
}

static void obey_retention(struct client *c, struct str args)
{
    struct inner_retention what = {.step = RETENTION_SHOW};
    struct str conv = args, age = {0};
    struct retention_ask *a;

    if (str_cut(args, ' ', &conv, &age))
        what.step = RETENTION_SET;
    if (!conv_parse(conv, &what.conv) || (what.step == RETENTION_SET && !parse_age(age, &what.retention_ms))) {
        client_end(c, CODE_BAD_REQUEST, "retention CONV [server|forever|MS]");
        return;
    }
    if (what.step == RETENTION_SET)
        log_info("admin_retention", "conv=" STR_FMT " retention=" STR_FMT, STR_ARG(conv), STR_ARG(age));
    a = retention_ask(c->admin->directory, &what, &(struct retention_conf){on_retention, c});
    c->retention = c->is_ending || !c->admin ? NULL : a; /* it may have ended already, refused at once */
}

static void say_ends(struct client *c)
{
    hold_ends(c->hold, &c->out);
    buf_str(&c->out, STR("ok\n"));
    send_now(c);
}

static void obey_stores(struct client *c, struct str line)
{
    struct mover *m = c->admin->directory->mover;
    struct str verb = line, name = {0};
    const char *why = "";
    enum code code = CODE_OK;

    if (!m) {
        client_end(c, CODE_UNAVAILABLE, "this server moves nothing");
        return;
    }
    if (str_eq(line, STR("status"))) {
        mover_status(m, &c->out);
    } else if (str_cut(line, ' ', &verb, &name) && str_eq(verb, STR("add"))) {
        code = mover_add(m, name, &why);
    } else if (str_eq(verb, STR("drain"))) {
        code = mover_drain(m, name, &why);
    } else {
        code = CODE_BAD_REQUEST;
        why = "what is understood: stores add NAME, stores drain NAME, stores status";
    }
    log_info("admin_stores", "line=\"" STR_FMT "\" code=%s", STR_ARG(line), code_text(code));
    client_end(c, code, why);
}

static void obey(struct client *c, struct str line)
{
    struct str verb, rest, prefix, count;
    int64_t n = 0;

    if (c->is_held && str_eq(line, STR("ends"))) {
        say_ends(c);
        return;
    }
    if (str_eq(line, STR("backup")) && !c->was_asked) {
        c->hold = hold_start(c->admin->directory, &(struct hold_conf){on_held, on_broken, c});
        return;
    }
    if (c->was_asked) {
        client_close(c);
        return;
    }
    if (str_eq(line, STR("views"))) {
        standing_print(c->admin->directory, &c->out);
        client_end(c, CODE_OK, NULL);
        return;
    }
    if (str_starts(line, STR("stores "))) {
        obey_stores(c, str_of(line.p + 7, line.len - 7));
        return;
    }
    if (str_starts(line, STR("dead "))) {
        struct buf why = {0};
        enum code code = dead_obey(c->admin->directory->tables, str_of(line.p + 5, line.len - 5), &c->out, &why);

        client_end(c, code, why.p);
        buf_deinit(&why);
        return;
    }
    if (str_starts(line, STR("retention "))) {
        obey_retention(c, str_from(line, 10));
        return;
    }
    if (str_eq(line, STR("erase-status"))) {
        erase_status(c);
        return;
    }
    if (str_cut(line, ' ', &verb, &rest) && str_starts(verb, STR("erase"))) {
        obey_erase(c, verb, rest);
        return;
    }
    if (!str_cut(line, ' ', &verb, &rest) || !str_eq(verb, STR("seed")) || !str_cut(rest, ' ', &prefix, &count) ||
        !str_to_i64(count, 1, SEED_COUNT_MAX, &n)) {
        client_end(c, CODE_BAD_REQUEST,
                   "what is understood: seed PREFIX COUNT, backup, views, stores …, dead …, erase CONV FROM TO, "
                   "erase-before CONV MS, erase-user USER MS, erase-status, retention …");
        return;
    }
    log_info("admin_seed", "prefix=" STR_FMT " count=%lld", STR_ARG(prefix), (long long)n);
    c->seed = seed_start(c->admin->directory, &(struct seed_conf){prefix, 0, (uint64_t)n, seed_line, seed_done, c});
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *b)
{
    struct client *c = h->data;

    (void)hint;
    *b = uv_buf_init(c->in + c->in_len, (unsigned)(sizeof c->in - c->in_len));
}

/* A request may be read but once, unless something is held; whatever else comes, the end of the stream included, ends
 * what is under way. */
static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    struct client *c = s->data;
    struct str line, rest;

    (void)b;
    if (n < 0 || (c->was_asked && !c->is_held)) {
        client_close(c);
        return;
    }
    c->in_len += (size_t)n;
    if (str_cut(str_of(c->in, c->in_len), '\n', &line, &rest)) {
        c->in_len = 0;
        obey(c, line);
        c->was_asked = true;
    } else if (c->in_len == sizeof c->in) {
        client_close(c);
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct admin *a = listener->data;
    struct client *c;

    if (status != 0 || !a->directory)
        return;
    c = mem_new(struct client);
    uv_pipe_init(listener->loop, &c->pipe, 0);
    c->pipe.data = c;
    c->admin = a;
    list_push(&a->clients, &c->link);
    a->n_clients++;
    if (uv_accept(listener, (uv_stream_t *)&c->pipe) != 0 || a->n_clients > CLIENTS_MAX ||
        uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read) != 0)
        client_close(c);
}

static void admin_closed(uv_handle_t *h)
{
    struct admin *a = h->data;

    close(a->folder);
    mem_free(a);
}

void admin_close(struct admin *a)
{
    if (!a)
        return;
    list_each (&a->clients, c, struct client, link)
        client_close(c);
    a->directory = NULL;
    uv_close((uv_handle_t *)&a->listener, admin_closed); /* removes the socket's file, through the folder */
}

static enum err open_folder(const char *folder, int *out)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return err_from_errno(errno);
    *out = fd;
    return ERR_OK;
}

enum err admin_open(struct directory *d, const char *folder, struct admin **out)
{
    struct admin *a;
    char path[64];
    int fd = -1;
    enum err err = open_folder(folder, &fd);

    if (err != ERR_OK)
        return err;
    a = mem_new(struct admin);
    a->directory = d;
    a->folder = fd;
    list_init(&a->clients);
    socket_path(fd, path);
    unlink(path); /* left by a server that was killed: the folder's lock says that none runs */
    uv_pipe_init(loop_uv(d->loop), &a->listener, 0);
    a->listener.data = a;
    if (uv_pipe_bind(&a->listener, path) != 0 || fchmodat(fd, SOCKET_NAME, 0600, 0) != 0 ||
        uv_listen((uv_stream_t *)&a->listener, CLIENTS_MAX, on_connection) != 0) {
        admin_close(a);
        return ERR_IO;
    }
    *out = a;
    return ERR_OK;
}

enum err admin_connect(const char *folder, int *out)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int dir = -1, fd = -1;
    enum err err;

    TRY(open_folder(folder, &dir));
    socket_path(dir, to.sun_path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    TRY(fd < 0 ? ERR_IO : ERR_OK);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        TRY(errno == ENOENT || errno == ECONNREFUSED ? ERR_NOT_FOUND : ERR_IO);
    *out = fd;
    fd = -1;
out:
    if (fd >= 0)
        close(fd);
    if (dir >= 0)
        close(dir);
    return err;
}
