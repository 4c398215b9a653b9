#include "storage/placement_file.h"
#include "base/env.h"
#include "base/hash.h"
#include "base/enc.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>

/* Everything that may be under way at once. */
static void fill(struct placement *p)
{
    p->generation = 7;
    p->n_stores = 4;
    p->stores[0] = (struct placement_store){"store0", STORE_ACTIVE};
    p->stores[1] = (struct placement_store){"a-b_9", STORE_DRAINING};
    p->stores[2] = (struct placement_store){"new", STORE_NEW};
    p->stores[3] = (struct placement_store){"last", STORE_ACTIVE};
    for (unsigned s = 0; s < SHARD_COUNT; s++)
        p->store_of[s] = (uint16_t)(s % 4 == 2 ? 3 : s % 4);
    p->has_move = true;
    p->move = (struct placement_move){1, 1, 3};
    assert_int_equal(placement_owe_cleanup(p, 0, 1), ERR_OK);
    assert_int_equal(placement_owe_cleanup(p, 255, 0), ERR_OK);
    placement_raise_floor(p, 0, 5, 100);
    placement_raise_floor(p, 255, 6, UINT64_MAX - 1);
    snprintf(p->dropped[p->n_dropped++], STORE_NAME_MAX + 1, "gone");
}

static void assert_same(const struct placement *a, const struct placement *b)
{
    struct buf x = {0}, y = {0};

    placement_encode(a, &x);
    placement_encode(b, &y);
    assert_int_equal(x.len, y.len);
    assert_memory_equal(x.p, y.p, x.len);
    buf_deinit(&x);
    buf_deinit(&y);
}

static void what_is_written_is_read(void **state)
{
    struct placement p = {0}, got = {0};
    struct buf b = {0};

    (void)state;
    fill(&p);
    placement_encode(&p, &b);
    assert_int_equal(placement_decode(buf_get(&b), &got), ERR_OK);
    assert_same(&p, &got);
    assert_int_equal(got.generation, 7);
    assert_int_equal(got.n_stores, 4);
    assert_string_equal(got.stores[1].name, "a-b_9");
    assert_int_equal(got.stores[1].state, STORE_DRAINING);
    assert_memory_equal(got.store_of, p.store_of, sizeof p.store_of);
    assert_true(got.has_move);
    assert_int_equal(got.move.to, 3);
    assert_int_equal(got.n_cleanups, 2);
    assert_int_equal(placement_floor(&got, 255, 6), UINT64_MAX - 1);
    assert_string_equal(got.dropped[0], "gone");
    placement_deinit(&p);
    placement_deinit(&got);
    buf_deinit(&b);
}

static void any_changed_or_missing_byte_is_damage(void **state)
{
    struct placement p = {0}, got = {0};
    struct buf b = {0};

    (void)state;
    fill(&p);
    placement_encode(&p, &b);
    for (size_t i = 0; i < b.len; i++) {
        b.p[i] = (char)(b.p[i] ^ 0x10);
        assert_int_equal(placement_decode(buf_get(&b), &got), ERR_CORRUPT);
        b.p[i] = (char)(b.p[i] ^ 0x10);
        assert_int_equal(placement_decode(str_of(b.p, i), &got), ERR_CORRUPT);
    }
    placement_deinit(&p);
    buf_deinit(&b);
}

/* With a sum that fits. */
static enum err decode_summed(struct buf *b)
{
    struct placement got = {0};
    enum err err;

    enc_u64(b->p + b->len - 8, hash_sum(b->p, b->len - 8, 0x43414c50594c5250u));
    err = placement_decode(buf_get(b), &got);
    placement_deinit(&got);
    return err;
}

static void what_is_never_written_is_refused_though_its_sum_fits(void **state)
{
    enum { STATE = 21, NAME_LEN = 22, SHARDS = 21 + 4 * 2 + 6 + 5 + 3 + 4, MOVES = SHARDS + SHARD_COUNT };
    static const struct {
        size_t at;
        uint8_t value;
    } bad[] = {
        {20, 0},    /* no store */
        {20, 65},   /* too many */
        {STATE, 0}, /* no such state */
        {STATE, 4},
        {STATE, 1},    /* a new store has no shards */
        {NAME_LEN, 0}, /* no name */
        {NAME_LEN + 1, '/'},
        {SHARDS, 4},      /* no such store */
        {SHARDS, 2},      /* a new one */
        {MOVES, 2},       /* two moves */
        {MOVES + 2, 0},   /* from where it is not */
        {MOVES + 3, 1},   /* to where it is */
        {MOVES + 3, 9},   /* to nowhere */
        {MOVES + 9, 0},   /* its own store's keys */
        {MOVES + 7, 255}, /* too many clean-ups */
    };
    struct placement p = {0};
    struct buf b = {0};

    (void)state;
    fill(&p);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        buf_clear(&b);
        placement_encode(&p, &b);
        assert_int_equal(decode_summed(&b), ERR_OK);
        b.p[bad[i].at] = (char)bad[i].value;
        if (decode_summed(&b) != ERR_CORRUPT)
            fail_msg("byte %zu as %u was taken", bad[i].at, bad[i].value);
    }
    buf_clear(&b);
    placement_encode(&p, &b);
    b.p[8] = 2; /* a later version */
    assert_int_equal(decode_summed(&b), ERR_UNSUPPORTED);
    placement_deinit(&p);
    buf_deinit(&b);
}

