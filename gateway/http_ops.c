#include "base/process.h"
#include "gateway/http.h"
#include "proto/auth.h"

static void answer_text(struct http *h, int status, const char *type, struct str body, bool etag)
{
    struct reply r = {.status = status, .type = type, .body = body, .etag = etag};

    http_answer(h, &r);
}

static void health(struct http *h) { answer_text(h, 200, "text/plain; charset=utf-8", STR("ok\n"), false); }

static void readiness(struct http *h)
{
    if (gateway_is_ready(h->g))
        answer_text(h, 200, "text/plain; charset=utf-8", STR("ready\n"), false);
    else
        http_refuse(h, CODE_UNAVAILABLE, 0, h->g->draining ? "draining" : "starting", 1000, NULL);
}

static void metrics(struct http *h)
{
    struct buf text = {0};

    if (!h->peer.loopback || h->by_proxy) {
        http_refuse(h, CODE_FORBIDDEN, 0, "metrics are for the loopback address, without a proxy", 0, NULL);
        return;
    }
    metrics_print(h->g->conf.metrics, &text);
    process_print(&text);
    answer_text(h, 200, "text/plain; version=0.0.4; charset=utf-8", buf_get(&text), false);
    buf_deinit(&text);
}

static void openapi(struct http *h)
{
    struct reply r = {.status = 200,
                      .type = "application/json",
                      .body = buf_get(&h->g->openapi),
                      .packed = buf_get(&h->g->openapi_packed),
                      .etag = true};

    http_answer(h, &r);
}

/* Of one who did not ask for the upgrade: ws.c sees those who did. */
static void websocket(struct http *h)
{
    http_refuse(h, CODE_BAD_REQUEST, 426, "this is where WebSockets are opened", 0,
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
}

static const struct page {
    const char *path;
    void (*fn)(struct http *);
} pages[] = {{"/healthz", health},
             {"/readyz", readiness},
             {"/metrics", metrics},
             {"/v1/openapi.json", openapi},
             {"/v1/ws", websocket}};

static bool run_page(struct http *h)
{
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        if (!str_eq(h->path, str_c(pages[i].path)))
            continue;
        if (h->method == METHOD_GET)
            pages[i].fn(h);
        else
            http_refuse(h, CODE_UNKNOWN_OP, 405, "this is only read", 0, "Allow: GET\r\n");
        return true;
    }
    return false;
}

/* False: answered. */
static bool find_route(struct http *h)
{
    char allow[64], line[80];

    switch (route_find(h->method, h->path, &h->match, allow)) {
    case ERR_OK:
        return true;
    case ERR_UNSUPPORTED:
        snprintf(line, sizeof line, "Allow: %s\r\n", allow);
        http_refuse(h, CODE_UNKNOWN_OP, 405, "this path has other methods", 0, line);
        return false;
    default:
        http_refuse(h, CODE_NOT_FOUND, 0, "no such path", 0, NULL);
        return false;
    }
}

static struct request *new_request(struct http *h, enum op op, void (*done)(struct request *))
{
    struct request *r = request_new(done, h);

    r->op = op;
    h->refs++;
    return r;
}

static void finish(struct http *h, struct request *r)
{
    request_free(r);
    http_unref(h);
}

/* Profiles are fetched again and again and change rarely. */
static bool is_profile(enum op op) { return op == OP_user_me || op == OP_user_get || op == OP_user_find; }

static void answered(struct request *r)
{
    struct http *h = r->asker;
    struct reply reply = {.status = op_table[r->op].status};

    if (!h->wsi) {
        finish(h, r);
        return;
    }
    if (r->code != CODE_OK) {
        http_refuse(h, r->code, 0, r->why, r->retry_after_ms, NULL);
    } else {
        reply.type = reply.status == 204 ? NULL : "application/json";
        reply.body = r->out.len ? buf_get(&r->out) : STR("{}");
        reply.etag = is_profile(r->op);
        http_answer(h, &reply);
    }
    finish(h, r);
}

/* Before the body is looked at: one that is refused for what it holds has cost as much as another. Sign-ups and logins
 * that pass are counted once more where they are done, for all reactors together and by name. */
static int64_t wait_for_kind(struct http *h)
{
    unsigned what = op_table[h->match.op].rate;

    return what == RATE_LOGIN ? gateway_limit(h->g, what, h->peer.b, sizeof h->peer.b)
                              : gateway_limit(h->g, what, &h->actor.user, sizeof h->actor.user);
}

static enum code parse(struct http *h, struct request *r)
{
    int64_t wait = wait_for_kind(h);
    enum code code;

    if (!wait) {
        code = args_parse_http(&h->match, h->query, buf_get(&h->body), h->idempotency_key, r);
        wait = code == CODE_OK ? gateway_limit_members(h->g, r, h->actor.user) : 0;
        if (!wait)
            return code;
    }
    request_fail(r, CODE_RATE_LIMITED, "too many requests of this kind");
    r->retry_after_ms = wait;
    return CODE_RATE_LIMITED;
}

/* The op itself, once it is known who asks. */
static void run_op(struct http *h)
{
    struct request *r = new_request(h, h->match.op, answered);
    enum code code = parse(h, r);

    r->actor = h->actor;
    memcpy(r->from, h->peer.b, sizeof r->from);
    count(h->g, METRIC_REQUESTS, 1);
    if (code == CODE_OK) {
        gateway_ask(h->g, r);
    } else {
        r->code = code;
        answered(r);
    }
}

static void authenticated(struct request *r)
{
    struct http *h = r->asker;
    const struct auth_result *who = r->result;

    if (h->wsi && r->code == CODE_OK) {
        h->actor = (struct actor){who->user, who->device};
        gateway_known(h->g, &h->conn);
        run_op(h);
    } else if (h->wsi) {
        http_refuse(h, r->code, 0, r->why, r->retry_after_ms, NULL);
    }
    finish(h, r);
}

static void authenticate(struct http *h)
{
    struct request *r = new_request(h, OP_auth, authenticated);

    r->args = arena_alloc(&r->arena, sizeof *r->args);
    r->args->auth.token = h->token;
    r->args->auth.has_token = true;
    gateway_ask(h->g, r);
}

void http_run(struct http *h)
{
    if (run_page(h) || !find_route(h))
        return;
    if (!gateway_is_ready(h->g))
        http_refuse(h, CODE_UNAVAILABLE, 0, "the server is starting or draining", 1000, NULL);
    else if (op_table[h->match.op].who == WHO_ANYONE)
        run_op(h);
    else if (h->bad_token || !h->token.len)
        http_refuse(h, CODE_UNAUTHENTICATED, 0, "a bearer token is needed", 0, NULL);
    else
        authenticate(h);
}
