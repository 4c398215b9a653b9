/* The threads: one reactor a core (gateway, services, shards, their log), the directory (accounts and SQLite), the
 * lookup (reads SQLite), and the pools. Everything is opened on the main thread and handed over when the threads start.
 */
#include "cmd/parleyd_server.h"
#include "base/log.h"
#include "cmd/parleyd_descriptors.h"
#include "cmd/parleyd_replay.h"
#include "cmd/parleyd_restart.h"
#include "gateway/admission.h"
#include "gateway/gateway.h"
#include "gateway/tls.h"
#include "proto/metrics.h"
#include "services/account_gate.h"
#include "services/directory.h"
#include "services/lookup.h"
#include "services/notify.h"
#include "services/reactor.h"
#include <inttypes.h>
#include <pthread.h>
#include <unistd.h>

enum {
    NEW_STORES = 4,
    POOL_THREADS = 3, /* cold reads, flushes, merges */
    POOL_WAITING = 65536,
    SEGMENTS_AHEAD = 4,
};

struct core { /* one reactor's thread and what lives on it */
    struct server *server;
    pthread_t thread;
    bool runs;
    struct loop *loop;
    struct reactor *reactor;
    struct gateway *gateway;
    struct lsm **stores; /* by store index, NULL where another's */
};

struct server {
    struct options options;
    char host[64];
    int port;
    struct env *env;
    struct data_dir data;
    struct metrics *metrics;
    struct admission *admission;
    uint32_t connections; /* that may be open; the directory's once it runs */
    struct tls *tls;      /* NULL: plain */
    struct metric_set *counters;
    struct bus *bus;
    struct world world;
    struct pool *pool, *hashers;
    struct block_cache *cache;
    struct segpool *segments;
    struct tables *tables;
    struct views_log *old;
    size_t n_old;
    struct views *views;
    struct lsm **stores;
    struct core *cores;
    unsigned n_cores;
    struct directory *directory;
    struct lookup *lookup;
    pthread_t directory_thread, lookup_thread;
    bool directory_runs, lookup_runs;
    char *log_dir, *tables_path;
    _Atomic bool ready;
    pthread_mutex_t lock; /* of `draining` */
    pthread_cond_t drained;
    unsigned draining; /* gateways that still do */
};

/* --- what ends in a restart --- */

static void log_failed(void *arg, enum err err)
{
    (void)arg;
    restart_after("log", err);
}
static void store_failed(void *arg, enum err err)
{
    (void)arg;
    restart_after("store", err);
}
static void directory_failed(void *arg, enum err err)
{
    (void)arg;
    restart_after("directory", err);
}

/* --- opening --- */

static char *path_in(const char *dir, const char *name) /* mem_free */
{
    struct buf b = {0};
    buf_printf(&b, "%s/%s", dir, name);
    buf_char(&b, '\0');
    return b.p;
}

static void say_why(char **why, const char *what, const char *where, enum err err)
{
    struct buf b = {0};
    if (err == ERR_OK || *why)
        return;
    buf_printf(&b, "%s %s: %s", what, where, err_text(err));
    buf_char(&b, '\0');
    *why = b.p;
}

static void say_listening(char **why, const char *where, enum err err)
{
    struct buf b = {0};

    if (err != ERR_LOCKED && err != ERR_NOT_FOUND) {
        say_why(why, "listening on", where, err);
        return;
    }
    buf_printf(&b, "listening on %s: %s; choose another with --listen", where,
               err == ERR_LOCKED ? "the address is in use" : "this machine has no such address");
    buf_char(&b, '\0');
    *why = b.p;
}

static unsigned count_cores(const struct options *o)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    if (o->threads > 0)
        return (unsigned)o->threads;
    return online < 1 ? 1 : online > BUS_PORTS_MAX - 2 ? BUS_PORTS_MAX - 2 : (unsigned)online;
}

