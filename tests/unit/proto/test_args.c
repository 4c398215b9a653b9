#include "proto/args_internal.h"
#include "tests/lib/unit.h"

#define CONV "c00000000000000000000000004"
#define USER "u0000000000002" /* 1: the last character carries a filling bit */

static struct frame_head head;

static struct request *parse(struct str text, enum code *code)
{
    struct request *r = request_new(NULL, NULL);

    *code = args_parse_frame(arena_dup(&r->arena, text), r, &head);
    assert_int_equal(*code, r->code);
    return r;
}

/* Frames that are refused: the code, what is echoed ("" for null), and a word that the complaint must hold. */
static const struct bad {
    const char *text;
    enum code code;
    const char *re, *why;
} bad[] = {
    {"", CODE_BAD_JSON, "", "byte 0"},
    {" ", CODE_BAD_JSON, "", "byte 1"},
    {"{", CODE_BAD_JSON, "", "byte"},
    {"nonsense", CODE_BAD_JSON, "", "byte 0"},
    {"{\"id\":1,\"op\":\"ping\"", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,\"op\":\"ping\"}x", CODE_BAD_JSON, "1", "byte 20"},
    {"{\"id\":1,\"op\":\"ping\"}{}", CODE_BAD_JSON, "1", "byte 20"},
    {"{\"id\":1,\"op\":\"ping\",}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,,\"op\":\"ping\"}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1 \"op\":\"ping\"}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,\"op\" \"ping\"}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,\"op\":'ping'}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,op:\"ping\"}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":[1,]}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":[1}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":tru}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":nulll}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":01}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":1.}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":.5}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":1e}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":+1}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":-}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":NaN}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":1e400}", CODE_BAD_JSON, "1", "range"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":-1e400}", CODE_BAD_JSON, "1", "range"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":9223372036854775808}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":-9223372036854775809}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":9223372036854775808,\"op\":\"ping\"}", CODE_BAD_JSON, "", "byte"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":\"\\ud800\"}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":\"\\udc00\"}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":\"\\ud800\\ud800\"}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":\"\\ud800x\"}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":\"\\u12g4\"}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":\"\\x41\"}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":\"\x01\"}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":\"\n\"}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":\"\xff\"}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":\"\xc0\x80\"}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":\"\xed\xa0\x80\"}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":\"\xf4\x90\x80\x80\"}", CODE_BAD_JSON, "1", "byte"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":\"\xe2\x82\"}", CODE_BAD_JSON, "1", "byte"},
    {"\xef\xbb\xbf{\"id\":1,\"op\":\"ping\"}", CODE_BAD_JSON, "", "byte 0"},
    {"{\"id\":1,\"id\":2,\"op\":\"ping\"}", CODE_BAD_JSON, "1", "twice"},
    {"{\"id\":1,\"op\":\"ping\",\"\\u006fp\":\"ping\"}", CODE_BAD_JSON, "1", "twice"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":{\"a\":1,\"a\":1}}", CODE_BAD_JSON, "1", "twice"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":[[{\"a\":{\"b\":1,\"c\":2,\"b\":3}}]]}", CODE_BAD_JSON, "1", "twice"},
    {"{\"id\":1,\"op\":\"ping\",\"x\":{\"a\\u0000\":1}}", CODE_BAD_JSON, "1", "U+0000"},
    /* a fault before the id: it is not known */
    {"{\"op\":\"ping\",\"x\":01,\"id\":1}", CODE_BAD_JSON, "", "byte"},
    /* what is JSON, but no request */
    {"[]", CODE_BAD_REQUEST, "", "object"},
    {"[{\"id\":1,\"op\":\"ping\"}]", CODE_BAD_REQUEST, "", "object"},
    {"7", CODE_BAD_REQUEST, "", "object"},
    {"\"ping\"", CODE_BAD_REQUEST, "", "object"},
    {"null", CODE_BAD_REQUEST, "", "object"},
    {"{}", CODE_BAD_REQUEST, "", "id: missing"},
    {"{\"op\":\"ping\"}", CODE_BAD_REQUEST, "", "id: missing"},
    {"{\"id\":null,\"op\":\"ping\"}", CODE_BAD_REQUEST, "", "id: must"},
    {"{\"id\":1.5,\"op\":\"ping\"}", CODE_BAD_REQUEST, "", "id: must"},
    {"{\"id\":1e2,\"op\":\"ping\"}", CODE_BAD_REQUEST, "", "id: must"},
    {"{\"id\":true,\"op\":\"ping\"}", CODE_BAD_REQUEST, "", "id: must"},
    {"{\"id\":[1],\"op\":\"ping\"}", CODE_BAD_REQUEST, "", "id: must"},
    {"{\"id\":{},\"op\":\"ping\"}", CODE_BAD_REQUEST, "", "id: must"},
    {"{\"id\":\"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggggg\",\"op\":\"ping\"}", CODE_BAD_REQUEST,
     "", "id: must"},
    {"{\"id\":1}", CODE_BAD_REQUEST, "1", "op: missing"},
    {"{\"id\":1,\"op\":7}", CODE_BAD_REQUEST, "1", "op: must"},
    {"{\"id\":1,\"op\":\"\"}", CODE_UNKNOWN_OP, "1", "op"},
    {"{\"id\":\"x\",\"op\":\"pong\"}", CODE_UNKNOWN_OP, "\"x\"", "op"},
    {"{\"id\":1,\"op\":\"ping\\u0000\"}", CODE_UNKNOWN_OP, "1", "op"},
    {"{\"op\":\"pong\",\"id\":-0}", CODE_UNKNOWN_OP, "-0", "op"},
    {"{\"id\":1,\"op\":\"user.me\"}", CODE_UNKNOWN_OP, "1", "op"}, /* HTTP only */
    /* arguments */
    {"{\"id\":1,\"op\":\"history\"}", CODE_BAD_REQUEST, "1", "conv: missing"},
    {"{\"id\":1,\"op\":\"history\",\"conv\":7}", CODE_BAD_REQUEST, "1", "conv: must"},
    {"{\"id\":1,\"op\":\"history\",\"conv\":null}", CODE_BAD_REQUEST, "1", "conv: must"},
    {"{\"id\":1,\"op\":\"history\",\"conv\":\"\"}", CODE_BAD_REQUEST, "1", "conv: must"},
    {"{\"id\":1,\"op\":\"history\",\"conv\":\"a b\"}", CODE_BAD_REQUEST, "1", "conv: must"},
    {"{\"id\":1,\"op\":\"history\",\"conv\":\"a\\u0000\"}", CODE_BAD_REQUEST, "1", "conv: must"},
    {"{\"id\":1,\"op\":\"history\",\"conv\":\"a\",\"limit\":0}", CODE_BAD_REQUEST, "1", "limit: must"},
    {"{\"id\":1,\"op\":\"history\",\"conv\":\"a\",\"limit\":201}", CODE_BAD_REQUEST, "1", "limit: must"},
    {"{\"id\":1,\"op\":\"history\",\"conv\":\"a\",\"limit\":-1}", CODE_BAD_REQUEST, "1", "limit: must"},
    {"{\"id\":1,\"op\":\"history\",\"conv\":\"a\",\"limit\":1.0}", CODE_BAD_REQUEST, "1", "limit: must"},
    {"{\"id\":1,\"op\":\"history\",\"conv\":\"a\",\"limit\":\"5\"}", CODE_BAD_REQUEST, "1", "limit: must"},
    {"{\"id\":1,\"op\":\"message.send\",\"conv\":\"a\",\"cid\":\"c\",\"content\":{\"type\":\"x\"},\"expires_in\":0}",
     CODE_BAD_REQUEST, "1", "expires_in: must be an integer of 1 to 315360000"},
    {"{\"id\":1,\"op\":\"message.send\",\"conv\":\"a\",\"cid\":\"c\",\"content\":{\"type\":\"x\"},\"expires_in\":-1}",
     CODE_BAD_REQUEST, "1", "expires_in: must be an integer of 1 to 315360000"},
    {"{\"id\":1,\"op\":\"message.send\",\"conv\":\"a\",\"cid\":\"c\",\"content\":{\"type\":\"x\"},\"expires_in\":"
     "315360001}",
     CODE_BAD_REQUEST, "1", "expires_in: must be an integer of 1 to 315360000"},
    {"{\"id\":1,\"op\":\"message.send\",\"conv\":\"a\",\"cid\":\"c\",\"content\":{\"type\":\"x\"},\"expires_in\":1.5}",
     CODE_BAD_REQUEST, "1", "expires_in: must be an integer of 1 to 315360000"},
    {"{\"id\":1,\"op\":\"message.send\",\"conv\":\"a\",\"cid\":\"c\",\"content\":{\"type\":\"x\"},\"expires_in\":"
     "\"60\"}",
     CODE_BAD_REQUEST, "1", "expires_in: must be an integer of 1 to 315360000"},
    {"{\"id\":1,\"op\":\"message.send\",\"conv\":\"a\",\"cid\":\"c\",\"content\":{\"type\":\"x\"},\"expires_in\":null}",
     CODE_BAD_REQUEST, "1", "expires_in: must be an integer of 1 to 315360000"},
    {"{\"id\":1,\"op\":\"message.send\",\"conv\":\"a\",\"cid\":\"c\",\"content\":{\"type\":\"x\"},\"media\":[]}",
     CODE_BAD_REQUEST, "1", "media: is not there yet"},
    {"{\"id\":1,\"op\":\"sync\",\"since\":{\"a\":9007199254740992}}", CODE_BAD_REQUEST, "1", "since: must"},
    {"{\"id\":1,\"op\":\"history\",\"conv\":\"a\",\"before\":9007199254740992}", CODE_BAD_REQUEST, "1", "before: must"},
    {"{\"id\":1,\"op\":\"history\",\"conv\":\"a\",\"after\":-1}", CODE_BAD_REQUEST, "1", "after: must"},
    {"{\"id\":1,\"op\":\"typing\",\"conv\":\"a\",\"on\":1}", CODE_BAD_REQUEST, "1", "on: must"},
    {"{\"id\":1,\"op\":\"typing\",\"conv\":\"a\",\"on\":\"true\"}", CODE_BAD_REQUEST, "1", "on: must"},
    {"{\"id\":1,\"op\":\"device.revoke\",\"device\":\"\xc3\xa9\"}", CODE_BAD_REQUEST, "1", "device: must"},
    {"{\"id\":1,\"op\":\"auth\",\"token\":\"a\\u0000b\"}", CODE_BAD_REQUEST, "1", "token: must"},
    {"{\"id\":1,\"op\":\"auth\",\"batch\":0}", CODE_BAD_REQUEST, "1", "batch: must"},
    {"{\"id\":1,\"op\":\"group.role\",\"conv\":\"a\",\"cid\":\"c\",\"user\":\"u\",\"role\":\"king\"}", CODE_BAD_REQUEST,
     "1", "role: must"},
    {"{\"id\":1,\"op\":\"group.update\",\"conv\":\"a\",\"cid\":\"c\",\"history\":\"none\"}", CODE_BAD_REQUEST, "1",
     "history: must"},
    {"{\"id\":1,\"op\":\"group.leave\",\"conv\":\"a\",\"cid\":\"\"}", CODE_BAD_REQUEST, "1", "cid: must"},
    {"{\"id\":1,\"op\":\"group.leave\",\"conv\":\"a\",\"cid\":\"a/b\"}", CODE_BAD_REQUEST, "1", "cid: must"},
    {"{\"id\":1,\"op\":\"group.add\",\"conv\":\"a\",\"cid\":\"c\",\"users\":\"" USER "\"}", CODE_BAD_REQUEST, "1",
     "users: must"},
    {"{\"id\":1,\"op\":\"group.add\",\"conv\":\"a\",\"cid\":\"c\",\"users\":[1]}", CODE_BAD_REQUEST, "1",
     "users: must"},
    {"{\"id\":1,\"op\":\"group.add\",\"conv\":\"a\",\"cid\":\"c\",\"users\":[\"\"]}", CODE_BAD_REQUEST, "1",
     "users: must"},
    {"{\"id\":1,\"op\":\"group.add\",\"conv\":\"a\",\"cid\":\"c\",\"users\":[\"" USER "\",\"" USER "\"]}",
     CODE_BAD_REQUEST, "1", "users: names"},
    {"{\"id\":1,\"op\":\"sync\",\"since\":[]}", CODE_BAD_REQUEST, "1", "since: must"},
    {"{\"id\":1,\"op\":\"sync\",\"since\":{\"a\":\"1\"}}", CODE_BAD_REQUEST, "1", "since: must"},
    {"{\"id\":1,\"op\":\"sync\",\"since\":{\"a\":-1}}", CODE_BAD_REQUEST, "1", "since: must"},
    {"{\"id\":1,\"op\":\"sync\",\"since\":{\"a b\":1}}", CODE_BAD_REQUEST, "1", "since: must"},
