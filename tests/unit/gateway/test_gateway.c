#include "tests/lib/gateway_rig.h"
#include "tests/lib/unit.h"

static struct rig *rig;
static struct buf text, head, body;

static int start(void **state)
{
    (void)state;
    rig = rig_start(1, false, 60000);
    return 0;
}

static int start_two(void **state)
{
    (void)state;
    rig = rig_start(2, false, 60000);
    return 0;
}

static int start_limited(void **state)
{
    (void)state;
    rig = rig_start(1, true, 60000);
    return 0;
}

static int start_quick(void **state)
{
    (void)state;
    rig = rig_start(1, false, 100);
    return 0;
}

static int start_half_a_second(void **state)
{
    (void)state;
    rig = rig_start(1, false, 500);
    return 0;
}

static int make(void **state)
{
    (void)state;
    rig = rig_make(1, false, 60000);
    return 0;
}

static int unmake(void **state)
{
    (void)state;
    rig_unmake(rig);
    buf_deinit(&text);
    buf_deinit(&head);
    buf_deinit(&body);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    rig_stop(rig);
    buf_deinit(&text);
    buf_deinit(&head);
    buf_deinit(&body);
    return 0;
}

static void expect_text(struct client *c, const char *want)
{
    uint8_t first = client_next(c, &text);

    assert_int_equal(first, 0x81);
    if (!strstr(text.p, want))
        fail_msg("wanted %s in %s", want, text.p);
}

static void expect_close(struct client *c, int code)
{
    assert_int_equal(client_close_code(c), code);
    client_close(c);
}

static struct client upgraded(const char *headers)
{
    struct client c = client_open(rig);

    assert_int_equal(client_upgrade(&c, headers), 101);
    return c;
}

static char user_of[USER_TEXT + 1];

static const char *user_id_text(user_id u)
{
    user_of[user_text(user_of, u)] = '\0';
    return user_of;
}

static void say_send(struct client *c, int id, int user, const char *content)
{
    struct buf b = {0};

    buf_printf(&b,
               "{\"id\":%d,\"op\":\"message.send\",\"user\":\"%s\",\"cid\":\"c%d\",\"content\":{\"type\":\"text\","
               "\"text\":\"%s\"}}",
               id, user_id_text((user_id)user), id, content);
    client_frame(c, 0x81, b.p, b.len);
    buf_deinit(&b);
}

/* ---- authentication */

PROMISE(the_first_frame_authenticates)
{
    struct client c = upgraded("Sec-WebSocket-Protocol: parley.v1\r\n");

    client_text(&c, "{\"id\":7,\"op\":\"auth\",\"token\":\"good-1-1\"}");
    expect_text(&c, "{\"re\":7,\"ok\":{\"user\":{\"id\":\"u1\"");
    assert_non_null(strstr(text.p, "\"epoch\":\"e1\""));
    assert_non_null(strstr(text.p, "\"heartbeat_ms\":60000"));
    assert_non_null(strstr(text.p, "\"limits\":{\"frame\":131072"));
    client_text(&c, "{\"id\":\"x\",\"op\":\"ping\"}");
    expect_text(&c, "{\"re\":\"x\",\"ok\":{}}");
    client_text(&c, "{\"id\":8,\"op\":\"auth\",\"token\":\"good-1-1\"}");
    expect_text(&c, "bad_request");
    client_close(&c);
}

PROMISE(what_is_pipelined_behind_auth_waits_for_it)
{
    struct client c = upgraded("");

    client_text(&c, "{\"id\":1,\"op\":\"auth\",\"token\":\"good-1-1\"}");
    client_text(&c, "{\"id\":2,\"op\":\"ping\"}");
    expect_text(&c, "{\"re\":1,\"ok\"");
    expect_text(&c, "{\"re\":2,\"ok\"");
    client_close(&c);
}

PROMISE(nothing_goes_before_auth)
{
    struct client c = upgraded("");

    client_text(&c, "{\"id\":1,\"op\":\"ping\"}");
    expect_text(&c, "unauthenticated");
    client_text(&c, "{\"id\":2,\"op\":\"sync\"}");
    expect_text(&c, "unauthenticated");
    client_close(&c);
}

/* Neither which ops there are nor what their arguments are. */
PROMISE(a_stranger_learns_nothing_and_is_not_heard_for_long)
{
    static const char *const asks[] = {
        "{\"id\":1,\"op\":\"no.such\"}",        "{\"id\":1,\"op\":\"history\"}",
        "{\"id\":1,\"op\":\"account.create\"}", "{\"id\":1,\"op\":\"sync\",\"limit\":\"x\"}",
        "{\"id\":1,\"op\":\"ping\"}",
    };
    struct client c = upgraded("");
    struct buf b = {0};

    for (size_t i = 0; i < 16; i++) {
        client_text(&c, asks[i % (sizeof asks / sizeof asks[0])]);
        expect_text(&c, "{\"re\":1,\"error\":{\"code\":\"unauthenticated\"");
    }
    expect_close(&c, 4400);
    c = upgraded("");
    for (size_t i = 0; i < 16; i++) {
        client_text(&c, i % 2 ? "{\"id\":1,\"op\":\"auth\"}" : "{\"id\":1,\"op\":\"auth\",\"token\":7}");
        expect_text(&c, "bad_request");
    }
    expect_close(&c, 4400);
    c = upgraded("");
    client_text(&c, "{\"id\":1,\"op\":\"auth\"}");
    expect_text(&c, "bad_request");
    buf_printf(&b, "{\"id\":1,\"op\":\"auth\",\"token\":\"good-1-1\",\"x\":\"%8000d\"}", 1);
    client_frame(&c, 0x81, b.p, b.len);
    expect_text(&c, "\"ok\"");
    client_close(&c);
    c = upgraded("");
    buf_printf(&b, "%9000d", 1);
    client_frame(&c, 0x81, b.p, b.len);
    expect_close(&c, 1009);
    buf_deinit(&b);
}

