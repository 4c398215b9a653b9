#include "tests/lib/gateway_rig.h"
#include "tests/lib/unit.h"

static struct rig *rig;
static struct buf head, body;

static int start(void **state)
{
    (void)state;
    rig = rig_start(1, false, 60000);
    return 0;
}

static int start_limited(void **state)
{
    (void)state;
    rig = rig_start(1, true, 60000);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    rig_stop(rig);
    buf_deinit(&head);
    buf_deinit(&body);
    return 0;
}

static bool has(const struct buf *b, const char *want) { return strstr(b->p, want) != NULL; }

/* One request on a connection that stays open; returns the status, with head and body. */
static int ask(struct client *c, const char *method, const char *path, const char *headers, const char *content)
{
    struct buf b = {0};
    int status;

    buf_printf(&b, "%s %s HTTP/1.1\r\nHost: h\r\n%s", method, path, headers);
    if (content)
        buf_printf(&b, "Content-Length: %zu\r\n", strlen(content));
    buf_printf(&b, "\r\n%s", content ? content : "");
    client_write(c, b.p, b.len);
    buf_deinit(&b);
    status = client_response(c, &head, &body, strcmp(method, "HEAD") == 0);
    return status;
}

#define BEARER "Authorization: Bearer good-5-6\r\n"

static void expect_problem(int status, int want, const char *code)
{
    char line[64];

    assert_int_equal(status, want);
    assert_true(has(&head, "Content-Type: application/problem+json\r\n"));
    snprintf(line, sizeof line, "\"status\":%d,", want);
    assert_true(has(&body, line));
    snprintf(line, sizeof line, "\"code\":\"%s\"", code);
    assert_true(has(&body, line));
}

PROMISE(health_and_readiness_need_no_token)
{
    struct client c = client_open(rig);

    assert_int_equal(ask(&c, "GET", "/healthz", "", NULL), 200);
    assert_int_equal(ask(&c, "GET", "/readyz", "", NULL), 200);
    atomic_store(&rig->ready, false);
    expect_problem(ask(&c, "GET", "/readyz", "", NULL), 503, "unavailable");
    assert_true(has(&head, "Retry-After: 1\r\n"));
    assert_int_equal(ask(&c, "GET", "/healthz", "", NULL), 200);
    expect_problem(ask(&c, "GET", "/v1/users/me", BEARER, NULL), 503, "unavailable");
    client_close(&c);
}

PROMISE(metrics_are_prometheus_text)
{
    struct client c = client_open(rig);

    assert_int_equal(ask(&c, "GET", "/metrics", "", NULL), 200);
    assert_true(has(&head, "Content-Type: text/plain; version=0.0.4"));
    assert_true(has(&body, "# TYPE parley_http_requests_total counter\nparley_http_requests_total 1\n"));
    assert_true(has(&body, "\n# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total "));
    assert_true(has(&body, "\n# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes "));
    client_close(&c);
}

PROMISE(metrics_are_not_for_those_who_come_by_a_proxy)
{
    static const char *const lines[] = {"X-Forwarded-For: 192.0.2.1\r\n", "Forwarded: for=192.0.2.1\r\n",
                                        "Via: 1.1 proxy\r\n", "X-Real-IP: 192.0.2.1\r\n"};
    struct client c = client_open(rig);

    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        expect_problem(ask(&c, "GET", "/metrics", lines[i], NULL), 403, "forbidden");
        assert_int_equal(ask(&c, "GET", "/healthz", lines[i], NULL), 200);
    }
    client_close(&c);
}

PROMISE(an_op_runs_for_the_user_of_the_token)
{
    struct client c = client_open(rig);

    for (int i = 0; i < 3; i++) {
        assert_int_equal(ask(&c, "GET", "/v1/users/me", BEARER, NULL), 200);
        assert_string_equal(body.p, "{\"id\":\"u5\"}");
    }
    client_close(&c);
}

