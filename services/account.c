/* Sign-up and login run on the reactor that got them and never block it: the hash is made by the gate's workers, the
 * names and devices are the directory's.
 *
 *   account.create   attempt → hash → directory (account, device, token)
 *   session.create   attempt → lookup (what the name's password hash is) → check → directory (device, token) */
#include "services/account.h"
#include "proto/jsonw.h"
#include "proto/metrics.h"
#include "services/account_gate.h"
#include "services/inner.h"
#include "services/reactor.h"
#include <sodium.h>

bool account_fold(struct str name, char out[USERNAME_MAX], struct str *folded)
{
    if (name.len < USERNAME_MIN || name.len > USERNAME_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.p[i];

        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-'))
            return false;
        out[i] = c;
    }
    *folded = str_of(out, name.len);
    return true;
}

static void token_hash(const struct data_keys *k, const uint8_t bytes[TOKEN_BYTES], uint8_t out[32])
{
    int bad = crypto_generichash(out, 32, bytes, TOKEN_BYTES, k->token, sizeof k->token);
    (void)bad; /* it fails only for lengths that it does not support */
}

bool account_token_hash(const struct data_keys *k, struct str token, uint8_t out[32])
{
    uint8_t bytes[TOKEN_BYTES];
    size_t n = 0;

    if (token.len != TOKEN_TEXT || !dec_base64url(bytes, sizeof bytes, &n, token) || n != sizeof bytes)
        return false;
    token_hash(k, bytes, out);
    sodium_memzero(bytes, sizeof bytes);
    return true;
}

void account_token_new(struct env *env, const struct data_keys *k, char out[TOKEN_TEXT], uint8_t hash[32])
{
    uint8_t bytes[TOKEN_BYTES];

    env_random(env, bytes, sizeof bytes);
    enc_base64url(out, bytes, sizeof bytes);
    token_hash(k, bytes, hash);
    sodium_memzero(bytes, sizeof bytes);
}

/* What is under way, in the memory of its request. */
struct entering {
    struct account_hashing hashing;
    struct account_attempt attempt;
    struct reactor *reactor;
    struct request *request;
    char folded[USERNAME_MAX];
    struct str username;
    user_id user; /* login: whose password is checked; 0: nobody's */
    struct str name;
};

static struct entering *enter(struct reactor *r, struct request *q, struct str password,
                              void (*done)(struct account_hashing *))
{
    struct entering *e = arena_alloc(&q->arena, sizeof *e);

    e->reactor = r;
    e->request = q;
    e->hashing.password = password;
    e->hashing.done = done;
    e->hashing.home = loop_mailbox(reactor_loop(r));
    memcpy(e->hashing.from, q->from, sizeof q->from);
    memcpy(e->attempt.from, q->from, sizeof q->from);
    return e;
}

/* False: the request is ended. */
static bool attempt(struct entering *e, struct str name)
{
    int64_t wait_ms = 0;

    e->attempt.username = name;
    if (account_gate_attempt(reactor_world(e->reactor)->gate, &e->attempt, &wait_ms) == ERR_OK)
        return true;
    metric_add(reactor_metrics(e->reactor), METRIC_RATE_LIMITED, 1);
    e->request->retry_after_ms = wait_ms;
    reactor_fail(e->reactor, e->request, CODE_RATE_LIMITED, "too many attempts from this address or for this username");
    return false;
}

static void forgive(struct entering *e) { account_gate_forgive(reactor_world(e->reactor)->gate, &e->attempt); }

static void hash(struct entering *e)
{
    enum err err = account_gate_run(reactor_world(e->reactor)->gate, &e->hashing);

    if (err == ERR_OK) {
        metric_add(reactor_metrics(e->reactor), METRIC_HASHES, 1);
        return;
    }
    forgive(e);
    e->request->retry_after_ms = 1000;
    if (err == ERR_AGAIN)
        reactor_fail(e->reactor, e->request, CODE_RATE_LIMITED, "sign-ups and logins from this address are waiting");
    else
        reactor_fail(e->reactor, e->request, CODE_UNAVAILABLE, "too many sign-ups and logins are waiting; try again");
}

/* What another service said goes on to the client as it is; how it failed is its own business. */
static bool is_refused(struct reactor *r, struct request *q, const struct request *sub)
{
    if (sub->code == CODE_OK)
        return false;
    q->retry_after_ms = sub->retry_after_ms;
    reactor_fail(r, q, sub->code, sub->why);
    return true;
}

static void answer(struct reactor *r, struct entering *e, user_id user, device_id device, struct str token)
{
    struct buf *b = &e->request->out;

    jsonw_open(b, '{');
    jsonw_key(b, "user");
    jsonw_open(b, '{');
    jsonw_key(b, "id");
    jsonw_user(b, user);
    jsonw_key_str(b, "username", e->username);
    if (e->name.len)
        jsonw_key_str(b, "name", e->name);
    jsonw_close(b, '}');
    jsonw_key(b, "device");
    jsonw_device(b, device);
    jsonw_key_str(b, "token", token);
    jsonw_close(b, '}');
    reactor_ok(r, e->request);
}

