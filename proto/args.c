#include "proto/args_internal.h"

enum { RE_MAX = 64, BATCH_MAX = 256 };

/* Bytes of a JSON string that the scanner accepted, once its escapes are decoded. */
static size_t decoded_len(struct str inner)
{
    size_t n = 0;

    for (size_t i = 0; i < inner.len; n++) {
        unsigned unit = 0;

        if (inner.p[i] != '\\') {
            i++;
            continue;
        }
        if (inner.p[i + 1] != 'u') {
            i += 2;
            continue;
        }
        for (size_t k = 2; k < 6; k++) {
            char c = inner.p[i + k];

            unit = unit * 16 + (unsigned)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
        }
        i += 6;
        n += unit < 0x80 ? 0 : unit < 0x800 || (unit >= 0xd800 && unit <= 0xdfff) ? 1 : 2; /* a pair: 2 and 2 bytes */
    }
    return n;
}

bool args_is_id(const struct member *m)
{
    if (m->kind == SCAN_INT)
        return true;
    if (m->kind == SCAN_STRING)
        return m->value.len - 2 <= RE_MAX;
    return m->kind == SCAN_ESCAPED && decoded_len(scan_inner(m->value)) <= RE_MAX;
}

static enum code bad_json(const struct scan *s, struct str text, struct request *r, struct frame_head *head)
{
    struct member id;

    if (scan_find(text, "id", &id) && args_is_id(&id))
        head->re = id.value;
    request_fail(r, CODE_BAD_JSON, "not JSON at byte %zu", (size_t)(s->p - text.p));
    return CODE_BAD_JSON;
}

enum code args_parse_frame(struct str text, struct request *r, struct frame_head *head)
{
    struct scan s;

    *head = (struct frame_head){0};
    if (!scan_text(&s, text))
        return bad_json(&s, text, r, head);
    if (s.kind == SCAN_OBJECT && !s.unusual && args_fast(&s, r, head)) {
        request_ok(r);
        return CODE_OK;
    }
    return args_slow(text, r, head);
}

/* The end of a batch's element that starts at p: the comma or bracket behind it, or NULL when brackets or quotes don't
 * close. Which bracket closes which is the element's parser's business. */
static const char *element_end(const char *p, const char *end)
{
    size_t depth = 0;
    bool quoted = false;

    for (; p < end; p++) {
        if (quoted) {
            if (*p == '\\')
                p++;
            else if (*p == '"')
                quoted = false;
        } else if (*p == '"') {
            quoted = true;
        } else if (*p == '{' || *p == '[') {
            depth++;
        } else if (depth == 0 && (*p == ',' || *p == ']')) {
            return p;
        } else if (*p == '}' || *p == ']') {
            if (depth == 0)
                return NULL;
            depth--;
        }
    }
    return NULL;
}

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static struct str trim(struct str s)
{
    while (s.len && is_blank(s.p[0]))
        s = str_from(s, 1);
    while (s.len && is_blank(s.p[s.len - 1]))
        s.len--;
    return s;
}

static bool is_json(struct str element)
{
    struct scan s;

    return scan_text(&s, element);
}

/* Walks the elements of a trimmed array that is not empty; 0 when it does not close at its end, or, without `each`,
 * when one of them is not JSON. */
static size_t each_element(struct str array, void (*each)(void *arg, struct str element), void *arg)
{
    const char *p = array.p + 1, *end = array.p + array.len, *stop;
    size_t n = 0;

    for (;; p = stop + 1) {
        struct str element;

        stop = element_end(p, end);
        if (!stop)
            return 0;
        element = trim(str_of(p, (size_t)(stop - p)));
        if (each)
            each(arg, element);
        else if (!is_json(element))
            return 0;
        n++;
        if (*stop == ']')
            return stop + 1 == end ? n : 0;
    }
}

size_t args_split_batch(struct str text, enum err *err, void (*each)(void *arg, struct str element), void *arg)
{
    struct str array = trim(text);
    bool is_array = array.len >= 2 && array.p[0] == '[' && array.p[array.len - 1] == ']';
    bool is_empty = is_array && trim(str_of(array.p + 1, array.len - 2)).len == 0;
    size_t n = is_array && !is_empty ? each_element(array, NULL, NULL) : 0;

    *err = is_empty || n > BATCH_MAX ? ERR_LIMIT : ERR_OK;
    return n && *err == ERR_OK ? each_element(array, each, arg) : 0;
}
