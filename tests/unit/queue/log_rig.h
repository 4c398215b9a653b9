/* log_rig: a log with a home that tests drain by hand, on files that fail when told to.
 *
 * Record i has a body, kind, shard and topics that follow from i, so what is read can be checked against i alone. */
#pragma once
#include "base/env.h"
#include "queue/segment.h"
#include "queue/stream.h"
#include "tests/lib/faultfs.h"
#include "tests/lib/unit.h"
#include <semaphore.h>
#include <sys/stat.h>
#include <unistd.h>

struct rig {
    char dir[64];
    struct env env;
    struct faultfs *faults;
    sem_t woken;
    struct mailbox *home;
    struct segpool *pool;
    struct stream *stream;
    uint64_t committed;
    int commits, failures;
    enum err failure;
};

static inline void rig_wake(void *arg) { sem_post(arg); }

static inline void rig_on_commit(void *arg, uint64_t end)
{
    struct rig *r = arg;
    assert_true(end > r->committed);
    assert_int_equal(r->failures, 0);
    r->committed = end;
    r->commits++;
}

static inline void rig_on_failure(void *arg, enum err err)
{
    struct rig *r = arg;
    r->failures++;
    r->failure = err;
}

static inline void rig_start(struct rig *r)
{
    *r = (struct rig){.dir = "/tmp/parley-log-XXXXXX"};
    assert_non_null(mkdtemp(r->dir));
    faultfs_create(fs_posix(), &r->faults);
    r->env = (struct env){env_posix()->ops, faultfs_fs(r->faults)};
    sem_init(&r->woken, 0, 0);
    mailbox_create(rig_wake, &r->woken, &r->home);
}

static inline enum err rig_try_pool(struct rig *r, uint64_t segment_bytes, unsigned ahead)
{
    return segpool_open(&(struct segpool_conf){&r->env, r->dir, segment_bytes, ahead, false}, &r->pool);
}

static inline struct stream_conf rig_conf(struct rig *r, uint64_t log_id)
{
    return (struct stream_conf){
        .env = &r->env,
        .dir = r->dir,
        .log_id = log_id,
        .pool = r->pool,
        .home = r->home,
        .max_in_flight = 16 << 20,
        .on_commit = rig_on_commit,
        .on_failure = rig_on_failure,
        .arg = r,
    };
}

static inline void rig_open(struct rig *r, uint64_t log_id, uint64_t segment_bytes)
{
    if (!r->pool)
        assert_ok(rig_try_pool(r, segment_bytes, 2));
    struct stream_conf c = rig_conf(r, log_id);
    assert_ok(stream_open(&c, &r->stream));
    r->committed = 0;
}

static inline void rig_close(struct rig *r)
{
    stream_close(r->stream);
    r->stream = NULL;
    mailbox_drain(r->home);
}

static inline void rig_end(struct rig *r)
{
    char cmd[128];
    if (r->stream)
        rig_close(r);
    segpool_close(r->pool);
    mailbox_destroy(r->home);
    sem_destroy(&r->woken);
    faultfs_destroy(r->faults);
    snprintf(cmd, sizeof cmd, "rm -rf %s", r->dir);
    assert_int_equal(system(cmd), 0);
}

/* Runs what comes home until all before `pos` is durable or the log failed. */
static inline void rig_wait(struct rig *r, uint64_t pos)
{
    while (r->committed < pos && !r->failures) {
        sem_wait(&r->woken);
        mailbox_drain(r->home);
    }
}

/* Records. */
static inline size_t rig_len(unsigned i) { return i * 37 % 300; }
static inline uint8_t rig_topics(unsigned i) { return i % 10 == 0 ? 2 : i % 3 == 0 ? 1 : 0; }
static inline uint8_t rig_byte(unsigned i, size_t at) { return (uint8_t)(1 + (i * 7 + at) % 255); }

static inline struct str rig_body(unsigned i)
{
    static _Thread_local uint8_t body[300];
    for (size_t at = 0; at < rig_len(i); at++)
        body[at] = rig_byte(i, at);
    return str_of(body, rig_len(i));
}

static inline enum err rig_append(struct rig *r, unsigned i, uint64_t *pos)
{
    return stream_append(r->stream, (uint8_t)(i % 7), (uint16_t)i, rig_topics(i), rig_body(i), pos);
}

/* Appends records from `from` to before `to`, flushing after every `batch`. The stream must take whatever it gets:
 * where filling is behind, this waits for it. */
static inline void rig_fill(struct rig *r, unsigned from, unsigned to, unsigned batch)
{
    uint64_t pos;
    for (unsigned i = from; i < to; i++) {
        enum err err;
        while ((err = rig_append(r, i, &pos)) == ERR_LIMIT) {
            stream_flush(r->stream);
            rig_wait(r, stream_end(r->stream));
        }
        assert_ok(err);
        if ((i - from + 1) % batch == 0)
            stream_flush(r->stream);
    }
    stream_flush(r->stream);
}

static inline void assert_is_record(const struct log_record *rec, unsigned i)
{
    assert_int_equal(rec->kind, i % 7);
    assert_int_equal(rec->shard, (uint16_t)i);
    assert_int_equal(rec->topics, rig_topics(i));
    assert_int_equal(rec->next, rec->pos + RECORD_HEADER + rig_len(i));
    assert_true(str_eq(rec->body, rig_body(i)));
}

/* Expects the records from `i` on, of `topics` only if not 0. */
struct expecting {
    unsigned i, seen;
    uint8_t topics;
    uint64_t next;
};

static inline enum err rig_expect(void *arg, const struct log_record *rec)
{
    struct expecting *e = arg;
    while (e->topics && !(rig_topics(e->i) & e->topics))
        e->i++;
    assert_is_record(rec, e->i);
    e->i++;
    e->seen++;
    e->next = rec->next;
    return ERR_OK;
}

/* Replays a whole log; returns how many records it holds: 0, 1, …, each as it was appended. */
static inline unsigned rig_count(struct rig *r, uint64_t log_id)
{
    struct expecting e = {0};
    assert_ok(seglog_replay(&r->env, r->dir, log_id, 0, 0, rig_expect, &e));
    return e.seen;
}

static inline uint64_t rig_pos(unsigned i) /* where record i stands */
{
    uint64_t pos = 0;
    for (unsigned k = 0; k < i; k++)
        pos += RECORD_HEADER + rig_len(k);
    return pos;
}
