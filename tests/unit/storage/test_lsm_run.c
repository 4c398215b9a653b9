/* Reading a run of keys without gaps: what is asked, and in how many rounds. That its answers are right is shown by
 * test_lsm.c and by the differential test. */
#include "base/enc.h"
#include "storage/lsm_store.h"
#include "tests/unit/storage/lsm_rig.h"
#include "tests/unit/storage/quiet.h"

enum { KEY_LEN = 26 };

static struct str key_of(uint64_t seq, char *out)
{
    memset(out, 'k', KEY_LEN);
    enc_be64(out + KEY_LEN - 8, seq);
    return str_of(out, KEY_LEN);
}

/* The seqs [from, to) in a table of their own. */
static void put_table(struct rig *r, uint64_t from, uint64_t to, const char *value)
{
    char key[KEY_LEN];
    for (; from < to; from++)
        assert_ok(lsm_put(r->lsm, key_of(from, key), str_c(value)));
    lsm_applied(r->lsm, 1, lsm_position(r->lsm, 1) + 1);
    rig_flush(r);
}

struct seen {
    uint64_t next;
    size_t n, old;
};

static bool see(void *arg, struct str key, struct str value)
{
    struct seen *s = arg;
    char expected[KEY_LEN];
    assert_true(str_eq(key, key_of(s->next++, expected)));
    s->n++;
    s->old += str_eq(value, STR("old"));
    return true;
}

static enum err read_run(struct rig *r, uint64_t from, uint64_t to, struct lsm_need *need, struct seen *s)
{
    char a[KEY_LEN], b[KEY_LEN];
    *s = (struct seen){.next = from};
    return lsm_scan_run(r->lsm, key_of(from, a), key_of(to, b), to - from, need, see, s);
}

/* Turns over the first byte of a table's file: of its first data block. */
static void damage(const struct sst *t)
{
    struct file *f;
    char c;
    assert_ok(fs_open(fs_posix(), t->path, FS_WRITE, &f));
    assert_ok(file_read_exact(f, &c, 1, 0));
    c = (char)~c;
    assert_ok(file_write(f, &c, 1, 0));
    file_close(f);
}

PROMISE(tables_older_than_those_that_had_all_keys_are_not_read)
{
    struct rig r;
    struct seen s;
    rig_make(&r, 0, 1 << 20, false);
    put_table(&r, 1, 101, "old");
    put_table(&r, 60, 101, "new");
    damage(r.lsm->tables[1]);
    assert_ok(read_run(&r, 60, 101, NULL, &s));
    assert_int_equal(s.n, 41);
    assert_int_equal(s.old, 0);
    int kept = quiet();
    assert_int_equal(read_run(&r, 59, 101, NULL, &s), ERR_CORRUPT);
    loud(kept);
    assert_int_equal(s.n, 0);
    rig_drop(&r);
}

PROMISE(deleted_keys_count_as_met_and_are_not_told)
{
    struct rig r;
    struct seen s;
    char key[KEY_LEN];
    rig_make(&r, 0, 1 << 20, false);
    put_table(&r, 1, 21, "old");
    put_table(&r, 11, 20, "new");
    assert_ok(lsm_delete(r.lsm, key_of(20, key)));
    lsm_applied(r.lsm, 1, 9);
    damage(r.lsm->tables[1]);
    assert_ok(read_run(&r, 11, 21, NULL, &s));
    assert_int_equal(s.n, 9);
    rig_drop(&r);
}

PROMISE(a_newer_value_wins_wherever_its_neighbours_are)
{
    struct rig r;
    struct seen s;
    rig_make(&r, 0, 1 << 20, false);
    put_table(&r, 1, 11, "old");
    put_table(&r, 3, 5, "new");
    put_table(&r, 8, 9, "new");
    assert_ok(read_run(&r, 1, 11, NULL, &s));
    assert_int_equal(s.n, 10);
    assert_int_equal(s.old, 7);
    rig_drop(&r);
}

PROMISE(a_few_tables_blocks_are_asked_for_in_one_round)
{
    enum { TABLES = 7 };
    struct rig r;
    struct rig_read w = {0};
    struct seen s;
    enum err err;
    rig_make(&r, 0, 1 << 20, false);
    for (uint64_t i = 0; i < TABLES; i++)
        put_table(&r, 10 * i, 10 * i + 10, "new");
    while ((err = read_run(&r, 0, 10 * TABLES, &w.need, &s)) == ERR_AGAIN) {
        assert_int_equal(s.n, 0);
        assert_true(w.need.n_missing > 1 || r.rounds > 0);
        rig_load(&r, &w);
    }
    assert_ok(err);
    assert_int_equal(s.n, 10 * TABLES);
    assert_int_equal(r.rounds, 2);
    lsm_need_deinit(&w.need);
    rig_drop(&r);
}

