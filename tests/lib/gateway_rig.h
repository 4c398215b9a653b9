/* gateway_rig: gateways on real sockets, in threads of their own, before services that are made up here; and a client
 * that can misbehave. For the gateway's tests and its measurements.
 *
 * Tokens are "good-USER-DEVICE" with numbers; all others are dead. Ops: message.send goes to `user`'s devices as an
 * entry and is answered; history answers with `limit` KiB; typing is not answered before a receipt is; device.revoke
 * kills the device's sessions; every other op is answered with {}. */
#pragma once
#include "base/env.h"
#include "base/hash.h"
#include "gateway/admission.h"
#include "gateway/gateway.h"
#include "proto/auth.h"
#include "proto/jsonw.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sodium.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RIG_GATEWAYS_MAX = 2, RIG_HELD_MAX = 8192, RIG_TIMEOUT_MS = 20000 };

struct rig;
struct rig_side {
    struct rig *rig;
    struct loop *loop;
    struct port *port;
    struct gateway *gateway;
    struct metric_set *counters;
    pthread_t thread;
    struct request *held[RIG_HELD_MAX];
    size_t held_n;
    atomic_int histories; /* asked for */
    uint64_t seq;
    struct msg order; /* from the test to this thread */
    void (*do_it)(struct rig_side *);
    atomic_int done;
    bool destroyed;
};
struct rig {
    struct bus *bus;
    struct metrics *metrics;
    struct admission *admission;
    _Atomic uint64_t revocations;
    atomic_bool ready;
    atomic_bool revoke_in_check; /* a token dies while one is being checked */
    unsigned n;
    int port;
    struct rig_side side[RIG_GATEWAYS_MAX];
};

/* ---- services */

static inline void rig_auth(struct rig_side *s, struct request *r)
{
    unsigned long user, device;
    char text[64];
    struct auth_result *who;
    uint64_t before = atomic_load(&s->rig->revocations);

    snprintf(text, sizeof text, STR_FMT, STR_ARG(r->args->auth.token));
    if (sscanf(text, "good-%lu-%lu", &user, &device) != 2) {
        request_fail(r, CODE_UNAUTHENTICATED, "no such token");
        return;
    }
    if (atomic_exchange(&s->rig->revoke_in_check, false))
        atomic_fetch_add(&s->rig->revocations, 1);
    who = arena_alloc(&r->arena, sizeof *who);
    *who = (struct auth_result){user, device, before};
    r->result = who;
    buf_printf(&r->out, "{\"id\":\"u%lu\",\"username\":\"name\"}", user);
    request_ok(r);
}

static inline void rig_send(struct rig_side *s, struct request *r)
{
    struct args_message_send *a = &r->args->message_send;
    struct audience *to = audience_new(1);
    struct buf text = {0};
    struct frame *f;
    struct delivery d = {.class = DELIVER_ENTRY, .skip_user = r->actor.user, .skip_device = r->actor.device};

    to->users[0] = a->user;
    buf_printf(&text, "{\"ev\":\"message\",\"seq\":%llu,\"content\":", (unsigned long long)++s->seq);
    buf_str(&text, a->content);
    buf_char(&text, '}');
    f = frame_text(buf_get(&text));
    d.frame = f;
    d.to = to;
    bus_emit(s->port, &d, NULL, NULL);
    frame_unref(f);
    audience_unref(to);
    buf_deinit(&text);
    buf_printf(&r->out, "{\"seq\":%llu}", (unsigned long long)s->seq);
    request_ok(r);
}

static inline void rig_history(struct request *r)
{
    size_t n = (size_t)r->args->history.limit * 1024;

    buf_str(&r->out, STR("{\"entries\":\""));
    memset(buf_reserve(&r->out, n), 'x', n);
    r->out.len += n;
    buf_str(&r->out, STR("\"}"));
    request_ok(r);
}

