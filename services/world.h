/* world: what the services of one process share. Made by cmd before the threads run; constant afterwards, but for the
 * atomics.
 *
 * Ports of the bus: 0..reactors-1 are the reactors (gateway, and the shards they own), then the directory (the one
 * writer of accounts and of SQLite), then the lookup (a reader of SQLite). */
#pragma once
#include "queue/bus.h"
#include "queue/stream.h"
#include "storage/placement.h"
#include <stdatomic.h>

enum { TABLES_LAG_MAX = 20000 /* rows */, USER_GROUPS_MAX = 20000, ERASE_WITHIN_MS = 24 * 3600 * 1000 };
enum { MAX_LAG_BYTES = 1 << 30 };
enum { TOPIC_TABLES = 1 }; /* records that SQLite's tables are made from */

struct directory;
struct account_gate;

struct world_limits {
    uint64_t group_members;  /* 1,024 by default */
    uint64_t convs_bytes;    /* of conversations in memory, over all reactors; 0: 64 MiB */
    uint64_t heads_bytes;    /* of what stays behind of those that had to go; 0: 8 MiB */
    uint64_t user_groups;    /* that one user may be, or have been, in; 0: 20,000 */
    int64_t erase_within_ms; /* until what was erased has left the files; 0: a day */
    uint64_t max_lag; /* bytes of a log that the tables, or what is owed, may lack before it is detached; 0: 1 GiB */
    uint64_t retention_ms; /* how old an entry may get where its conversation says nothing; 0: any age */
    uint64_t tables_lag;   /* rows that the tables may be behind before groups are made no larger; 0: 20,000 */
};
struct world {
    struct env *env;
    struct data_dir *data;
    struct bus *bus;
    struct metrics *metrics;
    unsigned reactors;
    _Atomic uint16_t owner_of[SHARD_COUNT]; /* shard → reactor; changed by mover.c alone */
    struct world_limits limits;
    struct stream *streams[BUS_PORTS_MAX]; /* by port: each reactor's log, and the directory's */
    struct directory *directory;           /* set by directory_create */
    struct account_gate *gate;             /* passwords, of all reactors */
    _Atomic uint64_t revocations; /* counted up between a token's death and its announcement: see proto/auth.h */
    _Atomic uint64_t tables_lag;  /* rows in the reactors' logs that the tables don't have yet, about */
    _Atomic uint64_t erasings;    /* how many ERASE and FORGET records were committed since the start */
    _Atomic bool draining;
};
/* The tables have so much to catch up with that nobody should give them much more. */
static inline bool world_tables_lag(const struct world *w)
{
    return w->directory && atomic_load_explicit(&w->tables_lag, memory_order_relaxed) >
                               (w->limits.tables_lag ? w->limits.tables_lag : TABLES_LAG_MAX);
}
/* They caught up by so many, or by all that there was: then what a reactor counts a moment later goes below nothing. */
static inline void world_tables_caught_up(struct world *w, uint64_t rows)
{
    uint64_t lag = atomic_load_explicit(&w->tables_lag, memory_order_relaxed), left;

    do {
        left = lag > rows ? lag - rows : 0;
    } while (
        !atomic_compare_exchange_weak_explicit(&w->tables_lag, &lag, left, memory_order_relaxed, memory_order_relaxed));
}
static inline uint64_t world_max_lag(const struct world *w)
{
    return w->limits.max_lag ? w->limits.max_lag : MAX_LAG_BYTES;
}
static inline int64_t world_erase_within(const struct world *w)
{
    return w->limits.erase_within_ms ? w->limits.erase_within_ms : ERASE_WITHIN_MS;
}
static inline unsigned world_directory(const struct world *w) { return w->reactors; }
static inline unsigned world_lookup(const struct world *w) { return w->reactors + 1; }
static inline unsigned world_ports(const struct world *w) { return w->reactors + 2; }
