/* directory_test: a world whose directory and lookup are the real ones, with one reactor to ask from.
 *
 *   struct rig *g = rig_start();
 *   struct told t = rig_ask(g, OP_account_create, 0, 0, &args);    on the reactor, waits for the answer
 *   rig_restart(g)                                                 ends everything in good order and opens it again
 *   rig_crash(g)                                                   the same, and the tables come back as they were
 * saved
 *
 * Everything runs on the threads that it runs on in the server; the test's thread posts and waits. */
#pragma once
#include "base/loop.h"
#include "proto/auth.h"
#include "proto/metrics.h"
#include "services/account.h"
#include "services/account_gate.h"
#include "services/admin.h"
#include "services/directory_state.h"
#include "services/inner.h"
#include "services/lookup.h"
#include "services/reactor.h"
#include "services/views.h"
#include "tests/lib/faultfs.h"
#include "tests/lib/unit.h"
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <unistd.h>

#define HELPER __attribute__((unused)) static

struct rig {
    char dir[64], log_dir[80], tables_path[80];
    bool is_limited, has_admin, is_open;
    bool is_whole;          /* what members are owed is recorded, and the logs are trimmed */
    uint8_t detached;       /* what the next opening finds to be made anew, of all shards */
    uint64_t segment_bytes; /* 0: 4 MiB */
    uint64_t barrier_ms;    /* the directory's */
    size_t memtable_bytes;  /* 0: 1 MiB */
    enum err (*open_store)(void *rig, unsigned store, const char *name, struct lsm **out); /* NULL: nothing moves */
    struct lsm *late;                                                                      /* what it opened */
    struct world_limits limits;
    struct faultfs *faults;
    struct env env;
    struct world world;
    struct data_dir data;
    struct segpool *segments;
    struct tables *tables;
    struct pool *pool;
    struct block_cache *cache;
    struct views *views;
    struct lsm *store;
    struct loop *loop; /* the reactor's */
    struct reactor *reactor;
    struct directory *directory;
    struct lookup *lookup;
    pthread_t threads[3];
    op_fn *ops[OP_COUNT], *inner[INNER_KINDS];
    _Atomic int failures;
    pthread_mutex_t lock; /* of what the sink heard */
    pthread_cond_t heard;
    size_t n_closed;
    struct {
        user_id user;
        device_id device;
        uint16_t code;
    } closed[64];
};

