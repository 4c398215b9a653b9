#include "cmd/parley_load_tls.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_link *l = SSL_get_app_data(ssl);

    SSL_SESSION_free(l->session);
    l->session = session; /* ours now */
    return 1;
}

enum err tls_client(bool is_insecure, struct ssl_ctx_st **out)
{
    SSL_CTX *c = SSL_CTX_new(TLS_client_method());

    if (!c)
        return ERR_NOMEM;
    SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(c, on_session);
    if (!is_insecure) {
        SSL_CTX_set_verify(c, SSL_VERIFY_PEER, NULL);
        (void)SSL_CTX_set_default_verify_paths(c);
    }
    *out = c;
    return ERR_OK;
}

void tls_client_free(struct ssl_ctx_st *c) { SSL_CTX_free(c); }

/* A certificate names an address in another way than a host. */
static bool expect(SSL *ssl, const char *host)
{
    return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1 ||
           (SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1);
}

enum err tls_begin(struct ssl_ctx_st *c, struct tls_link *l, int fd, const char *host)
{
    l->ssl = SSL_new(c);
    if (!l->ssl || SSL_set_fd(l->ssl, fd) != 1 || !expect(l->ssl, host))
        return ERR_NOMEM;
    SSL_set_app_data(l->ssl, l);
    if (l->session)
        (void)SSL_set_session(l->ssl, l->session);
    SSL_set_connect_state(l->ssl);
    ERR_clear_error();
    return ERR_OK;
}

static const char *reason(const SSL *ssl)
{
    long verdict = SSL_get_verify_result(ssl);
    const char *text = ERR_reason_error_string(ERR_peek_last_error());

    if (verdict != X509_V_OK)
        return X509_verify_cert_error_string(verdict);
    return text ? text : "the connection was closed";
}

enum err tls_shake(struct tls_link *l, bool *is_resumed, const char **why)
{
    int rc, error;

    ERR_clear_error();
    rc = SSL_do_handshake(l->ssl);
    error = SSL_get_error(l->ssl, rc);
    if (rc == 1) {
        *is_resumed = SSL_session_reused(l->ssl) == 1;
        return ERR_OK;
    }
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return ERR_AGAIN;
    *why = reason(l->ssl);
    return ERR_IO;
}

/* What OpenSSL answered, as a system call would have. */
static ssize_t outcome(SSL *ssl, int rc)
{
    if (rc > 0)
        return rc;
    switch (SSL_get_error(ssl, rc)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        return errno ? -1 : 0;
    default:
        errno = EPROTO;
        return -1;
    }
}

ssize_t tls_recv(struct tls_link *l, void *to, size_t room)
{
    ERR_clear_error();
    errno = 0;
    return outcome(l->ssl, SSL_read(l->ssl, to, (int)room));
}

ssize_t tls_send(struct tls_link *l, const void *from, size_t len)
{
    ERR_clear_error();
    errno = 0;
    return outcome(l->ssl, SSL_write(l->ssl, from, (int)(len < 1 << 30 ? len : 1 << 30)));
}

void tls_end(struct tls_link *l)
{
    if (l->ssl)
        SSL_set_shutdown(l->ssl, SSL_SENT_SHUTDOWN); /* a session of a connection that is just dropped is still good */
    SSL_free(l->ssl);
    l->ssl = NULL;
}

void tls_forget(struct tls_link *l)
{
    tls_end(l);
    SSL_SESSION_free(l->session);
    l->session = NULL;
}
