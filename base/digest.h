/* digest: what tells whether a whole file is the one that was written: BLAKE2b with 32 bytes, as `b2sum -l 256` prints.
 *
 * Against damage and mistakes of ours; who can write the file can also write its digest. Thread: one at a time. */
#pragma once
#include "base/fs.h"

enum { DIGEST_BYTES = 32, DIGEST_TEXT = 64 };
struct digest {
    uint8_t b[DIGEST_BYTES];
};
struct digest_state;
void digest_begin(struct digest_state **out);
void digest_add(struct digest_state *d, const void *p, size_t n);
void digest_end(struct digest_state *d, struct digest *out); /* frees d; out may be NULL */

void digest_text(const struct digest *d, char out[DIGEST_TEXT]); /* hexadecimal */
bool digest_parse(struct str text, struct digest *out);
static inline bool digest_eq(const struct digest *a, const struct digest *b) { return memcmp(a, b, sizeof *a) == 0; }