/* Its life. */
HELPER void rig_failed(void *arg, enum err err)
{
    struct rig *g = arg;
    (void)err;
    atomic_fetch_add(&g->failures, 1);
}
HELPER void rig_sink(void *ctx, const struct delivery *d)
{
    struct rig *g = ctx;

    if (d->class != DELIVER_CLOSE)
        return;
    pthread_mutex_lock(&g->lock);
    g->closed[g->n_closed].user = d->only_user;
    g->closed[g->n_closed].device = d->only_device;
    g->closed[g->n_closed++].code = d->close_code;
    pthread_cond_broadcast(&g->heard);
    pthread_mutex_unlock(&g->lock);
}
HELPER void *rig_run_reactor(void *arg)
{
    loop_run(((struct rig *)arg)->loop);
    return NULL;
}
HELPER void *rig_run_directory(void *arg)
{
    directory_run(((struct rig *)arg)->directory);
    return NULL;
}
HELPER void *rig_run_lookup(void *arg)
{
    lookup_run(((struct rig *)arg)->lookup);
    return NULL;
}
HELPER void rig_durable(void *arg, const struct tables_position *p)
{
    struct rig *g = arg;

    if (!g->is_whole)
        return;
    views_tables_durable(g->views, p->log_id, p->durable);
    views_owed_durable(g->views, p->log_id, p->owed_durable);
}
HELPER uint64_t rig_log_id(struct rig *g)
{
    uint64_t id = 0;

    assert_ok(data_dir_next_log_id(&g->env, &g->data, &id));
    return id;
}
HELPER void rig_replay(struct rig *g)
{
    uint64_t *ids = NULL;
    size_t n = 0;

    if (g->detached) {
        uint8_t of[SHARD_COUNT];

        memset(of, g->detached, sizeof of);
        assert_ok(tables_begin(g->tables));
        assert_ok(tables_detach(g->tables, of));
        assert_ok(tables_end(g->tables));
        g->detached = 0;
    }
    assert_ok(seglog_list(&g->env, g->log_dir, &ids, &n));
    for (size_t i = 0; i < n; i++) {
        struct seglog_report report = {0};
        char *why = NULL;

        assert_ok(
            seglog_recover(&g->env, g->log_dir, ids[i], tables_position(g->tables, ids[i]).durable, &report, &why));
        assert_ok(tables_replay(g->tables, g->log_dir, ids[i], report.end, &why));
    }
    mem_free(ids);
}
HELPER void rig_open_reactor(struct rig *g)
{
    char path[200], *why = NULL;
    struct lsm_conf store = {.env = &g->env,
                             .dir = path,
                             .cache = g->cache,
                             .memtable_bytes = g->memtable_bytes ? g->memtable_bytes : 1 << 20,
                             .filter_prefix = 18,
                             .pool = g->pool,
                             .home = loop_mailbox(g->loop)};
    struct reactor_conf c = {.world = &g->world,
                             .loop = g->loop,
                             .pool = g->pool,
                             .ops = g->ops,
                             .inner = g->inner,
                             .stores = &g->store,
                             .views = g->views,
                             .log_dir = g->log_dir,
                             .segments = g->segments,
                             .log_id = rig_log_id(g),
                             .on_tables = directory_wake,
                             .owe = g->is_whole ? directory_owe : NULL,
                             .on_failure = rig_failed,
                             .arg = g};

    snprintf(path, sizeof path, "%s/stores/%s", g->dir, g->data.stores[0]);
    assert_ok(lsm_open(&store, &g->store, &why));
    assert_ok(reactor_create(&c, &g->reactor));
    bus_sink(bus_port(g->world.bus, 0), rig_sink, g);
}
HELPER void rig_open(struct rig *g)
{
    struct bus_conf bus = {.ports = 3};
    struct segpool_conf seg = {
        .env = &g->env, .dir = g->log_dir, .segment_bytes = g->segment_bytes ? g->segment_bytes : 4 << 20, .ahead = 2};
    struct account_gate_conf gate = {.env = &g->env, .threads = 1, .is_limited = g->is_limited};
    char *why = NULL;

    g->world = (struct world){.env = &g->env, .data = &g->data, .reactors = 1, .limits = g->limits};
    assert_ok(data_dir_open(&g->env, g->dir, 1, &g->data, &why));
    metrics_create(metric_table, METRIC_COUNT, &g->world.metrics);
    bus.key = &g->data.keys.bus;
    gate.key = &g->data.keys.bus;
    bus_create(&bus, &g->world.bus);
    assert_ok(segpool_open(&seg, &g->segments));
    assert_ok(pool_create("test", 1, 100, &g->pool));
    block_cache_create(1 << 20, &g->cache);
    assert_ok(tables_open(&g->env, g->tables_path, &g->tables, &why));
    rig_replay(g);
    views_create(NULL, 0, 1, &g->views);
    assert_ok(account_gate_create(&gate, &g->world.gate));
    assert_ok(loop_create(&g->loop));
    port_attach(bus_port(g->world.bus, 0), loop_mailbox(g->loop));
    assert_ok(directory_create(&(struct directory_conf){.world = &g->world,
                                                        .tables = g->tables,
                                                        .ops = g->ops,
                                                        .log_dir = g->log_dir,
                                                        .log_id = rig_log_id(g),
                                                        .segments = g->segments,
                                                        .barrier_ms = g->barrier_ms,
                                                        .views = g->is_whole ? g->views : NULL,
                                                        .on_durable = rig_durable,
                                                        .open_store = g->open_store,
                                                        .on_failure = rig_failed,
                                                        .arg = g,
                                                        .admin_path = g->has_admin ? g->dir : NULL},
                               &g->directory));
    assert_ok(lookup_create(&(struct lookup_conf){&g->world, g->ops, g->tables_path}, &g->lookup));
    rig_open_reactor(g);
    assert_ok(directory_connect(g->directory));
    pthread_create(&g->threads[0], NULL, rig_run_reactor, g);
    pthread_create(&g->threads[1], NULL, rig_run_directory, g);
    pthread_create(&g->threads[2], NULL, rig_run_lookup, g);
    g->is_open = true;
}
HELPER void rig_close(struct rig *g)
{
    loop_stop(g->loop);
    pthread_join(g->threads[0], NULL);
    lookup_stop(g->lookup);
    pthread_join(g->threads[2], NULL);
    directory_stop(g->directory);
    pthread_join(g->threads[1], NULL);
    while (g->directory->rebuild.asked) { /* a read that waits for the disk is not given up */
        mailbox_drain(loop_mailbox(g->loop));
        mailbox_drain(loop_mailbox(g->directory->loop));
        sched_yield();
    }
    directory_destroy(g->directory);
    lookup_destroy(g->lookup);
    account_gate_destroy(g->world.gate);
    pool_destroy(g->pool);
    jobs_lost(
        loop_mailbox(g->loop)); /* as the server does: what came home too late must not meet a reactor that is gone */
    reactor_destroy(g->reactor);
    lsm_close(g->store);
    lsm_close(g->late);
    g->late = NULL;
    loop_destroy(g->loop);
    tables_close(g->tables);
    segpool_close(g->segments);
    views_destroy(g->views);
    block_cache_destroy(g->cache);
    bus_destroy(g->world.bus);
    metrics_destroy(g->world.metrics);
    data_dir_close(&g->data);
    g->is_open = false;
}
HELPER void rig_restart(struct rig *g)
{
    rig_close(g);
    rig_open(g);
}
HELPER void rig_copy_tables(struct rig *g, const char *from, const char *to)
{
    char command[512];

    (void)g;
    snprintf(command, sizeof command,
             "for e in '' -wal -shm; do rm -f '%s'$e; [ ! -e '%s'$e ] || cp '%s'$e '%s'$e; done", to, from, from, to);
    assert_int_equal(system(command), 0);
}
HELPER struct rig *rig_new(void)
{
    struct rig *g = mem_new(struct rig);

    g->limits.group_members = 1000;
    snprintf(g->dir, sizeof g->dir, "/tmp/parley-directory-XXXXXX");
    assert_non_null(mkdtemp(g->dir));
    snprintf(g->log_dir, sizeof g->log_dir, "%s/log", g->dir);
    snprintf(g->tables_path, sizeof g->tables_path, "%s/tables.db", g->dir);
    faultfs_create(env_posix()->fs, &g->faults);
    g->env = *env_posix();
    g->env.fs = faultfs_fs(g->faults);
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->heard, NULL);
    g->ops[OP_account_create] = op_account_create;
    g->ops[OP_session_create] = op_session_create;
    g->ops[OP_session_delete] = op_session_delete;
    g->ops[OP_user_me] = op_user_me;
    g->ops[OP_user_update] = op_user_update;
    g->ops[OP_user_get] = op_user_get;
    g->ops[OP_user_find] = op_user_find;
    g->ops[OP_device_list] = op_device_list;
    g->ops[OP_device_revoke] = op_device_revoke;
    g->ops[OP_message_send] = op_message_send;
    g->ops[OP_group_create] = op_group_create;
    g->ops[OP_group_add] = op_group_add;
    g->ops[OP_group_remove] = op_group_remove;
    return g;
}
HELPER struct rig *rig_start(void)
{
    struct rig *g = rig_new();

    rig_open(g);
    return g;
}
HELPER void rig_end(struct rig *g)
{
    char command[128];

    if (g->is_open)
        rig_close(g);
    snprintf(command, sizeof command, "rm -rf '%s'", g->dir);
    assert_int_equal(system(command), 0);
    faultfs_destroy(g->faults);
    pthread_mutex_destroy(&g->lock);
    pthread_cond_destroy(&g->heard);
    mem_free(g);
}