PROMISE(a_dead_token_is_told_and_then_closed_with_4401)
{
    struct client c = upgraded("");

    client_text(&c, "{\"id\":1,\"op\":\"auth\",\"token\":\"dead\"}");
    expect_text(&c, "{\"re\":1,\"error\":{\"code\":\"unauthenticated\"");
    expect_close(&c, 4401);
}

PROMISE(a_token_in_the_header_authenticates)
{
    struct client c = upgraded("Authorization: Bearer good-3-4\r\n");

    client_text(&c, "{\"id\":1,\"op\":\"ping\"}");
    expect_text(&c, "{\"re\":1,\"ok\":{}}");
    client_text(&c, "{\"id\":2,\"op\":\"auth\",\"batch\":true}");
    expect_text(&c, "{\"re\":2,\"ok\":{\"user\":{\"id\":\"u3\"");
    client_text(&c, "[{\"id\":3,\"op\":\"ping\"},{\"id\":4,\"op\":\"ping\"}]");
    expect_text(&c, "{\"re\":3,\"ok\"");
    expect_text(&c, "{\"re\":4,\"ok\"");
    client_close(&c);
}

PROMISE(a_dead_token_in_the_header_is_http_401)
{
    struct client c = client_open(rig);

    assert_int_equal(client_upgrade(&c, "Authorization: Bearer dead\r\n"), 401);
    assert_false(client_more(&c));
    client_close(&c);
    c = client_open(rig);
    assert_int_equal(client_upgrade(&c, "Authorization: Basic Zm9v\r\n"), 401);
    client_close(&c);
}

PROMISE(a_token_that_may_have_died_meanwhile_is_checked_again)
{
    struct client c;

    atomic_store(&rig->revoke_in_check, true);
    c = client_login(rig, 1, 1, "");
    client_close(&c);
    atomic_store(&rig->revoke_in_check, true);
    c = upgraded("Authorization: Bearer good-3-4\r\n");
    client_close(&c);
}

PROMISE(the_same_device_again_closes_the_old_socket)
{
    struct client old = client_login(rig, 1, 1, ""), other = client_login(rig, 1, 2, "");

    for (int i = 0; i < 20; i++) {
        struct client new = client_login(rig, 1, 1, "");

        expect_close(&old, 4409);
        client_text(&new, "{\"id\":2,\"op\":\"ping\"}");
        expect_text(&new, "{\"re\":2");
        old = new;
    }
    client_text(&other, "{\"id\":2,\"op\":\"ping\"}");
    expect_text(&other, "{\"re\":2");
    client_close(&old);
    client_close(&other);
}

PROMISE(a_revoked_device_is_closed_with_4401)
{
    struct client a = client_login(rig, 1, 1, ""), b = client_login(rig, 1, 2, "");
    char line[128], device[DEVICE_TEXT + 1];

    device[device_text(device, 2)] = '\0';
    snprintf(line, sizeof line, "{\"id\":1,\"op\":\"device.revoke\",\"device\":\"%s\"}", device);
    client_text(&a, line);
    expect_text(&a, "{\"re\":1,\"ok\"");
    expect_close(&b, 4401);
    client_close(&a);
}

/* ---- frames */

PROMISE(binary_is_closed_with_1003)
{
    struct client c = client_login(rig, 1, 1, "");

    client_frame(&c, 0x82, "x", 1);
    expect_close(&c, 1003);
}

PROMISE(invalid_utf8_is_closed_with_1007)
{
    struct client c = client_login(rig, 1, 1, "");

    client_text(&c, "{\"id\":1,\"op\":\"\xff\"}");
    expect_close(&c, 1007);
    c = client_login(rig, 1, 1, "");
    client_text(&c, "{\"id\":1,\"op\":\"ping\"} \xed\xa0\x80");
    expect_close(&c, 1007);
}

PROMISE(too_large_is_closed_with_1009)
{
    static char big[129 * 1024];
    struct client c = client_login(rig, 1, 1, "");

    memset(big, ' ', sizeof big);
    client_frame(&c, 0x81, big, sizeof big);
    expect_close(&c, 1009);
    c = client_login(rig, 1, 1, "");
    for (int i = 0; i < 13; i++) /* in fragments, too */
        client_frame(&c, i ? 0 : 1, big, 10 * 1024);
    expect_close(&c, 1009);
}

PROMISE(an_announced_giant_is_closed_at_once)
{
    static const uint8_t giant[] = {0x81, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4, 'x'};
    struct client c = client_login(rig, 1, 1, "");

    client_write(&c, giant, sizeof giant);
    expect_close(&c, 1009);
}

PROMISE(an_unmasked_frame_is_closed_with_1002)
{
    struct client c = upgraded("");

    client_write(&c, "\x81\x14{\"id\":1,\"op\":\"ping\"}", 22);
    expect_close(&c, 1002);
    c = client_login(rig, 1, 1, "");
    client_write(&c, "\x81\x14{\"id\":1,\"op\":\"ping\"}", 22);
    expect_close(&c, 1002);
    c = client_login(rig, 1, 1, "");
    client_text(&c, "{\"id\":1,\"op\":\"ping\"}");
    expect_text(&c, "{\"re\":1");
    client_write(&c, "\x81\x14{\"id\":1,\"op\":\"ping\"}", 22);
    expect_close(&c, 1002);
}

