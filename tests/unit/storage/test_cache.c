#include "storage/cache.h"
#include "tests/lib/unit.h"
#include <pthread.h>

enum { BLOCK = 1000 };

static struct block *make(char fill)
{
    struct block *b = mem_alloc(sizeof(*b) + BLOCK);
    atomic_init(&b->refs, 1);
    b->len = BLOCK;
    memset(b->bytes, fill, BLOCK);
    return b;
}

static void put(struct block_cache *c, uint64_t table, uint64_t at, char fill)
{
    struct block *b = make(fill);
    block_cache_put(c, table, at, b);
    block_unref(b);
}

static bool has(struct block_cache *c, uint64_t table, uint64_t at, char fill)
{
    struct block *b = block_cache_get(c, table, at);
    bool found = b != NULL;
    if (found)
        assert_int_equal(b->bytes[BLOCK - 1], fill);
    block_unref(b);
    return found;
}

PROMISE(what_was_put_is_found_under_its_table_and_place_only)
{
    struct block_cache *c;
    block_cache_create(1 << 20, &c);
    put(c, 1, 0, 'a');
    put(c, 1, 8192, 'b');
    put(c, 2, 0, 'c');
    assert_true(has(c, 1, 0, 'a'));
    assert_true(has(c, 1, 8192, 'b'));
    assert_true(has(c, 2, 0, 'c'));
    assert_false(has(c, 2, 8192, 0));
    assert_int_equal(block_cache_hits(c), 3);
    assert_int_equal(block_cache_misses(c), 1);
    block_cache_destroy(c);
}

PROMISE(a_second_block_for_the_same_place_is_not_kept)
{
    struct block_cache *c;
    block_cache_create(1 << 20, &c);
    put(c, 1, 0, 'a');
    put(c, 1, 0, 'b');
    assert_true(has(c, 1, 0, 'a'));
    block_cache_destroy(c);
}

PROMISE(it_stays_within_its_bytes)
{
    struct block_cache *c;
    size_t kept = 0;
    block_cache_create(100 * BLOCK, &c);
    for (uint64_t i = 0; i < 1000; i++)
        put(c, 1, i * 8192, 'x');
    for (uint64_t i = 0; i < 1000; i++)
        kept += has(c, 1, i * 8192, 'x');
    assert_true(kept > 40 && kept <= 100);
    block_cache_destroy(c);
}

PROMISE(what_is_asked_for_again_and_again_outlives_what_is_not)
{
    struct block_cache *c;
    block_cache_create(160 * BLOCK, &c);
    put(c, 7, 0, 'h');
    for (uint64_t i = 0; i < 2000; i++) {
        put(c, 1, i * 8192, 'x');
        assert_true(has(c, 7, 0, 'h'));
    }
    block_cache_destroy(c);
}

PROMISE(an_evicted_block_lives_as_long_as_it_is_referenced)
{
    struct block_cache *c;
    block_cache_create(32 * BLOCK, &c);
    put(c, 1, 0, 'a');
    struct block *b = block_cache_get(c, 1, 0);
    for (uint64_t i = 1; i < 1000; i++)
        put(c, 1, i * 8192, 'x');
    assert_false(has(c, 1, 0, 'a'));
    assert_int_equal(b->bytes[0], 'a');
    block_cache_destroy(c);
    assert_int_equal(b->bytes[BLOCK - 1], 'a');
    block_unref(b);
}

PROMISE(a_block_larger_than_its_part_is_not_kept)
{
    struct block_cache *c;
    block_cache_create(8 * BLOCK, &c);
    put(c, 1, 0, 'a');
    assert_false(has(c, 1, 0, 'a'));
    block_cache_destroy(c);
}

PROMISE(no_two_tables_get_the_same_number)
{
    struct block_cache *c;
    block_cache_create(1 << 20, &c);
    assert_true(block_cache_new_table(c) != block_cache_new_table(c));
    block_cache_destroy(c);
}

static void *use(void *arg)
{
    struct block_cache *c = arg;
    for (uint64_t i = 0; i < 20000; i++) {
        uint64_t at = i * 2654435761u % 200;
        if (!has(c, 1, at, (char)at))
            put(c, 1, at, (char)at);
    }
    return NULL;
}

PROMISE(several_threads_may_use_it)
{
    struct block_cache *c;
    pthread_t other;
    block_cache_create(100 * BLOCK, &c);
    assert_int_equal(pthread_create(&other, NULL, use, c), 0);
    use(c);
    pthread_join(other, NULL);
    block_cache_destroy(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(what_was_put_is_found_under_its_table_and_place_only),
        HOLDS(a_second_block_for_the_same_place_is_not_kept),
        HOLDS(it_stays_within_its_bytes),
        HOLDS(what_is_asked_for_again_and_again_outlives_what_is_not),
        HOLDS(an_evicted_block_lives_as_long_as_it_is_referenced),
        HOLDS(a_block_larger_than_its_part_is_not_kept),
        HOLDS(no_two_tables_get_the_same_number),
        HOLDS(several_threads_may_use_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
