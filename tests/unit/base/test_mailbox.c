#include "base/mailbox.h"
#include "tests/lib/unit.h"
#include <pthread.h>
#include <stdatomic.h>

enum { THREADS = 4, EACH = 20000 };

struct note {
    struct msg msg;
    unsigned from, number;
};

static atomic_uint wakes;
static unsigned ran[64], ran_count;
static struct mailbox *box;

static void count_wake(void *arg)
{
    assert_ptr_equal(arg, &wakes);
    atomic_fetch_add(&wakes, 1);
}

static void note_number(struct msg *m) { ran[ran_count++] = container_of(m, struct note, msg)->number; }

static int set_up(void **state)
{
    (void)state;
    atomic_store(&wakes, 0);
    ran_count = 0;
    mailbox_create(count_wake, &wakes, &box);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mailbox_destroy(box);
    return 0;
}

PROMISE(messages_run_in_the_order_of_posting_after_one_wake)
{
    struct note notes[10];
    for (unsigned i = 0; i < 10; i++) {
        notes[i] = (struct note){{NULL, note_number}, 0, i};
        mailbox_post(box, &notes[i].msg);
    }
    assert_int_equal(atomic_load(&wakes), 1);
    assert_int_equal(ran_count, 0);
    assert_int_equal(mailbox_drain(box), 10);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(ran[i], i);
    assert_int_equal(mailbox_drain(box), 0);
}

PROMISE(a_drained_box_wakes_again)
{
    struct note a = {{NULL, note_number}, 0, 1};
    for (unsigned i = 1; i <= 3; i++) {
        mailbox_post(box, &a.msg);
        assert_int_equal(atomic_load(&wakes), i);
        mailbox_drain(box);
    }
}

static void post_again(struct msg *m)
{
    struct note *n = container_of(m, struct note, msg);
    if (n->number-- > 0)
        mailbox_post(box, m);
    ran_count++;
}

PROMISE(what_a_message_posts_waits_for_the_next_drain_and_wakes)
{
    struct note n = {{NULL, post_again}, 0, 2};
    mailbox_post(box, &n.msg);
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(mailbox_drain(box), 1);
        assert_int_equal(ran_count, i);
    }
    assert_int_equal(mailbox_drain(box), 0);
    assert_int_equal(atomic_load(&wakes), 3);
}

static unsigned next_of[THREADS];

static void check_order(struct msg *m)
{
    struct note *n = container_of(m, struct note, msg);
    assert_int_equal(n->number, next_of[n->from]);
    next_of[n->from]++;
    mem_free(n);
}

static void *post_many(void *arg)
{
    unsigned from = *(unsigned *)arg;
    for (unsigned i = 0; i < EACH; i++) {
        struct note *n = mem_new(struct note);
        *n = (struct note){{NULL, check_order}, from, i};
        mailbox_post(box, &n->msg);
    }
    return NULL;
}

PROMISE(each_of_several_posters_keeps_its_order_and_nothing_is_lost)
{
    pthread_t thread[THREADS];
    unsigned from[THREADS];
    size_t total = 0;
    unsigned batches = 0;

    for (unsigned i = 0; i < THREADS; i++) {
        from[i] = i;
        assert_ok(pthread_create(&thread[i], NULL, post_many, &from[i]));
    }
    while (total < THREADS * EACH) {
        size_t n = mailbox_drain(box);
        total += n;
        batches += n > 0;
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(next_of[i], EACH);
    }
    assert_int_equal(atomic_load(&wakes), batches); /* one a batch, neither more nor fewer */
}

#define ON_A_BOX(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_A_BOX(messages_run_in_the_order_of_posting_after_one_wake),
        ON_A_BOX(a_drained_box_wakes_again),
        ON_A_BOX(what_a_message_posts_waits_for_the_next_drain_and_wakes),
        ON_A_BOX(each_of_several_posters_keeps_its_order_and_nothing_is_lost),
    };
    return cmocka_run_group_tests_name("mailbox", tests, NULL, NULL);
}
