#include "base/str.h"

bool str_cut(struct str s, char sep, struct str *head, struct str *rest)
{
    const char *at = s.len ? memchr(s.p, sep, s.len) : NULL;
    if (!at)
        return false;
    size_t n = (size_t)(at - s.p);
    *head = str_of(s.p, n);
    *rest = str_from(s, n + 1);
    return true;
}

bool str_to_i64(struct str s, int64_t min, int64_t max, int64_t *out)
{
    bool negative = s.len > 0 && s.p[0] == '-';
    int64_t v = 0;

    if (negative)
        s = str_from(s, 1);
    if (s.len == 0)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        int digit = s.p[i] - '0';
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, negative ? -digit : digit, &v))
            return false;
    }
    if (v < min || v > max)
        return false;
    *out = v;
    return true;
}

static bool is_tail(uint8_t c) { return (c & 0xc0) == 0x80; }

/* The length of the character at p, or 0 when it is none. The second byte's range is what excludes overlong forms,
 * surrogates and what lies above U+10FFFF. */
static size_t utf8_length(const uint8_t *p, size_t left)
{
    uint8_t c = p[0];
    if (c < 0x80)
        return 1;
    if (c < 0xc2)
        return 0;
    if (c < 0xe0)
        return left >= 2 && is_tail(p[1]) ? 2 : 0;
    if (c < 0xf0) {
        if (left < 3 || !is_tail(p[1]) || !is_tail(p[2]))
            return 0;
        return (c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] > 0x9f) ? 0 : 3;
    }
    if (c > 0xf4 || left < 4 || !is_tail(p[1]) || !is_tail(p[2]) || !is_tail(p[3]))
        return 0;
    return (c == 0xf0 && p[1] < 0x90) || (c == 0xf4 && p[1] > 0x8f) ? 0 : 4;
}

bool str_is_utf8(struct str s)
{
    const uint8_t *p = (const uint8_t *)s.p;
    size_t i = 0;

    while (i < s.len) {
        uint64_t eight;
        if (s.len - i >= 8 && (memcpy(&eight, p + i, 8), (eight & 0x8080808080808080u) == 0)) {
            i += 8; /* most text is ASCII */
            continue;
        }
        size_t n = utf8_length(p + i, s.len - i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}
