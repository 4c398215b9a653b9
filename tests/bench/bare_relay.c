/* bare_relay: what the kernel and the disk alone cost, as the limit that the server is compared with.
 *
 * One thread on one epoll does the least that a durable chat relay can do: take frames apart, find the conversation,
 * append to one file, one fdatasync for all that came in a turn, then forward and acknowledge. It knows no rights, no
 * retries, no sync, no history and no second device, parses only what parley-load writes, in its order of members, and
 * trusts it. So it must be driven by parley-load alone:
 *
 *   turn: read every ready socket → append → write, fdatasync → fill the receivers' buffers → one send a connection
 *
 *   bare_relay USERS FILE    USERS as `parley users seed` writes them; says `listening on 127.0.0.1:PORT`
 *
 * Replies and events are put into the buffers at once, but no buffer is sent before the sync of its turn. */
#include "cmd/parley_load_users.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 1024, RECEIVE_BYTES = 256 << 10, OUT_KEPT = 64 << 10, PLENTY = 1 << 20, BACKLOG = 4096, NOBODY = -1 };
#define WELCOME                                                                         \
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

struct link {
    int fd, user;
    bool is_open, is_dirty, is_full;
    struct buf in, out;
    struct link *next_dirty;
};
struct chat {
    uint64_t seq;
    int *members;
    size_t n;
};
struct relay {
    int epoll, listener, log;
    struct users users;
    struct link **online; /* by user */
    struct chat *chats;
    size_t n_chats, cap_chats;
    struct buf pending, frame, text; /* what the file lacks; scratch */
    struct link *dirty;
    char *received;
};

static void die(const char *what)
{
    perror(what);
    exit(2);
}

/* Frames. */

static void frame_begin(struct buf *b) { b->len = 0; }

/* Puts header and text behind what `to` waits to be sent. */
static void frame_put(struct relay *r, struct link *to, struct str text)
{
    uint8_t head[10] = {0x81};
    size_t n = 2;

    if (text.len < 126) {
        head[1] = (uint8_t)text.len;
    } else {
        head[1] = 126;
        head[2] = (uint8_t)(text.len >> 8);
        head[3] = (uint8_t)text.len;
        n = 4;
    }
    buf_add(&to->out, head, n);
    buf_str(&to->out, text);
    if (!to->is_dirty) {
        to->is_dirty = true;
        to->next_dirty = r->dirty;
        r->dirty = to;
    }
}

static void unmask(char *p, size_t n, const char key[4])
{
    uint64_t wide, v;
    uint32_t half;

    memcpy(&half, key, 4);
    wide = (uint64_t)half << 32 | half;
    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&v, p, 8);
        v ^= wide;
        memcpy(p, &v, 8);
    }
    for (size_t i = 0; i < n; i++)
        p[i] = (char)(p[i] ^ key[i & 3]);
}

/* Requests. */

/* The text behind `before`, up to `end`; moves *s past it. */
static struct str field(struct str *s, const char *before, char end)
{
    size_t n = strlen(before);
    const char *p = memmem(s->p, s->len, before, n), *stop;
    struct str found;

    if (!p)
        return STR("");
    p += n;
    stop = memchr(p, end, (size_t)(s->p + s->len - p));
    if (!stop)
        return STR("");
    found = str_of(p, (size_t)(stop - p));
    *s = str_from(*s, (size_t)(stop - s->p));
    return found;
}

static int user_by(const struct relay *r, struct str what, bool is_token)
{
    for (size_t i = 0; i < r->users.n; i++) {
        if (str_eq(is_token ? r->users.v[i].token : r->users.v[i].id, what))
            return (int)i;
    }
    return NOBODY;
}

static size_t chat_add(struct relay *r, size_t members)
{
    if (r->n_chats == r->cap_chats) {
        size_t cap = r->cap_chats ? r->cap_chats * 2 : 64;
        struct chat *wide = mem_new_array(struct chat, cap);
        if (r->n_chats)
            memcpy(wide, r->chats, r->n_chats * sizeof *wide);
        mem_free(r->chats);
        r->chats = wide;
        r->cap_chats = cap;
    }
    r->chats[r->n_chats] = (struct chat){0, mem_new_array(int, members), 0};
    return r->n_chats++;
}

