/* placement_file: which store holds each shard, as a file that is switched as a whole: DIR/placement.
 *
 * Beside that it says what is under way: stores that are made, emptied or given up, a shard that is being copied, keys
 * that a store still has of a shard that left it. Its replacement is the moment at which a shard changes its store.
 * The essay with the bytes stands in placement_file.c.
 *
 * A *floor* (shard, log, position): what that log holds of the shard before the position is in the shard's store, and
 * in the tables, durably. A store's own positions know nothing of records that came to it by a move; so replay leaves
 * out what is before the floor, and the floor may be forgotten when the log is gone.
 *
 * Thread: none of its own. Memory: a placement owns its floors; zeroed it is empty. */
#pragma once
#include "base/buf.h"
#include "base/fs.h"
#include "proto/record.h"

enum { STORES_MAX = 64, STORE_NAME_MAX = 32, PLACEMENT_CLEANUPS_MAX = 2 * SHARD_COUNT };

enum store_state {                 /* on disk: never renumber */
                   STORE_NONE = 0, /* an empty slot; in memory only */
                   STORE_NEW = 1,  /* named; its folder may not be made yet. It holds nothing */
                   STORE_ACTIVE = 2,
                   STORE_DRAINING = 3, /* its shards leave it; then it goes */
};
struct placement {
    uint64_t generation; /* how often it was written */
    unsigned n_stores;   /* slots; a store keeps its number as long as the process runs */
    struct placement_store {
        char name[STORE_NAME_MAX + 1];
        enum store_state state;
    } stores[STORES_MAX];
    uint16_t store_of[SHARD_COUNT];
    bool has_move; /* `move.to` holds a part of what `move.from` has of the shard; it counts for nothing */
    struct placement_move {
        uint16_t shard, from, to;
    } move;
    struct placement_cleanup { /* keys of the shard in a store that is not its own */
        uint16_t shard, store;
    } cleanups[PLACEMENT_CLEANUPS_MAX];
    unsigned n_cleanups;
    struct placement_floor {
        uint16_t shard;
        uint64_t log_id, pos;
    } * floors;
    size_t n_floors;
    char dropped[STORES_MAX][STORE_NAME_MAX + 1]; /* stores that are no more, whose folders may still be there */
    unsigned n_dropped;
};
void placement_deinit(struct placement *p);
void placement_copy(const struct placement *from, struct placement *out); /* frees what *out had */

/* A store's name is a folder's: 1 to STORE_NAME_MAX of a-z, 0-9, - and _. */
bool store_name_is_fine(const char *name);
const char *store_state_text(enum store_state s);
/* The slot of a store; n_stores when there is none of this name. */
unsigned placement_find(const struct placement *p, const char *name);
unsigned placement_shards_of(const struct placement *p, unsigned store);
/* Raises the floor; never lowers it. */
void placement_raise_floor(struct placement *p, uint16_t shard, uint64_t log_id, uint64_t pos);
uint64_t placement_floor(const struct placement *p, uint16_t shard, uint64_t log_id); /* 0: none */
/* Of one log, by shard. */
void placement_floors_of(const struct placement *p, uint64_t log_id, uint64_t out[SHARD_COUNT]);
/* Forgets the floors of all logs but these. */
void placement_keep_floors(struct placement *p, const uint64_t *log_ids, size_t n);
/* LIMIT: too many. */
MUST_CHECK enum err placement_owe_cleanup(struct placement *p, uint16_t shard, uint16_t store);
void placement_strike_cleanup(struct placement *p, uint16_t shard, uint16_t store);
void placement_strike_store(struct placement *p, unsigned store); /* the slot is empty; its clean-ups are moot */
/* A shard's keys in this store are the shard's: it has them, and no copy of them is half made. */
static inline bool placement_is_of(const struct placement *p, unsigned shard, unsigned store)
{
    return p->store_of[shard] == store;
}

/* Empty slots are left out, so numbers may be others when it is read again. */
void placement_encode(const struct placement *p, struct buf *out);
/* CORRUPT for what is never written, UNSUPPORTED for a later version. */
MUST_CHECK enum err placement_decode(struct str bytes, struct placement *out);
/* DIR/placement. NOT_FOUND, CORRUPT, UNSUPPORTED, IO. */
MUST_CHECK enum err placement_read(struct fs *fs, const char *dir, struct placement *out);
/* Replaces it, its generation counted up: after a crash the old or the new one is there. FULL: the old one. After any
 * other error the outcome is unknown. */
MUST_CHECK enum err placement_write(struct fs *fs, const char *dir, struct placement *p);
