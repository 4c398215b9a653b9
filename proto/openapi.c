#include "proto/openapi.h"
#include "proto/arg.h"
#include "proto/jsonw.h"
#include "proto/route.h"

#define TEXT(b, key, value) jsonw_key_str(b, key, str_c(value))

static void key_open(struct buf *b, const char *key, char bracket)
{
    jsonw_key(b, key);
    jsonw_open(b, bracket);
}

static void ref(struct buf *b, const char *to)
{
    jsonw_open(b, '{');
    TEXT(b, "$ref", to);
    jsonw_close(b, '}');
}

static void key_ref(struct buf *b, const char *key, const char *to)
{
    jsonw_key(b, key);
    ref(b, to);
}

static void words(struct buf *b, const char *key, const char *const *v, size_t n)
{
    key_open(b, key, '[');
    for (size_t i = 0; i < n; i++)
        jsonw_str(b, str_c(v[i]));
    jsonw_close(b, ']');
}

/* The members of an argument's schema, between braces that the caller writes. */
static void schema_members(struct buf *b, const struct arg *a)
{
    static const char *const roles[] = {"member", "admin", "owner"}, *const modes[] = {"joined", "all"};

    switch ((enum arg_type)a->type) {
    case ARG_conv:
    case ARG_user:
    case ARG_device:
        TEXT(b, "$ref", "#/components/schemas/Id");
        break;
    case ARG_cid:
        TEXT(b, "$ref", "#/components/schemas/Cid");
        break;
    case ARG_content:
        TEXT(b, "$ref", "#/components/schemas/Content");
        break;
    case ARG_word:
    case ARG_secret:
    case ARG_text:
        TEXT(b, "type", "string");
        jsonw_key_int(b, "maxLength", (int64_t)a->bound);
        if (a->type == ARG_secret)
            TEXT(b, "format", "password");
        break;
    case ARG_num:
    case ARG_count:
        TEXT(b, "type", "integer");
        jsonw_key_int(b, "minimum", a->type == ARG_count);
        jsonw_key_int(b, "maximum", (int64_t)a->bound);
        break;
    case ARG_flag:
        TEXT(b, "type", "boolean");
        break;
    case ARG_users:
        TEXT(b, "type", "array");
        key_ref(b, "items", "#/components/schemas/Id");
        jsonw_key_int(b, "maxItems", (int64_t)a->bound);
        jsonw_key_bool(b, "uniqueItems", true);
        break;
    case ARG_positions:
        TEXT(b, "type", "object");
        key_ref(b, "propertyNames", "#/components/schemas/Id");
        key_ref(b, "additionalProperties", "#/components/schemas/Seq");
        jsonw_key_int(b, "maxProperties", (int64_t)a->bound);
        break;
    case ARG_role:
        TEXT(b, "type", "string");
        words(b, "enum", roles, 3);
        break;
    case ARG_mode:
        TEXT(b, "type", "string");
        words(b, "enum", modes, 2);
        break;
    case ARG_later: /* is_beside_path leaves it out */
        break;
    }
}

static void key_schema(struct buf *b, const char *key, const struct arg *a)
{
    key_open(b, key, '{');
    schema_members(b, a);
    jsonw_close(b, '}');
}

static bool next_parameter(struct str *path, struct str *name)
{
    struct str head;

    return str_cut(*path, '{', &head, path) && str_cut(*path, '}', name, path);
}

static bool path_has(const char *path, struct str name)
{
    struct str rest = str_c(path), found;

    while (next_parameter(&rest, &found))
        if (str_eq(found, name))
            return true;
    return false;
}

/* OpenAPI takes two paths that differ only in the names of their parameters for one path. */
static bool same_shape(const char *a, const char *b)
{
    while (*a && *b) {
        if (*a == '{' && *b == '{') {
            a = strchr(a, '}');
            b = strchr(b, '}');
        }
        if (*a++ != *b++)
            return false;
    }
    return *a == *b;
}

/* What a route's arguments are besides those in its path. Who is written to is always in the path. */
static bool is_beside_path(const struct route *r, const struct arg *a)
{
    if (a->type == ARG_later)
        return false;
    if (r->op == OP_message_send && (a->type == ARG_conv || a->type == ARG_user))
        return false;
    return !path_has(r->path, str_of(a->name, a->name_len));
}

static void parameter(struct buf *b, struct str name, const char *in, bool required)
{
    jsonw_open(b, '{');
    jsonw_key_str(b, "name", name);
    TEXT(b, "in", in);
    jsonw_key_bool(b, "required", required);
}

