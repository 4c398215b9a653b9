#include "schema/db.h"
#include "schema/migrations.h"
#include "schema/applied.h"
#include "schema/owed_rows.h"
#include "tests/unit/schema/schema.h"
#include "base/fs.h"
#include <sys/stat.h>

static int64_t one_number(struct db *d, const char *sql)
{
    struct rows q = {0};
    int64_t v;

    assert_ok(rows_begin(&q, d, sql, ""));
    assert_ok(rows_next(&q));
    v = rows_i64(&q, 0);
    rows_end(&q);
    return v;
}

PROMISE(a_new_file_has_the_newest_schema)
{
    struct fixture f;

    fixture_init(&f);
    assert_int_equal(one_number(f.db, "PRAGMA user_version"), migrations_count);
    assert_int_equal(one_number(f.db, "PRAGMA foreign_keys"), 1);
    assert_int_equal(one_number(f.db, "PRAGMA secure_delete"), 1);
    fixture_deinit(&f);
}

PROMISE(opening_again_migrates_nothing_and_keeps_everything)
{
    struct fixture f;

    fixture_init(&f);
    assert_ok(db_begin(f.db));
    assert_ok(applied_put(f.db, 7, 99));
    assert_ok(db_commit(f.db));
    db_close(f.db);
    f.db = NULL;
    assert_ok(db_open(f.path, &f.db));
    assert_int_equal(one_number(f.db, "SELECT applied FROM positions WHERE log_id = 7"), 99);
    fixture_deinit(&f);
}

PROMISE(a_file_of_a_later_program_is_refused_unchanged)
{
    struct fixture f;
    struct db *again = NULL;

    fixture_init(&f);
    assert_ok(db_run(f.db, "PRAGMA user_version = 9999", ""));
    assert_int_equal(db_open(f.path, &again), ERR_UNSUPPORTED);
    assert_null(again);
    assert_int_equal(one_number(f.db, "PRAGMA user_version"), 9999);
    fixture_deinit(&f);
}

PROMISE(what_is_no_database_is_corrupt)
{
    struct fixture f;
    struct db *again = NULL;
    char path[128];

    fixture_init(&f);
    snprintf(path, sizeof path, "%s/other.db", f.folder);
    FILE *out = fopen(path, "w");
    for (int i = 0; i < 1000; i++)
        fputs("this is no database; ", out);
    fclose(out);
    assert_int_equal(db_open(path, &again), ERR_CORRUPT);
    unlink(path);
    fixture_deinit(&f);
}

PROMISE(only_the_owner_may_read_the_files)
{
    struct fixture f;
    struct stat st;
    char wal[128];

    fixture_init(&f);
    assert_ok(stat(f.path, &st));
    assert_int_equal(st.st_mode & 0777, 0600);
    snprintf(wal, sizeof wal, "%s-wal", f.path);
    assert_ok(stat(wal, &st));
    assert_int_equal(st.st_mode & 0777, 0600);
    fixture_deinit(&f);
}

PROMISE(a_transaction_that_is_rolled_back_leaves_nothing)
{
    struct fixture f;

    fixture_init(&f);
    assert_ok(db_begin(f.db));
    assert_ok(applied_put(f.db, 1, 5));
    db_rollback(f.db);
    assert_int_equal(one_number(f.db, "SELECT count(*) FROM positions"), 0);
    db_rollback(f.db); /* harmless outside of one */
    assert_ok(db_begin(f.db));
    assert_ok(applied_put(f.db, 1, 6));
    assert_ok(db_commit(f.db));
    assert_int_equal(one_number(f.db, "SELECT applied FROM positions"), 6);
    fixture_deinit(&f);
}

PROMISE(a_reader_sees_what_is_committed_and_writes_nothing)
{
    struct fixture f;
    struct db *reader = NULL;

    fixture_init(&f);
    assert_ok(db_open_reader(f.path, &reader));
    assert_ok(db_begin(f.db));
    assert_ok(applied_put(f.db, 1, 5));
    assert_int_equal(one_number(reader, "SELECT count(*) FROM positions"), 0);
    assert_ok(db_commit(f.db));
    assert_int_equal(one_number(reader, "SELECT count(*) FROM positions"), 1);
    assert_int_not_equal(applied_put(reader, 2, 5), ERR_OK);
    db_close(reader);
    fixture_deinit(&f);
}

PROMISE(a_checkpoint_empties_the_write_ahead_file_unless_a_reader_is_in_the_way)
{
    struct fixture f;
    struct db *reader = NULL;
    struct rows q = {0};

    fixture_init(&f);
    assert_ok(db_open_reader(f.path, &reader));
    assert_ok(db_run(f.db, "INSERT INTO positions VALUES (1, 1)", ""));
    assert_true(db_wal_pages(f.db) > 0);
    assert_ok(db_checkpoint(f.db));
    assert_int_equal(db_wal_pages(f.db), 0);

    assert_ok(rows_begin(&q, reader, "SELECT * FROM positions", ""));
    assert_ok(rows_next(&q)); /* holds its view */
    assert_ok(db_run(f.db, "INSERT INTO positions VALUES (2, 2)", ""));
    assert_int_equal(db_checkpoint(f.db), ERR_AGAIN);
    rows_end(&q);
    assert_ok(db_checkpoint(f.db));
    db_close(reader);
    fixture_deinit(&f);
}

