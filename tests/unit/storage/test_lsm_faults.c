/* What the engine promises when calls fail, files are damaged, space runs out or the process dies, and what it promises
 * about positions. */
#include "base/enc.h"
#include "tests/lib/faultfs.h"
#include "tests/unit/storage/lsm_rig.h"
#include "tests/unit/storage/quiet.h"

enum { LOG = 3, BATCH = 5, MEMTABLE = 8 << 10, SECOND_US = 1000000 };

/* --- an environment whose clock and files are the test's --- */

struct world {
    struct env env;
    struct env_ops ops;
    uint64_t now_us;
    struct faultfs *faults;
    struct rig rig;
};

static uint64_t now_us(struct env *e) { return container_of(e, struct world, env)->now_us; }

static void world_make(struct world *w)
{
    *w = (struct world){.now_us = 1};
    w->ops = *env_posix()->ops;
    w->ops.mono_us = now_us;
    faultfs_create(fs_posix(), &w->faults);
    w->env = (struct env){&w->ops, faultfs_fs(w->faults)};
    rig_make(&w->rig, MEMTABLE, 1 << 20, false);
    lsm_close(w->rig.lsm);
    w->rig.conf.env = &w->env;
    rig_open(&w->rig);
}

static void world_drop(struct world *w)
{
    faultfs_heal(w->faults);
    rig_drop(&w->rig);
    faultfs_destroy(w->faults);
}

static void world_reopen(struct world *w)
{
    lsm_close(w->rig.lsm);
    faultfs_heal(w->faults);
    rig_open(&w->rig);
}

/* --- a log of numbered changes: key n % 97 gets the value n, or goes when n % 5 is 0 --- */

enum { KEYS = 97, VALUE = 200 };

static struct str key_of(uint64_t n, char out[24])
{
    memset(out, 'k', 24);
    enc_be64(out + 16, n % KEYS);
    return str_of(out, 24);
}

static enum err change(struct lsm *l, uint64_t n)
{
    char key[24], value[VALUE];
    if (n % 5 == 0)
        return lsm_delete(l, key_of(n, key));
    for (size_t i = 0; i < VALUE; i += 8)
        enc_u64(value + i, n * 0x9e3779b97f4a7c15u);
    return lsm_put(l, key_of(n, key), str_of(value, VALUE));
}

/* Applies the changes up to `to` in batches, from where the store is; stops where it is refused. */
static enum err play(struct lsm *l, uint64_t to)
{
    for (uint64_t n = lsm_position(l, LOG); n < to; n += BATCH) {
        for (uint64_t i = n + 1; i <= n + BATCH; i++) {
            enum err err = change(l, i);
            if (err != ERR_OK)
                return err;
        }
        lsm_applied(l, LOG, n + BATCH);
    }
    return ERR_OK;
}

/* Does the store hold exactly what the changes 1 to `n` make? */
static void check_is_at(struct lsm *l, uint64_t n)
{
    struct buf got = {0};
    char key[24];
    assert_int_equal(lsm_position(l, LOG), n);
    for (uint64_t k = 0; k < KEYS; k++) {
        uint64_t last = n < k ? 0 : n - (n - k) % KEYS;
        enum err err = lsm_get(l, key_of(k, key), NULL, &got);
        if (last == 0 || last % 5 == 0) {
            assert_int_equal(err, ERR_NOT_FOUND);
        } else {
            assert_ok(err);
            assert_int_equal(dec_u64(got.p + VALUE - 8), last * 0x9e3779b97f4a7c15u);
        }
    }
    buf_deinit(&got);
}

/* --- positions --- */

PROMISE(what_was_not_flushed_is_gone_and_so_is_its_position)
{
    struct world w;
    world_make(&w);
    assert_ok(play(w.rig.lsm, 20));
    check_is_at(w.rig.lsm, 20);
    world_reopen(&w);
    check_is_at(w.rig.lsm, 0);
    assert_true(lsm_is_clean(w.rig.lsm));
    world_drop(&w);
}

