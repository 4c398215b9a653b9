#include "services/naming.h"
#include "tests/lib/unit.h"

enum { USERS = 300 };

static const struct data_dir dir = {.keys = {.conv = {{1, 2, 3}}, .shard = {{4, 5, 6}}}};

static void check_pair(struct naming *n, user_id a, user_id b)
{
    struct conv_id want, got;

    pair_conv(&dir.keys, a, b, &want);
    naming_pair(n, a, b, &got);
    assert_true(conv_eq(&want, &got));
    assert_int_equal(naming_hash(n, &got) % SHARD_COUNT, shard_of(&dir, &want));
}

/* Ten times as many pairs as are kept. */
PROMISE(a_pair_has_the_same_conversation_whoever_asks_and_whatever_was_asked_before)
{
    struct naming *n;

    naming_create(&dir.keys, &n);
    for (int round = 0; round < 2; round++) {
        for (user_id a = 1; a <= USERS; a++) {
            for (user_id b = 1; b <= USERS; b++) {
                check_pair(n, a, b);
                check_pair(n, b, a);
            }
        }
    }
    naming_destroy(n);
}

PROMISE(a_hash_is_that_of_the_id_that_was_asked_for)
{
    struct conv_id ids[3] = {{{0}}, {{1}}, {{2}}}, pair;
    struct naming *n;

    naming_create(&dir.keys, &n);
    for (unsigned i = 0; i < 60; i++) {
        const struct conv_id *c = &ids[i * i % 3];

        assert_int_equal(naming_hash(n, c) % SHARD_COUNT, shard_of(&dir, c));
        if (i % 4 == 0)
            naming_pair(n, 1, 2 + i % 3, &pair);
        assert_int_equal(naming_hash(n, c) % SHARD_COUNT, shard_of(&dir, c));
    }
    naming_destroy(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_pair_has_the_same_conversation_whoever_asks_and_whatever_was_asked_before),
        HOLDS(a_hash_is_that_of_the_id_that_was_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
