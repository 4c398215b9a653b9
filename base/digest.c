#include "base/digest.h"
#include "base/mem.h"
#include <sodium.h>
#include <stdlib.h>

struct digest_state {
    crypto_generichash_state s;
};

/* libsodium's calls fail only for lengths that it does not support. */
void digest_begin(struct digest_state **out)
{
    struct digest_state *d = NULL;

    /* The state wants more alignment than malloc promises. */
    if (posix_memalign((void **)&d, 64, sizeof *d) != 0)
        abort();
    (void)!crypto_generichash_init(&d->s, NULL, 0, DIGEST_BYTES);
    *out = d;
}

void digest_add(struct digest_state *d, const void *p, size_t n) { (void)!crypto_generichash_update(&d->s, p, n); }

void digest_end(struct digest_state *d, struct digest *out)
{
    struct digest unused;

    if (!d)
        return;
    (void)!crypto_generichash_final(&d->s, (out ? out : &unused)->b, DIGEST_BYTES);
    free(d);
}

void digest_text(const struct digest *d, char out[DIGEST_TEXT])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        out[2 * i] = digits[d->b[i] >> 4];
        out[2 * i + 1] = digits[d->b[i] & 15];
    }
}

static int value(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

bool digest_parse(struct str text, struct digest *out)
{
    struct digest d;

    if (text.len != DIGEST_TEXT)
        return false;
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        int high = value(text.p[2 * i]), low = value(text.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        d.b[i] = (uint8_t)(high << 4 | low);
    }
    *out = d;
    return true;
}
