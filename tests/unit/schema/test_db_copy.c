#include "schema/db_check.h"
#include "schema/db_copy.h"
#include "schema/users.h"
#include "tests/unit/schema/schema.h"

static void add_users(struct fixture *f, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        char name[32];
        snprintf(name, sizeof name, "user-%05u", i);
        apply(f, &(struct record){.kind = RECORD_ACCOUNT,
                                  .account = {.user = i + 1, .ts = 1000, .username = str_c(name), .phone = STR("1")}});
    }
}

static bool count(void *arg, const struct user_row *u)
{
    assert_true(u->user > 0);
    ++*(unsigned *)arg;
    return true;
}

static unsigned users_in(struct db *d)
{
    unsigned n = 0;

    assert_ok(users_each(d, count, &n));
    return n;
}

struct writer {
    struct fixture *f;
    unsigned next;
};

/* Between two pieces of the copy others write. */
static void write_on(void *arg, uint64_t bytes)
{
    struct writer *w = arg;

    assert_true(bytes > 0);
    add_users(w->f, w->next, w->next + 50);
    w->next += 50;
}

PROMISE(a_copy_is_of_one_moment_though_others_write_meanwhile)
{
    struct fixture f;
    struct db *reader, *copy;
    struct writer w = {&f, 20000};
    char to[128];

    fixture_init(&f);
    assert_ok(db_begin(f.db));
    for (unsigned i = 0; i < 20000; i++) {
        char name[32];
        snprintf(name, sizeof name, "user-%05u", i);
        struct account_record a = {.user = i + 1, .ts = 1000, .username = str_c(name), .name = str_c(name)};
        assert_ok(users_add(f.db, &a));
    }
    assert_ok(db_commit(f.db));
    snprintf(to, sizeof to, "%s/copy.db", f.folder);
    assert_ok(db_open_reader(f.path, &reader));
    assert_ok(db_copy(reader, to, write_on, &w));
    assert_true(w.next > 20000 + 50);
    assert_int_equal(users_in(reader), w.next); /* its moment is over */
    db_close(reader);
    assert_ok(db_open_still(to, true, &copy));
    assert_int_equal(users_in(copy), 20000);
    db_close(copy);
    assert_int_equal(access(to, F_OK), 0);
    unlink(to);
    fixture_deinit(&f);
}

PROMISE(a_copy_in_memory_can_be_written_and_the_file_stays)
{
    struct fixture f;
    struct db *reader, *copy;
    struct account_record a = {.user = 77777, .ts = 1, .username = STR("another")};

    fixture_init(&f);
    add_users(&f, 0, 100);
    assert_ok(db_open_reader(f.path, &reader));
    assert_ok(db_copy_into_memory(reader, &copy));
    db_close(reader);
    assert_ok(db_begin(copy));
    assert_ok(users_add(copy, &a));
    assert_ok(db_commit(copy));
    assert_int_equal(users_in(copy), 101);
    assert_int_equal(users_in(f.db), 100);
    db_close(copy);
    fixture_deinit(&f);
}

struct findings {
    unsigned n;
    uint64_t at;
};
static void on_damage(void *arg, const char *file, uint64_t at, const char *what)
{
    struct findings *found = arg;

    assert_non_null(file);
    assert_non_null(what);
    found->n++;
    found->at = at;
}

PROMISE(a_whole_file_is_called_whole_and_a_damaged_page_is_named)
{
    struct fixture f;
    struct findings found = {0};
    struct damage_sink sink = {on_damage, &found};
    struct db *d;
    FILE *file;

    fixture_init(&f);
    add_users(&f, 0, 2000);
    assert_ok(db_checkpoint(f.db));
    assert_ok(db_open_still(f.path, true, &d));
    assert_ok(db_check(d, f.path, &sink));
    db_close(d);
    assert_int_equal(found.n, 0);
    file = fopen(f.path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 30 * 4096, SEEK_SET), 0);
    for (int i = 0; i < 4096; i++)
        fputc(0xee, file);
    fclose(file);
    assert_ok(db_open_still(f.path, true, &d));
    (void)!db_check(d, f.path, &sink);
    db_close(d);
    assert_true(found.n > 0);
    assert_int_equal(found.at % 4096, 0);
    fixture_deinit(&f);
}

PROMISE(a_path_is_a_path_whatever_stands_in_it)
{
    struct fixture f;
    struct db *d;
    char odd[160];

    fixture_init(&f);
    assert_ok(db_checkpoint(f.db));
    snprintf(odd, sizeof odd, "%s/a?b#c%%20d.db", f.folder);
    assert_int_equal(link(f.path, odd), 0);
    assert_ok(db_open_still(odd, true, &d));
    assert_int_equal(users_in(d), 0);
    db_close(d);
    unlink(odd);
    fixture_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_copy_is_of_one_moment_though_others_write_meanwhile),
        HOLDS(a_copy_in_memory_can_be_written_and_the_file_stays),
        HOLDS(a_whole_file_is_called_whole_and_a_damaged_page_is_named),
        HOLDS(a_path_is_a_path_whatever_stands_in_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
