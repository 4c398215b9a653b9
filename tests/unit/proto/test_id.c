#include "proto/id.h"
#include "tests/lib/unit.h"

PROMISE(ids_come_back_from_their_text)
{
    static const uint64_t values[] = {1, 2, 0x123456789abcdef0, INT64_MAX, UINT64_MAX};
    char text[ID_TEXT_MAX];

    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        user_id user;
        device_id device;

        assert_int_equal(user_text(text, values[i]), USER_TEXT);
        assert_true(user_parse(str_of(text, USER_TEXT), &user) && user == values[i]);
        assert_true(id_is_valid(str_of(text, USER_TEXT)));
        assert_false(device_parse(str_of(text, USER_TEXT), &device));
        assert_int_equal(device_text(text, values[i]), DEVICE_TEXT);
        assert_true(device_parse(str_of(text, DEVICE_TEXT), &device) && device == values[i]);
    }
}

PROMISE(conversations_come_back_from_their_text)
{
    struct conv_id conv, back;
    char text[ID_TEXT_MAX];

    for (unsigned i = 0; i < 16; i++)
        conv.b[i] = (uint8_t)(i * 37 + 11);
    assert_int_equal(conv_text(text, &conv), CONV_TEXT);
    assert_true(conv_parse(str_of(text, CONV_TEXT), &back) && conv_eq(&conv, &back));
    assert_false(conv_parse(str_of(text, CONV_TEXT - 1), &back));
}

PROMISE(a_text_that_was_never_written_is_no_id)
{
    static const char *const bad[] = {"",
                                      "u",
                                      "u000000000000",
                                      "u00000000000022",
                                      "U0000000000002",
                                      "u000000000000I",
                                      "u000000000000l",
                                      "d0000000000002",
                                      "u0000000000001",
                                      "u0000000000000"};
    user_id u;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(user_parse(str_c(bad[i]), &u));
}

PROMISE(shapes_have_their_alphabet_and_their_length)
{
    char text[66];

    assert_true(cid_is_valid(STR("a-Z_0.9:")));
    assert_false(cid_is_valid(STR("")));
    assert_false(cid_is_valid(STR("a b")));
    assert_false(cid_is_valid(STR("a\0b")));
    assert_false(cid_is_valid(STR("\xc3\xa9")));
    memset(text, 'x', sizeof text);
    assert_true(cid_is_valid(str_of(text, 64)) && id_is_valid(str_of(text, 64)));
    assert_false(cid_is_valid(str_of(text, 65)) || id_is_valid(str_of(text, 65)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(ids_come_back_from_their_text),
        HOLDS(conversations_come_back_from_their_text),
        HOLDS(a_text_that_was_never_written_is_no_id),
        HOLDS(shapes_have_their_alphabet_and_their_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
