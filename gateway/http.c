#include "gateway/http.h"
#include "gateway/header.h"
#include "proto/route.h"
#include <libwebsockets.h>
#include <sys/socket.h>

enum { HEADER_MAX = 1024, ANSWER_DEADLINE_MS = 60 * 1000, WRITE_DEADLINE_MS = 30 * 1000 };

static void deadline(struct timer *t)
{
    struct http *h = container_of(t, struct http, timer);

    if (h->state == HTTP_BODY) {
        h->close = h->unread = true;
        http_refuse(h, CODE_BAD_REQUEST, 408, "the body did not arrive in time", 0, NULL);
    } else if (h->wsi) {
        lws_set_timeout(h->wsi, PENDING_TIMEOUT_KILLED_BY_PARENT, LWS_TO_KILL_SYNC);
    }
}

static enum http_method method_of(struct lws *wsi, bool *is_head)
{
    char *uri;
    int len, m = lws_http_get_uri_and_method(wsi, &uri, &len);

    *is_head = m == LWSHUMETH_HEAD;
    switch (m) {
    case LWSHUMETH_GET:
    case LWSHUMETH_HEAD:
        return METHOD_GET;
    case LWSHUMETH_POST:
        return METHOD_POST;
    case LWSHUMETH_PUT:
        return METHOD_PUT;
    case LWSHUMETH_PATCH:
        return METHOD_PATCH;
    case LWSHUMETH_DELETE:
        return METHOD_DELETE;
    default:
        return METHOD_COUNT;
    }
}

/* A proxy on this host has the loopback address too, and says so by one of these, if its operator lets it. */
static bool came_by_proxy(struct lws *wsi)
{
    return lws_hdr_total_length(wsi, WSI_TOKEN_X_FORWARDED_FOR) > 0 ||
           lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_VIA) > 0 ||
           lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_X_REAL_IP) > 0 || lws_hdr_custom_length(wsi, "forwarded:", 10) >= 0;
}

static void read_head(struct http *h, struct str path)
{
    struct lws *wsi = h->wsi;
    struct str connection = header_get(wsi, WSI_TOKEN_CONNECTION, HEADER_MAX, &h->arena);
    struct str version = header_get(wsi, WSI_TOKEN_HTTP, HEADER_MAX, &h->arena);

    h->method = method_of(wsi, &h->is_head);
    h->path = arena_dup(&h->arena, path);
    h->query = header_query(wsi, &h->arena);
    h->bad_token = !header_bearer(wsi, &h->arena, &h->token);
    /* Whole, however long: one that counted as absent would let a retry happen twice. */
    h->idempotency_key = header_custom(wsi, STR("idempotency-key:"), HEAD_MAX, &h->arena);
    h->if_none_match = header_get(wsi, WSI_TOKEN_HTTP_IF_NONE_MATCH, HEADER_MAX, &h->arena);
    h->by_proxy = came_by_proxy(wsi);
    h->gzip = reply_takes_gzip(header_get(wsi, WSI_TOKEN_HTTP_ACCEPT_ENCODING, HEADER_MAX, &h->arena));
    h->close = h->g->draining || header_has_word(connection, "close") ||
               (str_eq(version, STR("HTTP/1.0")) && !header_has_word(connection, "keep-alive"));
    if (!peer_of(lws_get_socket_fd(wsi), &h->peer))
        h->close = true;
}

/* How much body comes. -1: it was refused. libwebsockets waits for 100 MB behind a POST that says nothing: such a
 * connection can't be used again. */
static int64_t body_length(struct http *h)
{
    struct str length = header_get(h->wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH, 32, &h->arena);
    bool chunked = lws_hdr_total_length(h->wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) > 0;
    bool said = lws_hdr_total_length(h->wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) > 0;
    int64_t n = 0;

    if (chunked) {
        h->close = h->unread = true;
        http_refuse(h, CODE_BAD_REQUEST, 411, "a body needs a Content-Length", 0, NULL);
        return -1;
    }
    if (said && !str_to_i64(length, 0, INT64_MAX, &n)) {
        h->close = h->unread = true;
        http_refuse(h, CODE_BAD_REQUEST, 400, "Content-Length is not a number", 0, NULL);
        return -1;
    }
    if (n > BODY_MAX) {
        h->close = h->unread = true;
        http_refuse(h, CODE_TOO_LARGE, 413, "the body is larger than 128 KiB", 0, NULL);
        return -1;
    }
    if (!said && (h->method == METHOD_POST || h->method == METHOD_PUT || h->method == METHOD_PATCH))
        h->close = true;
    return n;
}

/* libwebsockets does not answer Expect, and curl waits a second for it. */
static void welcome_body(struct http *h)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct str expect = header_get(h->wsi, WSI_TOKEN_HTTP_EXPECT, HEADER_MAX, &h->arena);

    if (header_has_word(expect, "100-continue"))
        lws_write(h->wsi, (unsigned char *)(uintptr_t)text, sizeof text - 1, LWS_WRITE_HTTP);
}

static void whole(struct http *h)
{
    h->state = HTTP_WAITING;
    timer_set(h->g->conf.loop, &h->timer, ANSWER_DEADLINE_MS);
    lws_rx_flow_control(h->wsi, 0);
    http_run(h);
}

