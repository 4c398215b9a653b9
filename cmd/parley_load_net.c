#include "cmd/parley_load_net.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { RECEIVE_BYTES = 256 << 10, EVENTS_A_TURN = 256, OUT_KEPT = 64 << 10 };

uint64_t net_clock_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

enum err net_init(struct net *n, const char *host, const char *port, const char *path)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    struct buf name = {0};
    bool is_v6 = strchr(host, ':') != NULL;

    n->epoll = -1;
    if (getaddrinfo(host, port, &hints, &found) != 0 || !found)
        return ERR_INVALID;
    memcpy(&n->address, found->ai_addr, found->ai_addrlen);
    n->address_len = found->ai_addrlen;
    freeaddrinfo(found);
    buf_printf(&name, is_v6 ? "[%s]:%s" : "%s:%s", host, port);
    wire_hello(&n->hello, buf_get(&name), str_c(path));
    buf_deinit(&name);
    n->received = mem_alloc(RECEIVE_BYTES);
    n->now_us = net_clock_us();
    n->mask = (uint32_t)n->now_us;
    n->epoll = epoll_create1(EPOLL_CLOEXEC);
    return n->epoll < 0 ? ERR_IO : ERR_OK;
}

void net_deinit(struct net *n)
{
    if (n->epoll > 0)
        close(n->epoll);
    buf_deinit(&n->hello);
    tls_client_free(n->tls);
    mem_free(n->received);
    *n = (struct net){.epoll = -1};
}

enum err net_secure(struct net *n, const char *host, bool is_insecure)
{
    snprintf(n->host, sizeof n->host, "%s", host);
    return tls_client(is_insecure, &n->tls);
}

static void watch(struct net *n, struct conn *c, int how, uint32_t what)
{
    struct epoll_event e = {.events = what, .data.ptr = c};

    /* Fails only without kernel memory; the connection then stays silent and the timeouts report it. */
    (void)epoll_ctl(n->epoll, how, c->fd, &e);
}

/* One address has some 28,000 ports, and each stays taken for a minute once its connection is closed. Loopback has 16
 * million addresses, all ours. */
static void bind_source(struct net *n, int fd)
{
    struct sockaddr_in to, from = {.sin_family = AF_INET};
    uint32_t k = n->sources++ % (200 * 200);
    int on = 1;

    if (n->address.ss_family != AF_INET)
        return;
    memcpy(&to, &n->address, sizeof to);
    if (ntohl(to.sin_addr.s_addr) >> 24 != 127)
        return;
    from.sin_addr.s_addr = htonl(127u << 24 | (1 + k / 200) << 8 | (1 + k % 200));
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    (void)bind(fd, (const struct sockaddr *)&from, sizeof from); /* else from the usual one */
}

enum err net_connect(struct net *n, struct conn *c)
{
    int on = 1;

