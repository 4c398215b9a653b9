/* gateway: the WebSocket and HTTP front of one reactor.
 *
 * It accepts on a port that all reactors share (SO_REUSEPORT), turns frames and HTTP calls into requests for the server
 * of its own port of the bus, and writes their answers and what the bus delivers. What a connection may do and in which
 * order: session.h; libwebsockets' manners: docs/gateway.md.
 *
 * Thread: everything from the loop's thread, or before it runs; gateways are created one after another.
 * Order: create it after the port's services, destroy it before the loop, when no request of it is under way any more
 * or the loop will not run again. Memory: conf is copied, what it points to must outlive the gateway. */
#pragma once
#include "proto/metrics.h"
#include "queue/bus.h"
#include <stdatomic.h>

struct env;
struct gateway;
struct admission;
struct tls;

struct gateway_conf {
    struct loop *loop;
    struct port *port;
    struct env *env;
    const char *host;        /* a numeric address to listen on */
    int listen_port;         /* 0: a free one; the other reactors then get what gateway_port says */
    bool shares_port;        /* with gateways of this process that were created before; else one in use is refused */
    struct metrics *metrics; /* what /metrics prints */
    struct metric_set *counters; /* this reactor's */
    int64_t heartbeat_ms;
    bool rate_limit;
    struct admission *admission;         /* of all gateways of the process */
    struct tls *tls;                     /* NULL: plain. Borrowed for the call, as of gateway_secure */
    const char *epoch;                   /* of this server's history */
    const _Atomic uint64_t *revocations; /* see proto/auth.h */
    const _Atomic bool *ready;           /* until then ops are `unavailable` and /readyz says 503 */
};

/* LOCKED: another process listens there; NOT_FOUND: this machine has no such address; IO: it can't be listened on, or
 * no descriptors are left. Said in the log. */
MUST_CHECK enum err gateway_create(const struct gateway_conf *c, struct gateway **out);
/* Whether the first one could listen there, with the same errors: before anything else is begun. */
MUST_CHECK enum err gateway_try(const char *host, int port);
int gateway_port(const struct gateway *g);
/* Another certificate for connections from now on; of a gateway that was created with one. Thread: its loop's. */
void gateway_secure(struct gateway *g, struct tls *tls);

/* Stops accepting and reading, lets requests under way end, closes every connection with 1001 and what it is still owed
 * flushed. Waits for nobody longer than 4.5 s. Then done runs, once, from the loop. */
void gateway_drain(struct gateway *g, void (*done)(void *arg), void *arg);
/* Closes everything at once. Runs the loop for a few turns. */
void gateway_destroy(struct gateway *g);
