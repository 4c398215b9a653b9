/* path: the real way of a request, in one thread and step by step, for counting instructions: sockets, libwebsockets,
 * gateway, bus, services, log, store. The clock is simulated and moves a millisecond a round, dice come from a seed,
 * and what else has threads (the log's writer, its segments, the work pool) is stepped here. Accounts alone are made
 * up.
 *
 *   path pair|group100|group1000|receipt|history|page
 *
 * A script warms up, then does the same a fixed number of times inside counted_turn, which is what tests/guard/guard.py
 * lets callgrind count; clients work outside of it. Prints how many operations were counted. */
#include "gateway/admission.h"
#include "gateway/gateway.h"
#include "proto/auth.h"
#include "proto/metrics.h"
#include "queue/segpool.h"
#include "services/inner.h"
#include "services/reactor.h"
#include "services/views.h"
#include "tests/lib/simenv.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS_MAX = 1000, STORE = 1, TURNS_MAX = 10000 };

/* --- a client: frames out, frames counted in --- */

struct client {
    int fd;
    uint8_t in[1 << 16];
    size_t len;
};

static struct path {
    struct simenv env;
    char dir[64], log_dir[80];
    struct data_dir data;
    struct world world;
    struct loop *loop;
    struct pool *pool;
    struct segpool *segments;
    struct block_cache *cache;
    struct lsm *store;
    struct views *views;
    struct reactor *reactor;
    struct admission *admission;
    struct gateway *gateway;
    _Atomic bool ready;
    struct client *clients[CLIENTS_MAX];
    unsigned n_clients;
    uint64_t frames; /* that all clients got */
    char group[CONV_TEXT + 1];
} g;

static void die(const char *what)
{
    fprintf(stderr, "path: %s (errno %d)\n", what, errno);
    exit(1);
}

static void need(enum err err, const char *what)
{
    if (err != ERR_OK)
        die(what);
}

/* --- the services that are made up: who is who --- */

static uint64_t number_of(struct str s)
{
    uint64_t n = 0;

    for (size_t i = 0; i < s.len; i++)
        n = n * 10 + (uint64_t)(s.p[i] - '0');
    return n;
}

static void serve_lookup(void *ctx, struct request *q)
{
    (void)ctx;
    if (q->inner == INNER_USERS_EXIST) {
        struct inner_users *u = q->result;
        for (size_t i = 0; i < u->n; i++)
            u->exists[i] = true;
        request_ok(q);
    } else if (q->inner == INNER_NONE && q->op == OP_auth) {
        struct auth_result *who = arena_alloc(&q->arena, sizeof *who);
        uint64_t user = number_of(q->args->auth.token);
        *who = (struct auth_result){user, user, atomic_load(&g.world.revocations)};
        q->result = who;
        buf_str(&q->out, STR("{\"id\":\"u\"}"));
        request_ok(q);
    } else {
        request_fail(q, CODE_UNAVAILABLE, "not in this harness");
    }
    bus_reply(bus_port(g.world.bus, world_lookup(&g.world)), q);
}

static void on_failure(void *arg, enum err err)
{
    (void)arg;
    die(err_name(err));
}

/* --- opening --- */

static void open_below(void)
{
    char path[128], *why = NULL;

    simenv_init(&g.env, 7, env_posix()->fs);
    snprintf(g.dir, sizeof g.dir, "/tmp/parley-path-XXXXXX");
    if (!mkdtemp(g.dir))
        die("a temporary folder");
    snprintf(g.log_dir, sizeof g.log_dir, "%s/log", g.dir);
    need(data_dir_open(&g.env.env, g.dir, STORE, &g.data, &why), "data folder");
    need(loop_create(&g.loop), "loop");
    need(pool_create("path", 0, 1000, &g.pool), "pool");
    block_cache_create(32 << 20, &g.cache);
    need(segpool_open(
             &(struct segpool_conf){
                 .env = &g.env.env, .dir = g.log_dir, .segment_bytes = 16 << 20, .ahead = 2, .is_stepped = true},
             &g.segments),
         "segments");
    snprintf(path, sizeof path, "%s/stores/%s", g.dir, g.data.stores[0]);
    need(lsm_open(&(struct lsm_conf){.env = &g.env.env,
                                     .dir = path,
                                     .pool = g.pool,
                                     .home = loop_mailbox(g.loop),
                                     .cache = g.cache,
                                     .filter_prefix = CONVLOG_FILTER_PREFIX,
                                     .on_failure = on_failure},
                  &g.store, &why),
         "store");
}

