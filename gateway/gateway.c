#include "gateway/gateway.h"
#include "base/log.h"
#include "gateway/http.h"
#include "gateway/listener.h"
#include "gateway/reply.h"
#include "gateway/session.h"
#include "gateway/tls.h"
#include "gateway/ws.h"
#include "proto/openapi.h"
#include <unistd.h>
#include <uv.h>

enum {
    HEADER_TABLES = 4096, /* requests whose head is being read or whose answer is awaited */
    TX_MAX = 4 << 20,     /* more than any frame: a frame is written with one call */
    SWEEP = 512,
    SWEEP_MS = 64,
    SHRINK_MS = 2000,
    DRAIN_ASK_MS = 3000,
    DRAIN_INSIST_MS = 1500,
    DESTROY_TURNS = 8,
};

static const struct lws_protocols protocols[] = {
    {.name = "parley.v1", .callback = ws_callback, .rx_buffer_size = RX_BUFFER, .tx_packet_size = TX_MAX},
    {0},
};
/* Zeroes: libwebsockets' own pings would be a timer a connection, in one sorted list. */
static const lws_retry_bo_t no_pings = {0};

/* What the turn has for other reactors leaves before anything is written: who reads an event here, drops, and comes
 * back by another reactor would else be told it there again, by what had not left for its other readers. */
static void flush(struct turn_hook *h)
{
    struct gateway *g = container_of(h, struct gateway, flush);

    port_send(g->conf.port);
    while (!list_is_empty(&g->dirty)) {
        struct session *s = list_first(&g->dirty, struct session, dirty);

        list_remove(&s->dirty);
        session_flush(s);
    }
}

void gateway_ask(struct gateway *g, struct request *r) { bus_request(g->conf.port, port_index(g->conf.port), r); }

/* ---- what the bus delivers */

static void deliver_to(struct gateway *g, const struct delivery *d, user_id user)
{
    struct link *sessions = registry_get(&g->registry, user);
    bool skip = user == d->skip_user;

    if (!sessions || (skip && !d->skip_device))
        return;
    list_each (sessions, s, struct session, by_user) {
        if (skip && s->device == d->skip_device)
            continue;
        if (d->only_device && s->device != d->only_device)
            continue;
        session_deliver(s, d);
    }
}

/* With a slot: only sessions older than the one that it names (see session_auth.c). */
static struct session *find_to_close(struct gateway *g, const struct delivery *d)
{
    struct link *sessions = registry_get(&g->registry, d->only_user);

    if (!sessions)
        return NULL;
    list_each (sessions, s, struct session, by_user) {
        bool device = !d->only_device || s->device == d->only_device;

        if (device && (!d->slot || (s->born && s->born < d->slot)))
            return s;
    }
    return NULL;
}

static void close_sessions(struct gateway *g, const struct delivery *d)
{
    struct session *s;

    while ((s = find_to_close(g, d)) != NULL) /* closing takes it out of the registry */
        session_close(s, (enum close_code)d->close_code);
}

/* Each session hears of the loss before its next entry; those that get none hear of it by and by. */
static void sweep(struct timer *t)
{
    struct gateway *g = container_of(t, struct gateway, sweep);

    for (unsigned i = 0; i < SWEEP; i++) {
        struct session *s = list_first(&g->sessions, struct session, all);

        if (!s || s->losses == g->losses)
            return;
        session_lost(s);
    }
    timer_set(g->conf.loop, t, SWEEP_MS);
}

static void sink(void *ctx, const struct delivery *d)
{
    struct gateway *g = ctx;

    if (d->class == DELIVER_LOST) {
        g->losses++;
        metric_add(g->conf.counters, METRIC_MAILBOX_OVERFLOWS, 1);
        timer_set(g->conf.loop, &g->sweep, 0);
    } else if (d->class == DELIVER_CLOSE) {
        close_sessions(g, d);
    } else if (d->only_user) {
        deliver_to(g, d, d->only_user);
    } else {
        for (uint32_t i = 0; i < d->to->n; i++)
            deliver_to(g, d, d->to->users[i]);
    }
}

/* ---- connections */