static inline void rig_revoke(struct rig_side *s, struct request *r)
{
    struct delivery d = {.class = DELIVER_CLOSE, .only_user = r->actor.user, .close_code = 4401};

    d.only_device = r->args->device_revoke.device;
    atomic_fetch_add(&s->rig->revocations, 1);
    bus_emit(s->port, &d, NULL, NULL);
    request_ok(r);
}

static inline void rig_release(struct rig_side *s)
{
    for (size_t i = 0; i < s->held_n; i++) {
        request_ok(s->held[i]);
        bus_reply(s->port, s->held[i]);
    }
    s->held_n = 0;
}

static inline void rig_serve(void *ctx, struct request *r)
{
    struct rig_side *s = ctx;

    switch (r->op) {
    case OP_auth:
        rig_auth(s, r);
        break;
    case OP_message_send:
        rig_send(s, r);
        break;
    case OP_history:
        atomic_fetch_add(&s->histories, 1);
        rig_history(r);
        break;
    case OP_device_revoke:
        rig_revoke(s, r);
        break;
    case OP_typing:
        s->held[s->held_n++] = r;
        return;
    case OP_receipt:
        rig_release(s);
        request_ok(r);
        break;
    case OP_user_me:
        buf_printf(&r->out, "{\"id\":\"u%llu\"}", (unsigned long long)r->actor.user);
        request_ok(r);
        break;
    default:
        request_ok(r);
        break;
    }
    bus_reply(s->port, r);
}

/* ---- threads */

static inline void *rig_thread(void *arg)
{
    struct rig_side *s = arg;

    loop_run(s->loop);
    if (!s->destroyed)
        gateway_destroy(s->gateway);
    loop_destroy(s->loop);
    return NULL;
}

/* Without threads: who made it has the loops turn. */
static inline struct rig *rig_make_with(unsigned n, bool rate_limit, int64_t heartbeat_ms, struct tls *tls)
{
    static const struct hash_key key = {{1, 2, 3}};
    struct rig *rig = mem_new(struct rig);

    rig->n = n;
    atomic_store(&rig->ready, true);
    bus_create(&(struct bus_conf){.ports = n, .key = &key}, &rig->bus);
    metrics_create(metric_table, METRIC_COUNT, &rig->metrics);
    admission_create(&(struct admission_conf){env_posix(), 100000, !rate_limit}, &rig->admission);
    for (unsigned i = 0; i < n; i++) {
        struct rig_side *s = &rig->side[i];
        struct gateway_conf c = {.host = "127.0.0.1",
                                 .listen_port = rig->port,
                                 .shares_port = i > 0,
                                 .metrics = rig->metrics,
                                 .heartbeat_ms = heartbeat_ms,
                                 .rate_limit = rate_limit,
                                 .admission = rig->admission,
                                 .tls = tls,
                                 .epoch = "e1",
                                 .revocations = &rig->revocations,
                                 .ready = &rig->ready,
                                 .env = env_posix()};

        s->rig = rig;
        s->port = bus_port(rig->bus, i);
        if (loop_create(&s->loop) != ERR_OK)
            abort();
        port_follow(s->port, s->loop);
        bus_serve(s->port, rig_serve, s);
        c.loop = s->loop;
        c.port = s->port;
        s->counters = c.counters = metrics_set(rig->metrics);
        if (gateway_create(&c, &s->gateway) != ERR_OK)
            abort();
        rig->port = gateway_port(s->gateway);
    }
    return rig;
}

static inline struct rig *rig_make(unsigned n, bool rate_limit, int64_t heartbeat_ms)
{
    return rig_make_with(n, rate_limit, heartbeat_ms, NULL);
}

static inline struct rig *rig_start(unsigned n, bool rate_limit, int64_t heartbeat_ms)
{
    struct rig *rig = rig_make(n, rate_limit, heartbeat_ms);

    for (unsigned i = 0; i < n; i++)
        pthread_create(&rig->side[i].thread, NULL, rig_thread, &rig->side[i]);
    return rig;
}

