/* Admission. What is under way is not in the tables yet: the names it reserves and the users whose devices it changes
 * are in two maps until it is applied. A name that is reserved is taken. A change to devices that are being changed
 * waits, so that it is judged by what came of the first; profiles and sign-ups need no such order beyond the log's. */
#include "services/directory_state.h"
#include "base/log.h"
#include <assert.h>

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

static struct directory_record *kept_new(const struct record *r)
{
    struct buf bytes = {0};
    struct directory_record *kept;

    record_encode(r, &bytes);
    kept = mem_alloc(sizeof *kept + bytes.len);
    *kept = (struct directory_record){.kind = (uint8_t)r->kind, .len = bytes.len};
    memcpy(kept->bytes, bytes.p, bytes.len);
    buf_deinit(&bytes);
    return kept;
}

/* All or none: an account without the device that was made with it would hold a name that nobody reserved, and with the
 * next one to get it the log could never be applied. */
static enum err append(struct directory *d, const struct record *v, size_t n, uint64_t *last)
{
    struct directory_record *kept[DIRECTORY_RECORDS_MAX];
    struct log_record recs[DIRECTORY_RECORDS_MAX];
    enum err err;

    assert(n <= DIRECTORY_RECORDS_MAX);
    for (size_t i = 0; i < n; i++) {
        kept[i] = kept_new(&v[i]);
        recs[i] = (struct log_record){.kind = kept[i]->kind,
                                      .topics = TOPIC_TABLES,
                                      .shard = SHARD_DIRECTORY,
                                      .body = str_of(kept[i]->bytes, kept[i]->len)};
    }
    err = stream_append_all(d->stream, recs, n);
    for (size_t i = 0; i < n; i++) {
        if (err != ERR_OK) {
            mem_free(kept[i]);
            continue;
        }
        kept[i]->pos = *last = recs[i].pos;
        list_push(&d->records, &kept[i]->link);
    }
    return err;
}

enum err directory_admit(struct directory *d, struct directory_write *w, const struct record *v, size_t n)
{
    enum err err;

    if (d->is_stalled || d->n_writes >= DIRECTORY_WRITES_MAX)
        return ERR_LIMIT;
    TRY(append(d, v, n, &w->last));
    reserve(d, w);
    list_push(&d->writes, &w->link);
    d->n_writes++;
out:
    return err;
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
    if (d->n_writes + d->n_deferred >= DIRECTORY_WRITES_MAX) {
        directory_refuse(d, r, ERR_LIMIT);
        return true;
    }
    w = arena_alloc(&r->arena, sizeof *w);
    w->request = r;
    list_push(&d->deferred, &w->link);
    d->n_deferred++;
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
        d->n_deferred--;
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
        if (w->is_kept && w->request) {
            directory_fail(d, w->request, CODE_INTERNAL, "it was kept, but could not be carried out");
            continue;
        }
        if (w->close_code)
            announce_death(d, w);
        w->applied(d, w);
    }
    if (any)
        serve_deferred(d);
}
