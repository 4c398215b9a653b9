#include "schema/letters.h"
#include "schema/rebuild_rows.h"
#include "tests/unit/schema/schema.h"

static struct str body_of(struct fixture *f, user_id user)
{
    struct record r = {.kind = RECORD_DEVICE_GONE, .device_gone = {.user = user, .device = 1, .ts = 1}};
    struct buf b = {0};
    struct str kept;

    record_encode(&r, &b);
    kept = arena_dup(&f->arena, buf_get(&b));
    buf_deinit(&b);
    return kept;
}

static struct letter letter(struct fixture *f, user_id user, uint64_t pos)
{
    return (struct letter){.log_id = 3,
                           .pos = pos,
                           .kind = RECORD_DEVICE_GONE,
                           .shard = 256,
                           .kept_ms = (int64_t)pos,
                           .attempts = 1,
                           .why = STR("because"),
                           .body = body_of(f, user)};
}

PROMISE(at_a_bound_nothing_more_is_taken)
{
    struct fixture f;
    struct letters_total total = {0}, again = {0};
    struct letter l;

    fixture_init(&f);
    assert_ok(db_begin(f.db));
    for (uint64_t i = 0; i < LETTERS_MAX; i++) {
        l = letter(&f, i + 1, i);
        assert_ok(letters_put(f.db, &l, &total));
    }
    l = letter(&f, 1, LETTERS_MAX);
    assert_int_equal(letters_put(f.db, &l, &total), ERR_LIMIT);
    assert_ok(letters_total(f.db, &again));
    assert_true(again.n == total.n && again.bytes == total.bytes && again.n == LETTERS_MAX);
    total = (struct letters_total){.n = 1, .bytes = LETTERS_BYTES_MAX - l.body.len + 1};
    assert_int_equal(letters_put(f.db, &l, &total), ERR_LIMIT);
    assert_ok(db_commit(f.db));
    fixture_deinit(&f);
}

PROMISE(a_body_that_is_not_what_was_kept_is_damage)
{
    struct fixture f;
    struct letters_total total = {0};
    struct letter a, b, got;

    fixture_init(&f);
    a = letter(&f, 1, 5);
    b = letter(&f, 2, 9);
    assert_ok(letters_put(f.db, &a, &total));
    assert_ok(letters_put(f.db, &b, &total));
    assert_ok(letters_get(f.db, 1, &f.arena, &got));
    assert_true(str_eq(got.body, a.body) && got.pos == 5 && got.shard == 256 && str_eq(got.why, STR("because")));
    assert_ok(db_run(f.db,
                     "UPDATE letters SET body = (SELECT body FROM letters WHERE id = 2), sum ="
                     " (SELECT sum FROM letters WHERE id = 2) WHERE id = 1",
                     ""));
    assert_int_equal(letters_get(f.db, 1, &f.arena, &got), ERR_CORRUPT); /* another letter's is damage, too */
    assert_int_equal(letters_get(f.db, 3, &f.arena, &got), ERR_NOT_FOUND);
    fixture_deinit(&f);
}

PROMISE(what_is_erased_holds_nobody_any_more)
{
    struct fixture f;
    struct letters_total total = {0};
    bool holds = false;

    fixture_init(&f);
    for (uint64_t i = 1; i <= 4; i++) {
        struct letter l = letter(&f, i, 10 * i);
        assert_ok(letters_put(f.db, &l, &total));
    }
    assert_ok(letters_erase_before(f.db, 20));
    assert_ok(letters_hold(f.db, record_subject(RECORD_DEVICE_GONE, body_of(&f, 1)), &holds));
    assert_false(holds);
    assert_ok(letters_hold(f.db, record_subject(RECORD_DEVICE_GONE, body_of(&f, 2)), &holds));
    assert_true(holds);
    assert_ok(letters_erase_subject(f.db, record_subject(RECORD_DEVICE_GONE, body_of(&f, 2))));
    assert_ok(letters_hold(f.db, record_subject(RECORD_DEVICE_GONE, body_of(&f, 2)), &holds));
    assert_false(holds);
    assert_ok(letters_total(f.db, &total));
    assert_true(total.n == 2 && total.oldest_ms == 30);
    fixture_deinit(&f);
}

PROMISE(making_anew_takes_only_the_letters_that_it_has_not_come_to)
{
    struct rebuild_row begins = {.shard = 2, .what = REBUILD_TABLES},
                       goes_on = {.shard = 3, .what = REBUILD_TABLES, .has_conv = true, .conv = {{5}}},
                       owed = {.shard = 4, .what = REBUILD_OWED};
    uint16_t shards[] = {1, 2, 3, 4, 256};
    struct fixture f;
    struct letters_total total = {0};
    struct letter got;

    fixture_init(&f);
    for (uint64_t i = 0; i < 5; i++) {
        struct letter l = letter(&f, i + 1, i);
        l.shard = shards[i];
        assert_ok(letters_put(f.db, &l, &total));
    }
    assert_ok(rebuild_rows_put(f.db, &begins));
    assert_ok(rebuild_rows_put(f.db, &goes_on)); /* what is kept of it since is not in the rows made before */
    assert_ok(rebuild_rows_put(f.db, &owed));
    assert_ok(letters_drop_rebuilt(f.db));
    for (uint64_t id = 1; id <= 5; id++)
        assert_int_equal(letters_get(f.db, id, &f.arena, &got), id == 2 ? ERR_NOT_FOUND : ERR_OK);
    fixture_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(at_a_bound_nothing_more_is_taken),
        HOLDS(a_body_that_is_not_what_was_kept_is_damage),
        HOLDS(what_is_erased_holds_nobody_any_more),
        HOLDS(making_anew_takes_only_the_letters_that_it_has_not_come_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
