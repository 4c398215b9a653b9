#include "gateway/registry.h"
#include "tests/lib/unit.h"

PROMISE(first_and_last_are_told)
{
    struct registry r = {0};
    struct link a = {0}, b = {0};

    assert_true(registry_add(&r, 5, &a));
    assert_false(registry_add(&r, 5, &b));
    assert_false(registry_remove(&r, 5, &a));
    assert_false(link_is_in(&a));
    assert_true(registry_remove(&r, 5, &b));
    assert_null(registry_get(&r, 5));
    registry_deinit(&r);
}

PROMISE(each_user_has_their_own_links)
{
    enum { USERS = 1000 };
    static struct link links[USERS][2];
    struct registry r = {0};

    for (user_id u = 1; u <= USERS; u++) {
        registry_add(&r, u, &links[u - 1][0]);
        registry_add(&r, u, &links[u - 1][1]);
    }
    for (user_id u = 1; u <= USERS; u++) {
        struct link *head = registry_get(&r, u);

        assert_ptr_equal(head->next, &links[u - 1][0]);
        assert_ptr_equal(head->prev, &links[u - 1][1]);
    }
    assert_null(registry_get(&r, USERS + 1));
    for (user_id u = 1; u <= USERS; u++) {
        registry_remove(&r, u, &links[u - 1][1]);
        assert_true(registry_remove(&r, u, &links[u - 1][0]));
    }
    registry_deinit(&r);
}

struct one {
    struct link link;
};

PROMISE(all_may_be_removed_while_walking)
{
    struct registry r = {0};
    struct one all[3] = {0};
    struct link *head;
    unsigned n = 0;

    for (unsigned i = 0; i < 3; i++)
        registry_add(&r, 5, &all[i].link);
    head = registry_get(&r, 5);
    list_each (head, o, struct one, link)
        assert_int_equal(registry_remove(&r, 5, &o->link), ++n == 3);
    assert_int_equal(n, 3);
    registry_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(first_and_last_are_told),
        HOLDS(each_user_has_their_own_links),
        HOLDS(all_may_be_removed_while_walking),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