PROMISE(what_the_framing_forbids_is_closed)
{
    static const uint8_t firsts[] = {0x83, 0x8b, 0xc1, 0x80, 0x09};
    struct client c;

    for (size_t i = 0; i < sizeof firsts; i++) {
        c = client_login(rig, 1, 1, "");
        client_frame(&c, firsts[i], "x", 1);
        expect_close(&c, 1002);
    }
}

PROMISE(fragments_are_one_message)
{
    struct client c = client_login(rig, 1, 1, "");
    uint8_t first;

    client_frame(&c, 1, "{\"id\":5,", 8);
    client_frame(&c, 0x89, "hi", 2);
    client_frame(&c, 0x80, "\"op\":\"ping\"}", 12);
    first = client_next(&c, &text); /* the pong and the reply, in any order */
    assert_true(first == 0x81 || first == 0x8a);
    assert_int_equal(client_next(&c, &text), first == 0x81 ? 0x8a : 0x81);
    client_close(&c);
}

PROMISE(any_split_of_the_bytes_is_the_same)
{
    struct client c = client_login(rig, 1, 1, "");
    const char *line = "{\"id\":5,\"op\":\"ping\"}";
    char bytes[64] = {(char)0x81, (char)(0x80 | 20), 9, 8, 7, 6};

    for (size_t i = 0; i < 20; i++)
        bytes[6 + i] = (char)(line[i] ^ (9 - (int)(i & 3)));
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 26; i++)
            client_write(&c, bytes + i, 1); /* no delay on the socket: a packet each */
        expect_text(&c, "{\"re\":5");
    }
    client_close(&c);
}

PROMISE(bad_json_is_answered_and_too_much_of_it_closed_with_4400)
{
    struct client c = client_login(rig, 1, 1, "");

    for (int i = 0; i < 15; i++) {
        client_text(&c, i % 2 ? "{\"id\":1,}" : "");
        expect_text(&c, "bad_json");
    }
    client_text(&c, "{\"id\":2,\"op\":\"ping\"}");
    expect_text(&c, "{\"re\":2,\"ok\"");
    client_text(&c, "nonsense");
    expect_text(&c, "bad_json");
    expect_close(&c, 4400);
}

PROMISE(wrong_requests_are_answered_with_their_id)
{
    struct client c = client_login(rig, 1, 1, "");

    client_text(&c, "{\"id\":\"a\",\"op\":\"no.such\"}");
    expect_text(&c, "{\"re\":\"a\",\"error\":{\"code\":\"unknown_op\"");
    client_text(&c, "{\"id\":3,\"op\":\"account.create\",\"username\":\"u\",\"password\":\"p\"}");
    expect_text(&c, "{\"re\":3,\"error\":{\"code\":\"unknown_op\"");
    client_text(&c, "{\"op\":\"ping\"}");
    expect_text(&c, "{\"re\":null,\"error\":{\"code\":\"bad_request\"");
    client_text(&c, "[{\"id\":3,\"op\":\"ping\"}]");
    expect_text(&c, "{\"re\":null,\"error\":{\"code\":\"bad_request\"");
    client_close(&c);
}

PROMISE(a_batch_has_a_reply_for_each_and_a_bound)
{
    struct client c = client_login(rig, 1, 1, ",\"batch\":true");
    struct buf b = {0};

    for (int n = 256; n <= 257; n++) {
        buf_clear(&b);
        for (int i = 0; i < n; i++)
            buf_printf(&b, "%c{\"id\":%d,\"op\":\"ping\"}", i ? ',' : '[', i);
        buf_char(&b, ']');
        client_frame(&c, 0x81, b.p, b.len);
        if (n == 257) {
            expect_text(&c, "bad_request");
            break;
        }
        for (int i = 0; i < n; i++)
            expect_text(&c, "\"ok\":{}");
    }
    client_text(&c, "[[{\"id\":1,\"op\":\"ping\"}]]");
    expect_text(&c, "error");
    client_text(&c, "[{\"id\":1,\"op\":\"ping\"}");
    expect_text(&c, "bad_json");
    buf_deinit(&b);
    client_close(&c);
}

/* Nobody can tell which of it was done: so nothing is. */
PROMISE(a_batch_that_is_not_json_is_not_done_at_all)
{
    static const char *const broken[] = {
        "[{\"id\":1,\"op\":\"ping\"},]",
        "[{\"id\":1,\"op\":\"ping\"}{\"id\":2,\"op\":\"ping\"}]",
        "[{\"id\":1,\"op\":\"ping\"},{\"id\":2,\"op\":}]",
    };
    struct client c = client_login(rig, 1, 1, ",\"batch\":true");

    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        client_text(&c, broken[i]);
        expect_text(&c, "{\"re\":null,\"error\":{\"code\":\"bad_json\"");
    }
    client_text(&c, "[]");
    expect_text(&c, "{\"re\":null,\"error\":{\"code\":\"bad_request\"");
    client_text(&c, "[{\"id\":1,\"op\":\"ping\"},7,{\"id\":3,\"op\":\"ping\"}]");
    expect_text(&c, "{\"re\":1,\"ok\"");
    expect_text(&c, "{\"re\":null,\"error\":{\"code\":\"bad_request\"");
    expect_text(&c, "{\"re\":3,\"ok\"");
    client_close(&c);
}

/* ---- flow */

PROMISE(replies_to_a_pipeline_all_come)
{
    struct client c = client_login(rig, 1, 1, "");
    char line[64];

    for (int i = 0; i < 2000; i++) {
        snprintf(line, sizeof line, "{\"id\":%d,\"op\":\"ping\"}", i);
        client_text(&c, line);
    }
    for (int i = 0; i < 2000; i++) {
        snprintf(line, sizeof line, "{\"re\":%d,", i);
        expect_text(&c, line);
    }
    client_close(&c);
}

