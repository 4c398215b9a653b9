/* The simulated disk keeps what a disk must, and no more than a disk may. */
#include "tests/lib/simdisk.h"
#include "tests/lib/unit.h"
#include "base/mem.h"

enum { SEEDS = 300 };

static enum err put(struct simdisk *d, const char *path, struct str bytes, bool synced)
{
    struct file *f = NULL;
    enum err err;

    TRY(fs_open(simdisk_fs(d), path, FS_CREATE, &f));
    TRY(file_write(f, bytes.p, bytes.len, 0));
    if (synced)
        TRY(file_sync(f));
out:
    file_close(f);
    return err;
}

static bool holds(struct simdisk *d, const char *path, struct str bytes)
{
    struct str got = {0};
    bool does = fs_read_all(simdisk_fs(d), path, 1 << 20, &got) == ERR_OK && str_eq(got, bytes);
    mem_free((char *)(uintptr_t)got.p);
    return does;
}

static void reboot(struct simdisk *d, enum death how)
{
    simdisk_die(d, how);
    simdisk_boot(d);
}

PROMISE(what_was_synced_with_its_name_survives_every_cut)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct simdisk *d;
        simdisk_create(seed, &d);
        assert_ok(fs_mkdirs(simdisk_fs(d), "/a/b"));
        assert_ok(put(d, "/a/b/f", STR("first"), true));
        assert_ok(fs_sync_dir(simdisk_fs(d), "/a/b"));
        reboot(d, DEATH_CUT);
        assert_true(holds(d, "/a/b/f", STR("first")));
        assert_ok(fs_replace(simdisk_fs(d), "/a/b/f", STR("second one")));
        reboot(d, DEATH_CUT);
        assert_true(holds(d, "/a/b/f", STR("second one")));
        simdisk_destroy(d);
    }
}

/* How often, over many seeds, a cut leaves the file as it was written. */
static unsigned left_whole(bool sync_file, bool sync_folder)
{
    unsigned whole = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct simdisk *d;
        simdisk_create(seed, &d);
        assert_ok(put(d, "/f", STR("some bytes"), sync_file));
        if (sync_folder)
            assert_ok(fs_sync_dir(simdisk_fs(d), "/"));
        reboot(d, DEATH_CUT);
        whole += holds(d, "/f", STR("some bytes"));
        simdisk_destroy(d);
    }
    return whole;
}

PROMISE(what_was_not_synced_survives_some_cuts)
{
    assert_int_equal(left_whole(true, true), SEEDS);
    assert_in_range(left_whole(false, true), SEEDS / 10, SEEDS * 9 / 10);
    assert_in_range(left_whole(true, false), SEEDS / 10, SEEDS * 9 / 10);
}

PROMISE(a_kill_keeps_what_was_written_and_a_later_cut_may_still_take_it)
{
    unsigned lost = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct simdisk *d;
        struct file *f;
        simdisk_create(seed, &d);
        assert_ok(put(d, "/f", STR("some bytes"), false));
        simdisk_die(d, DEATH_KILL);
        assert_int_equal(fs_open(simdisk_fs(d), "/f", FS_READ, &f), ERR_IO);
        simdisk_boot(d);
        assert_true(holds(d, "/f", STR("some bytes")));
        reboot(d, DEATH_CUT);
        lost += !holds(d, "/f", STR("some bytes"));
        simdisk_destroy(d);
    }
    assert_true(lost > SEEDS / 10);
}

/* Sectors are kept each for itself, in the state before or behind any write, or torn at a byte. */
PROMISE(a_cut_keeps_any_sectors_and_tears_some)
{
    enum { SECTORS = 8, SECTOR = 512, N = SECTORS * SECTOR };
    unsigned mixed = 0, torn = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct simdisk *d;
        struct str got;
        char a[N], b[N];
        memset(a, 'a', N);
        memset(b, 'b', N);
        simdisk_create(seed, &d);
        assert_ok(fs_replace(simdisk_fs(d), "/f", str_of(a, N)));
        assert_ok(put(d, "/f", str_of(b, N), false));
        reboot(d, DEATH_CUT);
        assert_ok(fs_read_all(simdisk_fs(d), "/f", N, &got));
        assert_int_equal(got.len, N);
        bool has_torn = false, has_a = memchr(got.p, 'a', N), has_b = memchr(got.p, 'b', N);
        for (size_t i = 1; i < N; i++) {
            assert_true(got.p[i] == 'a' || got.p[i] == 'b');
            has_torn |= got.p[i] != got.p[i - 1] && i % SECTOR != 0;
        }
        mixed += has_a && has_b;
        torn += has_torn;
        mem_free((char *)(uintptr_t)got.p);
        simdisk_destroy(d);
    }
    assert_true(mixed > SEEDS / 4 && torn > SEEDS / 10);
}

