#include "services/shard.h"
#include "proto/metrics.h"
#include "services/move.h"
#include "services/naming.h"
#include "services/shard_state.h"
#include <assert.h>

enum {
    CONVS_BYTES_STANDARD = 64 << 20,
    HEADS_BYTES_STANDARD = 8 << 20,
    GARBAGE_MIN = 64,
    EVICT_LOOKS = 8,
    SLOTS_BYTES = 32, /* in the map */
    CIDS_SLOTS = 1024,
    TAILS_SHARE = 4 /* of what conversations may take, tails may take one more */
};

/* The cache. */
static bool conv_is(const void *value, const void *key) { return conv_eq(&((const struct conv *)value)->id, key); }

static void show_count(struct shards *s)
{
    metric_put(reactor_metrics(s->r), METRIC_CONVS_CACHED, (int64_t)s->convs.count);
    metric_put(reactor_metrics(s->r), METRIC_CONVS_BYTES, (int64_t)s->bytes);
    metric_put(reactor_metrics(s->r), METRIC_TAILS_BYTES, (int64_t)s->tails.bytes);
    metric_put(reactor_metrics(s->r), METRIC_HEADS, (int64_t)heads_count(s->heads));
    metric_put(reactor_metrics(s->r), METRIC_HEADS_BYTES, (int64_t)heads_bytes(s->heads));
}

/* What it holds by now. */
static void weigh(struct shards *s, struct conv *c)
{
    size_t bytes = sizeof *c + SLOTS_BYTES + c->arena.bytes + c->ahead_arena.bytes;

    if (c->authors)
        bytes += sizeof *c->authors;
    if (c->audience)
        bytes += sizeof *c->audience + c->audience->n * sizeof c->audience->users[0];
    s->bytes += bytes - c->bytes;
    c->bytes = bytes;
}

static struct conv *conv_new(struct shards *s, const struct conv_id *id, uint64_t hash)
{
    struct conv *c = mem_new(struct conv);

    c->id = c->now.id = *id;
    c->ahead = c->now;
    c->hash = hash;
    c->shard = (uint16_t)(hash % SHARD_COUNT);
    list_init(&c->waiting);
    heads_drop(s->heads, hash, id);
    list_push_front(&s->recent, &c->used);
    map_add(&s->convs, hash, c);
    weigh(s, c);
    show_count(s);
    return c;
}

void conv_free(struct conv *c)
{
    audience_unref(c->audience);
    arena_deinit(&c->ahead_arena);
    arena_deinit(&c->arena);
    mem_free(c->authors);
    mem_free(c);
}

void conv_detach(struct shards *s, struct conv *c)
{
    tail_drop(&s->tails, c);
    map_take(&s->convs, c->hash, conv_is, &c->id);
    list_remove(&c->used);
    s->bytes -= c->bytes;
    show_count(s);
}

static void conv_forget(struct shards *s, struct conv *c)
{
    conv_detach(s, c);
    conv_free(c);
}

static bool conv_is_idle(const struct conv *c)
{
    return c->is_loaded && !c->is_held && !c->is_pumping && c->pins == 0 && c->in_flight == 0 &&
           !link_is_in(&c->stale) && list_is_empty(&c->waiting);
}

/* From the longest unused on; what is busy is in use after all, and of those it looks at a few. A large one that came
 * may have many small ones go. */
static void make_room(struct shards *s)
{
    struct link *at = s->recent.prev;

    for (unsigned busy = 0; s->bytes > s->bytes_max && at != &s->recent && busy < EVICT_LOOKS;) {
        struct conv *c = container_of(at, struct conv, used);

        at = at->prev;
        if (conv_is_idle(c)) {
            heads_put(s->heads, c->hash, c->shard, &c->now);
            conv_forget(s, c);
        } else {
            list_remove(&c->used);
            list_push_front(&s->recent, &c->used);
            busy++;
        }
    }
}

bool shards_leave(struct shards *s, uint16_t shard)
{
    bool all = true;

    list_each (&s->recent, c, struct conv, used) {
        if (c->shard != shard)
            continue;
        if (conv_is_idle(c))
            conv_forget(s, c);
        else
            all = false;
    }
    if (all)
        heads_drop_shard(s->heads, shard);
    return all;
}

void conv_settle(struct reactor *r, struct conv *c)
{
    struct shards *s = reactor_shards(r);

    if (c->ahead.head == 0 && conv_is_idle(c))
        conv_forget(s, c);
    else
        weigh(s, c);
    if (s->bytes > s->bytes_max)
        make_room(s);
}

