/* simlog: a log on a simulated disk, without threads: the writer and the pool of segments move when the test steps
 * them.
 *
 * Record i of a log has a body, kind, shard and topics that follow from the log's id and i. */
#pragma once
#include "queue/segpool.h"
#include "queue/stream.h"
#include "tests/lib/sim.h"
#include "tests/lib/simdisk.h"
#include "tests/lib/simenv.h"

#define DATA_DIR "/data"
#define LOG_DIR DATA_DIR "/log"

struct simlog {
    struct simdisk *disk;
    struct simenv env;
    struct simrand dice; /* the test's */
    struct mailbox *home;
    struct segpool *pool;
    struct stream *stream;
    uint64_t segment_bytes, committed; /* committed: as it was told */
    bool has_failed;
    void (*told)(struct simlog *l, uint64_t end); /* may be NULL */
};

static inline void simlog_no_wake(void *arg) { (void)arg; }

static inline void simlog_on_commit(void *arg, uint64_t end)
{
    struct simlog *l = arg;
    assert_true(end > l->committed);
    assert_false(l->has_failed);
    l->committed = end;
    if (l->told)
        l->told(l, end);
}

static inline void simlog_on_failure(void *arg, enum err err)
{
    struct simlog *l = arg;
    assert_int_not_equal(err, ERR_OK);
    assert_false(l->has_failed);
    l->has_failed = true;
}

static inline void simlog_start(struct simlog *l, uint64_t seed)
{
    *l = (struct simlog){.dice = {seed}};
    simdisk_create(seed ^ 0xd15c, &l->disk);
    simenv_init(&l->env, seed ^ 0xe4f, simdisk_fs(l->disk));
    mailbox_create(simlog_no_wake, NULL, &l->home);
    l->segment_bytes = 4096 + 64 * simrand_below(&l->dice, 128);
}

static inline bool dice_percent(struct simlog *l, unsigned percent) { return simrand_percent(&l->dice, percent); }
static inline uint64_t dice_below(struct simlog *l, uint64_t n) { return simrand_below(&l->dice, n); }

/* A new log. What fails leaves nothing open. */
static inline enum err simlog_open(struct simlog *l, uint64_t log_id, size_t max_in_flight)
{
    struct segpool_conf p = {&l->env.env, LOG_DIR, l->segment_bytes, 2, true};
    enum err err;

    l->committed = 0;
    l->has_failed = false;
    TRY(segpool_open(&p, &l->pool));
    TRY(stream_open(&(struct stream_conf){.env = &l->env.env,
                                          .dir = LOG_DIR,
                                          .log_id = log_id,
                                          .pool = l->pool,
                                          .home = l->home,
                                          .max_in_flight = max_in_flight,
                                          .on_commit = simlog_on_commit,
                                          .on_failure = simlog_on_failure,
                                          .arg = l,
                                          .is_stepped = true},
                    &l->stream));
out:
    if (err != ERR_OK) {
        segpool_close(l->pool);
        l->pool = NULL;
    }
    return err;
}

static inline void simlog_close(struct simlog *l)
{
    stream_close(l->stream);
    mailbox_drain(l->home);
    segpool_close(l->pool);
    l->stream = NULL;
    l->pool = NULL;
}

static inline void simlog_end(struct simlog *l)
{
    simlog_close(l);
    mailbox_destroy(l->home);
    simdisk_destroy(l->disk);
}

/* Records. */
struct simrecord {
    uint8_t kind, topics, body[4096];
    uint16_t shard;
    size_t len;
};

static inline void simrecord_make(struct simrecord *r, uint64_t log_id, uint64_t i)
{
    struct simrand dice = {log_id << 32 | i};
    uint64_t how = simrand_below(&dice, 100), bound = how < 80 ? 200 : how < 97 ? 1500 : 3800;

    r->len = simrand_below(&dice, bound);
    r->kind = (uint8_t)simrand_below(&dice, 128);
    r->topics = (uint8_t)(1u << simrand_below(&dice, 8) & 7);
    r->shard = (uint16_t)simrand_below(&dice, 257);
    for (size_t at = 0; at < r->len; at += 8) {
        uint64_t v = simrand_next(&dice);
        memcpy(r->body + at, &v, 8);
    }
}

static inline void assert_is_simrecord(const struct log_record *got, uint64_t log_id, uint64_t i)
{
    struct simrecord r;

    simrecord_make(&r, log_id, i);
    assert_int_equal(got->log_id, log_id);
    assert_int_equal(got->kind, r.kind);
    assert_int_equal(got->topics, r.topics);
    assert_int_equal(got->shard, r.shard);
    assert_int_equal(got->body.len, r.len);
    assert_int_equal(got->next, got->pos + RECORD_HEADER + r.len);
    assert_true(str_eq(got->body, str_of(r.body, r.len)));
}
