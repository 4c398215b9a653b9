/* hist: a latency histogram in HdrHistogram's scheme: log-linear, three significant digits.
 *
 * Values are whole microseconds, from 0 to about 73 minutes. Up to 2047 each value has a counter of its own; above,
 * each doubling is cut into 1024 equal steps, so a reported value is at most 0.1 % above the true one. Histograms of
 * equal shape (all of ours) merge by addition. Larger values count as the largest; `max` stays exact. Memory: 188 KiB
 * each. Thread: one.
 *
 *   value         unit   cells                     so a cell of v is
 *   0..2047       1      0..2047                   v
 *   2048..4095    2      2048..3071                2048 + (v >> 1) - 1024
 *   4096..8191    4      3072..4095                3072 + (v >> 2) - 1024, …
 *
 * HdrHistogram with lowestDiscernibleValue 1 and three significant digits has the same cells: its sub-bucket count is
 * the power of two at or above 2 * 10^3, its half count 1024. Percentiles are by nearest rank: the value of the
 * ceil(percent / 100 * count)-th smallest, as the largest value of its cell. */
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
