#include "tests/lib/unit.h"
#include "cmd/parley_load_hist.h"

static struct hist *hist_new(void) { return mem_new(struct hist); }

PROMISE(an_empty_histogram_says_zero)
{
    struct hist *h = hist_new();

    assert_int_equal(hist_at(h, 99), 0);
    assert_true(hist_mean(h) == 0);
    mem_free(h);
}

PROMISE(small_values_are_exact)
{
    struct hist *h = hist_new();

    for (uint64_t v = 1; v <= 1000; v++)
        hist_add(h, v);
    assert_int_equal(hist_at(h, 0), 1);
    assert_int_equal(hist_at(h, 50), 500);
    assert_int_equal(hist_at(h, 90), 900);
    assert_int_equal(hist_at(h, 99.9), 999);
    assert_int_equal(hist_at(h, 100), 1000);
    assert_true(hist_mean(h) == 500.5);
    mem_free(h);
}

PROMISE(a_value_is_reported_at_most_a_thousandth_too_high_and_never_too_low)
{
    struct hist *h = hist_new();

    for (uint64_t v = 1; v < (uint64_t)1 << 32; v += v / 7 + 1) {
        memset(h, 0, sizeof *h);
        hist_add(h, v);
        hist_add(h, UINT64_C(1) << 31); /* so that max does not help */
        uint64_t got = hist_at(h, v > UINT64_C(1) << 31 ? 100 : 50);
        assert_true(got >= v);
        assert_true(got - v <= v / 1000);
    }
    mem_free(h);
}

PROMISE(cells_of_neighbours_never_go_back)
{
    struct hist *h = hist_new();
    uint64_t last = 0;

    for (uint64_t v = 2000; v < 10000; v++) {
        memset(h, 0, sizeof *h);
        hist_add(h, v);
        hist_add(h, UINT32_MAX);
        assert_true(hist_at(h, 50) >= last);
        last = hist_at(h, 50);
    }
    mem_free(h);
}

PROMISE(what_is_too_large_counts_as_the_largest_and_max_stays_exact)
{
    struct hist *h = hist_new();

    hist_add(h, 5);
    hist_add(h, UINT64_MAX / 2);
    assert_int_equal(h->count, 2);
    assert_int_equal(hist_at(h, 50), 5);
    assert_true(hist_at(h, 100) == UINT64_MAX / 2);
    mem_free(h);
}

PROMISE(merging_is_as_if_all_had_been_added_to_one)
{
    struct hist *a = hist_new(), *b = hist_new(), *all = hist_new();

    for (uint64_t v = 1; v < 1000000; v = v * 3 + 1) {
        hist_add(v % 2 ? a : b, v);
        hist_add(all, v);
    }
    hist_merge(a, b);
    assert_memory_equal(a, all, sizeof *all);
    mem_free(a);
    mem_free(b);
    mem_free(all);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x, y;

    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

/* Three shapes of latency: even, with a long tail, and two humps. */
static uint64_t made_up(unsigned shape, uint64_t *random)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    uint64_t even = *random >> 40;

    if (shape == 0)
        return even;
    if (shape == 1)
        return 100000000 / (even + 1);
    return even % 10 ? even % 500 : 3000000 + even % 100000;
}

PROMISE(percentiles_are_those_of_the_sorted_values_within_a_thousandth)
{
    enum { N = 20011 };
    static const double percents[] = {0.1, 1, 25, 50, 75, 90, 99, 99.9, 99.99, 100};
    uint64_t *values = mem_new_array(uint64_t, N), random = 7;

    for (unsigned shape = 0; shape < 3; shape++) {
        struct hist *h = hist_new();
        for (size_t i = 0; i < N; i++)
            hist_add(h, values[i] = made_up(shape, &random));
        qsort(values, N, sizeof *values, by_value);
        for (size_t i = 0; i < sizeof percents / sizeof percents[0]; i++) {
            double rank = percents[i] / 100 * N;
            size_t at = (size_t)rank + (rank > (double)(size_t)rank);
            uint64_t exact = values[at - 1], got = hist_at(h, percents[i]);
            assert_true(got >= exact);
            assert_true(got - exact <= exact / 1000);
        }
        mem_free(h);
    }
    mem_free(values);
}

PROMISE(the_rank_is_rounded_up)
{
    struct hist *h = hist_new();

    for (uint64_t v = 1; v <= 4; v++)
        hist_add(h, v);
    assert_int_equal(hist_at(h, 25), 1);
    assert_int_equal(hist_at(h, 25.1), 2);
    assert_int_equal(hist_at(h, 75.1), 4);
    mem_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(an_empty_histogram_says_zero),
        HOLDS(small_values_are_exact),
        HOLDS(a_value_is_reported_at_most_a_thousandth_too_high_and_never_too_low),
        HOLDS(cells_of_neighbours_never_go_back),
        HOLDS(what_is_too_large_counts_as_the_largest_and_max_stays_exact),
        HOLDS(percentiles_are_those_of_the_sorted_values_within_a_thousandth),
        HOLDS(the_rank_is_rounded_up),
        HOLDS(merging_is_as_if_all_had_been_added_to_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