PROMISE(entries_reach_the_other_devices_in_order)
{
    struct client a = client_login(rig, 1, 1, ""), b = client_login(rig, 2, 1, ""), a2 = client_login(rig, 1, 2, "");
    char want[32];

    for (int i = 1; i <= 500; i++)
        say_send(&a, i, 2, "hello");
    for (int i = 1; i <= 500; i++) {
        snprintf(want, sizeof want, "\"seq\":%d,", i);
        expect_text(&b, want);
    }
    for (int i = 1; i <= 500; i++)
        expect_text(&a, "\"ok\"");
    say_send(&a, 501, 1, "to myself");
    expect_text(&a2, "to myself");
    expect_text(&a, "{\"re\":501");
    client_close(&a);
    client_close(&a2);
    client_close(&b);
}

/* What the reader has not read is dropped at the bound, and it is told once; the sender never waits. */
PROMISE(a_slow_reader_is_told_to_sync_and_gets_nothing_until_it_does)
{
    static char kib[1025];
    struct client a = client_login(rig, 1, 1, ""), slow = client_login(rig, 2, 1, "");
    int resyncs = 0, sent = 0;

    memset(kib, 'x', 1024);
    while (rig_metric(rig, METRIC_RESYNCS) == 0 && sent < 100000) {
        say_send(&a, sent++, 2, kib);
        expect_text(&a, "\"ok\"");
    }
    say_send(&a, 0, 2, "unheard");
    expect_text(&a, "\"ok\"");
    client_text(&slow, "{\"id\":77,\"op\":\"sync\"}");
    for (;;) {
        assert_int_equal(client_next(&slow, &text), 0x81);
        assert_null(strstr(text.p, "unheard"));
        resyncs += strstr(text.p, "{\"ev\":\"resync\"}") != NULL;
        if (strstr(text.p, "{\"re\":77"))
            break;
    }
    assert_int_equal(resyncs, 1);
    say_send(&a, 0, 2, "heard");
    expect_text(&slow, "heard");
    client_close(&a);
    client_close(&slow);
}

/* Asks for far more than it reads: the server stops reading it, answers what was read, and goes on when it reads. */
PROMISE(replies_are_never_dropped_however_slowly_they_are_read)
{
    struct client c = client_login(rig, 1, 1, "");
    char line[128], conv[CONV_TEXT + 1];
    struct conv_id id = {{1}};

    conv[conv_text(conv, &id)] = '\0';
    for (int i = 0; i < 300; i++) {
        snprintf(line, sizeof line, "{\"id\":%d,\"op\":\"history\",\"conv\":\"%s\",\"limit\":200}", i, conv);
        client_text(&c, line);
    }
    for (int i = 0; i < 300; i++) {
        snprintf(line, sizeof line, "{\"re\":%d,", i);
        expect_text(&c, line);
        assert_true(text.len > 200 * 1024);
    }
    client_close(&c);
}

PROMISE(unanswered_requests_have_a_bound_and_all_get_their_answer)
{
    struct client c = client_login(rig, 1, 1, ""), other = client_login(rig, 2, 1, "");
    char line[128], conv[CONV_TEXT + 1];
    struct conv_id id = {{1}};
    enum { ASKED = 6000 };

    conv[conv_text(conv, &id)] = '\0';
    for (int i = 0; i < ASKED; i++) {
        snprintf(line, sizeof line, "{\"id\":%d,\"op\":\"typing\",\"conv\":\"%s\",\"on\":true}", i, conv);
        client_text(&c, line);
    }
    snprintf(line, sizeof line, "{\"id\":1,\"op\":\"receipt\",\"conv\":\"%s\",\"read\":1}", conv);
    for (int got = 0; got < ASKED;) {
        struct pollfd p = {.fd = c.fd, .events = POLLIN};

        if (c.in.len == 0 && poll(&p, 1, 20) == 0) { /* until then the rest is not read, let alone answered */
            client_text(&other, line);
            expect_text(&other, "\"ok\"");
            continue;
        }
        expect_text(&c, "\"ok\"");
        got++;
    }
    client_close(&c);
    client_close(&other);
}

static size_t held;
static void count_held(struct rig_side *s) { held = s->held_n; }

PROMISE(what_is_unanswered_has_a_bound_in_bytes_too)
{
    enum { ASKED = 40, SIZE = 120000, ALLOWED = (4 << 20) / SIZE + 1 };
    struct client c = client_login(rig, 1, 1, ""), other = client_login(rig, 2, 1, "");
    char *line = mem_alloc(SIZE), conv[CONV_TEXT + 1], receipt[128];
    struct conv_id id = {{1}};

    conv[conv_text(conv, &id)] = '\0';
    for (int i = 0; i < ASKED; i++) { /* what is too much fits into the kernel's buffers */
        int n = snprintf(line, SIZE, "{\"id\":%d,\"op\":\"typing\",\"conv\":\"%s\",\"on\":true,\"x\":\"", i, conv);

        memset(line + n, 'x', (size_t)(SIZE - n));
        memcpy(line + SIZE - 3, "\"}", 3);
        client_text(&c, line);
    }
    while (held < ALLOWED - 1)
        rig_do(&rig->side[0], count_held);
    for (int i = 0; i < 50; i++) { /* turns in which it would read on */
        client_text(&other, "{\"id\":1,\"op\":\"ping\"}");
        expect_text(&other, "\"ok\"");
    }
    rig_do(&rig->side[0], count_held);
    assert_in_range(held, ALLOWED - 1, ALLOWED);
    snprintf(receipt, sizeof receipt, "{\"id\":1,\"op\":\"receipt\",\"conv\":\"%s\",\"read\":1}", conv);
    for (int got = 0; got < ASKED;) {
        struct pollfd p = {.fd = c.fd, .events = POLLIN};

        if (c.in.len == 0 && poll(&p, 1, 20) == 0) {
            client_text(&other, receipt);
            expect_text(&other, "\"ok\"");
            continue;
        }
        expect_text(&c, "\"ok\"");
        got++;
    }
    mem_free(line);
    client_close(&c);
    client_close(&other);
}