/* `shape` is the path as it is printed, whose names may differ from the route's. */
static void path_parameters(struct buf *b, const char *shape, const struct route *r)
{
    struct str printed = str_c(shape), own = str_c(r->path), name, own_name;

    while (next_parameter(&printed, &name) && next_parameter(&own, &own_name)) {
        const struct arg *a = arg_find(arg_list_of(r->op), own_name);

        parameter(b, name, "path", true);
        if (a->type == ARG_users)
            key_ref(b, "schema", "#/components/schemas/Id");
        else
            key_schema(b, "schema", a);
        jsonw_close(b, '}');
    }
}

static void query_parameters(struct buf *b, const struct route *r)
{
    struct arg_list l = arg_list_of(r->op);

    for (size_t i = 0; i < l.n; i++) {
        const struct arg *a = &l.v[i];

        if (!is_beside_path(r, a))
            continue;
        parameter(b, str_c(a->name), "query", a->must && a->type != ARG_cid);
        if (a->type == ARG_users)
            jsonw_key_bool(b, "explode", false);
        key_schema(b, "schema", a);
        jsonw_close(b, '}');
    }
}

static bool takes_query(const struct route *r) { return r->method == METHOD_GET || r->method == METHOD_DELETE; }

static void parameters(struct buf *b, const char *shape, const struct route *r)
{
    key_open(b, "parameters", '[');
    path_parameters(b, shape, r);
    if (takes_query(r))
        query_parameters(b, r);
    if (arg_find(arg_list_of(r->op), STR("cid"))) {
        parameter(b, STR("Idempotency-Key"), "header", false);
        TEXT(b, "description", "Stands for cid; one of the two must be there.");
        key_ref(b, "schema", "#/components/schemas/Cid");
        jsonw_close(b, '}');
    }
    jsonw_close(b, ']');
}

static bool is_required_in_body(const struct route *r, const struct arg *a)
{
    return a->must && a->type != ARG_cid && is_beside_path(r, a);
}

static void body_schema(struct buf *b, const struct route *r)
{
    struct arg_list l = arg_list_of(r->op);

    TEXT(b, "type", "object");
    key_open(b, "properties", '{');
    for (size_t i = 0; i < l.n; i++)
        if (is_beside_path(r, &l.v[i]))
            key_schema(b, l.v[i].name, &l.v[i]);
    jsonw_close(b, '}');
    key_open(b, "required", '[');
    for (size_t i = 0; i < l.n; i++)
        if (is_required_in_body(r, &l.v[i]))
            jsonw_str(b, str_c(l.v[i].name));
    jsonw_close(b, ']');
}

static void request_body(struct buf *b, const struct route *r)
{
    struct arg_list l = arg_list_of(r->op);
    bool required = false;

    for (size_t i = 0; i < l.n; i++)
        required |= is_required_in_body(r, &l.v[i]);
    key_open(b, "requestBody", '{');
    jsonw_key_bool(b, "required", required);
    key_open(b, "content", '{');
    key_open(b, "application/json", '{');
    key_open(b, "schema", '{');
    body_schema(b, r);
    jsonw_close(b, '}');
    jsonw_close(b, '}');
    jsonw_close(b, '}');
    jsonw_close(b, '}');
}

static void json_object_content(struct buf *b)
{
    key_open(b, "content", '{');
    key_open(b, "application/json", '{');
    key_open(b, "schema", '{');
    TEXT(b, "type", "object");
    jsonw_close(b, '}');
    jsonw_close(b, '}');
    jsonw_close(b, '}');
}

static void responses(struct buf *b, const struct op_info *op)
{
    char status[16];

    snprintf(status, sizeof status, "%d", op->status);
    key_open(b, "responses", '{');
    key_open(b, status, '{');
    TEXT(b, "description", op->summary);
    if (op->status != 204)
        json_object_content(b);
    jsonw_close(b, '}');
    key_ref(b, "default", "#/components/responses/Problem");
    jsonw_close(b, '}');
}

/* An op with several routes has several operations, whose ids must differ. */
static void operation_id(struct buf *b, const struct route *r)
{
    unsigned before = 0;
    char id[64];

    for (const struct route *o = route_table; o < r; o++)
        before += o->op == r->op;
    snprintf(id, sizeof id, before ? "%s_%u" : "%s", op_table[r->op].name, before + 1);
    TEXT(b, "operationId", id);
}

static const char *method_key(enum http_method m)
{
    static const char *const keys[METHOD_COUNT] = {
        [METHOD_GET] = "get",     [METHOD_POST] = "post",     [METHOD_PUT] = "put",
        [METHOD_PATCH] = "patch", [METHOD_DELETE] = "delete",
    };

    return keys[m];
}