PROMISE(a_batch_becomes_durable_with_its_position_or_not_at_all)
{
    struct world w;
    world_make(&w);
    assert_ok(play(w.rig.lsm, 10));
    assert_ok(change(w.rig.lsm, 11));
    assert_int_equal(lsm_flush(w.rig.lsm), ERR_AGAIN); /* in the middle of a batch */
    assert_int_equal(lsm_durable(w.rig.lsm, LOG), 0);
    lsm_applied(w.rig.lsm, LOG, 11); /* now it may */
    assert_int_equal(lsm_durable(w.rig.lsm, LOG), 11);
    assert_int_equal(w.rig.durables, 1);
    assert_ok(change(w.rig.lsm, 12));
    world_reopen(&w);
    check_is_at(w.rig.lsm, 11);
    world_drop(&w);
}

PROMISE(positions_alone_are_flushed_too)
{
    struct world w;
    struct lsm_stats s;
    world_make(&w);
    lsm_applied(w.rig.lsm, LOG, 500);
    assert_false(lsm_is_clean(w.rig.lsm));
    assert_ok(lsm_flush(w.rig.lsm));
    assert_true(lsm_is_clean(w.rig.lsm));
    lsm_stats(w.rig.lsm, &s);
    assert_int_equal(s.tables, 0);
    world_reopen(&w);
    assert_int_equal(lsm_durable(w.rig.lsm, LOG), 500);
    world_drop(&w);
}

PROMISE(a_forgotten_log_is_forgotten_with_the_next_flush)
{
    struct world w;
    world_make(&w);
    lsm_applied(w.rig.lsm, LOG, 5);
    lsm_applied(w.rig.lsm, LOG + 1, 6);
    assert_ok(lsm_flush(w.rig.lsm));
    lsm_forget_log(w.rig.lsm, LOG);
    assert_int_equal(lsm_position(w.rig.lsm, LOG), 0);
    assert_int_equal(lsm_durable(w.rig.lsm, LOG), 5);
    assert_ok(lsm_flush(w.rig.lsm));
    assert_int_equal(lsm_durable(w.rig.lsm, LOG), 0);
    world_reopen(&w);
    assert_int_equal(lsm_durable(w.rig.lsm, LOG), 0);
    assert_int_equal(lsm_durable(w.rig.lsm, LOG + 1), 6);
    world_drop(&w);
}

/* --- failing calls --- */

PROMISE(a_full_disk_makes_it_busy_then_full_and_loses_nothing_when_space_returns)
{
    struct world w;
    int said = quiet();
    world_make(&w);
    assert_ok(play(w.rig.lsm, 100));
    faultfs_fail(w.faults, FAULT_WRITE, 1, UINT64_MAX, ERR_FULL);
    assert_int_equal(play(w.rig.lsm, 100000), ERR_LIMIT);
    uint64_t applied = lsm_position(w.rig.lsm, LOG), durable = lsm_durable(w.rig.lsm, LOG);
    assert_true(lsm_is_busy(w.rig.lsm));
    uint64_t calls = faultfs_calls(w.faults, FAULT_WRITE);
    assert_true(lsm_is_busy(w.rig.lsm));
    assert_int_equal(faultfs_calls(w.faults, FAULT_WRITE), calls); /* not tried again at once */
    w.now_us += SECOND_US;
    assert_true(lsm_is_busy(w.rig.lsm));
    assert_true(faultfs_calls(w.faults, FAULT_WRITE) > calls); /* but after a second */
    faultfs_heal(w.faults);
    w.now_us += SECOND_US;
    assert_false(lsm_is_busy(w.rig.lsm));
    assert_true(lsm_durable(w.rig.lsm, LOG) > durable);
    assert_int_equal(w.rig.failures, 0);
    assert_int_equal(lsm_position(w.rig.lsm, LOG), applied);
    for (uint64_t n = applied + 1; n <= applied + BATCH; n++) /* the batch that was refused in its middle, once more */
        assert_ok(change(w.rig.lsm, n));
    lsm_applied(w.rig.lsm, LOG, applied + BATCH);
    check_is_at(w.rig.lsm, applied + BATCH);
    rig_flush(&w.rig);
    world_reopen(&w);
    check_is_at(w.rig.lsm, applied + BATCH);
    loud(said);
    world_drop(&w);
}