static struct client login_at(unsigned side, int user)
{
    for (;;) {
        int64_t before = atomic_load(&rig->side[side].counters->v[METRIC_SESSIONS]);
        struct client c = client_login(rig, user, 1, "");

        if (atomic_load(&rig->side[side].counters->v[METRIC_SESSIONS]) > before)
            return c;
        client_close(&c);
        while (rig_metric(rig, METRIC_SESSIONS) != before)
            sched_yield();
    }
}

static atomic_bool stuck, released;

static void get_stuck(struct rig_side *s)
{
    (void)s;
    atomic_store(&stuck, true);
    while (!atomic_load(&released))
        sched_yield();
}

static void flood(struct rig_side *s)
{
    struct audience *to = audience_new(1);
    struct frame *f = frame_text(STR("{\"ev\":\"message\"}"));
    struct delivery d = {.class = DELIVER_ENTRY, .frame = f, .to = to};

    to->users[0] = 1;
    for (int i = 0; i < 70000; i++)
        bus_emit(s->port, &d, NULL, NULL);
    frame_unref(f);
    audience_unref(to);
}

static void *stick(void *arg)
{
    rig_do(arg, get_stuck);
    return NULL;
}

/* A reactor that was away too long has lost entries of some of its users: all of them are told, whoever they are. */
PROMISE(entries_lost_between_threads_make_every_session_of_the_reactor_sync)
{
    struct client a = login_at(0, 1), b = login_at(0, 2);
    pthread_t thread;
    int resyncs = 0;

    atomic_store(&stuck, false);
    atomic_store(&released, false);
    pthread_create(&thread, NULL, stick, &rig->side[0]);
    while (!atomic_load(&stuck))
        sched_yield();
    rig_do(&rig->side[1], flood);
    atomic_store(&released, true);
    pthread_join(thread, NULL);
    expect_text(&b, "{\"ev\":\"resync\"}");
    client_text(&a, "{\"id\":9,\"op\":\"sync\"}");
    do {
        assert_int_equal(client_next(&a, &text), 0x81);
        resyncs += strstr(text.p, "resync") != NULL;
    } while (!strstr(text.p, "{\"re\":9"));
    assert_true(resyncs >= 1);
    client_close(&a);
    client_close(&b);
}

/* However many are asked for in one frame, few are with the services at once, and none while much is unsent. */
PROMISE(reads_wait_for_their_turn)
{
    struct client c = client_login(rig, 1, 1, ",\"batch\":true");
    char conv[CONV_TEXT + 1];
    struct conv_id id = {{1}};
    struct buf b = {0};

    conv[conv_text(conv, &id)] = '\0';
    for (int i = 0; i < 256; i++)
        buf_printf(&b, "%c{\"id\":%d,\"op\":\"history\",\"conv\":\"%s\",\"limit\":200}", i ? ',' : '[', i, conv);
    buf_char(&b, ']');
    client_frame(&c, 0x81, b.p, b.len);
    client_more(&c);
    assert_true(atomic_load(&rig->side[0].histories) < 128);
    for (int i = 0; i < 256; i++)
        expect_text(&c, "\"ok\"");
    assert_int_equal(atomic_load(&rig->side[0].histories), 256);
    buf_deinit(&b);
    client_close(&c);
}

PROMISE(a_connection_that_closes_leaves_its_requests_to_end_alone)
{
    struct client c = client_login(rig, 1, 1, ""), other = client_login(rig, 2, 1, "");
    char line[128], conv[CONV_TEXT + 1];
    struct conv_id id = {{1}};

    conv[conv_text(conv, &id)] = '\0';
    snprintf(line, sizeof line, "{\"id\":1,\"op\":\"typing\",\"conv\":\"%s\",\"on\":true}", conv);
    client_text(&c, line);
    client_text(&c, "{\"id\":2,\"op\":\"ping\"}");
    expect_text(&c, "{\"re\":2");
    client_close(&c);
    while (rig_metric(rig, METRIC_CONNECTIONS) != 1)
        sched_yield();
    snprintf(line, sizeof line, "{\"id\":1,\"op\":\"receipt\",\"conv\":\"%s\",\"read\":1}", conv);
    client_text(&other, line);
    expect_text(&other, "\"ok\"");
    client_close(&other);
}

PROMISE(a_close_is_answered_with_a_close)
{
    static const struct {
        const char *payload;
        size_t n;
        int code;
    } closes[] = {
        {"\x03\xe8", 2, 1000}, {"", 0, 1000},         {"\x0b\xb8 and why", 10, 3000},
        {"\x03", 1, 1002},     {"\x03\xec", 2, 1002}, {"\x03\xe8\xff", 3, 1007},
    };

    for (size_t i = 0; i < sizeof closes / sizeof *closes; i++) {
        struct client c = client_login(rig, 1, 1, "");

        client_frame(&c, 0x88, closes[i].payload, closes[i].n);
        expect_close(&c, closes[i].code);
    }
}