static char *put_str(char *p, struct str s)
{
    memcpy(p, s.p, s.len);
    return p + s.len;
}

static char *put_number(char *p, uint64_t v)
{
    char digits[20];
    size_t at = sizeof digits;

    do
        digits[--at] = (char)('0' + v % 10);
    while (v /= 10);
    return put_str(p, str_of(digits + at, sizeof digits - at));
}

/* Logs one entry, forwards it to all members but its sender, and acknowledges it. `rest` is what follows the cid in the
 * event, with its comma. */
static void enter(struct relay *r, struct link *from, size_t at, struct str id, const char *ev, struct str cid,
                  struct str rest)
{
    struct chat *c = &r->chats[at];
    char *start, *p;

    frame_begin(&r->frame);
    p = start = buf_reserve(&r->frame, 256 + cid.len + rest.len);
    p = put_str(p, STR("{\"ev\":\""));
    p = put_str(p, str_c(ev));
    p = put_str(p, STR("\",\"conv\":\"r"));
    p = put_number(p, at);
    p = put_str(p, STR("\",\"seq\":"));
    p = put_number(p, ++c->seq);
    p = put_str(p, STR(",\"from\":\""));
    p = put_str(p, r->users.v[from->user].id);
    p = put_str(p, STR("\",\"ts\":1760000000000,\"cid\":\""));
    p = put_str(p, cid);
    *p++ = '"';
    p = put_str(p, rest);
    *p++ = '}';
    r->frame.len = (size_t)(p - start);
    buf_str(&r->pending, buf_get(&r->frame));
    for (size_t i = 0; i < c->n; i++) {
        struct link *to = r->online[c->members[i]];
        if (to && to != from)
            frame_put(r, to, buf_get(&r->frame));
    }
    frame_begin(&r->frame);
    p = start = buf_reserve(&r->frame, 160);
    p = put_str(p, STR("{\"re\":"));
    p = put_str(p, id);
    p = put_str(p, STR(",\"ok\":{\"conv\":\"r"));
    p = put_number(p, at);
    p = put_str(p, STR("\",\"seq\":"));
    p = put_number(p, c->seq);
    p = put_str(p, STR(",\"ts\":1760000000000}}"));
    r->frame.len = (size_t)(p - start);
    frame_put(r, from, buf_get(&r->frame));
}

static void on_send(struct relay *r, struct link *l, struct str id, struct str s)
{
    struct str conv = STR(""), user = STR(""), cid;
    int64_t at;

    if (str_starts(s, STR("\",\"conv\":\"r")))
        conv = field(&s, "\"conv\":\"r", '"');
    else
        user = field(&s, "\"user\":\"", '"');
    cid = field(&s, "\"cid\":\"", '"');
    if (user.len) { /* the first message of a pair */
        at = (int64_t)chat_add(r, 2);
        r->chats[at].members[0] = l->user;
        r->chats[at].members[1] = user_by(r, user, false);
        r->chats[at].n = 2;
    } else if (!str_to_i64(conv, 0, (int64_t)r->n_chats - 1, &at)) {
        return;
    }
    /* `"` of the cid, then `,"content":{…}}`, of which the last bracket is the request's */
    enter(r, l, (size_t)at, id, "message", cid, str_of(s.p + 1, s.len - 2));
}

static void add_members(struct relay *r, struct chat *c, struct str list)
{
    struct str one;

    c->members = mem_realloc(c->members, (c->n + list.len / 4 + 2) * sizeof *c->members);
    while (list.len) {
        int user;
        if (!str_cut(list, ',', &one, &list)) {
            one = list;
            list.len = 0;
        }
        user = one.len > 2 ? user_by(r, str_of(one.p + 1, one.len - 2), false) : NOBODY;
        if (user != NOBODY)
            c->members[c->n++] = user;
    }
}

