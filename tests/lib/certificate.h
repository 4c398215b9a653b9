/* certificate: a key and a certificate of its own, for an hour, in files of a temporary folder. */
#pragma once
#include "tests/lib/unit.h"
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct certificate {
    char dir[64], cert[96], key[96];
};

static inline void certificate_make(struct certificate *c)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    FILE *f;

    snprintf(c->dir, sizeof c->dir, "/tmp/parley-tls-XXXXXX");
    assert_non_null(mkdtemp(c->dir));
    snprintf(c->cert, sizeof c->cert, "%s/cert", c->dir);
    snprintf(c->key, sizeof c->key, "%s/key", c->dir);
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    assert_non_null(f = fopen(c->cert, "w"));
    assert_int_equal(PEM_write_X509(f, cert), 1);
    fclose(f);
    assert_non_null(f = fopen(c->key, "w"));
    assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(f);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static inline void certificate_remove(struct certificate *c)
{
    unlink(c->cert);
    unlink(c->key);
    assert_int_equal(rmdir(c->dir), 0);
}