#define SEND "{\"id\":1,\"op\":\"message.send\",\"cid\":\"c\","
    {SEND "\"content\":{\"type\":\"x\"}}", CODE_BAD_REQUEST, "1", "conv, user"},
    {SEND "\"conv\":\"a\",\"user\":\"b\",\"content\":{\"type\":\"x\"}}", CODE_BAD_REQUEST, "1", "conv, user"},
    {SEND "\"conv\":\"a\"}", CODE_BAD_REQUEST, "1", "content: missing"},
    {SEND "\"conv\":\"a\",\"content\":\"x\"}", CODE_BAD_REQUEST, "1", "content: must"},
    {SEND "\"conv\":\"a\",\"content\":[]}", CODE_BAD_REQUEST, "1", "content: must"},
    {SEND "\"conv\":\"a\",\"content\":{}}", CODE_BAD_REQUEST, "1", "type"},
    {SEND "\"conv\":\"a\",\"content\":{\"type\":1}}", CODE_BAD_REQUEST, "1", "type"},
    {SEND "\"conv\":\"a\",\"content\":{\"type\":\"text\"}}", CODE_BAD_REQUEST, "1", "text must"},
    {SEND "\"conv\":\"a\",\"content\":{\"type\":\"text\",\"text\":1}}", CODE_BAD_REQUEST, "1", "text must"},
    {SEND "\"conv\":\"a\",\"content\":{\"type\":\"te\\u0078t\"}}", CODE_BAD_REQUEST, "1", "text must"},
    {SEND "\"conv\":\"a\",\"content\":{\"type\":\"x\"},\"reply_to\":null}", CODE_BAD_REQUEST, "1", "reply_to: must"},
    {SEND "\"conv\":\"a\",\"content\":{\"type\":\"x\"},\"mentions\":{}}", CODE_BAD_REQUEST, "1", "mentions: must"},
};

