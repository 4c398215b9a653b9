#include "services/tables.h"
#include "base/loop.h"
#include "proto/record.h"
#include "queue/stream.h"
#include "schema/users.h"
#include "services/world.h"
#include "tests/lib/unit.h"
#include <sqlite3.h>
#include <unistd.h>

struct fixture {
    char dir[64], log_dir[80], path[80];
    struct tables *tables;
    struct arena arena;
};

static void open_tables(struct fixture *f)
{
    char *why = NULL;
    assert_ok(tables_open(env_posix(), f->path, &f->tables, &why));
}

static void fixture_init(struct fixture *f)
{
    *f = (struct fixture){.dir = "/tmp/parley-tables-XXXXXX"};
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->log_dir, sizeof f->log_dir, "%s/log", f->dir);
    snprintf(f->path, sizeof f->path, "%s/tables.db", f->dir);
    assert_ok(fs_mkdirs(fs_posix(), f->log_dir));
    open_tables(f);
}

static void fixture_deinit(struct fixture *f)
{
    char command[128];

    tables_close(f->tables);
    arena_deinit(&f->arena);
    snprintf(command, sizeof command, "rm -rf '%s'", f->dir);
    assert_int_equal(system(command), 0);
}

static struct str account(struct fixture *f, user_id user, const char *username)
{
    struct record r = {.kind = RECORD_ACCOUNT, .account = {.user = user, .ts = 1, .username = str_c(username)}};
    struct buf b = {0};
    struct str kept;

    record_encode(&r, &b);
    kept = arena_dup(&f->arena, buf_get(&b));
    buf_deinit(&b);
    return kept;
}

static struct log_record at(uint64_t pos, struct str body)
{
    return (struct log_record){.log_id = 5, .pos = pos, .next = pos + 10, .kind = RECORD_ACCOUNT, .body = body};
}

static bool exists(struct fixture *f, user_id user)
{
    bool is = false;
    assert_ok(users_exists(tables_db(f->tables), user, &is));
    return is;
}

PROMISE(rows_and_position_are_one)
{
    struct fixture f;
    struct log_record ann, bob;
    bool is_kept;

    fixture_init(&f);
    ann = at(0, account(&f, 1, "ann"));
    bob = at(10, account(&f, 2, "bob"));
    assert_ok(tables_begin(f.tables));
    assert_ok(tables_apply(f.tables, &ann, &is_kept));
    assert_ok(tables_reached(f.tables, 5, 10));
    assert_int_equal(tables_position(f.tables, 5).applied, 0); /* not yet */
    assert_ok(tables_end(f.tables));
    assert_int_equal(tables_position(f.tables, 5).applied, 10);

    assert_ok(tables_begin(f.tables));
    assert_ok(tables_apply(f.tables, &bob, &is_kept));
    assert_ok(tables_reached(f.tables, 5, 20));
    tables_abandon(f.tables);
    assert_int_equal(tables_position(f.tables, 5).applied, 10);
    assert_true(exists(&f, 1));
    assert_false(exists(&f, 2));
    tables_close(f.tables);
    open_tables(&f);
    assert_int_equal(tables_position(f.tables, 5).applied, 10);
    fixture_deinit(&f);
}

PROMISE(durable_follows_applied_at_a_checkpoint_and_at_opening)
{
    struct fixture f;

    fixture_init(&f);
    assert_ok(tables_begin(f.tables));
    assert_ok(tables_reached(f.tables, 5, 10));
    assert_ok(tables_owed_reached(f.tables, 5, 7));
    assert_ok(tables_end(f.tables));
    assert_int_equal(tables_position(f.tables, 5).durable, 0);
    assert_ok(tables_checkpoint(f.tables));
    assert_int_equal(tables_position(f.tables, 5).durable, 10);
    assert_int_equal(tables_position(f.tables, 5).owed_durable, 7);
    tables_close(f.tables);
    open_tables(&f);
    assert_int_equal(tables_position(f.tables, 5).durable, 10);
    assert_int_equal(tables_position(f.tables, 5).owed_durable, 7);
    fixture_deinit(&f);
}

