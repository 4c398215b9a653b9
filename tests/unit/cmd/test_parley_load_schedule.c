#include "tests/lib/unit.h"
#include "cmd/parley_load_schedule.h"
#include "cmd/parley_load_sizes.h"

PROMISE(a_thing_is_due_exactly_from_its_time_on)
{
    static const uint64_t rates[] = {1, 3, 7, 1000, 5000, 999983, 3000000};

    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        for (uint64_t n = 0; n < 5000; n++) {
            uint64_t at = schedule_at(1000, rates[i], n);
            assert_true(schedule_due(1000, rates[i], at) >= n + 1);
            assert_true(schedule_due(1000, rates[i], at - 1) <= n);
        }
    }
}

PROMISE(a_stall_leaves_nothing_out_and_moves_no_start)
{
    uint64_t from = 500, rate = 1000, begun = 0, waited = 0;

    /* The clock stands still for two seconds after the first ten: all that was due is started, from its own time. */
    for (uint64_t now = from; now < from + 10000; now += 100)
        begun = schedule_due(from, rate, now);
    assert_int_equal(begun, 10);
    uint64_t now = from + 2000000;
    for (; begun < schedule_due(from, rate, now); begun++)
        waited += now - schedule_at(from, rate, begun);
    assert_int_equal(begun, 2001);
    assert_int_equal(waited, 1990ull * 1991 / 2 * 1000);
}

PROMISE(before_the_beginning_nothing_is_due) { assert_int_equal(schedule_due(100, 1000000, 99), 0); }

PROMISE(of_the_groups_two_of_s_have_at_least_s_members)
{
    enum { N = 1 << 16, MAX = 1000 };
    size_t at_least[MAX + 1] = {0};

    for (uint32_t i = 0; i < N; i++) {
        size_t size = sizes_draw(i << 16, MAX);
        assert_in_range(size, 2, MAX);
        at_least[size]++;
    }
    for (size_t s = MAX; s-- > 2;)
        at_least[s] += at_least[s + 1];
    for (size_t s = 2; s <= 500; s++)
        assert_in_range(at_least[s], 2 * N / s - 1, 2 * N / s + 2);
    assert_int_equal(sizes_draw(UINT32_MAX, MAX), 2);
    assert_int_equal(sizes_draw(0, MAX), MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_thing_is_due_exactly_from_its_time_on),
        HOLDS(a_stall_leaves_nothing_out_and_moves_no_start),
        HOLDS(before_the_beginning_nothing_is_due),
        HOLDS(of_the_groups_two_of_s_have_at_least_s_members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
