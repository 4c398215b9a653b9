/* metrics: counters and gauges in Prometheus' text format.
 *
 * The names are declared once, in a table that the program passes in (proto/metrics.def). Each thread counts in a set
 * of its own, so counting is an add to a line that no other core writes; reading sums the sets. Thread: a set is
 * written by one thread (relaxed atomics), read by any. */
#pragma once
#include "base/buf.h"
#include <stdatomic.h>

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_GAUGE_MAX /* of all threads the largest, not the sum */ };
struct metric_desc {
    const char *name, *help;
    enum metric_kind kind;
};
struct metric_set {
    struct metric_set *next;
    size_t n;
    _Atomic int64_t v[];
};
struct metrics;

void metrics_create(const struct metric_desc *descs, size_t n, struct metrics **out);
void metrics_destroy(struct metrics *m);
struct metric_set *metrics_set(struct metrics *m); /* a new set, owned by m; any thread */
void metrics_print(struct metrics *m, struct buf *out);
static inline void metric_add(struct metric_set *s, unsigned id, int64_t n)
{
    atomic_store_explicit(&s->v[id], atomic_load_explicit(&s->v[id], memory_order_relaxed) + n, memory_order_relaxed);
}
static inline void metric_put(struct metric_set *s, unsigned id, int64_t v) /* for gauges */
{
    atomic_store_explicit(&s->v[id], v, memory_order_relaxed);
}