/* libwebsockets closes the socket when it can't have it. */
static void adopt(struct gateway *g, int fd, const struct guest *guest)
{
    struct lws *wsi = lws_adopt_socket_vhost(g->vhost, fd);
    struct visit *v = mem_new(struct visit);

    *v = (struct visit){.conn = {CONN_VISIT, v}, .guest = *guest, .since_ms = loop_now_ms(g->conf.loop)};
    count(g, METRIC_SOCKETS, 1);
    if (wsi)
        lws_set_opaque_user_data(wsi, v);
    else
        gateway_visit_over(g, v);
}

static void on_accept(void *ctx, int fd)
{
    struct gateway *g = ctx;
    struct guest guest;
    struct peer peer;

    if (!peer_of(fd, &peer) || gateway_limit(g, LIMIT_CONNECT, peer.b, sizeof peer.b)) {
        close(fd);
    } else if (admission_enter(g->conf.admission, peer.b, peer.loopback, &guest) != ADMISSION_GRANTED) {
        count(g, METRIC_ACCEPTS_REFUSED, 1);
        close(fd);
    } else {
        count(g, METRIC_ACCEPTS, 1);
        adopt(g, fd, &guest);
    }
}

void gateway_known(struct gateway *g, struct conn *c) { admission_known(g->conf.admission, &c->visit->guest); }

bool gateway_is_strange_for_long(const struct gateway *g, const struct conn *c)
{
    const struct visit *v = c->visit;
    uint64_t age_ms = loop_now_ms(g->conf.loop) - v->since_ms;

    return v->guest.is_stranger && (v->requests >= STRANGER_REQUESTS || age_ms >= STRANGER_MS);
}

void gateway_visit_over(struct gateway *g, struct visit *v)
{
    count(g, METRIC_SOCKETS, -1);
    admission_leave(g->conf.admission, &v->guest);
    mem_free(v);
}

static struct frame *control_frame(unsigned opcode, struct str payload)
{
    struct frame *f = frame_text(payload);

    frame_header((uint8_t *)f->bytes, opcode, payload.len);
    return f;
}

static enum err open_lws(struct gateway *g)
{
    void *loops[] = {loop_uv(g->conf.loop)};
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .protocols = protocols,
        .options =
            LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_UV_NO_SIGSEGV_SIGFPE_SPIN,
        .foreign_loops = loops,
        .user = g,
        .retry_and_idle_policy = &no_pings,
        .timeout_secs = HTTP_DEADLINE_MS / 1000 + 5, /* it hangs up without a word: ours comes first */
        .keepalive_timeout = 15,
        .max_http_header_data = HEAD_MAX,
        .max_http_header_pool = HEADER_TABLES,
        .pt_serv_buf_size = SERVICE_BUFFER,
        .vhost_name = "parley",
        .alpn = "http/1.1", /* frames are written raw */
        .pcontext = &g->lws,
    };

    if (g->conf.tls)
        info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_CREATE_VHOST_SSL_CTX;
    lws_set_log_level(0, NULL); /* what it calls an error is mostly a peer's fault */
    g->lws = lws_create_context(&info);
    if (!g->lws)
        return ERR_IO;
    g->vhost = lws_create_vhost(g->lws, &info);
    /* Without its certificate it must not serve at all. */
    return g->vhost && (!g->conf.tls || g->tls_context) ? ERR_OK : ERR_IO;
}

int gateway_tls_ready(struct gateway *g, void *context)
{
    if (tls_apply(g->conf.tls, context) != ERR_OK)
        return -1;
    g->tls_context = context;
    return 0;
}

void gateway_secure(struct gateway *g, struct tls *tls)
{
    if (tls_apply(tls, g->tls_context) != ERR_OK)
        log_warn("reload_refused", "reason=tls");
}

static void drain_step(struct timer *t);

static void shrink(struct timer *t)
{
    struct gateway *g = container_of(t, struct gateway, shrink);

    request_pool_shrink(&g->requests);
    timer_set(g->conf.loop, t, SHRINK_MS);
}

