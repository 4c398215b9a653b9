#include "tests/lib/simwalk.h"
#include "tests/lib/unit.h"

/* Sanitizers make a call up to 20 times dearer: with them, every fifth. */
#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
enum { STEP = 5 };
#else
enum { STEP = 1 };
#endif

static const struct trouble troubles[] = {
    {.is_death = true, .death = DEATH_KILL}, {.is_death = true, .death = DEATH_CUT}, {.times = 1, .err = ERR_IO},
    {.times = UINT64_MAX, .err = ERR_IO},    {.times = UINT64_MAX, .err = ERR_FULL}, {.times = 1, .err = ERR_FULL},
};

void trouble_order(const struct trouble *t, struct simdisk *d, uint64_t n)
{
    unsigned ops = t->err == ERR_FULL ? FAULT_TAKES_SPACE : FAULT_ALL;

    if (t->is_death)
        simdisk_die_at(d, FAULT_ALL, n, t->death);
    else
        faults_fail(simdisk_faults(d), ops, n, t->times, t->err);
}

bool trouble_was_met(const struct trouble *t, struct simdisk *d)
{
    return t->is_death ? simdisk_is_down(d) : faults_has_failed(simdisk_faults(d));
}

void walk_calls(walk_fn *with, uint64_t disks, uint64_t least)
{
    for (size_t k = 0; k < sizeof troubles / sizeof troubles[0]; k++) {
        uint64_t n = 1;
        for (bool met = true; met; n += STEP) {
            met = false;
            for (uint64_t seed = 1; seed <= disks; seed++)
                met = with(&troubles[k], seed, n) || met;
        }
        assert_true(n > least);
    }
}
