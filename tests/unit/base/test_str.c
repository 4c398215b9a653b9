#include "base/str.h"
#include "tests/lib/unit.h"

PROMISE(strings_are_compared_bytewise_the_shorter_first_among_equals)
{
    assert_true(str_eq(STR("a\0b"), STR("a\0b")));
    assert_false(str_eq(STR("a\0b"), STR("a\0c")));
    assert_true(str_eq(STR(""), (struct str){0}));
    assert_true(str_cmp(STR("ab"), STR("abc")) < 0);
    assert_true(str_cmp(STR("b"), STR("abc")) > 0);
    assert_true(str_cmp(STR("\xff"), STR("a")) > 0);
    assert_int_equal(str_cmp(STR("ab"), STR("ab")), 0);
    assert_true(str_starts(STR("abc"), STR("ab")));
    assert_true(str_starts(STR("abc"), STR("")));
    assert_false(str_starts(STR("a"), STR("ab")));
}

PROMISE(str_from_never_passes_the_end)
{
    assert_true(str_eq(str_from(STR("abc"), 1), STR("bc")));
    assert_int_equal(str_from(STR("abc"), 3).len, 0);
    assert_int_equal(str_from(STR("abc"), 99).len, 0);
}

PROMISE(str_cut_splits_at_the_first_separator_only)
{
    struct str head, rest;
    assert_true(str_cut(STR("a:b:c"), ':', &head, &rest));
    assert_true(str_eq(head, STR("a")));
    assert_true(str_eq(rest, STR("b:c")));
    assert_true(str_cut(STR("a:"), ':', &head, &rest));
    assert_int_equal(rest.len, 0);
    assert_true(str_cut(STR(":a"), ':', &head, &rest));
    assert_int_equal(head.len, 0);
}

PROMISE(str_cut_without_a_separator_leaves_its_results_alone)
{
    struct str head = STR("x"), rest = STR("y");
    assert_false(str_cut(STR("abc"), ':', &head, &rest));
    assert_false(str_cut((struct str){0}, ':', &head, &rest));
    assert_true(str_eq(head, STR("x")) && str_eq(rest, STR("y")));
}

PROMISE(str_to_i64_reads_the_whole_range)
{
    int64_t v;
    assert_true(str_to_i64(STR("0"), INT64_MIN, INT64_MAX, &v) && v == 0);
    assert_true(str_to_i64(STR("9223372036854775807"), INT64_MIN, INT64_MAX, &v) && v == INT64_MAX);
    assert_true(str_to_i64(STR("-9223372036854775808"), INT64_MIN, INT64_MAX, &v) && v == INT64_MIN);
    assert_true(str_to_i64(STR("-5"), -5, 5, &v) && v == -5);
}

PROMISE(str_to_i64_refuses_everything_that_is_no_integer_in_range)
{
    static const char *const bad[] = {
        "",
        "-",
        "+1",
        " 1",
        "1 ",
        "1.0",
        "0x1",
        "--1",
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999",
    };
    int64_t v = 42;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(str_to_i64(str_c(bad[i]), INT64_MIN, INT64_MAX, &v));
    assert_false(str_to_i64(STR("6"), -5, 5, &v));
    assert_false(str_to_i64(STR("-6"), -5, 5, &v));
    assert_int_equal(v, 42);
}

/* The character's UTF-8 by the plain rule, for any number below 2^21. */
static size_t encode(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n; i-- > 1; c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(lead[n] | c);
    return n;
}

PROMISE(every_scalar_value_is_utf8_and_surrogates_and_what_is_above_are_not)
{
    char text[24];
    memset(text, 'a', sizeof(text));
    for (uint32_t c = 0; c < 0x200000; c++) {
        char utf8[4];
        size_t n = encode(c, utf8);
        memcpy(text + 3, utf8, n); /* surrounded by ASCII, across the step of eight */
        bool is_scalar = c < 0xd800 || (c > 0xdfff && c <= 0x10ffff);
        assert_int_equal(str_is_utf8(str_of(utf8, n)), is_scalar);
        assert_int_equal(str_is_utf8(str_of(text, sizeof(text))), is_scalar);
        assert_true(n == 1 || !str_is_utf8(str_of(utf8, n - 1)));
        memset(text + 3, 'a', n);
    }
}

PROMISE(overlong_forms_and_stray_bytes_are_not_utf8)
{
    static const char *const bad[] = {
        "\x80",
        "\xbf",
        "\xc0\x80",
        "\xc1\xbf",
        "\xe0\x80\x80",
        "\xe0\x9f\xbf",
        "\xf0\x80\x80\x80",
        "\xf0\x8f\xbf\xbf",
        "\xf5\x80\x80\x80",
        "\xff",
        "\xfe",
        "a\xc3",
        "\xc3\x28",
        "12345678\x80",
        "\xe2\x82",
        "\xe2\x28\xa1",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(str_is_utf8(str_c(bad[i])));
    assert_true(str_is_utf8((struct str){0}));
    assert_true(str_is_utf8(STR("a\0b")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(strings_are_compared_bytewise_the_shorter_first_among_equals),
        HOLDS(str_from_never_passes_the_end),
        HOLDS(str_cut_splits_at_the_first_separator_only),
        HOLDS(str_cut_without_a_separator_leaves_its_results_alone),
        HOLDS(str_to_i64_reads_the_whole_range),
        HOLDS(str_to_i64_refuses_everything_that_is_no_integer_in_range),
        HOLDS(every_scalar_value_is_utf8_and_surrogates_and_what_is_above_are_not),
        HOLDS(overlong_forms_and_stray_bytes_are_not_utf8),
    };
    return cmocka_run_group_tests_name("str", tests, NULL, NULL);
}
