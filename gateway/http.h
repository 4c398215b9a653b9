/* http: one HTTP request, from its head to the end of its response.
 *
 *   BODY ──whole──► WAITING ──answered──► ANSWERED ──written──► SENT ──► next request of the connection,
 *                                                                         or LINGER until the peer has read it
 *
 * While WAITING nothing is read from the connection: libwebsockets would spin on what a pipelining client sent. A
 * response is written when libwebsockets says that the connection is writable.
 * Memory: counted by `refs`: one for the connection, one for a request under way. */
#pragma once
#include "gateway/inside.h"
#include "gateway/reply.h"
#include "proto/args.h"

enum { BODY_MAX = 128 * 1024 };
enum http_state { HTTP_BODY, HTTP_WAITING, HTTP_ANSWERED, HTTP_SENT, HTTP_LINGER, HTTP_GONE };

struct http {
    struct conn conn;
    uint32_t refs;
    struct lws *wsi; /* NULL when the connection is gone */
    struct gateway *g;
    struct link all;
    struct timer timer;
    struct arena arena; /* of what was copied from the head */
    struct str path, query, token, idempotency_key, if_none_match;
    struct peer peer;
    enum http_method method;                                /* METHOD_COUNT: one that no path has */
    bool is_head, gzip, close, bad_token, by_proxy, unread; /* unread: a body is on its way that nobody wants */
    uint8_t state;
    struct buf body, out;
    struct route_match match;
    struct actor actor;
};

/* http.c: the connection. They return what libwebsockets' callback returns: not 0 closes. */
int http_start(struct gateway *g, struct lws *wsi, struct visit *v, struct str path);
int http_body(struct http *h, struct str piece);
int http_body_done(struct http *h);
int http_writable(struct http *h);
void http_gone(struct http *h);
void http_unref(struct http *h);
/* Ends it, once: from then on the response waits to be written. r->is_head, close, gzip and if_none_match are filled
 * in. */
void http_answer(struct http *h, struct reply *r);
void http_refuse(struct http *h, enum code code, int status, const char *detail, int64_t retry_after_ms,
                 const char *headers);

/* http_ops.c: what it asks for */
void http_run(struct http *h);