PROMISE(a_ping_in_pieces_is_answered_with_what_it_said)
{
    struct client c = client_login(rig, 1, 1, "");

    client_write(&c, "\x89\x83\0\0\0\0a", 7);
    client_text(&c, ""); /* of which two bytes belong to the ping */
    assert_int_equal(client_next(&c, &text), 0x8a);
    assert_memory_equal(text.p, "a\x81\x80", 3);
    client_close(&c);
}

PROMISE(who_does_not_answer_pings_is_cut)
{
    struct client c = client_login(rig, 1, 1, ""), good = client_login(rig, 2, 1, "");

    for (int i = 0; i < 3; i++) {
        assert_int_equal(client_next(&good, &text), 0x89);
        client_frame(&good, 0x8a, text.p, text.len - 1);
    }
    assert_int_equal(client_next(&c, &text), 0x89);
    while (rig_metric(rig, METRIC_CONNECTIONS) != 1) {
        struct pollfd p = {.fd = good.fd, .events = POLLIN};

        if (poll(&p, 1, 10) == 1 && client_next(&good, &text) == 0x89)
            client_frame(&good, 0x8a, text.p, text.len - 1);
    }
    client_close(&c);
    client_close(&good);
}

/* One answer may take a slow reader many heartbeats: what counts is that it goes on. */
PROMISE(who_reads_slowly_is_not_cut)
{
    struct client c = client_open(rig);
    char line[128], conv[CONV_TEXT + 1], bytes[2048];
    struct conv_id id = {{1}};
    const int small = 32768;

    setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    assert_int_equal(client_upgrade(&c, ""), 101);
    client_text(&c, "{\"id\":1,\"op\":\"auth\",\"token\":\"good-1-1\"}");
    expect_text(&c, "\"ok\"");
    conv[conv_text(conv, &id)] = '\0';
    for (int i = 0; i < 40; i++) {
        snprintf(line, sizeof line, "{\"id\":%d,\"op\":\"history\",\"conv\":\"%s\",\"limit\":200}", i, conv);
        client_text(&c, line);
    }
    for (int i = 0; i < 250; i++) { /* two and a half seconds, the pace being what is tested: five heartbeats */
        ssize_t n;

        poll(NULL, 0, 10);
        n = recv(c.fd, bytes, sizeof bytes, MSG_DONTWAIT);
        buf_add(&c.in, bytes, n > 0 ? (size_t)n : 0);
    }
    assert_true(c.in.len > 0);
    assert_int_equal(rig_metric(rig, METRIC_SESSIONS), 1);
    for (int i = 0; i < 40; i++) { /* the socket took them in many pieces, and here they are in one */
        snprintf(line, sizeof line, "{\"re\":%d,", i);
        expect_text(&c, line);
        assert_int_equal(strspn(strchr(text.p, 'x'), "x"), 200 * 1024);
    }
    client_close(&c);
}

/* Neither a byte now and then nor Pongs between the pieces keep an unfinished message for ever. */
PROMISE(a_message_has_a_heartbeat_to_arrive)
{
    struct client drips = client_login(rig, 1, 1, ""), waits = client_login(rig, 2, 1, "");
    uint8_t first;

    client_write(&drips, "\x81\xfe\x10\x00\0\0\0\0{", 9);
    for (struct pollfd p = {.fd = drips.fd, .events = POLLIN}; poll(&p, 1, 10) == 0;)
        client_write(&drips, " ", 1);
    expect_close(&drips, 4400);
    client_frame(&waits, 0x01, "{", 1);
    while ((first = client_next(&waits, &text)) == 0x89)
        client_frame(&waits, 0x8a, text.p, text.len - 1);
    assert_int_equal(first, 0x88);
    assert_memory_equal(text.p, "\x11\x30", 2); /* 4400 */
    client_close(&waits);
}

PROMISE(too_fast_is_refused_with_the_time_to_wait)
{
    struct client c = client_login(rig, 1, 1, "");
    int refused = 0;

    for (int i = 0; i < 400; i++)
        say_send(&c, i, 2, "x");
    for (int i = 0; i < 400; i++) {
        assert_int_equal(client_next(&c, &text), 0x81);
        if (strstr(text.p, "rate_limited")) {
            assert_non_null(strstr(text.p, "retry_after_ms"));
            refused++;
        }
    }
    assert_in_range(refused, 1, 100);
    client_close(&c);
}

static void say_group(struct client *c, int id, const char *op, const char *list, int members)
{
    struct buf b = {0};

    buf_printf(&b, "{\"id\":%d,\"op\":\"%s\",\"conv\":\"none\",\"title\":\"t\",\"cid\":\"c%d\",\"%s\":[", id, op, id,
               list);
    for (int i = 0; i < members; i++)
        buf_printf(&b, "%s\"%s\"", i ? "," : "", user_id_text((user_id)(i + 10)));
    buf_printf(&b, "]}");
    client_frame(c, 0x81, b.p, b.len);
    buf_deinit(&b);
}

static bool is_refused(struct client *c)
{
    assert_int_equal(client_next(c, &text), 0x81);
    return strstr(text.p, "rate_limited") && strstr(text.p, "retry_after_ms");
}

PROMISE(who_names_many_members_pays_for_each)
{
    static const struct {
        const char *op, *list;
    } with[] = {{"group.create", "members"}, {"group.add", "users"}, {"group.remove", "users"}};

    for (int i = 0; i < 3; i++) {
        struct client c = client_login(rig, 1 + i, 1, "");

        say_group(&c, 1, with[i].op, with[i].list, 1000);
        assert_false(is_refused(&c));
        say_group(&c, 2, with[i].op, with[i].list, 1000);
        assert_true(is_refused(&c));
        say_group(&c, 3, with[i].op, with[i].list, 1);
        assert_false(is_refused(&c));
        client_close(&c);
    }
}

