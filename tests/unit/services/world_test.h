/* world_test: a world for tests of services: reactors with their threads, logs and stores in a temporary folder, users
 * who have sessions, and nothing of sockets. The directory is faked: users 1..USERS exist.
 *
 *   struct world_test *w = world_start(2);          two reactors, two stores
 *   session_open(w, ANN, 1, 0);                     user ANN has a session (device 1) on reactor 0
 *   struct answer *a = ask(w, 0, ANN, 1, "{\"op\":\"message.send\",…}");    on reactor 0, waits for the answer
 *   events_of(w, BEN, 3)                            waits until BEN's sessions got 3 events, all texts so far
 *   world_crash(w)                                  ends everything but the files, opens them again and replays
 *
 * Everything runs on the reactors' threads; the test's thread posts and waits. */
#pragma once
#include "base/loop.h"
#include "proto/args.h"
#include "proto/metrics.h"
#include "services/inner.h"
#include "services/notify.h"
#include "services/reactor_state.h"
#include "services/retention.h"
#include "services/views.h"
#include "tests/lib/unit.h"
#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

#define HELPER __attribute__((unused)) static
enum { ANN = 11, BEN = 12, CAT = 13, DAN = 14, USERS = 2000, REACTORS_MAX = 2, STORES = 2, SESSIONS_MAX = 4096 };

struct test_thread {
    struct loop *loop;
    pthread_t thread;
};
struct session {
    user_id user;
    device_id device;
    unsigned reactor;
    bool is_open;
    struct buf events; /* payloads, one a line */
    size_t n;
};
struct world_test {
    char dir[64], log_dir[80];
    unsigned reactors;
    struct world world;
    struct world_limits limits;
    uint64_t segment_bytes;
    size_t memtable_bytes;
    size_t cache_bytes; /* of blocks; 0: 8 MiB */
    size_t max_in_flight;
    bool any_user;   /* every user exists */
    struct env *env; /* NULL: the system's */
    struct data_dir data;
    struct bus *bus;
    struct segpool *segments;
    struct pool *pool;
    struct block_cache *cache;
    struct views *views;
    struct views_log old[64];
    size_t n_old;
    struct lsm *stores[STORES], *of[REACTORS_MAX][STORES];
    struct test_thread threads[REACTORS_MAX + 1]; /* the last: directory and lookup */
    struct reactor *r[REACTORS_MAX];
    uint64_t log_ids[REACTORS_MAX];
    op_fn *ops[OP_COUNT];
    op_fn *inner[INNER_KINDS];
    notify_owe_fn *owe;
    uint64_t users_asked; /* INNER_USERS_EXIST requests */
    pthread_mutex_t lock; /* of the sessions */
    pthread_cond_t arrived;
    struct session sessions[SESSIONS_MAX];
    size_t n_sessions;
    bool is_open;
};

/* Running something on a reactor's thread, and waiting for it. */
struct on_thread {
    struct msg msg;
    void (*fn)(void *);
    void *arg;
    sem_t done;
};
HELPER void on_thread_run(struct msg *m)
{
    struct on_thread *t = container_of(m, struct on_thread, msg);

    t->fn(t->arg);
    sem_post(&t->done);
}
HELPER void on_reactor(struct world_test *w, unsigned i, void (*fn)(void *), void *arg)
{
    struct on_thread t = {.msg.run = on_thread_run, .fn = fn, .arg = arg};

    sem_init(&t.done, 0, 0);
    mailbox_post(loop_mailbox(w->threads[i].loop), &t.msg);
    sem_wait(&t.done);
    sem_destroy(&t.done);
}

/* The faked lookup. */
HELPER void lookup_serve(void *ctx, struct request *q)
{
    struct world_test *w = ctx;
    struct inner_users *u = q->result;

    __atomic_add_fetch(&w->users_asked, 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < u->n; i++)
        u->exists[i] = u->v[i] > 0 && (w->any_user || u->v[i] <= USERS);
    request_ok(q);
    bus_reply(bus_port(w->bus, world_lookup(&w->world)), q);
}

