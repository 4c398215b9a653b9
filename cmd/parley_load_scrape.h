/* scrape: what the server has used, as its own /metrics tells (process_cpu_seconds_total and
 * process_resident_memory_bytes), over a connection and a thread of its own, so that the traffic does not wait for it.
 *
 * A server answers /metrics to its own machine only, and others than Parley may have none: then nothing is known, and
 * the report has no line about the server. Bounded: SCRAPE_MAX_BYTES, SCRAPE_MS.
 * Thread: begin and end on one; between them the struct belongs to the scraping thread. */
#pragma once
#include "cmd/parley_load_options.h"
#include "cmd/parley_load_proc.h"
#include <pthread.h>

enum { SCRAPE_MAX_BYTES = 1 << 20, SCRAPE_MS = 5000 };
struct scrape {
    pthread_t thread;
    bool is_running;
    const struct target *target; /* must live until scrape_end */
    struct proc_use use;
};

void scrape_begin(struct scrape *s, const struct target *target);
struct proc_use scrape_end(struct scrape *s); /* waits; zeros when nothing is known, or it was never begun */
/* From a whole HTTP answer. False: not status 200, or without the two metrics. */
bool scrape_read(struct str answer, struct proc_use *out);
