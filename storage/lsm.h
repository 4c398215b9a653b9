/* lsm: an ordered key-value store on disk: a log-structured merge tree with no log of its own.
 *
 * Writes go to a memtable; a full one is frozen and flushed to a sorted table in the background; tables are merged, few
 * and large, in the background. After a crash the caller replays its logs from the positions that lsm_durable names.
 *
 * Thread: one owner thread calls everything here (a reactor); flushes and merges run on the worker pool and come home
 * to the owner's mailbox. With a NULL mailbox (tools, recovery, tests) background work is done inside lsm_put when it
 * is due. Reads never block the owner: a block that is not in the cache makes a read answer AGAIN, `need` then loads
 * it.
 *
 * Atomicity: what is put between two calls of lsm_applied is flushed together with the positions given there, or not at
 * all: a memtable is only frozen inside lsm_applied. */
#pragma once
#include "base/env.h"
#include "base/metrics.h"
#include "base/worker.h"
#include "storage/cache.h"
#include "storage/memtable.h"

/* Tables of a store: a flush waits while there are so many and a merge is under way that will make them fewer. */
enum { LSM_TABLES_MAX = 64 };
struct lsm;
struct lsm_conf {
    struct env *env;
    const char *dir;
    struct pool *pool; /* background work; NULL with a NULL home */
    struct mailbox *home;
    struct block_cache *cache; /* shared by the stores of a process; thread-safe */
    size_t memtable_bytes;     /* 0: 16 MiB */
    uint64_t merge_rate;       /* bytes a second that merges take while they keep up (pace.h); 0: no bound */
    uint64_t
        table_memory;  /* what a table's filter and index may take, at most; 0: 512 MiB. Larger ones stay as they are */
    size_t tables_max; /* 0: LSM_TABLES_MAX */
    size_t
        filter_prefix; /* leading bytes of a key that get a filter entry of their own beside the whole key's: 0 none */
    void (*on_durable)(void *arg);               /* a flush finished: lsm_durable moved; may be NULL */
    void (*on_failure)(void *arg, enum err err); /* background work failed for good (I/O): said once */
    void *arg;
};

/* CORRUPT with *why (mem_free) naming the file; LOCKED never (the data folder is locked above). */
MUST_CHECK enum err lsm_open(const struct lsm_conf *c, struct lsm **out, char **why);
/* The state that a manifest names, to be looked at: its tables are there as long as the caller has them kept. What is
 * put stays in memory, whatever it comes to, and nothing on the disk changes. */
MUST_CHECK enum err lsm_open_still(const struct lsm_conf *c, struct str manifest, struct lsm **out, char **why);
void lsm_close(struct lsm *l); /* waits for background work; does not flush: the log has it */

/* Closing a store that others live on beside: lsm_retire, once; when it is idle, whoever the owner hands it to may
 * close it, and is not held up. Retired: nobody reads or writes any more; what is under way ends, nothing is begun.
 * Idle: nothing is on a worker or on its way home. */
void lsm_retire(struct lsm *l);
bool lsm_is_idle(const struct lsm *l);

/* Writing. Keys are 1 to 255 bytes, values at most 16 MiB. Never blocks on the disk; LIMIT when the memtables waiting
 * to be flushed reach their bound (the caller answers `unavailable` or waits). Overwriting a key in the memtable with a
 * value of the same size happens in place. */
MUST_CHECK enum err lsm_put(struct lsm *l, struct str key, struct str value);
MUST_CHECK enum err lsm_delete(struct lsm *l, struct str key);
/* Where in the memtable a key was put or looked for. lsm_put_near searches from there: for the key that was looked for,
 * or one that stands beside the last that was put; lsm_put_again is for one key that is put again and again. They do
 * what lsm_put does; one that is of another store, or of a memtable that was frozen since, is no worse than a zeroed
 * one, whatever has become of these. */
struct lsm_near {
    uint64_t memtable; /* which */
    struct memtable_near at;
};
MUST_CHECK enum err lsm_put_near(struct lsm *l, struct str key, struct str value, struct lsm_near *near);
MUST_CHECK enum err lsm_put_again(struct lsm *l, struct str key, struct str value, struct lsm_near *near);
/* Who is told of every put and delete of keys with this first byte, when it was done: one at a time. `value` is NULL
 * for a deleted one. A NULL fn: nobody any more. */
typedef void lsm_mirror_fn(void *arg, struct str key, const struct str *value);
void lsm_mirror(struct lsm *l, uint8_t first, lsm_mirror_fn *fn, void *arg);
/* True when puts should wait or be refused soon: checked by the admitter before it appends to the log. */
bool lsm_is_busy(struct lsm *l);
/* The disk had no space for the last flush or manifest: waiting does not help before an operator does. */
bool lsm_is_full(const struct lsm *l);
/* For who puts much and reads little: from now on what is put is not read until lsm_settle or lsm_applied, which also
 * end this. It costs a fraction (memtable.h). Put in between like this everything that belongs together. */
