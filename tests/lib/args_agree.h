/* args_agree: the promise that the scanner and jansson accept the same texts and find the same arguments in them, for
 * the differential test and the fuzzer. */
#pragma once
#include "proto/args_internal.h"

static inline unsigned args_agree_depth(struct str text)
{
    unsigned depth = 0, deepest = 0;
    bool quoted = false;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.p[i];

        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '{' || c == '['))
            deepest = ++depth > deepest ? depth : deepest;
        else if (!quoted && (c == '}' || c == ']'))
            depth--;
    }
    return deepest;
}

static inline bool args_agree_value(const struct arg *a, const union args *x, const union args *y)
{
    const char *p = (const char *)x + a->offset, *q = (const char *)y + a->offset;

    switch ((enum arg_type)a->type) {
    case ARG_conv:
        return memcmp(p, q, sizeof(struct conv_id)) == 0;
    case ARG_user:
    case ARG_device:
    case ARG_num:
    case ARG_count:
        return memcmp(p, q, sizeof(uint64_t)) == 0;
    case ARG_cid:
    case ARG_word:
    case ARG_text:
    case ARG_secret:
    case ARG_content:
        return str_eq(*(const struct str *)p, *(const struct str *)q);
    case ARG_flag:
    case ARG_mode:
        return *(const bool *)p == *(const bool *)q;
    case ARG_role:
        return *(const enum role *)p == *(const enum role *)q;
    case ARG_users: {
        const struct user_list *v = (const void *)p, *w = (const void *)q;

        return v->n == w->n && memcmp(v->v, w->v, v->n * sizeof *v->v) == 0;
    }
    case ARG_positions:
    case ARG_later:
        return false; /* never comes from the fast way */
    }
    return false;
}

static inline bool args_agree_args(const struct request *x, const struct request *y)
{
    struct arg_list l = arg_list_of(x->op);

    for (size_t i = 0; i < l.n; i++) {
        if (arg_is_set(&l.v[i], x) != arg_is_set(&l.v[i], y))
            return false;
        if (arg_is_set(&l.v[i], x) && !args_agree_value(&l.v[i], x->args, y->args))
            return false;
    }
    return true;
}

/* NULL, or what is wrong. *fast tells whether the fast way took it. */
static inline const char *args_agree(struct str text, bool *fast)
{
    struct request *x = request_new(NULL, NULL), *y = request_new(NULL, NULL);
    struct frame_head hx = {0}, hy = {0};
    json_t *tree = json_loadb(text.p, text.len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    struct scan s;
    bool scanned = scan_text(&s, text);
    const char *why = NULL;

    *fast = false;
    /* jansson 2.14 skips a raw zero byte behind a number or a literal; the scanner lets none pass anywhere. */
    if (!scanned && tree && args_agree_depth(text) <= SCAN_DEPTH && !memchr(text.p, '\0', text.len))
        why = "jansson accepts what the scanner refuses";
    if (scanned && !s.unusual && !tree)
        why = "the scanner accepts what jansson refuses";
    if (scanned && args_agree_depth(text) > SCAN_DEPTH)
        why = "too deep";
    if (scanned && !why) {
        enum code code = args_slow(text, y, &hy);

        *fast = s.kind == SCAN_OBJECT && !s.unusual && args_fast(&s, x, &hx);
        if (*fast && code != CODE_OK)
            why = "the fast way accepts what the other refuses";
        else if (*fast && (x->op != y->op || !str_eq(hx.re, hy.re) || !str_eq(hx.op_name, hy.op_name)))
            why = "another head";
        else if (*fast && !args_agree_args(x, y))
            why = "other arguments";
    }
    json_decref(tree);
    request_free(x);
    request_free(y);
    return why;
}