/* Every call of a run with flushes and merges fails once in turn. */
static void assert_waited_out(unsigned ops, enum err with)
{
    enum { END = 400 };
    int said = quiet();
    for (uint64_t n = 1;; n++) {
        struct world w;
        world_make(&w);
        faultfs_fail(w.faults, ops, n, 1, with);
        while (play(w.rig.lsm, END) != ERR_OK)
            w.now_us += SECOND_US;
        while (lsm_flush(w.rig.lsm) == ERR_AGAIN || !lsm_is_clean(w.rig.lsm))
            w.now_us += SECOND_US;
        bool has_failed = faultfs_has_failed(w.faults);
        struct lsm_stats s;
        lsm_stats(w.rig.lsm, &s);
        assert_true(s.flushes > 8 && (has_failed || s.compactions > 0));
        assert_int_equal(w.rig.failures, 0);
        check_is_at(w.rig.lsm, END);
        world_reopen(&w);
        check_is_at(w.rig.lsm, END);
        world_drop(&w);
        if (!has_failed)
            break;
    }
    loud(said);
}

PROMISE(one_call_without_space_anywhere_is_waited_out)
{
    assert_waited_out(FAULT_ALL & ~(unsigned)FAULT_READ, ERR_FULL);
}

PROMISE(one_call_without_a_descriptor_anywhere_is_waited_out)
{
    assert_waited_out(FAULT_OPEN | FAULT_SYNC_DIR, ERR_SCARCE);
}

/* The same with calls that fail for good, from the n-th on: what a killed process leaves. The last run meets none. */
PROMISE(a_process_that_dies_at_any_call_leaves_what_its_position_says)
{
    enum { END = 400 };
    int said = quiet();
    bool has_failed = true;
    for (uint64_t n = 1; has_failed; n++) {
        struct world w;
        world_make(&w);
        faultfs_fail(w.faults, FAULT_ALL, n, UINT64_MAX, ERR_IO);
        enum err err = play(w.rig.lsm, END);
        has_failed = faultfs_has_failed(w.faults);
        uint64_t durable = lsm_durable(w.rig.lsm, LOG);
        assert_true(w.rig.failures <= 1); /* said once, if at all: a merge that cannot read only stops */
        if (err != ERR_OK)
            assert_int_equal(w.rig.failures, 1);
        world_reopen(&w);
        assert_true(lsm_durable(w.rig.lsm, LOG) >= durable); /* a switch may have happened and not been heard of */
        check_is_at(w.rig.lsm, lsm_durable(w.rig.lsm, LOG));
        assert_ok(play(w.rig.lsm, END));
        check_is_at(w.rig.lsm, END);
        world_drop(&w);
    }
    loud(said);
}

PROMISE(after_a_failed_sync_it_takes_no_more)
{
    struct world w;
    int said = quiet();
    world_make(&w);
    faultfs_fail(w.faults, FAULT_SYNC, 1, 1, ERR_IO);
    assert_int_equal(play(w.rig.lsm, 100000), ERR_IO);
    assert_int_equal(w.rig.failures, 1);
    assert_int_equal(w.rig.failure, ERR_IO);
    assert_true(lsm_is_busy(w.rig.lsm));
    assert_int_equal(lsm_flush(w.rig.lsm), ERR_IO);
    assert_int_equal(w.rig.failures, 1);
    loud(said);
    world_drop(&w);
}

