/* The POSIX files, and what is built on the interface: the latter also over files of which every call is made to fail.
 */
#include "base/buf.h"
#include "base/fs.h"
#include "tests/lib/unit.h"
#include <unistd.h>

static char folder[] = "/tmp/parley-fs-XXXXXX";
static struct buf path_buf[4];
static struct fs *fs;

/* folder/name; good until four more were made. */
static const char *path(const char *name)
{
    static unsigned turn;
    struct buf *b = &path_buf[turn++ % 4];
    buf_clear(b);
    buf_printf(b, "%s/%s%c", folder, name, 0);
    return b->p;
}

static void assert_holds(const char *name, struct str expected)
{
    struct str got;
    assert_ok(fs_read_all(fs_posix(), path(name), 1 << 20, &got));
    assert_true(str_eq(got, expected));
    mem_free((char *)(uintptr_t)got.p);
}

static bool is_there(const char *name) { return access(path(name), F_OK) == 0; }

PROMISE(a_mode_decides_who_must_exist)
{
    struct file *f = NULL;
    assert_int_equal(fs_open(fs, path("mode"), FS_READ, &f), ERR_NOT_FOUND);
    assert_int_equal(fs_open(fs, path("mode"), FS_WRITE, &f), ERR_NOT_FOUND);
    assert_null(f);
    assert_ok(fs_open(fs, path("mode"), FS_CREATE_NEW, &f));
    file_close(f);
    assert_int_equal(fs_open(fs, path("mode"), FS_CREATE_NEW, &f), ERR_EXISTS);
    assert_ok(fs_open(fs, path("mode"), FS_CREATE, &f));
    file_close(f);
    assert_ok(fs_open(fs, path("mode"), FS_READ, &f));
    assert_int_equal(file_write(f, "x", 1, 0), ERR_IO);
    file_close(f);
    file_close(NULL);
}

PROMISE(what_is_written_in_pieces_is_read_where_it_was_put)
{
    enum { PIECES = 3000 }; /* more than the system takes at once */
    struct iovec v[PIECES];
    struct file *f;
    char *back = mem_alloc(2 * PIECES);
    size_t got;
    uint64_t size;

    for (size_t i = 0; i < PIECES; i++)
        v[i] = (struct iovec){(void *)(uintptr_t)(i % 2 ? "ab" : ""), i % 2 ? 2 : 0};
    assert_ok(fs_open(fs, path("pieces"), FS_CREATE_NEW, &f));
    assert_ok(file_writev(f, v, PIECES, 10));
    assert_ok(file_sync(f));
    assert_ok(file_size(f, &size));
    assert_int_equal(size, 10 + PIECES);
    assert_ok(file_read(f, back, 2 * PIECES, 10, &got));
    assert_int_equal(got, PIECES);
    for (size_t i = 0; i < PIECES; i++)
        assert_int_equal(back[i], i % 2 ? 'b' : 'a');
    assert_ok(file_read(f, back, 5, 0, &got));
    assert_memory_equal(back, "\0\0\0\0\0", 5);
    assert_ok(file_read(f, back, 5, 99999, &got));
    assert_int_equal(got, 0);
    file_close(f);
    mem_free(back);
}

PROMISE(reading_exactly_past_the_end_is_corrupt)
{
    struct file *f;
    char p[8];
    assert_ok(fs_open(fs, path("short"), FS_CREATE, &f));
    assert_ok(file_write(f, "1234567", 7, 0));
    assert_ok(file_read_exact(f, p, 7, 0));
    assert_int_equal(file_read_exact(f, p, 8, 0), ERR_CORRUPT);
    assert_ok(file_truncate(f, 3));
    assert_int_equal(file_read_exact(f, p, 4, 0), ERR_CORRUPT);
    file_close(f);
}

PROMISE(a_filled_file_is_zeros_of_just_that_size)
{
    enum { SIZE = (1 << 20) + 77 };
    struct file *f;
    uint64_t size;
    char *back = mem_alloc(SIZE);

    assert_ok(fs_open(fs, path("filled"), FS_CREATE, &f));
    assert_ok(file_write(f, "what was there before", 21, 0));
    assert_ok(file_fill(f, SIZE));
    assert_ok(file_size(f, &size));
    assert_int_equal(size, SIZE);
    assert_ok(file_read_exact(f, back, SIZE, 0));
    for (size_t i = 0; i < SIZE; i++)
        assert_true(back[i] == 0);
    file_close(f);
    mem_free(back);
}