PROMISE(no_token_or_a_dead_one_is_401)
{
    struct client c = client_open(rig);

    expect_problem(ask(&c, "GET", "/v1/users/me", "", NULL), 401, "unauthenticated");
    assert_true(has(&head, "WWW-Authenticate: Bearer\r\n"));
    expect_problem(ask(&c, "GET", "/v1/users/me", "Authorization: Bearer dead\r\n", NULL), 401, "unauthenticated");
    expect_problem(ask(&c, "GET", "/v1/users/me", "Authorization: Basic Zm9v\r\n", NULL), 401, "unauthenticated");
    client_close(&c);
}

PROMISE(an_unknown_path_is_404_and_a_wrong_method_405)
{
    struct client c = client_open(rig);

    expect_problem(ask(&c, "GET", "/v1/nothing", BEARER, NULL), 404, "not_found");
    expect_problem(ask(&c, "GET", "/", "", NULL), 404, "not_found");
    expect_problem(ask(&c, "DELETE", "/v1/users/me", BEARER, NULL), 405, "unknown_op");
    assert_true(has(&head, "Allow: GET, PATCH\r\n"));
    expect_problem(ask(&c, "OPTIONS", "/v1/users/me", BEARER, NULL), 405, "unknown_op");
    expect_problem(ask(&c, "POST", "/healthz", "", "{}"), 405, "unknown_op");
    assert_true(has(&head, "Allow: GET\r\n"));
    client_close(&c);
}

PROMISE(the_place_of_websockets_without_an_upgrade_is_426)
{
    struct client c = client_open(rig);

    expect_problem(ask(&c, "GET", "/v1/ws", BEARER, NULL), 426, "bad_request");
    assert_true(has(&head, "\r\nUpgrade: websocket\r\n"));
    expect_problem(ask(&c, "POST", "/v1/ws", BEARER, "{}"), 405, "unknown_op");
    client_close(&c);
}

PROMISE(statuses_are_those_of_the_op)
{
    struct client c = client_open(rig);

    assert_int_equal(ask(&c, "POST", "/v1/accounts", "", "{\"username\":\"ann\",\"password\":\"secret12\"}"), 201);
    assert_int_equal(ask(&c, "DELETE", "/v1/sessions/current", BEARER, NULL), 204);
    assert_false(has(&head, "Content-Length"));
    assert_int_equal(ask(&c, "GET", "/healthz", "", NULL), 200);
    client_close(&c);
}

PROMISE(bad_bodies_are_400)
{
    struct client c = client_open(rig);

    expect_problem(ask(&c, "POST", "/v1/accounts", "", "{nonsense"), 400, "bad_json");
    expect_problem(ask(&c, "POST", "/v1/accounts", "", "{\"username\":\"ann\"}"), 400, "bad_request");
    expect_problem(ask(&c, "POST", "/v1/accounts", "", ""), 400, "bad_request");
    client_close(&c);
}

/* What stands behind a long one counts as much as what stands before it. */
PROMISE(a_long_argument_of_a_query_hides_no_other)
{
    struct client c = client_open(rig);
    char path[8192], conv[CONV_TEXT + 1], *at = path;
    struct conv_id id = {{1}};

    conv[conv_text(conv, &id)] = '\0';
    for (size_t n = 4000; n < 7500; n += 499) {
        at = path + snprintf(path, sizeof path, "/v1/conversations/%s/messages?x=", conv);
        memset(at, 'x', n);
        snprintf(at + n, sizeof path - (size_t)(at + n - path), "&limit=nonsense");
        expect_problem(ask(&c, "GET", path, BEARER, NULL), 400, "bad_request");
        assert_true(has(&body, "limit: must"));
    }
    client_close(&c);
}

PROMISE(an_idempotency_key_of_any_length_is_a_cid)
{
    struct client c = client_open(rig);
    char path[128], line[4200] = BEARER "Idempotency-Key: ", *at = line + strlen(line);
    const char *content = "{\"content\":{\"type\":\"x\"},\"cid\":\"k\"}";

    snprintf(path, sizeof path, "/v1/users/%.*s/messages", USER_TEXT, "u0000000000002");
    for (size_t n = 65; n < 4000; n = n * 2 - 1) {
        memset(at, 'k', n);
        snprintf(at + n, 3, "\r\n");
        expect_problem(ask(&c, "POST", path, line, content), 400, "bad_request");
        assert_true(has(&body, "cid: "));
    }
    snprintf(at, 6, "k\r\n");
    assert_int_equal(ask(&c, "POST", path, line, content), 201);
    expect_problem(ask(&c, "POST", path, line, "{\"content\":{\"type\":\"x\"},\"cid\":null}"), 400, "bad_request");
    assert_true(has(&body, "cid: must be"));
    client_close(&c);
}

