#include "services/receipt.h"
#include "tests/unit/services/group_fixture.h"

#define RECEIPT(conv, delivered, read) \
    JSON("{\"op\":\"receipt\",\"conv\":\"%s\",\"delivered\":%d,\"read\":%d}", conv, delivered, read)
#define LIST(conv, ...) JSON("{\"op\":\"receipt.list\",\"conv\":\"%s\"%s}", conv, JSON(__VA_ARGS__))
#define ROW(user, delivered, read) JSON("{\"user\":\"%s\",\"delivered\":%d,\"read\":%d}", user_z(user), delivered, read)

static void send_n(struct world_test *w, user_id from, user_id to, int n)
{
    for (int i = 0; i < n; i++)
        expect(w, from, SEND_TO(to, JSON("m%d", i), "x"), CODE_OK, "\"seq\":");
}

PROMISE(cursors_only_move_forward_and_not_past_the_end)
{
    struct world_test *w = world_start(2);
    const char *conv = pair_z(w, ANN, BEN);

    send_n(w, ANN, BEN, 5);
    expect(w, BEN, RECEIPT(conv, 4, 2), CODE_OK, "{}");
    expect(w, ANN, LIST(conv, " "), CODE_OK, ROW(BEN, 4, 2));
    expect(w, BEN, RECEIPT(conv, 3, 1), CODE_OK, "{}");
    expect(w, ANN, LIST(conv, " "), CODE_OK, ROW(BEN, 4, 2));
    expect(w, BEN, RECEIPT(conv, 6, 1), CODE_BAD_REQUEST, "past");
    expect(w, BEN, RECEIPT(conv, 1, 6), CODE_BAD_REQUEST, "past");
    expect(w, BEN, JSON("{\"op\":\"receipt\",\"conv\":\"%s\"}", conv), CODE_BAD_REQUEST, "needed");
    expect(w, BEN, JSON("{\"op\":\"receipt\",\"conv\":\"%s\",\"read\":5}", conv), CODE_OK, "{}");
    expect(w, ANN, LIST(conv, " "), CODE_OK, ROW(BEN, 5, 5)); /* reading is having */
    expect(w, ANN, LIST(conv, " "), CODE_OK, ROW(ANN, 5, 5)); /* who writes has read */
    expect(w, CAT, RECEIPT(conv, 1, 1), CODE_NOT_FOUND, "no such conversation");
    expect(w, CAT, LIST(conv, " "), CODE_NOT_FOUND, "no such conversation");
    world_end(w);
}

PROMISE(a_members_delivered_is_the_highest_of_their_devices)
{
    struct world_test *w = world_start(1);
    const char *conv = pair_z(w, ANN, BEN),
               *json = JSON("{\"op\":\"receipt\",\"conv\":\"%s\",\"delivered\":%%d}", conv);
    int steps[][3] = {{1, 3, 3}, {2, 2, 3}, {2, 5, 5}, {1, 4, 5}};

    send_n(w, ANN, BEN, 5);
    for (size_t i = 0; i < 4; i++) {
        struct answer *a = ask(w, 0, BEN, (device_id)steps[i][0], json_z((char[4096]){0}, json, steps[i][1]));

        assert_int_equal(a->code, CODE_OK);
        answer_free(a);
        expect(w, ANN, LIST(conv, " "), CODE_OK, ROW(BEN, steps[i][2], 0));
    }
    world_end(w);
}

PROMISE(steps_are_merged_answered_and_survive_a_crash)
{
    enum { N = 100 };
    struct world_test *w = world_start(2);
    const char *conv = mem_dup(str_c(pair_z(w, ANN, BEN)));
    struct session *ann = session_open(w, ANN, 99, 1);
    struct answer *a[N];
    char *events;

    send_n(w, ANN, BEN, N);
    for (int i = 0; i < N; i++)
        a[i] = ask_start(w, 0, BEN, 1, RECEIPT(conv, i + 1, (i + 1) / 2));
    for (int i = 0; i < N; i++) {
        assert_int_equal(answer_wait(a[i])->code, CODE_OK);
        answer_free(a[i]);
    }
    expect(w, ANN, LIST(conv, " "), CODE_OK, ROW(BEN, N, N / 2));
    events = events_of(w, ann, N + 2); /* its own messages, the first step, all others as one */
    assert_int_equal(events_so_far(w, ann), N + 2);
    assert_non_null(strstr(
        events, JSON("{\"ev\":\"receipt\",\"conv\":\"%s\",\"user\":\"%s\",\"delivered\":%d,\"read\":%d,\"ts\":", conv,
                     user_z(BEN), N, N / 2)));
    mem_free(events);
    world_crash(w);
    expect(w, ANN, LIST(conv, " "), CODE_OK, ROW(BEN, N, N / 2));
    mem_free((void *)(uintptr_t)conv);
    world_end(w);
}