/* Sign-up. */
static void account_added(struct reactor *r, struct request *q, struct request *sub)
{
    const struct inner_account *a = sub->result;

    if (!is_refused(r, q, sub))
        answer(r, q->server, a->user, a->device, a->token);
}

static void password_hashed(struct account_hashing *h)
{
    struct entering *e = container_of(h, struct entering, hashing);
    struct request *q = e->request, *sub;
    struct inner_account *a;

    if (!h->ok) {
        reactor_broken(e->reactor, q, "argon2id", ERR_NOMEM);
        return;
    }
    sub = reactor_ask_new(e->reactor, q, INNER_ACCOUNT_ADD, account_added);
    a = arena_alloc(&sub->arena, sizeof *a);
    a->username = arena_dup(&sub->arena, e->username);
    a->name = arena_dup(&sub->arena, e->name);
    a->phone = arena_dup(&sub->arena, q->args->account_create.phone);
    a->password = arena_dup(&sub->arena, str_c(h->hash));
    sub->result = a;
    q->server = e;
    reactor_ask(e->reactor, sub, world_directory(reactor_world(e->reactor)));
}

static bool is_phone(struct str s)
{
    size_t digits = 0;

    for (size_t i = 0; i < s.len; i++) {
        bool digit = s.p[i] >= '0' && s.p[i] <= '9';
        digits += digit;
        if (!digit && !memchr("+-(). ", s.p[i], 6))
            return false;
    }
    return s.len == 0 || digits > 0;
}

void op_account_create(void *service, struct request *q)
{
    struct reactor *r = service;
    const struct args_account_create *a = &q->args->account_create;
    struct entering *e = enter(r, q, a->password, password_hashed);

    e->attempt.is_signup = true;
    if (!account_fold(a->username, e->folded, &e->username)) {
        reactor_fail(r, q, CODE_BAD_REQUEST, "username: 3 to 32 of a-z 0-9 . _ - are wanted");
    } else if (a->password.len < PASSWORD_MIN || a->password.len > PASSWORD_MAX) {
        reactor_fail(r, q, CODE_BAD_REQUEST, "password: 8 to 256 bytes are wanted");
    } else if (!is_phone(a->phone)) {
        reactor_fail(r, q, CODE_BAD_REQUEST, "phone: digits are wanted, with + - ( ) . and blanks among them");
    } else if (attempt(e, e->username)) {
        e->name = a->name;
        hash(e);
    }
}

/* Login. */
static void device_added(struct reactor *r, struct request *q, struct request *sub)
{
    const struct inner_device *d = sub->result;

    if (!is_refused(r, q, sub))
        answer(r, q->server, d->user, d->device, d->token);
}

static void password_checked(struct account_hashing *h)
{
    struct entering *e = container_of(h, struct entering, hashing);
    struct request *q = e->request, *sub;
    struct inner_device *d;

    if (!h->ok || !e->user) {
        reactor_fail(e->reactor, q, CODE_UNAUTHENTICATED, "no such username and password");
        return;
    }
    forgive(e);
    if (q->args->session_create.has_device && !q->args->session_create.device) {
        reactor_fail(e->reactor, q, CODE_NOT_FOUND, "no such device"); /* an id that we never gave */
        return;
    }
    sub = reactor_ask_new(e->reactor, q, INNER_DEVICE_ADD, device_added);
    d = arena_alloc(&sub->arena, sizeof *d);
    *d = (struct inner_device){.user = e->user, .device = q->args->session_create.device};
    sub->result = d;
    q->server = e;
    reactor_ask(e->reactor, sub, world_directory(reactor_world(e->reactor)));
}

/* A name that nobody has goes the same way, with nothing to check against. */
static void login_known(struct reactor *r, struct request *q, struct request *sub)
{
    const struct inner_login *l = sub->result;
    struct entering *e = q->server;

    if (sub->code != CODE_OK)
        forgive(e);
    if (is_refused(r, q, sub))
        return;
    e->user = l->user;
    e->name = arena_dup(&q->arena, l->name);
    e->hashing.is_check = true;
    if (l->password.len && l->password.len < sizeof e->hashing.hash)
        memcpy(e->hashing.hash, l->password.p, l->password.len);
    hash(e);
}

void op_session_create(void *service, struct request *q)
{
    struct reactor *r = service;
    const struct args_session_create *a = &q->args->session_create;
    struct entering *e = enter(r, q, a->password, password_checked);
    bool is_name = account_fold(a->username, e->folded, &e->username);
    struct inner_login *l;
    struct request *sub;

    if (!attempt(e, is_name ? e->username : a->username))
        return;
    sub = reactor_ask_new(r, q, INNER_LOGIN_DATA, login_known);
    l = arena_alloc(&sub->arena, sizeof *l);
    l->username = arena_dup(&sub->arena, e->username);
    sub->result = l;
    q->server = e;
    reactor_ask(r, sub, world_lookup(reactor_world(r)));
}