static bool file_has(const struct fixture *f, const char *end, struct str what)
{
    char path[128];
    struct str all = {0};
    bool has;

    snprintf(path, sizeof path, "%s%s", f->path, end);
    assert_ok(fs_read_all(fs_posix(), path, 1 << 20, &all));
    has = all.len > 0 && memmem(all.p, all.len, what.p, what.len);
    mem_free((void *)(uintptr_t)all.p);
    return has;
}

PROMISE(what_was_overwritten_is_in_no_file_after_a_truncation_unless_a_reader_is_in_the_way)
{
    const struct str secret = STR("nobody may know this");
    struct fixture f;
    struct db *reader = NULL;
    struct rows q = {0};

    fixture_init(&f);
    assert_ok(db_open_reader(f.path, &reader));
    assert_ok(
        db_run(f.db, "INSERT INTO users (user_id, username, status, created) VALUES (1, 'ann', ?, 1)", "t", secret));
    assert_ok(db_checkpoint(f.db));
    assert_ok(db_run(f.db, "UPDATE users SET status = 'x'", ""));
    assert_ok(db_checkpoint(f.db));
    assert_true(file_has(&f, "-wal", secret)); /* a checkpoint leaves the file as it is */
    assert_false(file_has(&f, "", secret));    /* secure_delete */

    assert_ok(rows_begin(&q, reader, "SELECT * FROM users", ""));
    assert_ok(rows_next(&q));
    assert_ok(db_run(f.db, "UPDATE users SET status = 'y'", ""));
    assert_int_equal(db_truncate(f.db), ERR_AGAIN);
    rows_end(&q);
    assert_ok(db_truncate(f.db));
    assert_int_equal(db_wal_pages(f.db), 0);
    assert_false(file_has(&f, "-wal", secret));
    assert_ok(db_run(f.db, "UPDATE users SET status = 'z'", "")); /* it goes on */
    db_close(reader);
    fixture_deinit(&f);
}

PROMISE(a_row_that_breaks_a_rule_is_an_error_and_the_statement_stays_usable)
{
    struct fixture f;

    fixture_init(&f);
    static const char sql[] = "INSERT INTO positions VALUES (?, ?)";
    assert_ok(db_run(f.db, sql, "uu", (uint64_t)1, (uint64_t)1));
    assert_int_equal(db_run(f.db, sql, "uu", (uint64_t)1, (uint64_t)1), ERR_EXISTS);
    assert_ok(db_run(f.db, sql, "uu", (uint64_t)2, (uint64_t)1));
    assert_ok(db_run(f.db, "INSERT INTO chats VALUES (?, ?, ?, ?)", "xuui", STR("0123456789abcdef"), UINT64_MAX,
                     (uint64_t)2, (int64_t)-3));
    assert_true((uint64_t)one_number(f.db, "SELECT a FROM chats") == UINT64_MAX);
    fixture_deinit(&f);
}

PROMISE(what_is_owed_is_counted_once_and_cleared_to_where_it_was_read)
{
    struct fixture f;
    struct owed_row o = {.user = 5, .conv = conv(1), .first_seq = 3, .last_seq = 6, .count = 3, .since = 1000}, got;

    fixture_init(&f);
    assert_ok(owed_rows_add(f.db, &o));
    assert_ok(owed_rows_add(f.db, &o)); /* a repeat */
    assert_ok(owed_rows_get(f.db, 5, &o.conv, &got));
    assert_int_equal(got.count, 3);
    o.first_seq = 7;
    o.last_seq = 10;
    o.count = 4;
    o.since = 2000;
    assert_ok(owed_rows_add(f.db, &o));
    assert_ok(owed_rows_get(f.db, 5, &o.conv, &got));
    assert_int_equal(got.first_seq, 3);
    assert_int_equal(got.last_seq, 10);
    assert_int_equal(got.count, 7);
    assert_int_equal(got.since, 1000);
    assert_ok(owed_rows_clear(f.db, 5, &o.conv, 8));
    assert_ok(owed_rows_get(f.db, 5, &o.conv, &got));
    assert_int_equal(got.first_seq, 9);
    assert_int_equal(got.count, 2);
    assert_ok(owed_rows_clear(f.db, 5, &o.conv, 10));
    assert_int_equal(owed_rows_get(f.db, 5, &o.conv, &got), ERR_NOT_FOUND);
    fixture_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_new_file_has_the_newest_schema),
        HOLDS(opening_again_migrates_nothing_and_keeps_everything),
        HOLDS(a_file_of_a_later_program_is_refused_unchanged),
        HOLDS(what_is_no_database_is_corrupt),
        HOLDS(only_the_owner_may_read_the_files),
        HOLDS(a_transaction_that_is_rolled_back_leaves_nothing),
        HOLDS(a_reader_sees_what_is_committed_and_writes_nothing),
        HOLDS(a_checkpoint_empties_the_write_ahead_file_unless_a_reader_is_in_the_way),
        HOLDS(what_was_overwritten_is_in_no_file_after_a_truncation_unless_a_reader_is_in_the_way),
        HOLDS(a_row_that_breaks_a_rule_is_an_error_and_the_statement_stays_usable),
        HOLDS(what_is_owed_is_counted_once_and_cleared_to_where_it_was_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