/* Asking, from the reactor. */
struct asked {
    struct rig *g;
    struct request *q;
    unsigned to;
    struct msg msg;
    sem_t done;
};
HELPER void asked_start(struct msg *m)
{
    struct asked *a = container_of(m, struct asked, msg);
    bus_request(bus_port(a->g->world.bus, 0), a->to, a->q);
}
HELPER void asked_done(struct request *q)
{
    struct asked *a = q->asker;
    sem_post(&a->done);
}
HELPER struct asked *rig_begin(struct rig *g, unsigned to)
{
    struct asked *a = mem_new(struct asked);

    a->g = g;
    a->to = to;
    a->q = request_new(asked_done, a);
    a->q->args = arena_alloc(&a->q->arena, sizeof *a->q->args);
    a->msg.run = asked_start;
    sem_init(&a->done, 0, 0);
    return a;
}
HELPER void rig_send(struct asked *a) { mailbox_post(loop_mailbox(a->g->loop), &a->msg); }
HELPER struct request *rig_wait(struct asked *a)
{
    sem_wait(&a->done);
    sem_destroy(&a->done);
    buf_char(&a->q->out, '\0'); /* so that tests may look for texts */
    a->q->out.len--;
    return a->q;
}
HELPER void rig_free(struct asked *a)
{
    request_free(a->q);
    mem_free(a);
}
HELPER struct asked *rig_op(struct rig *g, enum op op, user_id user, device_id device)
{
    struct asked *a = rig_begin(g, 0);

    a->q->op = op;
    a->q->actor = (struct actor){user, device};
    return a;
}