static bool is_new_folder(struct server *s)
{
    char *path = path_in(s->options.data, "parley.json");
    struct str text = {0};
    bool is_new = fs_read_all(s->env->fs, path, 1 << 20, &text) == ERR_NOT_FOUND;

    mem_free((void *)(uintptr_t)text.p);
    mem_free(path);
    return is_new;
}

/* Recovery writes copies of the logs' tails before anything can be given back. On a full disk it gets the space that
 * the segments kept ready hold. */
static enum err make_space(struct server *s)
{
    uint64_t free_bytes;
    enum err err;

    TRY(fs_space(s->env->fs, s->data.path, &free_bytes));
    if (free_bytes < SEGMENTS_AHEAD * (uint64_t)s->options.segment_bytes)
        TRY(segpool_discard(s->env, s->log_dir));
out:
    return err;
}

static enum err open_data(struct server *s, char **why)
{
    unsigned wanted = (unsigned)s->options.stores;
    enum err err;

    if (wanted == 0 && is_new_folder(s))
        wanted = NEW_STORES;
    TRY(data_dir_open(s->env, s->options.data, wanted, &s->data, why));
    TRY(data_dir_check(s->env, &s->data, why));
    s->log_dir = path_in(s->data.path, "log");
    err = make_space(s);
out:
    return err;
}

/* Before anything is opened that stays open: libwebsockets, too, makes its tables by the limit. */
static enum err share_descriptors(struct server *s, char **why)
{
    uint32_t all = descriptors_raise(), wanted;
    struct buf b = {0};

    if (descriptors_share(all, s->data.n_stores, s->n_cores + 2, &s->connections, &wanted) != ERR_OK) {
        buf_printf(&b, "%u descriptors are allowed (ulimit -n, LimitNOFILE), at least %u are needed", all, wanted);
        buf_char(&b, '\0');
        *why = b.p;
        return ERR_LIMIT;
    }
    admission_create(&(struct admission_conf){.env = s->env,
                                              .connections = s->connections,
                                              .spares_loopback = !s->options.rate_limit},
                     &s->admission);
    log_info("descriptors", "limit=%u connections=%u files=%u", all, s->connections, all - s->connections);
    return ERR_OK;
}

/* By equal parts of the stores there are at the start; one that comes later gets as much. */
static uint64_t merge_rate_of(const struct server *s)
{
    uint64_t rate = (uint64_t)s->options.merge_rate / s->data.n_stores;

    return rate == 0 && s->options.merge_rate > 0 ? 1 : rate; /* the least, and not no bound */
}

static enum err open_store(struct server *s, unsigned store, const char *name, struct lsm **out, char **why)
{
    struct buf dir = {0};
    enum err err;

    buf_printf(&dir, "%s/stores/%s%c", s->data.path, name, 0);
    err = lsm_open(&(struct lsm_conf){.env = s->env,
                                      .dir = dir.p,
                                      .pool = s->pool,
                                      .home = loop_mailbox(s->cores[store % s->n_cores].loop),
                                      .cache = s->cache,
                                      .memtable_bytes = (size_t)s->options.memtable_bytes,
                                      .merge_rate = merge_rate_of(s),
                                      .filter_prefix = CONVLOG_FILTER_PREFIX,
                                      .on_failure = store_failed,
                                      .arg = s},
                   out, why);
    say_why(why, "store", dir.p, err);
    buf_deinit(&dir);
    return err;
}

static void show_connections(struct server *s)
{
    admission_allow(s->admission, s->connections);
    metric_put(s->counters, METRIC_SOCKETS_MAX, s->connections);
}

/* One that came while the server runs: opened by the directory, which may block, and then its reactor's. */
static enum err open_late_store(void *arg, unsigned store, const char *name, struct lsm **out)
{
    struct server *s = arg;
    char *why = NULL;
    enum err err = descriptors_take(&s->connections);

    if (err != ERR_OK) {
        log_warn("store_open_failed", "why=\"no descriptors are left for it (ulimit -n, LimitNOFILE)\"");
        return err;
    }
    err = open_store(s, store, name, &s->stores[store], &why);
    if (err != ERR_OK) {
        log_warn("store_open_failed", "why=\"%s\"", why);
        descriptors_give(&s->connections);
    }
    show_connections(s);
    mem_free(why);
    *out = s->stores[store];
    return err;
}

