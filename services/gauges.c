#include "services/gauges.h"
#include "proto/metrics.h"

struct gauges {
    struct reactor *r;
    struct timer timer;
};

static void put(struct reactor *r, enum metric_id id, uint64_t v) { metric_put(reactor_metrics(r), id, (int64_t)v); }

static void show_log(struct reactor *r)
{
    struct stream_counts c = stream_counts(reactor_stream(r));

    put(r, METRIC_LOG_SYNCS, c.syncs);
    put(r, METRIC_LOG_BYTES, c.bytes);
    put(r, METRIC_LOG_RECORDS, c.records);
}

static void show_stores(struct reactor *r)
{
    struct lsm *const *stores;
    struct lsm_stats sum = {0}, s;
    size_t n = reactor_stores(r, &stores);

    for (size_t i = 0; i < n; i++) {
        if (!stores[i])
            continue;
        lsm_stats(stores[i], &s);
        sum.tables += s.tables;
        sum.table_bytes += s.table_bytes;
        sum.index_bytes += s.index_bytes + s.filter_bytes;
        sum.memtable_bytes += s.memtable_bytes;
        sum.flushes += s.flushes;
        sum.compactions += s.compactions;
        sum.compacted_bytes += s.compacted_bytes;
        sum.flushed_bytes += s.flushed_bytes;
        sum.frozen += s.frozen;
        sum.merges += s.merges;
        sum.merge_debt += s.merge_debt;
        sum.stalled_us += s.stalled_us;
        sum.files += s.files;
        sum.cache_hits = s.cache_hits;
        sum.cache_misses = s.cache_misses;
    }
    put(r, METRIC_STORE_TABLES, sum.tables);
    put(r, METRIC_STORE_BYTES, sum.table_bytes);
    put(r, METRIC_STORE_INDEX, sum.index_bytes);
    put(r, METRIC_STORE_MEMTABLES, sum.memtable_bytes);
    put(r, METRIC_STORE_FLUSHES, sum.flushes);
    put(r, METRIC_STORE_COMPACTIONS, sum.compactions);
    put(r, METRIC_STORE_COMPACTED_BYTES, sum.compacted_bytes);
    put(r, METRIC_STORE_FLUSHED_BYTES, sum.flushed_bytes);
    put(r, METRIC_STORE_FLUSHES_WAITING, sum.frozen);
    put(r, METRIC_STORE_MERGES, sum.merges);
    put(r, METRIC_STORE_DEBT, sum.merge_debt);
    put(r, METRIC_STORE_STALLED_MS, sum.stalled_us / 1000);
    put(r, METRIC_STORE_FILES, sum.files);
    if (port_index(reactor_port(r)) != 0)
        return; /* the cache is one for all reactors */
    put(r, METRIC_CACHE_HITS, sum.cache_hits);
    put(r, METRIC_CACHE_MISSES, sum.cache_misses);
}

static void show(struct timer *t)
{
    struct gauges *g = container_of(t, struct gauges, timer);

    show_log(g->r);
    show_stores(g->r);
    timer_set(reactor_loop(g->r), t, GAUGES_EVERY_MS);
}

void gauges_create(struct reactor *r, struct gauges **out)
{
    struct gauges *g = mem_new(struct gauges);

    g->r = r;
    g->timer.fn = show;
    timer_set(reactor_loop(r), &g->timer, GAUGES_EVERY_MS);
    *out = g;
}

void gauges_destroy(struct gauges *g)
{
    if (!g)
        return;
    timer_stop(&g->timer);
    mem_free(g);
}
