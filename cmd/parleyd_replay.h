/* parleyd_replay: brings every view up to what the logs of earlier starts hold, before anything is served.
 *
 * Each log is made sound first (a torn tail is cut and said, damage stops the start), then replayed into the stores and
 * the tables from where each has it durably. A log that begins behind what the tables, or what is owed, have of it:
 * they are made anew from the conversations (services/rebuild.h); what only the directory's log had is damage. Runs on
 * the main thread, which owns all stores until the threads start, but while this lasts: then each home's stores are a
 * feeding thread's (parleyd_feed.h). */
#pragma once
#include "services/tables.h"
#include "services/views.h"
#include "storage/convlog.h"
#include "storage/placement.h"

struct replay_conf {
    struct env *env;
    struct data_dir *data;
    const char *log_dir;
    struct lsm *const *stores; /* all of them */
    struct loop *const *homes; /* of the stores: that of store i is homes[i % n_homes] */
    size_t n_homes;
    struct tables *tables;
};
/* *logs (mem_free) gets the old logs with their ends. On failure *why (mem_free) says it in words. */
MUST_CHECK enum err replay_logs(const struct replay_conf *c, struct views_log **logs, size_t *n, char **why);
