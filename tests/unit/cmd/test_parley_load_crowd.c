#include "tests/lib/unit.h"
#include "cmd/parley_load_crowd.h"
#include "cmd/parley_load_hist.h"

static struct crowd crowd_new(size_t n, size_t at, size_t group, size_t rooms)
{
    struct crowd c = {.n = n, .at = at, .group = group};
    struct buf ids = {0};

    for (size_t i = 0; i < group * rooms; i++)
        buf_str(&ids, STR("id\n"));
    assert_ok(crowd_init(&c, buf_get(&ids)));
    buf_deinit(&ids);
    return c;
}

PROMISE(each_user_is_in_one_room_and_each_worker_has_its_share_of_every_room)
{
    for (size_t n = 1; n <= 4; n++) {
        for (size_t group = n; group <= 11; group++) {
            struct crowd c = crowd_new(n, 0, group, 3);
            bool was[33] = {false};

            assert_int_equal(crowd_first(group, 3, n, n), 3 * group);
            for (size_t room = 0; room < 3; room++) {
                for (size_t i = 0; i < group; i++) {
                    uint32_t number = crowd_member(&c, room, i);
                    assert_true(number < 3 * group && !was[number]);
                    was[number] = true;
                    assert_int_equal(crowd_room(&c, number), room);
                }
            }
            for (size_t at = 0; at < n; at++)
                assert_int_equal(crowd_first(group, 3, n, at + 1) - crowd_first(group, 3, n, at),
                                 3 * crowd_share(group, n, at));
            assert_true(crowd_room(&c, (uint32_t)(3 * group)) == SIZE_MAX);
            crowd_deinit(&c);
        }
    }
}

PROMISE(ids_that_do_not_make_whole_groups_are_refused)
{
    static const struct {
        size_t n, at, group;
        const char *ids;
    } bad[] = {{2, 0, 3, "a\nb\n"}, {2, 0, 2, ""}, {2, 2, 2, "a\nb\n"}, {3, 0, 2, "a\nb\n"}, {0, 0, 2, "a\nb\n"}};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct crowd c = {.n = bad[i].n, .at = bad[i].at, .group = bad[i].group};
        assert_int_equal(crowd_init(&c, str_c(bad[i].ids)), ERR_INVALID);
    }
}

PROMISE(the_highest_top_of_each_room_is_kept_and_damage_is_seen)
{
    uint64_t v[3] = {5, 500, 0}, w[3] = {4, 70000, 1};
    struct buf b = {0};

    tops_encode(w, 3, &b);
    assert_true(tops_merge(buf_get(&b), v, 3));
    assert_true(v[0] == 5 && v[1] == 70000 && v[2] == 1);
    assert_false(tops_merge(str_of(b.p, b.len - 1), v, 3));
    assert_false(tops_merge(buf_get(&b), v, 2));
    buf_deinit(&b);
}

PROMISE(an_entry_has_reached_all_when_the_last_worker_says_so)
{
    struct reach v[] = {
        {1, 7, 30}, {0, 7, 5}, {1, 8, 9}, {0, 7, 11}, {1, 7, 20}}; /* of 1, 8 one worker does not tell */
    struct hist *h = mem_new(struct hist);

    reaches_merge(v, 5, 2, h);
    assert_true(h->count == 2 && h->max == 30 && h->sum == 41);
    mem_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(each_user_is_in_one_room_and_each_worker_has_its_share_of_every_room),
        HOLDS(ids_that_do_not_make_whole_groups_are_refused),
        HOLDS(the_highest_top_of_each_room_is_kept_and_damage_is_seen),
        HOLDS(an_entry_has_reached_all_when_the_last_worker_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
