/* worn: a segment of a pool that a log goes on in, with old bytes behind what it writes: the test plays the log's part.
 * Until it gives that back the log is stale by every scrub (segpool.h). */
#pragma once
#include "base/mem.h"
#include "queue/segment.h"
#include "queue/segpool.h"
#include "tests/lib/unit.h"
#include <sched.h>

struct worn {
    struct segpool *pool;
    const char *log_dir;
    uint64_t log_id, number; /* a number that the log itself does not come to */
    struct segpool_segment segment;
};

static inline void worn_place(struct worn *w)
{
    char *dir = segment_log_dir(w->log_dir, w->log_id), *to = segment_path(w->log_dir, w->log_id, ++w->number);
    char *from = segpool_path(w->pool, &w->segment);

    assert_ok(fs_mkdirs(fs_posix(), dir));
    assert_ok(fs_rename(fs_posix(), from, to));
    mem_free(from);
    mem_free(to);
    mem_free(dir);
}
static inline void worn_give_back(const struct worn *w) { segpool_recycle(w->pool, w->log_id, w->number, &w->segment); }
/* Takes and gives back until that comes round: then nothing in the pool is to be scrubbed. */
static inline void worn_take(struct worn *w, struct segpool *pool, const char *log_dir, uint64_t log_id)
{
    enum err err;

    *w = (struct worn){.pool = pool, .log_dir = log_dir, .log_id = log_id, .number = (uint64_t)1 << 40};
    for (;;) {
        while ((err = segpool_take(pool, log_id, &w->segment)) == ERR_AGAIN)
            sched_yield();
        assert_ok(err);
        worn_place(w);
        if (w->segment.is_old)
            return;
        worn_give_back(w);
    }
}