static void open_services(void)
{
    static struct lsm *stores[STORE];
    uint64_t log_id;

    stores[0] = g.store;
    g.world = (struct world){.env = &g.env.env, .data = &g.data, .reactors = 1};
    g.world.limits.group_members = 1024;
    metrics_create(metric_table, METRIC_COUNT, &g.world.metrics);
    bus_create(&(struct bus_conf){.ports = 3, .key = &g.data.keys.bus}, &g.world.bus);
    for (unsigned i = 0; i < 3; i++)
        port_attach(bus_port(g.world.bus, i), loop_mailbox(g.loop));
    bus_serve(bus_port(g.world.bus, world_lookup(&g.world)), serve_lookup, NULL);
    views_create(NULL, 0, 1, &g.views);
    need(data_dir_next_log_id(&g.env.env, &g.data, &log_id), "log id");
    need(reactor_create(&(struct reactor_conf){.world = &g.world,
                                               .loop = g.loop,
                                               .pool = g.pool,
                                               .ops = op_handlers,
                                               .inner = inner_handlers,
                                               .stores = stores,
                                               .views = g.views,
                                               .log_dir = g.log_dir,
                                               .log_id = log_id,
                                               .segments = g.segments,
                                               .is_stepped = true,
                                               .on_failure = on_failure},
                        &g.reactor),
         "reactor");
}

static void open_gateway(void)
{
    admission_create(&(struct admission_conf){&g.env.env, 100000, true}, &g.admission);
    atomic_store(&g.ready, true);
    need(gateway_create(&(struct gateway_conf){.loop = g.loop,
                                               .port = bus_port(g.world.bus, 0),
                                               .env = &g.env.env,
                                               .host = "127.0.0.1",
                                               .metrics = g.world.metrics,
                                               .counters = reactor_metrics(g.reactor),
                                               .heartbeat_ms = 3600000,
                                               .admission = g.admission,
                                               .epoch = "e",
                                               .revocations = &g.world.revocations,
                                               .ready = &g.ready},
                        &g.gateway),
         "gateway");
}

static void close_all(void)
{
    gateway_destroy(g.gateway);
    while (stream_step(reactor_stream(g.reactor)) || pool_step(g.pool) || mailbox_drain(loop_mailbox(g.loop)) > 0)
        ;
    pool_destroy(g.pool);
    reactor_destroy(g.reactor);
    lsm_close(g.store);
    loop_destroy(g.loop);
    segpool_close(g.segments);
    views_destroy(g.views);
    block_cache_destroy(g.cache);
    bus_destroy(g.world.bus);
    metrics_destroy(g.world.metrics);
    admission_destroy(g.admission);
    data_dir_close(&g.data);
    for (unsigned i = 0; i < g.n_clients; i++) {
        close(g.clients[i]->fd);
        mem_free(g.clients[i]);
    }
}

/* --- turns --- */

/* What the server does in a turn: its loop, then what its threads would do. Only what is called by counted_turn is
 * counted, so the two must stay functions. */
static void server_turn(void)
{
    loop_turn(g.loop);
    stream_step(reactor_stream(g.reactor));
    while (pool_step(g.pool))
        ;
    segpool_step(g.segments);
}
void counted_turn(void);
__attribute__((noinline)) void counted_turn(void) { server_turn(); }
static __attribute__((noinline)) void other_turn(void) { server_turn(); }

static void read_in(struct client *c)
{
    ssize_t n;

    while ((n = recv(c->fd, c->in + c->len, sizeof c->in - c->len, MSG_DONTWAIT)) > 0)
        c->len += (size_t)n;
    if (n == 0)
        die("a client was closed");
}