static void init(struct gateway *g, const struct gateway_conf *c)
{
    g->conf = *c;
    list_init(&g->sessions);
    list_init(&g->dirty);
    list_init(&g->https);
    limiter_init(&g->limiter, 65536);
    env_random(c->env, &g->limit_key, sizeof g->limit_key);
    g->resync = frame_text(STR("{\"ev\":\"resync\"}"));
    g->ping = control_frame(9, STR("p")); /* libwebsockets keeps an empty Pong to itself */
    g->scratch = mem_alloc(SCRATCH);
    g->inbox = mem_alloc(INBOX);
    openapi_print(&g->openapi);
    if (!reply_pack(buf_get(&g->openapi), &g->openapi_packed))
        buf_clear(&g->openapi_packed);
    g->flush.fn = flush;
    g->sweep.fn = sweep;
    g->drain.fn = drain_step;
    g->shrink.fn = shrink;
    timer_set(c->loop, &g->shrink, SHRINK_MS);
    bus_sink(c->port, sink, g);
}

enum err gateway_create(const struct gateway_conf *c, struct gateway **out)
{
    struct gateway *g = mem_new(struct gateway);
    enum err err;

    init(g, c);
    TRY(intake_open(c->loop, session_readable, &g->intake));
    loop_hook(c->loop, &g->flush); /* behind the intake's, which ends what has hung up */
    TRY(open_lws(g));
    g->conf.tls = NULL; /* was borrowed */
    TRY(listener_open(c->loop, c->host, c->listen_port, c->shares_port, on_accept, g, &g->listener));
    g->conf.listen_port = listener_port(g->listener);
    *out = g;
    return ERR_OK;
out:
    gateway_destroy(g);
    return err;
}

enum err gateway_try(const char *host, int port) { return listener_try(host, port); }

int gateway_port(const struct gateway *g) { return g->conf.listen_port; }

/* On a loop of ours its destruction takes two calls, and between them turns in which first the connections' handles are
 * closed and then its own: it frees what they are embedded in without a look. A later version is done after the first;
 * whoever does it sets g->lws to NULL (pcontext). */
static void close_lws(struct gateway *g)
{
    if (!g->lws)
        return;
    lws_context_destroy(g->lws);
    for (int i = 0; i < DESTROY_TURNS; i++)
        uv_run(loop_uv(g->conf.loop), UV_RUN_NOWAIT);
    if (g->lws)
        lws_context_destroy(g->lws);
}

void gateway_destroy(struct gateway *g)
{
    if (!g)
        return;
    listener_close(g->listener);
    g->draining = true;
    close_lws(g);
    timer_stop(&g->sweep);
    timer_stop(&g->drain);
    timer_stop(&g->shrink);
    loop_unhook(&g->flush);
    registry_deinit(&g->registry);
    limiter_deinit(&g->limiter);
    frame_unref(g->resync);
    frame_unref(g->ping);
    mem_free(g->scratch);
    mem_free(g->inbox);
    intake_close(g->intake);
    request_pool_deinit(&g->requests);
    buf_deinit(&g->openapi);
    buf_deinit(&g->openapi_packed);
    mem_free(g);
}

/* ---- draining: ask, insist, leave */

static void drain_end(struct gateway *g)
{
    void (*done)(void *) = g->drained;

    timer_stop(&g->drain);
    g->drained = NULL;
    if (done)
        done(g->drained_arg);
}

void gateway_one_gone(struct gateway *g)
{
    if (g->draining && list_is_empty(&g->sessions) && list_is_empty(&g->https) && g->drained)
        timer_set(g->conf.loop, &g->drain, 0); /* not from inside the last one's end */
}

static void drain_step(struct timer *t)
{
    struct gateway *g = container_of(t, struct gateway, drain);

    if (g->insisted || (list_is_empty(&g->sessions) && list_is_empty(&g->https))) {
        drain_end(g);
        return;
    }
    g->insisted = true;
    list_each (&g->sessions, s, struct session, all)
        session_close(s, CLOSE_DRAINING); /* those that still wait for an answer, too */
    timer_set(g->conf.loop, t, DRAIN_INSIST_MS);
}

void gateway_drain(struct gateway *g, void (*done)(void *arg), void *arg)
{
    g->drained = done;
    g->drained_arg = arg;
    g->draining = true;
    listener_close(g->listener);
    g->listener = NULL;
    list_each (&g->sessions, s, struct session, all) {
        if (s->pending == 0)
            session_close(s, CLOSE_DRAINING);
        else
            session_pace(s);
    }
    timer_set(g->conf.loop, &g->drain, DRAIN_ASK_MS);
    gateway_one_gone(g);
}
