/* From the socket to requests. All that a read brings is looked at at once, as far as the session may go on; several
 * messages of a session so share one system call, and one turn of the loop. */
#include "gateway/session.h"
#include "gateway/tls.h"
#include "proto/args.h"
#include <errno.h>
#include <libwebsockets.h>
#include <sys/socket.h>

static void each_element(void *arg, struct str element) { session_request(arg, element); }

static bool is_array(struct str text)
{
    size_t i = 0;

    while (i < text.len && (text.p[i] == ' ' || text.p[i] == '\t' || text.p[i] == '\n' || text.p[i] == '\r'))
        i++;
    return i < text.len && text.p[i] == '[';
}

static void batch(struct session *s, struct str text)
{
    enum err err = ERR_OK;
    size_t n;

    if (!s->batch) {
        session_refuse_frame(s, CODE_BAD_REQUEST, "arrays are for those who said \"batch\":true in auth");
        return;
    }
    n = args_split_batch(text, &err, each_element, s);
    if (err == ERR_LIMIT)
        session_refuse_frame(s, CODE_BAD_REQUEST, "a batch has 1 to 256 requests");
    else if (n == 0 && !str_is_utf8(text))
        session_close(s, CLOSE_UTF8);
    else if (n == 0)
        session_refuse_frame(s, CODE_BAD_JSON, "not a JSON array: none of it was done");
}

static void message(struct session *s, struct str text)
{
    count(s->g, METRIC_FRAMES_IN, 1);
    count(s->g, METRIC_BYTES_IN, (int64_t)text.len);
    if (is_array(text))
        batch(s, text);
    else
        session_request(s, text);
}

/* A stranger has nothing to say but who they are. */
static bool is_too_much(const struct session *s, size_t piece, uint64_t left)
{
    size_t have = s->in.got.len + piece;

    return s->state != SESSION_LIVE && (have > STRANGER_MAX || left > STRANGER_MAX - have);
}

void session_check_message(struct session *s)
{
    uint64_t now = loop_now_ms(s->g->conf.loop);

    if (s->began_ms && !s->stopped && now - s->began_ms > (uint64_t)s->g->conf.heartbeat_ms)
        session_close(s, CLOSE_MALFORMED);
}

/* A piece of a message; `left` more bytes of its frame are announced. */
static void receive(struct session *s, const struct framed *f)
{
    struct str text;

    if (f->opcode == OPCODE_BINARY) {
        session_close(s, CLOSE_BINARY);
        return;
    }
    if (is_too_much(s, f->piece.len, f->left)) {
        session_close(s, CLOSE_TOO_LARGE);
        return;
    }
    switch (assembly_add(&s->in, f->piece, f->left, f->is_last, &text)) {
    case ASSEMBLY_MORE:
        if (!s->began_ms)
            s->began_ms = loop_now_ms(s->g->conf.loop);
        session_check_message(s);
        break;
    case ASSEMBLY_TOO_LARGE:
        session_close(s, CLOSE_TOO_LARGE);
        break;
    case ASSEMBLY_WHOLE:
        message(s, text);
        assembly_reset(&s->in);
        s->began_ms = 0;
        break;
    }
}

static void pong(struct session *s, struct str payload)
{
    char *frame = outq_reply(&s->out, 2 + payload.len);
    size_t n = frame_header((uint8_t *)frame, OPCODE_PONG, payload.len);

    if (payload.len)
        memcpy(frame + n, payload.p, payload.len);
    session_touch(s);
}

static void control(struct session *s, const struct framed *f)
{
    struct str payload = f->piece;

    if (f->left || s->control.len) {
        buf_add(&s->control, f->piece.p, f->piece.len);
        payload = buf_get(&s->control);
    }
    if (f->left)
        return;
    if (f->opcode == OPCODE_PING)
        pong(s, payload);
    else if (f->opcode == OPCODE_CLOSE)
        session_peer_closes(s, payload);
    buf_deinit(&s->control);
}

static bool goes_on(const struct session *s) { return session_is_open(s) && !s->stopped; }

/* Returns the bytes that it did not come to, because reading was stopped. What a session that closes is still sent is
 * thrown away. */
static struct str take(struct session *s, char *p, char *end)
{
    enum framing_what what = FRAMING_PIECE;
    struct framed f;

    session_alive(s);
    while (what == FRAMING_PIECE && goes_on(s)) {
        what = framing_next(&s->frames, &p, end, &f);
        if (what == FRAMING_BAD)
            session_close(s, CLOSE_PROTOCOL);
        else if (what == FRAMING_PIECE && framing_is_control(f.opcode))
            control(s, &f);
        else if (what == FRAMING_PIECE)
            receive(s, &f);
    }
    if (!session_is_open(s))
        p = end;
    session_pace(s);
    return str_of(p, (size_t)(end - p));
}

static void take_rest(struct session *s)
{
    struct buf rest = s->rest;
    struct str left;

    s->rest = (struct buf){0};
    left = take(s, rest.p, rest.p + rest.len);
    if (left.len == 0) {
        buf_deinit(&rest);
        return;
    }
    memmove(rest.p, left.p, left.len);
    rest.len = left.len;
    s->rest = rest;
}

static ssize_t receive_bytes(struct session *s, int fd)
{
    struct gateway *g = s->g;

    return g->tls_context ? tls_read(lws_get_ssl(s->wsi), g->inbox, INBOX) : recv(fd, g->inbox, INBOX, 0);
}

void session_readable(struct intake_item *it)
{
    struct session *s = container_of(it, struct session, intake);
    struct gateway *g = s->g;
    ssize_t n;

    if (s->stopped)
        return;
    if (s->rest.len) {
        take_rest(s);
        return;
    }
    n = receive_bytes(s, it->fd);
    if (n > 0) {
        struct str left = take(s, g->inbox, g->inbox + n);

        if (left.len)
            buf_add(&s->rest, left.p, left.len);
    } else if (n == 0 || it->is_hung || (errno != EAGAIN && errno != EINTR)) { /* hung: nothing comes any more */
        session_kill(s);
    }
}

void session_read(struct session *s, bool is_on)
{
    intake_set(s->g->intake, &s->intake, is_on);
    if (is_on && s->rest.len)
        intake_again(s->g->intake, &s->intake);
}
