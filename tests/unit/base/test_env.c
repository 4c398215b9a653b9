#include "base/env.h"
#include "tests/lib/unit.h"

PROMISE(the_monotonic_clock_never_goes_back)
{
    struct env *e = env_posix();
    uint64_t last = env_mono_us(e);
    for (int i = 0; i < 1000; i++) {
        uint64_t now = env_mono_us(e);
        assert_true(now >= last);
        last = now;
    }
}

PROMISE(wall_time_is_in_milliseconds_since_1970)
{
    assert_in_range(env_now_ms(env_posix()), 1700000000000, 9999999999999);
}

PROMISE(randomness_differs_each_time_and_fills_just_what_was_asked)
{
    uint8_t a[33] = {0}, b[33] = {0};
    env_random(env_posix(), a, 32);
    env_random(env_posix(), b, 32);
    assert_memory_not_equal(a, b, 32);
    assert_int_equal(a[32], 0);
}

PROMISE(there_is_one_environment)
{
    assert_ptr_equal(env_posix(), env_posix());
    assert_ptr_equal(env_posix()->fs, fs_posix());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(the_monotonic_clock_never_goes_back),
        HOLDS(wall_time_is_in_milliseconds_since_1970),
        HOLDS(randomness_differs_each_time_and_fills_just_what_was_asked),
        HOLDS(there_is_one_environment),
    };
    return cmocka_run_group_tests_name("env", tests, NULL, NULL);
}
