#include "storage/pace.h"
#include "tests/lib/unit.h"

enum { MIB = 1 << 20, SECOND = 1000000 };

/* Runs a step when it is due, taking no time. */
static uint64_t run_until_due(struct pace *p, uint64_t now, uint64_t merged, uint64_t flushed)
{
    uint64_t due = pace_due(p, now, pace_step(p), merged, flushed);
    return due > now ? due : now;
}

PROMISE(merges_keep_to_their_bandwidth)
{
    struct pace p;
    uint64_t now = 5 * SECOND, bytes = 0;
    pace_init(&p, 8 * MIB);
    for (; bytes < 80 * MIB; bytes += pace_step(&p))
        now = run_until_due(&p, now, bytes, 0);
    assert_true(now > 14 * SECOND + SECOND / 2 &&
                now <= 15 * SECOND); /* the last step is due when those before it are paid for */
}

PROMISE(several_merges_share_one_bandwidth)
{
    struct pace p;
    uint64_t due[4];
    pace_init(&p, 16 * MIB);
    for (int i = 0; i < 4; i++)
        due[i] = pace_due(&p, SECOND, MIB, 0, 0);
    assert_int_equal(due[0], 0);
    for (uint64_t i = 1; i < 4; i++)
        assert_int_equal(due[i], SECOND + i * SECOND / 16);
}

PROMISE(idle_time_is_not_saved_up)
{
    struct pace p;
    pace_init(&p, MIB);
    assert_int_equal(pace_due(&p, SECOND, MIB, 0, 0), 0);
    assert_int_equal(pace_due(&p, 100 * SECOND, MIB, 0, 0), 0);
    assert_int_equal(pace_due(&p, 100 * SECOND, MIB, 0, 0), 101 * SECOND);
}

/* A writer ten times as fast as the bandwidth; a flush is 8 MiB. A step that is let go takes as long as a disk of 200
 * MiB a second does. */
PROMISE(a_merge_is_done_before_half_of_it_is_flushed_anew_whatever_the_bandwidth)
{
    for (uint64_t size = 64 * MIB; size <= 4096ull * MIB; size *= 8) {
        struct pace p;
        uint64_t now = SECOND, flushed = 0, merged = 0;
        pace_init(&p, MIB);
        for (; merged < size; merged += pace_step(&p)) {
            now = run_until_due(&p, now, merged, flushed) + pace_step(&p) * SECOND / (200ull * MIB);
            flushed = (now - SECOND) / 800000 * 8 * MIB; /* 10 MiB a second */
        }
        assert_true(flushed <= size / 2 + 8 * MIB);
    }
}

PROMISE(without_new_flushes_a_merge_keeps_to_its_bandwidth_however_large)
{
    struct pace p;
    uint64_t now = SECOND;
    pace_init(&p, 32 * MIB);
    for (uint64_t merged = 0; merged < 1024ull * MIB; merged += pace_step(&p))
        now = run_until_due(&p, now, merged, 0);
    assert_true(now >= 32 * SECOND);
}

PROMISE(a_rate_of_0_never_waits)
{
    struct pace p;
    pace_init(&p, 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(pace_due(&p, SECOND, 2 * MIB, 0, 0), 0);
    assert_int_equal(pace_step(&p), 2 * MIB);
}

PROMISE(a_step_waits_for_a_sixteenth_of_a_second_at_most_when_one_merge_runs)
{
    static const uint64_t rates[] = {1, 1000, PACE_RATE_MIN, 32 * MIB, 4096ull * MIB};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct pace p;
        pace_init(&p, rates[i]);
        assert_int_equal(pace_due(&p, SECOND, pace_step(&p), 0, 0), 0);
        assert_true(pace_due(&p, SECOND, pace_step(&p), 0, 0) <= SECOND + SECOND / 16);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(merges_keep_to_their_bandwidth),
        HOLDS(several_merges_share_one_bandwidth),
        HOLDS(idle_time_is_not_saved_up),
        HOLDS(a_merge_is_done_before_half_of_it_is_flushed_anew_whatever_the_bandwidth),
        HOLDS(without_new_flushes_a_merge_keeps_to_its_bandwidth_however_large),
        HOLDS(a_rate_of_0_never_waits),
        HOLDS(a_step_waits_for_a_sixteenth_of_a_second_at_most_when_one_merge_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
