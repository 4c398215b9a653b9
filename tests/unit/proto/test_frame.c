#include "proto/frame.h"
#include "proto/request.h"
#include "tests/lib/unit.h"

PROMISE(a_header_has_the_shortest_form_of_its_length)
{
    uint8_t h[FRAME_HEADER_MAX];

    assert_int_equal(frame_header(h, 1, 0), 2);
    assert_memory_equal(h, "\x81\x00", 2);
    assert_int_equal(frame_header(h, 9, 125), 2);
    assert_memory_equal(h, "\x89\x7d", 2);
    assert_int_equal(frame_header(h, 1, 126), 4);
    assert_memory_equal(h, "\x81\x7e\x00\x7e", 4);
    assert_int_equal(frame_header(h, 1, 65535), 4);
    assert_memory_equal(h, "\x81\x7e\xff\xff", 4);
    assert_int_equal(frame_header(h, 1, 65536), 10);
    assert_memory_equal(h, "\x81\x7f\0\0\0\0\0\x01\0\0", 10);
}

PROMISE(a_frame_holds_header_and_payload_until_its_last_reference_goes)
{
    struct frame *f = frame_text(STR("{}")), *empty = frame_text((struct str){0});

    assert_int_equal(f->payload, 2);
    assert_int_equal(f->len, 4);
    assert_memory_equal(f->bytes, "\x81\x02{}", 4);
    assert_ptr_equal(frame_ref(f), f);
    frame_unref(f);
    assert_memory_equal(f->bytes, "\x81\x02{}", 4);
    frame_unref(f);
    assert_int_equal(empty->len, 2);
    frame_unref(empty);
    frame_unref(NULL);
}

PROMISE(an_audience_lives_as_long_as_its_references)
{
    struct audience *a = audience_new(3);

    a->users[2] = 7;
    assert_int_equal(a->n, 3);
    audience_unref(audience_ref(a));
    assert_int_equal(a->users[2], 7);
    audience_unref(a);
    audience_unref(NULL);
}

PROMISE(a_complaint_too_long_is_cut_between_characters)
{
    struct request *r = request_new(NULL, NULL);
    char text[200];

    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'x', sizeof text);
        for (size_t i = shift; i + 4 < sizeof text; i += 4)
            memcpy(text + i, "\xf0\x9f\x98\x80", 4);
        request_fail(r, CODE_CONFLICT, "%.*s", (int)sizeof text, text);
        assert_true(str_is_utf8(str_c(r->why)));
        assert_true(strlen(r->why) >= sizeof r->why - 4);
    }
    assert_int_equal(r->code, CODE_CONFLICT);
    request_free(r);
    request_free(NULL);
}

PROMISE(an_answer_is_marked_and_a_failure_drops_what_was_written)
{
    struct request *r = request_new(NULL, NULL);

    buf_str(&r->out, STR("{}"));
    request_ok(r);
    assert_int_equal(r->code, CODE_OK);
    assert_int_equal(r->out.len, 2);
    request_fail(r, CODE_NOT_FOUND, "no such %s", "thing");
    assert_string_equal(r->why, "no such thing");
    assert_int_equal(r->out.len, 0);
    request_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_header_has_the_shortest_form_of_its_length),
        HOLDS(a_frame_holds_header_and_payload_until_its_last_reference_goes),
        HOLDS(an_audience_lives_as_long_as_its_references),
        HOLDS(a_complaint_too_long_is_cut_between_characters),
        HOLDS(an_answer_is_marked_and_a_failure_drops_what_was_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