/* Deliveries: what a gateway would do. */
HELPER bool is_addressed(const struct delivery *d, const struct session *s)
{
    if (s->user == d->skip_user && (d->skip_device == 0 || d->skip_device == s->device))
        return false;
    if (d->only_user)
        return s->user == d->only_user && (d->only_device == 0 || d->only_device == s->device);
    for (uint32_t i = 0; i < d->to->n; i++)
        if (d->to->users[i] == s->user)
            return true;
    return false;
}
struct sink_of {
    struct world_test *w;
    unsigned reactor;
};
HELPER void sink(void *ctx, const struct delivery *d)
{
    struct sink_of *of = ctx;
    struct world_test *w = of->w;

    if (d->class == DELIVER_CLOSE || d->class == DELIVER_LOST)
        return;
    pthread_mutex_lock(&w->lock);
    for (size_t i = 0; i < w->n_sessions; i++) {
        struct session *s = &w->sessions[i];

        if (!s->is_open || s->reactor != of->reactor || !is_addressed(d, s))
            continue;
        buf_add(&s->events, d->frame->bytes + d->frame->payload, d->frame->len - d->frame->payload);
        buf_char(&s->events, '\n');
        s->n++;
    }
    pthread_cond_broadcast(&w->arrived);
    pthread_mutex_unlock(&w->lock);
}
struct joining {
    struct world_test *w;
    struct session *s;
};
HELPER void do_join(void *arg)
{
    struct joining *j = arg;

    bus_join(bus_port(j->w->bus, j->s->reactor), j->s->user);
}
HELPER void do_leave(void *arg)
{
    struct joining *j = arg;

    bus_leave(bus_port(j->w->bus, j->s->reactor), j->s->user);
}
HELPER struct session *session_open(struct world_test *w, user_id user, device_id device, unsigned reactor)
{
    struct session *s = &w->sessions[w->n_sessions];
    struct joining j = {w, s};

    pthread_mutex_lock(&w->lock);
    *s = (struct session){.user = user, .device = device, .reactor = reactor, .is_open = true};
    w->n_sessions++;
    pthread_mutex_unlock(&w->lock);
    on_reactor(w, reactor, do_join, &j);
    return s;
}
HELPER void session_close(struct world_test *w, struct session *s)
{
    struct joining j = {w, s};

    on_reactor(w, s->reactor, do_leave, &j);
    pthread_mutex_lock(&w->lock);
    s->is_open = false;
    pthread_mutex_unlock(&w->lock);
}
/* All events that the session got, once they are at least n; a copy for the caller to mem_free. */
HELPER char *events_of(struct world_test *w, struct session *s, size_t n)
{
    char *text;

    pthread_mutex_lock(&w->lock);
    while (s->n < n)
        pthread_cond_wait(&w->arrived, &w->lock);
    text = mem_dup(buf_get(&s->events));
    pthread_mutex_unlock(&w->lock);
    return text;
}
HELPER size_t events_so_far(struct world_test *w, struct session *s)
{
    size_t n;

    pthread_mutex_lock(&w->lock);
    n = s->n;
    pthread_mutex_unlock(&w->lock);
    return n;
}

