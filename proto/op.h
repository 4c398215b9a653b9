/* op: the table of ops as data (see ops.def), and the typed arguments of each. */
#pragma once
#include "proto/code.h"
#include "proto/id.h"
#include "proto/ops.def"

enum { EXPIRES_IN_MAX = 10 * 365 * 24 * 3600 }; /* s */

enum op {
#define OP_ENUM(id, ...) OP_##id,
    OPS(OP_ENUM)
#undef OP_ENUM
        OP_COUNT
};
enum op_where { WHERE_GATE, WHERE_HERE, WHERE_CONV, WHERE_DIR, WHERE_LOOK };
enum op_who { WHO_ANYONE, WHO_USER };
enum op_rate { RATE_LOGIN, RATE_READ, RATE_WRITE, RATE_SEND, RATE_RECEIPT, RATE_COUNT };
enum op_via { VIA_WS = 1, VIA_HTTP = 2, VIA_BOTH = 3 };
enum role { ROLE_MEMBER, ROLE_ADMIN, ROLE_OWNER }; /* ordered by rights; on disk: never renumber */
const char *role_text(enum role r);

struct op_info {
    const char *name, *summary;
    uint8_t where, who, rate, via;
    int status; /* of HTTP, when it worked */
};
extern const struct op_info op_table[OP_COUNT];
bool op_find(struct str name, enum op *out); /* by its wire name; perfect for the dispatcher: O(1) */

struct user_list {
    user_id *v;
    size_t n;
};
struct position {
    struct conv_id conv;
    uint64_t seq;
    struct str text; /* the id as it came */
};
struct position_list {
    struct position *v;
    size_t n;
};

/* struct args_<id>, expanded from ARGS_<id>: `name` and, for every argument, `has_name`. */
#define FIELD_conv(n) struct conv_id n;
#define FIELD_user(n) user_id n;
#define FIELD_device(n) device_id n;
#define FIELD_cid(n) struct str n;
#define FIELD_word(n) struct str n;
#define FIELD_text(n) struct str n;
#define FIELD_secret(n) struct str n;
#define FIELD_content(n) struct str n;
#define FIELD_num(n) uint64_t n;
#define FIELD_count(n) uint64_t n;
#define FIELD_flag(n) bool n;
#define FIELD_users(n) struct user_list n;
#define FIELD_positions(n) struct position_list n;
#define FIELD_role(n) enum role n;
#define FIELD_mode(n) bool n;
#define FIELD_later(n) bool n;
#define FIELD(type, name, must, bound) FIELD_##type(name) bool has_##name;
#define OP_ARGS_STRUCT(id, ...)    \
    struct args_##id {             \
        ARGS_##id(FIELD) char end; \
    };
OPS(OP_ARGS_STRUCT)
#undef OP_ARGS_STRUCT

union args {
#define OP_ARGS_MEMBER(id, ...) struct args_##id id;
    OPS(OP_ARGS_MEMBER)
#undef OP_ARGS_MEMBER
};
