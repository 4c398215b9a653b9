/* What libwebsockets tells, translated; and the way an upgrade goes:
 *
 *   CONFIRM_UPGRADE  the head is read: path, version, subprotocol, shape of the token. Here it can still be refused.
 *   FILTER_PROTOCOL_CONNECTION  the session is made
 *   ADD_HEADERS      libwebsockets has printed its 101. With a token in the head it must not be sent before somebody
 *                    looked the token up, and nobody can be waited for here: the text is copied away, and the end of
 * the response is moved back to its start, so that libwebsockets sends nothing and believes it did. ESTABLISHED reading
 * is stopped and the token looked up; then the 101 is sent, or a 401 in its place. */
#include "gateway/ws.h"
#include "gateway/header.h"
#include "gateway/http.h"
#include "gateway/session.h"
#include <strings.h>

enum { HEADER_MAX = 512, RESPONSE_MAX = 1024 };

static struct gateway *gateway_of(struct lws *wsi) { return lws_context_user(lws_get_context(wsi)); }

static struct session *session_of(struct lws *wsi)
{
    struct conn *c = lws_get_opaque_user_data(wsi);

    return c && c->kind == CONN_SESSION ? container_of(c, struct session, conn) : NULL;
}

static struct http *http_of(struct lws *wsi)
{
    struct conn *c = lws_get_opaque_user_data(wsi);

    return c && c->kind == CONN_HTTP ? container_of(c, struct http, conn) : NULL;
}

static struct visit *visit_of(struct lws *wsi)
{
    struct conn *c = lws_get_opaque_user_data(wsi);

    return c ? c->visit : NULL;
}

/* Answers in place of the upgrade; the result makes libwebsockets hang up. */
static int refuse_with(struct lws *wsi, struct reply *r, enum code code, const char *detail)
{
    struct buf body = {0}, text = {0};

    reply_problem(&body, code, r->status, detail, 0);
    r->type = "application/problem+json";
    r->body = buf_get(&body);
    r->close = true;
    reply_print(r, &text);
    lws_write(wsi, (unsigned char *)text.p, text.len, LWS_WRITE_HTTP);
    buf_deinit(&body);
    buf_deinit(&text);
    return -1;
}

static int refuse(struct lws *wsi, enum code code, const char *detail)
{
    struct buf text = {0};

    reply_refusal(&text, code, detail);
    lws_write(wsi, (unsigned char *)text.p, text.len, LWS_WRITE_HTTP);
    buf_deinit(&text);
    return -1;
}

static int check_websocket(struct lws *wsi, struct arena *a)
{
    char *uri = NULL;
    int len = 0, method = lws_http_get_uri_and_method(wsi, &uri, &len);
    struct str subprotocols = header_get(wsi, WSI_TOKEN_PROTOCOL, HEADER_MAX, a), token;

    if (method != LWSHUMETH_GET || !str_eq(str_of(uri, (size_t)len), STR("/v1/ws")))
        return refuse(wsi, CODE_NOT_FOUND, "WebSockets are at /v1/ws");
    if (!str_eq(header_get(wsi, WSI_TOKEN_VERSION, HEADER_MAX, a), STR("13")))
        return refuse_with(wsi, &(struct reply){.status = 426, .headers = "Sec-WebSocket-Version: 13\r\n"},
                           CODE_BAD_REQUEST, "the WebSocket version is 13");
    if (lws_hdr_total_length(wsi, WSI_TOKEN_PROTOCOL) > 0 && !header_has_word(subprotocols, "parley.v1"))
        return refuse(wsi, CODE_BAD_REQUEST, "the subprotocol is parley.v1");
    if (lws_hdr_total_length(wsi, WSI_TOKEN_KEY) <= 0 || lws_hdr_total_length(wsi, WSI_TOKEN_HOST) <= 0)
        return refuse(wsi, CODE_BAD_REQUEST, "Sec-WebSocket-Key and Host are needed");
    if (!header_bearer(wsi, a, &token))
        return refuse(wsi, CODE_UNAUTHENTICATED, "Authorization is not a bearer token");
    if (gateway_of(wsi)->draining)
        return refuse(wsi, CODE_UNAVAILABLE, "draining");
    return 0;
}

static int confirm_upgrade(struct lws *wsi, char *to)
{
    struct arena a = {0};
    int rc;

    if (strcasecmp(to, "websocket") != 0) {
        to[0] = '-'; /* h2c: an offer that may be ignored. Spoiled so, libwebsockets goes on with plain HTTP. */
        return 0;
    }
    rc = check_websocket(wsi, &a);
    arena_deinit(&a);
    return rc;
}