PROMISE(positions_of_removed_logs_are_forgotten_and_others_kept)
{
    struct fixture f;
    size_t n = 0;

    fixture_init(&f);
    assert_ok(tables_begin(f.tables));
    for (uint64_t id = 1; id <= 5; id++) {
        assert_ok(tables_reached(f.tables, id, 10 * id));
        assert_ok(tables_owed_reached(f.tables, id, id));
    }
    assert_ok(tables_end(f.tables));
    assert_ok(tables_keep(f.tables, (const uint64_t[]){2, 5, 6}, 3));
    for (int opened = 0; opened < 2; opened++) {
        (void)tables_positions(f.tables, &n);
        assert_int_equal(n, 2);
        assert_int_equal(tables_position(f.tables, 2).applied, 20);
        assert_int_equal(tables_position(f.tables, 5).owed, 5);
        assert_int_equal(tables_position(f.tables, 3).applied, 0);
        tables_close(f.tables);
        open_tables(&f);
    }
    fixture_deinit(&f);
}

PROMISE(a_record_that_nobody_wrote_is_refused)
{
    struct fixture f;
    struct log_record r = at(0, STR("\x01garbage"));
    bool is_kept;

    fixture_init(&f);
    assert_ok(tables_begin(f.tables));
    assert_int_equal(tables_apply(f.tables, &r, &is_kept), ERR_INVALID);
    tables_abandon(f.tables);
    r.body = STR("\x7f");
    assert_ok(tables_begin(f.tables));
    assert_int_equal(tables_apply(f.tables, &r, &is_kept), ERR_INVALID);
    tables_abandon(f.tables);
    fixture_deinit(&f);
}

static void nothing(void *arg, uint64_t end)
{
    (void)arg;
    (void)end;
}
static void never(void *arg, enum err err)
{
    (void)arg;
    fail_msg("the log failed: %s", err_name(err));
}

/* A log 9 with these accounts; *last gets where the last one stands. */
static void write_log(struct fixture *f, const char *const *names, size_t n, uint64_t *last)
{
    struct segpool_conf pool = {.env = env_posix(), .dir = f->log_dir, .segment_bytes = 64 << 10, .ahead = 2};
    struct stream_conf c = {.env = env_posix(),
                            .dir = f->log_dir,
                            .log_id = 9,
                            .max_in_flight = 1 << 20,
                            .on_commit = nothing,
                            .on_failure = never};
    struct loop *loop = NULL;
    struct stream *s = NULL;

    assert_ok(loop_create(&loop));
    assert_ok(segpool_open(&pool, &c.pool));
    c.home = loop_mailbox(loop);
    assert_ok(stream_open(&c, &s));
    for (size_t i = 0; i < n; i++)
        assert_ok(stream_append(s, RECORD_ACCOUNT, SHARD_DIRECTORY, TOPIC_TABLES, account(f, i + 1, names[i]), last));
    stream_close(s);
    mailbox_drain(loop_mailbox(loop));
    segpool_close(c.pool);
    loop_destroy(loop);
}

PROMISE(an_old_log_is_replayed_from_where_it_was_applied)
{
    static const char *const names[] = {"ann", "bob"};
    struct fixture f;
    struct seglog_report report = {0};
    char *why = NULL;
    uint64_t last = 0;

    fixture_init(&f);
    write_log(&f, names, 2, &last);
    assert_ok(seglog_recover(env_posix(), f.log_dir, 9, 0, &report, &why));
    assert_ok(tables_replay(f.tables, f.log_dir, 9, report.end, &why));
    assert_true(exists(&f, 1) && exists(&f, 2));
    assert_int_equal(tables_position(f.tables, 9).applied, report.end);
    assert_ok(tables_replay(f.tables, f.log_dir, 9, report.end, &why));
    fixture_deinit(&f);
}

PROMISE(a_record_that_does_not_fit_is_kept_and_the_replay_goes_on)
{
    static const char *const names[] = {"ann", "bob", "ann", "cid"};
    struct fixture f;
    struct seglog_report report = {0};
    struct letter l = {0};
    char *why = NULL;
    uint64_t last = 0, first = 0;

    fixture_init(&f);
    write_log(&f, names, 4, &last);
    assert_ok(seglog_recover(env_posix(), f.log_dir, 9, 0, &report, &why));
    assert_ok(tables_replay(f.tables, f.log_dir, 9, report.end, &why));
    assert_true(exists(&f, 1) && exists(&f, 2) && !exists(&f, 3) && exists(&f, 4));
    assert_int_equal(tables_position(f.tables, 9).applied, report.end);
    assert_int_equal(tables_letters(f.tables).n, 1);
    assert_ok(letters_get(tables_db(f.tables), 1, &f.arena, &l));
    assert_true(l.log_id == 9 && l.pos > 0 && l.pos < last && l.attempts == 1);
    assert_true(str_eq(l.body, account(&f, 3, "ann")));

    assert_int_equal(tables_letter_replay(f.tables, 1, &first), ERR_INVALID); /* it stays, tried once more */
    assert_ok(letters_get(tables_db(f.tables), 1, &f.arena, &l));
    assert_int_equal(l.attempts, 2);
    assert_ok(db_run(tables_db(f.tables), "UPDATE users SET username = 'eva' WHERE user_id = 1", ""));
    assert_ok(tables_letter_replay(f.tables, 1, &first));
    assert_true(exists(&f, 3));
    assert_int_equal(tables_letters(f.tables).n, 0);
    assert_int_equal(tables_letter_replay(f.tables, 1, &first), ERR_NOT_FOUND);
    fixture_deinit(&f);
}

