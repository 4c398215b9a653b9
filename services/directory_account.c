/* What a reactor asks after it has hashed or checked a password: a new account, or a device with a token. */
#include "services/account.h"
#include "services/directory_state.h"
#include "services/inner.h"
#include "proto/auth.h"
#include "schema/devices.h"
#include "schema/users.h"

/* 64 random bits: a second person with the same ones is not to be expected in the life of a server, but the check is
 * cheap. */
static enum err new_user(struct directory *d, user_id *out)
{
    bool exists = true;
    enum err err = ERR_OK;

    while (exists) {
        env_random(d->env, out, sizeof *out);
        exists = *out == 0;
        if (!exists)
            TRY(users_exists(d->db, *out, &exists));
    }
out:
    return err;
}

static device_id new_device(struct directory *d)
{
    device_id id = 0;

    while (!id)
        env_random(d->env, &id, sizeof id);
    return id;
}

/* A device record with a new token; the token itself goes into `a`. */
static struct str device_record(struct directory *d, user_id user, device_id device, struct arena *a,
                                struct record *out)
{
    char *token = arena_alloc(a, TOKEN_TEXT);

    *out = (struct record){.kind = RECORD_DEVICE, .device = {.user = user, .device = device, .ts = env_now_ms(d->env)}};
    account_token_new(d->env, &d->world->data->keys, token, out->device.token_hash);
    return str_of(token, TOKEN_TEXT);
}

static void answer(struct directory *d, struct directory_write *w) { directory_answer(d, w->request); }

/* OK: it is free. EXISTS: somebody has it, or will in a moment. */
static enum err check_free(struct directory *d, struct str username)
{
    user_id other;
    enum err err;

    if (directory_is_reserved(d, username))
        return ERR_EXISTS;
    err = users_id_of(d->db, username, &other);
    if (err == ERR_NOT_FOUND)
        return ERR_OK;
    return err == ERR_OK ? ERR_EXISTS : err;
}

void directory_account_add(struct directory *d, struct request *r)
{
    struct inner_account *a = r->result;
    struct directory_write *w = arena_alloc(&r->arena, sizeof *w);
    struct record v[2] = {{.kind = RECORD_ACCOUNT}};
    enum err err;

    TRY(check_free(d, a->username));
    TRY(new_user(d, &a->user));
    a->device = new_device(d);
    a->token = device_record(d, a->user, a->device, &r->arena, &v[1]);
    v[0].account = (struct account_record){.user = a->user,
                                           .ts = v[1].device.ts,
                                           .username = a->username,
                                           .name = a->name,
                                           .phone = a->phone,
                                           .password = a->password};
    *w = (struct directory_write){.request = r, .username = a->username, .applied = answer};
    TRY(directory_admit(d, w, v, 2));
    return;
out:
    if (err == ERR_EXISTS)
        directory_fail(d, r, CODE_CONFLICT, "the username is taken");
    else
        directory_refuse(d, r, err);
}

static enum err count_devices(struct directory *d, user_id user, size_t *n)
{
    struct device_row rows[DEVICES_MAX];

    return devices_list(d->db, user, 0, rows, DEVICES_MAX, n);
}

/* A login with a named device kills the token that it had. At the bound nobody is logged out unasked: logins alone must
 * not end a user's sessions. */
void directory_device_add(struct directory *d, struct request *r)
{
    struct inner_device *a = r->result;
    struct directory_write *w;
    struct record v;
    bool exists = true, again = a->device != 0;
    size_t n = 0;
    enum err err;

    if (directory_defer(d, r, a->user))
        return;
    w = arena_alloc(&r->arena, sizeof *w);
    if (again)
        TRY(devices_exists(d->db, a->user, a->device, &exists));
    TRY(exists ? ERR_OK : ERR_NOT_FOUND);
    if (!again) {
        TRY(count_devices(d, a->user, &n));
        if (n == DEVICES_MAX) {
            directory_fail(d, r, CODE_CONFLICT,
                           "a user has at most 32 devices: end one with device.revoke, or log in as one of them");
            return;
        }
        a->device = new_device(d);
    }
    a->token = device_record(d, a->user, a->device, &r->arena, &v);
    *w = (struct directory_write){
        .request = r, .user = a->user, .device = a->device, .close_code = again ? 4409 : 0, .applied = answer};
    TRY(directory_admit(d, w, &v, 1));
    return;
out:
    if (err == ERR_NOT_FOUND)
        directory_fail(d, r, CODE_NOT_FOUND, "no such device");
    else
        directory_refuse(d, r, err);
}