/* The writes come back soon, a tenth of a second each; the memberships don't. */
PROMISE(memberships_have_a_budget_of_their_own)
{
    struct client c = client_login(rig, 1, 1, "");
    struct pollfd p = {.fd = c.fd, .events = POLLIN};
    int wait = 0;

    say_group(&c, 1, "group.create", "members", 6000);
    assert_false(is_refused(&c));
    for (int i = 2; wait < 2000; i++) {
        poll(&p, 1, wait); /* as it was told */
        say_group(&c, i, "group.create", "members", 10);
        assert_true(is_refused(&c));
        wait = (int)strtol(strstr(text.p, "retry_after_ms\":") + 16, NULL, 10);
    }
    client_close(&c);
}

PROMISE(who_keeps_on_is_closed_with_4429)
{
    struct client c = client_login(rig, 1, 1, "");

    for (int i = 0; i < 3000; i++)
        say_send(&c, i, 2, "x");
    expect_close(&c, 4429);
}

PROMISE(wrong_requests_count_and_who_keeps_on_is_closed)
{
    struct client c = client_login(rig, 1, 1, "");
    bool wrong = true;

    for (int i = 0; i < 3000; i++)
        client_text(&c, i % 2 ? "{\"id\":1,\"op\":\"no.such\"}" : "{\"id\":1,\"op\":\"history\"}");
    expect_text(&c, "bad_request");
    while (wrong) {
        assert_int_equal(client_next(&c, &text), 0x81);
        wrong = !strstr(text.p, "rate_limited");
    }
    assert_non_null(strstr(text.p, "retry_after_ms"));
    expect_close(&c, 4429);
}

/* ---- drain */

static atomic_int drained;

static void on_drained(void *arg)
{
    (void)arg;
    atomic_store(&drained, 1);
}

static void drain(struct rig_side *s) { gateway_drain(s->gateway, on_drained, NULL); }

PROMISE(every_connection_that_ends_gives_its_place_back)
{
    static const char *const texts[] = {
        "",
        "GET /heal",
        "nonsense\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /v1/users/me HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer good-1-1\r\n\r\n",
        "GET /nowhere HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"};
    struct client c;

    for (int i = 0; i < 60; i++) {
        c = client_open(rig);
        client_say(&c, texts[i % 6]);
        if (i % 6 == 3 || i % 6 == 4)
            assert_true(client_response(&c, &head, &body, false) > 0);
        client_close(&c);
        c = upgraded(i % 2 ? "Authorization: Bearer good-1-1\r\n" : "");
        client_close(&c);
        c = client_open(rig);
        assert_int_equal(client_upgrade(&c, "Authorization: Bearer dead\r\n"), 401);
        client_close(&c);
    }
    while (rig_metric(rig, METRIC_ACCEPTS) < 180 || rig_metric(rig, METRIC_SOCKETS) != 0)
        sched_yield();
}

PROMISE(who_shows_a_token_makes_room_for_other_strangers)
{
    struct client c[300];

    for (int i = 0; i < 300; i++) { /* an address may have 256 strangers */
        c[i] = upgraded("");
        client_text(&c[i], "{\"id\":1,\"op\":\"auth\",\"token\":\"good-1-1\"}");
        expect_text(&c[i], "{\"re\":1,\"ok\"");
    }
    for (int i = 0; i < 300; i++)
        client_close(&c[i]);
    for (int i = 0; i < 257; i++)
        c[i] = client_open(rig);
    assert_false(client_more(&c[256]));
    assert_int_equal(rig_metric(rig, METRIC_ACCEPTS_REFUSED), 1);
    for (int i = 0; i < 257; i++)
        client_close(&c[i]);
}

PROMISE(draining_says_1001_to_all_and_answers_what_is_under_way)
{
    struct client idle = client_login(rig, 1, 1, ""), busy = client_login(rig, 2, 1, "");
    char line[128], conv[CONV_TEXT + 1];
    struct conv_id id = {{1}};

    conv[conv_text(conv, &id)] = '\0';
    snprintf(line, sizeof line, "{\"id\":5,\"op\":\"typing\",\"conv\":\"%s\",\"on\":true}", conv);
    client_text(&busy, line);
    client_text(&busy, "{\"id\":6,\"op\":\"ping\"}");
    expect_text(&busy, "{\"re\":6");
    atomic_store(&drained, 0);
    rig_do(&rig->side[0], drain);
    expect_close(&idle, 1001);
    rig_do(&rig->side[0], rig_release);
    expect_text(&busy, "{\"re\":5,\"ok\"");
    expect_close(&busy, 1001);
    while (!atomic_load(&drained))
        sched_yield();
}

/* ---- order: turns made here, one by one */

static void turn_until_readable(struct client *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};

    while (c->in.len == 0 && poll(&p, 1, 0) == 0)
        loop_turn(rig->side[0].loop);
}

static struct client login_by_turns(int user)
{
    struct client c = client_open(rig);
    char line[128];

    client_ask_upgrade(&c, "");
    turn_until_readable(&c);
    assert_int_equal(client_response(&c, &head, &body, false), 101);
    snprintf(line, sizeof line, "{\"id\":1,\"op\":\"auth\",\"token\":\"good-%d-1\"}", user);
    client_text(&c, line);
    turn_until_readable(&c);
    expect_text(&c, "\"ok\"");
    return c;
}

static void expect_pong_by_turns(struct client *c)
{
    client_text(c, "{\"id\":9,\"op\":\"ping\"}");
    turn_until_readable(c);
    expect_text(c, "{\"re\":9,\"ok\"");
}

