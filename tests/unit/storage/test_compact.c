#include "storage/compact.h"
#include "tests/lib/unit.h"

enum { UNIT = 16, MAX = 2000 };
static const uint64_t WEIGHT_MAX = (uint64_t)1 << 40;

struct sim {
    struct compact_table t[MAX];
    size_t n;
    uint64_t written;
};

static void merge(struct sim *s, size_t first, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += s->t[first + i].bytes;
    s->t[first].bytes = sum;
    memmove(&s->t[first + 1], &s->t[first + n], (s->n - first - n) * sizeof(s->t[0]));
    s->n -= n - 1;
    s->written += sum;
}

static void flush(struct sim *s, uint64_t bytes)
{
    memmove(&s->t[1], &s->t[0], s->n * sizeof(s->t[0]));
    s->t[0] = (struct compact_table){bytes, bytes, false};
    s->n++;
}

PROMISE(tables_stay_few_and_each_byte_is_merged_a_few_times)
{
    struct sim s = {0};
    uint64_t flushed = 0;
    size_t most = 0, first, n;
    for (unsigned i = 0; i < 20000; i++) {
        flush(&s, 8);
        flushed += 8;
        while (compact_pick(s.t, s.n, UNIT, WEIGHT_MAX, &first, &n))
            merge(&s, first, n);
        most = s.n > most ? s.n : most;
    }
    print_message("20000 flushes: at most %zu tables, each byte merged %.2f times\n", most,
                  (double)s.written / (double)flushed);
    assert_true(most <= 5 * COMPACT_RATIO);
    assert_true(s.written < flushed * 5);
}

PROMISE(tiny_flushes_do_not_pile_up)
{
    struct sim s = {0};
    size_t first, n;
    for (unsigned i = 0; i < 2000; i++) {
        flush(&s, i % 10 == 0 ? 8 : 1);
        while (compact_pick(s.t, s.n, UNIT, WEIGHT_MAX, &first, &n))
            merge(&s, first, n);
        assert_true(s.n <= 5 * COMPACT_RATIO);
    }
}

PROMISE(fewer_than_a_tier_are_left_alone)
{
    struct compact_table t[COMPACT_RATIO - 1] = {0};
    size_t first, n;
    assert_false(compact_pick(t, COMPACT_RATIO - 1, UNIT, WEIGHT_MAX, &first, &n));
    assert_false(compact_pick(t, 0, UNIT, WEIGHT_MAX, &first, &n));
}

PROMISE(what_a_merge_has_is_not_given_to_another)
{
    struct compact_table t[3 * COMPACT_RATIO] = {0};
    size_t first, n;
    for (size_t i = COMPACT_RATIO; i < 3 * COMPACT_RATIO; i++)
        t[i].is_merging = true;
    assert_true(compact_pick(t, 3 * COMPACT_RATIO, UNIT, WEIGHT_MAX, &first, &n));
    assert_int_equal(first, 0);
    assert_int_equal(n, COMPACT_RATIO);
    t[3].is_merging = true;
    assert_false(compact_pick(t, 3 * COMPACT_RATIO, UNIT, WEIGHT_MAX, &first, &n));
}

PROMISE(a_tier_that_would_be_filled_is_taken_along)
{
    struct compact_table t[2 * COMPACT_RATIO - 1];
    size_t first, n;
    for (size_t i = 0; i < 2 * COMPACT_RATIO - 1; i++)
        t[i] = (struct compact_table){i < COMPACT_RATIO ? 8 : 64, 1, false};
    assert_true(compact_pick(t, 2 * COMPACT_RATIO - 1, UNIT, WEIGHT_MAX, &first, &n));
    assert_int_equal(first, 0);
    assert_int_equal(n, 2 * COMPACT_RATIO - 1);
}

PROMISE(no_merge_passes_the_bound_of_weight_and_what_is_left_is_merged_on)
{
    struct sim s = {0};
    size_t first, n;
    uint64_t max = 8 * 1000;
    for (unsigned i = 0; i < 20000; i++) {
        flush(&s, 8);
        while (compact_pick(s.t, s.n, UNIT, max, &first, &n)) {
            uint64_t sum = 0;
            assert_true(n >= 2);
            for (size_t k = 0; k < n; k++)
                sum += s.t[first + k].weight;
            assert_true(sum <= max);
            merge(&s, first, n);
            s.t[first].weight = sum;
        }
    }
    size_t small = 0;
    for (size_t i = 0; i < s.n; i++)
        small += s.t[i].weight <= max / 2;
    print_message("%zu tables, of which %zu may be merged\n", s.n, small);
    assert_true(small <= 5 * COMPACT_RATIO);
    assert_true(s.n - small <= 2 * (20000 * 8 / max) + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(tables_stay_few_and_each_byte_is_merged_a_few_times),
        HOLDS(tiny_flushes_do_not_pile_up),
        HOLDS(fewer_than_a_tier_are_left_alone),
        HOLDS(what_a_merge_has_is_not_given_to_another),
        HOLDS(a_tier_that_would_be_filled_is_taken_along),
        HOLDS(no_merge_passes_the_bound_of_weight_and_what_is_left_is_merged_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
