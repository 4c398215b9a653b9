/* tls: the client's side of TLS for the generator's connections. The only file of it that knows OpenSSL.
 *
 * A connection that comes back resumes the session that it had, as an app's would. Thread: one. */
#pragma once
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct ssl_ctx_st;
struct ssl_st;
struct ssl_session_st;
struct tls_link { /* a connection's; zeroed: plain */
    struct ssl_st *ssl;
    struct ssl_session_st *session; /* of the last time */
};

/* A context for connections, whose certificates must be ones that this machine trusts, unless is_insecure. */
MUST_CHECK enum err tls_client(bool is_insecure, struct ssl_ctx_st **out);
void tls_client_free(struct ssl_ctx_st *c);
/* To `host`, whose name or address the certificate must bear, where it must be trusted. */
MUST_CHECK enum err tls_begin(struct ssl_ctx_st *c, struct tls_link *l, int fd, const char *host);
/* Goes on with the handshake: OK, AGAIN (wait until readable), or IO with a sentence in *why (static). */
MUST_CHECK enum err tls_shake(struct tls_link *l, bool *is_resumed, const char **why);
/* As recv and send: -1 with errno, EAGAIN where the socket is not ready. */
ssize_t tls_recv(struct tls_link *l, void *to, size_t room);
ssize_t tls_send(struct tls_link *l, const void *from, size_t len);
void tls_end(struct tls_link *l);    /* the session is kept */
void tls_forget(struct tls_link *l); /* and that is let go, too */
