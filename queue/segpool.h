/* segpool: zero-filled segments, ready to be written, and what becomes of those that are not needed any more.
 *
 * A thread of its own fills and zeroes, so nobody waits for it. DIR/ready/ID.seg is ready; ID.tmp is being filled, and
 * is removed at the next start.
 * Thread: any, except open and close (see seglog.h). */
#pragma once
#include "queue/segment.h"

/* Takes a ready segment out: from now on the caller's, in its place (segpool_path) until it renames it. FULL: none is
 * ready and the disk has no space; AGAIN: none is ready yet. */
MUST_CHECK enum err segpool_take(struct segpool *p, uint64_t *id);
char *segpool_path(const struct segpool *p, uint64_t id); /* mem_free it */
uint64_t segpool_segment_bytes(const struct segpool *p);

/* Takes a segment out of its log's folder, for good once both folders are synced, and only then zeroes it and makes it
 * ready; or removes it when there are enough. In the order of the calls: so what is left of a log has no gap. */
void segpool_recycle(struct segpool *p, uint64_t log_id, uint64_t number);
/* Of a stepped pool: takes in one segment that was given back, or fills one that is missing; false when there is
 * nothing to do or no space to do it. Opening fills all, closing takes all in. */
bool segpool_step(struct segpool *p);