/* One that was emptied: its reactor let go of it, and nothing of it is under way. */
static void close_store(void *arg, unsigned store)
{
    struct server *s = arg;

    lsm_close(s->stores[store]);
    s->stores[store] = NULL;
    descriptors_give(&s->connections);
    show_connections(s);
}

static enum err open_stores(struct server *s, char **why)
{
    enum err err = ERR_OK;

    s->stores = mem_new_array(struct lsm *, STORES_MAX);
    for (unsigned i = 0; i < s->data.n_stores; i++) {
        TRY(open_store(s, i, s->data.stores[i], &s->stores[i], why));
        s->cores[i % s->n_cores].stores[i] = s->stores[i];
    }
    err = data_dir_made(s->env, &s->data);
out:
    return err;
}

static enum err open_cores(struct server *s)
{
    enum err err = ERR_OK;

    s->n_cores = count_cores(&s->options);
    s->cores = mem_new_array(struct core, s->n_cores);
    for (unsigned i = 0; i < s->n_cores; i++) {
        s->cores[i].server = s;
        s->cores[i].stores = mem_new_array(struct lsm *, STORES_MAX);
        TRY(loop_create(&s->cores[i].loop));
    }
out:
    return err;
}

static enum err open_shared(struct server *s, char **why)
{
    enum err err;

    metrics_create(metric_table, METRIC_COUNT, &s->metrics);
    s->counters = metrics_set(s->metrics);
    block_cache_create((size_t)s->options.cache_bytes, &s->cache);
    TRY(pool_create("work", POOL_THREADS, POOL_WAITING, &s->pool));
    bus_create(&(struct bus_conf){.ports = s->n_cores + 2, .key = &s->data.keys.bus}, &s->bus);
    s->world =
        (struct world){.env = s->env, .data = &s->data, .bus = s->bus, .metrics = s->metrics, .reactors = s->n_cores};
    s->world.limits.group_members = (uint64_t)s->options.group_members;
    s->world.limits.erase_within_ms = s->options.erase_within_ms;
    s->world.limits.max_lag = (uint64_t)s->options.max_lag;
    s->world.limits.retention_ms = s->options.retention_ms;
    s->world.limits.convs_bytes = (uint64_t)s->options.convs_bytes;
    s->world.limits.heads_bytes = (uint64_t)s->options.heads_bytes;
    for (unsigned i = 0; i < SHARD_COUNT; i++)
        s->world.owner_of[i] = (uint16_t)(s->data.store_of[i] % s->n_cores);
    for (unsigned i = 0; i < s->n_cores; i++)
        port_attach(bus_port(s->bus, i), loop_mailbox(s->cores[i].loop));
out:
    say_why(why, "start", s->data.path, err);
    return err;
}

static enum err open_tables(struct server *s, char **why)
{
    enum err err;

    s->tables_path = path_in(s->data.path, "tables.db");
    err = tables_open(s->env, s->tables_path, &s->tables, why);
    if (err != ERR_OK)
        say_why(why, "tables", s->tables_path, err);
    return err;
}

static enum err replay(struct server *s, char **why)
{
    struct loop **homes = mem_new_array(struct loop *, s->n_cores);
    enum err err;

    for (unsigned i = 0; i < s->n_cores; i++)
        homes[i] = s->cores[i].loop;
    err = replay_logs(&(struct replay_conf){.env = s->env,
                                            .data = &s->data,
                                            .log_dir = s->log_dir,
                                            .stores = s->stores,
                                            .homes = homes,
                                            .n_homes = s->n_cores,
                                            .tables = s->tables},
                      &s->old, &s->n_old, why);
    if (err != ERR_OK)
        say_why(why, "replaying the logs in", s->log_dir, err);
    mem_free(homes);
    return err;
}

