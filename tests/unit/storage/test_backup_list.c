#include "storage/backup_list.h"
#include "tests/lib/unit.h"

static void fill(struct backup_list *l)
{
    struct digest d = {{1, 2, 3}};

    *l = (struct backup_list){.name = mem_dup(STR("20260131T120000Z")),
                              .epoch = mem_dup(STR("abcdefgh12345678")),
                              .begun_ms = 1700000000000,
                              .ended_ms = 1700000001234,
                              .new_bytes = 77};
    backup_list_add(l, STR("files/tables.db"), 4096, &d);
    d.b[31] = 9;
    backup_list_add(l, STR("files/stores/store0/0000000000000001.sst"), 1000000007, &d);
    backup_list_add(l, STR("files/a name with spaces (and more) = x"), 0, &d);
}

PROMISE(what_was_written_is_read_and_found)
{
    struct backup_list l, got = {0};
    struct buf text = {0};
    const struct backup_file *f;

    fill(&l);
    backup_list_encode(&l, &text);
    assert_ok(backup_list_decode(buf_get(&text), &got));
    assert_string_equal(got.name, l.name);
    assert_string_equal(got.epoch, l.epoch);
    assert_int_equal(got.begun_ms, l.begun_ms);
    assert_int_equal(got.ended_ms, l.ended_ms);
    assert_int_equal(got.new_bytes, 77);
    assert_int_equal(got.n, 3);
    assert_int_equal(backup_list_bytes(&got), 1000004103);
    f = backup_list_find(&got, STR("files/stores/store0/0000000000000001.sst"));
    assert_non_null(f);
    assert_int_equal(f->bytes, 1000000007);
    assert_int_equal(f->digest.b[31], 9);
    assert_null(backup_list_find(&got, STR("files/stores/store0/0000000000000002.sst")));
    backup_list_deinit(&got);
    backup_list_deinit(&l);
    buf_deinit(&text);
}

PROMISE(every_flipped_bit_and_every_cut_is_damage)
{
    struct backup_list l, got = {0};
    struct buf text = {0};

    fill(&l);
    backup_list_encode(&l, &text);
    for (size_t bit = 0; bit < text.len * 8; bit++) {
        text.p[bit / 8] = (char)(text.p[bit / 8] ^ 1 << bit % 8);
        assert_int_not_equal(backup_list_decode(buf_get(&text), &got), ERR_OK);
        text.p[bit / 8] = (char)(text.p[bit / 8] ^ 1 << bit % 8);
    }
    for (size_t n = 0; n < text.len; n++)
        assert_int_not_equal(backup_list_decode(str_of(text.p, n), &got), ERR_OK);
    buf_char(&text, '\n');
    assert_int_not_equal(backup_list_decode(buf_get(&text), &got), ERR_OK);
    assert_null(got.v);
    backup_list_deinit(&l);
    buf_deinit(&text);
}

/* A list that somebody made must not make restore write elsewhere. */
PROMISE(paths_that_lead_elsewhere_and_names_given_twice_are_refused)
{
    static const char *const paths[] = {"/etc/passwd", "../x",           "files/../../x", "files//x",
                                        "files/./x",   "files/x/../../", "files/x/"};
    struct digest d = {{0}};

    for (size_t i = 0; i <= sizeof paths / sizeof paths[0]; i++) {
        struct backup_list l = {.name = mem_dup(STR("n")), .epoch = mem_dup(STR("e"))}, got = {0};
        struct buf text = {0};

        if (i < sizeof paths / sizeof paths[0]) {
            backup_list_add(&l, str_c(paths[i]), 1, &d);
        } else {
            backup_list_add(&l, STR("files/x"), 1, &d);
            backup_list_add(&l, STR("files/x"), 1, &d);
        }
        backup_list_encode(&l, &text);
        assert_int_equal(backup_list_decode(buf_get(&text), &got), ERR_CORRUPT);
        buf_deinit(&text);
        backup_list_deinit(&l);
    }
}

PROMISE(a_later_version_is_told_from_damage)
{
    struct backup_list got = {0};

    assert_int_equal(backup_list_decode(STR("parley backup 2\nwhatever\n"), &got), ERR_UNSUPPORTED);
    assert_int_equal(backup_list_decode(STR("something else\n"), &got), ERR_CORRUPT);
    assert_int_equal(backup_list_read(fs_posix(), "/nonexistent", &got), ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(what_was_written_is_read_and_found),
        HOLDS(every_flipped_bit_and_every_cut_is_damage),
        HOLDS(paths_that_lead_elsewhere_and_names_given_twice_are_refused),
        HOLDS(a_later_version_is_told_from_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
