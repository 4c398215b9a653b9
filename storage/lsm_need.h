/* lsm_need: the blocks a read is waiting for. Embed it zeroed, set `done`, and deinit it after the last repeat.
 *
 * Thread: the owner's. A need belongs to one read, and must be deinit before its store is closed; between lsm_need_load
 * and `done` it is the worker's: leave it alone. One that is still on its way home when the store is closed must never
 * arrive: jobs_lost takes it out of its mailbox before, which calls `lost`. Memory: about 1.5 KiB, and the blocks it
 * holds. */
#pragma once
#include "base/worker.h"

struct lsm;
struct sst;
struct block;
enum { LSM_NEED_MISSING = 32, LSM_NEED_HELD = 4096 };
struct lsm_need {
    struct job job;
    struct lsm *lsm;
    struct lsm_held {
        struct block *block;
        uint64_t table, at;
    } * held; /* loaded, kept until deinit; at most LSM_NEED_HELD, then the read answers LIMIT */
    size_t n_held;
    struct lsm_missing {
        struct sst *table;
        uint64_t at;
        uint32_t len;
        struct block *block; /* once loaded */
    } missing[LSM_NEED_MISSING];
    size_t n_missing;
    enum err err; /* of loading: IO or CORRUPT, LIMIT when the pool is full; repeating the read returns it */
    void (*done)(struct lsm_need *); /* on the owner's thread; inside lsm_need_load when the store has no home */
    void (*lost)(struct lsm_need *); /* in its place, when the owner has ended: deinits it; NULL: nothing */
};
void lsm_need_load(struct lsm_need *n); /* on a worker of the pool, then done */
void lsm_need_deinit(struct lsm_need *n);
