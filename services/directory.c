#include "services/directory_state.h"
#include "base/log.h"
#include "services/admin.h"
#include "services/hold.h"
#include "services/inner.h"
#include "services/mover.h"
#include "services/rebuild.h"
#include "services/seed.h"
#include <assert.h>

enum { IN_FLIGHT = 4 << 20, TICK_MS = 2000 };

static void on_commit(void *arg, uint64_t end)
{
    struct directory *d = arg;

    d->committed = end;
    d->has_work = true;
}

static void on_log_failure(void *arg, enum err err)
{
    struct directory *d = arg;

    log_error("directory_log_failed", "err=%s", err_name(err));
    directory_failed(d, err);
}

static void on_turn(struct turn_hook *h)
{
    struct directory *d = container_of(h, struct directory, turn);

    if (d->has_work) {
        directory_work(d);
        seed_pump(d);
    }
    if (d->stream)
        stream_flush(d->stream);
    if (d->is_behind)
        directory_wake(d);
}

static void on_tick(struct timer *t)
{
    struct directory *d = container_of(t, struct directory, tick);

    d->looks_further = d->has_work = true;
    rebuild_look(d);
    directory_checkpoint(d);
    if (d->stream)
        stream_shrink(d->stream);
    timer_set(d->loop, t, TICK_MS);
}

static void on_retry(struct timer *t)
{
    struct directory *d = container_of(t, struct directory, retry);

    d->is_stalled = false;
    d->has_work = true;
}

static void on_redeliver(struct timer *t) { container_of(t, struct directory, redeliver)->has_work = true; }

static void on_wake(struct msg *m)
{
    struct directory *d = container_of(m, struct directory, wake);

    atomic_store(&d->is_woken, false); /* before looking: a later commit posts again */
    d->has_work = true;
}

void directory_wake(struct directory *d)
{
    if (!atomic_exchange(&d->is_woken, true))
        bus_post(d->world->bus, world_directory(d->world), &d->wake);
}

void directory_ends(const struct directory *d, uint64_t *targets)
{
    for (unsigned i = 0; i < d->world->reactors; i++)
        targets[i] = stream_topic_end(d->world->streams[i], TOPIC_TABLES);
}

void directory_serve(void *ctx, struct request *r)
{
    struct directory *d = ctx;

    if (d->has_failed || d->is_stopping) {
        directory_refuse(d, r, ERR_CLOSED);
        return;
    }
    switch ((enum inner_kind)r->inner) {
    case INNER_NONE:
        assert(d->conf.ops[r->op]); /* the reactor sends only what is the directory's */
        d->conf.ops[r->op](d, r);
        break;
    case INNER_BARRIER:
        directory_barrier(d, r);
        break;
    case INNER_ACCOUNT_ADD:
        directory_account_add(d, r);
        break;
    case INNER_DEVICE_ADD:
        directory_device_add(d, r);
        break;
    case INNER_SEED:
        seed_serve(d, r);
        break;
    default:
        assert(false && "an inner request of somebody else's");
        break;
    }
}

static void owe_arrives(struct msg *m)
{
    struct directory *d = container_of(m, struct owed_batch, msg)->directory;

    m->next = NULL;
    *d->owed_last = m;
    d->owed_last = &m->next;
    d->has_work = true;
}

void directory_owe(struct directory *d, struct owed_batch *b)
{
    b->directory = d;
    b->msg.run = owe_arrives;
    bus_post(d->world->bus, world_directory(d->world), &b->msg);
}

static enum err open_log(struct directory *d)
{
    const struct directory_conf *c = &d->conf;
    struct stream_conf s = {
        .env = d->env,
        .dir = c->log_dir,
        .log_id = c->log_id,
        .pool = c->segments,
        .home = loop_mailbox(d->loop),
        .max_in_flight = c->max_in_flight ? c->max_in_flight : IN_FLIGHT,
        .on_commit = on_commit,
        .on_failure = on_log_failure,
        .arg = d,
    };
    enum err err;