enum { CROWD = 200, FEW = 40 };

PROMISE(those_who_come_do_not_hold_up_who_talks)
{
    struct client live = login_by_turns(1), crowd[CROWD];

    for (int i = 0; i < CROWD; i++) {
        crowd[i] = client_open(rig);
        client_ask_upgrade(&crowd[i], "");
    }
    expect_pong_by_turns(&live);
    assert_in_range(rig_metric(rig, METRIC_ACCEPTS), 1, 1 + FEW);
    for (int i = 0; i < CROWD; i++) {
        turn_until_readable(&crowd[i]);
        assert_int_equal(client_response(&crowd[i], &head, &body, false), 101);
        client_close(&crowd[i]);
    }
    client_close(&live);
}

PROMISE(those_who_hang_up_do_not_hold_up_who_talks)
{
    struct client live = login_by_turns(1), crowd[CROWD];

    for (int i = 0; i < CROWD; i++)
        crowd[i] = login_by_turns(i + 2);
    for (int i = 0; i < CROWD; i++)
        client_close(&crowd[i]);
    expect_pong_by_turns(&live);
    assert_in_range(rig_metric(rig, METRIC_CONNECTIONS), 1 + CROWD - FEW, 1 + CROWD);
    while (rig_metric(rig, METRIC_CONNECTIONS) > 1)
        loop_turn(rig->side[0].loop);
    expect_pong_by_turns(&live);
    client_close(&live);
}

/* What is said between 1 and 0 leaves together. */
static void cork(struct client *c, int on) { setsockopt(c->fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on); }

PROMISE(messages_that_come_together_are_answered_in_one_turn)
{
    struct client c = login_by_turns(1);

    cork(&c, 1);
    for (int i = 0; i < 100; i++)
        client_text(&c, "{\"id\":9,\"op\":\"ping\"}");
    cork(&c, 0);
    turn_until_readable(&c);
    assert_int_equal(rig_metric(rig, METRIC_FRAMES_IN), 1 + 100);
    for (int i = 0; i < 100; i++)
        expect_text(&c, "{\"re\":9,\"ok\"");
    client_close(&c);
}

int main(void)
{
#define ON(test, begin) cmocka_unit_test_setup_teardown(test, begin, stop)
#define BY_TURNS(test) cmocka_unit_test_setup_teardown(test, make, unmake)
    const struct CMUnitTest tests[] = {
        ON(the_first_frame_authenticates, start),
        ON(what_is_pipelined_behind_auth_waits_for_it, start),
        ON(nothing_goes_before_auth, start),
        ON(a_stranger_learns_nothing_and_is_not_heard_for_long, start),
        ON(a_dead_token_is_told_and_then_closed_with_4401, start),
        ON(a_token_in_the_header_authenticates, start),
        ON(a_dead_token_in_the_header_is_http_401, start),
        ON(a_token_that_may_have_died_meanwhile_is_checked_again, start),
        ON(the_same_device_again_closes_the_old_socket, start_two),
        ON(a_revoked_device_is_closed_with_4401, start_two),
        ON(binary_is_closed_with_1003, start),
        ON(invalid_utf8_is_closed_with_1007, start),
        ON(too_large_is_closed_with_1009, start),
        ON(an_announced_giant_is_closed_at_once, start),
        ON(an_unmasked_frame_is_closed_with_1002, start),
        ON(what_the_framing_forbids_is_closed, start),
        ON(fragments_are_one_message, start),
        ON(any_split_of_the_bytes_is_the_same, start),
        ON(bad_json_is_answered_and_too_much_of_it_closed_with_4400, start),
        ON(wrong_requests_are_answered_with_their_id, start),
        ON(a_batch_has_a_reply_for_each_and_a_bound, start),
        ON(a_batch_that_is_not_json_is_not_done_at_all, start),
        ON(replies_to_a_pipeline_all_come, start),
        ON(entries_reach_the_other_devices_in_order, start),
        ON(a_slow_reader_is_told_to_sync_and_gets_nothing_until_it_does, start),
        ON(replies_are_never_dropped_however_slowly_they_are_read, start),
        ON(unanswered_requests_have_a_bound_and_all_get_their_answer, start),
        ON(what_is_unanswered_has_a_bound_in_bytes_too, start),
        ON(entries_lost_between_threads_make_every_session_of_the_reactor_sync, start_two),
        ON(reads_wait_for_their_turn, start),
        ON(a_connection_that_closes_leaves_its_requests_to_end_alone, start),
        ON(a_close_is_answered_with_a_close, start),
        ON(a_ping_in_pieces_is_answered_with_what_it_said, start),
        ON(who_does_not_answer_pings_is_cut, start_quick),
        ON(who_reads_slowly_is_not_cut, start_half_a_second),
        ON(a_message_has_a_heartbeat_to_arrive, start_quick),
        ON(too_fast_is_refused_with_the_time_to_wait, start_limited),
        ON(who_names_many_members_pays_for_each, start_limited),
        ON(memberships_have_a_budget_of_their_own, start_limited),
        ON(who_keeps_on_is_closed_with_4429, start_limited),
        ON(wrong_requests_count_and_who_keeps_on_is_closed, start_limited),
        ON(every_connection_that_ends_gives_its_place_back, start),
        ON(who_shows_a_token_makes_room_for_other_strangers, start_limited),
        ON(draining_says_1001_to_all_and_answers_what_is_under_way, start),
        BY_TURNS(those_who_come_do_not_hold_up_who_talks),
        BY_TURNS(those_who_hang_up_do_not_hold_up_who_talks),
        BY_TURNS(messages_that_come_together_are_answered_in_one_turn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
