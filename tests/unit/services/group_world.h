/* group_world: a world with the real ops of groups. */
#pragma once
#include "services/shard.h"
#include "tests/unit/services/world_test.h"

HELPER struct world_test *world_of_groups(unsigned reactors)
{
    struct world_test *w = world_new(reactors);

    w->ops[OP_group_create] = op_group_create;
    w->ops[OP_group_update] = op_group_update;
    w->ops[OP_group_add] = op_group_add;
    w->ops[OP_group_remove] = op_group_remove;
    w->ops[OP_group_leave] = op_group_leave;
    w->ops[OP_group_role] = op_group_role;
    w->ops[OP_group_members] = op_group_members;
    return w;
}

/* ["u…","u…"], ended by 0. */
#define USERS_OF(...) users_z((user_id[]){__VA_ARGS__, 0})
HELPER const char *users_z(const user_id *v)
{
    static _Thread_local char z[4][2048];
    static _Thread_local unsigned at;
    char *p = z[at++ % 4];
    size_t n = 0;

    p[n++] = '[';
    for (size_t i = 0; v[i]; i++)
        n += (size_t)snprintf(p + n, 2048 - n, "%s\"%s\"", i ? "," : "", user_z(v[i]));
    snprintf(p + n, 2048 - n, "]");
    return p;
}

#define CREATE(cid, members, ...) \
    JSON("{\"op\":\"group.create\",\"title\":\"g\",\"cid\":\"%s\",\"members\":%s%s}", cid, members, JSON(__VA_ARGS__))
#define UPDATE(conv, cid, ...) \
    JSON("{\"op\":\"group.update\",\"conv\":\"%s\",\"cid\":\"%s\",%s}", conv, cid, JSON(__VA_ARGS__))
#define ADD(conv, cid, users) \
    JSON("{\"op\":\"group.add\",\"conv\":\"%s\",\"cid\":\"%s\",\"users\":%s}", conv, cid, users)
#define REMOVE(conv, cid, users) \
    JSON("{\"op\":\"group.remove\",\"conv\":\"%s\",\"cid\":\"%s\",\"users\":%s}", conv, cid, users)
#define LEAVE(conv, cid) JSON("{\"op\":\"group.leave\",\"conv\":\"%s\",\"cid\":\"%s\"}", conv, cid)
#define ROLE(conv, cid, user, role)                                                                           \
    JSON("{\"op\":\"group.role\",\"conv\":\"%s\",\"cid\":\"%s\",\"user\":\"%s\",\"role\":\"%s\"}", conv, cid, \
         user_z(user), role)
#define MEMBERS(conv, ...) JSON("{\"op\":\"group.members\",\"conv\":\"%s\"%s}", conv, JSON(__VA_ARGS__))
#define HISTORY(conv, ...) JSON("{\"op\":\"history\",\"conv\":\"%s\"%s}", conv, JSON(__VA_ARGS__))

/* The group that `creator` made with this cid, as text for the caller to mem_free. */
HELPER char *group_z(struct world_test *w, user_id creator, const char *cid)
{
    struct conv_id c;

    group_conv(&w->data.keys, creator, str_c(cid), &c);
    return mem_dup(str_c(conv_z(&c)));
}
