#include "gateway/session.h"
#include "proto/args.h"
#include "proto/jsonw.h"

/* A complete text frame around a payload that is put together here. */
static void queue_text(struct session *s, const struct str parts[], size_t n)
{
    uint8_t head[FRAME_HEADER_MAX];
    size_t payload = 0, len;
    char *to;

    for (size_t i = 0; i < n; i++)
        payload += parts[i].len;
    len = frame_header(head, 1, payload);
    to = outq_reply(&s->out, len + payload);
    memcpy(to, head, len);
    to += len;
    for (size_t i = 0; i < n; i++) {
        if (parts[i].len)
            memcpy(to, parts[i].p, parts[i].len);
        to += parts[i].len;
    }
    session_touch(s);
}

static void queue_error(struct session *s, struct str re, enum code code, const char *why, int64_t retry_after_ms)
{
    struct buf b = {0};
    struct str text;

    jsonw_open(&b, '{');
    jsonw_key(&b, "re");
    jsonw_raw(&b, re);
    jsonw_key(&b, "error");
    jsonw_open(&b, '{');
    jsonw_key_str(&b, "code", str_c(code_text(code)));
    jsonw_key_str(&b, "message", str_c(why));
    if (retry_after_ms > 0)
        jsonw_key_int(&b, "retry_after_ms", retry_after_ms);
    jsonw_close(&b, '}');
    jsonw_close(&b, '}');
    text = buf_get(&b);
    queue_text(s, &text, 1);
    buf_deinit(&b);
    count(s->g, METRIC_ERRORS, 1);
}

void session_reply(struct session *s, struct str re, const struct request *r)
{
    struct str id = re.len ? re : STR("null");

    if (r->code != CODE_OK) {
        queue_error(s, id, r->code, r->why, r->retry_after_ms);
    } else {
        struct str ok = r->out.len ? buf_get(&r->out) : STR("{}");
        const struct str parts[] = {STR("{\"re\":"), id, STR(",\"ok\":"), ok, STR("}")};

        queue_text(s, parts, sizeof parts / sizeof parts[0]);
    }
}

void session_malformed(struct session *s)
{
    count(s->g, METRIC_BAD_FRAMES, 1);
    if (++s->malformed >= MALFORMED_MAX)
        session_close(s, CLOSE_MALFORMED);
}

void session_refuse_frame(struct session *s, enum code code, const char *why)
{
    queue_error(s, STR("null"), code, why, 0);
    session_malformed(s);
}

static void done(struct request *r);
static void read_done(struct request *r);

static bool is_read(const struct request *r) { return op_table[r->op].rate == RATE_READ; }

static void start(struct session *s, struct request *r)
{
    if (r->op == OP_sync)
        s->muted = false; /* before it is asked, so that nothing falls between the answer and the events */
    if (is_read(r)) {
        s->reads++;
        r->done = read_done;
    }
    r->actor = (struct actor){s->user, s->device};
    gateway_ask(s->g, r);
}

static void wait_for_turn(struct session *s, struct request *r)
{
    r->next = NULL;
    if (s->waiting)
        s->waiting_last->next = r;
    else
        s->waiting = r;
    s->waiting_last = r;
}

/* A read may be answered before its asking returns, and its end asks for the next: only the outermost goes on, else as
 * many calls would nest as reads wait. */
void session_start_waiting(struct session *s)
{
    if (s->starting)
        return;
    s->starting = true;
    while (s->waiting && s->state == SESSION_LIVE && s->reads < READS_MAX &&
           s->out.reply_bytes + s->in_lws < UNSENT_MAX) {
        struct request *r = s->waiting;

        s->waiting = r->next;
        start(s, r);
    }
    s->starting = false;
}

void session_drop_waiting(struct session *s)
{
    while (s->waiting) {
        struct request *r = s->waiting;

        s->waiting = r->next;
        done(r);
    }
}

