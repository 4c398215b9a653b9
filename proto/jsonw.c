#include "proto/jsonw.h"

/* A value or a key is due a comma unless it is the first of its bracket or follows its key. The last byte written tells
 * that: no JSON value ends in one of these. */
static void comma(struct buf *b)
{
    char last = b->len ? b->p[b->len - 1] : '[';

    if (last != '{' && last != '[' && last != ':')
        buf_char(b, ',');
}

void jsonw_open(struct buf *b, char bracket)
{
    comma(b);
    buf_char(b, bracket);
}

void jsonw_close(struct buf *b, char bracket) { buf_char(b, bracket); }

void jsonw_key(struct buf *b, const char *key)
{
    size_t n = strlen(key);
    char *p;

    comma(b);
    p = buf_reserve(b, n + 3);
    p[0] = '"';
    memcpy(p + 1, key, n);
    p[n + 1] = '"';
    p[n + 2] = ':';
    b->len += n + 3;
}

void jsonw_int(struct buf *b, int64_t v)
{
    comma(b);
    buf_i64(b, v);
}

void jsonw_bool(struct buf *b, bool v)
{
    comma(b);
    buf_str(b, v ? STR("true") : STR("false"));
}

void jsonw_raw(struct buf *b, struct str json)
{
    comma(b);
    buf_str(b, json);
}

/* What follows the backslash; 'u' stands for the long form, 0 for a byte that is written as it is. */
static const char escape_of[256] = {
    [0 ... 7] = 'u', ['\b'] = 'b', ['\t'] = 't',      ['\n'] = 'n', [11] = 'u',
    ['\f'] = 'f',    ['\r'] = 'r', [14 ... 31] = 'u', ['"'] = '"',  ['\\'] = '\\',
};

static char *escape(char *p, uint8_t c)
{
    static const char hex[] = "0123456789abcdef";

    *p++ = '\\';
    *p++ = escape_of[c];
    if (escape_of[c] == 'u') {
        *p++ = '0';
        *p++ = '0';
        *p++ = hex[c >> 4];
        *p++ = hex[c & 15];
    }
    return p;
}

static size_t escaped_len(struct str s)
{
    size_t n = s.len;

    for (size_t i = 0; i < s.len; i++) {
        char e = escape_of[(uint8_t)s.p[i]];

        n += e == 'u' ? 5 : e != 0;
    }
    return n;
}

void jsonw_str(struct buf *b, struct str s)
{
    char *start, *p;
    size_t from = 0;

    comma(b);
    start = p = buf_reserve(b, escaped_len(s) + 2);
    *p++ = '"';
    for (size_t i = 0; i < s.len; i++) {
        if (!escape_of[(uint8_t)s.p[i]])
            continue;
        memcpy(p, s.p + from, i - from);
        p = escape(p + (i - from), (uint8_t)s.p[i]);
        from = i + 1;
    }
    if (s.len > from) {
        memcpy(p, s.p + from, s.len - from);
        p += s.len - from;
    }
    *p++ = '"';
    b->len += (size_t)(p - start);
}

/* Identifiers hold no byte that would need an escape. */
static void quoted(struct buf *b, const char *text, size_t n)
{
    char *p;

    comma(b);
    p = buf_reserve(b, n + 2);
    p[0] = '"';
    memcpy(p + 1, text, n);
    p[n + 1] = '"';
    b->len += n + 2;
}

void jsonw_user(struct buf *b, user_id u)
{
    char text[USER_TEXT];

    quoted(b, text, user_text(text, u));
}

void jsonw_device(struct buf *b, device_id d)
{
    char text[DEVICE_TEXT];

    quoted(b, text, device_text(text, d));
}

void jsonw_conv(struct buf *b, const struct conv_id *c)
{
    char text[CONV_TEXT];

    quoted(b, text, conv_text(text, c));
}
