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

/* A start ends there: an entry that was acknowledged is never passed over. */
static void say_refused(const struct replay *p, enum err err, char **why)
{
    const struct data_dir *data = p->conf->data;
    struct buf text = {0};
    uint16_t shard;
    uint64_t pos;

    if (*why || !feed_refused(p->feed, &shard, &pos))
        return;
    buf_printf(&text,
               "log %016" PRIx64 " at offset %" PRIu64 " cannot be applied to store %s: %s; `parley doctor` says more",
               p->log_id, pos, data->stores[data->store_of[shard]], err_text(err));
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

/* --- a log that was trimmed past what a view has --- */

static enum err note_kind(void *arg, const struct log_record *r)
{
    *(int *)arg = r->shard >= SHARD_COUNT;
    return ERR_CLOSED; /* the first record says it */
}

/* Whose log it is: 1 the directory's, 0 a reactor's, -1 it holds nothing that says so. */
static enum err ask_kind(const struct replay_conf *c, uint64_t log_id, int *is_directory)
{
    enum err err;

    *is_directory = -1;
    err = seglog_replay(c->env, c->log_dir, log_id, 0, 0, note_kind, is_directory);
    return err == ERR_CLOSED ? ERR_OK : err;
}

static enum err detach(struct tables *t, uint64_t log_id, uint64_t start, uint8_t what)
{
    uint8_t of[SHARD_COUNT];
    enum err err;

    memset(of, what, sizeof of);
    TRY(tables_begin(t));
    TRY(tables_detach(t, of));
    if (what & REBUILD_TABLES)
        TRY(tables_reached(t, log_id, start));
    if (what & REBUILD_OWED)
        TRY(tables_owed_reached(t, log_id, start));
    TRY(tables_end(t));
out:
    if (err != ERR_OK)
        tables_abandon(t);
    return err;
}

static enum err say_gap(uint64_t log_id, uint64_t start, uint64_t applied, char **why)
{
    struct buf text = {0};

    buf_printf(&text,
               "log %016" PRIx64 " begins at %" PRIu64 ", and the tables lack all of it from %" PRIu64
               " on: accounts are nowhere else; tables.db is not the one that belongs to this folder",
               log_id, start, applied);
    buf_char(&text, '\0');
    *why = text.p;
    return ERR_CORRUPT;
}

/* Segments leave a log from its beginning, and only then is one missing there: a hole between others is damage, which
 * was found before. What a view of the conversations lacks for it is made anew while the server runs (rebuild.h). */
static enum err mind_gap(const struct replay_conf *c, uint64_t log_id, uint64_t start, char **why)
{
    struct tables_position at = tables_position(c->tables, log_id);
    uint8_t what = (uint8_t)((start > at.applied ? REBUILD_TABLES : 0) | (start > at.owed ? REBUILD_OWED : 0));
    int is_directory;
    enum err err = ERR_OK;

    if (!what)
        return ERR_OK;
    TRY(ask_kind(c, log_id, &is_directory));
    if (is_directory && (what & REBUILD_TABLES))
        return say_gap(log_id, start, at.applied, why);
    if (is_directory)
        goto out; /* it owes nobody anything */
    TRY(detach(c->tables, log_id, start, what));
    log_warn("view_detached", "log=%016" PRIx64 " begins=%" PRIu64 " tables=%" PRIu64 " owed=%" PRIu64, log_id, start,
             at.applied, at.owed);
out:
    return err;
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
    TRY(mind_gap(c, log_id, report.start, why));
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
