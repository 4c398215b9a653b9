#include "proto/scan.h"

static bool value(struct scan *s, enum scan_kind *kind, struct members *into);

static void blanks(struct scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
        s->p++;
}

static bool accept(struct scan *s, char c)
{
    if (s->p == s->end || *s->p != c)
        return false;
    s->p++;
    return true;
}

/* A word with the high bit of each byte that is zero; exact up to the lowest one, which is all that is asked. */
#define BYTES(c) (0x0101010101010101u * (uint64_t)(c))
static uint64_t zero_bytes(uint64_t w) { return (w - BYTES(1)) & ~w & BYTES(0x80); }
static uint64_t low_bytes(uint64_t w) { return (w - BYTES(0x20)) & ~w & BYTES(0x80); } /* below 0x20 */

/* Steps over what may stand in a string as it is, eight bytes at a time; *seen collects the bytes' bits. */
static const char *plain(const char *p, const char *end, uint64_t *seen)
{
    for (; end - p >= 8; p += 8) {
        uint64_t w, stop;

        memcpy(&w, p, 8);
        stop = zero_bytes(w ^ BYTES('"')) | zero_bytes(w ^ BYTES('\\')) | low_bytes(w);
        if (stop) {
            unsigned bits = (unsigned)__builtin_ctzll(stop) - 7;

            *seen |= bits ? w << (64 - bits) : 0;
            return p + bits / 8;
        }
        *seen |= w;
    }
    for (; p < end && *p != '"' && *p != '\\' && (uint8_t)*p >= 0x20; p++)
        *seen |= (uint8_t)*p;
    return p;
}

/* Four hex digits; negative when they are not. */
static int hex4(const char *p, const char *end)
{
    int v = 0;

    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = p[i];

        if (c >= '0' && c <= '9')
            v = v * 16 + (c - '0');
        else if ((c | 32) >= 'a' && (c | 32) <= 'f')
            v = v * 16 + ((c | 32) - 'a' + 10);
        else
            return -1;
    }
    return v;
}

/* What follows a backslash; NULL when nothing that may. A surrogate must come as a pair. */
static const char *escape(const char *p, const char *end)
{
    int unit;

    if (p == end)
        return NULL;
    if (*p != 'u')
        return *p && strchr("\"\\/bfnrt", *p) ? p + 1 : NULL;
    unit = hex4(p + 1, end);
    if (unit < 0 || (unit >= 0xdc00 && unit <= 0xdfff))
        return NULL;
    if (unit < 0xd800 || unit > 0xdfff)
        return p + 5;
    if (end - p < 11 || p[5] != '\\' || p[6] != 'u')
        return NULL;
    unit = hex4(p + 7, end);
    return unit >= 0xdc00 && unit <= 0xdfff ? p + 11 : NULL;
}

static bool string(struct scan *s, struct str *inner, bool *escaped)
{
    const char *start = s->p + 1, *p = start;
    uint64_t seen = 0;

    *escaped = false;
    for (;;) {
        p = plain(p, s->end, &seen);
        if (p == s->end || *p != '\\')
            break;
        *escaped = true;
        p = escape(p + 1, s->end);
        if (!p)
            return false;
    }
    if (p == s->end || *p != '"')
        return false;
    *inner = (struct str){start, (size_t)(p - start)};
    if ((seen & BYTES(0x80)) && !str_is_utf8(*inner))
        return false;
    s->p = p + 1;
    return true;
}

static size_t digits(struct scan *s)
{
    const char *start = s->p;

    while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
        s->p++;
    return (size_t)(s->p - start);
}

static bool is_int64(struct str n)
{
    bool minus = n.p[0] == '-';
    struct str abs = str_from(n, minus);
    struct str max = minus ? STR("9223372036854775808") : STR("9223372036854775807");

    return abs.len < max.len || (abs.len == max.len && str_cmp(abs, max) <= 0);
}

/* A real with an exponent of two digits and less than 200 digits is far below the largest double. */
static bool number(struct scan *s, enum scan_kind *kind)
{
    const char *start = s->p;
    size_t exponent = 0;

    accept(s, '-');
    if (!accept(s, '0') && digits(s) == 0)
        return false;
    *kind = SCAN_INT;
    if (accept(s, '.')) {
        *kind = SCAN_REAL;
        if (digits(s) == 0)
            return false;
    }
    if (s->p < s->end && (*s->p | 32) == 'e') {
        *kind = SCAN_REAL;
        s->p++;
        if (!accept(s, '-'))
            accept(s, '+');
        exponent = digits(s);
        if (exponent == 0)
            return false;
    }
    if (*kind == SCAN_INT)
        return s->p - start <= 18 || is_int64(str_of(start, (size_t)(s->p - start)));
    if (exponent > 2 || s->p - start > 200)
        s->unusual = true;
    return true;
}

static bool literal(struct scan *s, struct str word)
{
    if (!str_starts(str_of(s->p, (size_t)(s->end - s->p)), word))
        return false;
    s->p += word.len;
    return true;
}

