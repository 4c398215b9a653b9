#include "gateway/assembly.h"
#include "tests/lib/unit.h"

PROMISE(one_piece_is_not_copied)
{
    struct assembly a = {0};
    struct str piece = STR("hello"), text;

    assert_int_equal(assembly_add(&a, piece, 0, true, &text), ASSEMBLY_WHOLE);
    assert_ptr_equal(text.p, piece.p);
    assembly_reset(&a);
}

PROMISE(pieces_become_one_message)
{
    struct assembly a = {0};
    struct str text;

    for (int round = 0; round < 2; round++) {
        assert_int_equal(assembly_add(&a, STR("a "), 3, false, &text), ASSEMBLY_MORE);
        assert_int_equal(assembly_add(&a, STR("mes"), 0, false, &text), ASSEMBLY_MORE);
        assert_int_equal(assembly_add(&a, STR(""), 0, false, &text), ASSEMBLY_MORE);
        assert_int_equal(assembly_add(&a, STR("sage"), 0, true, &text), ASSEMBLY_WHOLE);
        assert_true(str_eq(text, STR("a message")));
        assembly_reset(&a);
        assert_null(a.got.p);
    }
}

PROMISE(the_cap_counts_what_came_and_what_is_announced)
{
    static char bytes[MESSAGE_MAX + 1];
    struct assembly a = {0};
    struct str text;

    assert_int_equal(assembly_add(&a, str_of(bytes, MESSAGE_MAX), 0, true, &text), ASSEMBLY_WHOLE);
    assembly_reset(&a);
    assert_int_equal(assembly_add(&a, str_of(bytes, MESSAGE_MAX + 1), 0, true, &text), ASSEMBLY_TOO_LARGE);
    assert_int_equal(assembly_add(&a, STR("x"), (uint64_t)1 << 40, false, &text), ASSEMBLY_TOO_LARGE);
    assert_int_equal(assembly_add(&a, STR("x"), UINT64_MAX, false, &text), ASSEMBLY_TOO_LARGE);
    assert_int_equal(assembly_add(&a, str_of(bytes, MESSAGE_MAX / 2), 0, false, &text), ASSEMBLY_MORE);
    assert_int_equal(assembly_add(&a, str_of(bytes, MESSAGE_MAX / 2), 1, false, &text), ASSEMBLY_TOO_LARGE);
    assembly_reset(&a);
}

PROMISE(memory_follows_what_came_not_what_is_announced)
{
    struct assembly a = {0};
    struct str text;

    assert_int_equal(assembly_add(&a, STR("x"), MESSAGE_MAX - 1, false, &text), ASSEMBLY_MORE);
    assert_true(a.got.cap < 1024);
    assembly_reset(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(one_piece_is_not_copied),
        HOLDS(pieces_become_one_message),
        HOLDS(the_cap_counts_what_came_and_what_is_announced),
        HOLDS(memory_follows_what_came_not_what_is_announced),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