PROMISE(a_locked_file_is_refused_to_others_until_it_is_closed)
{
    struct file *a, *b;
    assert_ok(fs_open(fs, path("lock"), FS_CREATE, &a));
    assert_ok(fs_open(fs, path("lock"), FS_WRITE, &b));
    assert_ok(file_lock(a));
    assert_int_equal(file_lock(b), ERR_LOCKED);
    file_close(a);
    assert_ok(file_lock(b));
    file_close(b);
}

PROMISE(names_can_be_moved_linked_and_removed)
{
    assert_ok(fs_replace(fs, path("one"), STR("1")));
    assert_ok(fs_link(fs, path("one"), path("two")));
    assert_int_equal(fs_link(fs, path("one"), path("two")), ERR_EXISTS);
    assert_ok(fs_rename(fs, path("one"), path("three")));
    assert_false(is_there("one"));
    assert_holds("two", STR("1"));
    assert_holds("three", STR("1"));
    assert_ok(fs_remove(fs, path("two")));
    assert_int_equal(fs_remove(fs, path("two")), ERR_NOT_FOUND);
    assert_ok(fs_sync_dir(fs, folder));
    assert_int_equal(fs_sync_dir(fs, path("nowhere")), ERR_NOT_FOUND);
}

static void note_name(void *arg, const char *name) { buf_printf(arg, "%s ", name); }

PROMISE(a_folder_lists_what_is_in_it_and_nothing_else)
{
    struct buf names = {0};
    assert_ok(fs_mkdir(fs, path("list")));
    assert_ok(fs_mkdir(fs, path("list")));
    assert_ok(fs_replace(fs, path("list/only"), STR("")));
    assert_ok(fs_list(fs, path("list"), note_name, &names));
    assert_true(str_eq(buf_get(&names), STR("only ")));
    assert_int_equal(fs_list(fs, path("nowhere"), note_name, &names), ERR_NOT_FOUND);
    assert_int_equal(fs_mkdir(fs, path("list/only")), ERR_EXISTS); /* it is there, but no folder */
    buf_deinit(&names);
}

PROMISE(a_disk_has_space)
{
    uint64_t bytes = 0;
    assert_ok(fs_space(fs, folder, &bytes));
    assert_true(bytes > 0);
    assert_int_equal(fs_space(fs, path("nowhere"), &bytes), ERR_NOT_FOUND);
}

PROMISE(folders_are_made_with_their_parents)
{
    assert_ok(fs_mkdirs(fs, path("a/b/c")));
    assert_ok(fs_mkdirs(fs, path("a/b/c/")));
    assert_ok(fs_mkdirs(fs, path("a/b//d/")));
    assert_true(is_there("a/b/c") && is_there("a/b/d"));
    assert_ok(fs_replace(fs, path("a/file"), STR("")));
    assert_int_equal(fs_mkdirs(fs, path("a/file/x")), ERR_IO);
    assert_int_equal(fs_mkdirs(fs, ""), ERR_NOT_FOUND);
}

PROMISE(a_whole_file_is_read_within_a_bound)
{
    struct str s = STR("untouched");
    assert_ok(fs_replace(fs, path("whole"), STR("12345")));
    assert_int_equal(fs_read_all(fs, path("whole"), 4, &s), ERR_CORRUPT);
    assert_int_equal(fs_read_all(fs, path("nowhere"), 4, &s), ERR_NOT_FOUND);
    assert_true(str_eq(s, STR("untouched")));
    assert_holds("whole", STR("12345"));
    assert_ok(fs_replace(fs, path("whole"), STR("")));
    assert_holds("whole", STR(""));
}

/* POSIX files of which the call number `fail_at` fails. */
static int calls, fail_at;
static bool fails(void) { return ++calls == fail_at; }
static enum err faulty_open(struct fs *s, const char *p, enum fs_mode m, struct file **out)
{
    return fails() ? ERR_IO : fs_posix()->ops->open(s, p, m, out);
}
static enum err faulty_writev(struct file *f, struct iovec *v, int n, uint64_t at)
{
    return fails() ? ERR_FULL : fs_posix()->ops->writev(f, v, n, at);
}
static enum err faulty_sync(struct file *f) { return fails() ? ERR_IO : fs_posix()->ops->sync(f); }
static enum err faulty_truncate(struct file *f, uint64_t n)
{
    return fails() ? ERR_IO : fs_posix()->ops->truncate(f, n);
}
static enum err faulty_rename(struct fs *s, const char *a, const char *b)
{
    return fails() ? ERR_IO : fs_posix()->ops->rename(s, a, b);
}
static enum err faulty_sync_dir(struct fs *s, const char *p)
{
    return fails() ? ERR_IO : fs_posix()->ops->sync_dir(s, p);
}
static enum err faulty_mkdir(struct fs *s, const char *p) { return fails() ? ERR_FULL : fs_posix()->ops->mkdir(s, p); }

