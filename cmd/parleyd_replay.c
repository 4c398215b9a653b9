#include "cmd/parleyd_replay.h"
#include "base/log.h"
#include "cmd/parleyd_feed.h"
#include <inttypes.h>

struct replay {
    const struct replay_conf *conf;
    struct feed *feed;
    uint64_t *durable; /* of the log that is replayed, in each store when that began */
    uint64_t log_id, records;
    uint64_t floors[SHARD_COUNT]; /* of this log: what came to a store by a move is not replayed (placement_file.h) */
};

static enum err replay_record(void *arg, const struct log_record *r)
{
    struct replay *p = arg;

    if (r->shard >= SHARD_COUNT)
        return ERR_OK; /* the directory's: for the tables */
    if (r->pos < p->floors[r->shard] || r->pos < p->durable[p->conf->data->store_of[r->shard]])
        return ERR_OK;
    p->records++;
    return feed_record(p->feed, r);
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
    for (unsigned i = 0; i < c->data->n_stores; i++)
        p->durable[i] = lsm_durable(c->stores[i], log_id);
    TRY(seglog_replay(c->env, c->log_dir, log_id, low, 0, replay_record, p));
    TRY(feed_wait(p->feed, log_id, report.end));
    TRY(tables_replay(c->tables, c->log_dir, log_id, report.end, why));
out:
    return err;
}

enum err replay_logs(const struct replay_conf *c, struct views_log **logs, size_t *n, char **why)
{
    struct replay p = {.conf = c};
    uint64_t begun_us = env_mono_us(c->env), *ids = NULL;
    struct views_log *found = NULL;
    size_t n_ids = 0, n_found = 0;
    enum err err;

    p.durable = mem_new_array(uint64_t, c->data->n_stores);
    TRY(feed_create(&(struct feed_conf){c->data, c->stores, c->homes, c->n_homes}, &p.feed));
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
    feed_destroy(p.feed);
    mem_free(p.durable);
    mem_free(ids);
    mem_free(found);
    return err;
}