/* A device of an account that is missing must not be applied without it. */
PROMISE(what_is_about_a_letters_subject_waits_behind_it_and_goes_in_order)
{
    struct fixture f;
    struct record r = {.kind = RECORD_ACCOUNT};
    struct log_record bad, device, other;
    struct buf b = {0};
    uint64_t first = 0, rows;
    bool is_kept = false;

    fixture_init(&f);
    assert_ok(tables_begin(f.tables));
    other = at(0, account(&f, 1, "ann"));
    assert_ok(tables_apply(f.tables, &other, &is_kept));
    bad = at(10, account(&f, 2, "ann"));
    assert_int_equal(tables_apply(f.tables, &bad, &is_kept), ERR_INVALID);
    assert_ok(tables_keep_letter(f.tables, &bad, 4));
    r = (struct record){.kind = RECORD_DEVICE, .device = {.user = 2, .device = 5, .ts = 1}};
    record_encode(&r, &b);
    device = at(20, buf_get(&b));
    device.kind = RECORD_DEVICE;
    rows = tables_rows(f.tables);
    assert_ok(tables_apply(f.tables, &device, &is_kept));
    assert_true(is_kept);
    assert_int_equal(tables_rows(f.tables), rows + 1); /* the lag that counted it is made up for */
    other = at(30, account(&f, 3, "bob"));             /* somebody else's goes on */
    assert_ok(tables_apply(f.tables, &other, &is_kept));
    assert_false(is_kept);
    assert_ok(tables_reached(f.tables, 5, 40));
    assert_ok(tables_end(f.tables));
    assert_true(exists(&f, 3) && !exists(&f, 2));
    assert_int_equal(tables_letters(f.tables).n, 2);

    tables_close(f.tables);
    open_tables(&f);
    assert_int_equal(tables_letters(f.tables).n, 2);
    assert_int_equal(tables_letter_replay(f.tables, 2, &first), ERR_AGAIN);
    assert_int_equal(first, 1);
    assert_ok(db_run(tables_db(f.tables), "UPDATE users SET username = 'eva' WHERE user_id = 1", ""));
    assert_ok(tables_letter_replay(f.tables, 1, &first));
    assert_ok(tables_letter_replay(f.tables, 2, &first));
    assert_true(exists(&f, 2));
    buf_deinit(&b);
    fixture_deinit(&f);
}

PROMISE(an_abandoned_transaction_keeps_no_letter)
{
    struct fixture f;
    struct log_record r = at(0, STR("\x01garbage of nobody"));
    bool is_kept;

    fixture_init(&f);
    assert_ok(tables_begin(f.tables));
    assert_int_equal(tables_apply(f.tables, &r, &is_kept), ERR_INVALID);
    assert_ok(tables_keep_letter(f.tables, &r, 1));
    assert_int_equal(tables_letters(f.tables).n, 1);
    tables_abandon(f.tables);
    assert_int_equal(tables_letters(f.tables).n, 0);
    fixture_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(rows_and_position_are_one),
        HOLDS(durable_follows_applied_at_a_checkpoint_and_at_opening),
        HOLDS(positions_of_removed_logs_are_forgotten_and_others_kept),
        HOLDS(a_record_that_nobody_wrote_is_refused),
        HOLDS(an_old_log_is_replayed_from_where_it_was_applied),
        HOLDS(a_record_that_does_not_fit_is_kept_and_the_replay_goes_on),
        HOLDS(what_is_about_a_letters_subject_waits_behind_it_and_goes_in_order),
        HOLDS(an_abandoned_transaction_keeps_no_letter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