static inline void rig_order_run(struct msg *m)
{
    struct rig_side *s = container_of(m, struct rig_side, order);

    s->do_it(s);
    atomic_store(&s->done, 1);
}

/* Runs fn on the side's thread and waits for it. */
static inline void rig_do(struct rig_side *s, void (*fn)(struct rig_side *))
{
    atomic_store(&s->done, 0);
    s->do_it = fn;
    s->order.run = rig_order_run;
    bus_post(s->rig->bus, port_index(s->port), &s->order);
    while (!atomic_load(&s->done))
        sched_yield();
}

static inline void rig_free(struct rig *rig)
{
    bus_destroy(rig->bus);
    metrics_destroy(rig->metrics);
    admission_destroy(rig->admission);
    mem_free(rig);
}

static inline void rig_stop(struct rig *rig)
{
    for (unsigned i = 0; i < rig->n; i++) {
        rig_do(&rig->side[i], rig_release);
        loop_stop(rig->side[i].loop);
        pthread_join(rig->side[i].thread, NULL);
    }
    rig_free(rig);
}

/* One without threads. */
static inline void rig_unmake(struct rig *rig)
{
    for (unsigned i = 0; i < rig->n; i++) {
        gateway_destroy(rig->side[i].gateway);
        loop_destroy(rig->side[i].loop);
    }
    rig_free(rig);
}

static inline int64_t rig_metric(struct rig *rig, enum metric_id id)
{
    int64_t sum = 0;

    for (unsigned i = 0; i < rig->n; i++)
        sum += atomic_load(&rig->side[i].counters->v[id]);
    return sum;
}

/* ---- a client */

struct client {
    int fd;
    struct buf in; /* received and not yet taken */
};

static inline struct client client_open(const struct rig *rig)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)rig->port)};
    struct client c = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    const int yes = 1;

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(c.fd, (struct sockaddr *)&a, sizeof a) != 0)
        abort();
    setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    return c;
}

static inline void client_close(struct client *c)
{
    close(c->fd);
    buf_deinit(&c->in);
}

static inline void client_write(struct client *c, const void *p, size_t n)
{
    const char *from = p;

    while (n) {
        ssize_t w = send(c->fd, from, n, MSG_NOSIGNAL);

        if (w <= 0)
            return; /* the server closed: the test sees that when it reads */
        from += w;
        n -= (size_t)w;
    }
}

static inline void client_say(struct client *c, const char *text) { client_write(c, text, strlen(text)); }

/* Waits for more bytes. False at the end of the stream, or when none come for long. */
static inline bool client_more(struct client *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    ssize_t n;

    if (poll(&p, 1, RIG_TIMEOUT_MS) != 1)
        return false;
    n = recv(c->fd, buf_reserve(&c->in, 65536), 65536, 0);
    if (n <= 0)
        return false;
    c->in.len += (size_t)n;
    return true;
}

static inline void client_take(struct client *c, size_t n)
{
    memmove(c->in.p, c->in.p + n, c->in.len - n);
    c->in.len -= n;
}

/* Reads an HTTP response: the head to `head`, the body to `body`; returns the status, 0 at the end of the stream. */
static inline int client_response(struct client *c, struct buf *head, struct buf *body, bool no_body)
{
    char *end = NULL, *length;
    size_t head_len, body_len = 0;

    buf_clear(head);
    buf_clear(body);
    while (c->in.len == 0 || !(end = memmem(c->in.p, c->in.len, "\r\n\r\n", 4))) {
        if (!client_more(c))
            return 0;
    }
    head_len = (size_t)(end - c->in.p) + 4;
    buf_add(head, c->in.p, head_len);
    buf_char(head, '\0');
    client_take(c, head_len);
    length = strstr(head->p, "Content-Length: ");
    if (length && !no_body)
        body_len = strtoul(length + 16, NULL, 10);
    while (c->in.len < body_len) {
        if (!client_more(c))
            return 0;
    }
    buf_add(body, c->in.p, body_len);
    if (body_len)
        client_take(c, body_len);
    buf_char(body, '\0');
    return (int)strtol(head->p + 9, NULL, 10);
}

