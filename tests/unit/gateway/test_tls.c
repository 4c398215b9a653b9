/* Reading over TLS, from a peer that does what no honest one does. */
#include "gateway/tls.h"
#include "base/mem.h"
#include "tests/lib/certificate.h"
#include "tests/lib/unit.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROOM = 4 * TLS_ROOM, SECRET = 32 };

struct peers {
    struct certificate certificate;
    struct tls *tls;
    SSL_CTX *server_context, *client_context;
    SSL *server, *client;
    int fd[2];                    /* the server's, the client's */
    unsigned char secret[SECRET]; /* of what the client sends */
    uint64_t sent;                /* records by hand */
    char room[ROOM];
};

/* "CLIENT_TRAFFIC_SECRET_0 <random> <secret>", both in hexadecimal. */
static void on_secret(const SSL *client, const char *line)
{
    struct peers *p = SSL_get_app_data(client);
    const char *hex = strrchr(line, ' ') + 1;
    size_t n = 0;

    if (!strncmp(line, "CLIENT_TRAFFIC_SECRET_0 ", 24))
        assert_int_equal(OPENSSL_hexstr2buf_ex(p->secret, SECRET, &n, hex, 0), 1);
}

static void shake_hands(struct peers *p)
{
    bool is_done = false;

    while (!is_done) {
        bool is_client_done = SSL_connect(p->client) == 1;
        is_done = SSL_accept(p->server) == 1 && is_client_done;
    }
    assert_int_equal(SSL_read(p->client, p->room, ROOM), -1); /* the ticket */
}

static struct peers *start(void)
{
    struct peers *p = mem_new(struct peers);
    char *why = NULL;

    certificate_make(&p->certificate);
    assert_ok(tls_load(env_posix(), p->certificate.cert, p->certificate.key, &p->tls, &why));
    p->server_context = SSL_CTX_new(TLS_server_method());
    p->client_context = SSL_CTX_new(TLS_client_method());
    assert_ok(tls_apply(p->tls, p->server_context));
    assert_int_equal(SSL_CTX_set_ciphersuites(p->client_context, "TLS_AES_128_GCM_SHA256"), 1);
    SSL_CTX_set_keylog_callback(p->client_context, on_secret);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p->fd), 0);
    p->server = SSL_new(p->server_context);
    p->client = SSL_new(p->client_context);
    SSL_set_app_data(p->client, p);
    SSL_set_fd(p->server, p->fd[0]);
    SSL_set_fd(p->client, p->fd[1]);
    shake_hands(p);
    return p;
}

static void end(struct peers *p)
{
    SSL_free(p->server);
    SSL_free(p->client);
    close(p->fd[0]);
    close(p->fd[1]);
    SSL_CTX_free(p->server_context);
    SSL_CTX_free(p->client_context);
    tls_unref(p->tls);
    certificate_remove(&p->certificate);
    mem_free(p);
}

/* --- records by hand --- */

/* HKDF-Expand-Label of RFC 8446, without a context. */
static void derive(const struct peers *p, const char *label, unsigned char *out, size_t n)
{
    unsigned char info[32] = {0, (unsigned char)n, (unsigned char)(6 + strlen(label))};
    size_t len = (size_t)snprintf((char *)info + 3, sizeof info - 4, "tls13 %s", label) + 4; /* and an empty context */
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *c = EVP_KDF_CTX_new(kdf);
    int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char[]){"SHA256"}, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)p->secret, SECRET),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, len),
        OSSL_PARAM_construct_end(),
    };

    assert_int_equal(EVP_KDF_derive(c, out, n, params), 1);
    EVP_KDF_CTX_free(c);
    EVP_KDF_free(kdf);
}