PROMISE(refused_frames_get_their_code_their_id_and_a_named_fault)
{
    enum code code;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct request *r = parse(str_c(bad[i].text), &code);

        if (code != bad[i].code || !str_eq(head.re, str_c(bad[i].re)) || !strstr(r->why, bad[i].why))
            fail_msg("%s\n got %s, re " STR_FMT ", %s", bad[i].text, code_text(code), STR_ARG(head.re), r->why);
        request_free(r);
    }
}

static const char *const good[] = {
    "{\"id\":1,\"op\":\"history\",\"conv\":\"a\",\"before\":9007199254740991}",
    " \t\r\n{ \"id\" : 1 , \"op\" : \"ping\" } \n",
    "{\"op\":\"ping\",\"id\":\"\"}",
    "{\"id\":\"\\u0000\\ud83d\\ude00\",\"op\":\"ping\"}",
    "{\"id\":-9223372036854775808,\"op\":\"ping\"}",
    "{\"id\":9223372036854775807,\"op\":\"ping\",\"x\":1e308,\"y\":1e-400,\"z\":-0.0E+10}",
    "{\"id\":1,\"\\u006fp\":\"ping\"}",
    "{\"id\":1,\"op\":\"pi\\u006eg\"}",
    "{\"id\":1,\"op\":\"ping\",\"future\":{\"a\":[1,2,{\"b\":null}]}}",
    "{\"id\":1,\"op\":\"ping\",\"x\":\"\xef\xbf\xbe\xf4\x8f\xbf\xbf\x7f\"}", /* noncharacters are characters here */
    "{\"id\":1,\"op\":\"ping\",\"x\":\"\\/\\b\\f\\n\\r\\t\\\\\\\"\"}",
    SEND "\"user\":\"a\",\"content\":{\"type\":\"x\"},\"mentions\":[],\"reply_to\":0}",
    SEND "\"user\":\"a\",\"content\":{\"type\":\"text\",\"text\":\"\\u0000\"}}",
    SEND "\"user\":\"\\u0061\",\"content\":{\"type\":\"te\\u0078t\",\"text\":\"\"}}",
};

