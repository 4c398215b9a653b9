#include "base/list.h"
#include "base/mem.h"
#include "tests/lib/unit.h"
#include <sys/mman.h>

PROMISE(mem_alloc_gives_zeros_and_nothing_is_not_NULL)
{
    char *p = mem_alloc(1000);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(p[i], 0);
    mem_free(p);
    void *empty = mem_alloc(0), *also_empty = mem_try(0);
    assert_non_null(empty);
    assert_non_null(also_empty);
    mem_free(empty);
    mem_free(also_empty);
    mem_free(NULL);
}

PROMISE(mem_try_answers_NULL_when_there_is_none)
{
    volatile size_t too_much = SIZE_MAX / 4;
#ifndef __SANITIZE_ADDRESS__ /* the sanitizers end the program instead */
#ifndef __SANITIZE_THREAD__
    assert_null(mem_try(too_much));
#endif
#endif
    (void)too_much;
}

/* Resident or not: the kernel knows only what is mapped. */
static bool is_mapped(void *p)
{
    unsigned char resident;
    return mincore(p, 4096, &resident) == 0;
}

PROMISE(large_memory_has_pages_of_its_own_that_go_when_it_is_freed)
{
    for (size_t bytes = 1; bytes <= 4 * MEM_PAGES; bytes = bytes * 3 + 1) {
        char *p = mem_pages(bytes);
        assert_non_null(p);
        memset(p, 7, bytes);
        mem_pages_free(p, bytes);
    }
    char *p = mem_pages(MEM_PAGES);
    assert_int_equal((uintptr_t)p % 4096, 0);
    assert_true(is_mapped(p));
    mem_pages_free(p, MEM_PAGES);
    assert_false(is_mapped(p));
    mem_pages_free(NULL, 0);
    assert_null(mem_pages(SIZE_MAX / 2));
}

PROMISE(mem_dup_ends_in_a_zero)
{
    char *p = mem_dup(STR("abc")), *empty = mem_dup((struct str){0});
    assert_string_equal(p, "abc");
    assert_string_equal(empty, "");
    mem_free(p);
    mem_free(empty);
}

PROMISE(arena_memory_is_zeroed_aligned_and_disjoint)
{
    struct arena a = {0};
    unsigned char *p[500];
    size_t size[500];

    for (size_t i = 0; i < 500; i++) {
        size[i] = i * 7919 % 3000;
        p[i] = arena_alloc(&a, size[i]);
        assert_int_equal((uintptr_t)p[i] % 16, 0);
        for (size_t j = 0; j < size[i]; j++)
            assert_int_equal(p[i][j], 0);
        memset(p[i], (int)(i & 0xff), size[i]);
    }
    for (size_t i = 0; i < 500; i++) {
        for (size_t j = 0; j < size[i]; j++)
            assert_int_equal(p[i][j], i & 0xff);
    }
    arena_deinit(&a);
    assert_null(a.chunks);
}

PROMISE(an_arena_that_begins_small_takes_no_more_than_it_was_asked_for_and_grows)
{
    struct arena a;

    arena_begin(&a, 320);
    assert_in_range(a.bytes, 320, 340);
    memset(arena_alloc(&a, 320), 1, 320);
    assert_in_range(a.bytes, 320, 340);
    memset(arena_alloc(&a, 1), 2, 1);
    assert_in_range(a.bytes, 640, 1100);
    arena_deinit(&a);
    assert_int_equal(a.bytes, 0);
}

PROMISE(an_arena_takes_more_than_a_chunk_at_once_and_is_usable_after_deinit)
{
    struct arena a = {0};
    char *big = arena_alloc(&a, 1 << 20);
    big[(1 << 20) - 1] = 1;
    arena_deinit(&a);
    struct str s = arena_dup(&a, STR("again"));
    assert_true(str_eq(s, STR("again")));
    assert_int_equal(arena_dup(&a, (struct str){0}).len, 0);
    arena_deinit(&a);
    arena_deinit(&a);
}

struct item {
    int n;
    struct link link;
};

PROMISE(a_list_keeps_order_and_may_lose_the_item_at_hand)
{
    struct link head;
    struct item items[6] = {0};
    int sum = 0;

    list_init(&head);
    assert_null(list_first(&head, struct item, link));
    for (int i = 1; i < 6; i++) {
        items[i].n = i;
        list_push(&head, &items[i].link);
    }
    list_push_front(&head, &items[0].link);
    assert_ptr_equal(list_first(&head, struct item, link), &items[0]);
    assert_ptr_equal(list_last(&head, struct item, link), &items[5]);
    list_each (&head, it, struct item, link) {
        assert_ptr_equal(it, &items[sum]);
        sum++;
        if (it->n % 2)
            list_remove(&it->link);
    }
    assert_int_equal(sum, 6);
    assert_false(link_is_in(&items[1].link));
    list_remove(&items[1].link); /* in none: nothing happens */
    sum = 0;
    list_each (&head, it, struct item, link)
        sum += it->n;
    assert_int_equal(sum, 0 + 2 + 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(mem_alloc_gives_zeros_and_nothing_is_not_NULL),
        HOLDS(mem_try_answers_NULL_when_there_is_none),
        HOLDS(large_memory_has_pages_of_its_own_that_go_when_it_is_freed),
        HOLDS(mem_dup_ends_in_a_zero),
        HOLDS(arena_memory_is_zeroed_aligned_and_disjoint),
        HOLDS(an_arena_that_begins_small_takes_no_more_than_it_was_asked_for_and_grows),
        HOLDS(an_arena_takes_more_than_a_chunk_at_once_and_is_usable_after_deinit),
        HOLDS(a_list_keeps_order_and_may_lose_the_item_at_hand),
    };
    return cmocka_run_group_tests_name("mem", tests, NULL, NULL);
}