static void on_group(struct relay *r, struct link *l, struct str id, struct str s)
{
    struct str cid = field(&s, "\"cid\":\"", '"'), list = field(&s, "\"members\":[", ']');
    size_t at = chat_add(r, 1);

    r->chats[at].members[r->chats[at].n++] = l->user;
    add_members(r, &r->chats[at], list);
    enter(r, l, at, id, "created", cid, STR(""));
}

static void on_add(struct relay *r, struct link *l, struct str id, struct str s)
{
    struct str conv = field(&s, "\"conv\":\"r", '"'), cid = field(&s, "\"cid\":\"", '"');
    int64_t at;

    if (!str_to_i64(conv, 0, (int64_t)r->n_chats - 1, &at))
        return;
    add_members(r, &r->chats[at], field(&s, "\"users\":[", ']'));
    enter(r, l, (size_t)at, id, "members", cid, STR(""));
}

static void on_request(struct relay *r, struct link *l, struct str s)
{
    struct str id = field(&s, "{\"id\":", ','), op = field(&s, "\"op\":\"", '"');

    if (str_eq(op, STR("message.send")) && l->user != NOBODY) {
        on_send(r, l, id, s);
    } else if (str_eq(op, STR("group.create")) && l->user != NOBODY) {
        on_group(r, l, id, s);
    } else if (str_eq(op, STR("group.add")) && l->user != NOBODY) {
        on_add(r, l, id, s);
    } else if (str_eq(op, STR("auth"))) {
        l->user = user_by(r, field(&s, "\"token\":\"", '"'), true);
        if (l->user != NOBODY)
            r->online[l->user] = l;
        r->text.len = 0;
        buf_printf(&r->text, "{\"re\":" STR_FMT ",\"%s\":{}}", STR_ARG(id), l->user == NOBODY ? "error" : "ok");
        frame_put(r, l, buf_get(&r->text));
    }
}

/* Sockets. */

static void link_close(struct relay *r, struct link *l)
{
    if (l->fd < 0)
        return;
    close(l->fd);
    l->fd = -1;
    if (l->user != NOBODY && r->online[l->user] == l)
        r->online[l->user] = NULL;
    buf_deinit(&l->in);
    buf_deinit(&l->out);
    /* The link itself stays: it may be in the list of those to send. A few thousand in a run's life. */
}

static size_t take_frame(struct relay *r, struct link *l, char *p, size_t n)
{
    size_t head = 6, len;

    if (n < 8)
        return 0;
    len = (uint8_t)p[1] & 127;
    if (len == 126) {
        len = (size_t)(uint8_t)p[2] << 8 | (uint8_t)p[3];
        head = 8;
    } else if (len == 127) {
        len = (size_t)(uint8_t)p[7] << 16; /* group.create of many members: below 16 MiB */
        if (n < 14)
            return 0;
        len |= (size_t)(uint8_t)p[8] << 8 | (uint8_t)p[9];
        head = 14;
    }
    if (n < head + len)
        return 0;
    unmask(p + head, len, p + head - 4);
    if ((p[0] & 15) == 1)
        on_request(r, l, str_of(p + head, len));
    return head + len;
}

static void take_bytes(struct relay *r, struct link *l, char *p, size_t n)
{
    size_t at = 0, took;

    if (!l->is_open) {
        const char *end = memmem(p, n, "\r\n\r\n", 4);
        if (!end)
            return;
        at = (size_t)(end - p) + 4;
        l->is_open = true;
        buf_str(&l->out, STR(WELCOME));
        l->is_dirty = true;
        l->next_dirty = r->dirty;
        r->dirty = l;
    }
    while (at < n && (took = take_frame(r, l, p + at, n - at)) > 0)
        at += took;
    if (l->in.len) {
        memmove(l->in.p, l->in.p + at, l->in.len - at);
        l->in.len -= at;
    } else {
        buf_add(&l->in, p + at, n - at);
    }
    if (l->in.len == 0)
        buf_deinit(&l->in);
}

