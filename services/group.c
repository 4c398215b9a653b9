/* Making a group, and what the ops of groups share.
 *
 * The id of a group is derived from its creator and the cid, so a repeat of group.create finds the same conversation,
 * and there the first entry with this cid. */
#include "services/group.h"
#include "proto/jsonw.h"
#include "services/inner.h"

enum { LAG_RETRY_MS = 1000 };

const struct member *group_writer(struct reactor *r, struct conv *c, struct request *q, enum role least)
{
    const struct member *m = shard_writer(r, c, q);

    if (!m)
        return NULL;
    if (conv_admitted(c)->kind != CONV_GROUP) {
        reactor_fail(r, q, CODE_BAD_REQUEST, "conv: not a group");
        return NULL;
    }
    if (m->role < least) {
        reactor_fail(r, q, CODE_FORBIDDEN, "only admins do this");
        return NULL;
    }
    return m;
}

static void print_ok(const struct entry *e, bool dup, struct buf *out)
{
    jsonw_key_int(out, "seq", (int64_t)e->seq);
    jsonw_key_int(out, "ts", e->ts);
    if (dup)
        jsonw_key_bool(out, "dup", true);
    jsonw_close(out, '}');
}

void group_print(const struct entry *e, bool dup, struct buf *out)
{
    jsonw_open(out, '{');
    print_ok(e, dup, out);
}

void group_add_settings(struct buf *b, const struct group_settings *s)
{
    const bool has[] = {s->has_title,    s->has_description, s->has_picture,
                        s->has_announce, s->has_locked,      s->has_history};

    for (size_t i = 0; i < sizeof has / sizeof has[0]; i++)
        enc_add_u8(b, has[i]);
    enc_add_u8(b, s->has_announce && s->announce);
    enc_add_u8(b, s->has_locked && s->locked);
    enc_add_u8(b, s->has_history && s->history_all);
    enc_add_field(b, s->has_title ? s->title : STR(""));
    enc_add_field(b, s->has_description ? s->description : STR(""));
    enc_add_field(b, s->has_picture ? s->picture : STR(""));
}

/* Do they exist, and have room for one more group? By the tables, which may be a little behind: what is bounded is what
 * sync and lists must look through. */
struct looking {
    struct conv *c;
    shard_fn *found;
    struct inner_users users;
};

static void no_user(struct reactor *r, struct conv *c, struct request *q)
{
    (void)c;
    reactor_fail(r, q, CODE_NOT_FOUND,
                 q->op == OP_group_create ? "members: there is no such user" : "users: there is no such user");
}

static void too_many(struct reactor *r, struct conv *c, struct request *q)
{
    (void)c;
    reactor_fail(r, q, CODE_TOO_LARGE,
                 q->op == OP_group_create ? "members: one of them is in as many groups as a user may be"
                                          : "users: one of them is in as many groups as a user may be");
}

static void lookup_failed(struct reactor *r, struct conv *c, struct request *q)
{
    (void)c;
    reactor_fail(r, q, CODE_UNAVAILABLE, "the server is busy; try again");
}

static bool all_exist(const struct inner_users *u)
{
    for (size_t i = 0; i < u->n; i++) {
        if (!u->exists[i])
            return false;
    }
    return true;
}

static void on_looked_up(struct reactor *r, struct request *q, struct request *sub)
{
    const struct looking *l = container_of(sub->result, struct looking, users);
    shard_fn *next = sub->code != CODE_OK    ? lookup_failed
                     : !all_exist(&l->users) ? no_user
                     : l->users.is_full      ? too_many
                                             : l->found;

    shard_continue(r, l->c, q, next);
}

void group_find_users(struct reactor *r, struct conv *c, struct request *q, const user_id *v, size_t n, shard_fn *found)
{
    struct request *sub;
    struct looking *l;

    sub = reactor_ask_new(r, q, INNER_USERS_EXIST, on_looked_up);
    l = arena_alloc(&sub->arena, sizeof *l);
    l->c = c;
    l->found = found;
    l->users = (struct inner_users){.v = v, .n = n, .exists = arena_alloc(&sub->arena, n), .are_joining = true};
    sub->result = &l->users;
    shard_hold(c);
    reactor_ask(r, sub, world_lookup(reactor_world(r)));
}

void group_append(struct reactor *r, struct conv *c, struct request *q)
{
    if (!world_tables_lag(reactor_world(r))) {
        shard_append(r, c, q);
        return;
    }
    q->retry_after_ms = LAG_RETRY_MS;
    reactor_fail(r, q, CODE_UNAVAILABLE, "the server is busy with other groups; try again");
}

/* group.create. */
static void print_created(const struct entry *e, bool dup, struct buf *out)
{
    jsonw_open(out, '{');
    jsonw_key_conv(out, "conv", &e->conv);
    print_ok(e, dup, out);
}

/* The creator is asked about, too: they are to be in one more. */
static void create_admit(struct reactor *r, struct conv *c, struct request *q)
{
    const struct entry *e = shard_entry(q);
    user_id *v = arena_alloc(&q->arena, e->n_members * sizeof *v);

    if (conv_admitted(c)->head) {
        reactor_fail(r, q, CODE_CONFLICT, "this cid was used for something else");
        return;
    }
    if (e->n_members > reactor_world(r)->limits.group_members) {
        reactor_fail(r, q, CODE_TOO_LARGE, "members: more than a group may have");
        return;
    }
    for (size_t i = 0; i < e->n_members; i++)
        v[i] = e->members[i].user;
    group_find_users(r, c, q, v, e->n_members, group_append);
}

/* Who names themselves among the members is in once, as the owner. */
static void list_members(struct request *q, struct entry *e)
{
    struct user_list list = q->args->group_create.members;
    struct member_role *v = arena_alloc(&q->arena, (list.n + 1) * sizeof *v);
    size_t n = 0;

    for (size_t i = 0; i < list.n; i++) {
        if (list.v[i] != q->actor.user)
            v[n++] = (struct member_role){list.v[i], ROLE_MEMBER};
    }
    v[n++] = (struct member_role){q->actor.user, ROLE_OWNER};
    e->members = v;
    e->n_members = n;
}

static struct str create_canonical(struct reactor *r, const struct args_group_create *a, const struct entry *e)
{
    struct buf *b = reactor_scratch(r);

    group_add_settings(b, &e->settings);
    buf_add(b, a->members.v, a->members.n * sizeof a->members.v[0]);
    return buf_get(b);
}

static void create_start(struct reactor *r, struct conv *c, struct request *q)
{
    const struct args_group_create *a = &q->args->group_create;
    struct entry *e = shard_entry(q);

    e->kind = ENTRY_CREATED;
    e->conv_kind = CONV_GROUP;
    e->settings = GROUP_SETTINGS(a);
    e->settings.has_title = true;
    list_members(q, e);
    shard_once(r, c, q, a->cid, create_canonical(r, a, e), print_created, create_admit);
}

static void conv_of(struct reactor *r, const struct request *q, struct conv_id *out)
{
    group_conv(reactor_keys(r), q->actor.user, q->args->group_create.cid, out);
}

static void create_here(struct reactor *r, struct request *q)
{
    struct conv_id c;

    conv_of(r, q, &c);
    shard_write(r, &c, q, create_start);
}

void op_group_create(void *service, struct request *q)
{
    struct conv_id c;

    if (q->args->group_create.title.len == 0) {
        reactor_fail(service, q, CODE_BAD_REQUEST, "title: must not be empty");
        return;
    }
    conv_of(service, q, &c);
    reactor_hand_over(service, q, &c, create_here);
}
