#include "storage/memtable.h"
#include "storage/merge.h"
#include "tests/lib/unit.h"

enum { WALKS = 7, KEYS = 500 };

struct failing {
    struct iter it;
    int left;
};

static void fail_step(struct iter *it)
{
    struct failing *f = container_of(it, struct failing, it);
    if (--f->left <= 0)
        iter_end(it, ERR_CORRUPT);
}

static struct str number(unsigned n, char *out)
{
    int len = snprintf(out, 16, "%06u", n);
    return str_of(out, (size_t)len);
}

PROMISE(it_meets_each_key_once_with_the_newest_word)
{
    struct memtable *m[WALKS];
    struct memtable_iter it[WALKS];
    struct iter *inputs[WALKS];
    int newest[KEYS];
    char key[16];
    struct merge merge;
    for (unsigned i = 0; i < KEYS; i++)
        newest[i] = -1;
    for (unsigned w = WALKS; w-- > 0;) {
        memtable_create(&m[w]);
        for (unsigned i = w * 31 % 5; i < KEYS && w != 3; i += 1 + w * 17 % 7) { /* one of them is empty */
            struct str k = number(i, key);
            if (i % 11 == 0)
                memtable_delete(m[w], k);
            else
                memtable_put(m[w], k, str_of(&(char){(char)('a' + w)}, 1));
            newest[i] = (int)w;
        }
    }
    for (unsigned w = 0; w < WALKS; w++) {
        memtable_iter_init(&it[w], m[w], (struct str){0});
        inputs[w] = &it[w].it;
    }
    merge_init(&merge, inputs, WALKS);
    for (unsigned i = 0; i < KEYS; i++) {
        if (newest[i] < 0)
            continue;
        assert_true(merge.it.is_valid);
        assert_true(str_eq(merge.it.key, number(i, key)));
        assert_int_equal(merge.it.is_tombstone, i % 11 == 0);
        if (!merge.it.is_tombstone)
            assert_int_equal(merge.it.value.p[0], 'a' + newest[i]);
        merge.it.next(&merge.it);
    }
    assert_false(merge.it.is_valid);
    assert_ok(merge.it.err);
    merge_deinit(&merge);
    for (unsigned w = 0; w < WALKS; w++)
        memtable_destroy(m[w]);
}

PROMISE(it_ends_where_one_of_its_walks_fails)
{
    struct memtable *m;
    struct memtable_iter it;
    struct failing f = {{.next = fail_step, .key = STR("b"), .is_valid = true}, 1};
    memtable_create(&m);
    memtable_put(m, STR("a"), STR("1"));
    memtable_put(m, STR("c"), STR("2"));
    memtable_iter_init(&it, m, (struct str){0});
    struct merge merge;
    merge_init(&merge, (struct iter *const[]){&it.it, &f.it}, 2);
    assert_true(merge.it.is_valid);
    merge.it.next(&merge.it);
    assert_true(merge.it.is_valid && str_eq(merge.it.key, STR("b")));
    merge.it.next(&merge.it);
    assert_false(merge.it.is_valid);
    assert_int_equal(merge.it.err, ERR_CORRUPT);
    merge_deinit(&merge);
    memtable_destroy(m);
}

PROMISE(damage_at_the_start_is_told_before_what_may_be_waited_for)
{
    struct iter waits = {.err = ERR_AGAIN}, broken = {.err = ERR_CORRUPT}, empty = {.err = ERR_OK};
    struct merge merge;
    merge_init(&merge, (struct iter *const[]){&broken, &waits, &empty}, 3);
    assert_false(merge.it.is_valid);
    assert_int_equal(merge.it.err, ERR_CORRUPT);
    merge_deinit(&merge);
    merge_init(&merge, (struct iter *const[]){&empty, &waits}, 2);
    assert_int_equal(merge.it.err, ERR_AGAIN);
    merge_deinit(&merge);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(it_meets_each_key_once_with_the_newest_word),
        HOLDS(it_ends_where_one_of_its_walks_fails),
        HOLDS(damage_at_the_start_is_told_before_what_may_be_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
