#include "base/enc.h"
#include "storage/bloom.h"
#include "tests/lib/unit.h"

enum { KEYS = 200000, PROBES = 1000000 };

static uint64_t hash_of(uint64_t n)
{
    char key[26] = {1, 9};
    enc_be64(key + 10, n % 1000);
    enc_be64(key + 18, n);
    return bloom_hash(str_of(key, sizeof(key)));
}

static void build(size_t n, struct buf *filter)
{
    uint64_t *hashes = mem_new_array(uint64_t, n);
    for (uint64_t i = 0; i < n; i++)
        hashes[i] = hash_of(i);
    bloom_build(hashes, n, 10, filter);
    mem_free(hashes);
}

PROMISE(every_key_that_is_there_may_be_there)
{
    for (size_t n = 0; n < 2000; n = n * 2 + 1) {
        struct buf filter = {0};
        build(n, &filter);
        for (uint64_t i = 0; i < n; i++)
            assert_true(bloom_may_have(buf_get(&filter), hash_of(i)));
        buf_deinit(&filter);
    }
}

PROMISE(of_keys_that_are_not_there_fewer_than_twelve_in_a_thousand_may_be)
{
    struct buf filter = {0};
    size_t wrong = 0;
    build(KEYS, &filter);
    assert_true(filter.len * 8 < KEYS * 10 + 8 * BLOOM_LINE);
    for (uint64_t i = 0; i < PROBES; i++)
        wrong += bloom_may_have(buf_get(&filter), hash_of(KEYS + i));
    print_message("false positives: %.3f %%\n", 100.0 * (double)wrong / PROBES);
    assert_true(wrong < PROBES / 1000 * 12);
    buf_deinit(&filter);
}

PROMISE(a_filter_of_nothing_admits_nothing)
{
    struct buf filter = {0};
    build(0, &filter);
    for (uint64_t i = 0; i < 100; i++)
        assert_false(bloom_may_have(buf_get(&filter), hash_of(i)));
    buf_deinit(&filter);
}

PROMISE(what_is_no_filter_admits_everything)
{
    assert_true(bloom_may_have((struct str){0}, 1));
    assert_true(bloom_may_have(STR("short"), 1));
}

/* Built as keys come, with more expected than came: folded, it is what fewer lines would have been. */
PROMISE(a_filter_built_as_keys_come_has_the_bits_of_one_built_at_once)
{
    for (size_t expected = KEYS / 10; expected <= KEYS; expected += KEYS / 10) {
        size_t n = KEYS / 10;
        struct bloom_builder b = {0};
        struct buf same = {0};
        uint64_t *hashes = mem_new_array(uint64_t, KEYS * 2);
        assert_ok(bloom_begin(&b, expected, 10));
        for (uint64_t i = 0; i < n; i++)
            bloom_add(&b, hashes[i] = hash_of(i));
        struct str got = bloom_end(&b, 10);
        assert_true(got.len * 8 >= n * 10);
        assert_true(got.len * 8 <= n * 20 + 12 * 8 * BLOOM_LINE);
        size_t as_many = got.len * 8 / 10; /* with bits of so many, the same lines */
        bloom_build(hashes, as_many, 10, &same);
        assert_int_equal(same.len, got.len); /* zero hashes fill up: their line is the first */
        assert_memory_equal(got.p + BLOOM_LINE, same.p + BLOOM_LINE, got.len - BLOOM_LINE);
        size_t wrong = 0;
        for (uint64_t i = 0; i < n; i++)
            assert_true(bloom_may_have(got, hash_of(i)));
        for (uint64_t i = 0; i < PROBES; i++)
            wrong += bloom_may_have(got, hash_of(KEYS + i));
        assert_true(wrong < PROBES / 1000 * 12);
        mem_free(hashes);
        buf_deinit(&same);
        bloom_deinit(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(every_key_that_is_there_may_be_there),
        HOLDS(of_keys_that_are_not_there_fewer_than_twelve_in_a_thousand_may_be),
        HOLDS(a_filter_of_nothing_admits_nothing),
        HOLDS(what_is_no_filter_admits_everything),
        HOLDS(a_filter_built_as_keys_come_has_the_bits_of_one_built_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