static struct fs *faulty_fs(struct fs_ops *ops, struct fs *faulty, int at)
{
    *ops = *fs_posix()->ops;
    ops->open = faulty_open;
    ops->writev = faulty_writev;
    ops->sync = faulty_sync;
    ops->truncate = faulty_truncate;
    ops->rename = faulty_rename;
    ops->sync_dir = faulty_sync_dir;
    ops->mkdir = faulty_mkdir;
    faulty->ops = ops;
    calls = 0;
    fail_at = at;
    return faulty;
}

PROMISE(a_replaced_file_is_the_old_or_the_new_one_whichever_call_fails)
{
    struct fs_ops ops;
    struct fs faulty;
    enum err err = ERR_IO;
    int at = 0;

    while (err != ERR_OK) {
        assert_ok(fs_replace(fs, path("replaced"), STR("old")));
        err = fs_replace(faulty_fs(&ops, &faulty, ++at), path("replaced"), STR("new one"));
        assert_holds("replaced", at < 6 ? STR("old") : STR("new one")); /* the fifth call renames */
        assert_false(is_there("replaced.tmp"));
    }
    assert_int_equal(at, 7); /* open, truncate, write, sync, rename, sync of the folder */
}

PROMISE(a_left_over_temporary_file_does_not_get_into_the_new_one)
{
    assert_ok(fs_replace(fs, path("again.tmp"), STR("much longer than what follows")));
    assert_ok(fs_replace(fs, path("again"), STR("short")));
    assert_holds("again", STR("short"));
}

PROMISE(making_folders_reports_every_failure)
{
    struct fs_ops ops;
    struct fs faulty;
    enum err err = ERR_IO;
    int at = 0;

    while (err != ERR_OK) {
        (void)!fs_remove(fs, path("p/q"));
        (void)!fs_remove(fs, path("p"));
        err = fs_mkdirs(faulty_fs(&ops, &faulty, ++at), path("p/q"));
        assert_true(err != ERR_OK || is_there("p/q"));
        assert_true(err != ERR_OK || calls < at);
    }
    assert_int_equal(at, 6); /* p/q, p, sync, p/q, sync */
}

static int set_up(void **state)
{
    (void)state;
    fs = fs_posix();
    return mkdtemp(folder) ? 0 : -1;
}

static void remove_one(void *arg, const char *name);

static void remove_tree(const char *p)
{
    (void)!fs_list(fs, p, remove_one, (void *)(uintptr_t)p);
    (void)!fs_remove(fs, p);
}

static void remove_one(void *arg, const char *name)
{
    struct buf b = {0};
    buf_printf(&b, "%s/%s%c", (const char *)arg, name, 0);
    remove_tree(b.p);
    buf_deinit(&b);
}

static int tear_down(void **state)
{
    (void)state;
    remove_tree(folder);
    for (size_t i = 0; i < 4; i++)
        buf_deinit(&path_buf[i]);
    return access(folder, F_OK) == 0 ? -1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_mode_decides_who_must_exist),
        HOLDS(what_is_written_in_pieces_is_read_where_it_was_put),
        HOLDS(reading_exactly_past_the_end_is_corrupt),
        HOLDS(a_filled_file_is_zeros_of_just_that_size),
        HOLDS(a_locked_file_is_refused_to_others_until_it_is_closed),
        HOLDS(names_can_be_moved_linked_and_removed),
        HOLDS(a_folder_lists_what_is_in_it_and_nothing_else),
        HOLDS(a_disk_has_space),
        HOLDS(folders_are_made_with_their_parents),
        HOLDS(a_whole_file_is_read_within_a_bound),
        HOLDS(a_replaced_file_is_the_old_or_the_new_one_whichever_call_fails),
        HOLDS(a_left_over_temporary_file_does_not_get_into_the_new_one),
        HOLDS(making_folders_reports_every_failure),
    };
    return cmocka_run_group_tests_name("fs", tests, set_up, tear_down);
}
