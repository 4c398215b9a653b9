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

/* Lays out a header (and a mask) and tells what is found before the payload. */
static bool unmasked(const char *header, size_t n, size_t seen, uint64_t total)
{
    char bytes[64] = {0};

    memcpy(bytes + 20, header, n);
    return assembly_is_unmasked(bytes + 20 + n, seen, total);
}

PROMISE(unmasked_headers_of_every_length_are_seen)
{
    assert_true(unmasked("\x81\x05", 2, 2, 5));
    assert_true(unmasked("\x81\x05", 2, 22, 5));
    assert_true(unmasked("\x01\x7d", 2, 22, 125));
    assert_true(unmasked("\x81\x7e\x01\x00", 4, 4, 256));
    assert_true(unmasked("\x80\x7f\0\0\0\0\0\1\0\0", 10, 10, 65536));
}

PROMISE(masked_headers_are_let_pass)
{
    assert_false(unmasked("\x81\x85wxyz", 6, 22, 5));
    assert_false(unmasked("\x81\xfe\x01\x00wxyz", 8, 22, 256));
    assert_false(unmasked("\x80\xff\0\0\0\0\0\1\0\0wxyz", 14, 22, 65536));
    assert_false(unmasked("\x81\x85wx\x81\x05", 6, 22, 5)); /* a mask that looks like a header */
}

PROMISE(a_header_that_is_not_there_proves_nothing)
{
    assert_false(unmasked("\x81\x05", 2, 0, 5));
    assert_false(unmasked("\x81\x05", 2, 1, 5));
    assert_false(unmasked("\x81\x06", 2, 22, 5));
    assert_false(unmasked("\x82\x05", 2, 22, 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(one_piece_is_not_copied),
        HOLDS(pieces_become_one_message),
        HOLDS(the_cap_counts_what_came_and_what_is_announced),
        HOLDS(memory_follows_what_came_not_what_is_announced),
        HOLDS(unmasked_headers_of_every_length_are_seen),
        HOLDS(masked_headers_are_let_pass),
        HOLDS(a_header_that_is_not_there_proves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