PROMISE(after_a_failed_sync_the_next_one_has_nothing_to_do)
{
    unsigned lost = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct simdisk *d;
        struct file *f;
        simdisk_create(seed, &d);
        assert_ok(fs_replace(simdisk_fs(d), "/f", STR("old")));
        assert_ok(fs_open(simdisk_fs(d), "/f", FS_WRITE, &f));
        assert_ok(file_write(f, "new", 3, 0));
        faults_fail(simdisk_faults(d), FAULT_SYNC, 1, 1, ERR_IO);
        assert_int_equal(file_sync(f), ERR_IO);
        assert_ok(file_sync(f));
        file_close(f);
        assert_true(holds(d, "/f", STR("new")));
        reboot(d, DEATH_CUT);
        lost += holds(d, "/f", STR("old"));
        simdisk_destroy(d);
    }
    assert_in_range(lost, SEEDS / 10, SEEDS * 9 / 10);
}

PROMISE(a_full_disk_takes_what_fits_and_removing_makes_space)
{
    struct simdisk *d;
    uint64_t space;
    simdisk_create(1, &d);
    simdisk_set_capacity(d, 10);
    assert_ok(put(d, "/f", STR("12345"), false));
    assert_int_equal(put(d, "/g", STR("123456"), false), ERR_FULL);
    assert_true(holds(d, "/g", STR("12345")));
    assert_ok(put(d, "/f", STR("54321"), false)); /* in place */
    assert_ok(fs_remove(simdisk_fs(d), "/g"));
    assert_ok(fs_space(simdisk_fs(d), "/", &space));
    assert_int_equal(space, 5);
    simdisk_destroy(d);
}

PROMISE(names_links_and_locks_are_as_on_a_real_disk)
{
    struct simdisk *d;
    struct file *f, *g;
    simdisk_create(1, &d);
    struct fs *fs = simdisk_fs(d);
    assert_int_equal(fs_open(fs, "/no/f", FS_CREATE, &f), ERR_NOT_FOUND);
    assert_ok(fs_mkdirs(fs, "/a"));
    assert_ok(put(d, "/a/f", STR("f"), true));
    assert_int_equal(fs_remove(fs, "/a"), ERR_IO); /* not empty */
    assert_ok(fs_link(fs, "/a/f", "/g"));
    assert_int_equal(fs_link(fs, "/a/f", "/g"), ERR_EXISTS);
    assert_ok(put(d, "/h", STR("h"), true));
    assert_ok(fs_rename(fs, "/h", "/a/f"));
    assert_true(holds(d, "/a/f", STR("h")) && holds(d, "/g", STR("f")) && !holds(d, "/h", STR("h")));
    assert_int_equal(fs_open(fs, "/g", FS_CREATE_NEW, &f), ERR_EXISTS);
    assert_ok(fs_open(fs, "/g", FS_READ, &f));
    assert_ok(fs_open(fs, "/g", FS_READ, &g));
    assert_ok(file_lock(f));
    assert_int_equal(file_lock(g), ERR_LOCKED);
    assert_ok(fs_remove(fs, "/g"));
    file_close(f);
    assert_ok(file_lock(g));
    file_close(g);
    simdisk_destroy(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(what_was_synced_with_its_name_survives_every_cut),
        HOLDS(what_was_not_synced_survives_some_cuts),
        HOLDS(a_kill_keeps_what_was_written_and_a_later_cut_may_still_take_it),
        HOLDS(a_cut_keeps_any_sectors_and_tears_some),
        HOLDS(after_a_failed_sync_the_next_one_has_nothing_to_do),
        HOLDS(a_full_disk_takes_what_fits_and_removing_makes_space),
        HOLDS(names_links_and_locks_are_as_on_a_real_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