PROMISE(accepted_frames_are_accepted)
{
    enum code code;

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct request *r = parse(str_c(good[i]), &code);

        if (code != CODE_OK)
            fail_msg("%s\n got %s, %s", good[i], code_text(code), r->why);
        assert_true(head.op_known);
        request_free(r);
    }
}

/* prefix, then `unit` n times, then suffix */
static struct str repeat(struct buf *b, const char *prefix, const char *unit, size_t n, const char *suffix)
{
    buf_clear(b);
    buf_str(b, str_c(prefix));
    while (n--)
        buf_str(b, str_c(unit));
    buf_str(b, str_c(suffix));
    return buf_get(b);
}

static void assert_code(struct str text, enum code want, const char *why)
{
    enum code code;
    struct request *r = parse(text, &code);

    if (code != want || !strstr(r->why, why))
        fail_msg("%.60s… (%zu bytes): got %s, %s", text.p, text.len, code_text(code), r->why);
    request_free(r);
}

PROMISE(depth_ends_at_32)
{
    struct buf b = {0}, end = {0};

    for (size_t n = 31; n <= 32; n++) {
        buf_clear(&end);
        for (size_t i = 0; i < n; i++)
            buf_char(&end, ']');
        buf_str(&end, STR("}"));
        buf_char(&end, '\0');
        assert_code(repeat(&b, "{\"id\":1,\"op\":\"ping\",\"x\":", "[", n, end.p), n == 31 ? CODE_OK : CODE_BAD_JSON,
                    "");
    }
    assert_code(repeat(&b, "", "[", 100000, ""), CODE_BAD_JSON, "");
    assert_code(repeat(&b, "", "{\"\":", 100000, ""), CODE_BAD_JSON, "");
    buf_deinit(&b);
    buf_deinit(&end);
}

