#include "gateway/session.h"
#include "gateway/reply.h"
#include <libwebsockets.h>

enum { FRAME_CLOSE = 8 };

static void tick(struct timer *t);

struct session *session_new(struct gateway *g, struct lws *wsi, bool held)
{
    struct session *s = mem_new(struct session);

    s->conn.kind = CONN_SESSION;
    s->refs = 1;
    s->g = g;
    s->wsi = wsi;
    s->state = held ? SESSION_HELD : SESSION_NEW;
    s->losses = g->losses;
    s->timer.fn = tick;
    s->heard_ms = loop_now_ms(g->conf.loop);
    list_push(&g->sessions, &s->all);
    timer_set(g->conf.loop, &s->timer, AUTH_DEADLINE_MS);
    count(g, METRIC_CONNECTIONS, 1);
    return s;
}

void session_opened(struct session *s)
{
    lws_rx_flow_control(s->wsi, 0);
    intake_add(s->g->intake, &s->intake, lws_get_socket_fd(s->wsi), !s->stopped);
    s->blocked = lws_partial_buffered(s->wsi); /* the end of the 101: nothing may overtake it */
    if (s->g->draining)
        session_close(s, CLOSE_DRAINING);
}

void session_unref(struct session *s)
{
    if (--s->refs == 0)
        mem_free(s);
}

bool session_is_open(const struct session *s) { return s->state < SESSION_CLOSING; }

void session_list(struct session *s)
{
    bus_join(s->g->conf.port, s->user);
    registry_add(&s->g->registry, s->user, &s->by_user);
    count(s->g, METRIC_SESSIONS, 1);
}

void session_unlist(struct session *s)
{
    if (!link_is_in(&s->by_user))
        return;
    registry_remove(&s->g->registry, s->user, &s->by_user);
    bus_leave(s->g->conf.port, s->user);
    count(s->g, METRIC_SESSIONS, -1);
}

void session_gone(struct session *s)
{
    session_unlist(s);
    intake_remove(s->g->intake, &s->intake);
    list_remove(&s->all);
    list_remove(&s->dirty);
    timer_stop(&s->timer);
    outq_deinit(&s->out);
    assembly_reset(&s->in);
    buf_deinit(&s->rest);
    buf_deinit(&s->control);
    mem_free(s->held);
    s->held = NULL;
    s->wsi = NULL;
    s->state = SESSION_DEAD;
    session_drop_waiting(s);
    count(s->g, METRIC_CONNECTIONS, -1);
    gateway_one_gone(s->g);
    session_unref(s);
}

static void queue_close_frame(struct session *s, enum close_code code)
{
    char *frame = outq_reply(&s->out, 4);
    size_t n = frame_header((uint8_t *)frame, FRAME_CLOSE, 2);

    frame[n] = (char)(code >> 8);
    frame[n + 1] = (char)code;
}

/* The upgrade was not answered yet: it is now, as the HTTP request that it still is. */
static void queue_refusal(struct session *s, enum close_code code)
{
    struct buf text = {0};

    outq_deinit(&s->out); /* the 101, if it was queued */
    if (code == CLOSE_UNAUTHENTICATED)
        reply_refusal(&text, CODE_UNAUTHENTICATED, "the token is not valid");
    else
        reply_refusal(&text, CODE_UNAVAILABLE, "not now");
    memcpy(outq_reply(&s->out, text.len), text.p, text.len);
    buf_deinit(&text);
}

void session_close(struct session *s, enum close_code code)
{
    if (!session_is_open(s))
        return;
    session_unlist(s);
    outq_drop_events(&s->out);
    if (s->state == SESSION_HELD)
        queue_refusal(s, code);
    else
        queue_close_frame(s, code);
    s->state = SESSION_CLOSING;
    timer_set(s->g->conf.loop, &s->timer, LINGER_MS);
    session_pace(s);
    session_touch(s);
}

static bool may_be_sent(unsigned code)
{
    return (code >= 1000 && code <= 1011 && code != 1004 && code != 1005 && code != 1006) ||
           (code >= 3000 && code < 5000);
}

/* Answered with its own code. */
void session_peer_closes(struct session *s, struct str payload)
{
    const uint8_t *p = (const uint8_t *)payload.p;
    unsigned code = payload.len < 2 ? CLOSE_NORMAL : (unsigned)(p[0] << 8 | p[1]);

    if (payload.len == 1 || !may_be_sent(code))
        code = CLOSE_PROTOCOL;
    else if (payload.len > 2 && !str_is_utf8(str_from(payload, 2)))
        code = CLOSE_UTF8;
    session_close(s, (enum close_code)code);
}

void session_kill(struct session *s)
{
    if (s->state == SESSION_DEAD)
        return;
    session_unlist(s);
    intake_remove(s->g->intake, &s->intake);
    s->state = SESSION_DEAD;
    session_touch(s);
}

void session_alive(struct session *s)
{
    s->heard_ms = loop_now_ms(s->g->conf.loop);
    s->pinged = false;
}

static void beat(struct session *s)
{
    uint64_t beat_ms = (uint64_t)s->g->conf.heartbeat_ms, idle;

    if (session_drains(s))
        session_alive(s);
    idle = loop_now_ms(s->g->conf.loop) - s->heard_ms;
    s->malformed /= 2;
    s->refused /= 2;
    session_check_message(s);
    if (!session_is_open(s))
        return;
    if (s->pinged && idle >= beat_ms) {
        session_kill(s);
        return;
    }
    if (idle < beat_ms) {
        timer_set(s->g->conf.loop, &s->timer, beat_ms - idle);
        return;
    }
    s->pinged = true; /* taken back by the first sign of life */
    if (!s->stopped && !s->blocked) {
        outq_notice(&s->out, s->g->ping);
        session_touch(s);
    }
    timer_set(s->g->conf.loop, &s->timer, beat_ms);
}

static void tick(struct timer *t)
{
    struct session *s = container_of(t, struct session, timer);

    switch ((enum session_state)s->state) {
    case SESSION_LIVE:
        beat(s);
        break;
    case SESSION_NEW:
    case SESSION_CHECKING:
        session_close(s, CLOSE_NO_AUTH);
        break;
    case SESSION_HELD:
    case SESSION_CLOSING:
        session_kill(s);
        break;
    case SESSION_DEAD:
        break;
    }
}
