/* What a member may: making and unmaking admins and owners. */
#include "services/group.h"

static size_t owners(const struct authority *a)
{
    size_t n = 0;

    for (size_t i = 0; i < a->n_members; i++)
        n += a->members[i].is_in && a->members[i].role == ROLE_OWNER;
    return n;
}

static void role_admit(struct reactor *r, struct conv *c, struct request *q)
{
    const struct args_group_role *a = &q->args->group_role;
    const struct authority *auth = conv_admitted(c);
    const struct member *by, *m = authority_member(auth, a->user);
    struct entry *e = shard_entry(q);
    struct member_role *v;

    by = group_writer(r, c, q, ROLE_ADMIN);
    if (!by)
        return;
    if (!m || !m->is_in) {
        reactor_fail(r, q, CODE_NOT_FOUND, "user: not a member of this group");
    } else if ((a->role == ROLE_OWNER || m->role == ROLE_OWNER) && by->role < ROLE_OWNER) {
        reactor_fail(r, q, CODE_FORBIDDEN, "only an owner does this");
    } else if (m->role == a->role) {
        shard_unchanged(r, c, q, auth->head, auth->last_ts);
    } else if (m->role == ROLE_OWNER && owners(auth) == 1) {
        reactor_fail(r, q, CODE_CONFLICT, "the last owner stays one: make another first");
    } else {
        v = arena_alloc(&q->arena, sizeof *v);
        *v = (struct member_role){a->user, a->role};
        e->members = v;
        e->n_members = 1;
        shard_append(r, c, q);
    }
}

static void role_start(struct reactor *r, struct conv *c, struct request *q)
{
    const struct args_group_role *a = &q->args->group_role;
    struct entry *e = shard_entry(q);
    struct buf *b = reactor_scratch(r);

    e->kind = ENTRY_MEMBERS;
    e->conv_kind = CONV_GROUP;
    e->change = MEMBERS_ROLE;
    enc_add_u64(b, a->user);
    enc_add_u8(b, (uint8_t)a->role);
    shard_once(r, c, q, a->cid, buf_get(b), group_print, role_admit);
}

void op_group_role(void *service, struct request *q) { shard_write(service, &q->args->group_role.conv, q, role_start); }