static void on_tables_durable(void *arg, const struct tables_position *p)
{
    struct server *s = arg;
    views_tables_durable(s->views, p->log_id, p->durable);
    views_owed_durable(s->views, p->log_id, p->owed_durable);
}

static enum err open_directory(struct server *s)
{
    uint64_t log_id;
    enum err err;

    TRY(account_gate_create(&(struct account_gate_conf){.env = s->env,
                                                        .key = &s->data.keys.bus,
                                                        .threads = s->n_cores > 2 ? 2 : 1,
                                                        .is_limited = s->options.rate_limit},
                            &s->world.gate));
    TRY(data_dir_next_log_id(s->env, &s->data, &log_id));
    TRY(directory_create(&(struct directory_conf){.world = &s->world,
                                                  .tables = s->tables,
                                                  .ops = op_handlers,
                                                  .log_dir = s->log_dir,
                                                  .log_id = log_id,
                                                  .segments = s->segments,
                                                  .admin_path = s->data.path,
                                                  .views = s->views,
                                                  .open_store = open_late_store,
                                                  .close_store = close_store,
                                                  .on_durable = on_tables_durable,
                                                  .on_failure = directory_failed,
                                                  .arg = s},
                         &s->directory));
    TRY(lookup_create(&(struct lookup_conf){.world = &s->world, .ops = op_handlers, .path = s->tables_path},
                      &s->lookup));
out:
    return err;
}

/* What was committed and maybe not yet recorded as owed when the server ended: found in the old logs again. */
static enum err replay_owed(struct server *s)
{
    enum err err = ERR_OK;

    for (size_t i = 0; i < s->n_old && err == ERR_OK; i++) {
        struct notify_replay *p = NULL;
        uint64_t log_id = s->old[i].log_id, from = tables_position(s->tables, log_id).owed;
        notify_replay_create(&(struct notify_replay_conf){.world = &s->world, .stores = s->stores, .log_id = log_id},
                             &p);
        err = seglog_replay(s->env, s->log_dir, log_id, from, 0, (log_record_fn *)notify_replay_record, p);
        if (err == ERR_OK)
            notify_replay_end(p, s->old[i].end, directory_owe, loop_mailbox(s->cores[0].loop));
        notify_replay_destroy(p);
    }
    return err;
}

static enum err open_reactors(struct server *s)
{
    enum err err = ERR_OK;

    for (unsigned i = 0; i < s->n_cores; i++) {
        struct core *core = &s->cores[i];
        uint64_t log_id;
        TRY(data_dir_next_log_id(s->env, &s->data, &log_id));
        TRY(reactor_create(&(struct reactor_conf){.world = &s->world,
                                                  .index = i,
                                                  .loop = core->loop,
                                                  .pool = s->pool,
                                                  .ops = op_handlers,
                                                  .inner = inner_handlers,
                                                  .stores = core->stores,
                                                  .views = s->views,
                                                  .log_dir = s->log_dir,
                                                  .log_id = log_id,
                                                  .segments = s->segments,
                                                  .max_in_flight = (size_t)s->options.in_flight_bytes,
                                                  .linger_us = (uint32_t)s->options.linger_us,
                                                  .on_tables = directory_wake,
                                                  .owe = directory_owe,
                                                  .on_failure = log_failed,
                                                  .arg = s},
                           &core->reactor));
    }
    TRY(directory_connect(s->directory));
out:
    return err;
}

enum err server_open(const struct options *o, struct server **out, char **why)
{
    struct server *s = mem_new(struct server);
    enum err err;

    *out = s;
    s->options = *o;
    s->env = env_posix();
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->drained, NULL);
    TRY(options_address(o->listen, s->host, &s->port));
    if (o->tls_cert[0])
        TRY(tls_load(s->env, o->tls_cert, o->tls_key, &s->tls, why));
    err = gateway_try(s->host, s->port); /* before a folder is made for nothing */
    say_listening(why, o->listen, err);
    TRY(err);
    TRY(open_data(s, why));
    TRY(open_cores(s));
    TRY(share_descriptors(s, why));
    TRY(open_shared(s, why));
    TRY(open_stores(s, why));
    TRY(open_tables(s, why));
    TRY(replay(s, why));
    TRY(segpool_open(
        &(struct segpool_conf){
            .env = s->env, .dir = s->log_dir, .segment_bytes = (uint64_t)o->segment_bytes, .ahead = SEGMENTS_AHEAD},
        &s->segments));
    views_create(s->old, s->n_old, s->n_cores, &s->views);
    TRY(open_directory(s));
    TRY(replay_owed(s));
    TRY(open_reactors(s));
