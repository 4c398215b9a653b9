/* Admission. What is under way is not in the tables yet: the names it reserves and the users whose devices it changes
 * are in two maps until it is applied. A name that is reserved is taken. A change to devices that are being changed
 * waits, so that it is judged by what came of the first; profiles and sign-ups need no such order beyond the log's. */
#include "services/directory_state.h"
#include "base/log.h"

static uint64_t name_hash(const struct directory *d, struct str name)
{
    return hash_keyed64(&d->world->data->keys.bus, name.p, name.len);
}

static bool has_name(const void *value, const void *key)
{
    return str_eq(((const struct directory_write *)value)->username, *(const struct str *)key);
}

static bool has_user(const void *value, const void *key)
{
    return ((const struct directory_write *)value)->user == *(const user_id *)key;
}

bool directory_is_reserved(const struct directory *d, struct str username)
{
    return map_get(&d->names, name_hash(d, username), has_name, &username) != NULL;
}

static void reserve(struct directory *d, struct directory_write *w)
{
    if (w->username.len)
        map_add(&d->names, name_hash(d, w->username), w);
    if (w->user)
        map_add(&d->busy, hash_u64(w->user), w);
}

static void release(struct directory *d, struct directory_write *w)
{
    if (w->username.len)
        map_take(&d->names, name_hash(d, w->username), has_name, &w->username);
    if (w->user)
        map_take(&d->busy, hash_u64(w->user), has_user, &w->user);
}

static enum err append(struct directory *d, const struct record *r, uint64_t *pos)
{
    struct buf bytes = {0};
    struct directory_record *kept;
    enum err err;

    record_encode(r, &bytes);
    TRY(stream_append(d->stream, (uint8_t)r->kind, SHARD_DIRECTORY, TOPIC_TABLES, buf_get(&bytes), pos));
    kept = mem_alloc(sizeof *kept + bytes.len);
    *kept = (struct directory_record){.pos = *pos, .kind = (uint8_t)r->kind, .len = bytes.len};
    memcpy(kept->bytes, bytes.p, bytes.len);
    list_push(&d->records, &kept->link);
out:
    buf_deinit(&bytes);
    return err;
}

static void take(struct directory *d, struct directory_write *w)
{
    reserve(d, w);
    list_push(&d->writes, &w->link);
    d->n_writes++;
}

static void rest_applied(struct directory *d, struct directory_write *w)
{
    (void)d;
    mem_free(w);
}

/* The first records of a write are in the log and will be applied although the others were refused: what they reserve
 * stays reserved until then, or the tables would be told of one name twice. */
static void take_rest(struct directory *d, const struct directory_write *w)
{
    struct directory_write *rest = mem_alloc(sizeof *rest + w->username.len);

    *rest = (struct directory_write){.last = w->last, .user = w->user, .applied = rest_applied};
    rest->username = str_of((char *)(rest + 1), w->username.len);
    if (w->username.len)
        memcpy(rest + 1, w->username.p, w->username.len);
    take(d, rest);
}

enum err directory_admit(struct directory *d, struct directory_write *w, const struct record *v, size_t n)
{
    if (d->is_stalled || d->n_writes >= DIRECTORY_WRITES_MAX)
        return ERR_LIMIT;
    for (size_t i = 0; i < n; i++) {
        enum err err = append(d, &v[i], &w->last);

        if (err != ERR_OK && i > 0)
            take_rest(d, w);
        if (err != ERR_OK)
            return err;
    }
    take(d, w);
    return ERR_OK;
}

void directory_writes_abandon(struct directory *d)
{
    list_each (&d->writes, w, struct directory_write, link) {
        if (w->applied == rest_applied) {
            list_remove(&w->link);
            mem_free(w);
        }
    }
}

void directory_answer(struct directory *d, struct request *r)
{
    request_ok(r);
    bus_reply(d->port, r);
}

void directory_fail(struct directory *d, struct request *r, enum code code, const char *why)
{
    request_fail(r, code, "%s", why);
    bus_reply(d->port, r);
}

void directory_refuse(struct directory *d, struct request *r, enum err err)
{
    switch (err) {
    case ERR_FULL:
        request_fail(r, CODE_UNAVAILABLE, "the server's disk is full");
        r->retry_after_ms = 5000;
        break;
    case ERR_LIMIT:
    case ERR_AGAIN:
        request_fail(r, CODE_UNAVAILABLE, "the server is busy; try again");
        r->retry_after_ms = 1000;
        break;
    case ERR_CLOSED:
        request_fail(r, CODE_UNAVAILABLE, "the server is ending; try again");
        r->retry_after_ms = 1000;
        break;
    default:
        log_error("directory_op_failed", "op=%s inner=%d err=%s", r->inner ? "-" : op_table[r->op].name, r->inner,
                  err_name(err));
        request_fail(r, CODE_INTERNAL, "the tables cannot be read");
        break;
    }
    bus_reply(d->port, r);
}

bool directory_defer(struct directory *d, struct request *r, user_id user)
{
    struct directory_waiting *w;

    if (!map_get(&d->busy, hash_u64(user), has_user, &user))
        return false;
    w = arena_alloc(&r->arena, sizeof *w);
    w->request = r;
    list_push(&d->deferred, &w->link);
    return true;
}

/* A token's death is visible in the tables by now. Counting before announcing lets a gateway that checked the token
 * before and joined the bus after notice that it must check again (proto/auth.h). */
static void announce_death(struct directory *d, const struct directory_write *w)
{
    const struct delivery close = {
        .class = DELIVER_CLOSE, .only_user = w->user, .only_device = w->device, .close_code = w->close_code};

    atomic_fetch_add(&d->world->revocations, 1);
    bus_emit(d->port, &close, NULL, NULL);
}

static void serve_deferred(struct directory *d)
{
    struct link todo;

    list_init(&todo);
    while (!list_is_empty(&d->deferred)) { /* those that must wait again come back into `deferred` */
        struct link *l = d->deferred.next;
        list_remove(l);
        list_push(&todo, l);
    }
    while (!list_is_empty(&todo)) {
        struct directory_waiting *w = list_first(&todo, struct directory_waiting, link);
        list_remove(&w->link);
        directory_serve(d, w->request);
    }
}

void directory_writes_applied(struct directory *d)
{
    bool any = false;

    for (;;) {
        struct directory_write *w = list_first(&d->writes, struct directory_write, link);

        if (!w || w->last >= d->committed)
            break;
        any = true;
        list_remove(&w->link);
        d->n_writes--;
        release(d, w);
        if (w->close_code)
            announce_death(d, w);
        w->applied(d, w);
    }
    if (any)
        serve_deferred(d);
}