/* Asking. */
struct answer {
    struct world_test *w;
    struct request *q;
    unsigned reactor;
    sem_t done;
    struct msg msg;
    enum code code;
    char *text; /* what `ok` holds, or the error's message */
};
HELPER void answer_done(struct request *q)
{
    struct answer *a = q->asker;

    a->code = q->code;
    a->text = q->code == CODE_OK ? mem_dup(buf_get(&q->out)) : mem_dup(str_c(q->why));
    request_free(q);
    sem_post(&a->done);
}
HELPER void answer_start(struct msg *m)
{
    struct answer *a = container_of(m, struct answer, msg);

    bus_request(bus_port(a->w->bus, a->reactor), a->reactor, a->q);
}
/* Sends a request from a connection on `reactor` and does not wait: answer_wait does. `json` needs no id. */
HELPER struct answer *ask_start(struct world_test *w, unsigned reactor, user_id user, device_id device,
                                const char *json)
{
    struct answer *a = mem_new(struct answer);
    struct frame_head head = {0};
    char *with_id = mem_alloc(strlen(json) + 16);
    enum code code;

    a->q = request_new(answer_done, a);
    snprintf(with_id, strlen(json) + 16, "{\"id\":1,%s", json + 1);
    code = args_parse_frame(arena_dup(&a->q->arena, str_c(with_id)), a->q, &head);
    mem_free(with_id);
    if (code != CODE_OK)
        fail_msg("not a request: %s: %s", json, a->q->why);
    a->q->actor = (struct actor){user, device};
    a->w = w;
    a->reactor = reactor;
    a->msg.run = answer_start;
    sem_init(&a->done, 0, 0);
    mailbox_post(loop_mailbox(w->threads[reactor].loop), &a->msg);
    return a;
}
HELPER struct answer *answer_wait(struct answer *a)
{
    sem_wait(&a->done);
    sem_destroy(&a->done);
    return a;
}
HELPER void answer_free(struct answer *a)
{
    mem_free(a->text);
    mem_free(a);
}
HELPER struct answer *ask(struct world_test *w, unsigned reactor, user_id user, device_id device, const char *json)
{
    return answer_wait(ask_start(w, reactor, user, device, json));
}
/* Asks, and checks the answer's code and that its text holds `has`. */
HELPER void expect(struct world_test *w, user_id user, const char *json, enum code code, const char *has)
{
    struct answer *a = ask(w, 0, user, user * 10, json);

    if (a->code != code || !strstr(a->text, has))
        fail_msg("%s\n  answered %s %s\n  expected %s %s", json, code_text(a->code), a->text, code_text(code), has);
    answer_free(a);
}
/* A number that stands behind `key` in JSON text; -1: not there. */
HELPER int64_t number_in(const char *text, const char *key)
{
    char quoted[64];
    const char *at;

    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    at = strstr(text, quoted);
    return at ? strtoll(at + strlen(quoted), NULL, 10) : -1;
}
HELPER const char *user_z(user_id u)
{
    static _Thread_local char z[4][USER_TEXT + 1];
    static _Thread_local unsigned at;
    char *p = z[at++ % 4];

    p[user_text(p, u)] = 0;
    return p;
}
HELPER const char *conv_z(const struct conv_id *c)
{
    static _Thread_local char z[4][CONV_TEXT + 1];
    static _Thread_local unsigned at;
    char *p = z[at++ % 4];

    p[conv_text(p, c)] = 0;
    return p;
}
HELPER const char *pair_z(struct world_test *w, user_id a, user_id b)
{
    struct conv_id c;

    pair_conv(&w->data.keys, a, b, &c);
    return conv_z(&c);
}
#define JSON(...) json_z((char[4096]){0}, __VA_ARGS__)
HELPER const char *json_z(char *out, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(out, 4096, fmt, ap);
    va_end(ap);
    return out;
}
#define SEND_TO(user, cid, text)                                                                                     \
    JSON("{\"op\":\"message.send\",\"user\":\"%s\",\"cid\":\"%s\",\"content\":{\"type\":\"text\",\"text\":\"%s\"}}", \
         user_z(user), cid, text)
#define SEND(conv, cid, text)                                                                                        \
    JSON("{\"op\":\"message.send\",\"conv\":\"%s\",\"cid\":\"%s\",\"content\":{\"type\":\"text\",\"text\":\"%s\"}}", \
         conv, cid, text)