PROMISE(a_post_without_a_length_has_no_body_and_closes)
{
    struct client c = client_open(rig);

    expect_problem(ask(&c, "POST", "/v1/accounts", "", NULL), 400, "bad_request");
    assert_true(has(&head, "Connection: close\r\n"));
    assert_false(client_more(&c));
    client_close(&c);
}

PROMISE(too_large_a_body_is_413_and_a_chunked_one_411)
{
    struct client c = client_open(rig);
    char *big = mem_alloc(200001);

    expect_problem(ask(&c, "POST", "/v1/accounts", "Content-Length: 99999999999\r\n", NULL), 413, "too_large");
    client_close(&c);
    c = client_open(rig);
    memset(big, ' ', 200000);
    expect_problem(ask(&c, "POST", "/v1/accounts", "", big), 413, "too_large"); /* read whole, though it sent it all */
    client_close(&c);
    c = client_open(rig);
    expect_problem(ask(&c, "POST", "/v1/accounts", "Transfer-Encoding: chunked\r\n", NULL), 411, "bad_request");
    client_close(&c);
    c = client_open(rig);
    expect_problem(ask(&c, "POST", "/v1/accounts", "Content-Length: -5\r\n", NULL), 400, "bad_request");
    client_close(&c);
    mem_free(big);
}

PROMISE(a_body_in_pieces_arrives_whole)
{
    struct client c = client_open(rig);
    char *text = mem_alloc(100001), *line = mem_alloc(100300);

    memset(text, ' ', 100000);
    memcpy(text, "{\"username\":\"ann\",\"password\":\"secret12\"}", 40);
    snprintf(line, 100300, "POST /v1/accounts HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n%s", text);
    for (size_t at = 0, n = strlen(line); at < n; at += 7001)
        client_write(&c, line + at, n - at < 7001 ? n - at : 7001);
    assert_int_equal(client_response(&c, &head, &body, false), 201);
    client_close(&c);
    mem_free(text);
    mem_free(line);
}

PROMISE(expect_100_continue_is_answered)
{
    struct client c = client_open(rig);

    client_say(&c, "POST /v1/accounts HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 41\r\n\r\n");
    assert_int_equal(client_response(&c, &head, &body, true), 100);
    client_say(&c, "{\"username\":\"ann\",\"password\":\"secret123\"}");
    assert_int_equal(client_response(&c, &head, &body, false), 201);
    client_close(&c);
}

PROMISE(pipelined_requests_are_answered_in_order)
{
    struct client c = client_open(rig);
    char want[32];

    for (int i = 1; i <= 20; i++) {
        struct buf b = {0};

        buf_printf(&b, "GET /v1/users/me HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer good-%d-1\r\n\r\n", i);
        client_write(&c, b.p, b.len);
        buf_deinit(&b);
    }
    for (int i = 1; i <= 20; i++) {
        assert_int_equal(client_response(&c, &head, &body, false), 200);
        snprintf(want, sizeof want, "{\"id\":\"u%d\"}", i);
        assert_string_equal(body.p, want);
    }
    client_close(&c);
}

/* libwebsockets would take its head for its body. */
PROMISE(a_body_pipelined_behind_another_request_ends_the_connection_and_no_more)
{
    struct client c = client_open(rig), other = client_open(rig);

    client_say(&c, "GET /v1/users/me HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer good-1-1\r\n\r\n"
                   "POST /v1/accounts HTTP/1.1\r\nHost: h\r\nContent-Length: 41\r\n\r\n"
                   "{\"username\":\"ann\",\"password\":\"secret123\"}"
                   "GET /v1/users/me HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer good-2-1\r\n\r\n");
    assert_int_equal(client_response(&c, &head, &body, false), 200);
    assert_false(client_more(&c));
    client_say(&other, "POST /v1/accounts HTTP/1.1\r\nHost: h\r\nContent-Length: 41\r\n\r\n"
                       "{\"username\":\"ann\",\"password\":\"secret123\"}"
                       "GET /v1/users/me HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer good-2-1\r\n\r\n");
    assert_int_equal(client_response(&other, &head, &body, false), 201);
    client_close(&c);
    client_close(&other);
    c = client_open(rig);
    for (int i = 0; i < 5; i++)
        assert_int_equal(ask(&c, "POST", "/v1/accounts", "", "{\"username\":\"ann\",\"password\":\"secret123\"}"), 201);
    client_close(&c);
}