/* --- damaged files --- */

static void path_in(const struct world *w, const char *name, char *out, size_t n)
{
    snprintf(out, n, "%s/%s", w->rig.dir, name);
}

static void first_table(const struct world *w, char *out, size_t n)
{
    DIR *d = opendir(w->rig.dir);
    char best[256] = "";
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        if (strstr(e->d_name, ".sst") && (!*best || strcmp(e->d_name, best) < 0))
            snprintf(best, sizeof(best), "%s", e->d_name);
    closedir(d);
    assert_true(*best);
    path_in(w, best, out, n);
}

static void damage(const char *path, uint64_t at)
{
    struct file *f;
    char c;
    assert_ok(fs_open(fs_posix(), path, FS_WRITE, &f));
    assert_ok(file_read_exact(f, &c, 1, at));
    c ^= 4;
    assert_ok(file_write(f, &c, 1, at));
    file_close(f);
}

static void does_not_open(struct world *w, const char *named)
{
    char *why = NULL;
    int said = quiet();
    assert_int_equal(lsm_open(&w->rig.conf, &w->rig.lsm, &why), ERR_CORRUPT);
    loud(said);
    assert_non_null(strstr(why, named));
    mem_free(why);
}

PROMISE(it_does_not_open_with_a_damaged_or_missing_file_and_names_it)
{
    struct world w;
    char manifest[400], table[400], aside[400];
    struct file *f;
    uint64_t bytes;
    world_make(&w);
    assert_ok(play(w.rig.lsm, 300));
    rig_flush(&w.rig);
    lsm_close(w.rig.lsm);
    w.rig.lsm = NULL;
    path_in(&w, "MANIFEST", manifest, sizeof(manifest));
    path_in(&w, "aside", aside, sizeof(aside));
    first_table(&w, table, sizeof(table));

    assert_ok(fs_rename(fs_posix(), manifest, aside));
    does_not_open(&w, manifest);
    assert_ok(fs_rename(fs_posix(), aside, manifest));
    damage(manifest, 20);
    does_not_open(&w, manifest);
    damage(manifest, 20);
    assert_ok(fs_rename(fs_posix(), table, aside));
    does_not_open(&w, table);
    assert_ok(fs_rename(fs_posix(), aside, table));
    assert_ok(fs_open(fs_posix(), table, FS_WRITE, &f));
    assert_ok(file_size(f, &bytes));
    file_close(f);
    damage(table, bytes - 10);
    does_not_open(&w, table);
    damage(table, bytes - 10);
    assert_ok(fs_open(fs_posix(), table, FS_WRITE, &f));
    assert_ok(file_truncate(f, bytes - 1));
    file_close(f);
    does_not_open(&w, table);
    world_drop(&w);
}

PROMISE(a_damaged_block_is_an_error_for_who_reads_it_and_stops_merging_only)
{
    struct world w;
    char table[400], key[24];
    struct buf got = {0};
    struct lsm_need need = {.done = rig_back};
    struct lsm_stats s;
    int said = quiet();
    world_make(&w);
    assert_ok(play(w.rig.lsm, 80));
    rig_flush(&w.rig);
    lsm_close(w.rig.lsm);
    first_table(&w, table, sizeof(table));
    damage(table, 100);
    rig_open(&w.rig);
    struct lsm *l = w.rig.lsm;
    assert_int_equal(lsm_get(l, key_of(11, key), NULL, &got), ERR_CORRUPT);
    struct rig_read r = {.need = need};
    assert_int_equal(lsm_get(l, key_of(11, key), &r.need, &got), ERR_AGAIN);
    rig_load(&w.rig, &r);
    assert_int_equal(lsm_get(l, key_of(11, key), &r.need, &got), ERR_CORRUPT);
    lsm_need_deinit(&r.need);
    for (uint64_t n = 81; n <= 600; n++) {
        assert_ok(change(l, n));
        lsm_applied(l, LOG, n);
        if (n % 20 == 0)
            rig_flush(&w.rig);
    }
    lsm_stats(l, &s);
    assert_true(s.tables > 15);
    assert_int_equal(w.rig.failures, 0);
    assert_false(lsm_is_busy(l));
    check_is_at(l, 600); /* newer tables know all keys: the damaged one is not asked */
    buf_deinit(&got);
    loud(said);
    world_drop(&w);
}

