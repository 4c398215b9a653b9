#include "queue/redeliver.h"
#include "tests/lib/unit.h"

struct fake {
    struct env env;
    uint64_t random;
};
static void give(struct env *e, void *p, size_t n) { memcpy(p, &((struct fake *)e)->random, n); }
static const struct env_ops ops = {.random = give};

static const struct redeliver_conf poison = {.first_ms = 100, .most_ms = 400, .attempts = 5};
static const struct redeliver_conf world = {.first_ms = 100, .most_ms = 400};

PROMISE(the_delay_doubles_up_to_its_bound_and_never_ends_for_the_worlds_faults)
{
    static const uint64_t expected[] = {100, 200, 400, 400, 400};
    struct fake f = {{.ops = &ops}, 0};
    struct redeliver r = {0};

    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(redeliver_failed(&r, &world, &f.env, 7, 1000), REDELIVER_LATER);
        assert_int_equal(r.due_ms, 1000 + expected[i]);
    }
    for (int i = 0; i < 1000; i++)
        assert_int_equal(redeliver_failed(&r, &world, &f.env, 7, 1000), REDELIVER_LATER);
    assert_true(redeliver_waits(&r, 1399) && !redeliver_waits(&r, 1400));
}

PROMISE(jitter_takes_at_most_half_of_the_delay)
{
    struct fake f = {{.ops = &ops}, 0};

    for (f.random = 0; f.random < 200; f.random++) {
        struct redeliver r = {0};
        assert_int_equal(redeliver_failed(&r, &world, &f.env, 7, 0), REDELIVER_LATER);
        assert_true(r.due_ms >= 50 && r.due_ms <= 100);
        assert_int_equal(r.due_ms, 100 - f.random % 51);
    }
}

PROMISE(what_does_not_fit_is_given_up_after_its_attempts_and_another_counts_anew)
{
    struct fake f = {{.ops = &ops}, 0};
    struct redeliver r = {0};

    for (int i = 0; i < 4; i++)
        assert_int_equal(redeliver_failed(&r, &poison, &f.env, 7, 0), REDELIVER_LATER);
    assert_int_equal(redeliver_failed(&r, &poison, &f.env, 8, 0), REDELIVER_LATER);
    for (int i = 0; i < 3; i++)
        assert_int_equal(redeliver_failed(&r, &poison, &f.env, 8, 0), REDELIVER_LATER);
    assert_int_equal(redeliver_failed(&r, &poison, &f.env, 8, 0), REDELIVER_NEVER);
    redeliver_done(&r);
    assert_false(redeliver_waits(&r, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(the_delay_doubles_up_to_its_bound_and_never_ends_for_the_worlds_faults),
        HOLDS(jitter_takes_at_most_half_of_the_delay),
        HOLDS(what_does_not_fit_is_given_up_after_its_attempts_and_another_counts_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
