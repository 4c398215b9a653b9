#include "base/enc.h"

/* One of at most eight bytes that lie in front of as many: their groups of seven bits are brought together in pairs,
 * then fours, then eights. 0 bytes: it is longer. */
static size_t varint_of_eight(const uint8_t *p, uint64_t *out)
{
    uint64_t v = dec_u64(p), ends = ~v & 0x8080808080808080u;
    unsigned last = ends ? (unsigned)__builtin_ctzll(ends) : 0; /* the bit that says so */

    if (!ends)
        return 0;
    v &= UINT64_MAX >> (63 - last);
    v = (v & 0x007f007f007f007fu) | (v & 0x7f007f007f007f00u) >> 1;
    v = (v & 0x00003fff00003fffu) | (v & 0x3fff00003fff0000u) >> 2;
    *out = (v & 0x000000000fffffffu) | (v & 0x0fffffff00000000u) >> 4;
    return last / 8 + 1;
}

uint64_t dec_get_long_varint(struct dec *d)
{
    const uint8_t *p = d->p;
    uint64_t v = 0;
    size_t n = d->end - p >= 8 ? varint_of_eight(p, &v) : 0;

    if (n) {
        d->p += n;
        return v;
    }
    for (unsigned shift = 0; shift < 64 && p < d->end; shift += 7) {
        uint8_t byte = *p++;
        if (shift == 63 && byte > 1)
            break; /* more than 64 bits */
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            d->p = p;
            return v;
        }
    }
    d->failed = true;
    d->p = d->end;
    return 0;
}

/* Both text encodings are the same walk: a stream of bits, taken 5 or 6 at a time, the last group filled with zeros.
 * Reading refuses a last group whose filling is not zero, so each value has exactly one text. */
static const char BASE32[] = "0123456789abcdefghjkmnpqrstvwxyz";
static const char BASE64URL[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static size_t bits_to_text(char *out, const uint8_t *in, size_t n, unsigned width, const char *alphabet)
{
    uint32_t acc = 0, mask = (1u << width) - 1;
    unsigned held = 0;
    char *at = out;

    for (size_t i = 0; i < n; i++) {
        acc = acc << 8 | in[i];
        for (held += 8; held >= width; held -= width)
            *at++ = alphabet[acc >> (held - width) & mask];
    }
    if (held)
        *at++ = alphabet[acc << (width - held) & mask];
    return (size_t)(at - out);
}

/* Writes text.len * width / 8 bytes. */
static bool text_to_bits(uint8_t *out, struct str text, unsigned width, int (*value)(char))
{
    uint32_t acc = 0;
    unsigned held = 0;

    for (size_t i = 0; i < text.len; i++) {
        int v = value(text.p[i]);
        if (v < 0)
            return false;
        acc = acc << width | (uint32_t)v;
        held += width;
        if (held >= 8) {
            held -= 8;
            *out++ = (uint8_t)(acc >> held);
        }
    }
    return held < width && (acc & ((1u << held) - 1)) == 0;
}

static int base32_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    const char *at = c >= 'a' && c <= 'z' ? memchr(BASE32, c, 32) : NULL;
    return at ? (int)(at - BASE32) : -1;
}

static int base64url_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* Five bytes are eight characters; every event has some of these. */
size_t enc_base32(char *out, const void *in, size_t n)
{
    const uint8_t *p = in;
    char *at = out;

    for (; n >= 5; n -= 5, p += 5) {
        uint64_t v = (uint64_t)p[0] << 32 | (uint64_t)p[1] << 24 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 8 | p[4];

        *at++ = BASE32[v >> 35];
        *at++ = BASE32[v >> 30 & 31];
        *at++ = BASE32[v >> 25 & 31];
        *at++ = BASE32[v >> 20 & 31];
        *at++ = BASE32[v >> 15 & 31];
        *at++ = BASE32[v >> 10 & 31];
        *at++ = BASE32[v >> 5 & 31];
        *at++ = BASE32[v & 31];
    }
    return (size_t)(at - out) + bits_to_text(at, p, n, 5, BASE32);
}

bool dec_base32(void *out, size_t n, struct str text)
{
    return text.len == (n * 8 + 4) / 5 && text_to_bits(out, text, 5, base32_value);
}

size_t enc_base64url(char *out, const void *in, size_t n) { return bits_to_text(out, in, n, 6, BASE64URL); }

bool dec_base64url(void *out, size_t max, size_t *n, struct str text)
{
    size_t bytes = text.len / 4 * 3 + text.len % 4 * 6 / 8;
    if (bytes > max || !text_to_bits(out, text, 6, base64url_value))
        return false;
    *n = bytes;
    return true;
}
