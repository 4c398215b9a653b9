/* sync_world: a world in which the look-up knows who is in what, as the tables would, and helpers to read the answers
 * of sync and of lists. The test says who is in what by `knows`. */
#pragma once
#include "services/inner.h"
#include "tests/unit/services/group_world.h"
#include <jansson.h>

enum { KNOWN_MAX = 8192 };
struct known {
    user_id user;
    struct conv_id conv;
};
static struct known known[KNOWN_MAX];
static size_t n_known;
static _Atomic int lookup_fails; /* so many times */
static user_id held_user;        /* what is asked about them waits for release_held; 0: nobody */
static struct request *held[64];
static size_t n_held;

HELPER void serve_convs(struct inner_convs *c, struct request *q)
{
    c->v = arena_alloc(&q->arena, KNOWN_MAX * sizeof *c->v);
    for (size_t i = 0; i < n_known; i++)
        if (known[i].user == c->user)
            c->v[c->n++].conv = known[i].conv;
}
HELPER void sync_lookup(void *ctx, struct request *q)
{
    struct world_test *w = ctx;

    if (q->inner != INNER_USER_CONVS) {
        lookup_serve(ctx, q);
        return;
    }
    if (held_user && ((struct inner_convs *)q->result)->user == held_user) {
        held[n_held++] = q;
        return;
    }
    if (lookup_fails > 0) {
        lookup_fails--;
        request_fail(q, CODE_UNAVAILABLE, "later");
        q->retry_after_ms = 7;
    } else {
        serve_convs(q->result, q);
        request_ok(q);
    }
    bus_reply(bus_port(w->bus, world_lookup(&w->world)), q);
}
/* On the look-up's thread. */
HELPER void release_held(void *ctx)
{
    held_user = 0;
    while (n_held)
        sync_lookup(ctx, held[--n_held]);
}
HELPER void sync_open(struct world_test *w)
{
    world_open(w);
    bus_serve(bus_port(w->bus, world_lookup(&w->world)), sync_lookup, w);
}
HELPER void sync_crash(struct world_test *w)
{
    world_close(w);
    sync_open(w);
}
HELPER struct world_test *sync_world(unsigned reactors)
{
    struct world_test *w = world_of_groups(reactors);

    n_known = 0;
    w->ops[OP_sync] = op_sync;
    w->ops[OP_conversation_list] = op_conversation_list;
    w->ops[OP_conversation_get] = op_conversation_get;
    w->inner[INNER_CONV_BATCH] = inner_conv_batch;
    sync_open(w);
    return w;
}
/* A user is, or was, in a conversation; n_known is read by the look-up's thread only while a request is there. */
HELPER void knows(user_id user, const char *conv)
{
    assert_true(n_known < KNOWN_MAX);
    known[n_known].user = user;
    assert_true(conv_parse(str_c(conv), &known[n_known].conv));
    n_known++;
}
HELPER void know_pair(struct world_test *w, user_id a, user_id b)
{
    knows(a, pair_z(w, a, b));
    if (a != b)
        knows(b, pair_z(w, a, b));
}

/* An answer as a tree, to be decref'd. */
HELPER json_t *tree_of(struct world_test *w, user_id user, device_id device, const char *json)
{
    struct answer *a = ask(w, 0, user, device, json);
    json_t *t;

    if (a->code != CODE_OK)
        fail_msg("%s\n  answered %s %s", json, code_text(a->code), a->text);
    t = json_loads(a->text, JSON_REJECT_DUPLICATES, NULL);
    if (!t)
        fail_msg("no JSON: %s", a->text);
    answer_free(a);
    return t;
}
HELPER const char *text_in(const json_t *t, const char *key) { return json_string_value(json_object_get(t, key)); }
HELPER int64_t int_in(const json_t *t, const char *key)
{
    const json_t *v = json_object_get(t, key);

    return json_is_integer(v) ? json_integer_value(v) : -1;
}
HELPER const json_t *conv_in(const json_t *page, const char *conv)
{
    const json_t *list = json_object_get(page, "conversations");

    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(text_in(json_array_get(list, i), "conv"), conv) == 0)
            return json_array_get(list, i);
    return NULL;
}
/* The seqs of a conversation in a page: "3 4 5"; "-" when it is not in it. */
HELPER const char *seqs_in(const json_t *page, const char *conv)
{
    static _Thread_local char z[4][1024];
    static _Thread_local unsigned at;
    char *p = z[at++ % 4];
    const json_t *c = conv_in(page, conv), *list = json_object_get(c, "entries");
    size_t n = 0;

    if (!c)
        return "-";
    p[0] = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        n += (size_t)snprintf(p + n, 1024 - n, "%s%lld", i ? " " : "",
                              (long long)int_in(json_array_get(list, i), "seq"));
    return p;
}
#define SYNC(...) JSON("{\"op\":\"sync\"%s}", JSON(__VA_ARGS__))
HELPER json_t *sync_page(struct world_test *w, user_id user, device_id device, const char *more, const char *cursor)
{
    struct buf b = {0};
    json_t *t;

    buf_printf(&b, "{\"op\":\"sync\"%s", more);
    if (cursor)
        buf_printf(&b, ",\"cursor\":\"%s\"", cursor);
    buf_str(&b, STR("}"));
    buf_char(&b, 0);
    t = tree_of(w, user, device, b.p);
    buf_deinit(&b);
    return t;
}
