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

/* What each character is worth, plus one; 0: it is not of the alphabet. */
typedef uint8_t value_table[256];
static const value_table VALUE32 = {
    ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
    ['g'] = 17, ['h'] = 18, ['j'] = 19, ['k'] = 20, ['m'] = 21, ['n'] = 22, ['p'] = 23, ['q'] = 24,
    ['r'] = 25, ['s'] = 26, ['t'] = 27, ['v'] = 28, ['w'] = 29, ['x'] = 30, ['y'] = 31, ['z'] = 32,
};
static const value_table VALUE64 = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['-'] = 63, ['_'] = 64,
};

/* Writes text.len * width / 8 bytes. */
static inline bool text_to_bits(uint8_t *out, struct str text, unsigned width, const value_table values)
{
    uint32_t acc = 0;
    unsigned held = 0;

    for (size_t i = 0; i < text.len; i++) {
        uint32_t v = values[(uint8_t)text.p[i]];
        if (v == 0)
            return false;
        acc = acc << width | (v - 1);
        held += width;
        if (held >= 8) {
            held -= 8;
            *out++ = (uint8_t)(acc >> held);
        }
    }
    return held < width && (acc & ((1u << held) - 1)) == 0;
}

/* How many. A number of b bits has as many as 2^(b-1), or one more. */
static size_t digits(uint64_t v)
{
    static const uint64_t powers[DECIMAL_MAX] = {
        0,
        10,
        100,
        1000,
        10000,
        100000,
        1000000,
        10000000,
        100000000,
        1000000000,
        10000000000,
        100000000000,
        1000000000000,
        10000000000000,
        100000000000000,
        1000000000000000,
        10000000000000000,
        100000000000000000,
        1000000000000000000,
        10000000000000000000u,
    };
    unsigned bits = 64 - (unsigned)__builtin_clzll(v | 1), least = bits * 1233 >> 12; /* bits * log10(2) */

    return least + (v >= powers[least]);
}

/* Two digits a division; every event has a time and a seq. */
size_t enc_decimal(char out[DECIMAL_MAX], uint64_t v)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
                                "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
                                "8081828384858687888990919293949596979899";
    size_t n = digits(v);
    char *at = out + n;

    for (; v >= 100; v /= 100) {
        at -= 2;
        memcpy(at, pairs + 2 * (v % 100), 2);
    }
    if (v >= 10)
        memcpy(out, pairs + 2 * v, 2);
    else
        *out = (char)('0' + v);
    return n;
}

/* Ids are of 8 or 16 bytes, and every request and every event has some: their 60 bits that are twelve characters are
 * taken at once. */
enum { TWELVE = 12 };

static inline void put_twelve(char *out, uint64_t v) /* its highest 60 bits */
{
#pragma GCC unroll 12
    for (unsigned i = 0; i < TWELVE; i++)
        out[i] = BASE32[v >> (59 - 5 * i) & 31];
}

size_t enc_base32(char *out, const void *in, size_t n)
{
    uint64_t v, low;

    if (n == 8) {
        v = dec_be64(in);
        put_twelve(out, v);
        out[12] = BASE32[v << 1 & 31];
        return 13;
    }
    if (n == 16) {
        v = dec_be64(in);
        low = dec_be64((const char *)in + 8);
        put_twelve(out, v);
        put_twelve(out + 12, v << 60 | low >> 4);
        out[24] = BASE32[low >> 3 & 31];
        out[25] = BASE32[low << 2 & 31];
        return 26;
    }
    return bits_to_text(out, in, n, 5, BASE32);
}

/* The lowest 60 bits. *bad is above 31 from then on when one is not of the alphabet. */
static inline uint64_t get_twelve(const char *text, uint32_t *bad)
{
    uint64_t v = 0;

#pragma GCC unroll 12
    for (unsigned i = 0; i < TWELVE; i++) {
        uint32_t one = VALUE32[(uint8_t)text[i]] - 1u;
        *bad |= one;
        v = v << 5 | one;
    }
    return v;
}

static inline uint32_t get_one(char c, uint32_t *bad)
{
    uint32_t one = VALUE32[(uint8_t)c] - 1u;

    *bad |= one;
    return one;
}

static bool read_8(void *out, const char *text)
{
    uint32_t bad = 0;
    uint64_t v = get_twelve(text, &bad);
    uint32_t last = get_one(text[12], &bad);

    enc_be64(out, v << 4 | last >> 1);
    return bad < 32 && (last & 1) == 0;
}

static bool read_16(void *out, const char *text)
{
    uint32_t bad = 0;
    uint64_t high = get_twelve(text, &bad), low = get_twelve(text + 12, &bad);
    uint32_t next = get_one(text[24], &bad), last = get_one(text[25], &bad);

    enc_be64(out, high << 4 | low >> 56);
    enc_be64((char *)out + 8, low << 8 | next << 3 | last >> 2);
    return bad < 32 && (last & 3) == 0;
}

bool dec_base32(void *out, size_t n, struct str text)
{
    if (text.len != (n * 8 + 4) / 5)
        return false;
    return n == 8 ? read_8(out, text.p) : n == 16 ? read_16(out, text.p) : text_to_bits(out, text, 5, VALUE32);
}

size_t enc_base64url(char *out, const void *in, size_t n) { return bits_to_text(out, in, n, 6, BASE64URL); }

bool dec_base64url(void *out, size_t max, size_t *n, struct str text)
{
    size_t bytes = text.len / 4 * 3 + text.len % 4 * 6 / 8;
    if (bytes > max || !text_to_bits(out, text, 6, VALUE64))
        return false;
    *n = bytes;
    return true;
}