PROMISE(connection_close_is_obeyed)
{
    struct client c = client_open(rig);

    assert_int_equal(ask(&c, "GET", "/healthz", "Connection: close\r\n", NULL), 200);
    assert_true(has(&head, "Connection: close\r\n"));
    assert_false(client_more(&c));
    client_close(&c);
    c = client_open(rig);
    client_say(&c, "GET /healthz HTTP/1.0\r\n\r\n");
    assert_int_equal(client_response(&c, &head, &body, false), 200);
    assert_false(client_more(&c));
    client_close(&c);
}

PROMISE(large_answers_are_packed_for_who_takes_it)
{
    struct client c = client_open(rig);
    char path[128], conv[CONV_TEXT + 1];
    struct conv_id id = {{1}};

    conv[conv_text(conv, &id)] = '\0';
    snprintf(path, sizeof path, "/v1/conversations/%s/messages?limit=200", conv);
    assert_int_equal(ask(&c, "GET", path, BEARER "Accept-Encoding: br, gzip\r\n", NULL), 200);
    assert_true(has(&head, "Content-Encoding: gzip\r\n"));
    assert_true(body.len < 10000);
    assert_memory_equal(body.p, "\x1f\x8b", 2);
    assert_int_equal(ask(&c, "GET", path, BEARER "Accept-Encoding: gzip;q=0\r\n", NULL), 200);
    assert_false(has(&head, "Content-Encoding"));
    assert_true(has(&head, "Vary: Accept-Encoding\r\n"));
    assert_true(body.len > 200 * 1024);
    assert_int_equal(ask(&c, "HEAD", path, BEARER, NULL), 200);
    assert_true(has(&head, "Content-Length: 204"));
    assert_true(has(&head, "Vary: Accept-Encoding\r\n"));
    assert_int_equal(ask(&c, "GET", "/healthz", "Accept-Encoding: gzip\r\n", NULL), 200);
    assert_false(has(&head, "Vary: "));
    client_close(&c);
}

PROMISE(a_profile_that_the_client_has_is_304)
{
    struct client c = client_open(rig);
    char line[160], *tag;

    assert_int_equal(ask(&c, "GET", "/v1/users/me", BEARER, NULL), 200);
    tag = strstr(head.p, "ETag: ");
    assert_non_null(tag);
    snprintf(line, sizeof line, BEARER "If-None-Match: %.18s\r\n", tag + 6);
    assert_int_equal(ask(&c, "GET", "/v1/users/me", line, NULL), 304);
    assert_int_equal(body.len, 1);
    assert_int_equal(ask(&c, "GET", "/v1/openapi.json", "", NULL), 200);
    assert_true(has(&head, "ETag: \""));
    client_close(&c);
}

PROMISE(an_offer_of_http2_is_ignored)
{
    struct client c = client_open(rig);

    assert_int_equal(ask(&c, "GET", "/healthz",
                         "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
                         NULL),
                     200);
    client_close(&c);
}

PROMISE(a_wrong_upgrade_is_refused_with_the_reason)
{
    static const struct {
        const char *request;
        int status;
    } wrong[] = {
        {"GET /v1/nothing HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: "
         "13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
         404},
        {"GET /v1/ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: "
         "8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
         426},
        {"GET /v1/ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: "
         "13\r\n\r\n",
         400},
        {"GET /v1/ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: "
         "13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat\r\n\r\n",
         400},
    };

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct client c = client_open(rig);

        client_say(&c, wrong[i].request);
        assert_int_equal(client_response(&c, &head, &body, false), wrong[i].status);
        assert_false(client_more(&c));
        client_close(&c);
    }
}

