/* From a token to a listed session, without a gap in either direction (proto/auth.h):
 *
 *   ask who the token is ─► list the session, join the bus ─► has any token died since the look-up began?
 *        ▲                                                          │ yes              │ no
 *        └──────────────────────────────────────────────────────────┘                  └─► LIVE, and the answer
 *
 * What is committed after the join reaches the session; a token that dies after the join closes it; one that died
 * before has moved the count of revocations. Until LIVE nothing is written to the session and nothing is read from it.
 */
#include "gateway/session.h"
#include "proto/auth.h"
#include "proto/jsonw.h"

/* The body of the answer, from the user object that the look-up wrote. */
static void print_welcome(const struct session *s, struct str user, struct buf *b)
{
    const struct gateway_conf *c = &s->g->conf;

    jsonw_open(b, '{');
    jsonw_key(b, "user");
    jsonw_raw(b, user);
    jsonw_key(b, "device");
    jsonw_device(b, s->device);
    jsonw_key_int(b, "server_time", env_now_ms(c->env));
    jsonw_key_str(b, "epoch", str_c(c->epoch));
    jsonw_key_int(b, "heartbeat_ms", c->heartbeat_ms);
    jsonw_key(b, "limits");
    jsonw_open(b, '{');
    jsonw_key_int(b, "frame", MESSAGE_MAX);
    jsonw_key_int(b, "content", 65536);
    jsonw_key_int(b, "batch", BATCH_MAX);
    jsonw_key_int(b, "pending_requests", PENDING_MAX);
    jsonw_key_int(b, "pending_bytes", PENDING_BYTES_MAX);
    jsonw_key_int(b, "unsent_bytes", UNSENT_MAX);
    jsonw_key_int(b, "events", OUTQ_ENTRIES_MAX);
    jsonw_key_int(b, "event_bytes", OUTQ_BYTES_MAX);
    jsonw_key_int(b, "devices", DEVICES_MAX);
    gateway_print_rates(s->g, b);
    jsonw_close(b, '}');
    jsonw_close(b, '}');
}

/* The device's older sessions, here and on other reactors, are closed. Two that come at the same moment each announce
 * themselves; `born`, from the clock that all threads share, decides between them. */
static void replace_older(struct session *s)
{
    struct gateway *g = s->g;
    uint64_t now = env_mono_us(g->conf.env) * BUS_PORTS_MAX + port_index(g->conf.port);
    struct delivery d = {
        .class = DELIVER_CLOSE,
        .only_user = s->user,
        .only_device = s->device,
        .close_code = CLOSE_REPLACED,
    };

    s->born = now > g->last_born ? now : g->last_born + BUS_PORTS_MAX;
    g->last_born = s->born;
    d.slot = s->born;
    bus_emit(g->conf.port, &d, NULL, NULL);
}

static void over(struct request *r)
{
    struct ask *ask = r->asker;
    struct session *s = ask->s;

    s->pending--;
    s->pending_bytes -= ask->bytes;
    request_free(r);
    session_unref(s);
}

static void admit(struct session *s, struct request *r)
{
    const struct ask *ask = r->asker;
    struct buf welcome = {0};

    gateway_known(s->g, &s->conn);
    replace_older(s);
    timer_set(s->g->conf.loop, &s->timer, (uint64_t)s->g->conf.heartbeat_ms);
    print_welcome(s, buf_get(&r->out), &welcome);
    s->state = SESSION_LIVE;
    if (s->by_header) {
        s->held = welcome.p;
        s->held_len = (uint32_t)welcome.len;
    } else {
        buf_deinit(&r->out);
        r->out = welcome;
        session_reply(s, ask->re, r);
    }
    session_touch(s);
    over(r);
    session_pace(s);
}

static void list_once(struct session *s, const struct auth_result *who)
{
    if (link_is_in(&s->by_user))
        return;
    s->user = who->user;
    s->device = who->device;
    if (s->state == SESSION_HELD) { /* the 101 goes before any event */
        memcpy(outq_reply(&s->out, s->held_len), s->held, s->held_len);
        mem_free(s->held);
        s->held = NULL;
    }
    session_list(s);
}

static void refuse(struct session *s, struct request *r)
{
    const struct ask *ask = r->asker;
    bool dead = r->code == CODE_UNAUTHENTICATED;

    session_unlist(s);
    outq_drop_events(&s->out);
    if (s->state == SESSION_HELD) {
        session_close(s, dead ? CLOSE_UNAUTHENTICATED : CLOSE_DRAINING);
    } else {
        s->state = SESSION_NEW;
        session_reply(s, ask->re, r);
        if (dead)
            session_close(s, CLOSE_UNAUTHENTICATED);
    }
    over(r);
    session_pace(s);
}

static void checked(struct request *r)
{
    const struct ask *ask = r->asker;
    const struct auth_result *who = r->result;
    struct session *s = ask->s;

    if (!session_is_open(s)) {
        over(r);
    } else if (r->code != CODE_OK) {
        refuse(s, r);
    } else {
        list_once(s, who);
        if (atomic_load(s->g->conf.revocations) == who->revocations) {
            admit(s, r);
        } else {
            buf_clear(&r->out);
            r->result = NULL;
            gateway_ask(s->g, r);
        }
    }
}

static void check(struct session *s, struct request *r)
{
    r->done = checked;
    session_pace(s);
    if (atomic_load(s->g->conf.ready)) {
        gateway_ask(s->g, r);
    } else {
        request_fail(r, CODE_UNAVAILABLE, "the server is starting");
        checked(r);
    }
}

/* After a token in the header, the first auth without one sets batch and gets the answer that is waiting. */
static bool give_welcome(struct session *s, struct request *r)
{
    const struct args_auth *a = &r->args->auth;

    if (s->state != SESSION_LIVE || !s->by_header || !s->held || a->has_token)
        return false;
    s->batch = a->has_batch && a->batch;
    buf_add(&r->out, s->held, s->held_len);
    mem_free(s->held);
    s->held = NULL;
    request_ok(r);
    return true;
}

void session_auth(struct session *s, struct request *r)
{
    const struct args_auth *a = &r->args->auth;

    if (s->state == SESSION_NEW && a->has_token) {
        s->batch = a->has_batch && a->batch;
        s->state = SESSION_CHECKING;
        check(s, r);
        return;
    }
    if (!give_welcome(s, r)) {
        if (s->state == SESSION_NEW)
            request_fail(r, CODE_BAD_REQUEST, "token: missing");
        else
            request_fail(r, CODE_BAD_REQUEST, "this connection is authenticated already");
    }
    r->done(r);
    if (s->state == SESSION_NEW)
        session_malformed(s); /* a stranger's, who may not go on with that */
}

void session_auth_header(struct session *s, struct str token)
{
    struct request *r = request_new(checked, NULL);
    struct ask *ask = arena_alloc(&r->arena, sizeof *ask);

    *ask = (struct ask){.s = s};
    r->asker = ask;
    r->op = OP_auth;
    r->args = arena_alloc(&r->arena, sizeof *r->args);
    r->args->auth.token = arena_dup(&r->arena, token);
    r->args->auth.has_token = true;
    s->by_header = true;
    s->refs++;
    s->pending++;
    check(s, r);
}
