/* reactor_state: what the files of the reactor share: reactor.c (its life), runner.c (routing), reactor_wait.c (what it
 * waits for), hold_reactor.c (what it keeps for a backup). Nobody else includes it. */
#pragma once
#include "services/bulk.h"
#include "services/naming.h"
#include "services/reactor.h"

struct reactor {
    struct reactor_conf conf;
    struct world *world;
    struct port *port;
    struct loop *loop;
    struct metric_set *metrics;
    struct stream *stream;
    struct turn_hook flush;
    struct buf scratch;
    struct naming *naming;
    struct shards *shards;
    struct notify *notify;
    struct typing *typing;
    struct receipts *receipts;
    struct surveys *surveys;
    struct bulk *bulk;
    struct trim *trim;
    struct purge *purge;
    struct expiry *expiry;
    struct sweep *sweep;
    struct held *held; /* hold_reactor.c's; NULL: nothing is */
    struct gauges *gauges;
    struct moves *moves;
    struct lsm *stores[STORES_MAX]; /* by store index; NULL: another's, or none */
    unsigned n_stores;
    uint16_t store_of[SHARD_COUNT]; /* of the shards that are this reactor's */
    struct link spare_reads;        /* struct read: kept for the next */
    unsigned n_spare;
    uint64_t broken; /* counted: the ids of `internal` answers */
};

/* The server of the port. */
void runner_serve(void *ctx, struct request *q);
void runner_read(struct reactor *r, struct request *q); /* bulk's: it is this one's turn, here */
void reactor_drop_reads(struct reactor *r);
void reactor_drop_held(struct reactor *r);
