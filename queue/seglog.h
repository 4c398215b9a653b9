/* seglog: the files of a log. The essay on its bytes stands in seglog.c.
 *
 * DIR/<log id in hex>/<segment number in hex>.seg; ready segments, zero-filled and reserved ahead, in DIR/ready/. */
#pragma once
#include "base/env.h"

struct log_record {
    uint64_t log_id, pos, next; /* where it stands, and where the one behind it would */
    uint8_t kind, topics;
    uint16_t shard;
    struct str body;
};
typedef enum err log_record_fn(void *arg, const struct log_record *r);

/* Ready segments: a thread keeps `ahead` of them filled; a full disk is met there and not in an append. */
struct segpool;
struct segpool_conf {
    struct env *env;
    const char *dir;
    uint64_t segment_bytes;
    unsigned ahead;
    bool is_stepped; /* no thread: what it would do happens in segpool_step, for tests that replay a seed */
};
MUST_CHECK enum err segpool_open(const struct segpool_conf *c, struct segpool **out);
void segpool_close(struct segpool *p);
/* Before a pool is opened: removes what an earlier one kept ready. Recovery on a full disk needs the space. */
MUST_CHECK enum err segpool_discard(struct env *env, const char *dir);

/* Recovery, before any stream is opened: what logs are there, and what they hold. */
MUST_CHECK enum err seglog_list(struct env *env, const char *dir, uint64_t **ids, size_t *n); /* ascending; mem_free */
struct seglog_report {
    uint64_t start, end; /* positions held */
    uint64_t cut_bytes;  /* of a torn tail, cut, as far as its batches are known; said in the log by the caller */
    bool was_torn;
};
/* Makes the surviving tail of a log durable (copied to a fresh segment and synced: reading the page cache proves
 * nothing), cuts a torn one, and reports. `durable_floor` is the highest position of this log that any view says it has
 * durably. CORRUPT: a bad record before the highest durable position known; *why (mem_free) names file and offset. */
MUST_CHECK enum err seglog_recover(struct env *env, const char *dir, uint64_t log_id, uint64_t durable_floor,
                                   struct seglog_report *out, char **why);
/* Calls `fn` for each record from position `from` (0: the start) to the end, in order; `topics` 0: all, else only those
 * with one of these bits (batches without them are skipped unread). */
MUST_CHECK enum err seglog_replay(struct env *env, const char *dir, uint64_t log_id, uint64_t from, uint8_t topics,
                                  log_record_fn *fn, void *arg);
MUST_CHECK enum err seglog_remove(struct env *env, const char *dir, uint64_t log_id); /* its segments are deleted */

/* A consumer of a live log: reads what is committed, batch after batch, at its own pace, from the files. */
struct stream;
struct consumer;
struct consumer_conf {
    struct stream *stream;
    uint64_t from;
    uint8_t topics;
};
MUST_CHECK enum err consumer_open(const struct consumer_conf *c, struct consumer **out);
void consumer_close(struct consumer *c);
/* Reads on to the committed end or until about `max_bytes`; *pos gets the position reached (nothing of the consumer's
 * topics is before it unread). The consumer keeps its durable cursor itself, in the same transaction as its effects.
 * NOT_FOUND, also from consumer_open: the log was trimmed past the cursor. An error of fn ends the reading and is
 * returned, *pos then is before that record; the next call goes on at it. */
MUST_CHECK enum err consumer_read(struct consumer *c, size_t max_bytes, log_record_fn *fn, void *arg, uint64_t *pos);