out:
    if (err != ERR_OK)
        say_why(why, "start", o->data, err);
    return err;
}

/* --- running --- */

static void *run_core(void *arg)
{
    loop_run(((struct core *)arg)->loop);
    return NULL;
}
static void *run_directory(void *arg)
{
    directory_run(arg);
    return NULL;
}
static void *run_lookup(void *arg)
{
    lookup_run(arg);
    return NULL;
}

static enum err start_thread(pthread_t *t, void *(*run)(void *), void *arg, bool *runs)
{
    if (pthread_create(t, NULL, run, arg) != 0)
        return ERR_NOMEM;
    *runs = true;
    return ERR_OK;
}

enum err server_start(struct server *s, char **why)
{
    unsigned n_stores;
    enum err err = ERR_OK;

    for (unsigned i = 0; i < s->n_cores; i++) {
        struct core *core = &s->cores[i];
        port_follow(bus_port(s->bus, i), core->loop);
        TRY(gateway_create(&(struct gateway_conf){.loop = core->loop,
                                                  .port = bus_port(s->bus, i),
                                                  .env = s->env,
                                                  .host = s->host,
                                                  .listen_port = s->port,
                                                  .shares_port = i > 0,
                                                  .metrics = s->metrics,
                                                  .counters = reactor_metrics(core->reactor),
                                                  .heartbeat_ms = s->options.heartbeat_ms,
                                                  .rate_limit = s->options.rate_limit,
                                                  .admission = s->admission,
                                                  .tls = s->tls,
                                                  .epoch = s->data.epoch,
                                                  .revocations = &s->world.revocations,
                                                  .ready = &s->ready},
                           &core->gateway));
        s->port = gateway_port(core->gateway);
    }
    metric_put(s->counters, METRIC_SOCKETS_MAX, s->connections);
    n_stores = s->data.n_stores; /* the directory's once it runs, as the connections are */
    TRY(start_thread(&s->directory_thread, run_directory, s->directory, &s->directory_runs));
    TRY(start_thread(&s->lookup_thread, run_lookup, s->lookup, &s->lookup_runs));
    for (unsigned i = 0; i < s->n_cores; i++)
        TRY(start_thread(&s->cores[i].thread, run_core, &s->cores[i], &s->cores[i].runs));
    atomic_store(&s->ready, true);
    log_info("ready", "listen=%s:%d reactors=%u stores=%u epoch=%s", s->host, s->port, s->n_cores, n_stores,
             s->data.epoch);
out:
    say_listening(why, s->options.listen, err);
    return err;
}

struct reload_msg {
    struct msg msg;
    struct gateway *gateway;
    struct tls *tls;
};
static void reload_gateway(struct msg *m)
{
    struct reload_msg *r = container_of(m, struct reload_msg, msg);

    gateway_secure(r->gateway, r->tls);
    tls_unref(r->tls);
    mem_free(r);
}

static char *sentence(const char *text) { return mem_dup(str_c(text)); }

enum err server_reload(struct server *s, const struct options *fresh, char **why)
{
    struct tls *tls = NULL;
    enum err err;

