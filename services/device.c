/* Devices: a user's list of them, and the end of one. The list is the lookup's; the end is the directory's. */
#include "proto/jsonw.h"
#include "schema/devices.h"
#include "services/directory_state.h"
#include "services/lookup_state.h"

enum { LIST_STANDARD = 50, LIST_MAX = 200 };

static void answer_empty(struct directory *d, struct directory_write *w)
{
    buf_str(&w->request->out, STR("{}"));
    directory_answer(d, w->request);
}

static void remove_device(struct directory *d, struct request *r, device_id device, enum code none, const char *why)
{
    struct record v = {.kind = RECORD_DEVICE_GONE,
                       .device_gone = {.user = r->actor.user, .device = device, .ts = env_now_ms(d->env)}};
    struct directory_write *w;
    bool exists = false;
    enum err err;

    if (directory_defer(d, r, r->actor.user))
        return;
    TRY(devices_exists(d->db, r->actor.user, device, &exists));
    TRY(exists ? ERR_OK : ERR_NOT_FOUND);
    w = arena_alloc(&r->arena, sizeof *w);
    *w = (struct directory_write){
        .request = r, .user = r->actor.user, .device = device, .close_code = 4401, .applied = answer_empty};
    TRY(directory_admit(d, w, &v, 1));
    return;
out:
    if (err == ERR_NOT_FOUND)
        directory_fail(d, r, none, why);
    else
        directory_refuse(d, r, err);
}

void op_device_revoke(void *service, struct request *r)
{
    remove_device(service, r, r->args->device_revoke.device, CODE_NOT_FOUND, "no such device");
}

void op_session_delete(void *service, struct request *r)
{
    remove_device(service, r, r->actor.device, CODE_UNAUTHENTICATED, "the token is dead");
}

static void print_device(struct buf *b, const struct device_row *v, device_id current)
{
    jsonw_open(b, '{');
    jsonw_key(b, "device");
    jsonw_device(b, v->device);
    jsonw_key_int(b, "created", v->created);
    if (v->device == current)
        jsonw_key_bool(b, "current", true);
    jsonw_close(b, '}');
}

void op_device_list(void *service, struct request *r)
{
    struct lookup *l = service;
    const struct args_device_list *a = &r->args->device_list;
    size_t limit = a->has_limit && a->limit ? (size_t)a->limit : LIST_STANDARD, n = 0;
    struct device_row v[LIST_MAX + 1];
    device_id after = 0;
    enum err err;

    if (limit > LIST_MAX)
        limit = LIST_MAX;
    if (a->has_cursor && !device_parse(a->cursor, &after)) {
        lookup_fail(l, r, CODE_BAD_REQUEST, "cursor: not one of ours");
        return;
    }
    TRY(devices_list(l->db, r->actor.user, after, v, limit + 1, &n));
    jsonw_open(&r->out, '{');
    jsonw_key(&r->out, "devices");
    jsonw_open(&r->out, '[');
    for (size_t i = 0; i < n && i < limit; i++)
        print_device(&r->out, &v[i], r->actor.device);
    jsonw_close(&r->out, ']');
    jsonw_key_bool(&r->out, "more", n > limit);
    if (n > limit) {
        jsonw_key(&r->out, "cursor");
        jsonw_device(&r->out, v[limit - 1].device);
    }
    jsonw_close(&r->out, '}');
    lookup_answer(l, r);
    return;
out:
    lookup_broken(l, r, err);
}
