#include "services/lag.h"
#include "tests/lib/unit.h"

PROMISE(who_has_everything_lacks_nothing_however_long_nothing_came)
{
    struct lag l = {0};

    assert_int_equal(lag_ms(&l, 0, 5), 0);
    lag_note(&l, 100, 1000);
    assert_int_equal(lag_ms(&l, 100, 9000), 0);
    assert_int_equal(lag_ms(&l, 99, 9000), 8000);
    lag_note(&l, 100, 5000); /* the same end: what is there is as old as it was */
    assert_int_equal(lag_ms(&l, 99, 9000), 8000);
}

PROMISE(the_age_begins_when_the_record_came_and_not_when_the_log_fell_silent)
{
    struct lag l = {0};

    lag_note(&l, 100, 1000);
    lag_note(&l, 200, 3600000);
    assert_int_equal(lag_ms(&l, 100, 3600500), 500);
    assert_int_equal(lag_ms(&l, 50, 3600500), 3599500);
}

PROMISE(what_is_forgotten_makes_nothing_older)
{
    struct lag l = {0};

    for (uint64_t i = 1; i <= 10; i++)
        lag_note(&l, i * 10, i * 1000);
    lag_forget(&l, 50);
    assert_int_equal(l.n, 5);
    assert_int_equal(lag_ms(&l, 50, 20000), 14000);
    lag_forget(&l, 100);
    assert_int_equal(l.n, 1);
    assert_int_equal(lag_ms(&l, 100, 20000), 0);
    lag_note(&l, 100, 15000);
    assert_int_equal(lag_ms(&l, 99, 20000), 10000);
}

/* A record a millisecond: of the one behind position p the age is known. */
static void is_about(const struct lag *l, uint64_t p, uint64_t now)
{
    uint64_t age = now - p - 1, said = lag_ms(l, p, now);

    assert_true(said <= age);
    assert_true(said + 1 >= age - age / 3);
}

PROMISE(however_long_a_view_stands_still_memory_is_bounded_and_every_age_known)
{
    enum { N = 1000000, STOOD_AT = 777 };
    struct lag l = {0};

    for (uint64_t i = 1; i <= N; i++) {
        lag_note(&l, i, i);
        lag_forget(&l, i < STOOD_AT ? i : STOOD_AT);
        assert_true(l.n <= LAG_SAMPLES);
        if (i <= STOOD_AT)
            continue;
        assert_int_equal(lag_ms(&l, STOOD_AT, i), i - STOOD_AT - 1);
        for (uint64_t behind = 1; behind < i - STOOD_AT; behind = behind * 3 + 1)
            is_about(&l, i - behind, i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(who_has_everything_lacks_nothing_however_long_nothing_came),
        HOLDS(the_age_begins_when_the_record_came_and_not_when_the_log_fell_silent),
        HOLDS(what_is_forgotten_makes_nothing_older),
        HOLDS(however_long_a_view_stands_still_memory_is_bounded_and_every_age_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