    if (!fresh->tls_cert[0] != !s->tls) {
        *why = sentence("TLS is begun and ended by a restart only");
        return ERR_INVALID;
    }
    if (!s->tls)
        return ERR_OK;
    err = tls_load(s->env, fresh->tls_cert, fresh->tls_key, &tls, why);
    if (err != ERR_OK)
        return err;
    for (unsigned i = 0; i < s->n_cores; i++) {
        struct reload_msg *m = mem_new(struct reload_msg);
        *m = (struct reload_msg){{.run = reload_gateway}, s->cores[i].gateway, tls_ref(tls)};
        mailbox_post(loop_mailbox(s->cores[i].loop), &m->msg);
    }
    tls_unref(s->tls);
    s->tls = tls;
    return ERR_OK;
}

const char *server_host(const struct server *s) { return s->host; }
int server_port(const struct server *s) { return s->port; }

/* --- ending --- */

static void one_is_drained(void *arg)
{
    struct server *s = arg;

    pthread_mutex_lock(&s->lock);
    s->draining--;
    pthread_cond_signal(&s->drained);
    pthread_mutex_unlock(&s->lock);
}

struct drain_msg {
    struct msg msg;
    struct core *core;
};
static void drain_core(struct msg *m)
{
    struct core *core = container_of(m, struct drain_msg, msg)->core;
    mem_free(m);
    gateway_drain(core->gateway, one_is_drained, core->server);
}

static void drain_gateways(struct server *s)
{
    s->draining = s->n_cores;
    for (unsigned i = 0; i < s->n_cores; i++) {
        struct drain_msg *m = mem_new(struct drain_msg);
        m->msg.run = drain_core;
        m->core = &s->cores[i];
        mailbox_post(loop_mailbox(s->cores[i].loop), &m->msg);
    }
    pthread_mutex_lock(&s->lock);
    while (s->draining > 0)
        pthread_cond_wait(&s->drained, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

static void end_threads(struct server *s)
{
    for (unsigned i = 0; i < s->n_cores; i++) {
        if (s->cores[i].runs) {
            loop_stop(s->cores[i].loop);
            pthread_join(s->cores[i].thread, NULL);
            s->cores[i].runs = false;
        }
    }
    if (s->lookup_runs) {
        lookup_stop(s->lookup);
        pthread_join(s->lookup_thread, NULL);
        s->lookup_runs = false;
    }
    if (s->directory_runs) {
        directory_stop(s->directory);
        pthread_join(s->directory_thread, NULL);
        s->directory_runs = false;
    }
}

void server_stop(struct server *s)
{
    uint64_t begun_us = env_mono_us(s->env);

    atomic_store(&s->ready, false);
    atomic_store(&s->world.draining, true);
    drain_gateways(s);
    end_threads(s);
    log_info("drained", "ms=%" PRIu64, (env_mono_us(s->env) - begun_us) / 1000);
}

/* In the order that directory.h and worker.h ask for: who is asked ends after who asks. */
void server_close(struct server *s)
{
    if (!s)
        return;
    end_threads(s);
    for (unsigned i = 0; i < s->n_cores; i++)
        gateway_destroy(s->cores[i].gateway);
    directory_destroy(s->directory);
    lookup_destroy(s->lookup);
    account_gate_destroy(s->world.gate);
    pool_destroy(s->pool);
    for (unsigned i = 0; i < s->n_cores; i++)
        if (s->cores[i].loop)
            jobs_lost(loop_mailbox(s->cores[i].loop));
    for (unsigned i = 0; i < s->n_cores; i++)
        reactor_destroy(s->cores[i].reactor);
    for (unsigned i = 0; s->stores && i < STORES_MAX; i++)
        lsm_close(s->stores[i]);
    for (unsigned i = 0; i < s->n_cores; i++) {
        loop_destroy(s->cores[i].loop);
        mem_free(s->cores[i].stores);
    }
    tables_close(s->tables);
    segpool_close(s->segments);
    views_destroy(s->views);
    block_cache_destroy(s->cache);
    bus_destroy(s->bus);
    metrics_destroy(s->metrics);
    admission_destroy(s->admission);
    tls_unref(s->tls);
    data_dir_close(&s->data);
    mem_free(s->cores);
    mem_free(s->stores);
    mem_free(s->old);
    mem_free(s->log_dir);
    mem_free(s->tables_path);
    mem_free(s);
}
