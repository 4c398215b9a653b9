/* enc: integers and texts as bytes.
 *
 * Little endian in files, big endian in sort keys. Readers are bounded: a struct dec never reads past its end, and once
 * it failed it stays failed, so a decoder reads every field and asks dec_ok once. */
#pragma once
#include "base/buf.h"

static inline void enc_u16(void *p, uint16_t v) { memcpy(p, &v, 2); }
static inline void enc_u32(void *p, uint32_t v) { memcpy(p, &v, 4); }
static inline void enc_u64(void *p, uint64_t v) { memcpy(p, &v, 8); }
static inline uint16_t dec_u16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, 2);
    return v;
}
static inline uint32_t dec_u32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}
static inline uint64_t dec_u64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}
/* Decimal digits; returns how many. */
enum { DECIMAL_MAX = 20 };
size_t enc_decimal(char out[DECIMAL_MAX], uint64_t v);

static inline void enc_be64(void *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, 8);
}
static inline uint64_t dec_be64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return __builtin_bswap64(v);
}
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are little endian and read by memcpy");

/* Appending to a buf. Varints are LEB128, at most 10 bytes. A field is a varint length and that many bytes. */
static inline size_t enc_varint(void *p, uint64_t v) /* writes at p, returns how many bytes (1 to 10) */
{
    uint8_t *at = p;

    for (; v >= 0x80; v >>= 7)
        *at++ = (uint8_t)(v | 0x80);
    *at++ = (uint8_t)v;
    return (size_t)(at - (uint8_t *)p);
}
static inline void enc_add_u8(struct buf *b, uint8_t v) { buf_char(b, (char)v); }
static inline void enc_add_u32(struct buf *b, uint32_t v) { buf_add(b, &v, 4); }
static inline void enc_add_u64(struct buf *b, uint64_t v) { buf_add(b, &v, 8); }
static inline void enc_add_varint(struct buf *b, uint64_t v) { b->len += enc_varint(buf_reserve(b, 10), v); }
static inline void enc_add_field(struct buf *b, struct str s)
{
    enc_add_varint(b, s.len);
    buf_str(b, s);
}

struct dec {
    const uint8_t *p, *end;
    bool failed;
};
static inline struct dec dec_of(struct str s)
{
    const uint8_t *p = (const uint8_t *)s.p;
    return (struct dec){p, s.len ? p + s.len : p, false}; /* an empty one may be NULL, to which nothing may be added */
}
/* The next n bytes, or NULL; a failed reader has no bytes left. */
static inline const uint8_t *dec_take(struct dec *d, size_t n)
{
    const uint8_t *p = d->p;
    if (d->failed || (size_t)(d->end - p) < n) {
        d->failed = true;
        d->p = d->end;
        return NULL;
    }
    if (n)
        d->p += n;
    return p;
}
static inline uint8_t dec_get_u8(struct dec *d)
{
    const uint8_t *p = dec_take(d, 1);
    return p ? *p : 0;
}
static inline uint32_t dec_get_u32(struct dec *d)
{
    const uint8_t *p = dec_take(d, 4);
    return p ? dec_u32(p) : 0;
}
static inline uint64_t dec_get_u64(struct dec *d)
{
    const uint8_t *p = dec_take(d, 8);
    return p ? dec_u64(p) : 0;
}
uint64_t dec_get_long_varint(struct dec *d); /* dec_get_varint's, of any length */
static inline uint64_t dec_get_varint(struct dec *d)
{
    return d->p < d->end && *d->p < 0x80 ? *d->p++ : dec_get_long_varint(d);
}
static inline struct str dec_get_bytes(struct dec *d, size_t n) /* borrowed from the input */
{
    const uint8_t *p = dec_take(d, n);
    return p ? str_of(p, n) : (struct str){0};
}
static inline struct str dec_get_field(struct dec *d) /* borrowed from the input */
{
    uint64_t n = dec_get_varint(d);
    return dec_get_bytes(d, n);
}
static inline bool dec_ok(const struct dec *d) { return !d->failed; }
static inline bool dec_done(const struct dec *d) { return !d->failed && d->p == d->end; }

/* Crockford base32, lower case, most significant bit first, no padding: 8 bytes are 13 characters, 16 are 26.
 * Reading accepts only what writing produces. */
size_t enc_base32(char *out, const void *in, size_t n);
bool dec_base32(void *out, size_t n, struct str text);
/* base64url without padding (RFC 4648 section 5). Reading is strict; *n gets the length, at most max. */
size_t enc_base64url(char *out, const void *in, size_t n);
bool dec_base64url(void *out, size_t max, size_t *n, struct str text);
