/* The other way: jansson's tree, for whatever the fast one does not settle. jansson is stricter than its defaults here
 * (no repeated key, U+0000 kept), and what it would let pass (depth, what is beyond int64) the scanner has refused. */
#include "proto/args_internal.h"

static const char *complaint(const json_error_t *e)
{
    switch (json_error_code(e)) {
    case json_error_duplicate_key:
        return "a key is there twice";
    case json_error_null_byte_in_key:
        return "a key holds U+0000";
    case json_error_numeric_overflow:
        return "a number is out of range";
    default:
        return "not JSON";
    }
}

json_t *args_load(struct str text, struct request *r)
{
    json_error_t error;
    json_t *root = json_loadb(text.p, text.len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);

    if (!root) {
        request_fail(r, CODE_BAD_JSON, "%s", complaint(&error));
    } else if (!json_is_object(root)) {
        request_fail(r, CODE_BAD_REQUEST, "must be an object");
        json_decref(root);
        root = NULL;
    }
    return root;
}

static struct str text_of(const json_t *string)
{
    return (struct str){json_string_value(string), json_string_length(string)};
}

static struct content_shape shape_of(const json_t *content)
{
    const json_t *type = json_object_get(content, "type"), *text = json_object_get(content, "text");
    struct content_shape shape = {0};

    if (json_is_string(type)) {
        shape.has_type = true;
        shape.is_text = str_eq(text_of(type), STR("text"));
    }
    if (json_is_string(text)) {
        shape.has_text = true;
        shape.text_len = json_string_length(text);
    }
    return shape;
}

static void list_value(json_t *array, struct arena *arena, struct value *out)
{
    size_t n = json_array_size(array);

    out->items = arena_alloc(arena, n * sizeof *out->items);
    for (out->n = 0; out->n < n; out->n++) {
        json_t *item = json_array_get(array, out->n);

        if (!json_is_string(item))
            return;
        out->items[out->n] = arena_dup(arena, text_of(item));
    }
    out->kind = VALUE_LIST;
}

static void pairs_value(json_t *object, struct arena *arena, struct value *out)
{
    size_t n = json_object_size(object);

    out->items = arena_alloc(arena, n * sizeof *out->items);
    out->nums = arena_alloc(arena, n * sizeof *out->nums);
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
        json_t *num = json_object_iter_value(at);

        if (!json_is_integer(num))
            return;
        out->items[out->n] = arena_dup(arena, str_c(json_object_iter_key(at)));
        out->nums[out->n++] = json_integer_value(num);
    }
    out->kind = VALUE_PAIRS;
}

/* The tree has lost the bytes of `content`, so they are looked up in the text. */
static void content_value(const struct arg *a, struct str text, const json_t *object, struct value *out)
{
    struct member m;

    if (scan_find(text, a->name, &m)) {
        out->kind = VALUE_CONTENT;
        out->text = m.value;
        out->shape = shape_of(object);
    }
}

bool args_tree_value(const struct arg *a, struct str text, json_t *root, struct arena *arena, struct value *out)
{
    json_t *node = json_object_get(root, a->name);

    *out = (struct value){.kind = VALUE_OTHER};
    if (json_is_string(node)) {
        out->kind = VALUE_STRING;
        out->text = arena_dup(arena, text_of(node));
    } else if (json_is_integer(node)) {
        out->kind = VALUE_INT;
        out->num = json_integer_value(node);
    } else if (json_is_boolean(node)) {
        out->kind = VALUE_BOOL;
        out->num = json_is_true(node);
    } else if (json_is_array(node) && a->type == ARG_users) {
        list_value(node, arena, out);
    } else if (json_is_object(node) && a->type == ARG_positions) {
        pairs_value(node, arena, out);
    } else if (json_is_object(node) && a->type == ARG_content) {
        content_value(a, text, node, out);
    }
    return node != NULL;
}

static enum code fail(struct request *r, enum code code, const char *why)
{
    request_fail(r, code, "%s", why);
    return code;
}

static enum code read_head(json_t *root, struct request *r, struct frame_head *head)
{
    json_t *op = json_object_get(root, "op");
    const json_t *id = json_object_get(root, "id");

    if (json_is_string(op))
        head->op_name = arena_dup(&r->arena, text_of(op));
    if (!head->re.len)
        return fail(r, CODE_BAD_REQUEST, id ? "id: must be an integer or a string of at most 64 bytes" : "id: missing");
    if (!json_is_string(op))
        return fail(r, CODE_BAD_REQUEST, op ? "op: must be a string" : "op: missing");
    if (!op_find(head->op_name, &r->op) || !(op_table[r->op].via & VIA_WS))
        return fail(r, CODE_UNKNOWN_OP, "no such op");
    head->op_known = true;
    return CODE_OK;
}

static enum code set_all(struct str text, json_t *root, struct request *r)
{
    struct arg_list list = arg_list_of(r->op);
    struct value v;

    r->args = arena_alloc(&r->arena, sizeof *r->args);
    for (size_t i = 0; i < list.n; i++) {
        if (args_tree_value(&list.v[i], text, root, &r->arena, &v)) {
            enum code code = arg_set(&list.v[i], &v, r);

            if (code != CODE_OK)
                return code;
        }
    }
    return arg_check_all(list, r);
}

enum code args_slow(struct str text, struct request *r, struct frame_head *head)
{
    struct member id;
    json_t *root = args_load(text, r);
    enum code code;

    *head = (struct frame_head){0};
    if (scan_find(text, "id", &id) && args_is_id(&id))
        head->re = id.value;
    if (!root)
        return r->code;
    code = read_head(root, r, head);
    if (code == CODE_OK)
        code = set_all(text, root, r);
    json_decref(root);
    if (code == CODE_OK)
        request_ok(r);
    return code;
}
