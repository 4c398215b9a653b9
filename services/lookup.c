#include "services/lookup_state.h"
#include "base/log.h"
#include "proto/auth.h"
#include "schema/conversations.h"
#include "schema/devices.h"
#include "services/account.h"
#include "services/directory.h"
#include "services/inner.h"
#include "services/user.h"
#include <assert.h>

void lookup_answer(struct lookup *l, struct request *r)
{
    request_ok(r);
    bus_reply(l->port, r);
}

void lookup_fail(struct lookup *l, struct request *r, enum code code, const char *why)
{
    request_fail(r, code, "%s", why);
    bus_reply(l->port, r);
}

void lookup_broken(struct lookup *l, struct request *r, enum err err)
{
    log_error("lookup_failed", "op=%s inner=%d err=%s", r->inner ? "-" : op_table[r->op].name, r->inner, err_name(err));
    lookup_fail(l, r, CODE_INTERNAL, "the tables cannot be read");
}

/* The counter is read first: a death that is announced later is then either seen here or noticed by it (proto/auth.h).
 */
static void auth(struct lookup *l, struct request *r)
{
    struct auth_result *a = arena_alloc(&r->arena, sizeof *a);
    struct user_row u;
    uint8_t hash[32];
    enum err err;

    a->revocations = atomic_load(&l->world->revocations);
    TRY(account_token_hash(&l->world->data->keys, r->args->auth.token, hash) ? ERR_OK : ERR_NOT_FOUND);
    TRY(devices_find_token(l->db, hash, &a->user, &a->device));
    TRY(users_get(l->db, a->user, &r->arena, &u));
    user_print_public(&u, &r->out);
    r->result = a;
    lookup_answer(l, r);
    return;
out:
    if (err == ERR_NOT_FOUND)
        lookup_fail(l, r, CODE_UNAUTHENTICATED, "the token is invalid, expired or revoked");
    else
        lookup_broken(l, r, err);
}

static void login_data(struct lookup *l, struct request *r)
{
    struct inner_login *a = r->result;
    struct user_row u = {0};
    enum err err = ERR_NOT_FOUND;

    if (a->username.len)
        err = users_find(l->db, a->username, &r->arena, &u);
    if (err != ERR_OK && err != ERR_NOT_FOUND) {
        lookup_broken(l, r, err);
        return;
    }
    a->user = u.user;
    a->name = u.name;
    a->password = u.password;
    lookup_answer(l, r);
}

static void users_exist(struct lookup *l, struct request *r)
{
    struct inner_users *a = r->result;
    uint64_t max = l->world->limits.user_groups;
    enum err err = ERR_OK;

    for (size_t i = 0; i < a->n; i++)
        TRY(users_exists(l->db, a->v[i], &a->exists[i]));
    for (size_t i = 0; i < a->n && a->are_joining && !a->is_full; i++)
        TRY(conversations_has_groups(l->db, a->v[i], max ? max : USER_GROUPS_MAX, &a->is_full));
    lookup_answer(l, r);
    return;
out:
    lookup_broken(l, r, err);
}

static void user_convs(struct lookup *l, struct request *r)
{
    struct inner_convs *a = r->result;
    struct conv_id *v = NULL;
    size_t n = 0;
    enum err err = conversations_of(l->db, a->user, &v, &n);

    if (err != ERR_OK) {
        lookup_broken(l, r, err);
        return;
    }
    a->v = arena_alloc(&r->arena, n ? n * sizeof *a->v : 1);
    for (size_t i = 0; i < n; i++)
        a->v[i].conv = v[i];
    a->n = n;
    mem_free(v);
    lookup_answer(l, r);
}

/* What the user was told by any log must be in the tables before they are asked; what comes later need not, however
 * much it is. */
struct behind {
    struct lookup *l;
    struct request *r;
    struct inner_barrier barrier;
    uint64_t targets[BUS_PORTS_MAX];
};

static void barrier_passed(struct request *sub)
{
    struct behind *b = sub->asker;
    struct lookup *l = b->l;
    struct request *r = b->r;

    if (sub->code == CODE_OK) {
        user_convs(l, r);
    } else {
        r->retry_after_ms = sub->retry_after_ms;
        lookup_fail(l, r, sub->code, sub->why);
    }
    request_free(sub);
}

static void user_convs_when_current(struct lookup *l, struct request *r)
{
    struct behind *b = arena_alloc(&r->arena, sizeof *b);
    struct request *sub;

    *b = (struct behind){.l = l, .r = r, .barrier.targets = b->targets};
    directory_ends(l->world->directory, b->targets);
    if (directory_has(l->world->directory, b->targets)) {
        user_convs(l, r);
        return;
    }
    sub = request_new(barrier_passed, b);
    sub->inner = INNER_BARRIER;
    sub->result = &b->barrier;
    bus_request(l->port, world_directory(l->world), sub);
}

static void serve(void *ctx, struct request *r)
{
    struct lookup *l = ctx;

    switch ((enum inner_kind)r->inner) {
    case INNER_NONE:
        if (r->op == OP_auth) {
            auth(l, r);
            break;
        }
        assert(l->conf.ops[r->op]); /* the reactor sends only what is the lookup's */
        l->conf.ops[r->op](l, r);
        break;
    case INNER_LOGIN_DATA:
        login_data(l, r);
        break;
    case INNER_USERS_EXIST:
        users_exist(l, r);
        break;
    case INNER_USER_CONVS:
        user_convs_when_current(l, r);
        break;
    default:
        assert(false && "an inner request of somebody else's");
        break;
    }
}

enum err lookup_create(const struct lookup_conf *c, struct lookup **out)
{
    struct lookup *l = mem_new(struct lookup);
    enum err err;

    l->conf = *c;
    l->world = c->world;
    TRY(db_open_reader(c->path, &l->db));
    TRY(loop_create(&l->loop));
    l->port = bus_port(c->world->bus, world_lookup(c->world));
    port_attach(l->port, loop_mailbox(l->loop));
    bus_serve(l->port, serve, l);
    *out = l;
    return ERR_OK;
out:
    lookup_destroy(l);
    return err;
}

void lookup_run(struct lookup *l) { loop_run(l->loop); }
void lookup_stop(struct lookup *l) { loop_stop(l->loop); }

void lookup_destroy(struct lookup *l)
{
    if (!l)
        return;
    loop_destroy(l->loop);
    db_close(l->db);
    mem_free(l);
}
