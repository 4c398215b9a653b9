#include "proto/route.h"
#include "tests/lib/unit.h"

#define CONV "c00000000000000000000000004"
#define USER "u0000000000002" /* 1 */

static struct route_match found;
static char allow[64];

static void assert_route(enum http_method m, const char *path, enum op op)
{
    assert_int_equal(route_find(m, str_c(path), &found, allow), ERR_OK);
    assert_string_equal(op_table[found.op].name, op_table[op].name);
}

static void assert_no_route(enum http_method m, const char *path, enum err want, const char *allowed)
{
    assert_int_equal(route_find(m, str_c(path), &found, allow), want);
    assert_string_equal(allow, allowed);
}

PROMISE(every_route_finds_its_op)
{
    for (size_t i = 0; i < route_count; i++)
        assert_route(route_table[i].method, route_table[i].path, route_table[i].op);
}

PROMISE(what_is_written_out_wins_over_a_parameter)
{
    assert_route(METHOD_GET, "/v1/users/me", OP_user_me);
    assert_route(METHOD_GET, "/v1/users/meg", OP_user_get);
    assert_route(METHOD_DELETE, "/v1/groups/x/members/me", OP_group_leave);
    assert_route(METHOD_DELETE, "/v1/groups/x/members/" USER, OP_group_remove);
    assert_true(str_eq(found.name[0], STR("conv")) && str_eq(found.value[0], STR("x")));
    assert_true(str_eq(found.name[1], STR("users")) && str_eq(found.value[1], STR(USER)));
    assert_no_route(METHOD_PATCH, "/v1/groups/x/members/me", ERR_UNSUPPORTED, "DELETE");
}

PROMISE(no_path_is_told_from_another_method)
{
    static const char *const none[] = {"",
                                       "/",
                                       "v1/users/me",
                                       "/v1",
                                       "/v1/user",
                                       "/v1/users/",
                                       "/v1/users//messages",
                                       "/v1/users/me/",
                                       "//v1/users/me",
                                       "/v1/users/a/b",
                                       "/v1/groups/x/members/y/z"};

    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        assert_no_route(METHOD_GET, none[i], ERR_NOT_FOUND, "");
    assert_no_route(METHOD_DELETE, "/v1/users/me", ERR_UNSUPPORTED, "GET, PATCH");
    assert_no_route(METHOD_PUT, "/v1/groups/x/members", ERR_UNSUPPORTED, "GET, POST, DELETE");
}

struct call {
    enum http_method method;
    const char *path, *query, *body, *key;
};

static struct request *parse(const struct call *c)
{
    struct request *r = request_new(NULL, NULL);
    struct str body = str_c(c->body ? c->body : ""), query = str_c(c->query ? c->query : "");
    enum code code;

    assert_int_equal(route_find(c->method, str_c(c->path), &found, allow), ERR_OK);
    code = args_parse_http(&found, query, body, str_c(c->key ? c->key : ""), r);
    assert_int_equal(code, r->code);
    return r;
}

static struct request *parse_ok(struct call c)
{
    struct request *r = parse(&c);

    if (r->code != CODE_OK)
        fail_msg("%s: %s", c.path, r->why);
    return r;
}

static void assert_refused(struct call c, enum code code, const char *why)
{
    struct request *r = parse(&c);

    if (r->code != code || !strstr(r->why, why))
        fail_msg("%s?%s %s: got %s, %s", c.path, c.query, c.body, code_text(r->code), r->why);
    request_free(r);
}

#define MESSAGES "/v1/conversations/" CONV "/messages"
#define MEMBERS "/v1/groups/" CONV "/members"

PROMISE(arguments_come_from_path_query_body_and_header)
{
    struct request *r;

    r = parse_ok((struct call){METHOD_GET, MESSAGES, "limit=5&before=%31%30&unknown&x=y&", NULL, NULL});
    assert_true(r->args->history.has_conv && r->args->history.limit == 5 && r->args->history.before == 10);
    assert_false(r->args->history.has_after);
    request_free(r);
    r = parse_ok(
        (struct call){METHOD_POST, MESSAGES, NULL, "{\"content\": {\"type\":\"x\"} , \"conv\":\"" CONV "\"}", "k1"});
    assert_true(str_eq(r->args->message_send.content, STR("{\"type\":\"x\"}")));
    assert_true(str_eq(r->args->message_send.cid, STR("k1")));
    request_free(r);
    r = parse_ok((struct call){METHOD_POST, MESSAGES, NULL, "{\"content\":{\"type\":\"x\"},\"cid\":\"k1\"}", "k1"});
    request_free(r);
    r = parse_ok((struct call){METHOD_GET, "/v1/users", "username=a%20b+c%2Bd%", NULL, NULL});
    assert_true(str_eq(r->args->user_find.username, STR("a b c+d%")));
    request_free(r);
    r = parse_ok((struct call){METHOD_DELETE, MEMBERS, "users=" USER ",stranger&cid=c", NULL, NULL});
    assert_true(r->args->group_remove.users.n == 2 && r->args->group_remove.users.v[0] == 1);
    assert_int_equal(r->args->group_remove.users.v[1], 0);
    request_free(r);
    r = parse_ok((struct call){METHOD_DELETE, MEMBERS, NULL, "{\"users\":[\"" USER "\"]}", "k"});
    assert_int_equal(r->args->group_remove.users.n, 1);
    request_free(r);
    r = parse_ok((struct call){METHOD_DELETE, MEMBERS "/" USER, NULL, NULL, "k"});
    assert_true(r->args->group_remove.users.n == 1 && r->args->group_remove.users.v[0] == 1);
    request_free(r);
    r = parse_ok((struct call){METHOD_POST, "/v1/sync", NULL, NULL, NULL});
    assert_false(r->args->sync.has_since);
    request_free(r);
    r = parse_ok(
        (struct call){METHOD_PATCH, "/v1/users/me", NULL, "{\"read_receipts\":false,\"future\":1}", "ignored"});
    assert_true(r->args->user_update.has_read_receipts && !r->args->user_update.read_receipts);
    request_free(r);
}