PROMISE(what_a_crash_left_behind_is_removed_and_its_number_not_given_again)
{
    struct world w;
    char left[400], other[400];
    uint64_t size;
    struct file *f;
    world_make(&w);
    path_in(&w, "00000000000000ff.sst", left, sizeof(left));
    path_in(&w, "not-a-table.sst", other, sizeof(other));
    assert_ok(fs_replace(fs_posix(), left, STR("half a table")));
    assert_ok(fs_replace(fs_posix(), other, STR("whatever")));
    world_reopen(&w);
    assert_int_equal(fs_open(fs_posix(), left, FS_READ, &f), ERR_NOT_FOUND);
    assert_ok(fs_open(fs_posix(), other, FS_READ, &f));
    assert_ok(file_size(f, &size));
    file_close(f);
    world_reopen(&w);
    assert_ok(play(w.rig.lsm, 100));
    rig_flush(&w.rig);
    first_table(&w, left, sizeof(left));
    assert_non_null(strstr(left, "0000000000000100.sst"));
    world_drop(&w);
}

/* --- threads --- */

PROMISE(closing_in_the_middle_of_background_work_is_safe)
{
    for (unsigned round = 0; round < 30; round++) {
        struct rig r;
        rig_make(&r, MEMTABLE, 1 << 20, true);
        for (uint64_t n = 0; n < 200 + round * 40; n += BATCH) {
            while (lsm_is_busy(r.lsm))
                rig_wait(&r);
            assert_ok(play(r.lsm, lsm_position(r.lsm, LOG) + BATCH));
            mailbox_drain(r.home);
        }
        uint64_t durable = lsm_durable(r.lsm, LOG);
        lsm_close(r.lsm);
        rig_open(&r); /* jobs of the closed one may still be on their way home */
        mailbox_drain(r.home);
        assert_true(lsm_durable(r.lsm, LOG) >= durable);
        check_is_at(r.lsm, lsm_durable(r.lsm, LOG));
        rig_drop(&r);
    }
}

PROMISE(a_block_that_is_waited_for_survives_the_merge_of_its_table)
{
    struct rig r;
    struct rig_read w = {0};
    struct buf got = {0};
    char key[24];
    struct lsm_stats s;
    rig_make(&r, MEMTABLE, 0, true); /* no cache at all */
    assert_ok(play(r.lsm, 40));
    rig_flush(&r);
    assert_int_equal(lsm_get(r.lsm, key_of(11, key), &w.need, &got), ERR_AGAIN);
    do {
        assert_ok(play(r.lsm, lsm_position(r.lsm, LOG) + BATCH));
        rig_flush(&r);
        lsm_stats(r.lsm, &s);
    } while (s.compactions == 0);
    rig_load(&r, &w);
    enum err err;
    while ((err = lsm_get(r.lsm, key_of(11, key), &w.need, &got)) == ERR_AGAIN)
        rig_load(&r, &w);
    assert_ok(err);
    lsm_need_deinit(&w.need);
    buf_deinit(&got);
    rig_drop(&r);
}

