#include "base/map.h"
#include "tests/lib/unit.h"

enum { KEYS = 600 };

struct item {
    unsigned key;
    bool is_in;
};

static bool key_is(const void *value, const void *key)
{
    return ((const struct item *)value)->key == *(const unsigned *)key;
}

/* Few different hashes near the top of their range: long runs, equal hashes, and runs that wrap around the end. */
static uint64_t hash_crowded(unsigned key) { return UINT64_MAX - key % 7; }
static uint64_t hash_spread(unsigned key) { return key * 0x9e3779b97f4a7c15u; }

static void check_walk(const struct map *m, size_t count)
{
    size_t at = 0, seen = 0;
    bool met[KEYS] = {0};
    for (struct item *it; (it = map_next(m, &at)) != NULL; seen++) {
        assert_true(it->is_in);
        assert_false(met[it->key]);
        met[it->key] = true;
    }
    assert_int_equal(seen, count);
    assert_int_equal(m->count, count);
}

static void compare_with_model(uint64_t (*hash)(unsigned), uint64_t seed)
{
    static struct item items[KEYS];
    struct map m = {0};
    size_t count = 0;

    for (unsigned i = 0; i < KEYS; i++)
        items[i] = (struct item){i, false};
    for (unsigned step = 0; step < 40000; step++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        unsigned key = (unsigned)(seed >> 33) % KEYS;
        bool grow = step % 10000 < 5000; /* it fills, then empties, again and again */
        struct item *it = &items[key];
        assert_ptr_equal(map_get(&m, hash(key), key_is, &key), it->is_in ? it : NULL);
        if (it->is_in && (!grow || seed >> 62 == 0)) {
            assert_ptr_equal(map_take(&m, hash(key), key_is, &key), it);
            it->is_in = false;
            count--;
        } else if (!it->is_in && grow) {
            map_add(&m, hash(key), it);
            it->is_in = true;
            count++;
        } else if (!it->is_in) {
            assert_null(map_take(&m, hash(key), key_is, &key));
        }
        assert_true(m.count * 4 <= m.cap * 3);
        if (step % 1000 == 0)
            check_walk(&m, count);
    }
    for (unsigned key = 0; key < KEYS; key++)
        assert_ptr_equal(map_get(&m, hash(key), key_is, &key), items[key].is_in ? &items[key] : NULL);
    check_walk(&m, count);
    map_deinit(&m);
}

PROMISE(a_map_does_what_a_plain_array_of_flags_does)
{
    for (uint64_t seed = 1; seed <= 5; seed++)
        compare_with_model(hash_spread, seed);
}

PROMISE(equal_hashes_and_wrapped_runs_change_nothing)
{
    for (uint64_t seed = 1; seed <= 2; seed++)
        compare_with_model(hash_crowded, seed);
}

PROMISE(a_zeroed_map_is_empty)
{
    struct map m = {0};
    unsigned key = 1;
    size_t at = 0;
    assert_null(map_get(&m, 1, key_is, &key));
    assert_null(map_take(&m, 1, key_is, &key));
    assert_null(map_next(&m, &at));
    map_deinit(&m);
}

PROMISE(an_emptied_map_gives_its_memory_back)
{
    struct map m = {0};
    struct item *items = mem_new_array(struct item, 10000);
    for (unsigned i = 0; i < 10000; i++) {
        items[i].key = i;
        map_add(&m, hash_spread(i), &items[i]);
    }
    assert_int_equal(m.cap, 16384);
    for (unsigned i = 0; i < 10000; i++)
        assert_ptr_equal(map_take(&m, hash_spread(i), key_is, &i), &items[i]);
    assert_true(m.cap <= 16);
    map_deinit(&m);
    mem_free(items);
}

PROMISE(one_that_is_kept_large_neither_shrinks_below_nor_stays_above)
{
    struct map m = {0};
    struct item *items = mem_new_array(struct item, 10000);

    map_keep(&m, 256);
    assert_int_equal(m.cap, 256);
    for (unsigned n = 100; n <= 10000; n *= 100) {
        for (unsigned i = 0; i < n; i++) {
            items[i].key = i;
            map_add(&m, hash_spread(i), &items[i]);
        }
        for (unsigned i = 0; i < n; i++)
            assert_ptr_equal(map_take(&m, hash_spread(i), key_is, &i), &items[i]);
        assert_int_equal(m.cap, 256);
    }
    map_deinit(&m);
    mem_free(items);
}

PROMISE(a_peek_names_an_entry_with_the_hash_or_nothing)
{
    struct map m = {0};
    struct item items[100] = {0};

    map_fetch(&m, 1);
    assert_null(map_peek(&m, 1));
    for (unsigned i = 0; i < 100; i++) {
        items[i].key = i;
        map_add(&m, hash_spread(i), &items[i]);
    }
    unsigned found = 0;
    for (unsigned i = 0; i < 200; i++) {
        struct item *it = map_peek(&m, hash_spread(i));
        map_fetch(&m, hash_spread(i));
        assert_true(!it || it == &items[i]);
        found += it != NULL;
    }
    assert_true(found > 50);
    map_deinit(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_map_does_what_a_plain_array_of_flags_does),
        HOLDS(equal_hashes_and_wrapped_runs_change_nothing),
        HOLDS(a_zeroed_map_is_empty),
        HOLDS(an_emptied_map_gives_its_memory_back),
        HOLDS(one_that_is_kept_large_neither_shrinks_below_nor_stays_above),
        HOLDS(a_peek_names_an_entry_with_the_hash_or_nothing),
    };
    return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
