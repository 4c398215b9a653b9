#include "gateway/limit.h"
#include "tests/lib/unit.h"

static const struct limit_rate rate = {.per_minute = 60, .burst = 5}; /* one a second */
enum { SECOND = 1000000 };

PROMISE(a_burst_passes_and_then_one_an_interval)
{
    struct limiter l;
    uint64_t now = 77 * (uint64_t)SECOND;

    limiter_init(&l, 100);
    for (int i = 0; i < 5; i++)
        assert_int_equal(limiter_take(&l, 1, rate, 1, now), 0);
    assert_int_equal(limiter_take(&l, 1, rate, 1, now), 1000);
    assert_int_equal(limiter_take(&l, 1, rate, 1, now + SECOND / 2), 500);
    assert_int_equal(limiter_take(&l, 1, rate, 1, now + SECOND), 0);
    assert_int_equal(limiter_take(&l, 1, rate, 1, now + SECOND), 1000);
    limiter_deinit(&l);
}

PROMISE(waiting_as_told_is_enough)
{
    struct limiter l;
    uint64_t now = 5;

    limiter_init(&l, 100);
    for (int i = 0; i < 1000; i++) {
        int64_t wait = limiter_take(&l, 1, (struct limit_rate){7000, 3}, 1, now);

        if (wait) {
            now += (uint64_t)wait * 1000;
            assert_int_equal(limiter_take(&l, 1, (struct limit_rate){7000, 3}, 1, now), 0);
        }
    }
    limiter_deinit(&l);
}

PROMISE(idleness_earns_no_more_than_a_burst)
{
    struct limiter l;

    limiter_init(&l, 100);
    limiter_take(&l, 1, rate, 1, SECOND);
    for (int i = 0; i < 5; i++)
        assert_int_equal(limiter_take(&l, 1, rate, 1, 1000 * (uint64_t)SECOND), 0);
    assert_true(limiter_take(&l, 1, rate, 1, 1000 * (uint64_t)SECOND) > 0);
    limiter_deinit(&l);
}

PROMISE(keys_do_not_touch_each_other)
{
    struct limiter l;

    limiter_init(&l, 100);
    for (uint64_t key = 1; key <= 50; key++) {
        for (int i = 0; i < 5; i++)
            assert_int_equal(limiter_take(&l, key, rate, 1, SECOND), 0);
    }
    for (uint64_t key = 1; key <= 50; key++)
        assert_true(limiter_take(&l, key, rate, 1, SECOND) > 0);
    limiter_deinit(&l);
}

PROMISE(at_the_bound_the_longest_untouched_is_forgotten)
{
    struct limiter l;

    limiter_init(&l, 10);
    for (uint64_t key = 1; key <= 10; key++) {
        for (int i = 0; i < 5; i++)
            limiter_take(&l, key, rate, 1, SECOND);
    }
    limiter_take(&l, 1, rate, 1, SECOND); /* refused, but seen */
    limiter_take(&l, 11, rate, 1, SECOND);
    assert_int_equal(l.buckets.count, 10);
    assert_true(limiter_take(&l, 1, rate, 1, SECOND) > 0);
    assert_int_equal(limiter_take(&l, 2, rate, 1, SECOND), 0);
    limiter_deinit(&l);
}

PROMISE(what_is_large_costs_as_much_as_many_that_are_small)
{
    struct limiter l;
    const uint64_t now = 77 * (uint64_t)SECOND;

    limiter_init(&l, 100);
    assert_int_equal(limiter_take(&l, 1, rate, 3, now), 0);
    assert_int_equal(limiter_take(&l, 1, rate, 3, now), 1000);
    assert_int_equal(limiter_take(&l, 1, rate, 2, now), 0);
    assert_int_equal(limiter_take(&l, 1, rate, 1, now), 1000);
    assert_int_equal(limiter_take(&l, 2, rate, 1000000, now), 0); /* a full bucket, whatever it is */
    assert_int_equal(limiter_take(&l, 2, rate, 1000000, now), 5000);
    limiter_deinit(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_burst_passes_and_then_one_an_interval),
        HOLDS(waiting_as_told_is_enough),
        HOLDS(idleness_earns_no_more_than_a_burst),
        HOLDS(keys_do_not_touch_each_other),
        HOLDS(what_is_large_costs_as_much_as_many_that_are_small),
        HOLDS(at_the_bound_the_longest_untouched_is_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
