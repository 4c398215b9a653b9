#include "proto/arg.h"

enum { CONTENT_TEXT_MAX = 16384, SMALL_LIST = 32 };

#define MUST true
#define MAY false
#define ROW(type, name, must, bound) \
    {#name, sizeof(#name) - 1, ARG_##type, must, bound, offsetof(S, name), offsetof(S, has_##name)},
/* A function for each op, because the rows need a name for the op's struct that ARGS_<id> does not pass on. The row of
 * zeros is there for ops without arguments. */
#define LIST(id, ...)                                                     \
    static struct arg_list list_##id(void)                                \
    {                                                                     \
        typedef struct args_##id S __attribute__((unused));               \
        static const struct arg rows[] = {ARGS_##id(ROW){0}};             \
        return (struct arg_list){rows, sizeof rows / sizeof rows[0] - 1}; \
    }
OPS(LIST)

struct arg_list arg_list_of(enum op op)
{
#define LIST_FN(id, ...) [OP_##id] = list_##id,
    static struct arg_list (*const lists[OP_COUNT])(void) = {OPS(LIST_FN)};

    return lists[op]();
}

const struct arg *arg_find(struct arg_list l, struct str name)
{
    for (size_t i = 0; i < l.n; i++)
        if (l.v[i].name_len == name.len && memcmp(l.v[i].name, name.p, name.len) == 0)
            return &l.v[i];
    return NULL;
}

#define REFUSE(r, a, fmt, ...) \
    (request_fail(r, CODE_BAD_REQUEST, "%s: " fmt, (a)->name, ##__VA_ARGS__), CODE_BAD_REQUEST)

static void *field(const struct arg *a, struct request *r) { return (char *)r->args + a->offset; }

static bool is_string(const struct value *v) { return v->kind == VALUE_STRING || v->kind == VALUE_URL; }

static enum code set_id(const struct arg *a, const struct value *v, struct request *r)
{
    if (!is_string(v) || !id_is_valid(v->text))
        return REFUSE(r, a, "must be an identifier");
    if (a->type == ARG_conv && !conv_parse(v->text, field(a, r)))
        memcpy(field(a, r), &CONV_NONE, sizeof CONV_NONE);
    if (a->type == ARG_user && !user_parse(v->text, field(a, r)))
        *(user_id *)field(a, r) = 0;
    if (a->type == ARG_device && !device_parse(v->text, field(a, r)))
        *(device_id *)field(a, r) = 0;
    return CODE_OK;
}

static enum code set_word(const struct arg *a, const struct value *v, struct request *r)
{
    if (!is_string(v) || v->text.len > a->bound || !id_is_valid(v->text))
        return REFUSE(r, a, "must be 1 to %d of A-Z a-z 0-9 . _ : -", (int)a->bound);
    *(struct str *)field(a, r) = v->text;
    return CODE_OK;
}

static enum code set_text(const struct arg *a, const struct value *v, struct request *r)
{
    if (!is_string(v))
        return REFUSE(r, a, "must be a string");
    if (v->text.len > a->bound)
        return REFUSE(r, a, "must have at most %d bytes", (int)a->bound);
    if (v->text.len && memchr(v->text.p, '\0', v->text.len))
        return REFUSE(r, a, "must not hold a zero");
    if (v->kind == VALUE_URL && !str_is_utf8(v->text))
        return REFUSE(r, a, "must be UTF-8");
    *(struct str *)field(a, r) = v->text;
    return CODE_OK;
}

static enum code set_content(const struct arg *a, const struct value *v, struct request *r)
{
    if (v->kind != VALUE_CONTENT)
        return REFUSE(r, a, "must be an object");
    if (!v->shape.has_type)
        return REFUSE(r, a, "type must be a string");
    if (v->shape.is_text && !v->shape.has_text)
        return REFUSE(r, a, "text must be a string");
    if (v->text.len > a->bound || (v->shape.is_text && v->shape.text_len > CONTENT_TEXT_MAX)) {
        request_fail(r, CODE_TOO_LARGE, "%s: at most %d bytes, and %d of text", a->name, (int)a->bound,
                     CONTENT_TEXT_MAX);
        return CODE_TOO_LARGE;
    }
    *(struct str *)field(a, r) = v->text;
    return CODE_OK;
}

static enum code set_num(const struct arg *a, const struct value *v, struct request *r)
{
    int64_t min = a->type == ARG_count, n = v->num;
    bool ok = v->kind == VALUE_INT || (v->kind == VALUE_URL && str_to_i64(v->text, min, (int64_t)a->bound, &n));

    if (!ok || n < min || n > (int64_t)a->bound)
        return REFUSE(r, a, "must be an integer of %lld to %lld", (long long)min, (long long)a->bound);
    *(uint64_t *)field(a, r) = (uint64_t)n;
    return CODE_OK;
}

/* A word out of two or three, as its number. */
static bool choose(const struct value *v, const char *const *words, size_t n, size_t *out)
{
    for (size_t i = 0; is_string(v) && i < n; i++) {
        if (str_eq(v->text, str_c(words[i]))) {
            *out = i;
            return true;
        }
    }
    return false;
}

static enum code set_flag(const struct arg *a, const struct value *v, struct request *r)
{
    static const char *const words[] = {"false", "true"};
    size_t n = (size_t)v->num;

    if (v->kind != VALUE_BOOL && !(v->kind == VALUE_URL && choose(v, words, 2, &n)))
        return REFUSE(r, a, "must be true or false");
    *(bool *)field(a, r) = n == 1;
    return CODE_OK;
}

static enum code set_mode(const struct arg *a, const struct value *v, struct request *r)
{
    static const char *const words[] = {"joined", "all"};
    size_t n;

    if (!choose(v, words, 2, &n))
        return REFUSE(r, a, "must be \"joined\" or \"all\"");
    *(bool *)field(a, r) = n == 1;
    return CODE_OK;
}

static enum code set_role(const struct arg *a, const struct value *v, struct request *r)
{
    static const char *const words[] = {[ROLE_MEMBER] = "member", [ROLE_ADMIN] = "admin", [ROLE_OWNER] = "owner"};
    size_t n;

    if (!choose(v, words, 3, &n))
        return REFUSE(r, a, "must be \"admin\", \"member\" or \"owner\"");
    *(enum role *)field(a, r) = (enum role)n;
    return CODE_OK;
}

static int by_id(const void *a, const void *b)
{
    user_id x = *(const user_id *)a, y = *(const user_id *)b;

    return (x > y) - (x < y);
}

/* Unknown users are all 0 here, and not each other's repeats. */
static bool has_repeat(const user_id *v, size_t n, struct arena *arena)
{
    user_id *sorted;

    if (n <= SMALL_LIST) {
        for (size_t i = 1; i < n; i++)
            for (size_t j = 0; j < i; j++)
                if (v[i] && v[i] == v[j])
                    return true;
        return false;
    }
    sorted = arena_alloc(arena, n * sizeof *v);
    memcpy(sorted, v, n * sizeof *v);
    qsort(sorted, n, sizeof *sorted, by_id);
    for (size_t i = 1; i < n; i++)
        if (sorted[i] && sorted[i] == sorted[i - 1])
            return true;
    return false;
}

/* In a URL a list is its elements with commas between; no identifier holds one. */
static struct value split_url(const struct value *v, struct arena *arena)
{
    struct value out = {.kind = VALUE_LIST};
    struct str rest = v->text, head;
    size_t commas = 0;

    for (size_t i = 0; i < rest.len; i++)
        commas += rest.p[i] == ',';
    out.items = arena_alloc(arena, (commas + 1) * sizeof *out.items);
    while (str_cut(rest, ',', &head, &rest))
        out.items[out.n++] = head;
    if (v->text.len)
        out.items[out.n++] = rest;
    return out;
}

static enum code set_users(const struct arg *a, const struct value *given, struct request *r)
{
    struct value v = given->kind == VALUE_URL ? split_url(given, &r->arena) : *given;
    struct user_list *out = field(a, r);

    if (v.kind != VALUE_LIST)
        return REFUSE(r, a, "must be an array of identifiers");
    if (v.n > a->bound)
        return REFUSE(r, a, "must have at most %d elements", (int)a->bound);
    out->v = arena_alloc(&r->arena, v.n * sizeof *out->v);
    out->n = v.n;
    for (size_t i = 0; i < v.n; i++) {
        if (!id_is_valid(v.items[i]))
            return REFUSE(r, a, "must be an array of identifiers");
        if (!user_parse(v.items[i], &out->v[i]))
            out->v[i] = 0;
    }
    return has_repeat(out->v, out->n, &r->arena) ? REFUSE(r, a, "names a user twice") : CODE_OK;
}

static enum code set_positions(const struct arg *a, const struct value *v, struct request *r)
{
    struct position_list *out = field(a, r);

    if (v->kind != VALUE_PAIRS)
        return REFUSE(r, a, "must be an object from conversations to seqs");
    if (v->n > a->bound)
        return REFUSE(r, a, "must have at most %d members", (int)a->bound);
    out->v = arena_alloc(&r->arena, v->n * sizeof *out->v);
    out->n = v->n;
    for (size_t i = 0; i < v->n; i++) {
        if (!id_is_valid(v->items[i]) || v->nums[i] < 0 || v->nums[i] > (int64_t)SEQ_MAX)
            return REFUSE(r, a, "must be an object from conversations to seqs");
        if (!conv_parse(v->items[i], &out->v[i].conv))
            out->v[i].conv = CONV_NONE;
        out->v[i].seq = (uint64_t)v->nums[i];
        out->v[i].text = v->items[i];
    }
    return CODE_OK;
}

static enum code set_later(const struct arg *a, const struct value *v, struct request *r)
{
    (void)v;
    return REFUSE(r, a, "is not there yet");
}

enum code arg_set(const struct arg *a, const struct value *v, struct request *r)
{
    static enum code (*const setters[])(const struct arg *, const struct value *, struct request *) = {
        [ARG_conv] = set_id,
        [ARG_user] = set_id,
        [ARG_device] = set_id,
        [ARG_cid] = set_word,
        [ARG_word] = set_word,
        [ARG_text] = set_text,
        [ARG_secret] = set_text,
        [ARG_content] = set_content,
        [ARG_num] = set_num,
        [ARG_count] = set_num,
        [ARG_flag] = set_flag,
        [ARG_users] = set_users,
        [ARG_positions] = set_positions,
        [ARG_role] = set_role,
        [ARG_mode] = set_mode,
        [ARG_later] = set_later,
    };
    enum code code = setters[a->type](a, v, r);

    if (code == CODE_OK)
        *((bool *)r->args + a->has) = true;
    return code;
}

enum code arg_check_all(struct arg_list l, struct request *r)
{
    for (size_t i = 0; i < l.n; i++)
        if (l.v[i].must && !arg_is_set(&l.v[i], r))
            return REFUSE(r, &l.v[i], "missing");
    if (r->op == OP_message_send && r->args->message_send.has_conv == r->args->message_send.has_user) {
        request_fail(r, CODE_BAD_REQUEST, "conv, user: exactly one of them must be there");
        return CODE_BAD_REQUEST;
    }
    return CODE_OK;
}