int http_start(struct gateway *g, struct lws *wsi, struct visit *v, struct str path)
{
    struct http *h = mem_new(struct http);
    int64_t length;

    h->conn = (struct conn){CONN_HTTP, v};
    if (v->requests < STRANGER_REQUESTS)
        v->requests++;
    h->refs = 1;
    h->wsi = wsi;
    h->g = g;
    h->timer.fn = deadline;
    list_push(&g->https, &h->all);
    lws_set_opaque_user_data(wsi, h);
    lws_set_timeout(wsi, NO_PENDING_TIMEOUT, 0); /* ours are cheaper, and can't be kept alive by a dripping body */
    timer_set(g->conf.loop, &h->timer, HTTP_DEADLINE_MS);
    count(g, METRIC_HTTP_REQUESTS, 1);
    read_head(h, path);
    length = body_length(h);
    if (length == 0) {
        whole(h);
    } else if (length > 0) {
        welcome_body(h);
    }
    return 0;
}

/* libwebsockets (4.1.6) hands over the head once more as the body when a request with a body was pipelined behind
 * another one: such a connection ends, and the client sends it anew. */
static bool is_head_again(const struct http *h, struct str piece)
{
    struct str method = str_c(h->method < METHOD_COUNT ? method_text(h->method) : "");

    return h->body.len == 0 && method.len && str_starts(piece, method) &&
           str_starts(str_from(piece, method.len), STR(" /"));
}

int http_body(struct http *h, struct str piece)
{
    if (h->state == HTTP_BODY && is_head_again(h, piece))
        return -1;
    if (h->state == HTTP_BODY && h->body.len + piece.len <= BODY_MAX) {
        count(h->g, METRIC_BYTES_IN, (int64_t)piece.len);
        buf_add(&h->body, piece.p, piece.len);
    }
    return 0;
}

void http_answer(struct http *h, struct reply *r)
{
    bool was_stopped = h->state == HTTP_WAITING;

    if (!h->wsi || h->state >= HTTP_ANSWERED)
        return;
    r->is_head = h->is_head;
    r->close = h->close = h->close || h->g->draining || gateway_is_strange_for_long(h->g, &h->conn);
    r->gzip = h->gzip;
    r->if_none_match = h->if_none_match;
    reply_print(r, &h->out);
    h->state = HTTP_ANSWERED;
    timer_set(h->g->conf.loop, &h->timer, WRITE_DEADLINE_MS);
    if (was_stopped)
        lws_rx_flow_control(h->wsi, 1); /* or libwebsockets would not look at writability either */
    lws_callback_on_writable(h->wsi);
}

void http_refuse(struct http *h, enum code code, int status, const char *detail, int64_t retry_after_ms,
                 const char *headers)
{
    struct buf body = {0};
    char lines[160];
    struct reply r = {.status = status ? status : code_status(code), .type = "application/problem+json"};

    reply_problem(&body, code, status, detail, retry_after_ms);
    r.body = buf_get(&body);
    r.headers = headers;
    if (r.status == 401) {
        r.headers = "WWW-Authenticate: Bearer\r\n";
    } else if (r.status == 429 || r.status == 503) {
        snprintf(lines, sizeof lines, "Retry-After: %lld\r\n",
                 (long long)(retry_after_ms > 1000 ? (retry_after_ms + 999) / 1000 : 1));
        r.headers = lines;
    }
    count(h->g, METRIC_ERRORS, 1);
    http_answer(h, &r);
    buf_deinit(&body);
}

/* The peer reads the end of the stream, and its own unread bytes don't make the kernel reset what it was sent. */
static int linger(struct http *h)
{
    h->state = HTTP_LINGER;
    shutdown(lws_get_socket_fd(h->wsi), SHUT_WR);
    timer_set(h->g->conf.loop, &h->timer, LINGER_MS);
    return 0;
}

static int next_request(struct http *h)
{
    struct lws *wsi = h->wsi;

    lws_set_opaque_user_data(wsi, h->conn.visit);
    http_gone(h);
    return lws_http_transaction_completed(wsi) ? -1 : 0;
}

static int write_response(struct http *h)
{
    if (h->state != HTTP_ANSWERED)
        return 0;
    if (lws_write(h->wsi, (unsigned char *)h->out.p, h->out.len, LWS_WRITE_HTTP) < 0)
        return -1;
    count(h->g, METRIC_WRITES, 1);
    count(h->g, METRIC_BYTES_OUT, (int64_t)h->out.len);
    buf_deinit(&h->out);
    h->state = HTTP_SENT;
    return 0;
}

/* libwebsockets may say it again, and in one place without end, while bytes of a next request wait behind a body. Such
 * a client gets its answer if there is one, and has to connect anew. */
int http_body_done(struct http *h)
{
    if (h->state != HTTP_BODY) {
        write_response(h);
        return -1;
    }
    whole(h);
    return 0;
}

int http_writable(struct http *h)
{
    if (write_response(h) != 0)
        return -1;
    if (h->state != HTTP_SENT || lws_partial_buffered(h->wsi))
        return 0; /* libwebsockets writes its rest and calls again */
    return h->close ? linger(h) : next_request(h);
}

void http_unref(struct http *h)
{
    if (--h->refs)
        return;
    arena_deinit(&h->arena);
    buf_deinit(&h->body);
    buf_deinit(&h->out);
    mem_free(h);
}

void http_gone(struct http *h)
{
    h->wsi = NULL;
    h->state = HTTP_GONE;
    list_remove(&h->all);
    timer_stop(&h->timer);
    gateway_one_gone(h->g);
    http_unref(h);
}