/* Every request of a session ends here, once, whether a service or this file answered it. */
static void done(struct request *r)
{
    struct ask *ask = r->asker;
    struct session *s = ask->s;

    s->pending--;
    s->pending_bytes -= ask->bytes;
    if (session_is_open(s)) {
        session_reply(s, ask->re, r);
        if (s->g->draining && s->pending == 0)
            session_close(s, CLOSE_DRAINING);
        session_pace(s);
    }
    request_free(r);
    session_unref(s);
}

static void read_done(struct request *r)
{
    struct session *s = ((struct ask *)r->asker)->s;

    s->reads--;
    s->refs++; /* to look at it once more */
    done(r);
    if (session_is_open(s))
        session_start_waiting(s);
    session_unref(s);
}

static bool must_wait(struct session *s, struct request *r, int64_t wait)
{
    if (wait == 0)
        return false;
    request_fail(r, CODE_RATE_LIMITED, "too many requests of this kind");
    r->retry_after_ms = wait;
    if (++s->refused >= REFUSED_MAX)
        session_close(s, CLOSE_ABUSE);
    return true;
}

static bool is_limited(struct session *s, struct request *r, enum op_rate rate)
{
    return must_wait(s, r, gateway_limit(s->g, rate, &s->user, sizeof s->user));
}

/* What could not be understood. Invalid UTF-8 is the transport's business, not the grammar's, and ends the connection.
 * A stranger hears nothing about ops and their arguments. */
static void fault(struct session *s, struct request *r, enum code code, const struct frame_head *head, struct str text)
{
    bool stranger = s->state != SESSION_LIVE, is_auth = str_eq(head->op_name, STR("auth"));
    bool not_a_request = code == CODE_BAD_JSON || head->re.len == 0;

    if (code == CODE_BAD_JSON && !str_is_utf8(text))
        session_close(s, CLOSE_UTF8);
    r->code = code;
    if (stranger && !not_a_request && !is_auth)
        request_fail(r, CODE_UNAUTHENTICATED, "auth comes first");
    else if (!stranger)
        is_limited(s, r, RATE_READ); /* it was work, too; then the answer is that */
    done(r);
    if ((stranger || not_a_request) && session_is_open(s))
        session_malformed(s);
}

/* True when somebody else answers. */
static bool forward(struct session *s, struct request *r)
{
    if (!(op_table[r->op].via & VIA_WS)) {
        request_fail(r, CODE_UNKNOWN_OP, "this op is an HTTP call");
    } else if (is_limited(s, r, op_table[r->op].rate) || must_wait(s, r, gateway_limit_members(s->g, r, s->user))) {
        return false;
    } else if (r->op == OP_ping) {
        request_ok(r);
    } else if (!gateway_is_ready(s->g)) {
        request_fail(r, CODE_UNAVAILABLE, "the server is starting or draining");
    } else {
        if (is_read(r)) {
            wait_for_turn(s, r);
            session_start_waiting(s);
        } else {
            start(s, r);
        }
        return true;
    }
    return false;
}

void session_request(struct session *s, struct str text)
{
    struct request *r = request_new_from(&s->g->requests, done, NULL);
    struct ask *ask = arena_alloc(&r->arena, sizeof *ask);
    struct frame_head head = {0};
    enum code code = args_parse_frame(arena_dup(&r->arena, text), r, &head);

    *ask = (struct ask){s, head.re, (uint32_t)text.len};
    r->asker = ask;
    s->refs++;
    s->pending++;
    s->pending_bytes += ask->bytes;
    count(s->g, METRIC_REQUESTS, 1);
    if (code != CODE_OK)
        fault(s, r, code, &head, text);
    else if (r->op == OP_auth)
        session_auth(s, r);
    else if (s->state != SESSION_LIVE)
        fault(s, r, CODE_UNAUTHENTICATED, &head, text);
    else if (!forward(s, r))
        done(r);
    session_pace(s);
}
