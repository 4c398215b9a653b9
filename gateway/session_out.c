#include "gateway/session.h"
#include <errno.h>
#include <libwebsockets.h>
#include <linux/tcp.h> /* the C library's lacks tcpi_bytes_acked */
#include <netinet/in.h>
#include <sys/socket.h>

void session_touch(struct session *s)
{
    if (!s->wsi || link_is_in(&s->dirty))
        return;
    loop_again(s->g->conf.loop);
    list_push(&s->g->dirty, &s->dirty);
}

/* How much the socket takes at once; negative: the connection is broken. With TLS nothing: that is libwebsockets' to
 * write. */
static ssize_t send_now(const struct session *s, const struct out_batch *b)
{
    ssize_t n;

    if (s->g->tls_context || !s->intake.is_in)
        return 0;
    n = send(s->intake.fd, b->p, b->len, MSG_NOSIGNAL | MSG_DONTWAIT);
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : n;
}

/* Sends the rest, or keeps it until the socket is writable. False: the connection is broken. */
static bool give_to_lws(struct session *s, const char *p, size_t len)
{
    if (lws_write(s->wsi, (unsigned char *)(uintptr_t)p, len, LWS_WRITE_RAW) < 0) /* raw: it only reads them */
        return false;
    if (lws_partial_buffered(s->wsi)) {
        s->blocked = true;
        s->in_lws = (uint32_t)len;
    }
    return true;
}

/* False when no more can be written now. */
static bool write_batch(struct session *s, const struct out_batch *b)
{
    struct gateway *g = s->g;
    ssize_t n = send_now(s, b);

    count(g, METRIC_WRITES, 1);
    count(g, METRIC_FRAMES_OUT, b->frames);
    count(g, METRIC_BYTES_OUT, (int64_t)b->len);
    if (n < 0 || ((size_t)n < b->len && !give_to_lws(s, b->p + n, b->len - (size_t)n))) {
        session_kill(s);
        return false;
    }
    return !s->blocked;
}

static void write_all(struct session *s)
{
    struct out_batch b;
    bool more = true;

    while (more && outq_peek(&s->out, s->g->scratch, SCRATCH, &b)) {
        more = write_batch(s, &b);
        outq_pop(&s->out, b.frames);
    }
}

/* Everything is said: the peer reads the end of the stream, and libwebsockets the peer's. */
static void finish(struct session *s)
{
    if (s->finished || s->blocked || !outq_is_empty(&s->out))
        return;
    s->finished = true;
    shutdown(lws_get_socket_fd(s->wsi), SHUT_WR);
}

void session_flush(struct session *s)
{
    if (s->state == SESSION_DEAD) {
        /* Not from inside a callback of libwebsockets, so it may be freed here: session_gone is called. */
        struct gateway *g = s->g;

        lws_set_timeout(s->wsi, PENDING_TIMEOUT_KILLED_BY_PARENT, LWS_TO_KILL_SYNC);
        lws_cancel_service(
            g->lws); /* what it could not send it gives 5 s, on a timer that only a turn of its own sets */
        return;
    }
    if (s->state == SESSION_HELD || s->state == SESSION_CHECKING)
        return; /* whoever decides touches it again */
    if (!s->blocked)
        write_all(s);
    if (s->state == SESSION_CLOSING) {
        finish(s);
    } else {
        session_start_waiting(s);
        session_pace(s);
    }
}

void session_writable(struct session *s)
{
    if (lws_partial_buffered(s->wsi))
        return;
    s->blocked = false;
    s->in_lws = 0;
    session_alive(s);
    session_touch(s);
}

bool session_drains(struct session *s)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    uint64_t before = s->acked;

    if (!s->blocked || getsockopt(lws_get_socket_fd(s->wsi), IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return false;
    s->acked = info.tcpi_bytes_acked;
    return s->acked != before;
}

/* The usual case, asked several times a message. */
static bool goes_easily(const struct session *s)
{
    return s->state == SESSION_LIVE && !s->stopped && !s->g->draining && s->pending < PENDING_MAX &&
           s->pending_bytes < PENDING_BYTES_MAX && s->out.reply_bytes + s->in_lws < UNSENT_MAX;
}

/* Reading stops at a bound and goes on at half of it, so that it does not flutter. */
static void pace(struct session *s)
{
    size_t unsent = s->out.reply_bytes + s->in_lws, part = s->stopped ? 2 : 1;
    bool checking = s->state == SESSION_HELD || s->state == SESSION_CHECKING;
    bool leaving = s->g->draining && session_is_open(s);
    bool behind = s->pending >= PENDING_MAX / part || s->pending_bytes >= PENDING_BYTES_MAX / part;
    bool stop = checking || leaving || behind || unsent >= UNSENT_MAX / part;

    if (s->state == SESSION_CLOSING)
        stop = false; /* what comes is thrown away, up to the peer's Close */
    if (stop == s->stopped || !s->wsi || s->state == SESSION_DEAD)
        return;
    if (!stop && s->began_ms)
        s->began_ms = loop_now_ms(s->g->conf.loop); /* its rest had to wait for us */
    s->stopped = stop;
    session_read(s, !stop);
}

void session_pace(struct session *s)
{
    if (!goes_easily(s))
        pace(s);
}

void session_resync(struct session *s)
{
    outq_drop_events(&s->out);
    s->losses = s->g->losses;
    list_remove(&s->all); /* those who know go to the end */
    list_push(&s->g->sessions, &s->all);
    if (s->muted || !link_is_in(&s->by_user))
        return;
    s->muted = true;
    outq_notice(&s->out, s->g->resync);
    count(s->g, METRIC_RESYNCS, 1);
    session_touch(s);
}

void session_lost(struct session *s)
{
    if (s->losses != s->g->losses)
        session_resync(s);
}

/* What libwebsockets has of an earlier write: a write of nothing is what it does itself when the socket is writable.
 * False: it still has some, or the connection is broken. */
static bool write_rest(struct session *s)
{
    if (lws_write(s->wsi, NULL, 0, LWS_WRITE_RAW) < 0)
        session_kill(s);
    else
        session_writable(s);
    return s->state == SESSION_LIVE && !s->blocked;
}

/* A turn may bring more than a queue holds, before its end could write any of it. That says nothing of the peer: only
 * a socket that does not take more does. What the turn has for other reactors leaves first, as at its end. */
static void write_early(struct session *s)
{
    port_send(s->g->conf.port);
    if (s->state == SESSION_LIVE && (!s->blocked || write_rest(s)))
        write_all(s);
}

static enum err add_entry(struct session *s, struct frame *f)
{
    enum err err = outq_entry(&s->out, f);

    if (err != ERR_LIMIT)
        return err;
    write_early(s);
    return outq_entry(&s->out, f); /* of one that broke, too: it is in no list any more, and its end frees the queue */
}

void session_deliver(struct session *s, const struct delivery *d)
{
    session_lost(s);
    if (d->class == DELIVER_EPHEMERAL) {
        outq_ephemeral(&s->out, d->frame, d->slot);
    } else {
        if (s->muted)
            return;
        if (add_entry(s, d->frame) != ERR_OK) {
            session_resync(s);
            return;
        }
        count(s->g, METRIC_DELIVERIES, 1);
    }
    session_touch(s);
}