/* A record of the client's, of any kind and with any bytes, as OpenSSL would not send it. */
static void send_record(struct peers *p, unsigned char kind, const void *bytes, size_t n)
{
    enum { HEAD = 5, TAG = 16 };
    unsigned char key[16], nonce[12], record[256] = {23, 3, 3}, *body = record + HEAD;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int len = 0;

    derive(p, "key", key, sizeof key);
    derive(p, "iv", nonce, sizeof nonce);
    for (unsigned i = 0; i < 8; i++)
        nonce[11 - i] ^= (unsigned char)(p->sent >> 8 * i);
    p->sent++;
    record[4] = (unsigned char)(n + 1 + TAG);
    memcpy(body, bytes, n);
    body[n] = kind;
    assert_int_equal(EVP_EncryptInit_ex(c, EVP_aes_128_gcm(), NULL, key, nonce), 1);
    assert_int_equal(EVP_EncryptUpdate(c, NULL, &len, record, HEAD), 1);
    assert_int_equal(EVP_EncryptUpdate(c, body, &len, body, (int)n + 1), 1);
    assert_int_equal(EVP_EncryptFinal_ex(c, body + len, &len), 1);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG, body + n + 1), 1);
    EVP_CIPHER_CTX_free(c);
    n += HEAD + 1 + TAG;
    assert_int_equal(write(p->fd[1], record, n), n);
}

enum { HANDSHAKE = 22, DATA = 23, HEAD_BYTES = 4 /* of a handshake message */ };
static const unsigned char key_update[] = {24, 0, 0, 1, 0}; /* none is asked for in return */

static void expect_failure(struct peers *p, int number)
{
    errno = 0;
    assert_int_equal(tls_read(p->server, p->room, ROOM), -1);
    assert_int_equal(errno, number);
}

static bool is_readable(const struct peers *p)
{
    struct pollfd f = {.fd = p->fd[0], .events = POLLIN};

    return poll(&f, 1, 0) == 1;
}

PROMISE(a_read_takes_few_records_however_small_and_leaves_the_rest_to_the_socket)
{
    enum { MANY = 150, FEW = 100 }; /* more is not what a socket takes, of so small ones */
    struct peers *p = start();
    size_t got = 0;

    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(SSL_write(p->client, (char[]){(char)i}, 1), 1);
    while (got < MANY) {
        assert_true(is_readable(p));
        ssize_t n = tls_read(p->server, p->room, ROOM);
        assert_in_range(n, 1, FEW);
        for (ssize_t i = 0; i < n; i++, got++)
            assert_int_equal(p->room[i], (char)got);
        assert_int_equal(SSL_pending(p->server), 0);
    }
    assert_false(is_readable(p));
    expect_failure(p, EAGAIN);
    end(p);
}

/* As long as one is not whole OpenSSL writes nothing: replies would wait, and so would who is to be hung up on. */
PROMISE(a_handshake_message_in_pieces_ends_the_connection_and_a_whole_one_does_not)
{
    for (int with_data = 0; with_data < 2; with_data++) {
        struct peers *p = start();

        if (with_data)
            send_record(p, DATA, "hello", 5);
        send_record(p, HANDSHAKE, key_update, HEAD_BYTES);
        expect_failure(p, EIO);
        end(p);
    }
    struct peers *p = start();
    send_record(p, DATA, "hello", 5);
    send_record(p, HANDSHAKE, key_update, sizeof key_update);
    assert_int_equal(tls_read(p->server, p->room, ROOM), 5);
    expect_failure(p, EAGAIN);
    assert_int_equal(SSL_write(p->server, "back", 4), 4);
    end(p);
}

PROMISE(the_peer_s_end_is_an_end_and_garbage_is_a_failure)
{
    struct peers *p = start();

    assert_int_equal(SSL_write(p->client, "last", 4), 4);
    assert_int_equal(SSL_shutdown(p->client), 0);
    assert_int_equal(tls_read(p->server, p->room, ROOM), 4);
    assert_int_equal(tls_read(p->server, p->room, ROOM), 0);
    end(p);
    p = start();
    assert_int_equal(write(p->fd[1], "GET / HTTP/1.1\r\n\r\n", 18), 18);
    expect_failure(p, EIO);
    expect_failure(p, EIO);
    end(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_read_takes_few_records_however_small_and_leaves_the_rest_to_the_socket),
        HOLDS(a_handshake_message_in_pieces_ends_the_connection_and_a_whole_one_does_not),
        HOLDS(the_peer_s_end_is_an_end_and_garbage_is_a_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
