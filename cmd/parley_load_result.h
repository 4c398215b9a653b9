/* result: what a worker's run found, as bytes, and the sum of several.
 *
 * Histograms travel whole (only the cells that are not empty), those of each interval of the series as well, so the
 * percentiles of the sum are those of all values, not means of percentiles. Times are differences: each worker has a
 * clock of its own.
 *
 *   histogram  count sum max cells { gap count }…            all varints; the counts of the cells add up to count
 *   result     numbers, faults, the first fault in words, ack, delivery, reach, acts, rooms, reaches,
 *              series { at rates histogram }…
 *   rooms      count { is whole (u8) digest (u64) }…         of shared groups; whole: each of our members had all
 *   reaches    count { room seq us }…                        the same */
#pragma once
#include "base/enc.h"
#include "cmd/parley_load_run.h"

void hist_encode(const struct hist *h, struct buf *out);
/* Adds what is read to *into; false: damaged, and then *into holds nonsense. */
bool hist_decode(struct dec *d, struct hist *into);

/* A sample of the series with its histogram, for series.kept. */
void sample_encode(const struct sample *s, const struct hist *grown, struct buf *out);

void result_encode(const struct run *r, struct buf *out);
/* Adds up n results in *sum, whose histograms and series are there and empty. INVALID: *which is damaged. */
MUST_CHECK enum err result_merge(struct run *sum, const struct str *results, size_t n, size_t *which);
