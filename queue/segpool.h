/* segpool: segments ready to be written, and what becomes of those that are not needed any more.
 *
 * A thread of its own fills and zeroes, so nobody waits for it. In DIR/ready: ID.seg is zero-filled; ID.old still has
 * what a log left in it; ID.tmp is being made. Those two are removed at the next start.
 * Thread: any, except open and close (see seglog.h). */
#pragma once
#include "queue/segment.h"

struct segpool_segment {
    uint64_t id;
    bool is_old; /* holds the bytes of a log that gave it back */
};
/* Takes a ready segment out, for this log: from now on the caller's, in its place (segpool_path) until it renames it.
 * FULL: none is ready and the disk has no space; AGAIN: none is ready yet. */
MUST_CHECK enum err segpool_take(struct segpool *p, uint64_t log_id, struct segpool_segment *out);
char *segpool_path(const struct segpool *p, const struct segpool_segment *s); /* mem_free it */
uint64_t segpool_segment_bytes(const struct segpool *p);

/* Takes a segment, which was taken as `was`, out of its log's folder, for good once both folders are synced, and only
 * then makes it ready, as it is; or removes it when there are enough. In the order of the calls: so what is left of a
 * log has no gap. */
void segpool_recycle(struct segpool *p, uint64_t log_id, uint64_t number, const struct segpool_segment *was);
/* Of a stepped pool: takes in one segment that was given back, or zeroes one, or fills one that is missing; false when
 * there is nothing to do or no space to do it. Opening fills all, closing takes all in. */
bool segpool_step(struct segpool *p);

/* Scrubbing: all that was given back before this call leaves the files, as bytes that nobody reads any more too. Until
 * that is done only zero-filled segments are handed out. *ticket is to ask by. */
uint64_t segpool_scrub(struct segpool *p);
bool segpool_is_scrubbed(struct segpool *p, uint64_t ticket);
/* Whether a segment of this log has, behind what the log wrote, bytes that are to be scrubbed: then the log must give
 * it back (stream_roll, and trimming). */
bool segpool_is_stale(struct segpool *p, uint64_t log_id);
