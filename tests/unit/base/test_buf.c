#include "base/buf.h"
#include "tests/lib/unit.h"

PROMISE(what_is_added_is_there_in_order)
{
    struct buf b = {0};
    buf_add(&b, NULL, 0);
    buf_str(&b, STR("ab"));
    buf_char(&b, 'c');
    buf_add(&b, "d\0e", 3);
    buf_printf(&b, "%d-%s", 7, "x");
    assert_true(str_eq(buf_get(&b), STR("abcd\0e7-x")));
    buf_deinit(&b);
    assert_null(b.p);
}

PROMISE(clearing_keeps_the_memory)
{
    struct buf b = {0};
    buf_printf(&b, "%1000d", 1);
    char *p = b.p;
    buf_clear(&b);
    assert_int_equal(b.len, 0);
    buf_printf(&b, "%1000d", 2);
    assert_ptr_equal(b.p, p);
    assert_int_equal(b.p[999], '2');
    buf_deinit(&b);
}

PROMISE(printing_fits_whatever_the_length)
{
    for (int n = 0; n < 300; n++) {
        struct buf b = {0};
        buf_str(&b, STR("head"));
        buf_printf(&b, "%.*s", n, "");
        buf_printf(&b, "%*d", n, 5);
        assert_int_equal(b.len, 4 + (n > 1 ? n : 1));
        assert_int_equal(b.p[b.len - 1], '5');
        buf_deinit(&b);
    }
}

PROMISE(reserved_room_is_writable_and_not_counted)
{
    struct buf b = {0};
    buf_str(&b, STR("x"));
    char *to = buf_reserve(&b, 5000);
    assert_ptr_equal(to, b.p + 1);
    memset(to, 'y', 5000);
    assert_int_equal(b.len, 1);
    assert_true(b.cap >= 5001);
    buf_deinit(&b);
}

PROMISE(integers_are_printed_in_decimal)
{
    static const int64_t values[] = {0, 1, -1, 9, 10, -10, 12345678901, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct buf b = {0};
        int64_t back;
        buf_i64(&b, values[i]);
        assert_true(str_to_i64(buf_get(&b), INT64_MIN, INT64_MAX, &back));
        assert_int_equal(back, values[i]);
        buf_deinit(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(what_is_added_is_there_in_order),   HOLDS(clearing_keeps_the_memory),
        HOLDS(printing_fits_whatever_the_length), HOLDS(reserved_room_is_writable_and_not_counted),
        HOLDS(integers_are_printed_in_decimal),
    };
    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