static void an_empty_slot_is_left_out_and_nothing_changes_its_meaning(void **state)
{
    struct placement p = {0}, got = {0};
    struct buf b = {0};

    (void)state;
    fill(&p);
    p.has_move = false;
    for (unsigned s = 0; s < SHARD_COUNT; s++)
        p.store_of[s] = s % 2 ? 3 : 0;
    placement_strike_store(&p, 1); /* with the clean-up that was owed in it */
    assert_int_equal(p.n_cleanups, 1);
    placement_encode(&p, &b);
    assert_int_equal(placement_decode(buf_get(&b), &got), ERR_OK);
    assert_int_equal(got.n_stores, 3);
    for (unsigned s = 0; s < SHARD_COUNT; s++)
        assert_string_equal(got.stores[got.store_of[s]].name, p.stores[p.store_of[s]].name);
    assert_int_equal(placement_find(&got, "a-b_9"), got.n_stores);
    assert_int_equal(placement_shards_of(&got, placement_find(&got, "last")), 128);
    placement_deinit(&p);
    placement_deinit(&got);
    buf_deinit(&b);
}

static void a_floor_only_rises_and_goes_with_its_log(void **state)
{
    struct placement p = {0};
    uint64_t of[SHARD_COUNT], keep = 6;

    (void)state;
    placement_raise_floor(&p, 9, 5, 100);
    placement_raise_floor(&p, 9, 5, 50);
    placement_raise_floor(&p, 9, 6, 70);
    placement_raise_floor(&p, 10, 5, 30);
    assert_int_equal(placement_floor(&p, 9, 5), 100);
    assert_int_equal(placement_floor(&p, 9, 7), 0);
    placement_floors_of(&p, 5, of);
    assert_int_equal(of[9], 100);
    assert_int_equal(of[10], 30);
    assert_int_equal(of[11], 0);
    placement_keep_floors(&p, &keep, 1);
    assert_int_equal(p.n_floors, 1);
    assert_int_equal(placement_floor(&p, 9, 6), 70);
    placement_deinit(&p);
}

static void clean_ups_are_owed_once_and_bounded(void **state)
{
    struct placement p = {0};

    (void)state;
    for (unsigned i = 0; i < PLACEMENT_CLEANUPS_MAX; i++)
        assert_int_equal(placement_owe_cleanup(&p, (uint16_t)(i % SHARD_COUNT), (uint16_t)(i / SHARD_COUNT)), ERR_OK);
    assert_int_equal(placement_owe_cleanup(&p, 3, 1), ERR_OK); /* it is */
    assert_int_equal(placement_owe_cleanup(&p, 3, 2), ERR_LIMIT);
    placement_strike_cleanup(&p, 3, 1);
    placement_strike_cleanup(&p, 3, 1);
    assert_int_equal(p.n_cleanups, PLACEMENT_CLEANUPS_MAX - 1);
    assert_int_equal(placement_owe_cleanup(&p, 3, 2), ERR_OK);
    placement_deinit(&p);
}

static void the_file_is_the_old_one_or_the_new_one(void **state)
{
    char dir[] = "/tmp/parley-placement-file-XXXXXX", command[80];
    struct fs *fs = env_posix()->fs;
    struct placement p = {0}, got = {0};

    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(placement_read(fs, dir, &got), ERR_NOT_FOUND);
    fill(&p);
    assert_int_equal(placement_write(fs, dir, &p), ERR_OK);
    assert_int_equal(placement_write(fs, dir, &p), ERR_OK);
    assert_int_equal(placement_read(fs, dir, &got), ERR_OK);
    assert_int_equal(got.generation, 9);
    assert_same(&p, &got);
    placement_deinit(&p);
    placement_deinit(&got);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(any_changed_or_missing_byte_is_damage),
        cmocka_unit_test(what_is_never_written_is_refused_though_its_sum_fits),
        cmocka_unit_test(an_empty_slot_is_left_out_and_nothing_changes_its_meaning),
        cmocka_unit_test(a_floor_only_rises_and_goes_with_its_log),
        cmocka_unit_test(clean_ups_are_owed_once_and_bounded),
        cmocka_unit_test(the_file_is_the_old_one_or_the_new_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