static int accept_upgrade(struct lws *wsi)
{
    bool held = lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_AUTHORIZATION) > 0;

    struct session *s = session_new(gateway_of(wsi), wsi, held);

    s->conn.visit = visit_of(wsi);
    lws_set_opaque_user_data(wsi, s);
    return 0;
}

/* Where the response starts: libwebsockets says only where it ends. */
static char *find_start(char *end, const char *buffer)
{
    static const char line[] = "HTTP/1.1 101 ";
    size_t n = sizeof line - 1;

    for (char *p = end - n; p > buffer + 2 && end - p < RESPONSE_MAX; p--) {
        if (memcmp(p, line, n) == 0)
            return p;
    }
    return NULL;
}

static int hold_response(struct lws *wsi, struct session *s, struct lws_process_html_args *args)
{
    char *end = args->p, *start;
    struct buf text = {0};

    if (s->state != SESSION_HELD)
        return 0;
    /* The room behind the response ends where libwebsockets' buffer does: that is how its beginning is known. */
    start = find_start(end, args->p + args->max_len - SERVICE_BUFFER);
    if (!start)
        return refuse(wsi, CODE_INTERNAL, "the upgrade failed");
    buf_add(&text, start, (size_t)(end - start));
    buf_str(&text, STR("\r\n"));
    s->held = text.p;
    s->held_len = (uint32_t)text.len;
    args->p = start - 2; /* it adds an empty line, and has nothing left to send */
    return 0;
}

static int established(struct lws *wsi, struct session *s)
{
    struct arena a = {0};
    struct str token;

    if (s->state == SESSION_HELD && header_bearer(wsi, &a, &token))
        session_auth_header(s, token);
    arena_deinit(&a);
    session_opened(s);
    return 0;
}

static int on_session(struct lws *wsi, struct session *s, enum lws_callback_reasons reason, void *in)
{
    switch (reason) {
    case LWS_CALLBACK_ADD_HEADERS:
        return hold_response(wsi, s, in);
    case LWS_CALLBACK_ESTABLISHED:
        return established(wsi, s);
    case LWS_CALLBACK_SERVER_WRITEABLE:
        session_writable(s);
        return 0;
    case LWS_CALLBACK_CLOSED:
    case LWS_CALLBACK_CLOSED_HTTP:
    case LWS_CALLBACK_WSI_DESTROY:
        lws_set_opaque_user_data(wsi, s->conn.visit);
        session_gone(s);
        return 0;
    default:
        return 0;
    }
}

static int on_http(struct lws *wsi, struct http *h, enum lws_callback_reasons reason, void *in, size_t len)
{
    switch (reason) {
    case LWS_CALLBACK_HTTP_BODY:
        return http_body(h, str_of(in, len));
    case LWS_CALLBACK_HTTP_BODY_COMPLETION:
        return http_body_done(h);
    case LWS_CALLBACK_HTTP_WRITEABLE:
        return http_writable(h);
    case LWS_CALLBACK_CLOSED_HTTP:
    case LWS_CALLBACK_WSI_DESTROY:
        lws_set_opaque_user_data(wsi, h->conn.visit);
        http_gone(h);
        return 0;
    default:
        return 0;
    }
}

static int on_visit(struct lws *wsi, enum lws_callback_reasons reason, void *in, size_t len)
{
    switch (reason) {
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
        return confirm_upgrade(wsi, in);
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
        return accept_upgrade(wsi);
    case LWS_CALLBACK_HTTP:
        return http_start(gateway_of(wsi), wsi, visit_of(wsi), str_of(in, len));
    default:
        return 0;
    }
}

int ws_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    struct session *s = session_of(wsi);
    struct http *h = http_of(wsi);
    struct visit *v = visit_of(wsi);
    int rc;

    if (reason == LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS)
        return gateway_tls_ready(gateway_of(wsi), user);
    if (!v)
        return 0; /* a connection that is just being taken over, or one of libwebsockets' own */
    if (s)
        rc = on_session(wsi, s, reason, in);
    else if (h)
        rc = on_http(wsi, h, reason, in, len);
    else
        rc = on_visit(wsi, reason, in, len);
    if (reason == LWS_CALLBACK_WSI_DESTROY) {
        lws_set_opaque_user_data(wsi, NULL);
        gateway_visit_over(gateway_of(wsi), v);
    }
    return rc;
}