static bool array(struct scan *s)
{
    enum scan_kind kind;

    blanks(s);
    if (accept(s, ']'))
        return true;
    for (;;) {
        blanks(s);
        if (!value(s, &kind, NULL))
            return false;
        blanks(s);
        if (accept(s, ']'))
            return true;
        if (!accept(s, ','))
            return false;
    }
}

static bool member(struct scan *s, struct member *m, struct members *into)
{
    const char *start;
    bool escaped;

    blanks(s);
    if (s->p == s->end || *s->p != '"' || !string(s, &m->key, &escaped))
        return false;
    s->unusual |= escaped;
    blanks(s);
    if (!accept(s, ':'))
        return false;
    blanks(s);
    start = s->p;
    if (s->depth != 1 || !str_eq(m->key, STR("content")))
        into = NULL;
    if (!value(s, &m->kind, into))
        return false;
    m->value = (struct str){start, (size_t)(s->p - start)};
    return true;
}

static void remember(struct scan *s, struct members *all, const struct member *m)
{
    if (all->n == SCAN_MEMBERS || members_get(all, m->key.p, m->key.len))
        s->unusual = true;
    else
        all->v[all->n++] = *m;
}

static bool object(struct scan *s, struct members *all)
{
    struct member m;

    all->n = 0;
    blanks(s);
    if (accept(s, '}'))
        return true;
    for (;;) {
        if (!member(s, &m, &s->content))
            return false;
        remember(s, all, &m);
        blanks(s);
        if (accept(s, '}'))
            return true;
        if (!accept(s, ','))
            return false;
    }
}

static bool nested_object(struct scan *s)
{
    struct members all;

    return object(s, &all);
}

static bool container(struct scan *s, bool is_object, struct members *into)
{
    bool ok;

    if (s->depth == SCAN_DEPTH)
        return false;
    s->p++;
    s->depth++;
    ok = !is_object ? array(s) : into ? object(s, into) : nested_object(s);
    s->depth--;
    return ok;
}

/* A value and its kind; an object's members go to `into` where that is given. */
static bool value(struct scan *s, enum scan_kind *kind, struct members *into)
{
    struct str inner;
    bool escaped;

    if (s->p == s->end)
        return false;
    switch (*s->p) {
    case '"':
        if (!string(s, &inner, &escaped))
            return false;
        *kind = escaped ? SCAN_ESCAPED : SCAN_STRING;
        return true;
    case '{':
        *kind = SCAN_OBJECT;
        return container(s, true, into);
    case '[':
        *kind = SCAN_ARRAY;
        return container(s, false, NULL);
    case 't':
        *kind = SCAN_TRUE;
        return literal(s, STR("true"));
    case 'f':
        *kind = SCAN_FALSE;
        return literal(s, STR("false"));
    case 'n':
        *kind = SCAN_NULL;
        return literal(s, STR("null"));
    default:
        return number(s, kind);
    }
}

static void start(struct scan *s, struct str text)
{
    s->p = text.p;
    s->end = text.p + text.len;
    s->depth = 0;
    s->unusual = false;
    s->top.n = s->content.n = 0;
    blanks(s);
}

bool scan_text(struct scan *s, struct str text)
{
    start(s, text);
    if (!value(s, &s->kind, &s->top))
        return false;
    blanks(s);
    return s->p == s->end;
}

/* Whether a key as it stands, maybe with escapes, is the name, which is plain ASCII. */
static bool key_is(struct str key, const char *name)
{
    const char *p = key.p, *end = key.p + key.len;

    for (; p < end && *name; name++) {
        int c = (uint8_t)*p++;

        if (c == '\\' && *p == 'u') {
            c = hex4(p + 1, end);
            p += 5;
        } else if (c == '\\') {
            c = strchr("\"\\/", *p) ? *p : 0; /* the others are control characters, which no name has */
            p++;
        }
        if (c != *name)
            return false;
    }
    return p == end && !*name;
}

bool scan_find(struct str text, const char *key, struct member *out)
{
    struct scan s;
    struct member m;

    start(&s, text);
    if (!accept(&s, '{'))
        return false;
    s.depth = 1;
    do {
        if (!member(&s, &m, NULL))
            return false;
        if (key_is(m.key, key)) {
            *out = m;
            return true;
        }
        blanks(&s);
    } while (accept(&s, ','));
    return false;
}

const struct member *members_get(const struct members *m, const char *key, size_t len)
{
    for (size_t i = 0; i < m->n; i++)
        if (m->v[i].key.len == len && memcmp(m->v[i].key.p, key, len) == 0)
            return &m->v[i];
    return NULL;
}

bool scan_strings(struct str array, struct str *items, size_t max, size_t *n)
{
    struct scan s;
    bool escaped;

    start(&s, str_of(array.p + 1, array.len - 1));
    *n = 0;
    if (accept(&s, ']'))
        return true;
    do {
        blanks(&s);
        if (*n == max || s.p == s.end || *s.p != '"' || !string(&s, &items[*n], &escaped) || escaped)
            return false;
        ++*n;
        blanks(&s);
    } while (accept(&s, ','));
    return accept(&s, ']');
}