    c->fd = socket(n->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return ERR_IO;
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    bind_source(n, c->fd);
    c->is_full = c->is_paused = false;
    if (connect(c->fd, (const struct sockaddr *)&n->address, n->address_len) != 0 && errno != EINPROGRESS) {
        close(c->fd);
        return ERR_IO;
    }
    c->state = CONN_CONNECTING;
    watch(n, c, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
    return ERR_OK;
}

static uint32_t interest(const struct conn *c) { return (c->is_paused ? 0 : EPOLLIN) | (c->is_full ? EPOLLOUT : 0); }

void net_pause(struct net *n, struct conn *c, bool is_paused)
{
    c->is_paused = is_paused;
    if (c->state == CONN_OPEN)
        watch(n, c, EPOLL_CTL_MOD, interest(c));
}

void net_close(struct net *n, struct conn *c)
{
    if (c->state != CONN_NONE && c->state != CONN_CLOSED) {
        if (n->tls)
            tls_end(&c->tls);
        close(c->fd);
    }
    c->state = CONN_CLOSED;
    buf_deinit(&c->in);
    buf_deinit(&c->out);
}

void net_forget(struct net *n, struct conn *c)
{
    net_close(n, c);
    if (n->tls)
        tls_forget(&c->tls);
}

static void fail(struct net *n, struct conn *c, const char *why)
{
    net_close(n, c);
    n->ops->closed(n->arg, c, why);
}

static void mark_dirty(struct net *n, struct conn *c)
{
    if (c->is_dirty)
        return;
    c->is_dirty = true;
    c->next_dirty = n->dirty;
    n->dirty = c;
}

size_t net_begin(struct conn *c) { return wire_begin(&c->out); }

static uint32_t next_mask(struct net *n) /* xorshift: different for each frame, which is all a mask needs here */
{
    n->mask ^= n->mask << 13;
    n->mask ^= n->mask >> 17;
    n->mask ^= n->mask << 5;
    return n->mask;
}

static void end_frame(struct net *n, struct conn *c, size_t mark, enum wire_opcode opcode)
{
    wire_end(&c->out, mark, opcode, next_mask(n));
    mark_dirty(n, c);
}

void net_end(struct net *n, struct conn *c, size_t mark) { end_frame(n, c, mark, WIRE_TEXT); }

static void flush(struct net *n, struct conn *c)
{
    ssize_t sent = n->tls ? tls_send(&c->tls, c->out.p, c->out.len) : send(c->fd, c->out.p, c->out.len, MSG_NOSIGNAL);

    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        fail(n, c, strerror(errno));
        return;
    }
    if (sent > 0 && (size_t)sent == c->out.len) {
        c->out.len = 0;
        if (c->out.cap > OUT_KEPT)
            buf_deinit(&c->out);
    } else if (sent > 0) {
        c->out.len -= (size_t)sent;
        memmove(c->out.p, c->out.p + sent, c->out.len);
    }
    if (c->is_full != (c->out.len > 0)) {
        c->is_full = c->out.len > 0;
        watch(n, c, EPOLL_CTL_MOD, interest(c));
    }
}

static void flush_all(struct net *n)
{
    struct conn *c = n->dirty;

    n->dirty = NULL;
    while (c) {
        struct conn *next = c->next_dirty;
        c->is_dirty = false;
        if (c->state != CONN_CLOSED && c->out.len && !c->is_full)
            flush(n, c);
        c = next;
    }
}

/* The server's close: code and reason. */
static void closed_by_peer(struct net *n, struct conn *c, struct str payload)
{
    char why[160];
    unsigned code = 1005; /* RFC 6455: none was given */

    if (payload.len >= 2) {
        code = (unsigned)(uint8_t)payload.p[0] << 8 | (uint8_t)payload.p[1];
        payload = str_from(payload, 2);
    }
    snprintf(why, sizeof why, "the server closed the connection: %u %.*s", code, (int)payload.len, payload.p);
    fail(n, c, why);
}

static void take_frame(struct net *n, struct conn *c, const struct wire_frame *f)
{
    size_t mark;

    switch (f->opcode) {
    case WIRE_TEXT:
        n->ops->text(n->arg, c, f->payload);
        return;
    case WIRE_PING:
        mark = net_begin(c);
        buf_str(&c->out, f->payload);
        end_frame(n, c, mark, WIRE_PONG);
        return;
    case WIRE_CLOSE:
        closed_by_peer(n, c, f->payload);
        return;
    case WIRE_BINARY:
        fail(n, c, "the server sent a binary frame");
        return;
    case WIRE_PONG:
        return;
    }
}

static size_t take_welcome(struct net *n, struct conn *c, struct str in)
{
    char why[96] = "the answer is not WebSocket's: is this a Parley server?";
    size_t bytes;
    int status;

    switch (wire_welcome(in, &bytes, &status)) {
    case WIRE_MORE:
        return 0;
    case WIRE_FRAME:
        c->state = CONN_OPEN;
        n->ops->open(n->arg, c);
        return bytes;
    case WIRE_BAD:
        if (status)
            snprintf(why, sizeof why, "the server refused the upgrade with HTTP status %d", status);
        fail(n, c, why);
        return 0;
    }
    return 0;
}

/* Takes all whole frames of `in`, returns how many bytes they were. */
static size_t take_bytes(struct net *n, struct conn *c, struct str in)
{
    size_t at = c->state == CONN_GREETING ? take_welcome(n, c, in) : 0;
    struct wire_frame f;

    while (c->state == CONN_OPEN) {
        enum wire_result r = wire_parse(str_from(in, at), &f);
        if (r == WIRE_MORE)
            break;
        if (r == WIRE_BAD) {
            fail(n, c, "the server sent a frame that breaks the WebSocket protocol");
            break;
        }
        take_frame(n, c, &f);
        at += f.bytes;
    }
    return at;
}

static void take_received(struct net *n, struct conn *c, struct str in)
{
    size_t taken;

    if (c->in.len) {
        buf_str(&c->in, in);
        in = buf_get(&c->in);
    }
    taken = take_bytes(n, c, in);
    if (c->state == CONN_CLOSED)
        return;
    in = str_from(in, taken);
    if (in.len == 0) {
        buf_deinit(&c->in);
    } else if (c->in.len) {
        memmove(c->in.p, in.p, in.len);
        c->in.len = in.len;
    } else {
        buf_str(&c->in, in);
    }
}

static void on_readable(struct net *n, struct conn *c)
{
    ssize_t got = n->tls ? tls_recv(&c->tls, n->received, RECEIVE_BYTES) : recv(c->fd, n->received, RECEIVE_BYTES, 0);

    if (got > 0)
        take_received(n, c, str_of(n->received, (size_t)got));
    while (n->tls && got > 0 && c->state != CONN_CLOSED && !c->is_paused) { /* what OpenSSL holds epoll does not tell */
        got = tls_recv(&c->tls, n->received, RECEIVE_BYTES);
        if (got > 0)
            take_received(n, c, str_of(n->received, (size_t)got));
    }
    if (got > 0 || c->state == CONN_CLOSED)
        return;
    if (got == 0)
        fail(n, c, "the server closed the connection");
    else if (errno != EAGAIN && errno != EINTR)
        fail(n, c, strerror(errno));
}

static void greet(struct net *n, struct conn *c)
{
    c->state = CONN_GREETING;
    buf_str(&c->out, buf_get(&n->hello));
    mark_dirty(n, c);
}

static void shake(struct net *n, struct conn *c)
{
    const char *why = NULL;
    bool is_resumed = false;
    enum err err = tls_shake(&c->tls, &is_resumed, &why);

    if (err == ERR_AGAIN)
        return;
    if (err != ERR_OK) {
        fail(n, c, why);
        return;
    }
    n->handshakes++;
    n->resumed += is_resumed;
    greet(n, c);
}

static void on_connected(struct net *n, struct conn *c)
{
    int problem = 0;
    socklen_t len = sizeof problem;

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &problem, &len) != 0 || problem != 0) {
        fail(n, c, strerror(problem));
        return;
    }
    watch(n, c, EPOLL_CTL_MOD, EPOLLIN);
    if (!n->tls) {
        greet(n, c);
    } else if (tls_begin(n->tls, &c->tls, c->fd, n->host) != ERR_OK) {
        fail(n, c, "TLS cannot be begun");
    } else {
        c->state = CONN_SECURING;
        shake(n, c);
    }
}

static void on_event(struct net *n, const struct epoll_event *e)
{
    struct conn *c = e->data.ptr;

    if (c->state == CONN_CONNECTING) {
        on_connected(n, c);
        return;
    }
    if (c->state == CONN_SECURING) {
        shake(n, c);
        return;
    }
    if (c->state != CONN_CLOSED && (e->events & EPOLLOUT))
        flush(n, c);
    if (c->state != CONN_CLOSED && (e->events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        on_readable(n, c);
}

void net_turn(struct net *n, uint64_t wait_us)
{
    struct timespec wait = {(time_t)(wait_us / 1000000), (long)(wait_us % 1000000) * 1000};
    struct epoll_event events[EVENTS_A_TURN];
    int got;

    flush_all(n); /* what was written between two turns */
    got = epoll_pwait2(n->epoll, events, EVENTS_A_TURN, &wait, NULL);
    n->now_us = net_clock_us();
    for (int i = 0; i < got; i++)
        on_event(n, &events[i]);
    flush_all(n);
}