PROMISE(closing_waits_for_reads_that_a_worker_has)
{
    struct rig r;
    struct lsm_need need = {.done = rig_back};
    struct buf got = {0};
    char key[24];
    rig_make(&r, MEMTABLE, 0, true);
    assert_ok(play(r.lsm, 40));
    rig_flush(&r);
    assert_int_equal(lsm_get(r.lsm, key_of(11, key), &need, &got), ERR_AGAIN);
    lsm_need_load(&need);
    lsm_close(r.lsm);
    pool_destroy(r.pool);
    mailbox_destroy(r.home); /* with the need in it */
    assert_ok(need.err);
    block_unref(need.missing[0].block);
    block_cache_destroy(r.cache);
    rig_remove(r.dir);
}

PROMISE(a_pool_that_takes_no_more_delays_and_does_not_lose)
{
    struct rig r;
    rig_make(&r, MEMTABLE, 1 << 20, true);
    pool_destroy(r.pool);
    lsm_close(r.lsm);
    assert_ok(pool_create("tiny", 1, 1, &r.pool));
    r.conf.pool = r.pool;
    rig_open(&r);
    for (uint64_t n = 0; n < 2000; n += BATCH) {
        while (lsm_is_busy(r.lsm)) {
            rig_wait(&r);
            lsm_applied(r.lsm, LOG, n);
        }
        assert_ok(play(r.lsm, n + BATCH));
        mailbox_drain(r.home);
    }
    check_is_at(r.lsm, 2000);
    rig_flush(&r);
    rig_drop(&r);
}

PROMISE(a_key_or_value_out_of_bounds_is_refused)
{
    struct rig r;
    char key[256] = {1};
    rig_make(&r, MEMTABLE, 1 << 20, false);
    assert_int_equal(lsm_put(r.lsm, (struct str){0}, STR("v")), ERR_INVALID);
    assert_int_equal(lsm_put(r.lsm, str_of(key, 256), STR("v")), ERR_INVALID);
    assert_int_equal(lsm_delete(r.lsm, (struct str){0}), ERR_INVALID);
    char *large = mem_alloc((16u << 20) + 1);
    assert_int_equal(lsm_put(r.lsm, STR("k"), str_of(large, (16u << 20) + 1)), ERR_INVALID);
    assert_ok(lsm_put(r.lsm, STR("k"), str_of(large, 16u << 20)));
    assert_ok(lsm_put(r.lsm, str_of(key, 255), STR("v")));
    lsm_applied(r.lsm, LOG, 1);
    rig_flush(&r);
    struct buf got = {0};
    assert_ok(lsm_get(r.lsm, STR("k"), NULL, &got));
    assert_int_equal(got.len, 16u << 20);
    assert_ok(lsm_get(r.lsm, str_of(key, 255), NULL, &got));
    buf_deinit(&got);
    mem_free(large);
    rig_drop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(what_was_not_flushed_is_gone_and_so_is_its_position),
        HOLDS(a_batch_becomes_durable_with_its_position_or_not_at_all),
        HOLDS(positions_alone_are_flushed_too),
        HOLDS(a_forgotten_log_is_forgotten_with_the_next_flush),
        HOLDS(a_full_disk_makes_it_busy_then_full_and_loses_nothing_when_space_returns),
        HOLDS(one_call_without_space_anywhere_is_waited_out),
        HOLDS(one_call_without_a_descriptor_anywhere_is_waited_out),
        HOLDS(a_process_that_dies_at_any_call_leaves_what_its_position_says),
        HOLDS(after_a_failed_sync_it_takes_no_more),
        HOLDS(it_does_not_open_with_a_damaged_or_missing_file_and_names_it),
        HOLDS(a_damaged_block_is_an_error_for_who_reads_it_and_stops_merging_only),
        HOLDS(what_a_crash_left_behind_is_removed_and_its_number_not_given_again),
        HOLDS(closing_in_the_middle_of_background_work_is_safe),
        HOLDS(a_block_that_is_waited_for_survives_the_merge_of_its_table),
        HOLDS(closing_waits_for_reads_that_a_worker_has),
        HOLDS(a_pool_that_takes_no_more_delays_and_does_not_lose),
        HOLDS(a_key_or_value_out_of_bounds_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
