/* The files of a log.
 *
 *     DIR/ready/ID.seg              zero-filled, ready to be taken
 *     DIR/ready/ID.old              the same, with what a log left in it
 *     DIR/LOG/NUMBER.seg            a segment of a log; numbers grow by one; the first were trimmed, perhaps
 *
 *     0        64                                  128 + n, on the next multiple of 64
 *     +--------+--------------------------+--------+-------------------------+--------+-- … --+
 *     | header | batch: header, n bytes   | 0 … 0  | batch                   | 0 … 0  | any   |
 *     +--------+--------------------------+--------+-------------------------+--------+-- … --+
 *
 *     header    sum:8 "PRLYLOG1":8 version:4 0:4 log:8 generation:8 number:8 start:8 0:8
 *     batch     sum:8 magic:4 bytes:4 topics:1 0:7 log:8 generation:8 offset:8 position:8 durable:8, then its records
 *     record    sum:8 length:4 kind:1 topics:1 shard:2, then `length` bytes
 *
 * Little endian. A sum is XXH3 over the rest of its header, or of its record; a record's is seeded with log id and
 * position. A position counts bytes of records (with their headers) from the log's beginning: neither headers of
 * batches nor the ends of segments are in it, so where one record ends the next one is. `start` is the position of a
 * segment's first record, `position` of a batch's; `durable` is how far the log was durable when the batch was written;
 * `topics` is the OR of those of its records. The generation is random, drawn when the segment is taken.
 *
 * What always holds
 *  1. Log ids are never reused, and within a log neither is a position. So what a file held before it was recycled is
 *     never valid in it: of another log it has the wrong id, of the same log other positions, and in either case
 *     another generation. So a busy log writes over what is there; what was deleted is gone when it is scrubbed
 *     (segpool.c).
 *  2. A segment is in the log's folder only with its header synced, and only after all before it is synced. So any
 *     segment but the last is whole, and a gap between them is damage.
 *  3. A record is told to be durable only after a sync that began when its batch was written. So what may be torn lies
 *     in the last segment, at or behind the highest durable position that is known: from a batch's own note, from the
 *     segment's start, or from a view (`durable_floor`).
 *  4. A log that ended is sealed: its last batch has no records and notes the end as durable. A clean end seals; so
 * does recovery. What was once read out of a log is never taken for a torn tail again.
 *  5. Behind a segment's last batch, and behind the header of one without a batch, stands a place (64 bytes) of zeros,
 *     if there is room for one, written and synced with it. So the end is seen; behind it may stand anything that is of
 *     no batch of this segment.
 *
 * What each fault does
 *  - Power cut, kill: the last write may be there in part, in any order of its pages. The first record that is not
 * whole ends the log; those behind it are cut, though they may be whole: none of them was ever told to be durable. The
 *    bytes of a page that did not arrive are those that the file had: zeros or stale ones, whole in neither case.
 *  - Damage before that position, a header that is wrong, a segment missing between others: CORRUPT, with file and
 *    offset. Damage of the very last batch of a log that was not sealed looks like a torn tail, unless a view knows
 * more.
 *  - Cut during recovery: the copy is put in place by one rename; before it the old file is there, after it the new
 * one.
 *  - Cut during trimming: segments leave oldest first, each for good before the next one and before it is zeroed or
 *    written over.
 *
 * Left to others: which log ids there are and which may go (the caller, by the positions its views have), filling and
 * zeroing (segpool.c), writing (stream_writer.c), recovering (seglog_recover.c). */
#include "base/log.h"
#include "queue/segread.h"
#include <inttypes.h>

enum err seglog_list(struct env *env, const char *dir, uint64_t **ids, size_t *n)
{
    enum err err = segment_list(env->fs, dir, "", ids, n);

    if (err != ERR_NOT_FOUND)
        return err;
    *ids = NULL; /* nothing was ever logged here */
    *n = 0;
    return ERR_OK;
}

/* Reads one segment through; *pos as in segread_records. */
static enum err replay_segment(struct segread *r, uint8_t topics, log_record_fn *fn, void *arg, uint64_t *pos)
{
    struct batch b;
    enum err err;

    while ((err = segread_batch(r, r->size, &b)) == ERR_OK) {
        if (b.pos + b.bytes <= *pos || (topics && !(b.topics & topics)))
            segread_skip(r, &b);
        else
            TRY(segread_records(r, &b, topics, fn, arg, pos));
    }
    TRY(err == ERR_NOT_FOUND ? ERR_OK : err); /* its end */
out:
    return err;
}

