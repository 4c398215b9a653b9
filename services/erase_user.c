/* What one user sent: their conversations are asked of the lookup, which waits until the tables have what they were
 * told of, and then each is erased in its turn. Nothing is kept of how far it is: who begins it again passes over what
 * is erased. */
#include "schema/users.h"
#include "services/account.h"
#include "services/directory_state.h"
#include "services/erase.h"
#include "services/inner.h"
#include "base/log.h"

enum { PROGRESS_MS = 300 };

struct erase_user {
    struct directory *d;
    struct erase_conf conf;
    user_id user;
    int64_t before_ms;
    struct request *convs; /* answered: it has the list */
    size_t at;
    uint64_t erased, said_ms;
    bool is_cancelled;
};

static void end(struct erase_user *e, enum code code, const char *why)
{
    if (!e->is_cancelled)
        e->conf.done(e->conf.arg, code, why, e->erased);
    request_free(e->convs);
    mem_free(e);
}

static void next_conv(struct erase_user *e);

/* A chat of two that has but a block is none. */
static void on_conv(void *arg, enum code code, const char *why, uint64_t erased)
{
    struct erase_user *e = arg;

    e->erased += erased;
    e->at++;
    if (!e->is_cancelled && (code == CODE_OK || code == CODE_NOT_FOUND))
        next_conv(e);
    else
        end(e, code, why);
}

static void say_progress(struct erase_user *e, size_t of)
{
    uint64_t now = loop_now_ms(e->d->loop);

    if (!e->conf.progress || now < e->said_ms + PROGRESS_MS)
        return;
    e->said_ms = now;
    e->conf.progress(e->conf.arg, e->at, of, e->erased);
}

/* A run that is refused at once has ended before its start returns, and with it this. */
static void next_conv(struct erase_user *e)
{
    const struct inner_convs *convs = e->convs->result;
    struct erase_range range = {.from = 1, .to = SEQ_MAX, .before_ms = e->before_ms, .user = e->user};
    size_t at = e->at;

    if (at == convs->n) {
        end(e, CODE_OK, "");
        return;
    }
    say_progress(e, convs->n);
    range.conv = convs->v[at].conv;
    erase_start(e->d, &range, &(struct erase_conf){.done = on_conv, .arg = e, .is_over = &e->is_cancelled});
}

static void on_convs(struct request *q)
{
    struct erase_user *e = q->asker;

    e->convs = q;
    if (q->code != CODE_OK || e->is_cancelled)
        end(e, q->code, q->why);
    else
        next_conv(e);
}

static enum err find_user(struct directory *d, struct str who, user_id *out)
{
    char folded[USERNAME_MAX];
    struct str name;
    bool is_there = false;
    enum err err = ERR_NOT_FOUND;

    if (account_fold(who, folded, &name))
        err = users_id_of(d->db, name, out);
    if (err == ERR_NOT_FOUND && user_parse(who, out) && users_exists(d->db, *out, &is_there) == ERR_OK && is_there)
        err = ERR_OK;
    return err;
}

struct erase_user *erase_user_start(struct directory *d, struct str who, int64_t before_ms, const struct erase_conf *c)
{
    struct erase_user *e;
    struct inner_convs *convs;
    struct request *q;
    char text[USER_TEXT + 1];
    user_id user;
    enum err err = find_user(d, who, &user);

    if (err != ERR_OK) {
        c->done(c->arg, err == ERR_NOT_FOUND ? CODE_NOT_FOUND : CODE_INTERNAL,
                err == ERR_NOT_FOUND ? "there is no such user" : err_text(err), 0);
        return NULL;
    }
    text[user_text(text, user)] = '\0';
    log_info("admin_erase", "user=%s before_ms=%lld", text, (long long)before_ms);
    e = mem_new(struct erase_user);
    *e = (struct erase_user){.d = d, .conf = *c, .user = user, .before_ms = before_ms};
    q = request_new(on_convs, e);
    convs = arena_alloc(&q->arena, sizeof *convs);
    *convs = (struct inner_convs){.user = user};
    q->inner = INNER_USER_CONVS;
    q->result = convs;
    bus_request(d->port, world_lookup(d->world), q);
    return e;
}

void erase_user_cancel(struct erase_user *e)
{
    if (e)
        e->is_cancelled = true;
}
