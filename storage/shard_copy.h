/* shard_copy: one shard's keys brought from a store that is in use into another, and deleted where they are left over.
 *
 * The keys are scanned in their order, a batch at a time. What is put or deleted meanwhile behind the scan follows in
 * the same bytes, in the order in which it happened; what is ahead of it the scan will find. So whoever applies all of
 * `out` in order has what the store has, at every moment at which `out` is used up and the scan is through.
 *
 *   u8 what (1 put, 2 delete)   field key   field value      …each, in `out`
 *
 * Thread: that of the store. One copy a store. */
#pragma once
#include "storage/lsm.h"

struct shard_copy {
    struct lsm *from;
    uint16_t shard;
    bool is_through; /* the scan: all is behind it */
    char cursor[256];
    size_t cursor_len; /* the last key that was scanned; 0: none */
    struct buf out;    /* what is to be applied: taken away by the caller, in order */
    uint64_t keys;     /* scanned */
};
void shard_copy_begin(struct shard_copy *c, struct lsm *from, uint16_t shard);
void shard_copy_end(struct shard_copy *c); /* twice is fine */
/* A batch of about max_bytes more. AGAIN: `need` wants blocks; IO, CORRUPT. */
enum err shard_copy_scan(struct shard_copy *c, size_t max_bytes, struct lsm_need *need);
/* Applies from *at on. LIMIT: the store has no room now; go on from *at later. CORRUPT: not such bytes. */
MUST_CHECK enum err shard_copy_apply(struct lsm *to, struct str bytes, size_t *at);

struct shard_clean {
    uint16_t shard;
    bool is_done;
    char cursor[256];
    size_t cursor_len;
    uint64_t keys; /* deleted */
};
/* Deletes some of what is left. Zeroed but for the shard at first; AGAIN, LIMIT as above. */
enum err shard_clean_some(struct lsm *l, struct shard_clean *c, struct lsm_need *need);
