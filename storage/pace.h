/* pace: when the next step of a merge is due, so that merges leave the disk and the processors to others.
 *
 * The rule. All merges of a store share a bandwidth, and a step waits until those before it are paid for. But a merge
 * that lags behind the writer does not wait: what it has written must be at least twice what flushes have written since
 * it began. So a merge of S bytes is done before S / 2 new ones have been flushed, whatever the bandwidth says: while a
 * tier is merged less than half a tier comes anew, and the debt stays bounded as long as the machine can do the work
 * at all. A writer that rests leaves a merge to the bandwidth alone.
 *
 * Idle time is not saved up. Thread: the store's owner. Time is the caller's, so tests need no clock. */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum { PACE_RATE_MIN = 1 << 20 };

struct pace {
    uint64_t rate; /* bytes a second; 0: no bound */
    uint64_t paid_until_us;
};
void pace_init(struct pace *p, uint64_t rate); /* a rate below the least is taken as the least */
/* How many bytes a step should have: so few that it takes a sixteenth of a second of the bandwidth, so that a store is
 * closed, and a merge that begins to lag is let go, soon. */
size_t pace_step(const struct pace *p);
/* When a step of so many bytes may run; 0: at once. Counts it. `merged`: what this merge has written; `flushed`: what
 * flushes have since it began. */
uint64_t pace_due(struct pace *p, uint64_t now_us, size_t step, uint64_t merged, uint64_t flushed);
