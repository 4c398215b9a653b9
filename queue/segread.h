/* segread: reads one segment of a log, batch after batch.
 *
 * Thread: one. Memory: the caller's struct, zeroed or deinitialised before opening; what records borrow lasts for the
 * call of the record function. */
#pragma once
#include "base/buf.h"
#include "queue/segment.h"

struct segread {
    struct file *file;
    char *path;
    struct segment_header head;
    uint64_t size;
    uint64_t off, pos; /* of the next batch */
    struct buf bytes;  /* of the file, from bytes_off on */
    uint64_t bytes_off;
};

/* CORRUPT also when the file says to be another log's or number. */
MUST_CHECK enum err segread_open(struct env *env, const char *dir, uint64_t log_id, uint64_t number, struct segread *r);
void segread_close(struct segread *r);  /* leaves it zeroed */
void segread_forget(struct segread *r); /* what was read ahead of a writer: the file may have grown since */

/* Reads the header of the next batch. NOT_FOUND: the segment ends here. At most about `ahead` bytes behind it are read
 * too: not further than what was written, lest the page cache be filled with what is yet to come. */
MUST_CHECK enum err segread_batch(struct segread *r, uint64_t ahead, struct batch *b);
void segread_skip(struct segread *r, const struct batch *b);
/* Calls fn for those of the batch's records that stand at or behind *pos and have one of `topics` (0: all). *pos moves
 * behind each record done, so a call that fn broke off can be repeated. Then the batch is skipped. */
MUST_CHECK enum err segread_records(struct segread *r, const struct batch *b, uint8_t topics, log_record_fn *fn,
                                    void *arg, uint64_t *pos);
