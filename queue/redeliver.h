/* redeliver: when a delivery that failed is tried again, and when that has an end.
 *
 * One for each consumer that takes things in order: the thing that failed is told by a number (its position in a log,
 * say), and while it waits what is behind it waits. The delay doubles from `first_ms` to `most_ms`, drawn from its
 * upper half each time so that many that failed together do not come back together.
 *
 * Two kinds of failures. The world's (no space, busy): `attempts` 0, tried until it heals. The thing's own (it does not
 * fit): after `attempts` the verdict is NEVER, and the caller puts it aside and goes on.
 *
 * Thread: its owner's. Memory: the caller's; zeroed is valid: nothing waits. */
#pragma once
#include "base/env.h"

struct redeliver_conf {
    uint32_t first_ms, most_ms;
    uint32_t attempts; /* 0: for ever */
};
struct redeliver {
    uint64_t id, due_ms;
    uint32_t failures; /* in a row; 0: nothing waits */
};
enum redeliver_verdict { REDELIVER_LATER, REDELIVER_NEVER };

/* `id` failed. LATER: not before due_ms, by the clock that now_ms is from. Another id than before begins to count anew.
 */
enum redeliver_verdict redeliver_failed(struct redeliver *r, const struct redeliver_conf *c, struct env *env,
                                        uint64_t id, uint64_t now_ms);
void redeliver_done(struct redeliver *r); /* it was delivered, or put aside */
static inline bool redeliver_waits(const struct redeliver *r, uint64_t now_ms)
{
    return r->failures && now_ms < r->due_ms;
}
