/* The fast way: every argument is taken from where the scanner saw it, without a copy. It serves every op, with the
 * exception of the rare types at the end; whatever is not plain is left to jansson, complaints included. */
#include "proto/args_internal.h"

#define GET(m, name) members_get(m, name, sizeof(name) - 1)

static struct content_shape shape_of(const struct members *content)
{
    const struct member *type = GET(content, "type"), *text = GET(content, "text");
    struct content_shape shape = {0};

    if (type && type->kind == SCAN_STRING) {
        shape.has_type = true;
        shape.is_text = str_eq(type->value, STR("\"text\""));
    }
    if (text && (text->kind == SCAN_STRING || text->kind == SCAN_ESCAPED)) {
        shape.has_text = true;
        shape.text_len = text->value.len - 2; /* escapes only make it longer: an upper bound */
    }
    return shape;
}

static struct value value_of(const struct scan *s, const struct arg *a, const struct member *m, struct arena *arena)
{
    struct value v = {.kind = VALUE_OTHER};

    switch (m->kind) {
    case SCAN_STRING:
        v.kind = VALUE_STRING;
        v.text = scan_inner(m->value);
        break;
    case SCAN_INT:
        v.kind = str_to_i64(m->value, INT64_MIN, INT64_MAX, &v.num) ? VALUE_INT : VALUE_OTHER;
        break;
    case SCAN_TRUE:
    case SCAN_FALSE:
        v.kind = VALUE_BOOL;
        v.num = m->kind == SCAN_TRUE;
        break;
    case SCAN_OBJECT:
        if (a->type == ARG_content) {
            v.kind = VALUE_CONTENT;
            v.text = m->value;
            v.shape = shape_of(&s->content);
        }
        break;
    case SCAN_ARRAY:
        if (a->type == ARG_users) {
            size_t max = m->value.len / 4 + 1; /* an identifier has two quotes, a byte and a comma */

            v.items = arena_alloc(arena, max * sizeof *v.items);
            v.kind = scan_strings(m->value, v.items, max, &v.n) ? VALUE_LIST : VALUE_OTHER;
        }
        break;
    default:
        break;
    }
    return v;
}

bool args_fast(const struct scan *s, struct request *r, struct frame_head *head)
{
    const struct member *id = GET(&s->top, "id"), *op = GET(&s->top, "op");
    struct arg_list list;

    if (!id || id->kind == SCAN_ESCAPED || !args_is_id(id) || !op || op->kind != SCAN_STRING)
        return false;
    head->op_name = scan_inner(op->value);
    if (!op_find(head->op_name, &r->op) || !(op_table[r->op].via & VIA_WS))
        return false;
    head->re = id->value;
    head->op_known = true;
    list = arg_list_of(r->op);
    r->args = arena_alloc(&r->arena, sizeof *r->args);
    for (size_t i = 0; i < s->top.n; i++) {
        const struct member *m = &s->top.v[i];
        const struct arg *a = arg_find(list, m->key);

        if (a) {
            struct value v = value_of(s, a, m, &r->arena);

            if (arg_set(a, &v, r) != CODE_OK)
                return false;
        }
    }
    return arg_check_all(list, r) == CODE_OK;
}
