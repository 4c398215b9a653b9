/* schedule: when the n-th thing of an open loop should start. It depends on nothing but the clock: a server that stalls
 * gets what is due all the same, and the wait counts (else the slow moments would be measured the least often, which is
 * called coordinated omission). */
#pragma once
#include <stdint.h>

static inline uint64_t schedule_at(uint64_t from_us, uint64_t rate, uint64_t n) { return from_us + n * 1000000 / rate; }
/* How many should have started by now; the first one starts at from_us. */
static inline uint64_t schedule_due(uint64_t from_us, uint64_t rate, uint64_t now_us)
{
    return now_us < from_us ? 0 : ((now_us - from_us + 1) * rate - 1) / 1000000 + 1;
}