/* fn's errors are the caller's to tell; those of the files are told here. */
struct replay {
    log_record_fn *fn;
    void *arg;
    enum err err;
};

static enum err hand_on(void *arg, const struct log_record *rec)
{
    struct replay *r = arg;
    r->err = r->fn(r->arg, rec);
    return r->err;
}

static enum err replay_all(struct env *env, const char *dir, uint64_t log_id, const uint64_t *numbers, size_t n,
                           uint64_t from, uint8_t topics, struct replay *r)
{
    struct segread at = {0};
    uint64_t expected = 0; /* start of the next segment */
    enum err err = ERR_OK;

    for (size_t i = 0; i < n; i++) {
        TRY(segread_open(env, dir, log_id, numbers[i], &at));
        TRY(i == 0 || at.pos == expected ? ERR_OK : ERR_CORRUPT);
        TRY(replay_segment(&at, topics, hand_on, r, &from));
        expected = at.pos;
        segread_close(&at);
    }
out:
    if (err != ERR_OK && r->err == ERR_OK)
        log_error("log_unreadable", "file=%s offset=%" PRIu64 " err=%s", at.path, at.off, err_name(err));
    segread_close(&at);
    return err;
}

/* The last segment that starts at or before `from`; the first when none does. */
static enum err find_first(struct env *env, const char *dir, uint64_t log_id, const uint64_t *numbers, size_t n,
                           uint64_t from, size_t *first)
{
    struct segread at = {0};
    enum err err = ERR_OK;
    size_t i = n ? n - 1 : 0;

    for (; i > 0; i--) {
        TRY(segread_open(env, dir, log_id, numbers[i], &at));
        bool is_it = at.head.start <= from;
        segread_close(&at);
        if (is_it)
            break;
    }
    *first = i;
out:
    segread_close(&at);
    return err;
}

enum err seglog_replay(struct env *env, const char *dir, uint64_t log_id, uint64_t from, uint8_t topics,
                       log_record_fn *fn, void *arg)
{
    char *log_dir = segment_log_dir(dir, log_id);
    struct replay r = {fn, arg, ERR_OK};
    uint64_t *numbers = NULL;
    size_t n, first;
    enum err err;

    TRY(segment_list(env->fs, log_dir, ".seg", &numbers, &n));
    TRY(find_first(env, dir, log_id, numbers, n, from, &first));
    TRY(replay_all(env, dir, log_id, numbers + first, n - first, from, topics, &r));
out:
    mem_free(numbers);
    mem_free(log_dir);
    return err;
}

/* What recovery left when it was cut short: a copy whose segment is not there any more. */
static enum err remove_copies(struct env *env, const char *log_dir)
{
    uint64_t *numbers = NULL;
    struct buf path = {0};
    size_t n;
    enum err err;

    TRY(segment_list(env->fs, log_dir, ".seg.tmp", &numbers, &n));
    for (size_t i = 0; i < n; i++) {
        buf_clear(&path);
        buf_printf(&path, "%s/%016" PRIx64 ".seg.tmp%c", log_dir, numbers[i], 0);
        TRY(fs_remove(env->fs, path.p));
    }
out:
    buf_deinit(&path);
    mem_free(numbers);
    return err;
}

static enum err remove_all(struct env *env, const char *dir, uint64_t log_id, const uint64_t *numbers, size_t n,
                           const char *log_dir)
{
    char *path = NULL;
    enum err err = ERR_OK;

    for (size_t i = 0; i < n; i++) {
        mem_free(path);
        path = segment_path(dir, log_id, numbers[i]);
        TRY(fs_remove(env->fs, path));
        TRY(fs_sync_dir(env->fs, log_dir)); /* what is left has no gap, whenever the power goes */
    }
    TRY(remove_copies(env, log_dir));
    TRY(fs_remove(env->fs, log_dir));
    TRY(fs_sync_dir(env->fs, dir));
out:
    mem_free(path);
    return err;
}

enum err seglog_remove(struct env *env, const char *dir, uint64_t log_id)
{
    char *log_dir = segment_log_dir(dir, log_id);
    uint64_t *numbers = NULL;
    size_t n;
    enum err err;

    TRY(segment_list(env->fs, log_dir, ".seg", &numbers, &n));
    TRY(remove_all(env, dir, log_id, numbers, n, log_dir));
out:
    mem_free(numbers);
    mem_free(log_dir);
    return err;
}
