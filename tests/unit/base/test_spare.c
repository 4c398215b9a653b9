#include "base/spare.h"
#include "tests/lib/unit.h"
#include <assert.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#if !defined __SANITIZE_ADDRESS__ /* under which nothing is kept */
enum { KEEPS = true };
#else
enum { KEEPS = false };
#endif

enum { BLOCKS = 64 };

/* What a thread keeps depends on what ran on it before: each test has one of its own. */
static void *call(void *fn)
{
    void (**test)(void) = fn;

    (*test)();
    return NULL;
}

static void in_a_thread(void (*test)(void))
{
    pthread_t t;

    assert_ok(pthread_create(&t, NULL, call, &test));
    assert_ok(pthread_join(t, NULL));
}

static void free_many(size_t bytes, size_t n)
{
    void **p = mem_alloc(n * sizeof *p);

    for (size_t i = 0; i < n; i++)
        memset(p[i] = spare_alloc(bytes), 'x', bytes);
    for (size_t i = 0; i < n; i++)
        spare_free(p[i], bytes);
    mem_free(p);
}

static void freed_block_is_taken_again(void)
{
    char *p = spare_alloc(100), *q = spare_alloc(200), *again;

    spare_free(NULL, 0);
    spare_free(p, 100);
    spare_free(q, 200);
    assert_int_equal(spare_kept(), KEEPS ? 128 + 256 : 0);
    again = spare_alloc(129);
    assert_true(!KEEPS || again == q);
    assert_int_equal(spare_kept(), KEEPS ? 128 : 0);
    spare_free(again, 129);
    again = spare_alloc(0);
    assert_true(!KEEPS || again == p);
    spare_free(again, 0);
}
PROMISE(a_block_that_was_freed_is_the_next_of_its_size) { in_a_thread(freed_block_is_taken_again); }

PROMISE(blocks_have_sizes_in_steps_and_what_is_large_has_its_own)
{
    assert_int_equal(spare_room(0), 128);
    assert_int_equal(spare_room(1), 128);
    assert_int_equal(spare_room(128), 128);
    assert_int_equal(spare_room(129), 256);
    assert_int_equal(spare_room(SPARE_MAX - 1), SPARE_MAX);
    assert_int_equal(spare_room(SPARE_MAX), SPARE_MAX);
    assert_int_equal(spare_room(SPARE_MAX + 1), SPARE_MAX + 1);
}

static void all_sizes(void)
{
    for (size_t bytes = 0; bytes <= SPARE_MAX + 200; bytes++) {
        char *p = spare_alloc(bytes), *same = spare_alloc(spare_room(bytes));

        memset(p, 'x', bytes);
        memset(same, 'y', spare_room(bytes));
        for (size_t i = 0; i < bytes; i++)
            assert_int_equal(p[i], 'x');
        assert_int_equal((uintptr_t)p % 16, 0);
        spare_free(p, bytes);
        spare_free(same, spare_room(bytes));
    }
    assert_int_equal(spare_kept(), KEEPS ? 2 * (128 + 256 + 384 + 512 + 640 + 768 + 896 + 1024) : 0);
}
PROMISE(every_size_has_its_room_and_the_large_are_not_kept) { in_a_thread(all_sizes); }

static void too_many_are_freed(void)
{
    free_many(SPARE_MAX, 2 * SPARES_MAX / SPARE_MAX);
    assert_int_equal(spare_kept(), KEEPS ? SPARES_MAX : 0);
    free_many(100, 2 * SPARES_MAX / 128); /* those of which there are most make room */
    assert_in_range(spare_kept(), KEEPS ? SPARES_MAX - SPARE_MAX : 0, SPARES_MAX);
    free_many(SPARE_MAX, 100);
    assert_in_range(spare_kept(), KEEPS ? SPARES_MAX - SPARE_MAX : 0, SPARES_MAX);
}
PROMISE(a_thread_keeps_no_more_than_the_bound) { in_a_thread(too_many_are_freed); }

static void other_sizes_come_in(void)
{
    free_many(SPARE_MAX, 2 * SPARES_MAX / SPARE_MAX);
    free_many(100, 512);
    size_t before = spare_kept();
    void *p[512];
    for (size_t i = 0; i < 512; i++)
        p[i] = spare_alloc(100);
    assert_int_equal(before - spare_kept(), KEEPS ? 512 * 128 : 0); /* all of them were there */
    for (size_t i = 0; i < 512; i++)
        spare_free(p[i], 100);
}
PROMISE(one_size_does_not_keep_the_others_out) { in_a_thread(other_sizes_come_in); }

/* Two threads, each freeing what the other one made. */
struct pass {
    _Atomic(char *) slot[BLOCKS];
    struct pass *other;
    size_t rounds, kept;
};

static size_t size_at(size_t round, size_t i) { return 1 + (round * 37 + i * 101) % SPARE_MAX; }

static void *trade(void *arg)
{
    struct pass *p = arg;

    for (size_t round = 0; round < p->rounds; round++) {
        for (size_t i = 0; i < BLOCKS; i++) {
            size_t n = size_at(round, i);
            char *mine = spare_alloc(n), *theirs;

            memset(mine, (int)(n & 0xff), n);
            while (atomic_load(&p->slot[i]))
                sched_yield();
            atomic_store(&p->slot[i], mine);
            while (!(theirs = atomic_exchange(&p->other->slot[i], NULL)))
                sched_yield();
            for (size_t at = 0; at < n; at++)
                assert(theirs[at] == (char)(n & 0xff));
            spare_free(theirs, n);
        }
    }
    p->kept = spare_kept();
    return NULL;
}

PROMISE(blocks_that_another_thread_frees_are_that_threads)
{
    static struct pass a, b;
    pthread_t t[2];

    a.rounds = b.rounds = 200;
    a.other = &b;
    b.other = &a;
    assert_ok(pthread_create(&t[0], NULL, trade, &a));
    assert_ok(pthread_create(&t[1], NULL, trade, &b));
    assert_ok(pthread_join(t[0], NULL));
    assert_ok(pthread_join(t[1], NULL));
    assert_in_range(a.kept, KEEPS ? 128 : 0, SPARES_MAX);
    assert_in_range(b.kept, KEEPS ? 128 : 0, SPARES_MAX);
}

#if defined __GLIBC__ && !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__ /* which have no mallinfo */
static void keep_some(void)
{
    free_many(500, 100);
    free_many(1000, 100);
}

PROMISE(what_a_thread_kept_is_freed_when_it_ends)
{
    size_t before;

    in_a_thread(keep_some); /* what the first thread leaves behind is the library's */
    before = mallinfo2().uordblks;
    for (int i = 0; i < 20; i++)
        in_a_thread(keep_some);
    assert_true(mallinfo2().uordblks < before + 64 * 1024);
}
#else
PROMISE(what_a_thread_kept_is_freed_when_it_ends) { skip(); }
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_block_that_was_freed_is_the_next_of_its_size),
        HOLDS(blocks_have_sizes_in_steps_and_what_is_large_has_its_own),
        HOLDS(every_size_has_its_room_and_the_large_are_not_kept),
        HOLDS(a_thread_keeps_no_more_than_the_bound),
        HOLDS(one_size_does_not_keep_the_others_out),
        HOLDS(blocks_that_another_thread_frees_are_that_threads),
        HOLDS(what_a_thread_kept_is_freed_when_it_ends),
    };

    return cmocka_run_group_tests_name("spare", tests, NULL, NULL);
}