PROMISE(sizes_end_where_they_should)
{
    struct buf b = {0};
    const char *text = SEND "\"user\":\"a\",\"content\":{\"type\":\"text\",\"text\":\"";
    const char *blob = SEND "\"user\":\"a\",\"content\":{\"type\":\"blob\",\"data\":\"";
    size_t around = strlen("{\"type\":\"blob\",\"data\":\"\"}");

    assert_code(repeat(&b, text, "x", 16384, "\"}}"), CODE_OK, "");
    assert_code(repeat(&b, text, "x", 16385, "\"}}"), CODE_TOO_LARGE, "content");
    assert_code(repeat(&b, text, "\\n", 16384, "\"}}"), CODE_OK, "");
    assert_code(repeat(&b, text, "\\n", 16385, "\"}}"), CODE_TOO_LARGE, "content");
    assert_code(repeat(&b, text, "\\u00e9", 8192, "\"}}"), CODE_OK, "");
    assert_code(repeat(&b, text, "\\u00e9", 8193, "\"}}"), CODE_TOO_LARGE, "content");
    assert_code(repeat(&b, blob, "x", 65536 - around, "\"}}"), CODE_OK, "");
    assert_code(repeat(&b, blob, "x", 65537 - around, "\"}}"), CODE_TOO_LARGE, "content");
    assert_code(repeat(&b, "{\"op\":\"ping\",\"id\":\"", "x", 64, "\"}"), CODE_OK, "");
    assert_code(repeat(&b, "{\"op\":\"ping\",\"id\":\"", "\\u0041", 64, "\"}"), CODE_OK, "");
    assert_code(repeat(&b, "{\"op\":\"ping\",\"id\":\"", "\\u0041", 65, "\"}"), CODE_BAD_REQUEST, "id");
    assert_code(repeat(&b, "{\"op\":\"ping\",\"id\":\"", "\\ud83d\\ude00", 16, "\"}"), CODE_OK, "");
    assert_code(repeat(&b, "{\"op\":\"ping\",\"id\":\"", "\\ud83d\\ude00", 17, "\"}"), CODE_BAD_REQUEST, "id");
    assert_code(repeat(&b, "{\"id\":1,\"op\":\"auth\",\"token\":\"", "x", 256, "\"}"), CODE_OK, "");
    assert_code(repeat(&b, "{\"id\":1,\"op\":\"auth\",\"token\":\"", "x", 257, "\"}"), CODE_BAD_REQUEST, "token");
    assert_code(repeat(&b, "{\"id\":1,\"op\":\"history\",\"conv\":\"", "x", 64, "\"}"), CODE_OK, "");
    assert_code(repeat(&b, "{\"id\":1,\"op\":\"history\",\"conv\":\"", "x", 65, "\"}"), CODE_BAD_REQUEST, "conv");
    assert_code(repeat(&b, "{\"id\":1,\"op\":\"group.leave\",\"conv\":\"x\",\"cid\":\"", "x", 64, "\"}"), CODE_OK, "");
    assert_code(repeat(&b, "{\"id\":1,\"op\":\"group.leave\",\"conv\":\"x\",\"cid\":\"", "x", 65, "\"}"),
                CODE_BAD_REQUEST, "cid");
    buf_deinit(&b);
}

