#include "proto/jsonw.h"
#include <jansson.h>
#include "tests/lib/unit.h"

PROMISE(commas_stand_where_they_are_due)
{
    struct buf b = {0};

    jsonw_open(&b, '{');
    jsonw_key_int(&b, "a", INT64_MIN);
    jsonw_key_bool(&b, "b", true);
    jsonw_key(&b, "c");
    jsonw_open(&b, '[');
    jsonw_open(&b, '[');
    jsonw_close(&b, ']');
    jsonw_int(&b, 1);
    jsonw_str(&b, STR(","));
    jsonw_raw(&b, STR("{\"x\":[]}"));
    jsonw_str(&b, STR("["));
    jsonw_bool(&b, false);
    jsonw_open(&b, '{');
    jsonw_close(&b, '}');
    jsonw_close(&b, ']');
    jsonw_key_str(&b, "d", STR(""));
    jsonw_close(&b, '}');
    assert_true(
        str_eq(buf_get(&b), STR("{\"a\":-9223372036854775808,\"b\":true,\"c\":[[],1,\",\",{\"x\":[]},\"[\",false,{}],"
                                "\"d\":\"\"}")));
    buf_deinit(&b);
}

PROMISE(every_byte_of_a_text_survives_its_escapes)
{
    struct buf b = {0};
    char text[128];
    json_t *back;

    for (unsigned i = 0; i < 128; i++)
        text[i] = (char)i;
    jsonw_open(&b, '[');
    jsonw_str(&b, str_of(text, sizeof text));
    jsonw_str(&b, STR("\xc3\xa9\xf0\x9f\x98\x80"));
    jsonw_close(&b, ']');
    back = json_loadb(b.p, b.len, JSON_ALLOW_NUL, NULL);
    assert_int_equal(json_string_length(json_array_get(back, 0)), sizeof text);
    assert_memory_equal(json_string_value(json_array_get(back, 0)), text, sizeof text);
    assert_string_equal(json_string_value(json_array_get(back, 1)), "\xc3\xa9\xf0\x9f\x98\x80");
    json_decref(back);
    buf_deinit(&b);
}

PROMISE(ids_are_strings)
{
    struct buf b = {0};

    jsonw_open(&b, '{');
    jsonw_key_user(&b, "u", 1);
    jsonw_key(&b, "d");
    jsonw_device(&b, 1);
    jsonw_key_conv(&b, "c", &(struct conv_id){{0}});
    jsonw_close(&b, '}');
    assert_true(str_eq(
        buf_get(&b), STR("{\"u\":\"u0000000000002\",\"d\":\"d0000000000002\",\"c\":\"c00000000000000000000000000\"}")));
    buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(commas_stand_where_they_are_due),
        HOLDS(every_byte_of_a_text_survives_its_escapes),
        HOLDS(ids_are_strings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