/* Asks for the upgrade; `headers` are further lines. */
static inline void client_ask_upgrade(struct client *c, const char *headers)
{
    struct buf text = {0};

    buf_printf(&text,
               "GET /v1/ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
               headers);
    client_write(c, text.p, text.len);
    buf_deinit(&text);
}

/* Waits for the answer, too, and returns its status. */
static inline int client_upgrade(struct client *c, const char *headers)
{
    struct buf head = {0}, body = {0};
    int status;

    client_ask_upgrade(c, headers);
    status = client_response(c, &head, &body, false);
    buf_deinit(&head);
    buf_deinit(&body);
    return status;
}

/* A masked frame; first is the first byte: FIN, RSV, opcode. */
static inline void client_frame(struct client *c, uint8_t first, const void *payload, size_t n)
{
    static const uint8_t mask[4] = {1, 2, 3, 4};
    struct buf b = {0};
    const uint8_t *p = payload;

    buf_char(&b, (char)first);
    if (n < 126) {
        buf_char(&b, (char)(0x80 | n));
    } else if (n < 65536) {
        buf_char(&b, (char)(0x80 | 126));
        buf_char(&b, (char)(n >> 8));
        buf_char(&b, (char)n);
    } else {
        buf_char(&b, (char)(0x80 | 127));
        for (int i = 56; i >= 0; i -= 8)
            buf_char(&b, (char)((uint64_t)n >> i));
    }
    buf_add(&b, mask, 4);
    buf_reserve(&b, n);
    for (size_t i = 0; i < n; i++)
        b.p[b.len + i] = (char)(p[i] ^ mask[i & 3]);
    b.len += n;
    client_write(c, b.p, b.len);
    buf_deinit(&b);
}

static inline void client_text(struct client *c, const char *text) { client_frame(c, 0x81, text, strlen(text)); }

/* The next frame: its payload, with a zero behind, to `out`; returns the first byte, 0 at the end of the stream. */
static inline uint8_t client_next(struct client *c, struct buf *out)
{
    for (;;) {
        const uint8_t *p = (const uint8_t *)c->in.p;
        size_t head = 2, n = c->in.len >= 2 ? p[1] : 0;
        uint8_t first = c->in.len ? p[0] : 0;

        if (n == 126)
            head = 4;
        if (n == 127)
            head = 10;
        if (c->in.len >= head && head > 2) {
            n = 0;
            for (size_t i = 2; i < head; i++)
                n = n << 8 | p[i];
        }
        if (c->in.len >= 2 && c->in.len >= head && c->in.len >= head + n) {
            buf_clear(out);
            buf_add(out, p + head, n);
            buf_char(out, '\0');
            client_take(c, head + n);
            return first;
        }
        if (!client_more(c))
            return 0;
    }
}

/* Skips what comes before the Close frame; returns its code, 0 at the end of the stream without one. */
static inline int client_close_code(struct client *c)
{
    struct buf b = {0};
    uint8_t first;
    int code = 0;

    while ((first = client_next(c, &b)) != 0) {
        if (first == 0x88) {
            code = b.len >= 3 ? (uint8_t)b.p[0] << 8 | (uint8_t)b.p[1] : 1005;
            break;
        }
    }
    buf_deinit(&b);
    return code;
}

/* A session of a user's device, authenticated by its first frame. */
static inline struct client client_login(const struct rig *rig, int user, int device, const char *more)
{
    struct client c = client_open(rig);
    struct buf b = {0};
    char text[128];

    if (client_upgrade(&c, "") != 101)
        abort();
    snprintf(text, sizeof text, "{\"id\":1,\"op\":\"auth\",\"token\":\"good-%d-%d\"%s}", user, device, more);
    client_text(&c, text);
    if (client_next(&c, &b) != 0x81 || !strstr(b.p, "\"ok\":{\"user\":"))
        abort();
    buf_deinit(&b);
    return c;
}
