#include "cmd/parleyd_replay.h"
#include "base/log.h"
#include "base/loop.h"
#include <inttypes.h>
#include <time.h>

enum { APPLIED_EVERY = 256 /* records between two chances of a flush */ };

struct replay {
    const struct replay_conf *conf;
    struct convlog_replay *convs;
    uint64_t log_id, records;
    uint64_t floors[SHARD_COUNT]; /* of this log: what came to a store by a move is not replayed (placement_file.h) */
    uint64_t refused_at;          /* by the store of that name; NULL: by none */
    const char *refused_by;
};

/* Takes finished flushes home; waits a little when there was none: a flush takes milliseconds. */
static void let_stores_catch_up(const struct replay_conf *c)
{
    size_t ran = 0;

    for (size_t i = 0; i < c->n_homes; i++)
        ran += mailbox_drain(loop_mailbox(c->homes[i]));
    if (ran == 0)
        nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
}

static void say_applied(struct replay *p, uint64_t pos)
{
    for (unsigned i = 0; i < p->conf->data->n_stores; i++)
        lsm_applied(p->conf->stores[i], p->log_id, pos);
}

static enum err replay_record(void *arg, const struct log_record *r)
{
    struct replay *p = arg;
    struct lsm *store;
    enum err err = ERR_OK;

    if (r->shard >= SHARD_COUNT)
        return ERR_OK; /* the directory's: for the tables */
    store = p->conf->stores[p->conf->data->store_of[r->shard]];
    if (r->pos >= p->floors[r->shard] && r->pos >= lsm_durable(store, r->log_id)) {
        while ((err = convlog_replay_record(p->convs, store, r->shard, r->kind, r->body)) == ERR_LIMIT)
            let_stores_catch_up(p->conf);
        if (err != ERR_OK) {
            p->refused_at = r->pos;
            p->refused_by = p->conf->data->stores[p->conf->data->store_of[r->shard]];
        }
        p->records++;
    }
    if (err == ERR_OK && p->records % APPLIED_EVERY == 0)
        say_applied(p, r->next);
    return err;
}

/* A start ends there: an entry that was acknowledged is never passed over. */
static void say_refused(const struct replay *p, enum err err, char **why)
{
    struct buf text = {0};

    if (!p->refused_by || *why)
        return;
    buf_printf(&text,
               "log %016" PRIx64 " at offset %" PRIu64 " cannot be applied to store %s: %s; `parley doctor` says more",
               p->log_id, p->refused_at, p->refused_by, err_text(err));
    buf_char(&text, '\0');
    *why = text.p;
}

/* The range of positions that some view or store already has durably: what is damaged before `high` is damage, what
 * stands before `low` need not be read. */
static void durable_range(const struct replay_conf *c, uint64_t log_id, uint64_t *low, uint64_t *high)
{
    struct tables_position p = tables_position(c->tables, log_id);

    *low = UINT64_MAX;
    *high = p.durable > p.owed_durable ? p.durable : p.owed_durable;
    for (unsigned i = 0; i < c->data->n_stores; i++) {
        uint64_t pos = lsm_durable(c->stores[i], log_id);
        *low = pos < *low ? pos : *low;
        *high = pos > *high ? pos : *high;
    }
}

static enum err replay_log(struct replay *p, uint64_t log_id, struct views_log *out, char **why)
{
    const struct replay_conf *c = p->conf;
    struct seglog_report report = {0};
    uint64_t low, high;
    enum err err;

    durable_range(c, log_id, &low, &high);
    TRY(seglog_recover(c->env, c->log_dir, log_id, high, &report, why));
    if (report.was_torn)
        log_warn("log_tail_cut", "log=%" PRIx64 " end=%" PRIu64 " bytes=%" PRIu64, log_id, report.end,
                 report.cut_bytes);
    p->log_id = log_id;
    placement_floors_of(&c->data->placement, log_id, p->floors);
    *out = (struct views_log){.log_id = log_id, .end = report.end};
    if (report.end == 0) { /* nothing was ever written: starts that follow each other quickly leave many of these */
        err = seglog_remove(c->env, c->log_dir, log_id);
        goto out;
    }
    TRY(seglog_replay(c->env, c->log_dir, log_id, low, 0, replay_record, p));
    say_applied(p, report.end);
    TRY(tables_replay(c->tables, c->log_dir, log_id, report.end, why));
out:
    if (err != ERR_OK)
        say_refused(p, err, why);
    return err;
}

enum err replay_logs(const struct replay_conf *c, struct views_log **logs, size_t *n, char **why)
{
    struct replay p = {.conf = c};
    uint64_t begun_us = env_mono_us(c->env), *ids = NULL;
    struct views_log *found = NULL;
    size_t n_ids = 0, n_found = 0;
    enum err err;

    convlog_replay_create(&p.convs);
    TRY(seglog_list(c->env, c->log_dir, &ids, &n_ids));
    TRY(tables_keep(c->tables, ids, n_ids));
    found = mem_new_array(struct views_log, n_ids + 1);
    for (size_t i = 0; i < n_ids; i++) {
        TRY(replay_log(&p, ids[i], &found[n_found], why));
        n_found += found[n_found].end > 0;
    }
    log_info("replayed", "logs=%zu records=%" PRIu64 " ms=%" PRIu64, n_found, p.records,
             (env_mono_us(c->env) - begun_us) / 1000);
    *logs = found;
    *n = n_found;
    found = NULL;
out:
    convlog_replay_destroy(p.convs);
    mem_free(ids);
    mem_free(found);
    return err;
}
