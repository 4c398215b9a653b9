#include "tests/lib/unit.h"
#include "cmd/parley_load_options.h"
#include "cmd/parley_load_script.h"
#include "cmd/parley_load_users.h"

PROMISE(a_cid_tells_run_sender_and_counter)
{
    struct script s, other;
    char cid[SCRIPT_CID_MAX];
    uint32_t sender, counter;

    script_init(&s, 0xdeadbeef, 1, 64);
    script_init(&other, 0xdeadbeee, 1, 64);
    size_t n = script_cid(&s, cid, UINT32_MAX, UINT32_MAX);
    assert_int_equal(n, SCRIPT_CID_MAX);
    assert_true(script_cid_read(&s, str_of(cid, n), &sender, &counter));
    assert_true(sender == UINT32_MAX && counter == UINT32_MAX);
    assert_false(script_cid_read(&other, str_of(cid, n), &sender, &counter));
    assert_false(script_cid_read(&s, STR("deadbeef."), &sender, &counter));
    assert_false(script_cid_read(&s, STR("deadbeef.1"), &sender, &counter));
    assert_false(script_cid_read(&s, STR("deadbeef.1.x"), &sender, &counter));
    assert_false(script_cid_read(&s, STR("deadbeef.1.4294967296"), &sender, &counter));
    script_deinit(&s);
    script_deinit(&other);
}

PROMISE(content_reads_back_and_any_changed_byte_shows)
{
    for (size_t size = 16; size <= 200; size += 23) {
        struct script s;
        script_init(&s, 1, 7, size);
        char *text = mem_alloc(script_content_max(&s));
        uint64_t start = 0;
        size_t n = script_content(&s, text, 3, 99, 0x0123456789abcdef);
        assert_int_equal(n, size + sizeof "{\"type\":\"text\",\"text\":\"\"}" - 1);
        assert_true(script_content_read(&s, str_of(text, n), 3, 99, &start));
        assert_true(start == 0x0123456789abcdef);
        assert_false(script_content_read(&s, str_of(text, n - 1), 3, 99, &start));
        for (size_t i = 0; i < n; i++) {
            text[i] ^= 64;
            bool is_read = script_content_read(&s, str_of(text, n), 3, 99, &start);
            assert_false(is_read && start == 0x0123456789abcdef);
            text[i] ^= 64;
        }
        if (size > 16)
            assert_false(script_content_read(&s, str_of(text, n), 3, 100, &start));
        mem_free(text);
        script_deinit(&s);
    }
}

PROMISE(users_are_read_from_tabs_and_a_bad_line_is_named)
{
    struct users u = {0};
    struct buf why = {0};

    assert_ok(users_parse(STR("a\tu1\td1\tt1\n\nb\tu2\td2\tt2"), &u, &why));
    assert_int_equal(u.n, 2);
    assert_true(str_eq(u.v[0].name, STR("a")) && str_eq(u.v[0].token, STR("t1")));
    assert_true(str_eq(u.v[1].id, STR("u2")) && str_eq(u.v[1].device, STR("d2")));
    users_deinit(&u);
    assert_int_equal(users_parse(STR("a\tu1\td1\tt1\na\tu1\td1\n"), &u, &why), ERR_INVALID);
    assert_true(str_starts(buf_get(&why), STR("line 2 ")));
    assert_int_equal(users_parse(STR("a\tu1\td1\tt1\tmore\n"), &u, &why), ERR_INVALID);
    buf_deinit(&why);
}

PROMISE(an_address_is_taken_apart)
{
    struct target t;

    assert_ok(target_parse("ws://127.0.0.1:7070/v1/ws", &t));
    assert_string_equal(t.host, "127.0.0.1");
    assert_string_equal(t.port, "7070");
    assert_string_equal(t.path, "/v1/ws");
    assert_ok(target_parse("ws://[::1]:80", &t));
    assert_string_equal(t.host, "::1");
    assert_string_equal(t.port, "80");
    assert_string_equal(t.path, "/");
    assert_ok(target_parse("ws://chat.example/x", &t));
    assert_string_equal(t.port, "80");
    assert_false(t.is_tls);
    assert_ok(target_parse("wss://chat.example/x", &t));
    assert_true(t.is_tls);
    assert_string_equal(t.port, "443");
    assert_string_equal(t.host, "chat.example");
    static const char *const bad[] = {"http://a/", "ws://",     "ws://a:0/", "ws://a:99999/",
                                      "ws://a:x/", "ws://[::1", "wss://",    "wss"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(target_parse(bad[i], &t), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_cid_tells_run_sender_and_counter),
        HOLDS(content_reads_back_and_any_changed_byte_shows),
        HOLDS(users_are_read_from_tabs_and_a_bad_line_is_named),
        HOLDS(an_address_is_taken_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
