/* simwalk: what goes wrong once, at each call of a simulated disk in turn.
 *
 * Thread: the test's. */
#pragma once
#include "tests/lib/simdisk.h"

/* What is to go wrong: the process or the power goes, or calls fail. */
struct trouble {
    bool is_death;
    enum death death;
    uint64_t times; /* of failing */
    enum err err;
};
/* At the n-th call from now (from 1). */
void trouble_order(const struct trouble *t, struct simdisk *d, uint64_t n);
bool trouble_was_met(const struct trouble *t, struct simdisk *d);

/* A run on the disk of `seed` with that trouble at call n of what is walked; false: it has fewer calls. */
typedef bool walk_fn(const struct trouble *t, uint64_t seed, uint64_t n);
/* Each trouble at n = 1, 2, … on disks 1 to `disks`, until none of them meets it (under a sanitizer, every fifth). A
 * walk of not more than `least` calls is a failure: it met nothing of what it is for. */
void walk_calls(walk_fn *with, uint64_t disks, uint64_t least);
