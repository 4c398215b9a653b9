/* The scanner against jansson, on frames broken in every way that a seeded generator thinks of. */
#include "tests/lib/args_agree.h"
#include "tests/lib/unit.h"

enum { CASES = 200000, TEXT_MAX = 600 };

static uint64_t seed = 20261123;
static uint64_t rnd(void)
{
    uint64_t z = seed += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static const char *const frames[] = {
    "{\"id\":1,\"op\":\"message.send\",\"conv\":\"c00000000000000000000000004\",\"cid\":\"a1b2c3\",\"content\":{"
    "\"type\":\"text\","
    "\"text\":\"hello \xc3\xa9\\u00e9\\n\"}}",
    "{ \"id\" : \"x-7\" , \"op\" : \"message.send\", \"user\":\"u0000000000002\", \"cid\":\"k\", \"content\": "
    "{\"type\":\"poll\","
    "\"options\":[{\"a\":1},{\"a\":2.5e3}],\"nested\":{\"x\":{\"y\":[true,false,null]}}}, \"reply_to\":12, "
    "\"mentions\":[\"u0000000000002\", \"u0000000000004\"]}",
    "{\"op\":\"receipt\",\"conv\":\"c00000000000000000000000004\",\"read\":41,\"delivered\":9007199254740991,\"id\":-"
    "5}",
    "{\"id\":9223372036854775807,\"op\":\"history\",\"conv\":\"abc\",\"before\":10,\"limit\":50}",
    "{\"id\":2,\"op\":\"typing\",\"conv\":\"abc\",\"on\":true,\"future\":[1e300,-0,0.5E-7]}",
    "{\"id\":3,\"op\":\"group.create\",\"title\":\"T \\ud83d\\ude00\",\"members\":[],\"cid\":\"c\",\"announce\":false,"
    "\"history\":\"all\"}",
    "{\"id\":4,\"op\":\"group.role\",\"conv\":\"a\",\"cid\":\"c\",\"user\":\"u0000000000002\",\"role\":\"admin\"}",
    "{\"id\":5,\"op\":\"sync\",\"since\":{\"c00000000000000000000000004\":7},\"limit\":10}",
    "{\"id\":6,\"op\":\"auth\",\"token\":\"s3cr3t\",\"batch\":true}",
};
static const char *const pieces[] = {
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    " ",
    "\\u0000",
    "\\ud800",
    "\\udc00",
    "\\u00",
    "\xff",
    "\xc3\xa9",
    "\xed\xa0\x80",
    "\x01",
    "0",
    "-",
    ".",
    "e",
    "1e400",
    "1e308",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "true",
    "null",
    "\"id\":1,",
    "\"id\":",
    "\"op\":\"ping\",",
    "\"conv\":\"a\",",
    "\"user\":\"b\",",
    "\"type\":\"text\",",
    "\"text\":1,",
    "\"cid\":",
    "{\"a\":1,\"a\":2}",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "\"cont\\u0065nt\":{},",
    "\"content\":{\"type\":\"x\"},",
    "\"mentions\":[\"a\"],",
    "\"expires_in\":5,",
    "\n",
    "\t",
};

#define PICK(list) (list)[rnd() % (sizeof(list) / sizeof(list)[0])]

static void replace(struct buf *b, size_t at, size_t gone, struct str with)
{
    char copy[2 * TEXT_MAX];
    size_t tail = b->len - at - gone;

    if (b->len + with.len > TEXT_MAX)
        return;
    memcpy(copy, b->p + at + gone, tail);
    b->len = at;
    buf_str(b, with);
    buf_add(b, copy, tail);
}

static void mutate(struct buf *b)
{
    size_t at = b->len ? rnd() % b->len : 0, n = b->len - at < 20 ? b->len - at : rnd() % 20;

    switch (rnd() % 5) {
    case 0:
        if (b->len)
            b->p[at] = (char)rnd();
        break;
    case 1:
        replace(b, at, 0, str_c(PICK(pieces)));
        break;
    case 2:
        replace(b, at, n, (struct str){"", 0});
        break;
    case 3:
        replace(b, at, n, str_c(PICK(pieces)));
        break;
    case 4: {
        struct str other = str_c(PICK(frames));
        size_t from = rnd() % other.len;

        replace(b, at, n, str_of(other.p + from, other.len - from < 30 ? other.len - from : rnd() % 30));
        break;
    }
    }
}

PROMISE(scanner_and_jansson_agree_on_mutated_frames)
{
    struct buf b = {0};
    size_t taken = 0;

    for (int i = 0; i < CASES; i++) {
        const char *why;
        bool fast;

        buf_clear(&b);
        buf_str(&b, str_c(PICK(frames)));
        for (size_t n = rnd() % 4; n > 0; n--)
            mutate(&b);
        why = args_agree(buf_get(&b), &fast);
        if (why)
            fail_msg("case %d: %s: " STR_FMT, i, why, STR_ARG(buf_get(&b)));
        taken += fast;
    }
    assert_true(taken > CASES / 10); /* or nothing was compared */
    buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {HOLDS(scanner_and_jansson_agree_on_mutated_frames)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
