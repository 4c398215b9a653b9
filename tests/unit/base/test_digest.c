#include "base/digest.h"
#include "tests/lib/unit.h"

static void digest_of(struct str s, size_t piece, struct digest *out)
{
    struct digest_state *d;

    digest_begin(&d);
    for (size_t at = 0; at < s.len; at += piece)
        digest_add(d, s.p + at, s.len - at < piece ? s.len - at : piece);
    digest_end(d, out);
}

PROMISE(it_is_what_b2sum_prints)
{
    struct digest d;
    char text[DIGEST_TEXT];

    digest_of(STR(""), 1, &d);
    digest_text(&d, text);
    assert_memory_equal(text, "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8", DIGEST_TEXT);
    digest_of(STR("abc"), 3, &d);
    digest_text(&d, text);
    assert_memory_equal(text, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319", DIGEST_TEXT);
}

PROMISE(pieces_make_no_difference)
{
    struct str s = STR("a sentence that is cut into pieces of every length there is, and is the same sentence still");
    struct digest whole, cut;

    digest_of(s, s.len, &whole);
    for (size_t n = 1; n < s.len; n++) {
        digest_of(s, n, &cut);
        assert_true(digest_eq(&whole, &cut));
    }
}

PROMISE(only_what_is_written_is_read)
{
    struct digest d, again;
    char text[DIGEST_TEXT + 1] = {0};

    digest_of(STR("x"), 1, &d);
    digest_text(&d, text);
    assert_true(digest_parse(str_of(text, DIGEST_TEXT), &again));
    assert_true(digest_eq(&d, &again));
    assert_false(digest_parse(str_of(text, DIGEST_TEXT - 1), &again));
    assert_false(digest_parse(str_of(text, DIGEST_TEXT + 1), &again));
    for (size_t i = 0; i < DIGEST_TEXT; i++) {
        char was = text[i];
        for (const char *bad = "gG-/: \n"; *bad; bad++) {
            text[i] = *bad;
            assert_false(digest_parse(str_of(text, DIGEST_TEXT), &again));
        }
        text[i] = was;
    }
    digest_end(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(it_is_what_b2sum_prints),
        HOLDS(pieces_make_no_difference),
        HOLDS(only_what_is_written_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
