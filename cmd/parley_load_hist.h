/* hist: a latency histogram in HdrHistogram's scheme: log-linear, three significant digits.
 *
 * Values are whole microseconds, from 0 to about 73 minutes. Up to 2047 each value has a counter of its own; above,
 * each doubling is cut into 1024 equal steps, so a reported value is at most 0.1 % above the true one. Histograms of
 * equal shape (all of ours) merge by addition. Larger values count as the largest; `max` stays exact. Memory: 188 KiB
 * each. Thread: one. */
#pragma once
#include "base/mem.h"

enum {
    HIST_LINEAR = 2048,
    HIST_STEPS = 1024,
    HIST_DOUBLINGS = 21,
    HIST_CELLS = HIST_LINEAR + HIST_DOUBLINGS * HIST_STEPS
};

struct hist {
    uint64_t count, sum, max;
    uint64_t cells[HIST_CELLS];
};

void hist_add(struct hist *h, uint64_t value);
void hist_merge(struct hist *into, const struct hist *from);
/* The smallest reportable value that `percent` (0 to 100) of all values do not exceed; 0 when empty, never above max.
 */
uint64_t hist_at(const struct hist *h, double percent);
double hist_mean(const struct hist *h);
