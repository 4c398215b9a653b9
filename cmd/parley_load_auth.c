#include "cmd/parley_load_auth.h"
#include "base/fs.h"
#include <sodium.h>

void secret_of(struct str text, struct secret *out)
{
    out->is_set = text.len > 0;
    (void)!crypto_generichash(out->key, sizeof out->key, (const unsigned char *)text.p, text.len, NULL, 0);
}

enum err secret_load(const char *path, struct secret *out, struct buf *why)
{
    struct str text = {0}, kept;
    enum err err;

    secret_of(STR(""), out);
    if (!path[0])
        return ERR_OK;
    err = fs_read_all(fs_posix(), path, SECRET_MAX, &text);
    if (err != ERR_OK) {
        buf_printf(why, "%s: the secret cannot be read: %s", path, err_text(err));
        return ERR_INVALID;
    }
    for (kept = text; kept.len && strchr(" \t\r\n", kept.p[kept.len - 1]);)
        kept.len--;
    if (kept.len < SECRET_MIN) {
        buf_printf(why, "%s: a secret has at least %d bytes", path, SECRET_MIN);
        err = ERR_INVALID;
    } else {
        secret_of(kept, out);
    }
    mem_free((char *)(uintptr_t)text.p);
    return err;
}

void secret_prove(const struct secret *s, enum auth_part part, const struct nonces *n, uint8_t out[MSG_PROOF_BYTES])
{
    static const char *const parts[] = {
        [AUTH_COORDINATOR] = "parley-load 1 coordinator", [AUTH_WORKER] = "parley-load 1 worker"};
    struct buf text = {0};

    buf_str(&text, str_c(parts[part]));
    buf_add(&text, n->worker, sizeof n->worker);
    buf_add(&text, n->coordinator, sizeof n->coordinator);
    (void)!crypto_generichash(out, MSG_PROOF_BYTES, (const unsigned char *)text.p, text.len, s->key, sizeof s->key);
    buf_deinit(&text);
}

bool secret_check(const struct secret *s, enum auth_part part, const struct nonces *n, struct str proof)
{
    uint8_t right[MSG_PROOF_BYTES];

    secret_prove(s, part, n, right);
    return proof.len == sizeof right && sodium_memcmp(proof.p, right, sizeof right) == 0;
}