PROMISE(a_run_through_many_blocks_is_loaded_in_one_round)
{
    struct rig r;
    struct rig_read w = {0};
    struct seen s;
    char value[501];
    rig_make(&r, 0, 1 << 20, false);
    memset(value, 'v', 500);
    value[500] = '\0';
    put_table(&r, 1, 101, value);
    assert_int_equal(read_run(&r, 31, 61, &w.need, &s), ERR_AGAIN);
    assert_in_range(w.need.n_missing, 3, 8);
    rig_load(&r, &w);
    assert_ok(read_run(&r, 31, 61, &w.need, &s));
    assert_int_equal(s.n, 30);
    lsm_need_deinit(&w.need);
    rig_drop(&r);
}

PROMISE(a_newer_table_that_has_none_of_the_keys_is_not_read)
{
    struct rig r;
    struct rig_read w = {0};
    struct seen s;
    rig_make(&r, 0, 1 << 20, false);
    put_table(&r, 1, 101, "old");
    for (uint64_t i = 0; i < 6; i++) {
        assert_ok(lsm_put(r.lsm, STR("before all of these"), STR("others")));
        put_table(&r, 1000 + 100 * i, 1100 + 100 * i, "new");
    }
    for (size_t i = 0; i < 6; i++)
        damage(r.lsm->tables[i]);
    assert_ok(read_run(&r, 40, 50, NULL, &s));
    assert_int_equal(s.old, 10);
    lsm_close(r.lsm); /* and with a need: one block, in one round */
    block_cache_destroy(r.cache);
    block_cache_create(1 << 20, &r.cache);
    r.conf.cache = r.cache;
    rig_open(&r);
    assert_int_equal(read_run(&r, 40, 50, &w.need, &s), ERR_AGAIN);
    assert_int_equal(w.need.n_missing, 1);
    rig_load(&r, &w);
    assert_ok(read_run(&r, 40, 50, &w.need, &s));
    assert_int_equal(s.old, 10);
    lsm_need_deinit(&w.need);
    rig_drop(&r);
}

/* What the newest begins in is not known to be enough, so others are looked into: those that may have something. */
PROMISE(tables_that_have_none_of_the_keys_are_not_loaded_beside_one_that_has)
{
    struct rig r;
    struct rig_read w = {0};
    struct seen s;
    rig_make(&r, 0, 1 << 20, false);
    put_table(&r, 1, 46, "old");
    for (uint64_t i = 0; i < 5; i++) {
        assert_ok(lsm_put(r.lsm, STR("before all of these"), STR("others")));
        put_table(&r, 1000 + 100 * i, 1100 + 100 * i, "new");
    }
    put_table(&r, 46, 101, "new");
    assert_int_equal(read_run(&r, 40, 50, &w.need, &s), ERR_AGAIN);
    assert_int_equal(w.need.n_missing, 2);
    rig_load(&r, &w);
    assert_ok(read_run(&r, 40, 50, &w.need, &s));
    assert_int_equal(s.n, 10);
    assert_int_equal(s.old, 6);
    lsm_need_deinit(&w.need);
    rig_drop(&r);
}

/* What is wanted of it is wanted, whatever newer ones had of the run already. */
PROMISE(a_table_is_read_for_the_keys_that_newer_ones_lack)
{
    struct rig r;
    struct seen s;
    rig_make(&r, 0, 1 << 20, false);
    put_table(&r, 44, 45, "old");
    put_table(&r, 1, 41, "old");
    put_table(&r, 45, 101, "new");
    put_table(&r, 41, 44, "new");
    assert_ok(read_run(&r, 30, 60, NULL, &s));
    assert_int_equal(s.n, 30);
    assert_int_equal(s.old, 12);
    rig_drop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(tables_older_than_those_that_had_all_keys_are_not_read),
        HOLDS(deleted_keys_count_as_met_and_are_not_told),
        HOLDS(a_newer_value_wins_wherever_its_neighbours_are),
        HOLDS(a_few_tables_blocks_are_asked_for_in_one_round),
        HOLDS(a_run_through_many_blocks_is_loaded_in_one_round),
        HOLDS(a_newer_table_that_has_none_of_the_keys_is_not_read),
        HOLDS(tables_that_have_none_of_the_keys_are_not_loaded_beside_one_that_has),
        HOLDS(a_table_is_read_for_the_keys_that_newer_ones_lack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