PROMISE(an_argument_that_is_wrong_or_there_twice_is_named)
{
    assert_refused((struct call){METHOD_GET, "/v1/users", NULL, NULL, NULL}, CODE_BAD_REQUEST, "username: missing");
    assert_refused((struct call){METHOD_GET, "/v1/users", "username=%ff", NULL, NULL}, CODE_BAD_REQUEST,
                   "username: must");
    assert_refused((struct call){METHOD_GET, "/v1/users", "username=a%00", NULL, NULL}, CODE_BAD_REQUEST,
                   "username: must");
    assert_refused((struct call){METHOD_GET, MESSAGES, "limit=0", NULL, NULL}, CODE_BAD_REQUEST, "limit: must");
    assert_refused((struct call){METHOD_GET, MESSAGES, "limit=201", NULL, NULL}, CODE_BAD_REQUEST, "limit: must");
    assert_refused((struct call){METHOD_GET, MESSAGES, "limit=5x", NULL, NULL}, CODE_BAD_REQUEST, "limit: must");
    assert_refused((struct call){METHOD_GET, MESSAGES, "limit=", NULL, NULL}, CODE_BAD_REQUEST, "limit: must");
    assert_refused((struct call){METHOD_GET, MESSAGES, "limit=5&limit=5", NULL, NULL}, CODE_BAD_REQUEST,
                   "limit: is there");
    assert_refused((struct call){METHOD_GET, MESSAGES, "conv=other", NULL, NULL}, CODE_BAD_REQUEST, "conv: is there");
    assert_refused((struct call){METHOD_GET, "/v1/conversations/a b", NULL, NULL, NULL}, CODE_BAD_REQUEST,
                   "conv: must");
    assert_refused((struct call){METHOD_POST, MESSAGES, NULL, "{\"content\":{\"type\":\"x\"},\"conv\":\"o\"}", "k"},
                   CODE_BAD_REQUEST, "conv: is there twice");
    assert_refused((struct call){METHOD_POST, MESSAGES, NULL, "{\"content\":{\"type\":\"x\"},\"user\":\"o\"}", "k"},
                   CODE_BAD_REQUEST, "exactly one");
    assert_refused((struct call){METHOD_POST, MESSAGES, NULL, "{\"content\":{\"type\":\"x\"},\"cid\":\"j\"}", "k"},
                   CODE_BAD_REQUEST, "cid: is there twice");
    assert_refused((struct call){METHOD_POST, MESSAGES, NULL, "{\"content\":{\"type\":\"x\"}}", NULL}, CODE_BAD_REQUEST,
                   "cid: missing");
    assert_refused((struct call){METHOD_POST, MESSAGES, "cid=k", "{\"content\":{\"type\":\"x\"}}", NULL},
                   CODE_BAD_REQUEST, "cid: missing");
    assert_refused((struct call){METHOD_POST, MESSAGES, NULL, "{\"content\":{\"type\":\"x\"}}", "a b"},
                   CODE_BAD_REQUEST, "cid: must");
    assert_refused((struct call){METHOD_PUT, "/v1/conversations/x/typing", NULL, "{\"on\":\"true\"}", NULL},
                   CODE_BAD_REQUEST, "on: must");
    assert_refused((struct call){METHOD_DELETE, MEMBERS, "users=a,,b&cid=c", NULL, NULL}, CODE_BAD_REQUEST,
                   "users: must");
    assert_refused((struct call){METHOD_DELETE, MEMBERS "/" USER, NULL, "{\"users\":[\"" USER "\"]}", "k"},
                   CODE_BAD_REQUEST, "users: is there twice");
}

PROMISE(a_body_is_an_object_under_the_same_grammar)
{
    static const char *const not_json[] = {
        "{", "{}{}", " ", "{\"a\":1,\"a\":2}", "{\"a\":1e999}", "{\"a\":\"\\ud800\"}"};
    static const char *const not_object[] = {"[]", "null", "7"};

    for (size_t i = 0; i < sizeof not_json / sizeof not_json[0]; i++)
        assert_refused((struct call){METHOD_POST, "/v1/sync", NULL, not_json[i], NULL}, CODE_BAD_JSON, "");
    for (size_t i = 0; i < sizeof not_object / sizeof not_object[0]; i++)
        assert_refused((struct call){METHOD_POST, "/v1/sync", NULL, not_object[i], NULL}, CODE_BAD_REQUEST, "object");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(every_route_finds_its_op),
        HOLDS(what_is_written_out_wins_over_a_parameter),
        HOLDS(no_path_is_told_from_another_method),
        HOLDS(arguments_come_from_path_query_body_and_header),
        HOLDS(an_argument_that_is_wrong_or_there_twice_is_named),
        HOLDS(a_body_is_an_object_under_the_same_grammar),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
