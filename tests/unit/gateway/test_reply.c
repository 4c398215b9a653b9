#include "gateway/reply.h"
#include "tests/lib/unit.h"

static struct buf out;

static void print(const struct reply *r)
{
    buf_clear(&out);
    reply_print(r, &out);
    buf_char(&out, '\0');
}

PROMISE(a_body_that_was_packed_before_goes_as_it_is_to_who_takes_it)
{
    static char text[4096];
    struct reply r = {
        .status = 200, .type = "text/plain", .body = {text, sizeof text}, .packed = STR("packed before"), .etag = true};

    memset(text, 'x', sizeof text);
    print(&r);
    assert_non_null(strstr(out.p, "Content-Length: 4096\r\n"));
    assert_null(strstr(out.p, "packed before"));
    r.gzip = true;
    print(&r);
    assert_non_null(strstr(out.p, "Content-Length: 13\r\n"));
    assert_non_null(strstr(out.p, "Content-Encoding: gzip\r\n"));
    assert_non_null(strstr(out.p, "-gzip\"\r\n"));
    assert_non_null(strstr(out.p, "\r\n\r\npacked before"));
    buf_deinit(&out);
}

PROMISE(packing_says_when_it_would_not_help)
{
    struct buf packed = {0};

    assert_false(reply_pack(STR("ab"), &packed));
    buf_deinit(&packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_body_that_was_packed_before_goes_as_it_is_to_who_takes_it),
        HOLDS(packing_says_when_it_would_not_help),
    };
    return cmocka_run_group_tests_name("reply", tests, NULL, NULL);
}
