/* An HTTP call's arguments: from the path first, then from the query (GET, DELETE) and the body (all but GET), and the
 * header that stands for cid. One that comes from two places must be the same in both. */
#include "proto/args_internal.h"

struct source {
    struct request *r;
    struct arg_list list;
    struct str body;
    json_t *root; /* of the body; NULL: none */
};

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c | 32) >= 'a' && (c | 32) <= 'f')
        return (c | 32) - 'a' + 10;
    return -1;
}

/* Percent-decoding with `+` for a blank, as forms have it; what is not an escape stays as it is. */
static struct str decode(struct str s, struct arena *arena)
{
    char *out = arena_alloc(arena, s.len + 1);
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == '%' && i + 2 < s.len && hex(s.p[i + 1]) >= 0 && hex(s.p[i + 2]) >= 0) {
            out[n++] = (char)(hex(s.p[i + 1]) * 16 + hex(s.p[i + 2]));
            i += 2;
        } else {
            out[n++] = s.p[i] == '+' ? ' ' : s.p[i];
        }
    }
    return (struct str){out, n};
}

static enum code refuse(struct request *r, const struct arg *a, const char *why)
{
    request_fail(r, CODE_BAD_REQUEST, "%s: %s", a->name, why);
    return CODE_BAD_REQUEST;
}

static enum code set_url(struct source *s, struct str name, struct str text)
{
    const struct arg *a = arg_find(s->list, name);
    struct value v = {.kind = VALUE_URL, .text = text}, in_body;

    if (!a)
        return CODE_OK;
    if (arg_is_set(a, s->r))
        return refuse(s->r, a, "is there twice");
    if (s->root && args_tree_value(a, s->body, s->root, &s->r->arena, &in_body)) {
        enum code code = in_body.kind == VALUE_STRING ? CODE_OK : arg_set(a, &in_body, s->r);

        if (code != CODE_OK)
            return code; /* it is not even of the right type */
        if (in_body.kind != VALUE_STRING || !str_eq(in_body.text, text))
            return refuse(s->r, a, "is there twice, with different values");
    }
    return arg_set(a, &v, s->r);
}

static enum code set_query(struct source *s, struct str query)
{
    enum code code = CODE_OK;

    while (code == CODE_OK && query.len) {
        struct str pair, name, value;

        if (!str_cut(query, '&', &pair, &query)) {
            pair = query;
            query.len = 0;
        }
        if (!str_cut(pair, '=', &name, &value)) {
            name = pair;
            value = str_from(pair, pair.len);
        }
        code = set_url(s, decode(name, &s->r->arena), decode(value, &s->r->arena));
    }
    return code;
}

static enum code set_body(struct source *s)
{
    enum code code = CODE_OK;
    struct value v;

    for (size_t i = 0; s->root && code == CODE_OK && i < s->list.n; i++)
        if (!arg_is_set(&s->list.v[i], s->r) && args_tree_value(&s->list.v[i], s->body, s->root, &s->r->arena, &v))
            code = arg_set(&s->list.v[i], &v, s->r);
    return code;
}

static enum code set_all(struct source *s, const struct route_match *m, struct str query, struct str idempotency_key)
{
    enum code code = CODE_OK;

    for (size_t i = 0; code == CODE_OK && i < m->n; i++)
        code = set_url(s, m->name[i], m->value[i]);
    if (code == CODE_OK && idempotency_key.len)
        code = set_url(s, STR("cid"), idempotency_key);
    if (code == CODE_OK && (m->method == METHOD_GET || m->method == METHOD_DELETE))
        code = set_query(s, query);
    if (code == CODE_OK)
        code = set_body(s);
    return code == CODE_OK ? arg_check_all(s->list, s->r) : code;
}

static enum code load_body(struct source *s)
{
    struct scan scan;

    if (!scan_text(&scan, s->body)) {
        request_fail(s->r, CODE_BAD_JSON, "body: not JSON at byte %zu", (size_t)(scan.p - s->body.p));
        return CODE_BAD_JSON;
    }
    s->root = args_load(s->body, s->r);
    return s->root ? CODE_OK : s->r->code;
}

enum code args_parse_http(const struct route_match *m, struct str query, struct str body, struct str idempotency_key,
                          struct request *r)
{
    struct source s = {.r = r, .list = arg_list_of(m->op), .body = body};
    enum code code = CODE_OK;

    r->op = m->op;
    r->args = arena_alloc(&r->arena, sizeof *r->args);
    if (body.len && m->method != METHOD_GET)
        code = load_body(&s);
    if (code == CODE_OK)
        code = set_all(&s, m, query, idempotency_key);
    json_decref(s.root);
    if (code == CODE_OK)
        request_ok(r);
    return code;
}