/* Takes whole frames out of what came, and counts them. */
static void count_frames(struct client *c)
{
    size_t at = 0;

    for (;;) {
        const uint8_t *p = c->in + at;
        size_t left = c->len - at, head, n;

        if (left < 2)
            break;
        if (p[0] != 0x81 || p[1] > 126)
            die("an unexpected frame");
        head = p[1] == 126 ? 4 : 2;
        if (left < head)
            break;
        n = head == 4 ? (size_t)p[2] << 8 | p[3] : p[1];
        if (left < head + n)
            break;
        if (memmem(p + head, n, "\"error\"", 7)) {
            fprintf(stderr, "%.*s\n", (int)n, p + head);
            die("an answer says error");
        }
        at += head + n;
        g.frames++;
    }
    memmove(c->in, c->in + at, c->len - at);
    c->len -= at;
}

/* Turns until all clients together have got `frames` more frames. */
static void turn_until(uint64_t frames, void (*turn)(void))
{
    uint64_t until = g.frames + frames;

    g.env.now_us += 1000;
    for (unsigned turns = 0; g.frames < until; turns++) {
        if (turns == TURNS_MAX)
            die("no answer");
        turn();
        for (unsigned i = 0; i < g.n_clients; i++) {
            read_in(g.clients[i]);
            count_frames(g.clients[i]);
        }
    }
}

/* --- clients --- */

static void write_out(struct client *c, const void *p, size_t n)
{
    if (send(c->fd, p, n, MSG_NOSIGNAL) != (ssize_t)n)
        die("a client's send");
}

static __attribute__((format(printf, 2, 3))) void say(struct client *c, const char *fmt, ...)
{
    static uint8_t frame[8 + 65536] = {0x81, 0x80 | 126, 0, 0, 1, 2, 3, 4};
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf((char *)frame + 8, 65536, fmt, ap);
    va_end(ap);
    frame[2] = (uint8_t)(n >> 8);
    frame[3] = (uint8_t)n;
    for (int i = 0; i < n; i++)
        frame[8 + i] ^= frame[4 + i % 4];
    write_out(c, frame, (size_t)n + 8);
}

static struct client *client_open(user_id user)
{
    static const char upgrade[] = "GET /v1/ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)gateway_port(g.gateway))};
    struct client *c = mem_new(struct client);
    uint8_t *end = NULL;
    const int yes = 1;

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(c->fd, (struct sockaddr *)&a, sizeof a) != 0)
        die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    write_out(c, upgrade, sizeof upgrade - 1);
    for (unsigned turns = 0; !end; turns++) {
        if (turns == TURNS_MAX)
            die("no upgrade");
        other_turn();
        read_in(c);
        end = memmem(c->in, c->len, "\r\n\r\n", 4);
    }
    c->len -= (size_t)(end + 4 - c->in);
    memmove(c->in, end + 4, c->len);
    g.clients[g.n_clients++] = c;
    say(c, "{\"id\":1,\"op\":\"auth\",\"token\":\"%llu\"}", (unsigned long long)user);
    turn_until(1, other_turn);
    return c;
}

static const char *user_z(user_id u)
{
    static char z[USER_TEXT + 1];

    z[user_text(z, u)] = '\0';
    return z;
}

#define CONTENT \
    "\"content\":{\"type\":\"text\",\"text\":\"a message of 64 bytes is about what people write to each other, so\"}"

static void send_to_user(unsigned from, unsigned to, unsigned n)
{
    say(g.clients[from], "{\"id\":%u,\"op\":\"message.send\",\"user\":\"%s\",\"cid\":\"c-%u-%u\"," CONTENT "}", n + 2,
        user_z(to + 1), from, n);
}

static void send_to_group(unsigned from, unsigned n)
{
    say(g.clients[from], "{\"id\":%u,\"op\":\"message.send\",\"conv\":\"%s\",\"cid\":\"c-%u-%u\"," CONTENT "}", n + 2,
        g.group, from, n);
}

/* --- scripts: each says how many clients, and what round n does --- */

enum { PAIRS = 25, TALK = 600 };

static uint64_t pair_round(unsigned n)
{
    for (unsigned i = 0; i < 2 * PAIRS; i++)
        send_to_user(i, i ^ 1, n);
    return 4 * PAIRS; /* an answer and an event each */
}

static uint64_t group_round(unsigned n)
{
    send_to_group(n % g.n_clients, n);
    return g.n_clients;
}