static uint64_t hash_of(const struct shards *s, const struct conv_id *id)
{
    return naming_hash(reactor_naming(s->r), id);
}

/* Where more are written to than caches hold, each line of one would be waited for by itself. */
static inline __attribute__((always_inline)) void fetch(const struct conv *c)
{
    mem_fetch((const char *)c + MEM_LINE, sizeof *c - MEM_LINE);
    mem_fetch(c->now.members, CONV_ARENA);
    __builtin_prefetch(c->audience);
}

struct conv *conv_get(struct shards *s, const struct conv_id *id)
{
    uint64_t hash = hash_of(s, id);
    struct conv *c = map_get(&s->convs, hash, conv_is, id);

    if (!c)
        return conv_new(s, id, hash);
    fetch(c);
    list_remove(&c->used);
    list_push_front(&s->recent, &c->used);
    return c;
}

void shards_unsettle(struct shards *s, const struct conv_id *id)
{
    struct conv *c = map_get(&s->convs, hash_of(s, id), conv_is, id);

    if (c)
        c->hint = (struct notify_hint){0};
}

bool shard_is_cold(const struct reactor *r, const struct conv_id *id)
{
    const struct shards *s = reactor_shards(r);
    uint64_t hash = hash_of(s, id);

    return moves_serves(r, id) && !map_get(&s->convs, hash, conv_is, id) && !heads_has(s->heads, hash, id);
}

bool shard_glance(const struct reactor *r, const struct conv_id *id, const struct actor *who, struct glance *out)
{
    const struct shards *s = reactor_shards(r);

    return heads_glance(s->heads, hash_of(s, id), id, who->user, who->device, out);
}

/* The queue. */
static void run(struct reactor *r, struct conv *c, struct work *w)
{
    list_remove(&w->link);
    w->fn(r, c, w->q);
}

void conv_pump(struct reactor *r, struct conv *c)
{
    if (c->is_pumping || !c->is_loaded)
        return;
    c->is_pumping = true;
    while (!c->is_held && !list_is_empty(&c->waiting))
        run(r, c, list_first(&c->waiting, struct work, link));
    c->is_pumping = false;
    conv_settle(r, c);
}

static struct work *work_new(struct reactor *r, struct request *q, struct conv *c, shard_fn *fn)
{
    struct work *w = arena_alloc(&q->arena, sizeof *w);

    w->q = q;
    w->conv = c;
    w->fn = fn;
    w->since_ms = loop_now_ms(reactor_loop(r));
    list_init(&w->repeats);
    q->server = w;
    return w;
}

void shard_write(struct reactor *r, const struct conv_id *id, struct request *q, shard_fn *fn)
{
    if (!moves_gate(r, id, q, fn, true))
        shard_write_now(r, id, q, fn);
}

void shard_write_now(struct reactor *r, const struct conv_id *id, struct request *q, shard_fn *fn)
{
    struct conv *c = conv_get(reactor_shards(r), id);
    struct work *w = work_new(r, q, c, fn);

    if (!c->is_loaded) {
        shard_load(r, c, w);
        return;
    }
    list_push(&c->waiting, &w->link);
    conv_pump(r, c);
}

void shard_read(struct reactor *r, const struct conv_id *id, struct request *q, shard_fn *fn)
{
    if (!moves_gate(r, id, q, fn, false))
        shard_read_now(r, id, q, fn);
}

void shard_read_now(struct reactor *r, const struct conv_id *id, struct request *q, shard_fn *fn)
{
    struct conv *c = conv_get(reactor_shards(r), id);
    struct work *w = work_new(r, q, c, fn);

    if (!c->is_loaded) {
        shard_load(r, c, w);
        return;
    }
    c->pins++;
    fn(r, c, q);
    conv_unpin(r, c);
}

void shard_hold(struct conv *c)
{
    assert(!c->is_held);
    c->is_held = true;
}

void shard_continue(struct reactor *r, struct conv *c, struct request *q, shard_fn *fn)
{
    bool is_outermost = !c->is_pumping;

    assert(c->is_held);
    c->is_held = false;
    c->is_pumping = true;
    fn(r, c, q);
    if (!is_outermost)
        return;
    c->is_pumping = false;
    conv_pump(r, c);
}

