/* arg: the arguments of every op as data, and the one place where a value becomes a typed argument.
 *
 * A value comes from one of three sources: a member of a frame as the scanner found it (args_fast.c), a node of
 * jansson's tree (args_json.c), or text from a URL or header (args_http.c). Each source makes a struct value of it,
 * arg_set does the rest, so types and bounds mean the same everywhere. Internal to proto/. */
#pragma once
#include "proto/args.h"

enum arg_type {
    ARG_conv,
    ARG_user,
    ARG_device,
    ARG_cid,
    ARG_word,
    ARG_text,
    ARG_secret,
    ARG_content,
    ARG_num,
    ARG_count,
    ARG_flag,
    ARG_users,
    ARG_positions,
    ARG_role,
    ARG_mode,
    ARG_later,
};
struct arg {
    const char *name;
    uint8_t name_len;
    uint8_t type;
    bool must;
    uint64_t bound;
    uint16_t offset, has; /* in struct args_<id>, and so in union args */
};
struct arg_list {
    const struct arg *v;
    size_t n;
};
struct arg_list arg_list_of(enum op op);
const struct arg *arg_find(struct arg_list l, struct str name); /* NULL when the op has none of that name */

enum value_kind {
    VALUE_OTHER, /* null, a real, an object or array where none is due */
    VALUE_STRING,
    VALUE_INT,
    VALUE_BOOL,
    VALUE_URL,     /* text that may stand for any type but content and positions */
    VALUE_LIST,    /* an array of strings: items, n */
    VALUE_PAIRS,   /* an object from strings to integers: items, nums, n */
    VALUE_CONTENT, /* an object */
};
struct value {
    enum value_kind kind;
    struct str text; /* STRING, URL; of CONTENT the raw object */
    int64_t num;     /* INT; BOOL as 0 or 1 */
    struct str *items;
    int64_t *nums;
    size_t n;
    struct content_shape {
        bool has_type, is_text, has_text; /* members of the type string */
        size_t text_len;                  /* decoded */
    } shape;
};
/* Checks the value and stores it in r->args. Otherwise BAD_REQUEST or TOO_LARGE, and r->why names the argument. Texts
 * and items stay where the value has them; they must live as long as the request. */
enum code arg_set(const struct arg *a, const struct value *v, struct request *r);
/* After all were set: what must be there, and what depends on more than one argument. */
enum code arg_check_all(struct arg_list l, struct request *r);
static inline bool arg_is_set(const struct arg *a, const struct request *r)
{
    return *((const char *)r->args + a->has) != 0;
}