PROMISE(in_a_large_group_recent_authors_are_told_and_the_list_has_pages)
{
    struct world_test *w = world_with_groups(2);
    const char *g = group_new(w, ANN, "g", 100, 50, false);
    struct session *ann = session_open(w, ANN, 1, 0), *author = session_open(w, 120, 1, 1),
                   *other = session_open(w, 121, 1, 1);
    struct answer *a;
    int rows = 0, pages = 0;
    char *events;
    char cursor[64] = "";

    expect(w, 120, SEND(g, "x", "hi"), CODE_OK, "\"seq\":2"); /* from another device */
    expect(w, 140, RECEIPT(g, 2, 2), CODE_OK, "{}");
    mem_free(events_of(w, author, 2));
    events = events_of(w, ann, 2);
    assert_non_null(strstr(events, "\"receipt\"")); /* made the group, so an author too */
    mem_free(events);
    expect(w, 120, SEND(g, "y", "hi"), CODE_OK, "\"seq\":3");
    mem_free(events_of(w, other, 2));
    assert_int_equal(events_so_far(w, other), 2); /* two messages */
    do {
        a = ask(w, 0, 120, 1, LIST(g, ",\"limit\":20%s", cursor));
        assert_int_equal(a->code, CODE_OK);
        for (const char *at = a->text; (at = strstr(at, "\"user\"")); at++)
            rows++;
        if (strstr(a->text, "\"cursor\":\""))
            snprintf(cursor, sizeof cursor, ",\"cursor\":\"%.14s\"", strstr(a->text, "\"cursor\":\"") + 10);
        pages++;
        rows += strstr(a->text, "\"more\":true") ? 0 : 1000;
        answer_free(a);
    } while (rows < 1000);
    assert_int_equal(rows, 1051);
    assert_int_equal(pages, 3);
    expect(w, 120, LIST(g, ",\"cursor\":\"x\""), CODE_BAD_REQUEST, "cursor");
    world_end(w);
}

PROMISE(who_left_knows_nothing_of_later)
{
    struct world_test *w = world_with_groups(1);
    const char *g = group_new(w, ANN, "g", BEN, 2, false);

    expect(w, ANN, SEND(g, "a1", "x"), CODE_OK, "\"seq\":2");
    expect(w, ANN, JSON("{\"op\":\"group.remove\",\"conv\":\"%s\",\"cid\":\"rm\",\"users\":[\"%s\"]}", g, user_z(BEN)),
           CODE_OK, "3");
    expect(w, ANN, JSON("{\"op\":\"group.add\",\"conv\":\"%s\",\"cid\":\"add\",\"users\":[\"%s\"]}", g, user_z(DAN)),
           CODE_OK, "4");
    expect(w, CAT, SEND(g, "c1", "x"), CODE_OK, "\"seq\":5");
    expect(w, BEN, RECEIPT(g, 4, 4), CODE_BAD_REQUEST, "past");
    expect(w, BEN, RECEIPT(g, 3, 3), CODE_OK, "{}");
    expect(w, BEN, LIST(g, " "), CODE_OK, ROW(CAT, 3, 3));
    struct answer *a = ask(w, 0, BEN, 1, LIST(g, " "));
    assert_null(strstr(a->text, user_z(DAN)));
    answer_free(a);
    world_end(w);
}

