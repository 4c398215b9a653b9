/* limit: how often somebody may do something: token buckets in a bounded table.
 *
 * A bucket is one number, the time at which it would be full again (GCRA): a request moves it on by the cost of one
 * and is refused when it lies further ahead than the burst is long. Idle buckets are full and need not be kept: at the
 * bound the one that was touched longest ago makes room, which forgives at worst.
 * Thread: one. Memory: 48 bytes a bucket, at most `max` of them. */
#pragma once
#include "base/list.h"
#include "base/map.h"

struct limiter {
    struct map buckets;
    struct link used; /* the one touched last is at the tail */
    size_t max;
};
struct limit_rate {
    uint32_t per_minute;
    uint32_t burst;
};

void limiter_init(struct limiter *l, size_t max);
void limiter_deinit(struct limiter *l);
/* Takes `n` at once, at most a burst: what is larger costs a full bucket. 0: go on. Otherwise nothing was taken, and
 * after that many milliseconds it would pass. `key` names who and what, already hashed. */
int64_t limiter_take(struct limiter *l, uint64_t key, struct limit_rate rate, uint64_t n, uint64_t now_us);