static struct str many_users(struct buf *b, const char *prefix, size_t n, size_t repeat_of_first_at)
{
    buf_clear(b);
    buf_str(b, str_c(prefix));
    for (size_t i = 0; i < n; i++) {
        char text[USER_TEXT];

        user_text(text, i == repeat_of_first_at ? 1 : i + 1);
        buf_printf(b, "%s\"%.*s\"", i ? "," : "", USER_TEXT, text);
    }
    buf_str(b, STR("]}"));
    return buf_get(b);
}

PROMISE(user_lists_are_bounded_and_without_repeats)
{
    const char *send = SEND "\"user\":\"a\",\"content\":{\"type\":\"x\"},\"mentions\":[";
    const char *add = "{\"id\":1,\"op\":\"group.add\",\"conv\":\"a\",\"cid\":\"c\",\"users\":[";
    struct buf b = {0};
    enum code code;
    struct request *r;

    assert_code(many_users(&b, send, 64, 0), CODE_OK, "");
    assert_code(many_users(&b, send, 65, 0), CODE_BAD_REQUEST, "mentions: must have at most 64");
    assert_code(many_users(&b, send, 20, 19), CODE_BAD_REQUEST, "twice");
    assert_code(many_users(&b, add, 1000, 500), CODE_BAD_REQUEST, "twice");
    r = parse(many_users(&b, add, 1000, 0), &code);
    assert_int_equal(code, CODE_OK);
    assert_int_equal(r->args->group_add.users.n, 1000);
    assert_int_equal(r->args->group_add.users.v[999], 1000);
    request_free(r);
    r = parse(STR("{\"id\":1,\"op\":\"group.add\",\"conv\":\"a\",\"cid\":\"c\",\"users\":[\"x\",\"x\",\"\\u0075\"]}"),
              &code);
    assert_int_equal(code, CODE_OK); /* strangers are nobody, and nobody is not a repeat */
    assert_int_equal(r->args->group_add.users.n, 3);
    assert_int_equal(r->args->group_add.users.v[1], 0);
    request_free(r);
    buf_deinit(&b);
}

