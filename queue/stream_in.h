/* stream_in: what the files of the stream share: the owner's side (stream.c), the writer's (stream_writer.c) and the
 * consumers' (consumer.c).
 *
 * The owner lays the log out: it knows for each record its segment, its batch's place in it and its position before the
 * writer has seen it. So what is admitted fits; the writer only copies bytes to where they belong. */
#pragma once
#include "base/buf.h"
#include "base/list.h"
#include "queue/segpool.h"
#include "queue/stream.h"
#include <pthread.h>
#include <stdatomic.h>

enum { TOPICS = 8, LOG_PAGE = 4096 };
extern const char stream_zeros[LOG_PAGE + BATCH_ALIGN];

/* A segment of a live log. Taken by the owner, put in place by the writer. */
struct live {
    struct link link; /* in stream.segments */
    uint64_t number, start;
    struct segpool_segment ready; /* what it was taken as */
    bool is_placed;               /* it is in the log's folder, with its header */
    uint64_t generation;          /* the writer's, like what follows */
    struct file *file;            /* open while it is written to */
    bool is_cached;               /* the page cache has what it held when it was taken */
};

/* Records of one batch, on their way to the writer. */
struct chunk {
    struct chunk *next;
    struct live *segment;
    uint64_t off, pos; /* where the batch begins in the file, and its first record in the log */
    uint32_t records;
    uint8_t topics;
    uint64_t topic_end[TOPICS];
    struct buf bytes; /* of records */
};

/* What comes home. It outlives the stream when a message is still under way. */
struct notice {
    struct msg commit, failure, last;
    void (*on_commit)(void *arg, uint64_t end);
    void (*on_failure)(void *arg, enum err err);
    void *arg;
    struct mailbox *home;
    _Atomic uint64_t committed;
    _Atomic bool commit_posted; /* and has not run */
    _Atomic int failed;         /* an enum err; ERR_OK: not */
    uint64_t told;              /* home's */
};

struct stream {
    struct stream_conf conf;
    char *dir, *log_dir;
    uint64_t max_body;
    struct notice *notice;
    _Atomic uint64_t topic_end[TOPICS];
    _Atomic uint64_t trimmed;
    _Atomic uint64_t syncs, synced_records; /* the writer's */

    /* The owner's. */
    uint64_t end;    /* position behind the last record */
    struct live *at; /* the segment that `open` will go to; NULL: none yet */
    uint64_t next_number;
    struct chunk *open; /* being filled, unseen by the writer */

    /* Shared under the lock. */
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct chunk *first, **last; /* for the writer */
    size_t queued_records, queued_bytes;
    size_t expected;        /* records soon to be queued: see stream_writer.c on lingering; 0: no idea */
    size_t wake_at;         /* the writer sleeps until so many records are queued; 0: it does not sleep */
    struct chunk *idle;     /* for reuse */
    size_t n_idle, largest; /* of the batches since stream_shrink: bytes */
    struct link segments;   /* oldest first; those not yet placed are the last */
    bool ending;

    pthread_t writer;
};

void *stream_writer_run(void *stream);

void chunk_free(struct chunk *c);
void stream_chunk_done(struct stream *s, struct chunk *c); /* under the lock: kept for reuse, or freed */

/* What is to be written behind a batch's records that end at data_end: zeros up to the end of the page, and at least a
 * header's place of them (seglog.c, 5), unless the segment ends before. */
static inline size_t tail_zeros(const struct stream *s, uint64_t data_end)
{
    uint64_t place = (data_end + BATCH_ALIGN - 1) & ~(uint64_t)(BATCH_ALIGN - 1);
    uint64_t to = (place + BATCH_HEADER + LOG_PAGE - 1) & ~(uint64_t)(LOG_PAGE - 1);
    uint64_t limit = segpool_segment_bytes(s->conf.pool);

    return (to < limit ? to : limit) - data_end;
}

/* The segment in place that holds `pos`; *next_start is UINT64_MAX when it is the last. NOT_FOUND: it was trimmed, or
 * nothing is in place yet. Any thread. */
MUST_CHECK enum err stream_find(struct stream *s, uint64_t pos, uint64_t *number, uint64_t *next_start);
