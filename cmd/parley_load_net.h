/* net: many client connections on one epoll, moved forward one loop turn at a time.
 *
 * A turn reads what is there into one large shared buffer, hands every frame to the owner, and then sends what was
 * written during the turn, each connection's bytes in one call. A connection that is quiet holds no buffers. Epoll is
 * told about a connection once, and again only when its socket is full.
 *
 *   connecting → (securing: TLS shakes hands) → greeting (the upgrade is sent) → open → closed
 *
 * Thread: one. Memory: conns are the caller's, zeroed before net_connect. No callback may free a conn. */
#pragma once
#include "cmd/parley_load_tls.h"
#include "cmd/parley_load_wire.h"
#include <sys/socket.h>

enum conn_state { CONN_NONE, CONN_CONNECTING, CONN_SECURING, CONN_GREETING, CONN_OPEN, CONN_CLOSED };
struct conn {
    int fd;
    enum conn_state state;
    bool is_dirty, is_full, is_paused;
    struct tls_link tls;
    struct buf in, out; /* an unfinished frame; what waits to be sent */
    struct conn *next_dirty;
};
struct net_ops {
    void (*open)(void *arg, struct conn *c);
    void (*text)(void *arg, struct conn *c, struct str text);
    void (*closed)(void *arg, struct conn *c, const char *why); /* not for net_close */
};
struct net {
    const struct net_ops *ops;
    void *arg;
    int epoll;
    struct sockaddr_storage address;
    socklen_t address_len;
    struct buf hello;
    char *received;
    struct conn *dirty;
    uint64_t now_us;        /* of this turn: CLOCK_MONOTONIC */
    struct ssl_ctx_st *tls; /* NULL: plain */
    char host[256];
    uint64_t handshakes, resumed; /* of TLS */
    uint32_t mask;
    uint32_t sources; /* connections made so far: to a loopback address each comes from another one */
};

/* INVALID: the host is not known; IO: no epoll. */
MUST_CHECK enum err net_init(struct net *n, const char *host, const char *port, const char *path);
void net_deinit(struct net *n);
/* From now on with TLS. */
MUST_CHECK enum err net_secure(struct net *n, const char *host, bool is_insecure);
/* Begins to connect; what becomes of it is told by the callbacks. IO (errno is left as it was): no socket. */
MUST_CHECK enum err net_connect(struct net *n, struct conn *c);
void net_pause(struct net *n, struct conn *c, bool is_paused); /* reads nothing, so that the server's writes pile up */
void net_close(struct net *n, struct conn *c);
void net_forget(struct net *n, struct conn *c); /* closes it, and it will not come back */
/* One turn: waits at most `wait_us` for something to happen. */
void net_turn(struct net *n, uint64_t wait_us);
/* Writing a text message: begin, append to c->out, end. It leaves when the turn ends. */
size_t net_begin(struct conn *c);
void net_end(struct net *n, struct conn *c, size_t mark);
uint64_t net_clock_us(void);
