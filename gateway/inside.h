/* inside: what the files of the gateway share: the gateway itself and the two kinds of connection it has.
 *
 * libwebsockets keeps one pointer of ours for each connection; `kind` tells what it points to. */
#pragma once
#include "base/env.h"
#include "gateway/admission.h"
#include "gateway/gateway.h"
#include "gateway/limit.h"
#include "gateway/registry.h"
#include "base/hash.h"

struct lws;
struct lws_context;
struct lws_vhost;
struct listener;

enum conn_kind { CONN_VISIT, CONN_SESSION, CONN_HTTP };
struct conn {
    enum conn_kind kind;
    struct visit *visit; /* what it is a part of */
};

/* A connection from its accept to its end, whatever is spoken on it: libwebsockets' pointer is to it where it is to no
 * session and no request. */
struct visit {
    struct conn conn;
    struct guest guest;
    uint16_t requests;
    uint64_t since_ms;
};

enum {
    RX_BUFFER = 128,            /* held by libwebsockets for every WebSocket, and of no use: we read them */
    INBOX = 64 * 1024,          /* one a reactor: read at once from a WebSocket */
    SERVICE_BUFFER = 16 * 1024, /* one a reactor: HTTP bodies, handshakes */
    HEAD_MAX = 8192,            /* of an HTTP request */
    SCRATCH = 64 * 1024,        /* one a reactor: small frames gathered for one write */
    AUTH_DEADLINE_MS = 10 * 1000,
    HTTP_DEADLINE_MS = 10 * 1000, /* for a body to arrive whole */
    LINGER_MS = 2000,             /* for the peer to read what was said last */
    STRANGER_REQUESTS = 100,      /* of a connection that never showed a good token; then it is closed */
    STRANGER_MS = 60 * 1000,      /* the same */
};

struct gateway {
    struct gateway_conf conf;
    struct lws_context *lws;
    struct lws_vhost *vhost;
    void *tls_context; /* OpenSSL's, inside the vhost; NULL: plain */
    struct listener *listener;
    struct turn_hook flush;
    struct link sessions; /* those who have not heard of a loss first */
    struct link dirty;    /* something to write, or to be closed */
    struct link https;    /* HTTP requests under way */
    struct registry registry;
    struct limiter limiter;
    struct hash_key limit_key;
    struct frame *resync, *ping;
    struct buf openapi, openapi_packed; /* the document never changes: it is printed and packed once */
    uint32_t losses;                    /* counted up when the bus lost entries: see session_lost */
    struct timer sweep;
    struct request_pool requests;
    struct timer shrink;
    char *scratch;
    struct intake *intake;
    char *inbox;
    uint64_t last_born;
    bool draining, insisted;
    struct timer drain;
    void (*drained)(void *);
    void *drained_arg;
};

static inline void count(struct gateway *g, enum metric_id id, int64_t n) { metric_add(g->conf.counters, id, n); }
static inline bool gateway_is_ready(const struct gateway *g) { return atomic_load(g->conf.ready) && !g->draining; }

/* The address that a connection's limits go by: a whole IPv4 address or the /64 of an IPv6 one. False when it is gone.
 */
struct peer {
    uint8_t b[8];
    bool loopback;
};
bool peer_of(int fd, struct peer *out);

/* Rate limits, none when they are off: 0 or the milliseconds to wait. */
enum limit_what { LIMIT_CONNECT = RATE_COUNT, LIMIT_MEMBERSHIPS, LIMIT_COUNT };
int64_t gateway_limit(struct gateway *g, unsigned what, const void *who, size_t len);
/* What a user's request costs beside one of its class: more of them where it names many members, and memberships. */
int64_t gateway_limit_members(struct gateway *g, const struct request *r, user_id user);
void gateway_print_rates(const struct gateway *g, struct buf *b); /* the member "rates" of the limits, if any */
/* Hands a request that nobody here answers to the services. */
void gateway_ask(struct gateway *g, struct request *r);
void gateway_known(struct gateway *g, struct conn *c); /* a good token came on this connection */
bool gateway_is_strange_for_long(const struct gateway *g, const struct conn *c);
void gateway_visit_over(struct gateway *g, struct visit *v); /* its descriptor is free; v is */
int gateway_tls_ready(struct gateway *g, void *context); /* libwebsockets has made its TLS; -1: it is not to go on */
/* Called by whoever ended: a drain may be over. */
void gateway_one_gone(struct gateway *g);
