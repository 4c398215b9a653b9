/* views: how durable every view of the logs is, for trimming: stores, tables, and the table of what is owed.
 *
 * A log may lose its beginning once every view made from it has it durably. Each owner of a log trims its own; the logs
 * of earlier starts, already replayed into every view, are removed as wholes.
 *
 * Thread: any; one lock, taken a few times a second. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct views;
/* is_directory: a log of the directory has nothing for stores and nothing that is owed. */
struct views_log {
    uint64_t log_id, end;
    bool is_directory;
};

/* `old`: the logs of earlier starts with their ends, replayed into all views; `reactors` report their stores. */
void views_create(const struct views_log *old, size_t n, unsigned reactors, struct views **out);
void views_destroy(struct views *v);

/* Said by the directory after a synced checkpoint: the tables, or the table of what is owed, have everything of
 * `log_id` before `pos` durably. */
void views_tables_durable(struct views *v, uint64_t log_id, uint64_t pos);
void views_owed_durable(struct views *v, uint64_t log_id, uint64_t pos);
/* Said by a log's owner: what was erased stands before `pos`, and has stood there long enough. 0: nobody said so. */
void views_want(struct views *v, uint64_t log_id, uint64_t pos);
uint64_t views_wanted(struct views *v, uint64_t log_id);
void views_durable(struct views *v, uint64_t log_id, uint64_t *tables, uint64_t *owed);

/* How a live log stood when its owner last looked, for who asks. */
enum view { VIEW_STORES, VIEW_TABLES, VIEW_OWED, VIEWS };
struct views_state {
    uint64_t log_id, end, trimmed;
    struct {
        uint64_t pos, ms; /* durable up to there; how old the oldest record behind it is (lag.h) */
    } view[VIEWS];
};
enum { VIEWS_STATES_MAX = 64 };
void views_put_state(struct views *v, const struct views_state *s);
size_t views_states(struct views *v, struct views_state out[VIEWS_STATES_MAX]);

/* The old logs. */
size_t views_old(struct views *v, const struct views_log **logs); /* constant, borrowed */
void views_stores_durable(struct views *v); /* a reactor's stores have all of them durably; said once by each */
bool views_old_are_done(struct views *v);   /* every view has them: they may be removed; false again when they are */
void views_old_removed(struct views *v);
bool views_old_are_removed(struct views *v);
