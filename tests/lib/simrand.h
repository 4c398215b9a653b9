/* simrand: a test's own dice: what they give follows from the seed alone, on every machine. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct simrand {
    uint64_t state;
};

static inline uint64_t simrand_next(struct simrand *r) /* splitmix64: any seed will do */
{
    uint64_t x = r->state += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static inline uint64_t simrand_below(struct simrand *r, uint64_t n) { return simrand_next(r) % n; }
static inline bool simrand_percent(struct simrand *r, unsigned percent) { return simrand_below(r, 100) < percent; }
