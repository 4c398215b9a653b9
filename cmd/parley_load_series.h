/* series: how throughput and latency went over the measured time, one sample an interval; a live line on a terminal.
 *
 * An interval's percentiles come from what the run's histogram grew by, so the hot path pays nothing for them. Bounded:
 * the interval is such that a run has at most SERIES_MAX samples, and never below SERIES_STEP_US. */
#pragma once
#include "cmd/parley_load_hist.h"

enum { SERIES_MAX = 600, SERIES_STEP_US = 250000 };
struct sample {
    uint64_t at_us;          /* since the measured time began */
    double acked, delivered; /* a second */
    uint64_t p50, p99, p999; /* of delivery */
};
struct series {
    struct sample v[SERIES_MAX];
    size_t n;
    uint64_t from_us, step_us, last_us, acked, delivered;
    struct hist before, grown;
    bool is_live; /* shows a line on stderr */
};

void series_begin(struct series *s, uint64_t now_us, uint64_t duration_us, uint64_t acked, uint64_t delivered);
uint64_t series_next_us(const struct series *s);
/* Takes a sample when its time has come. */
void series_step(struct series *s, uint64_t now_us, uint64_t acked, uint64_t delivered, const struct hist *delivery);
void series_end(const struct series *s); /* leaves the live line */