static const char *pair_z(user_id a)
{
    static char z[CONV_TEXT + 1];
    struct conv_id c;

    pair_conv(&g.data.keys, a, a + 1, &c);
    z[conv_text(z, &c)] = '\0';
    return z;
}

/* Each pair once, since receipts that follow each other closely are merged: an answer, and an event for the author. */
static uint64_t receipt_round(unsigned n)
{
    say(g.clients[2 * n + 1], "{\"id\":2,\"op\":\"receipt\",\"conv\":\"%s\",\"delivered\":1,\"read\":1}",
        pair_z(2 * n + 1));
    return 2;
}

static uint64_t history_round(unsigned n)
{
    say(g.clients[0], "{\"id\":%u,\"op\":\"history\",\"conv\":\"%s\",\"limit\":50}", n + 2, pair_z(1));
    return 1;
}

/* The pages behind the newest, one after the other, until the beginning. */
static uint64_t page_round(unsigned n)
{
    say(g.clients[0], "{\"id\":%u,\"op\":\"history\",\"conv\":\"%s\",\"before\":%u,\"limit\":50}", n + 2, pair_z(1),
        TALK - 50 * (1 + n % (TALK / 50 - 2)));
    return 1;
}

static void make_group(void)
{
    struct buf b = {0};
    struct conv_id c;

    for (unsigned i = 1; i < g.n_clients; i++)
        buf_printf(&b, "%s\"%s\"", i > 1 ? "," : "", user_z(i + 1));
    buf_char(&b, '\0');
    group_conv(&g.data.keys, 1, STR("g"), &c);
    g.group[conv_text(g.group, &c)] = '\0';
    say(g.clients[0], "{\"id\":1,\"op\":\"group.create\",\"title\":\"g\",\"cid\":\"g\",\"members\":[%s]}", b.p);
    turn_until(g.n_clients, other_turn); /* its answer, and `created` for all others */
    buf_deinit(&b);
}

static void talk_first_pair(void)
{
    for (unsigned n = 0; n < TALK; n++) {
        send_to_user(0, 1, n);
        turn_until(2, other_turn);
    }
}

static void talk_and_flush(void)
{
    talk_first_pair();
    while (!lsm_is_clean(g.store)) {
        enum err err = lsm_flush(g.store);

        need(err == ERR_AGAIN ? ERR_OK : err, "flush");
        other_turn();
    }
}

static void talk_all(void)
{
    for (unsigned i = 0; i < g.n_clients; i += 2) {
        send_to_user(i, i + 1, 0);
        turn_until(2, other_turn);
    }
}

static const struct script {
    const char *name;
    unsigned clients, warm, rounds, per_round; /* per_round: operations */
    void (*prepare)(void);
    uint64_t (*round)(unsigned n); /* how many frames will come of it */
} scripts[] = {
    {"pair", 2 * PAIRS, 20, 60, 2 * PAIRS, NULL, pair_round},
    {"group100", 100, 20, 200, 100, make_group, group_round},
    {"group1000", 1000, 5, 30, 1000, make_group, group_round},
    {"receipt", 640, 20, 300, 1, talk_all, receipt_round},
    {"history", 2, 20, 300, 1, talk_first_pair, history_round},
    {"page", 2, 20, 300, 1, talk_and_flush, page_round},
};

static void run(const struct script *s)
{
    unsigned n = 0;

    for (unsigned i = 0; i < s->clients; i++)
        client_open(i + 1);
    if (s->prepare)
        s->prepare();
    for (; n < s->warm; n++)
        turn_until(s->round(n), other_turn);
    for (; n < s->warm + s->rounds; n++)
        turn_until(s->round(n), counted_turn);
    printf("%s %u\n", s->name, s->rounds * s->per_round);
}

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < sizeof scripts / sizeof *scripts; i++) {
        char *text;

        if (strcmp(argv[1], scripts[i].name) != 0)
            continue;
        open_below();
        open_services();
        open_gateway();
        run(&scripts[i]);
        close_all();
        if (asprintf(&text, "rm -rf %s", g.dir) < 0 || system(text) != 0)
            die("removing the folder");
        free(text);
        return 0;
    }
    fprintf(stderr, "usage: path pair|group100|group1000|receipt|history|page\n");
    return 2;
}
