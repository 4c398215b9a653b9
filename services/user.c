/* Profiles: reading is the lookup's, changing the directory's. */
#include "services/user.h"
#include "proto/jsonw.h"
#include "services/account.h"
#include "services/directory_state.h"
#include "services/lookup_state.h"

static void print_optional(struct buf *b, const char *key, struct str s)
{
    if (s.len)
        jsonw_key_str(b, key, s);
}

static void print_shared(const struct user_row *u, struct buf *b)
{
    jsonw_key(b, "id");
    jsonw_user(b, u->user);
    jsonw_key_str(b, "username", u->username);
    print_optional(b, "name", u->name);
    print_optional(b, "status", u->status);
    print_optional(b, "picture", u->picture);
}

void user_print_public(const struct user_row *u, struct buf *out)
{
    jsonw_open(out, '{');
    print_shared(u, out);
    jsonw_close(out, '}');
}

void user_print_own(const struct user_row *u, struct buf *out)
{
    jsonw_open(out, '{');
    print_shared(u, out);
    print_optional(out, "phone", u->phone);
    jsonw_key_str(out, "last_seen", u->last_seen);
    jsonw_key_bool(out, "read_receipts", u->read_receipts);
    jsonw_close(out, '}');
}

/* Reading. */
static void answer(struct lookup *l, struct request *r, enum err err, const struct user_row *u,
                   void (*print)(const struct user_row *, struct buf *))
{
    if (err == ERR_NOT_FOUND) {
        lookup_fail(l, r, CODE_NOT_FOUND, "no such user");
    } else if (err != ERR_OK) {
        lookup_broken(l, r, err);
    } else {
        print(u, &r->out);
        lookup_answer(l, r);
    }
}

void op_user_me(void *service, struct request *r)
{
    struct lookup *l = service;
    struct user_row u;

    answer(l, r, users_get(l->db, r->actor.user, &r->arena, &u), &u, user_print_own);
}

void op_user_get(void *service, struct request *r)
{
    struct lookup *l = service;
    struct user_row u;

    answer(l, r, users_get(l->db, r->args->user_get.user, &r->arena, &u), &u, user_print_public);
}

void op_user_find(void *service, struct request *r)
{
    struct lookup *l = service;
    char folded[USERNAME_MAX];
    struct str username;
    struct user_row u;
    enum err err = ERR_NOT_FOUND;

    if (account_fold(r->args->user_find.username, folded, &username))
        err = users_find(l->db, username, &r->arena, &u);
    answer(l, r, err, &u, user_print_public);
}

/* Changing. */
static void changed(struct directory *d, struct directory_write *w)
{
    struct request *r = w->request;
    struct user_row u;
    enum err err = users_get(d->db, r->actor.user, &r->arena, &u);

    if (err != ERR_OK) {
        directory_refuse(d, r, err);
        return;
    }
    user_print_own(&u, &r->out);
    directory_answer(d, r);
}

static bool is_audience(struct str s)
{
    return str_eq(s, STR("everyone")) || str_eq(s, STR("contacts")) || str_eq(s, STR("nobody"));
}

void op_user_update(void *service, struct request *r)
{
    struct directory *d = service;
    const struct args_user_update *a = &r->args->user_update;
    struct record v = {.kind = RECORD_PROFILE};
    struct directory_write *w;
    bool exists = false;
    enum err err;

    if (a->has_last_seen && !is_audience(a->last_seen)) {
        directory_fail(d, r, CODE_BAD_REQUEST, "last_seen: everyone, contacts or nobody is wanted");
        return;
    }
    TRY(users_exists(d->db, r->actor.user, &exists));
    TRY(exists ? ERR_OK : ERR_NOT_FOUND);
    v.profile = (struct profile_record){.user = r->actor.user,
                                        .ts = env_now_ms(d->env),
                                        .has_name = a->has_name,
                                        .name = a->name,
                                        .has_status = a->has_status,
                                        .status = a->status,
                                        .has_picture = a->has_picture,
                                        .picture = a->picture,
                                        .has_last_seen = a->has_last_seen,
                                        .last_seen = a->last_seen,
                                        .has_read_receipts = a->has_read_receipts,
                                        .read_receipts = a->read_receipts};
    w = arena_alloc(&r->arena, sizeof *w);
    *w = (struct directory_write){.request = r, .applied = changed};
    TRY(directory_admit(d, w, &v, 1));
    return;
out:
    if (err == ERR_NOT_FOUND)
        directory_fail(d, r, CODE_NOT_FOUND, "no such user");
    else
        directory_refuse(d, r, err);
}