/* The text of a member of the answer, in the request's memory. */
HELPER struct str text_of(struct request *q, const char *key)
{
    char quoted[64];
    struct str head, rest;
    const char *at;

    snprintf(quoted, sizeof quoted, "\"%s\":\"", key);
    at = strstr(q->out.p, quoted);
    assert_non_null(at);
    assert_true(str_cut(str_c(at + strlen(quoted)), '"', &head, &rest));
    return head;
}

/* Somebody with an account. */
struct person {
    user_id user;
    device_id device;
    char token[TOKEN_TEXT + 1];
};
HELPER struct person person_of(struct request *q)
{
    struct person p = {0};
    struct str token = text_of(q, "token");

    assert_true(user_parse(text_of(q, "id"), &p.user));
    assert_true(device_parse(text_of(q, "device"), &p.device));
    assert_int_equal(token.len, TOKEN_TEXT);
    memcpy(p.token, token.p, token.len);
    return p;
}
HELPER struct asked *begin_signup(struct rig *g, const char *username, const char *password)
{
    struct asked *a = rig_op(g, OP_account_create, 0, 0);

    a->q->args->account_create.username = str_c(username);
    a->q->args->account_create.password = str_c(password);
    rig_send(a);
    return a;
}
HELPER struct person sign_up(struct rig *g, const char *username, const char *password)
{
    struct asked *a = begin_signup(g, username, password);
    struct request *q = rig_wait(a);
    struct person p;

    if (q->code != CODE_OK)
        fail_msg("sign-up of %s: %s %s", username, code_text(q->code), q->why);
    p = person_of(q);
    rig_free(a);
    return p;
}
HELPER enum code log_in(struct rig *g, const char *username, const char *password, device_id device, struct person *out)
{
    struct asked *a = rig_op(g, OP_session_create, 0, 0);
    struct request *q;
    enum code code;

    a->q->args->session_create.username = str_c(username);
    a->q->args->session_create.password = str_c(password);
    a->q->args->session_create.has_device = device != 0;
    a->q->args->session_create.device = device;
    rig_send(a);
    q = rig_wait(a);
    code = q->code;
    if (code == CODE_OK)
        *out = person_of(q);
    rig_free(a);
    return code;
}
HELPER enum code check_token(struct rig *g, const char *token, struct auth_result *out)
{
    struct asked *a = rig_op(g, OP_auth, 0, 0);
    struct request *q;
    enum code code;

    a->q->args->auth.token = str_c(token);
    rig_send(a);
    q = rig_wait(a);
    code = q->code;
    if (code == CODE_OK)
        *out = *(struct auth_result *)q->result;
    rig_free(a);
    return code;
}
/* Sends, and checks the code and that the answer holds `has`. */
HELPER void rig_expect(struct asked *a, enum code code, const char *has)
{
    struct request *q;

    rig_send(a);
    q = rig_wait(a);
    if (q->code != code || (code == CODE_OK && !strstr(q->out.p, has)))
        fail_msg("%s answered %s %s %s, expected %s with %s", op_table[q->op].name, code_text(q->code), q->why,
                 q->out.p, code_text(code), has);
    rig_free(a);
}
/* Adds an account as a gateway has one added, and waits for it. */
HELPER user_id rig_account(struct rig *g, const char *name)
{
    struct asked *a = rig_begin(g, world_directory(&g->world));
    struct inner_account *in = arena_alloc(&a->q->arena, sizeof *in);
    user_id user;

    in->username = str_c(name);
    a->q->inner = INNER_ACCOUNT_ADD;
    a->q->result = in;
    rig_send(a);
    assert_int_equal(rig_wait(a)->code, CODE_OK);
    user = in->user;
    rig_free(a);
    return user;
}
