/* str: a borrowed run of bytes; not terminated, may hold zeros. Passed by value. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *p;
    size_t len;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
#define STR_FMT "%.*s"
#define STR_ARG(s) (int)(s).len, (s).p

static inline struct str str_of(const void *p, size_t len) { return (struct str){(const char *)p, len}; }
static inline struct str str_c(const char *z) { return (struct str){z, z ? strlen(z) : 0}; }
static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}
static inline bool str_starts(struct str s, struct str prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.p, prefix.p, prefix.len) == 0);
}
/* Bytewise order, the shorter first among equals. */
static inline int str_cmp(struct str a, struct str b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.len > b.len) - (a.len < b.len);
}
/* The first 8 bytes as a number, zeros behind a shorter one: where heads differ, they are ordered as the strings are.
 */
static inline uint64_t str_head(struct str s)
{
    unsigned char b[8] = {0};
    uint64_t v;
    if (s.len)
        memcpy(b, s.p, s.len < 8 ? s.len : 8);
    memcpy(&v, b, 8);
    return __builtin_bswap64(v);
}
static inline struct str str_from(struct str s, size_t at)
{
    return at >= s.len ? (struct str){s.p + s.len, 0} : (struct str){s.p + at, s.len - at};
}

/* Splits at the first `sep`: *head gets what stands before it, *rest what stands behind. False when there is none. */
bool str_cut(struct str s, char sep, struct str *head, struct str *rest);
/* A whole decimal integer within [min, max]; false for anything else (signs other than '-', blanks, overflow). */
bool str_to_i64(struct str s, int64_t min, int64_t max, int64_t *out);
/* UTF-8 as RFC 3629 has it: no overlong form, no surrogate, nothing above U+10FFFF. */
bool str_is_utf8(struct str s);