void shard_go_on(struct reactor *r, struct conv *c, struct request *q, shard_fn *fn)
{
    if (c->is_held)
        shard_continue(r, c, q, fn);
    else
        fn(r, c, q);
}

void conv_pin(struct conv *c) { c->pins++; }

void conv_unpin(struct reactor *r, struct conv *c)
{
    c->pins--;
    conv_settle(r, c);
}

/* What it is. */
const struct conv_id *conv_id(const struct conv *c) { return &c->id; }
uint16_t conv_shard(const struct conv *c) { return c->shard; }
struct lsm *conv_store(const struct reactor *r, const struct conv *c) { return reactor_store(r, c->shard); }
const struct authority *conv_admitted(const struct conv *c) { return &c->ahead; }
const struct authority *conv_committed(const struct conv *c) { return &c->now; }

static bool is_in(const struct member *m) { return m->is_in; }

struct audience *conv_audience(struct conv *c)
{
    size_t n = 0;

    if (c->audience)
        return c->audience;
    for (size_t i = 0; i < c->now.n_members; i++)
        n += is_in(&c->now.members[i]);
    c->audience = audience_new(n);
    n = 0;
    for (size_t i = 0; i < c->now.n_members; i++)
        if (is_in(&c->now.members[i]))
            c->audience->users[n++] = c->now.members[i].user;
    return c->audience;
}

void conv_members_changed(struct conv *c)
{
    audience_unref(c->audience);
    c->audience = NULL;
}

void conv_tidy(struct conv *c)
{
    struct arena fresh;
    struct authority copy;

    if (c->is_deep || c->touched < GARBAGE_MIN + 2 * c->now.n_members)
        return;
    arena_begin(&fresh, CONV_ARENA);
    authority_copy(&c->now, &fresh, &copy);
    arena_deinit(&c->arena);
    c->arena = fresh;
    c->now = copy;
    c->touched = 0;
}

bool authority_is_blocked(const struct authority *a)
{
    return a->kind == CONV_PAIR && (a->blocked[0] || a->blocked[1]);
}

const struct member *shard_reader(struct reactor *r, struct conv *c, struct request *q)
{
    const struct member *m = c->now.head ? authority_member(&c->now, q->actor.user) : NULL;

    if (!m)
        reactor_no_conv(r, q);
    return m;
}

const struct member *shard_writer(struct reactor *r, struct conv *c, struct request *q)
{
    const struct member *m = c->ahead.head ? authority_member(&c->ahead, q->actor.user) : NULL;

    if (!m) {
        reactor_no_conv(r, q);
    } else if (!m->is_in) {
        reactor_fail(r, q, CODE_FORBIDDEN, "not a member any more");
        m = NULL;
    }
    return m;
}

/* Their life. */
void shards_create(struct reactor *r, void (*on_tables)(struct directory *), shards_failure_fn *on_failure,
                   struct shards **out)
{
    struct shards *s = mem_new(struct shards);
    const struct world_limits *limits = &reactor_world(r)->limits;
    uint64_t bound = limits->convs_bytes ? limits->convs_bytes : CONVS_BYTES_STANDARD;

    s->r = r;
    s->bytes_max = bound / reactor_world(r)->reactors + 1;
    heads_create((limits->heads_bytes ? limits->heads_bytes : HEADS_BYTES_STANDARD) / reactor_world(r)->reactors,
                 &s->heads);
    tails_init(&s->tails, s->bytes_max / TAILS_SHARE);
    map_keep(&s->cids, CIDS_SLOTS);
    for (size_t i = 0; i < OP_COUNT; i++) {
        struct str op = str_c(op_table[i].name);

        s->op_prints[i] = hash_sum(op.p, op.len, 0);
    }
    s->on_tables = on_tables;
    s->on_failure = on_failure;
    list_init(&s->recent);
    list_init(&s->appended);
    list_init(&s->stale);
    list_init(&s->stalled);
    list_init(&s->loads);
    list_init(&s->loading);
    s->stall.fn = shards_stall_over;
    *out = s;
}

void shards_destroy(struct shards *s)
{
    if (!s)
        return;
    timer_stop(&s->retry);
    timer_stop(&s->stall);
    list_each (&s->recent, c, struct conv, used) {
        tail_drop(&s->tails, c);
        conv_free(c);
    }
    shard_drop_loads(s);
    heads_destroy(s->heads);
    map_deinit(&s->convs);
    map_deinit(&s->cids);
    mem_free(s);
}
