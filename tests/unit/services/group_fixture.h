/* group_fixture: groups for tests of what is below the group ops: makes, adds and removes without asking who may. */
#pragma once
#include "services/shard.h"
#include "tests/unit/services/world_test.h"

HELPER void fixture_print(const struct entry *e, bool dup, struct buf *out)
{
    buf_printf(out, "{\"seq\":%llu%s}", (unsigned long long)e->seq, dup ? ",\"dup\":true" : "");
}
HELPER void fixture_append(struct reactor *r, struct conv *c, struct request *q) { shard_append(r, c, q); }
HELPER void fixture_members(struct request *q, struct entry *e, struct user_list users, bool with_actor)
{
    struct member_role *v = arena_alloc(&q->arena, (users.n + 1) * sizeof *v);

    for (size_t i = 0; i < users.n; i++)
        v[i].user = users.v[i];
    if (with_actor)
        v[users.n] = (struct member_role){q->actor.user, ROLE_OWNER};
    e->members = v;
    e->n_members = users.n + with_actor;
    e->conv_kind = CONV_GROUP;
}
HELPER void fixture_create(struct reactor *r, struct conv *c, struct request *q)
{
    const struct args_group_create *a = &q->args->group_create;
    struct entry *e = shard_entry(q);

    e->kind = ENTRY_CREATED;
    fixture_members(q, e, a->members, true);
    e->settings = (struct group_settings){
        .has_title = true, .title = a->title, .has_announce = a->has_announce, .announce = a->announce};
    shard_once(r, c, q, a->cid, a->title, fixture_print, fixture_append);
}
HELPER void fixture_add(struct reactor *r, struct conv *c, struct request *q)
{
    struct entry *e = shard_entry(q);

    e->kind = ENTRY_MEMBERS;
    e->change = MEMBERS_ADDED;
    fixture_members(q, e, q->args->group_add.users, false);
    shard_once(r, c, q, q->args->group_add.cid, STR("add"), fixture_print, fixture_append);
}
HELPER void fixture_remove(struct reactor *r, struct conv *c, struct request *q)
{
    struct entry *e = shard_entry(q);

    e->kind = ENTRY_MEMBERS;
    e->change = MEMBERS_REMOVED;
    fixture_members(q, e, q->args->group_remove.users, false);
    shard_once(r, c, q, q->args->group_remove.cid, STR("remove"), fixture_print, fixture_append);
}
HELPER void fixture_create_at(struct reactor *r, struct request *q)
{
    struct conv_id c;

    group_conv(reactor_keys(r), q->actor.user, q->args->group_create.cid, &c);
    shard_write(r, &c, q, fixture_create);
}
HELPER void fixture_op_create(void *service, struct request *q)
{
    struct conv_id c;

    group_conv(reactor_keys(service), q->actor.user, q->args->group_create.cid, &c);
    reactor_hand_over(service, q, &c, fixture_create_at);
}
HELPER void fixture_add_at(struct reactor *r, struct request *q)
{
    shard_write(r, &q->args->group_add.conv, q, fixture_add);
}
HELPER void fixture_op_add(void *service, struct request *q)
{
    reactor_hand_over(service, q, &q->args->group_add.conv, fixture_add_at);
}
HELPER void fixture_op_remove(void *service, struct request *q)
{
    shard_write(service, &q->args->group_remove.conv, q, fixture_remove);
}
HELPER struct world_test *world_with_groups(unsigned reactors)
{
    struct world_test *w = world_new(reactors);

    w->ops[OP_group_create] = fixture_op_create;
    w->ops[OP_group_add] = fixture_op_add;
    w->ops[OP_group_remove] = fixture_op_remove;
    world_open(w);
    return w;
}
/* A group of the creator and users first..first+n-1; its conversation's text. */
HELPER const char *group_new(struct world_test *w, user_id creator, const char *cid, user_id first, unsigned n,
                             bool announce)
{
    struct buf b = {0};
    struct conv_id c;

    buf_printf(&b, "{\"op\":\"group.create\",\"title\":\"g\",\"cid\":\"%s\",\"announce\":%s,\"members\":[", cid,
               announce ? "true" : "false");
    for (unsigned i = 0; i < n; i++)
        buf_printf(&b, "%s\"%s\"", i ? "," : "", user_z(first + i));
    buf_str(&b, STR("]}"));
    buf_char(&b, 0);
    expect(w, creator, b.p, CODE_OK, "\"seq\":1");
    buf_deinit(&b);
    group_conv(&w->data.keys, creator, str_c(cid), &c);
    return conv_z(&c);
}
