/* auth: that coordinator and worker know the same secret, without saying it.
 *
 * Each proves it with BLAKE2b, keyed by the secret's digest, over the nonces of both and its own part, so neither an
 * old answer nor the other's answer is worth anything. Without a secret the key is known to all: only on loopback. What
 * is said after the handshake is neither encrypted nor signed: between machines use a network that you trust, or a
 * tunnel. Thread: any. */
#pragma once
#include "cmd/parley_load_msg.h"

enum { SECRET_KEY = 32, SECRET_MIN = 16, SECRET_MAX = 4096 };
struct secret {
    bool is_set;
    uint8_t key[SECRET_KEY];
};
enum auth_part { AUTH_COORDINATOR, AUTH_WORKER };
struct nonces {
    uint8_t worker[MSG_NONCE], coordinator[MSG_NONCE];
};

/* An empty path: no secret. INVALID with a sentence in *why: no such file, or fewer than SECRET_MIN bytes in it (blanks
 * at its end do not count). */
MUST_CHECK enum err secret_load(const char *path, struct secret *out, struct buf *why);
void secret_of(struct str text, struct secret *out);
void secret_prove(const struct secret *s, enum auth_part part, const struct nonces *n, uint8_t out[MSG_PROOF_BYTES]);
bool secret_check(const struct secret *s, enum auth_part part, const struct nonces *n, struct str proof);
