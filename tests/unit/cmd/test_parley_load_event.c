#include "tests/lib/unit.h"
#include "base/mem.h"
#include "cmd/parley_load_event.h"

static bool read_one(struct str text, struct event *e)
{
    struct events list = events_of(text);
    struct event more;

    return events_next(&list, e) && !events_next(&list, &more) && !list.failed;
}
#define assert_text(got, want) assert_true(str_eq(got, STR(want)))

PROMISE(an_event_is_read_in_any_order_of_its_members)
{
    static const char *const forms[] = {
        "{\"ev\":\"message\",\"conv\":\"c1\",\"seq\":17,\"from\":\"u1\",\"ts\":5,\"cid\":\"k\",\"content\":{\"type\":"
        "\"text\",\"text\":\"}\\\"{\"}}",
        "{\"content\":{\"type\":\"text\",\"text\":\"}\\\"{\"},\"cid\":\"k\",\"new\":[1,{\"seq\":9}],\"seq\":17,"
        "\"from\":\"u1\",\"conv\":\"c1\",\"ev\":\"message\"}",
        " { \"seq\" : 17 , "
        "\"ev\":\"message\",\"from\":\"u1\",\"cid\":\"k\",\"conv\":\"c1\",\"x\":-1.5e3,\"y\":null,\n\"content\":{"
        "\"type\":\"text\",\"text\":\"}\\\"{\"} } ",
    };
    for (size_t i = 0; i < 3; i++) {
        struct event e;
        assert_true(read_one(str_c(forms[i]), &e));
        assert_text(e.ev, "message");
        assert_text(e.conv, "c1");
        assert_text(e.from, "u1");
        assert_text(e.cid, "k");
        assert_text(e.content, "{\"type\":\"text\",\"text\":\"}\\\"{\"}");
        assert_int_equal(e.seq, 17);
        assert_false(e.is_reply);
    }
}

PROMISE(a_reply_is_read_with_what_its_ok_or_error_holds)
{
    struct event e;

    assert_true(read_one(STR("{\"ok\":{\"ts\":1,\"seq\":9,\"conv\":\"c1\",\"dup\":true},\"re\":12}"), &e));
    assert_true(e.is_reply && e.is_ok && e.is_dup);
    assert_int_equal(e.re, 12);
    assert_int_equal(e.seq, 9);
    assert_text(e.conv, "c1");
    assert_true(read_one(STR("{\"re\":3,\"ok\":{}}"), &e));
    assert_true(e.is_ok && !e.is_dup && e.seq == 0);
    assert_true(read_one(
        STR("{\"re\":4,\"error\":{\"code\":\"forbidden\",\"message\":\"say \\\"no\\\"\",\"retry_after_ms\":5}}"), &e));
    assert_true(e.is_reply && !e.is_ok);
    assert_text(e.code, "forbidden");
    assert_text(e.message, "say \\\"no\\\"");
}

PROMISE(a_reply_to_nothing_or_to_a_text_has_no_number)
{
    struct event e;

    assert_true(read_one(STR("{\"re\":null,\"error\":{\"code\":\"bad_json\",\"message\":\"\"}}"), &e));
    assert_true(e.is_reply);
    assert_int_equal(e.re, -1);
    assert_true(read_one(STR("{\"re\":\"7\",\"ok\":{}}"), &e));
    assert_int_equal(e.re, -1);
}

PROMISE(an_array_gives_its_objects_in_order)
{
    struct events list = events_of(STR("[{\"ev\":\"a\",\"seq\":1},{\"ev\":\"b\"} , {\"re\":5,\"ok\":{}}]"));
    struct event e;

    assert_true(events_next(&list, &e));
    assert_text(e.ev, "a");
    assert_true(events_next(&list, &e));
    assert_text(e.ev, "b");
    assert_int_equal(e.seq, 0);
    assert_true(events_next(&list, &e));
    assert_int_equal(e.re, 5);
    assert_false(events_next(&list, &e));
    assert_false(list.failed);
}

/* In a block of its own size, so that the sanitizer sees a read past its end. */
static bool is_accepted(struct str text)
{
    char *copy = mem_alloc(text.len ? text.len : 1);
    struct event e;
    struct events list;

    memcpy(copy, text.p, text.len);
    list = events_of(str_of(copy, text.len));
    while (events_next(&list, &e))
        ;
    mem_free(copy);
    return !list.failed;
}

PROMISE(whatever_is_cut_off_or_garbled_is_reported)
{
    static const char whole[] = "[{\"ev\":\"message\",\"seq\":17,\"new\":\"k\\\\\",\"content\":{\"a\":[1,\"]\"]}},{"
                                "\"re\":1,\"ok\":{\"seq\":2}}]";
    static const char *const bad[] = {
        "{\"seq\":-1}",
        "{\"seq\":\"1\"}",
        "{\"ev\":1}",
        "{\"ev\":\"a\\u0062\"}",
        "{\"ok\":true}",
        "{\"ev\":\"a\"}}",
        "{\"ev\":\"a\"}{\"ev\":\"b\"}",
        "{\"ev\"}",
        "{ev:1}",
        "[]",
        "nonsense",
        "{\"ev\":\"a\",}",
        "{\"x\":}",
    };

    assert_true(is_accepted(str_c(whole)));
    for (size_t n = 1; n < sizeof whole - 1; n++)
        assert_false(is_accepted(str_of(whole, n)));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(is_accepted(str_c(bad[i])));
}

PROMISE(a_page_of_sync_is_read_down_to_its_entries)
{
    struct events list = events_of(STR(
        "{\"re\":7,\"ok\":{\"epoch\":\"g\",\"conversations\":[{\"conv\":\"c1\",\"kind\":\"pair\",\"last_seq\":9,"
        "\"entries\":[{\"ev\":\"message\",\"conv\":\"c1\",\"seq\":8},{\"ev\":\"message\",\"seq\":9}]}],\"more\":true,"
        "\"cursor\":\"x\"}}"));
    struct events convs, entries;
    struct event e, conv, entry;

    assert_true(events_next(&list, &e));
    assert_true(e.is_ok && e.re == 7 && str_eq(e.cursor, STR("x")));
    convs = events_of(e.conversations);
    assert_true(events_next(&convs, &conv));
    assert_true(str_eq(conv.conv, STR("c1")) && conv.last_seq == 9);
    entries = events_of(conv.entries);
    assert_true(events_next(&entries, &entry) && entry.seq == 8);
    assert_true(events_next(&entries, &entry) && entry.seq == 9);
    assert_false(events_next(&entries, &entry) || entries.failed);
    assert_false(events_next(&convs, &conv) || convs.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_page_of_sync_is_read_down_to_its_entries),
        HOLDS(an_event_is_read_in_any_order_of_its_members),
        HOLDS(a_reply_is_read_with_what_its_ok_or_error_holds),
        HOLDS(a_reply_to_nothing_or_to_a_text_has_no_number),
        HOLDS(an_array_gives_its_objects_in_order),
        HOLDS(whatever_is_cut_off_or_garbled_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
