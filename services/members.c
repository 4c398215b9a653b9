/* Who is in a group: adding, removing, leaving. All or nothing: one entry, or none. */
#include "services/group.h"

static struct str canonical(struct reactor *r, struct user_list users)
{
    struct buf *b = reactor_scratch(r);

    buf_add(b, users.v, users.n * sizeof users.v[0]);
    return buf_get(b);
}

static struct entry *members_entry(struct request *q, enum members_change change)
{
    struct entry *e = shard_entry(q);

    e->kind = ENTRY_MEMBERS;
    e->conv_kind = CONV_GROUP;
    e->change = change;
    return e;
}

/* group.add. */
struct adding {
    user_id *users;    /* who is not in */
    size_t n, unknown; /* unknown: of them, who never was */
    size_t present;    /* members now */
    uint64_t seq;      /* the last entry that added one of those who are in already */
    int64_t ts;
    bool is_worn; /* one came and left too often */
};

static void look_at(const struct authority *a, user_id user, struct adding *out)
{
    const struct member *m = authority_member(a, user);

    if (!m || !m->is_in) {
        out->users[out->n++] = user;
        out->unknown += !m;
        out->is_worn |= m && m->n_ranges >= GROUP_STAYS_MAX;
    } else if (m->joined_seq >= out->seq) {
        out->seq = m->joined_seq;
        out->ts = m->joined_ts;
    }
}

static void look_at_all(const struct authority *a, struct request *q, struct adding *out)
{
    struct user_list list = q->args->group_add.users;

    *out = (struct adding){.users = arena_alloc(&q->arena, (list.n + 1) * sizeof(user_id))};
    for (size_t i = 0; i < list.n; i++)
        look_at(a, list.v[i], out);
    for (size_t i = 0; i < a->n_members; i++)
        out->present += a->members[i].is_in;
}

/* NULL, or why they don't fit. */
static const char *fault_of(const struct authority *a, const struct adding *add, uint64_t limit)
{
    if (add->present + add->n > limit)
        return "users: more than a group may have";
    if (a->n_members + add->unknown > limit * GROUP_KNOWN_FACTOR)
        return "users: too many people have been in this group";
    if (add->is_worn)
        return "users: one of them was added too often";
    return NULL;
}

static void add_found(struct reactor *r, struct conv *c, struct request *q)
{
    shard_entry(q)->history_all = conv_admitted(c)->history_all;
    group_append(r, c, q);
}

static void add_admit(struct reactor *r, struct conv *c, struct request *q)
{
    const struct authority *a = conv_admitted(c);
    struct entry *e = shard_entry(q);
    struct member_role *v;
    struct adding add;
    const char *fault;

    if (!group_writer(r, c, q, ROLE_ADMIN))
        return;
    look_at_all(a, q, &add);
    if (add.n == 0) {
        shard_unchanged(r, c, q, add.seq, add.ts);
        return;
    }
    fault = fault_of(a, &add, reactor_world(r)->limits.group_members);
    if (fault) {
        reactor_fail(r, q, CODE_TOO_LARGE, fault);
        return;
    }
    v = arena_alloc(&q->arena, add.n * sizeof *v);
    for (size_t i = 0; i < add.n; i++)
        v[i] = (struct member_role){add.users[i], ROLE_MEMBER};
    e->members = v;
    e->n_members = add.n;
    group_find_users(r, c, q, add.users, add.n, add_found);
}

static void add_start(struct reactor *r, struct conv *c, struct request *q)
{
    const struct args_group_add *a = &q->args->group_add;

    if (a->users.n == 0) {
        reactor_fail(r, q, CODE_BAD_REQUEST, "users: nobody is named");
        return;
    }
    members_entry(q, MEMBERS_ADDED);
    shard_once(r, c, q, a->cid, canonical(r, a->users), group_print, add_admit);
}

static void add_here(struct reactor *r, struct request *q) { shard_write(r, &q->args->group_add.conv, q, add_start); }

void op_group_add(void *service, struct request *q)
{
    reactor_hand_over(service, q, &q->args->group_add.conv, add_here);
}

/* group.remove. */
static enum code fault_of_removing(const struct authority *a, const struct member *by, user_id user, const char **why)
{
    const struct member *m = authority_member(a, user);

    if (user == by->user) {
        *why = "users: group.leave is for oneself";
        return CODE_BAD_REQUEST;
    }
    if (!m || !m->is_in) {
        *why = "users: not a member of this group";
        return CODE_NOT_FOUND;
    }
    if (m->role == ROLE_OWNER && by->role < ROLE_OWNER) {
        *why = "only an owner removes an owner";
        return CODE_FORBIDDEN;
    }
    return CODE_OK;
}

static void remove_admit(struct reactor *r, struct conv *c, struct request *q)
{
    struct user_list users = q->args->group_remove.users;
    struct entry *e = shard_entry(q);
    const struct member *by = group_writer(r, c, q, ROLE_ADMIN);
    struct member_role *v;
    const char *why = NULL;

    if (!by)
        return;
    v = arena_alloc(&q->arena, users.n * sizeof *v);
    for (size_t i = 0; i < users.n; i++) {
        enum code code = fault_of_removing(conv_admitted(c), by, users.v[i], &why);

        if (code != CODE_OK) {
            reactor_fail(r, q, code, why);
            return;
        }
        v[i].user = users.v[i];
    }
    e->members = v;
    e->n_members = users.n;
    group_append(r, c, q);
}

static void remove_start(struct reactor *r, struct conv *c, struct request *q)
{
    const struct args_group_remove *a = &q->args->group_remove;

    if (a->users.n == 0) {
        reactor_fail(r, q, CODE_BAD_REQUEST, "users: nobody is named");
        return;
    }
    members_entry(q, MEMBERS_REMOVED);
    shard_once(r, c, q, a->cid, canonical(r, a->users), group_print, remove_admit);
}

void op_group_remove(void *service, struct request *q)
{
    shard_write(service, &q->args->group_remove.conv, q, remove_start);
}

/* group.leave. */
static bool is_before(const struct member *a, const struct member *b)
{
    return a->role != b->role ? a->role > b->role : a->joined_seq < b->joined_seq;
}

/* Who owns the group when `leaver` is gone and nobody else does: the admin, else the member, who has been in longest.
 * 0: another owner stays, or nobody. */
static user_id heir_of(const struct authority *a, const struct member *leaver)
{
    const struct member *heir = NULL;

    if (leaver->role < ROLE_OWNER)
        return 0;
    for (size_t i = 0; i < a->n_members; i++) {
        const struct member *m = &a->members[i];

        if (m == leaver || !m->is_in)
            continue;
        if (m->role == ROLE_OWNER)
            return 0;
        if (!heir || is_before(m, heir))
            heir = m;
    }
    return heir ? heir->user : 0;
}

static void leave_admit(struct reactor *r, struct conv *c, struct request *q)
{
    struct entry *e = shard_entry(q);
    const struct member *m = group_writer(r, c, q, ROLE_MEMBER);
    struct member_role *v;

    if (!m)
        return;
    v = arena_alloc(&q->arena, sizeof *v);
    v->user = m->user;
    e->members = v;
    e->n_members = 1;
    e->heir = heir_of(conv_admitted(c), m);
    shard_append(r, c, q);
}

static void leave_start(struct reactor *r, struct conv *c, struct request *q)
{
    members_entry(q, MEMBERS_REMOVED);
    shard_once(r, c, q, q->args->group_leave.cid, STR(""), group_print, leave_admit);
}

void op_group_leave(void *service, struct request *q)
{
    shard_write(service, &q->args->group_leave.conv, q, leave_start);
}