PROMISE(a_client_that_hangs_up_does_not_disturb)
{
    char path[256], conv[CONV_TEXT + 1];
    struct conv_id id = {{1}};
    struct client c;

    conv[conv_text(conv, &id)] = '\0';
    for (int i = 0; i < 20; i++) {
        c = client_open(rig);
        snprintf(path, sizeof path,
                 "PUT /v1/conversations/%s/typing HTTP/1.1\r\nHost: h\r\n" BEARER
                 "Content-Length: 11\r\n\r\n{\"on\":true}",
                 conv);
        client_say(&c, path);
        client_close(&c);
        c = client_open(rig);
        client_say(&c, "POST /v1/accounts HTTP/1.1\r\nHost: h\r\nContent-Length: 40\r\n\r\n{");
        client_close(&c);
        c = client_open(rig);
        client_say(&c, "GARBAGE\r\n\r\n");
        client_close(&c);
    }
    c = client_open(rig);
    snprintf(path, sizeof path, "/v1/conversations/%s/receipts", conv);
    assert_int_equal(ask(&c, "PUT", path, BEARER, "{\"read\":1}"), 200);
    client_close(&c);
}

PROMISE(a_stranger_s_connection_ends_after_a_hundred_requests_and_a_user_s_goes_on)
{
    struct client c = client_open(rig);
    int n = 0;

    do {
        n++;
        assert_int_equal(ask(&c, "GET", "/healthz", "", NULL), 200);
    } while (!has(&head, "Connection: close\r\n") && n < 200);
    assert_int_equal(n, 100);
    assert_false(client_more(&c));
    client_close(&c);
    c = client_open(rig);
    for (n = 0; n < 200; n++)
        assert_int_equal(ask(&c, "GET", "/v1/users/me", BEARER, NULL), 200);
    client_close(&c);
}

PROMISE(what_is_refused_for_its_body_counts_as_a_request)
{
    struct client c = client_open(rig);
    int status = 0, n = 0;

    while (status != 429 && n++ < 100)
        status = ask(&c, "POST", "/v1/sessions", "", "{nonsense");
    expect_problem(status, 429, "rate_limited");
    assert_in_range(n, 31, 40);
    for (n = 0, status = 0; status != 429 && n < 1000; n++)
        status = ask(&c, "POST", "/v1/sync", BEARER, "{\"limit\":0}");
    expect_problem(status, 429, "rate_limited");
    client_close(&c);
}

int main(void)
{
#define ON(test, begin) cmocka_unit_test_setup_teardown(test, begin, stop)
    const struct CMUnitTest tests[] = {
        ON(health_and_readiness_need_no_token, start),
        ON(metrics_are_prometheus_text, start),
        ON(metrics_are_not_for_those_who_come_by_a_proxy, start),
        ON(an_op_runs_for_the_user_of_the_token, start),
        ON(no_token_or_a_dead_one_is_401, start),
        ON(an_unknown_path_is_404_and_a_wrong_method_405, start),
        ON(the_place_of_websockets_without_an_upgrade_is_426, start),
        ON(statuses_are_those_of_the_op, start),
        ON(bad_bodies_are_400, start),
        ON(a_long_argument_of_a_query_hides_no_other, start),
        ON(an_idempotency_key_of_any_length_is_a_cid, start),
        ON(a_post_without_a_length_has_no_body_and_closes, start),
        ON(too_large_a_body_is_413_and_a_chunked_one_411, start),
        ON(a_body_in_pieces_arrives_whole, start),
        ON(expect_100_continue_is_answered, start),
        ON(pipelined_requests_are_answered_in_order, start),
        ON(a_body_pipelined_behind_another_request_ends_the_connection_and_no_more, start),
        ON(connection_close_is_obeyed, start),
        ON(large_answers_are_packed_for_who_takes_it, start),
        ON(a_profile_that_the_client_has_is_304, start),
        ON(an_offer_of_http2_is_ignored, start),
        ON(a_wrong_upgrade_is_refused_with_the_reason, start),
        ON(a_client_that_hangs_up_does_not_disturb, start),
        ON(a_stranger_s_connection_ends_after_a_hundred_requests_and_a_user_s_goes_on, start_limited),
        ON(what_is_refused_for_its_body_counts_as_a_request, start_limited),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