static void on_readable(struct relay *r, struct link *l)
{
    ssize_t got = recv(l->fd, r->received, RECEIVE_BYTES, 0);

    if (got < 0)
        return;
    if (got == 0) {
        link_close(r, l);
    } else if (l->in.len) {
        buf_add(&l->in, r->received, (size_t)got);
        take_bytes(r, l, l->in.p, l->in.len);
    } else {
        take_bytes(r, l, r->received, (size_t)got);
    }
}

static void watch(struct relay *r, struct link *l, int how, uint32_t what)
{
    struct epoll_event e = {.events = what, .data.ptr = l};

    if (epoll_ctl(r->epoll, how, l->fd, &e) != 0)
        die("epoll_ctl");
}

static void flush(struct relay *r, struct link *l)
{
    ssize_t sent = send(l->fd, l->out.p, l->out.len, MSG_NOSIGNAL);

    if (sent > 0) {
        l->out.len -= (size_t)sent;
        memmove(l->out.p, l->out.p + sent, l->out.len);
    }
    if (l->out.len == 0 && l->out.cap > OUT_KEPT)
        buf_deinit(&l->out);
    if (l->is_full != (l->out.len > 0)) {
        l->is_full = !l->is_full;
        watch(r, l, EPOLL_CTL_MOD, l->is_full ? EPOLLIN | EPOLLOUT : EPOLLIN);
    }
}

static void on_listener(struct relay *r)
{
    int fd, on = 1;

    while ((fd = accept4(r->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct link *l = mem_new(struct link);
        l->fd = fd;
        l->user = NOBODY;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        watch(r, l, EPOLL_CTL_ADD, EPOLLIN);
    }
}

/* Everything of this turn becomes durable, then everything is told. */
static void commit(struct relay *r)
{
    size_t at = 0;

    while (at < r->pending.len) {
        ssize_t n = write(r->log, r->pending.p + at, r->pending.len - at);
        if (n <= 0)
            die("write");
        at += (size_t)n;
    }
    if (at && fdatasync(r->log) != 0)
        die("fdatasync");
    r->pending.len = 0;
    while (r->dirty) {
        struct link *l = r->dirty;
        r->dirty = l->next_dirty;
        l->is_dirty = false;
        if (l->fd >= 0 && !l->is_full)
            flush(r, l);
    }
}

static void turn(struct relay *r)
{
    struct epoll_event got[EVENTS];
    int n = epoll_wait(r->epoll, got, EVENTS, -1);

    for (int i = 0; i < n; i++) {
        struct link *l = got[i].data.ptr;
        if (!l) {
            on_listener(r);
            continue;
        }
        if (l->fd >= 0 && (got[i].events & EPOLLOUT))
            flush(r, l);
        if (l->fd >= 0 && (got[i].events & ~(uint32_t)EPOLLOUT))
            on_readable(r, l);
    }
    commit(r);
}

static void listen_anywhere(struct relay *r)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event e = {.events = EPOLLIN};
    socklen_t len = sizeof a;

    r->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (r->listener < 0 || bind(r->listener, (struct sockaddr *)&a, sizeof a) != 0 ||
        listen(r->listener, BACKLOG) != 0 || getsockname(r->listener, (struct sockaddr *)&a, &len) != 0 ||
        epoll_ctl(r->epoll, EPOLL_CTL_ADD, r->listener, &e) != 0)
        die("listen");
    printf("listening on 127.0.0.1:%d\n", ntohs(a.sin_port));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct relay r = {.epoll = epoll_create1(EPOLL_CLOEXEC)};
    struct rlimit files;
    struct buf why = {0};

    if (argc != 3) {
        fputs("usage: bare_relay USERS FILE\n", stderr);
        return 2;
    }
    if (users_load(argv[1], &r.users, &why) != ERR_OK) {
        fprintf(stderr, "bare_relay: " STR_FMT "\n", STR_ARG(buf_get(&why)));
        return 2;
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    r.log = open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (r.log < 0 || r.epoll < 0)
        die(argv[2]);
    r.online = mem_new_array(struct link *, r.users.n + 1);
    r.received = mem_alloc(RECEIVE_BYTES);
    buf_reserve(&r.pending, PLENTY);
    listen_anywhere(&r);
    for (;;)
        turn(&r);
}
