#include "services/typing.h"
#include "base/map.h"
#include "proto/jsonw.h"

struct typing {
    struct reactor *r;
    struct map by_key; /* struct writer, by what typist_key says */
};

struct writer {
    struct timer timer;
    struct typing *in;
    struct conv *conv; /* pinned */
    user_id user;
    uint64_t hash;
    uint64_t told_ms; /* 0: not yet */
};

static bool is_writer(const void *value, const void *key)
{
    const struct writer *a = value, *b = key;

    return a->conv == b->conv && a->user == b->user;
}

/* Also the slot of the event, so that a later one replaces it while it waits. */
static uint64_t slot_of(const struct reactor *r, const struct conv *c, user_id user)
{
    struct {
        struct conv_id conv;
        user_id user;
        char what[8];
    } k = {*conv_id(c), user, "typing"};

    return hash_keyed64(&reactor_keys(r)->bus, &k, sizeof k);
}

static void announce(struct reactor *r, struct conv *c, user_id user, bool on)
{
    struct buf *b = reactor_scratch(r);
    struct delivery d = {
        .class = DELIVER_EPHEMERAL, .to = conv_audience(c), .skip_user = user, .slot = slot_of(r, c, user)};

    jsonw_open(b, '{');
    jsonw_key_str(b, "ev", STR("typing"));
    jsonw_key_conv(b, "conv", conv_id(c));
    jsonw_key_user(b, "user", user);
    jsonw_key_bool(b, "on", on);
    jsonw_close(b, '}');
    d.frame = frame_text(buf_get(b));
    if (d.to->n <= EVERYBODY_MAX)
        bus_emit(reactor_port(r), &d, NULL, NULL);
    else
        conv_tell_authors(r, c, &d, user);
    frame_unref(d.frame);
}

static void stop(struct writer *w)
{
    struct typing *t = w->in;
    struct conv *c = w->conv;

    timer_stop(&w->timer);
    map_take(&t->by_key, w->hash, is_writer, w);
    if (!authority_is_blocked(conv_committed(c)))
        announce(t->r, c, w->user, false);
    mem_free(w);
    conv_unpin(t->r, c);
}

static void on_silence(struct timer *timer) { stop(container_of(timer, struct writer, timer)); }

static struct writer *find_in(struct typing *t, uint16_t shard)
{
    size_t at = 0;

    for (struct writer *w; (w = map_next(&t->by_key, &at));) {
        if (conv_shard(w->conv) == shard)
            return w;
    }
    return NULL;
}

void typing_leave(struct typing *t, uint16_t shard)
{
    for (struct writer *w; (w = find_in(t, shard));)
        stop(w);
}

static struct writer *start(struct typing *t, struct conv *c, user_id user)
{
    struct writer *w;

    if (t->by_key.count == TYPING_MAX)
        return NULL;
    w = mem_new(struct writer);
    w->timer.fn = on_silence;
    w->in = t;
    w->conv = c;
    w->user = user;
    w->hash = slot_of(t->r, c, user);
    map_add(&t->by_key, w->hash, w);
    conv_pin(c);
    return w;
}

static void set(struct reactor *r, struct conv *c, user_id user, bool on)
{
    struct typing *t = reactor_typing(r);
    struct writer key = {.conv = c, .user = user};
    struct writer *w = map_get(&t->by_key, slot_of(r, c, user), is_writer, &key);

    if (!on) {
        if (w)
            stop(w);
        return;
    }
    if (!w)
        w = start(t, c, user);
    if (!w)
        return;
    timer_set(reactor_loop(r), &w->timer, TYPING_MS);
    if (w->told_ms && loop_now_ms(reactor_loop(r)) < w->told_ms + TYPING_REPEAT_MS)
        return;
    w->told_ms = loop_now_ms(reactor_loop(r));
    announce(r, c, user, true);
}

static void typing_start(struct reactor *r, struct conv *c, struct request *q)
{
    const struct authority *a = conv_committed(c);
    const struct member *m = shard_reader(r, c, q);

    if (!m)
        return;
    if (!m->is_in || authority_is_blocked(a) || (a->announce && m->role < ROLE_ADMIN)) {
        reactor_fail(r, q, CODE_FORBIDDEN, "not allowed to write here");
        return;
    }
    set(r, c, q->actor.user, q->args->typing.on);
    buf_str(&q->out, STR("{}"));
    reactor_ok(r, q);
}

void op_typing(void *service, struct request *q) { shard_read(service, &q->args->typing.conv, q, typing_start); }

void typing_create(struct reactor *r, struct typing **out)
{
    struct typing *t = mem_new(struct typing);

    t->r = r;
    *out = t;
}

void typing_destroy(struct typing *t)
{
    size_t at = 0;

    if (!t)
        return;
    for (struct writer *w; (w = map_next(&t->by_key, &at));) {
        timer_stop(&w->timer);
        mem_free(w);
    }
    map_deinit(&t->by_key);
    mem_free(t);
}