static void operation(struct buf *b, const char *shape, const struct route *r)
{
    const struct op_info *op = &op_table[r->op];

    key_open(b, method_key(r->method), '{');
    operation_id(b, r);
    TEXT(b, "summary", op->summary);
    if (op->who == WHO_ANYONE) {
        key_open(b, "security", '[');
        jsonw_close(b, ']');
    }
    parameters(b, shape, r);
    if (!takes_query(r))
        request_body(b, r);
    responses(b, op);
    jsonw_close(b, '}');
}

static bool is_first_of_shape(size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (same_shape(route_table[i].path, route_table[at].path))
            return false;
    return true;
}

static void paths(struct buf *b)
{
    key_open(b, "paths", '{');
    for (size_t i = 0; i < route_count; i++) {
        const char *shape = route_table[i].path;

        if (!is_first_of_shape(i))
            continue;
        key_open(b, shape, '{');
        for (size_t k = i; k < route_count; k++)
            if (same_shape(shape, route_table[k].path))
                operation(b, shape, &route_table[k]);
        jsonw_close(b, '}');
    }
    jsonw_close(b, '}');
}

/* The parts that no table holds. */
static const char id_schemas[] =
    "\"Id\":{\"type\":\"string\",\"pattern\":\"^[A-Za-z0-9._:-]{1,64}$\",\"description\":\"Opaque.\"},"
    "\"Cid\":{\"type\":\"string\",\"pattern\":\"^[A-Za-z0-9._:-]{1,64}$\",\"description\":\"Random, chosen by "
    "the client: a repeat of a call with the same cid does nothing and gets the first one's answer.\"},"
    "\"Seq\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":9007199254740991},"
    "\"Content\":{\"type\":\"object\",\"required\":[\"type\"],\"properties\":{\"type\":{\"type\":\"string\"},"
    "\"text\":{\"type\":\"string\",\"description\":\"With the type text, at most 16 KiB.\"}},\"description\":\"At most "
    "64 KiB, handed on byte for byte.\"}";
static const char problem_response[] =
    "{\"description\":\"What went wrong (RFC 9457).\","
    "\"headers\":{\"Retry-After\":{\"schema\":{\"type\":\"integer\"}}},"
    "\"content\":{\"application/problem+json\":{\"schema\":{\"$ref\":\"#/components/schemas/Problem\"}}}}";

static void problem_schema(struct buf *b)
{
    static const char *const required[] = {"code"};

    key_open(b, "Problem", '{');
    TEXT(b, "type", "object");
    words(b, "required", required, 1);
    key_open(b, "properties", '{');
    jsonw_raw(b, STR("\"type\":{\"type\":\"string\"},\"title\":{\"type\":\"string\"},\"status\":{\"type\":\"integer\"},"
                     "\"detail\":{\"type\":\"string\"},\"retry_after_ms\":{\"type\":\"integer\"}"));
    key_open(b, "code", '{');
    TEXT(b, "type", "string");
    key_open(b, "enum", '[');
    for (enum code c = CODE_BAD_JSON; c <= CODE_INTERNAL; c++)
        jsonw_str(b, str_c(code_text(c)));
    jsonw_close(b, ']');
    jsonw_close(b, '}');
    jsonw_close(b, '}');
    jsonw_close(b, '}');
}

static void components(struct buf *b)
{
    key_open(b, "components", '{');
    jsonw_key(b, "securitySchemes");
    jsonw_raw(b, STR("{\"bearer\":{\"type\":\"http\",\"scheme\":\"bearer\"}}"));
    key_open(b, "responses", '{');
    jsonw_key(b, "Problem");
    jsonw_raw(b, STR(problem_response));
    jsonw_close(b, '}');
    key_open(b, "schemas", '{');
    jsonw_raw(b, STR(id_schemas));
    problem_schema(b);
    jsonw_close(b, '}');
    jsonw_close(b, '}');
}

void openapi_print(struct buf *b)
{
    jsonw_open(b, '{');
    TEXT(b, "openapi", "3.1.0");
    jsonw_key(b, "info");
    jsonw_raw(
        b, STR("{\"title\":\"Parley\",\"version\":\"1\",\"description\":\"The HTTP form of the Parley protocol.\"}"));
    jsonw_key(b, "servers");
    jsonw_raw(b, STR("[{\"url\":\"/\"}]"));
    jsonw_key(b, "security");
    jsonw_raw(b, STR("[{\"bearer\":[]}]"));
    paths(b);
    components(b);
    jsonw_close(b, '}');
}