PROMISE(a_message_arrives_with_its_content_byte_for_byte)
{
    static const char *const frames[] = {
        "{\"id\":\"q\",\"op\":\"message.send\",\"conv\":\"" CONV "\",\"cid\":\"k:1\",\"content\": {\"type\" :\"text\", "
        "\"text\":\"h\\u0000\\u00e9\xc3\xa9\"} ,\"reply_to\":7,\"mentions\":[\"" USER "\", \"nobody\"]}",
        "{\"mentions\":[\"" USER "\",\"nobody\"],\"reply_to\":7,\"cont\\u0065nt\":{\"type\" :\"text\", "
        "\"text\":\"h\\u0000\\u00e9\xc3\xa9\"},\"cid\":\"k\\u003a1\",\"conv\":\"" CONV
        "\",\"op\":\"message.send\",\"id\":\"q\"}",
    };
    enum code code;

    for (size_t i = 0; i < 2; i++) {
        struct request *r = parse(str_c(frames[i]), &code);
        const struct args_message_send *a = &r->args->message_send;
        struct conv_id conv;

        assert_int_equal(code, CODE_OK);
        assert_int_equal(r->op, OP_message_send);
        assert_true(str_eq(head.re, STR("\"q\"")));
        assert_true(str_eq(head.op_name, STR("message.send")));
        assert_true(conv_parse(STR(CONV), &conv) && conv_eq(&conv, &a->conv));
        assert_true(a->has_conv && !a->has_user && a->has_cid && a->has_content && a->has_reply_to && a->has_mentions);
        assert_true(str_eq(a->cid, STR("k:1")));
        assert_true(str_eq(a->content, STR("{\"type\" :\"text\", \"text\":\"h\\u0000\\u00e9\xc3\xa9\"}")));
        assert_int_equal(a->reply_to, 7);
        assert_int_equal(a->mentions.n, 2);
        assert_int_equal(a->mentions.v[0], 1);
        assert_int_equal(a->mentions.v[1], 0);
        request_free(r);
    }
}

PROMISE(every_type_arrives)
{
    enum code code;
    struct request *r;

    r = parse(
        STR("{\"id\":1,\"op\":\"group.role\",\"conv\":\"x\",\"cid\":\"c\",\"user\":\"" USER "\",\"role\":\"owner\"}"),
        &code);
    assert_int_equal(code, CODE_OK);
    assert_true(conv_eq(&r->args->group_role.conv, &CONV_NONE));
    assert_int_equal(r->args->group_role.user, 1);
    assert_int_equal(r->args->group_role.role, ROLE_OWNER);
    request_free(r);
    r = parse(
        STR("{\"id\":1,\"op\":\"group.update\",\"conv\":\"x\",\"cid\":\"c\",\"history\":\"all\",\"announce\":false,"
            "\"locked\":true,\"title\":\"t\\n\"}"),
        &code);
    assert_int_equal(code, CODE_OK);
    assert_true(r->args->group_update.has_history && r->args->group_update.history);
    assert_true(r->args->group_update.has_announce && !r->args->group_update.announce);
    assert_true(r->args->group_update.locked);
    assert_false(r->args->group_update.has_picture);
    assert_true(str_eq(r->args->group_update.title, STR("t\n")));
    request_free(r);
    r = parse(STR("{\"id\":1,\"op\":\"sync\",\"since\":{\"" CONV "\":5,\"x\":0},\"limit\":1000}"), &code);
    assert_int_equal(code, CODE_OK);
    assert_int_equal(r->args->sync.since.n, 2);
    assert_int_equal(r->args->sync.since.v[0].seq + r->args->sync.since.v[1].seq, 5);
    assert_int_equal(r->args->sync.limit, 1000);
    request_free(r);
    r = parse(STR("{\"id\":1,\"op\":\"device.revoke\",\"device\":\"d000000000000z\"}"), &code);
    assert_int_equal(code, CODE_OK);
    request_free(r);
}

