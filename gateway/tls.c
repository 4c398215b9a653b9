#include "gateway/tls.h"
#include "base/buf.h"
#include "base/mem.h"
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <errno.h>
#include <stdatomic.h>

enum { RECORDS_MAX = 64 /* of a read */, TICKET_KEYS = 80 /* name, HMAC and AES keys, as OpenSSL takes them */ };

struct tls {
    _Atomic unsigned refs;
    SSL_CTX *pair; /* serves nobody: it holds the certificate, its chain and the key */
    unsigned char tickets[TICKET_KEYS];
};

static void say(char **why, const char *what, const char *path)
{
    struct buf b = {0};
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    buf_printf(&b, "%s %s cannot be used: %s", what, path, reason ? reason : "unknown");
    buf_char(&b, '\0');
    *why = b.p;
}

enum err tls_load(struct env *env, const char *cert, const char *key, struct tls **out, char **why)
{
    struct tls *t = mem_new(struct tls);
    bool is_loaded = false;

    atomic_init(&t->refs, 1);
    env_random(env, t->tickets, sizeof t->tickets);
    ERR_clear_error();
    t->pair = SSL_CTX_new(TLS_server_method());
    if (!t->pair || SSL_CTX_use_certificate_chain_file(t->pair, cert) != 1)
        say(why, "tls-cert", cert);
    else if (SSL_CTX_use_PrivateKey_file(t->pair, key, SSL_FILETYPE_PEM) != 1 || !SSL_CTX_check_private_key(t->pair))
        say(why, "tls-key", key);
    else
        is_loaded = true;
    ERR_clear_error();
    if (!is_loaded) {
        tls_unref(t);
        return ERR_INVALID;
    }
    *out = t;
    return ERR_OK;
}

struct tls *tls_ref(struct tls *t)
{
    atomic_fetch_add(&t->refs, 1);
    return t;
}

void tls_unref(struct tls *t)
{
    if (!t || atomic_fetch_sub(&t->refs, 1) != 1)
        return;
    SSL_CTX_free(t->pair);
    OPENSSL_cleanse(t->tickets, sizeof t->tickets);
    mem_free(t);
}

enum err tls_apply(struct tls *t, void *context)
{
    SSL_CTX *c = context;
    STACK_OF(X509) *chain = NULL;
    bool is_applied;

    SSL_CTX_get0_chain_certs(t->pair, &chain);
    is_applied =
        SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) == 1 &&
        SSL_CTX_set_tlsext_ticket_keys(c, t->tickets, sizeof t->tickets) == 1 &&
        SSL_CTX_use_cert_and_key(c, SSL_CTX_get0_certificate(t->pair), SSL_CTX_get0_privatekey(t->pair), chain, 1) == 1;
    SSL_CTX_set_num_tickets(c, 1);
    SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS); /* an idle connection holds no buffers */
    ERR_clear_error();
    return is_applied ? ERR_OK : ERR_IO;
}

/* SSL_read takes of one TLS record, which is TLS_ROOM bytes at most, and what it leaves of that no poll would show.
 * Records may hold a byte each, so their number is bounded too. A handshake message that comes in pieces (no honest
 * peer's does) would keep everything from being written until its end. */
ssize_t tls_read(void *connection, char *to, size_t room)
{
    size_t got = 0;
    unsigned records = 0;
    int n, why;

    ERR_clear_error();
    do {
        n = SSL_read(connection, to + got, (int)(room - got));
        got += n > 0 ? (size_t)n : 0;
    } while (n > 0 && room - got >= TLS_ROOM && ++records < RECORDS_MAX);
    why = n > 0 ? SSL_ERROR_NONE : SSL_get_error(connection, n); /* before the queue is cleared */
    ERR_clear_error();
    if (got > 0 && !SSL_in_init(connection))
        return (ssize_t)got; /* what failed after it will fail again */
    errno = SSL_in_init(connection) || (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) ? EIO : EAGAIN;
    return why == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}
