#include "proto/op.h"

#define OP_ROW(id, name, where, who, rate, via, status, summary) \
    [OP_##id] = {name, summary, WHERE_##where, WHO_##who, RATE_##rate, VIA_##via, status},
const struct op_info op_table[OP_COUNT] = {OPS(OP_ROW)};

#define OP_LEN(id, name, ...) [OP_##id] = sizeof(name) - 1,
static const uint8_t name_len[OP_COUNT] = {OPS(OP_LEN)};

/* The lengths share a cache line, so the few names that are compared as text are those of the right length. */
bool op_find(struct str name, enum op *out)
{
    for (unsigned i = 0; i < OP_COUNT; i++) {
        if (name_len[i] == name.len && memcmp(op_table[i].name, name.p, name.len) == 0) {
            *out = (enum op)i;
            return true;
        }
    }
    return false;
}

const char *role_text(enum role r)
{
    static const char *const texts[] = {[ROLE_MEMBER] = "member", [ROLE_ADMIN] = "admin", [ROLE_OWNER] = "owner"};

    return texts[r];
}
