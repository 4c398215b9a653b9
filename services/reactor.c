#include "services/gauges.h"
#include "services/reactor.h"
#include "base/log.h"
#include "services/expiry.h"
#include "services/move.h"
#include "services/notify.h"
#include "services/purge.h"
#include "services/reactor_state.h"
#include "services/receipt.h"
#include "services/shard_log.h"
#include "services/retention.h"
#include "services/survey.h"
#include "services/trim.h"
#include "services/typing.h"

enum { IN_FLIGHT_BYTES = 8 << 20, BUSY_MS = 200 };

struct world *reactor_world(const struct reactor *r) { return r->world; }
struct env *reactor_env(const struct reactor *r) { return r->world->env; }
struct port *reactor_port(const struct reactor *r) { return r->port; }
struct loop *reactor_loop(const struct reactor *r) { return r->loop; }
struct metric_set *reactor_metrics(const struct reactor *r) { return r->metrics; }
struct stream *reactor_stream(const struct reactor *r) { return r->stream; }
const struct data_keys *reactor_keys(const struct reactor *r) { return &r->world->data->keys; }
struct naming *reactor_naming(const struct reactor *r) { return r->naming; }
struct shards *reactor_shards(const struct reactor *r) { return r->shards; }
struct notify *reactor_notify(const struct reactor *r) { return r->notify; }
struct typing *reactor_typing(const struct reactor *r) { return r->typing; }
struct receipts *reactor_receipts(const struct reactor *r) { return r->receipts; }
struct surveys *reactor_surveys(const struct reactor *r) { return r->surveys; }
struct moves *reactor_moves(const struct reactor *r) { return r->moves; }
struct expiry *reactor_expiry(const struct reactor *r) { return r->expiry; }

struct buf *reactor_scratch(struct reactor *r)
{
    buf_clear(&r->scratch);
    return &r->scratch;
}

struct lsm *reactor_store(const struct reactor *r, uint16_t shard) { return r->stores[r->store_of[shard]]; }

size_t reactor_store_index(const struct reactor *r, uint16_t shard) { return r->store_of[shard]; }

size_t reactor_stores(const struct reactor *r, struct lsm *const **v)
{
    *v = r->stores;
    return r->n_stores;
}

void reactor_end(struct reactor *r, struct request *q) { bus_reply(r->port, q); }

void reactor_ok(struct reactor *r, struct request *q)
{
    request_ok(q);
    reactor_end(r, q);
}

void reactor_fail(struct reactor *r, struct request *q, enum code code, const char *why)
{
    request_fail(q, code, "%s", why);
    reactor_end(r, q);
}

void reactor_no_conv(struct reactor *r, struct request *q)
{
    reactor_fail(r, q, CODE_NOT_FOUND, "no such conversation");
}

void reactor_broken(struct reactor *r, struct request *q, const char *what, enum err err)
{
    uint64_t id;

    if (err == ERR_LIMIT) { /* too many reads wait for the disk */
        request_fail(q, CODE_UNAVAILABLE, "the server is busy; try again");
        q->retry_after_ms = BUSY_MS;
        reactor_end(r, q);
        return;
    }
    id = ++r->broken;
    log_error("request_broken", "id=%u-%llu what=%s err=%s", r->conf.index, (unsigned long long)id, what,
              err_name(err));
    request_fail(q, CODE_INTERNAL, "a defect of the server, logged as %u-%llu", r->conf.index, (unsigned long long)id);
    reactor_end(r, q);
}

static void on_turn_end(struct turn_hook *h)
{
    struct reactor *r = container_of(h, struct reactor, flush);

    shards_load_gathered(r->shards);
    stream_flush(r->stream);
}

static void on_commit(void *arg, uint64_t end) { shards_committed(((struct reactor *)arg)->shards, end); }

static void on_failure(void *arg, enum err err)
{
    struct reactor *r = arg;

    log_error("reactor_failed", "reactor=%u log=%llx err=%s", r->conf.index, (unsigned long long)r->conf.log_id,
              err_name(err));
    if (r->conf.on_failure)
        r->conf.on_failure(r->conf.arg, err);
}

static enum err open_log(struct reactor *r)
{
    struct stream_conf s = {
        .env = r->world->env,
        .dir = r->conf.log_dir,
        .log_id = r->conf.log_id,
        .pool = r->conf.segments,
        .home = loop_mailbox(r->loop),
        .max_in_flight = r->conf.max_in_flight ? r->conf.max_in_flight : IN_FLIGHT_BYTES,
        .linger_us = r->conf.linger_us,
        .is_stepped = r->conf.is_stepped,
        .on_commit = on_commit,
        .on_failure = on_failure,
        .arg = r,
    };

    return stream_open(&s, &r->stream);
}

enum err reactor_create(const struct reactor_conf *c, struct reactor **out)
{
    struct reactor *r = mem_new(struct reactor);
    enum err err;

    r->conf = *c;
    r->world = c->world;
    r->loop = c->loop;
    r->port = bus_port(c->world->bus, c->index);
    r->metrics = metrics_set(c->world->metrics);
    list_init(&r->spare_reads);
    r->n_stores = c->world->data->n_stores;
    memcpy(r->stores, c->stores, r->n_stores * sizeof r->stores[0]);
    memcpy(r->store_of, c->world->data->store_of, sizeof r->store_of);
    TRY(open_log(r));
    naming_create(&c->world->data->keys, &r->naming);
    c->world->streams[c->index] = r->stream;
    notify_create(r, c->owe, &r->notify);
    shards_create(r, c->on_tables, on_failure, &r->shards);
    typing_create(r, &r->typing);
    receipts_create(r, &r->receipts);
    surveys_create(&r->surveys);
    bulk_create(r, runner_read, &r->bulk);
    moves_create(r, &r->moves);
    gauges_create(r, &r->gauges);
    trim_create(r, c->log_dir, c->pool, c->views, &r->trim);
    purge_create(r, &r->purge);
    expiry_create(r, &r->expiry);
    sweep_create(r, &r->sweep);
    r->flush.fn = on_turn_end;
    loop_hook(r->loop, &r->flush);
    bus_serve(r->port, runner_serve, r);
    *out = r;
    return ERR_OK;
out:
    mem_free(r);
    return err;
}

void reactor_destroy(struct reactor *r)
{
    if (!r)
        return;
    loop_unhook(&r->flush);
    gauges_destroy(r->gauges);
    reactor_drop_held(r);
    sweep_destroy(r->sweep);
    expiry_destroy(r->expiry);
    purge_destroy(r->purge);
    trim_destroy(r->trim);
    stream_close(r->stream);
    r->world->streams[r->conf.index] = NULL;
    typing_destroy(r->typing);
    receipts_destroy(r->receipts);
    surveys_destroy(r->surveys);
    moves_destroy(r->moves);
    bulk_destroy(r->bulk);
    shards_destroy(r->shards);
    naming_destroy(r->naming);
    notify_destroy(r->notify);
    reactor_drop_reads(r);
    buf_deinit(&r->scratch);
    mem_free(r);
}
