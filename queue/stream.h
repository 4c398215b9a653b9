/* stream: one log with group commit: append, and be told when it would survive a power cut.
 *
 * The owner thread appends records to memory; a writer thread of the stream writes and syncs whatever has come together
 * since (one fdatasync for all), then tells the owner how far the log is durable. A position is the byte offset of a
 * record in its log: it only grows, also over recycled segment files. Log ids are never reused; each start of the
 * server opens new logs and replays the old ones first (see seglog.h for the files, and what a torn tail or damage
 * does).
 *
 * Thread: create, append, flush, shrink, pin, trim by the owner; consumers (stream_read) by any one thread each.
 * Errors of writing: after a failed write or sync the outcome is unknown. `on_failure` is called once, on the owner's
 * thread; nothing is committed after that and the process is expected to end and restart. */
#pragma once
#include "base/env.h"
#include "base/mailbox.h"
#include "base/metrics.h"
#include "queue/seglog.h"

struct stream;

struct stream_conf {
    struct env *env;
    const char *dir;                            /* the folder of all logs */
    uint64_t log_id;                            /* new, never used before */
    struct segpool *pool;                       /* ready segments, shared by all logs of the process */
    struct mailbox *home;                       /* where the callbacks run */
    size_t max_in_flight;                       /* bytes appended and not yet durable; at it, appends answer LIMIT */
    uint32_t linger_us;                         /* at most; only when the log is busy */
    void (*on_commit)(void *arg, uint64_t end); /* every record before `end` is durable */
    void (*on_failure)(void *arg, enum err err);
    void *arg;
    bool is_stepped; /* no writer thread: what it would do happens in stream_step, for tests that replay a seed */
};

MUST_CHECK enum err stream_open(const struct stream_conf *c, struct stream **out);
/* Flushes, syncs, and joins the writer; callbacks for it have been posted to home. Consumers are closed before. */
void stream_close(struct stream *s);

/* Adds a record. The bytes are copied. FULL: there is no reserved space on the disk and none can be had; LIMIT: too
 * much in flight, or reserving is behind; CLOSED: a write failed; INVALID: larger than 1 MiB and 64 KiB, or than a
 * segment holds. In each case nothing was done and the caller may answer `unavailable`. *pos is where it will stand; it
 * is durable once on_commit's end is greater than that. `topics`: which consumers it concerns, a bit each. */
MUST_CHECK enum err stream_append(struct stream *s, uint8_t kind, uint16_t shard, uint8_t topics, struct str body,
                                  uint64_t *pos);
/* The same for records that belong together: all are taken, or none. Of each, kind, shard, topics and body are read,
 * and log_id, pos and next are filled in. Their bodies together are at most as large as one. */
MUST_CHECK enum err stream_append_all(struct stream *s, struct log_record *v, size_t n);
/* Hands what was appended to the writer; called once at the end of each loop turn. Wakes it at most once. */
void stream_flush(struct stream *s);

/* Memory of batches is kept for the next: 5 of at most 1 MiB. Frees what none since the last call had need of, down to
 * 5 of 16 KiB; called every few seconds. */
void stream_shrink(struct stream *s);

/* Of a stepped stream: writes and syncs what was handed over; false when there was nothing, or writing failed. */
bool stream_step(struct stream *s);

uint64_t stream_log_id(const struct stream *s);
uint64_t stream_end(const struct stream *s);       /* behind the last record appended (owner) */
uint64_t stream_committed(const struct stream *s); /* durable up to here (any thread, acquire) */
uint64_t stream_topic_end(const struct stream *s,
                          unsigned topic_bit); /* behind the last committed record with this bit in its topics; of
                                                  several bits the highest (any thread) */

/* What was made durable since it was opened (any thread). */
struct stream_counts {
    uint64_t syncs, bytes, records;
};
struct stream_counts stream_counts(const struct stream *s);

/* Goes on in a new segment, so that all before stream_end can be trimmed; nothing to do when the segment is empty and
 * not stale. What is appended from now on stands in it. FULL, LIMIT: no segment is ready; nothing was done. */
MUST_CHECK enum err stream_roll(struct stream *s);

/* Trimming: everything before `pos` is durable in every view; segments wholly before it are recycled. */
void stream_trim(struct stream *s, uint64_t pos);
uint64_t stream_trimmed(const struct stream *s);

/* Erasing: what any log of the pool was trimmed of before this call leaves the files. It is done when
 * stream_is_scrubbed says so of the ticket; for that, every log that is stale must roll and be trimmed: its segments
 * were another's. */
uint64_t stream_scrub(struct stream *s);
bool stream_is_scrubbed(const struct stream *s, uint64_t ticket);
bool stream_is_stale(const struct stream *s);
