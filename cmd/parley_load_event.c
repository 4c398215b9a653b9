#include "cmd/parley_load_event.h"

/* Which object is being read: the same name means different things in them. */
enum where { AT_TOP, IN_OK, IN_ERROR };

static bool read_object(struct events *e, struct event *out, enum where where);

static void skip_blanks(struct events *e)
{
    while (e->p < e->end && (*e->p == ' ' || *e->p == '\n' || *e->p == '\t' || *e->p == '\r'))
        e->p++;
}

static bool take(struct events *e, char c)
{
    skip_blanks(e);
    if (e->p == e->end || *e->p != c)
        return false;
    e->p++;
    return true;
}

/* Behind an opening quote: moves past the closing one. */
static bool skip_string(struct events *e)
{
    for (;;) {
        const char *quote = memchr(e->p, '"', (size_t)(e->end - e->p));
        const char *back = quote;
        if (!quote)
            return false;
        while (back > e->p && back[-1] == '\\')
            back--;
        e->p = quote + 1;
        if ((quote - back) % 2 == 0)
            return true;
    }
}

static bool read_string(struct events *e, struct str *out)
{
    const char *start;

    if (!take(e, '"'))
        return false;
    start = e->p;
    if (!skip_string(e))
        return false;
    *out = str_of(start, (size_t)(e->p - start) - 1);
    return true;
}

/* A string without escapes. */
static bool read_plain(struct events *e, struct str *out)
{
    return read_string(e, out) && !memchr(out->p, '\\', out->len);
}

static bool read_number(struct events *e, uint64_t *out)
{
    uint64_t v = 0;
    const char *start;

    skip_blanks(e);
    start = e->p;
    while (e->p < e->end && *e->p >= '0' && *e->p <= '9' && e->p - start < 19)
        v = v * 10 + (uint64_t)(*e->p++ - '0');
    *out = v;
    return e->p > start;
}

/* Objects and arrays are stepped over by counting brackets outside of strings. */
static bool skip_nested(struct events *e)
{
    int depth = 0;

    while (e->p < e->end) {
        char c = *e->p++;
        if (c == '"' && !skip_string(e))
            return false;
        if (c == '{' || c == '[')
            depth++;
        if ((c == '}' || c == ']') && --depth == 0)
            return true;
    }
    return false;
}

static bool skip_value(struct events *e, struct str *out)
{
    const char *start;
    bool fine;

    skip_blanks(e);
    start = e->p;
    if (e->p == e->end)
        return false;
    if (*e->p == '"') {
        e->p++;
        fine = skip_string(e);
    } else if (*e->p == '{' || *e->p == '[') {
        fine = skip_nested(e);
    } else {
        while (e->p < e->end && (*e->p == '-' || *e->p == '+' || *e->p == '.' || (*e->p >= '0' && *e->p <= '9') ||
                                 ((*e->p | 32) >= 'a' && (*e->p | 32) <= 'z')))
            e->p++;
        fine = e->p > start;
    }
    *out = str_of(start, (size_t)(e->p - start));
    return fine;
}

static bool read_re(struct events *e, struct event *out)
{
    struct str raw;
    int64_t id;

    out->is_reply = true;
    if (!skip_value(e, &raw))
        return false;
    out->re = str_to_i64(raw, 0, INT64_MAX, &id) ? id : -1;
    return true;
}

static bool read_dup(struct events *e, struct event *out)
{
    struct str raw;
    bool fine = skip_value(e, &raw);

    out->is_dup = fine && str_eq(raw, STR("true"));
    return fine;
}

static bool key_is(struct str key, struct str name)
{
    return key.len == name.len && memcmp(key.p, name.p, name.len) == 0;
}

static bool read_top(struct events *e, struct event *out, struct str key, struct str *ignored)
{
    switch (key.len) {
    case 2:
        if (key_is(key, STR("ev")))
            return read_plain(e, &out->ev);
        if (key_is(key, STR("re")))
            return read_re(e, out);
        if (key_is(key, STR("ok"))) {
            out->is_ok = true;
            return read_object(e, out, IN_OK);
        }
        break;
    case 3:
        if (key_is(key, STR("cid")))
            return read_plain(e, &out->cid);
        if (key_is(key, STR("seq")))
            return read_number(e, &out->seq);
        break;
    case 4:
        if (key_is(key, STR("conv")))
            return read_plain(e, &out->conv);
        if (key_is(key, STR("from")))
            return read_plain(e, &out->from);
        break;
    case 5:
        if (key_is(key, STR("error")))
            return read_object(e, out, IN_ERROR);
        break;
    case 7:
        if (key_is(key, STR("content")))
            return skip_value(e, &out->content);
        if (key_is(key, STR("entries")))
            return skip_value(e, &out->entries);
        break;
    case 8:
        if (key_is(key, STR("last_seq")))
            return read_number(e, &out->last_seq);
        break;
    default:
        break;
    }
    return skip_value(e, ignored);
}

static bool read_member(struct events *e, struct event *out, struct str key, enum where where)
{
    struct str ignored;

    if (where == AT_TOP)
        return read_top(e, out, key, &ignored);
    if (where == IN_OK && key_is(key, STR("conv")))
        return read_plain(e, &out->conv);
    if (where == IN_OK && key_is(key, STR("seq")))
        return read_number(e, &out->seq);
    if (where == IN_OK && key_is(key, STR("dup")))
        return read_dup(e, out);
    if (where == IN_OK && key_is(key, STR("entries")))
        return skip_value(e, &out->entries);
    if (where == IN_OK && key_is(key, STR("conversations")))
        return skip_value(e, &out->conversations);
    if (where == IN_OK && key_is(key, STR("cursor")))
        return read_plain(e, &out->cursor);
    if (where == IN_ERROR && key_is(key, STR("code")))
        return read_plain(e, &out->code);
    if (where == IN_ERROR && key_is(key, STR("message")))
        return read_string(e, &out->message);
    return skip_value(e, &ignored);
}

static bool read_object(struct events *e, struct event *out, enum where where)
{
    struct str key;

    if (!take(e, '{'))
        return false;
    if (take(e, '}'))
        return true;
    do {
        if (!read_string(e, &key) || !take(e, ':') || !read_member(e, out, key, where))
            return false;
    } while (take(e, ','));
    return take(e, '}');
}

struct events events_of(struct str frame)
{
    struct events e = {frame.p, frame.p + frame.len, false, false};

    e.in_array = take(&e, '[');
    return e;
}

bool events_next(struct events *e, struct event *out)
{
    skip_blanks(e);
    if (e->p == e->end || e->failed) {
        e->failed |= e->in_array;
        return false;
    }
    *out = (struct event){.re = -1};
    e->failed = !read_object(e, out, AT_TOP);
    if (e->failed)
        return false;
    skip_blanks(e);
    if (e->in_array && take(e, ']'))
        e->in_array = false;
    else if (e->in_array && !take(e, ','))
        e->failed = true;
    skip_blanks(e);
    if (!e->in_array && e->p != e->end)
        e->failed = true;
    return true;
}
