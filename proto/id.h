/* id: identifiers inside (numbers) and outside (text).
 *
 * Outside they are opaque: `u` and 13, `d` and 13, `c` and 26 characters of Crockford base32. Users and devices are
 * random 64-bit numbers, never 0, never given twice. A conversation is 128 bits: a keyed hash of the pair (one-to-one)
 * or of creator and cid (group), so it can be derived and not guessed. */
#pragma once
#include "base/enc.h"

typedef uint64_t user_id;
typedef uint64_t device_id;
struct conv_id {
    uint8_t b[16];
};

enum { USER_TEXT = 14, DEVICE_TEXT = 14, CONV_TEXT = 27, ID_TEXT_MAX = 64, CID_MAX = 64 };
#define SEQ_MAX (((uint64_t)1 << 53) - 1) /* what every JSON reader keeps exactly */

/* What a well-formed identifier that we never gave is read as: user and device 0, and this conversation, all ones,
 * which nobody can have. So it is answered as any unknown one. */
extern const struct conv_id CONV_NONE;

static inline bool conv_eq(const struct conv_id *a, const struct conv_id *b) { return memcmp(a, b, sizeof *a) == 0; }
/* Texts are written without a terminator; the length is returned. The parsers are true only for what these write; *out
 * is undefined otherwise. */
size_t user_text(char *out, user_id u);
size_t device_text(char *out, device_id d);
size_t conv_text(char *out, const struct conv_id *c);
bool user_parse(struct str s, user_id *out);
bool device_parse(struct str s, device_id *out);
bool conv_parse(struct str s, struct conv_id *out);
bool cid_is_valid(struct str s); /* 1 to 64 of A-Z a-z 0-9 . _ : - */
bool id_is_valid(
    struct str s); /* the shape of any identifier: 1 to 64 of A-Za-z0-9._:- ; one we never gave is just unknown */
