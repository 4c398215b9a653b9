#include "services/seed.h"
#include "schema/users.h"
#include "services/account.h"
#include "services/directory_state.h"
#include "services/inner.h"
#include <inttypes.h>

enum { IN_FLIGHT = 1024 /* accounts; the answer to a sign-up waits for at most these */ };

struct seed {
    struct link link;
    struct seed_conf conf;
    char prefix[SEED_PREFIX_MAX];
    uint64_t next, end;
    size_t in_flight;
    bool is_paused, is_over; /* over: no more are made */
    enum code code;
    char why[128];
};

struct seeded {
    struct directory_write w;
    struct seed *seed;
    char username[USERNAME_MAX], token[TOKEN_TEXT];
    user_id user;
    device_id device;
};

static void end(struct seed *s, enum code code, const char *what, struct str name)
{
    if (s->is_over)
        return;
    s->is_over = true;
    s->code = code;
    snprintf(s->why, sizeof s->why, "%s" STR_FMT, what, STR_ARG(name));
}

static void finish(struct seed *s)
{
    list_remove(&s->link);
    if (s->conf.done)
        s->conf.done(s->conf.arg, s->code, s->why);
    mem_free(s);
}

static size_t put(char *out, size_t at, struct str s)
{
    memcpy(out + at, s.p, s.len);
    return at + s.len;
}

static void account_applied(struct directory *d, struct directory_write *w)
{
    struct seeded *a = container_of(w, struct seeded, w);
    struct seed *s = a->seed;
    char line[USERNAME_MAX + USER_TEXT + DEVICE_TEXT + TOKEN_TEXT + 4];
    size_t n = put(line, 0, w->username);

    (void)d;
    line[n++] = '\t';
    n += user_text(line + n, a->user);
    line[n++] = '\t';
    n += device_text(line + n, a->device);
    line[n++] = '\t';
    n = put(line, n, str_of(a->token, TOKEN_TEXT));
    line[n++] = '\n';
    if (w->is_kept)
        end(s, CODE_INTERNAL, "it was kept as a dead letter: ", w->username);
    else if (s->conf.line && !s->conf.line(s->conf.arg, str_of(line, n)))
        s->is_paused = true;
    s->in_flight--;
    mem_free(a);
}

static enum err is_taken(struct directory *d, struct str username, bool *out)
{
    user_id other;
    enum err err = ERR_OK;

    *out = directory_is_reserved(d, username);
    if (!*out) {
        err = users_id_of(d->db, username, &other);
        *out = err == ERR_OK;
    }
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static uint64_t random_id(struct directory *d)
{
    uint64_t id = 0;

    while (!id)
        env_random(d->env, &id, sizeof id);
    return id;
}

static enum err make(struct directory *d, struct seed *s)
{
    struct seeded *a = mem_new(struct seeded);
    struct record v[2] = {{.kind = RECORD_ACCOUNT}, {.kind = RECORD_DEVICE}};
    char name[SEED_PREFIX_MAX + 24];
    int len = snprintf(name, sizeof name, STR_FMT "%06" PRIu64, STR_ARG(s->conf.prefix), s->next);
    struct str username = str_of(name, (size_t)len);
    bool taken = false;
    enum err err;

    TRY(account_fold(username, a->username, &username) ? ERR_OK : ERR_INVALID);
    TRY(is_taken(d, username, &taken));
    TRY(taken ? ERR_EXISTS : ERR_OK);
    a->seed = s;
    a->user = random_id(d);
    a->device = random_id(d);
    v[0].account = (struct account_record){.user = a->user, .ts = env_now_ms(d->env), .username = username};
    v[1].device = (struct device_record){.user = a->user, .device = a->device, .ts = v[0].account.ts};
    account_token_new(d->env, &d->world->data->keys, a->token, v[1].device.token_hash);
    a->w = (struct directory_write){.username = username, .applied = account_applied};
    TRY(directory_admit(d, &a->w, v, 2));
    s->in_flight++;
    return ERR_OK;
out:
    if (err == ERR_EXISTS)
        end(s, CODE_CONFLICT, "the username is taken: ", username);
    else if (err == ERR_INVALID)
        end(s, CODE_BAD_REQUEST, "no username can be: ", str_c(name));
    else if (err == ERR_FULL)
        end(s, CODE_UNAVAILABLE, "the disk is full", STR(""));
    else if (err != ERR_LIMIT)
        end(s, CODE_INTERNAL, err_text(err), STR(""));
    mem_free(a);
    return err;
}

static void pump_one(struct directory *d, struct seed *s)
{
    if (!d->stream)
        end(s, CODE_UNAVAILABLE, "the server is ending", STR(""));
    while (!s->is_over && !s->is_paused && s->next < s->end && s->in_flight < IN_FLIGHT && make(d, s) == ERR_OK)
        s->next++;
    if (s->next == s->end)
        s->is_over = true;
    if (s->is_over && s->in_flight == 0)
        finish(s);
}

void seed_pump(struct directory *d)
{
    list_each (&d->seeds, s, struct seed, link)
        pump_one(d, s);
}

struct seed *seed_start(struct directory *d, const struct seed_conf *c)
{
    struct seed *s;

    if (c->prefix.len > SEED_PREFIX_MAX || c->count > SEED_COUNT_MAX || c->first > SEED_COUNT_MAX) {
        c->done(c->arg, CODE_BAD_REQUEST, "the prefix is too long, or there are too many");
        return NULL;
    }
    s = mem_new(struct seed);
    s->conf = *c;
    put(s->prefix, 0, c->prefix);
    s->conf.prefix.p = s->prefix;
    s->next = c->first;
    s->end = c->first + c->count;
    list_push(&d->seeds, &s->link);
    directory_wake(d); /* the first are made in a turn of their own, so that done does not come before this returns */
    return s;
}

void seed_resume(struct directory *d, struct seed *s)
{
    s->is_paused = false;
    directory_wake(d);
}

void seed_cancel(struct directory *d, struct seed *s)
{
    s->conf.line = NULL;
    s->conf.done = NULL;
    end(s, CODE_OK, "", STR(""));
    directory_wake(d);
}

void seed_abandon(struct directory *d)
{
    list_each (&d->writes, w, struct directory_write, link) {
        if (w->applied == account_applied) {
            list_remove(&w->link);
            mem_free(container_of(w, struct seeded, w));
        }
    }
    list_each (&d->seeds, s, struct seed, link) {
        list_remove(&s->link);
        mem_free(s);
    }
}

/* INNER_SEED: the lines gather in the asker's buffer. */
static bool keep_line(void *arg, struct str line)
{
    const struct inner_seed *a = ((struct request *)arg)->result;

    buf_str(a->lines, line);
    return true;
}

static void answer(void *arg, enum code code, const char *why)
{
    struct request *r = arg;
    struct directory *d = r->server;

    if (code == CODE_OK)
        directory_answer(d, r);
    else
        directory_fail(d, r, code, why);
}

void seed_serve(struct directory *d, struct request *r)
{
    const struct inner_seed *a = r->result;
    struct seed_conf c = {
        .prefix = a->prefix, .first = a->first, .count = a->count, .line = keep_line, .done = answer, .arg = r};

    r->server = d;
    seed_start(d, &c);
}