/* Its life. */
HELPER void *thread_run(void *arg)
{
    loop_run(((struct test_thread *)arg)->loop);
    return NULL;
}
HELPER void on_failure(void *arg, enum err err)
{
    (void)arg;
    fail_msg("a reactor failed: %s", err_name(err));
}
struct replaying {
    struct world_test *w;
    struct convlog_replay *replay;
    unsigned store;
};
HELPER enum err replay_record(void *arg, const struct log_record *rec)
{
    struct replaying *p = arg;

    if (p->w->data.store_of[rec->shard] != p->store)
        return ERR_OK;
    return convlog_replay_record(p->replay, p->w->stores[p->store], rec->shard, rec->kind, rec->body);
}
HELPER void replay_store(struct world_test *w, uint64_t log_id, uint64_t end, unsigned i)
{
    struct replaying p = {.w = w, .store = i};

    convlog_replay_create(&p.replay);
    assert_ok(seglog_replay(w->world.env, w->log_dir, log_id, lsm_durable(w->stores[i], log_id), 0, replay_record, &p));
    convlog_replay_destroy(p.replay);
    lsm_applied(w->stores[i], log_id, end);
}
HELPER void replay_all(struct world_test *w)
{
    uint64_t *ids = NULL;
    size_t n = 0;

    assert_ok(seglog_list(w->world.env, w->log_dir, &ids, &n));
    w->n_old = 0;
    for (size_t i = 0; i < n; i++) {
        struct seglog_report rep = {0};
        char *why = NULL;
        uint64_t floor = 0;

        for (unsigned s = 0; s < STORES; s++)
            floor = lsm_durable(w->stores[s], ids[i]) > floor ? lsm_durable(w->stores[s], ids[i]) : floor;
        assert_ok(seglog_recover(w->world.env, w->log_dir, ids[i], floor, &rep, &why));
        for (unsigned s = 0; s < STORES; s++)
            replay_store(w, ids[i], rep.end, s);
        w->old[w->n_old++] = (struct views_log){ids[i], rep.end, false};
    }
    mem_free(ids);
}
HELPER void open_stores(struct world_test *w)
{
    for (unsigned s = 0; s < STORES; s++) {
        char path[300], *why = NULL;
        struct lsm_conf c = {.env = w->world.env,
                             .dir = path,
                             .cache = w->cache,
                             .memtable_bytes = w->memtable_bytes,
                             .filter_prefix = 18,
                             .pool = w->pool,
                             .home = loop_mailbox(w->threads[s % w->reactors].loop)};

        snprintf(path, sizeof path, "%s/stores/%s", w->dir, w->data.stores[s]);
        assert_ok(lsm_open(&c, &w->stores[s], &why));
        for (unsigned i = 0; i < REACTORS_MAX; i++)
            w->of[i][s] = i == s % w->reactors ? w->stores[s] : NULL;
    }
    for (unsigned i = 0; i < SHARD_COUNT; i++)
        w->world.owner_of[i] = (uint16_t)(w->data.store_of[i] % w->reactors);
}
HELPER void open_reactor(struct world_test *w, unsigned i)
{
    static struct sink_of sinks[REACTORS_MAX];
    struct reactor_conf c = {
        .world = &w->world,
        .index = i,
        .loop = w->threads[i].loop,
        .pool = w->pool,
        .ops = w->ops,
        .inner = w->inner,
        .stores = w->of[i],
        .views = w->views,
        .log_dir = w->log_dir,
        .segments = w->segments,
        .log_id = w->log_ids[i],
        .max_in_flight = w->max_in_flight,
        .owe = w->owe,
        .on_failure = on_failure,
    };

    assert_ok(reactor_create(&c, &w->r[i]));
    sinks[i] = (struct sink_of){w, i};
    bus_sink(bus_port(w->bus, i), sink, &sinks[i]);
}
HELPER void world_open(struct world_test *w)
{
    struct bus_conf bus = {.ports = w->reactors + 2, .key = &w->data.keys.bus};
    struct segpool_conf seg = {.env = env_posix(), .dir = w->log_dir, .segment_bytes = w->segment_bytes, .ahead = 2};
    char *why = NULL;

    w->world = (struct world){.env = w->env ? w->env : env_posix(), .data = &w->data, .reactors = w->reactors};
    w->world.limits = w->limits;
    assert_ok(data_dir_open(w->world.env, w->dir, STORES, &w->data, &why));
    metrics_create(metric_table, METRIC_COUNT, &w->world.metrics);
    bus_create(&bus, &w->bus);
    w->world.bus = w->bus;
    for (unsigned i = 0; i <= w->reactors; i++)
        assert_ok(loop_create(&w->threads[i].loop));
    for (unsigned i = 0; i < w->reactors; i++)
        port_follow(bus_port(w->bus, i), w->threads[i].loop);
    for (unsigned i = 0; i < 2; i++)
        port_attach(bus_port(w->bus, w->reactors + i), loop_mailbox(w->threads[w->reactors].loop));
    bus_serve(bus_port(w->bus, world_lookup(&w->world)), lookup_serve, w);
    assert_ok(pool_create("test", 2, 1000, &w->pool));
    block_cache_create(w->cache_bytes ? w->cache_bytes : 8 << 20, &w->cache);
    for (unsigned i = 0; i < w->reactors; i++)
        assert_ok(data_dir_next_log_id(w->world.env, &w->data, &w->log_ids[i]));
    assert_ok(segpool_open(&seg, &w->segments));
    open_stores(w);
    replay_all(w);
    views_create(w->old, w->n_old, w->reactors, &w->views);
    for (unsigned i = 0; i < w->reactors; i++)
        open_reactor(w, i);
    for (unsigned i = 0; i <= w->reactors; i++)
        pthread_create(&w->threads[i].thread, NULL, thread_run, &w->threads[i]);
    w->is_open = true;
}
/* What is in memory only is lost, as when the process is killed. */
HELPER void world_close(struct world_test *w)
{
    for (unsigned i = 0; i <= w->reactors; i++) {
        loop_stop(w->threads[i].loop);
        pthread_join(w->threads[i].thread, NULL);
    }
    pool_destroy(w->pool);
    for (unsigned i = 0; i <= w->reactors; i++)
        jobs_lost(loop_mailbox(w->threads[i].loop));
    for (unsigned i = 0; i < w->reactors; i++)
        reactor_destroy(w->r[i]);
    for (unsigned s = 0; s < STORES; s++)
        lsm_close(w->stores[s]);
    segpool_close(w->segments);
    block_cache_destroy(w->cache);
    views_destroy(w->views);
    bus_destroy(w->bus);
    for (unsigned i = 0; i <= w->reactors; i++)
        loop_destroy(w->threads[i].loop);
    metrics_destroy(w->world.metrics);
    data_dir_close(&w->data);
    for (size_t i = 0; i < w->n_sessions; i++)
        buf_deinit(&w->sessions[i].events);
    w->n_sessions = 0;
    w->is_open = false;
}
HELPER struct world_test *world_new(unsigned reactors)
{
    struct world_test *w = mem_new(struct world_test);

    w->reactors = reactors;
    w->limits.group_members = 1024;
    w->segment_bytes = 4 << 20;
    w->memtable_bytes = 1 << 20;
    snprintf(w->dir, sizeof w->dir, "/tmp/parley-services-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->log_dir, sizeof w->log_dir, "%s/log", w->dir);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->arrived, NULL);
    w->ops[OP_message_send] = op_message_send;
    w->ops[OP_history] = op_history;
    w->ops[OP_receipt] = op_receipt;
    w->ops[OP_receipt_list] = op_receipt_list;
    w->ops[OP_typing] = op_typing;
    return w;
}
HELPER struct world_test *world_start(unsigned reactors)
{
    struct world_test *w = world_new(reactors);

    world_open(w);
    return w;
}
HELPER void world_crash(struct world_test *w)
{
    world_close(w);
    world_open(w);
}
HELPER void world_end(struct world_test *w)
{
    char command[128];

    if (w->is_open)
        world_close(w);
    snprintf(command, sizeof command, "rm -rf '%s'", w->dir);
    assert_int_equal(system(command), 0);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->arrived);
    mem_free(w);
}
