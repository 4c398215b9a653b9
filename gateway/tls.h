/* tls: the certificate that connections are served with. The only file of the server that knows OpenSSL.
 *
 * A certificate and its key are loaded as one, so a pair that does not belong together never serves. Each reactor has a
 * context of libwebsockets' own; what is loaded is put into all of them, and connections that are open keep what they
 * have. A client resumes its session at whichever reactor it comes back to: all seal tickets with the same keys, which
 * are new with each loading.
 * Thread: what is loaded never changes, and is shared by counting. tls_apply: the thread of that context. */
#pragma once
#include "base/env.h"
#include <sys/types.h>

struct tls;

/* INVALID with *why (mem_free): a file cannot be read, is no PEM, or the key is another certificate's. */
MUST_CHECK enum err tls_load(struct env *env, const char *cert, const char *key, struct tls **out, char **why);
struct tls *tls_ref(struct tls *t);
void tls_unref(struct tls *t); /* NULL: no-op */
/* As recv: what a connection (SSL) of libwebsockets' has to read, -1 with errno when there is nothing or it failed.
 * With TLS_ROOM bytes and more, nothing is left inside OpenSSL that its socket would not tell of. */
enum { TLS_ROOM = 16 << 10 };
ssize_t tls_read(void *connection, char *to, size_t room);
/* Into a context (SSL_CTX) that new connections are made from. IO: OpenSSL refuses; the context has what it had. */
MUST_CHECK enum err tls_apply(struct tls *t, void *context);