PROMISE(typing_again_at_once_is_told_once)
{
    struct world_test *w = world_with_groups(2);
    const char *conv = pair_z(w, ANN, BEN);
    struct session *ben = session_open(w, BEN, 1, 1);

    expect(w, ANN, SEND_TO(BEN, "a1", "x"), CODE_OK, "\"seq\":1");
    for (int i = 0; i < 10; i++)
        expect(w, ANN, JSON("{\"op\":\"typing\",\"conv\":\"%s\",\"on\":true}", conv), CODE_OK, "{}");
    expect(w, ANN, JSON("{\"op\":\"typing\",\"conv\":\"%s\",\"on\":false}", conv), CODE_OK, "{}");
    expect(w, ANN, SEND_TO(BEN, "a2", "x"), CODE_OK, "\"seq\":2");
    mem_free(events_of(w, ben, 4)); /* the messages, on, off */
    assert_int_equal(events_so_far(w, ben), 4);
    world_end(w);
}

PROMISE(in_a_large_group_typing_is_told_to_recent_authors)
{
    struct world_test *w = world_with_groups(2);
    const char *g = group_new(w, ANN, "g", 100, 50, false);
    struct session *author = session_open(w, 120, 1, 1), *other = session_open(w, 121, 1, 1);
    char *events;

    expect(w, 120, SEND(g, "x", "hi"), CODE_OK, "\"seq\":2");
    expect(w, 140, JSON("{\"op\":\"typing\",\"conv\":\"%s\",\"on\":true}", g), CODE_OK, "{}");
    expect(w, 140, SEND(g, "y", "hi"), CODE_OK, "\"seq\":3");
    events = events_of(w, author, 3);
    assert_non_null(strstr(events, "\"typing\""));
    mem_free(events);
    events = events_of(w, other, 2);
    assert_null(strstr(events, "\"typing\""));
    mem_free(events);
    world_end(w);
}

PROMISE(typing_is_told_to_the_others_and_forgotten)
{
    struct world_test *w = world_with_groups(2);
    const char *conv = pair_z(w, ANN, BEN);
    struct session *ben = session_open(w, BEN, 1, 1), *desk = session_open(w, ANN, 2, 0);
    char *events;

    expect(w, ANN, SEND_TO(BEN, "a1", "x"), CODE_OK, "\"seq\":1");
    expect(w, ANN, JSON("{\"op\":\"typing\",\"conv\":\"%s\",\"on\":true}", conv), CODE_OK, "{}");
    expect(w, ANN, JSON("{\"op\":\"typing\",\"conv\":\"%s\",\"on\":false}", conv), CODE_OK, "{}");
    expect(w, ANN, JSON("{\"op\":\"typing\",\"conv\":\"%s\",\"on\":false}", conv), CODE_OK, "{}");
    expect(w, CAT, JSON("{\"op\":\"typing\",\"conv\":\"%s\",\"on\":true}", conv), CODE_NOT_FOUND,
           "no such conversation");
    events = events_of(w, ben, 3);
    assert_non_null(
        strstr(events, JSON("{\"ev\":\"typing\",\"conv\":\"%s\",\"user\":\"%s\",\"on\":true}", conv, user_z(ANN))));
    assert_non_null(strstr(events, "\"on\":false"));
    assert_int_equal(events_so_far(w, ben), 3);
    assert_int_equal(events_so_far(w, desk), 1);
    mem_free(events);
    expect(w, ANN, JSON("{\"op\":\"typing\",\"conv\":\"%s\",\"on\":true}", conv), CODE_OK, "{}");
    events = events_of(w, ben, 5); /* on, and off by itself */
    assert_string_equal(strrchr(events, ','), ",\"on\":false}\n");
    mem_free(events);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(cursors_only_move_forward_and_not_past_the_end),
        HOLDS(a_members_delivered_is_the_highest_of_their_devices),
        HOLDS(steps_are_merged_answered_and_survive_a_crash),
        HOLDS(in_a_large_group_recent_authors_are_told_and_the_list_has_pages),
        HOLDS(who_left_knows_nothing_of_later),
        HOLDS(typing_again_at_once_is_told_once),
        HOLDS(in_a_large_group_typing_is_told_to_recent_authors),
        HOLDS(typing_is_told_to_the_others_and_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