PROMISE(many_members_are_fine_and_repeats_among_them_are_found)
{
    struct buf b = {0};
    enum code code;

    for (int twice = 0; twice <= 1; twice++) {
        buf_clear(&b);
        buf_str(&b, STR("{\"id\":3,"));
        for (int i = 0; i < 40; i++)
            buf_printf(&b, "\"k%d\":%d,", twice && i == 39 ? 20 : i, i);
        buf_str(&b, STR("\"op\":\"ping\"}"));
        struct request *r = parse(buf_get(&b), &code);
        assert_int_equal(code, twice ? CODE_BAD_JSON : CODE_OK);
        assert_true(str_eq(head.re, STR("3")));
        request_free(r);
    }
    buf_deinit(&b);
}

struct seen {
    size_t n;
    char all[256];
};

static void collect(void *arg, struct str element)
{
    struct seen *s = arg;
    size_t at = strlen(s->all);

    s->n++;
    snprintf(s->all + at, sizeof s->all - at, STR_FMT "|", STR_ARG(element));
}

static size_t count;
static void count_one(void *arg, struct str element)
{
    (void)arg;
    (void)element;
    count++;
}

PROMISE(a_batch_is_split_into_its_elements)
{
    static const struct {
        const char *text, *all;
    } cases[] = {
        {" [ {\"a\":[1,2]} , \"x,]\\\"\" ] ", "{\"a\":[1,2]}|\"x,]\\\"\"|"},
        {"[1]", "1|"},
        {"[[1],[2]]", "[1]|[2]|"},
        {"{}", ""},
        {"", ""},
        {"[", ""},
        {"]", ""},
        {"[,]", ""},
        {"[1,]", ""},
        {"[,1]", ""},
        {"[1,,2]", ""},
        {"[{}{}]", ""},
        {"[{} {}]", ""},
        {"[{},{]", ""},
        {"[{},nonsense]", ""},
        {"[{\"a\":1,}]", ""},
        {"[{\"a\":[1}],{}]", ""},
        {"[1", ""},
        {"[1]]", ""},
        {"[1]x", ""},
        {"[}]", ""},
        {"[\"]", ""},
        {"[\"\\", ""},
    };
    enum err err;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct seen s = {0};

        size_t n = args_split_batch(str_c(cases[i].text), &err, collect, &s);

        assert_int_equal(n, s.n);
        assert_int_equal(err, ERR_OK);
        assert_string_equal(s.all, cases[i].all);
    }
}

PROMISE(an_empty_batch_is_json_and_still_none)
{
    static const char *const texts[] = {"[]", " [ \n] "};
    enum err err;

    count = 0;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(args_split_batch(str_c(texts[i]), &err, count_one, NULL), 0);
        assert_int_equal(err, ERR_LIMIT);
    }
    assert_int_equal(count, 0);
}

PROMISE(a_batch_of_more_than_256_is_refused_whole)
{
    struct buf b = {0};
    enum err err;

    count = 0;
    assert_int_equal(args_split_batch(repeat(&b, "[{}", ",{}", 255, "]"), &err, count_one, NULL), 256);
    assert_int_equal(err, ERR_OK);
    assert_int_equal(count, 256);
    assert_int_equal(args_split_batch(repeat(&b, "[{}", ",{}", 256, "]"), &err, count_one, NULL), 0);
    assert_int_equal(err, ERR_LIMIT);
    assert_int_equal(count, 256);
    buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(refused_frames_get_their_code_their_id_and_a_named_fault),
        HOLDS(accepted_frames_are_accepted),
        HOLDS(depth_ends_at_32),
        HOLDS(sizes_end_where_they_should),
        HOLDS(user_lists_are_bounded_and_without_repeats),
        HOLDS(a_message_arrives_with_its_content_byte_for_byte),
        HOLDS(every_type_arrives),
        HOLDS(many_members_are_fine_and_repeats_among_them_are_found),
        HOLDS(a_batch_is_split_into_its_elements),
        HOLDS(an_empty_batch_is_json_and_still_none),
        HOLDS(a_batch_of_more_than_256_is_refused_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
