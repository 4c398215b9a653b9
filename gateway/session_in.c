#include "gateway/session.h"
#include "proto/args.h"

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

/* The header stands in the read buffer before the payload, if it did not come with an earlier read. That it may have,
 * and the guess be wrong, is so only when the last read was cut off by the buffer's end, in the middle of a header. */
static bool is_unmasked(struct session *s, struct str piece, uint64_t left)
{
    enum { HEADER_MAX = 14 };
    const uint8_t *p = (const uint8_t *)piece.p, *start = s->g->read_buffer;
    bool inside = start && p >= start && p < start + SERVICE_BUFFER;
    bool cut = s->read_end + HEADER_MAX >= RX_BUFFER;

    return inside && !cut && assembly_is_unmasked(p, (size_t)(p - start), piece.len + left);
}

static void note_read_end(struct session *s, struct str piece)
{
    const uint8_t *p = (const uint8_t *)piece.p, *start = s->g->read_buffer;

    if (start && p >= start && p < start + SERVICE_BUFFER)
        s->read_end = (uint32_t)(p - start + (ptrdiff_t)piece.len);
    else
        s->read_end = RX_BUFFER; /* out of a buffer of what waited: nothing is known */
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

void session_receive(struct session *s, struct str piece, uint64_t left, bool first, bool last, bool binary)
{
    struct str text;

    if (!session_is_open(s))
        return;
    session_alive(s);
    if (first && is_unmasked(s, piece, left)) {
        session_close(s, CLOSE_PROTOCOL);
        return;
    }
    note_read_end(s, piece);
    if (binary) {
        session_close(s, CLOSE_BINARY);
        return;
    }
    if (is_too_much(s, piece.len, left)) {
        session_close(s, CLOSE_TOO_LARGE);
        return;
    }
    switch (assembly_add(&s->in, piece, left, last, &text)) {
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
