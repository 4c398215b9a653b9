/* seglog_copy: which bytes of a log's files a copy of it needs, so that the copy is a log that ended.
 *
 * Thread: any; of a live log only what is committed is looked at. */
#pragma once
#include "queue/seglog.h"

struct seglog_copy {
    struct env *env;
    const char *dir;
    uint64_t log_id;
    uint64_t from; /* what stands before is not needed; of a live log at least where it was trimmed */
    uint64_t end;  /* committed; SEGLOG_COPY_STILL: nobody writes it, and it is taken as it is, a torn tail included */
    /* The copy of segment `number` is the first `bytes` bytes of the file at `path`, and `tail` behind them. */
    enum err (*segment)(void *arg, uint64_t number, const char *path, uint64_t bytes, struct str tail);
    void *arg;
};
#define SEGLOG_COPY_STILL UINT64_MAX
/* Calls fn for each record of [from, end) of a live log, or of one that ended whole. As above `from` is not before what
 * was trimmed, and `end` was once the committed end. */
MUST_CHECK enum err seglog_read(struct env *env, const char *dir, uint64_t log_id, uint64_t from, uint64_t end,
                                log_record_fn *fn, void *arg);
/* In order. CORRUPT: a record is damaged; it was logged, with file and offset. The copy is sealed at `end`. */
MUST_CHECK enum err seglog_copy(const struct seglog_copy *c);