    TRY(stream_open(&s, &d->stream));
    d->world->streams[world_directory(d->world)] = d->stream;
out:
    return err;
}

enum err directory_create(const struct directory_conf *c, struct directory **out)
{
    struct directory *d = mem_new(struct directory);
    enum err err;

    *d = (struct directory){
        .conf = *c, .world = c->world, .env = c->world->env, .tables = c->tables, .log_id = c->log_id};
    d->db = tables_db(c->tables);
    d->turn.fn = on_turn;
    d->tick.fn = on_tick;
    d->retry.fn = on_retry;
    d->redeliver.fn = on_redeliver;
    d->overdue.fn = directory_barriers_overdue;
    d->wake.run = on_wake;
    d->owed_last = &d->owed;
    list_init(&d->records);
    list_init(&d->writes);
    list_init(&d->deferred);
    list_init(&d->barriers);
    list_init(&d->seeds);
    TRY(loop_create(&d->loop));
    TRY(open_log(d));
    if (c->world->metrics)
        d->metrics = metrics_set(c->world->metrics);
    d->port = bus_port(c->world->bus, world_directory(c->world));
    port_attach(d->port, loop_mailbox(d->loop));
    bus_serve(d->port, directory_serve, d);
    loop_hook(d->loop, &d->turn);
    timer_set(d->loop, &d->tick, TICK_MS);
    rebuild_init(d);
    if (c->open_store)
        mover_create(d, &d->mover);
    if (c->admin_path)
        TRY(admin_open(d, c->admin_path, &d->admin));
    d->world->directory = d;
    *out = d;
    return ERR_OK;
out:
    directory_destroy(d);
    return err;
}

enum err directory_connect(struct directory *d)
{
    enum err err = ERR_OK;

    for (unsigned i = 0; i < d->world->reactors; i++) {
        d->follow[i].stream = d->world->streams[i];
        TRY(directory_follow_open(d, i));
    }
    if (d->mover)
        mover_start(d->mover);
out:
    return err;
}

/* Closing the log posts its last commits to the mailbox; what else is there by now is refused or done. */
static void finish(struct directory *d)
{
    struct stream *s = d->stream;

    d->is_stopping = true;
    admin_close(d->admin);
    d->admin = NULL;
    if (d->mover)
        mover_stop(d->mover);
    timer_stop(&d->tick);
    timer_stop(&d->overdue);
    timer_stop(&d->redeliver);
    rebuild_stop(d);
    d->world->streams[world_directory(d->world)] = NULL;
    d->stream = NULL;
    stream_close(s);
    while (mailbox_drain(loop_mailbox(d->loop)))
        ;
    do {
        d->is_behind = false;
        d->looks_further = true; /* positions stand at the ends of the logs then */
        directory_work(d);
    } while (d->is_behind && !d->is_stalled && !d->has_failed);
    seed_pump(d);
    directory_checkpoint(d);
}

void directory_run(struct directory *d)
{
    loop_run(d->loop);
    finish(d);
}

void directory_stop(struct directory *d) { loop_stop(d->loop); }

void directory_destroy(struct directory *d)
{
    if (!d)
        return;
    admin_close(d->admin);
    stream_close(d->stream);
    for (unsigned i = 0; i < BUS_PORTS_MAX; i++)
        consumer_close(d->follow[i].consumer);
    while (!list_is_empty(&d->records)) {
        struct directory_record *r = list_first(&d->records, struct directory_record, link);
        list_remove(&r->link);
        mem_free(r);
    }
    seed_abandon(d);
    hold_abandon(d);
    mover_destroy(d->mover);
    rebuild_deinit(d);
    map_deinit(&d->names);
    map_deinit(&d->busy);
    loop_unhook(&d->turn);
    loop_destroy(d->loop);
    mem_free(d);
}