void lsm_defer(struct lsm *l);
void lsm_settle(struct lsm *l);
/* Everything of log `log_id` before `pos` has been put. May freeze the memtable (then starts the flush). */
void lsm_applied(struct lsm *l, uint64_t log_id, uint64_t pos);
/* The memtable is full: the next lsm_applied freezes it, if it can. */
bool lsm_is_ripe(const struct lsm *l);
/* Freezes and flushes even a small memtable: for trimming, shutdown and tests. AGAIN while one is under way. */
MUST_CHECK enum err lsm_flush(struct lsm *l);

/* Positions, one per log: durable is what the manifest on disk says. 0 for a log never seen. */
uint64_t lsm_durable(const struct lsm *l, uint64_t log_id);
uint64_t lsm_position(const struct lsm *l, uint64_t log_id); /* applied, in memory */
bool lsm_is_clean(const struct lsm *l);                      /* nothing is in memory that is not on disk */
void lsm_forget_log(struct lsm *l, uint64_t log_id); /* that log is gone: drop its position with the next flush */

/* Erasing for good. What was overwritten or deleted stands in older tables until a merge meets it. lsm_erased says that
 * what is put in this batch makes something dead that must leave the files; the store keeps the oldest such moment,
 * across restarts too, until a purge has merged every table that was there. */
void lsm_erased(struct lsm *l, int64_t at_ms);
/* The oldest moment of erasing of which something may still be in a table; 0: none. */
int64_t lsm_erased_since(const struct lsm *l);
/* The older one of two such moments. */
static inline int64_t lsm_older(int64_t a, int64_t b) { return !a || (b && b < a) ? b : a; }
/* Has everything that was erased at or before `until_ms` leave the tables: flushes, then merges all tables into one, in
 * the usual steps on workers. To be called again, now and then, until lsm_erased_since is later or 0. */
void lsm_purge(struct lsm *l, int64_t until_ms);

/* Reading. `need` collects the blocks that were missing; after lsm_need_load has called back (or blocking load), repeat
 * the same read: blocks loaded for it stay until lsm_need_deinit. A NULL need reads blocking (tools, recovery). */
struct lsm_need; /* embedded by the asker: storage/lsm_need.h */
enum err lsm_get(struct lsm *l, struct str key, struct lsm_need *need,
                 struct buf *value); /* OK, NOT_FOUND, AGAIN, IO, CORRUPT */
/* The same for who will put the key when it is not there. */
enum err lsm_get_near(struct lsm *l, struct str key, struct lsm_need *need, struct lsm_near *near, struct buf *value);
/* Calls fn for each live key in [from, to) in ascending order until it answers false or the range ends. On AGAIN
 * nothing was called: what fn sees is a whole pass or none; so bound the range or the count: `max` keys at most (0:
 * all). */
typedef bool lsm_each_fn(void *arg, struct str key, struct str value);
enum err lsm_scan(struct lsm *l, struct str from, struct str to, size_t max, struct lsm_need *need, lsm_each_fn *fn,
                  void *arg);
/* The same for a run of keys without gaps: of one length, which count up in their last 8 bytes (big endian), at most
 * `max` of them in the range, deleted ones counted. It asks the newest tables first and, having met `max` keys, none
 * that are older; and where it would have to load a block, whether the table has one of the keys at all. `to` is not
 * empty. */
enum err lsm_scan_run(struct lsm *l, struct str from, struct str to, size_t max, struct lsm_need *need, lsm_each_fn *fn,
                      void *arg);

/* A checkpoint: what a copy of the store needs, as it is durable now. Its tables stay on the disk until it is ended,
 * also those that are merged away meanwhile. Ended before the store is closed. */
struct sst;
struct lsm_checkpoint {
    struct buf manifest; /* the bytes of DIR/MANIFEST */
    struct sst **tables;
    size_t n;
};
void lsm_checkpoint_begin(struct lsm *l, struct lsm_checkpoint *out);
void lsm_checkpoint_end(struct lsm *l, struct lsm_checkpoint *c); /* no-op on a zeroed one */

struct lsm_stats {
    size_t tables, memtable_bytes, frozen;
    uint64_t table_bytes, index_bytes, filter_bytes;         /* on disk; of these, kept in memory */
    uint64_t entries, flushes, compactions, compacted_bytes; /* entries: all versions and tombstones */
    uint64_t cache_hits, cache_misses;                       /* of the cache, which stores share */
    uint64_t flushed_bytes; /* written by flushes: with compacted_bytes, all that was written for it */
    uint64_t stalled_us;    /* how long writers were told to wait (lsm_is_busy, LIMIT) */
    uint64_t merge_debt;    /* bytes of tables that merges work on or could */
    size_t merges, files;   /* merges that run; tables open, with those being made and those still read */
};
void lsm_stats(const struct lsm *l, struct lsm_stats *out);
