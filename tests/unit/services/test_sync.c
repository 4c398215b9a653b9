#include "tests/unit/services/sync_world.h"
#include <sched.h>

static void say(struct world_test *w, user_id from, const char *conv, const char *cid, int n)
{
    for (int i = 0; i < n; i++)
        expect(w, from, SEND(conv, JSON("%s%d", cid, i), JSON("%s%d", cid, i)), CODE_OK, "\"seq\":");
}
static char *dup_z(const char *z) { return mem_dup(str_c(z)); }

/* A group of ANN and BEN, with 3 messages by ANN: seqs 1..4; active later than all before it. */
static char *group_of_two(struct world_test *w, const char *cid)
{
    int64_t before = env_now_ms(env_posix());
    char *g;

    while (env_now_ms(env_posix()) == before) /* what is as old goes by its id */
        sched_yield();

    expect(w, ANN, CREATE(cid, USERS_OF(BEN), " "), CODE_OK, "\"seq\":1");
    g = group_z(w, ANN, cid);
    knows(ANN, g);
    knows(BEN, g);
    say(w, ANN, g, "m", 3);
    return g;
}

PROMISE(a_device_gets_what_it_has_not_confirmed)
{
    struct world_test *w = sync_world(2);
    char *g = group_of_two(w, "g"), *p = dup_z(pair_z(w, ANN, BEN));
    json_t *t;

    expect(w, ANN, SEND_TO(BEN, "p", "hi"), CODE_OK, "\"seq\":1");
    know_pair(w, ANN, BEN);
    t = tree_of(w, BEN, 1, SYNC(" "));
    assert_string_equal(seqs_in(t, g), "1 2 3 4");
    assert_string_equal(seqs_in(t, p), "1");
    assert_string_equal(text_in(t, "epoch"), w->data.epoch);
    assert_true(json_is_false(json_object_get(t, "more")));
    assert_null(json_object_get(t, "cursor"));
    assert_null(json_object_get(t, "gone"));
    json_decref(t);
    json_decref(tree_of(w, BEN, 1, JSON("{\"op\":\"receipt\",\"conv\":\"%s\",\"delivered\":3}", g)));
    json_decref(tree_of(w, BEN, 1, JSON("{\"op\":\"receipt\",\"conv\":\"%s\",\"delivered\":1}", p)));
    for (int round = 0; round < 2; round++) {
        t = tree_of(w, BEN, 1, SYNC(" "));
        assert_string_equal(seqs_in(t, g), "4");
        assert_string_equal(seqs_in(t, p), "-"); /* nothing new */
        json_decref(t);
        t = tree_of(w, BEN, 2, SYNC(" ")); /* another device has its own cursors */
        assert_string_equal(seqs_in(t, g), "1 2 3 4");
        assert_string_equal(seqs_in(t, p), "1");
        json_decref(t);
        t = tree_of(w, DAN, 1, SYNC(" "));
        assert_int_equal(json_array_size(json_object_get(t, "conversations")), 0);
        json_decref(t);
        sync_crash(w);
    }
    mem_free(g);
    mem_free(p);
    world_end(w);
}

PROMISE(a_conversation_comes_with_all_that_a_client_needs)
{
    struct world_test *w = sync_world(2);
    char *g = group_of_two(w, "g");
    const json_t *c;
    json_t *t;

    json_decref(tree_of(w, BEN, 1, JSON("{\"op\":\"receipt\",\"conv\":\"%s\",\"delivered\":3,\"read\":2}", g)));
    t = tree_of(w, BEN, 2, SYNC(" "));
    c = conv_in(t, g);
    assert_string_equal(text_in(c, "kind"), "group");
    assert_int_equal(int_in(c, "first_seq"), 1);
    assert_int_equal(int_in(c, "last_seq"), 4);
    assert_int_equal(int_in(c, "delivered"), 3);
    assert_int_equal(int_in(c, "read"), 2);
    assert_int_equal(int_in(c, "unread"), 2);
    assert_null(json_object_get(c, "reset"));
    json_decref(t);
    expect(w, BEN, SYNC(" "), CODE_OK, "\"visible\":[[1,null]]");
    expect(
        w, BEN, SYNC(" "), CODE_OK,
        JSON("\"receipts\":[{\"user\":\"%s\",\"delivered\":4,\"read\":4},{\"user\":\"%s\",\"delivered\":3,\"read\":2}]",
             user_z(ANN), user_z(BEN)));
    expect(w, BEN, SYNC(" "), CODE_OK,
           JSON("{\"ev\":\"message\",\"conv\":\"%s\",\"seq\":2,\"from\":\"%s\"", g, user_z(ANN)));
    mem_free(g);
    world_end(w);
}

PROMISE(in_a_large_group_receipts_are_what_all_have)
{
    struct world_test *w = sync_world(1);
    struct buf b = {0};
    char *g;

    buf_str(&b, STR("{\"op\":\"group.create\",\"title\":\"g\",\"cid\":\"g\",\"members\":["));
    for (user_id u = 100; u < 132; u++)
        buf_printf(&b, "%s\"%s\"", u > 100 ? "," : "", user_z(u));
    buf_str(&b, STR("]}"));
    buf_char(&b, 0);
    expect(w, ANN, b.p, CODE_OK, "\"seq\":1"); /* 33 */
    g = group_z(w, ANN, "g");
    knows(ANN, g);
    say(w, ANN, g, "m", 3);
    for (user_id u = 100; u < 132; u++)
        expect(w, u,
               JSON("{\"op\":\"receipt\",\"conv\":\"%s\",\"delivered\":%d,\"read\":%d}", g, u == 120 ? 3 : 4,
                    u == 130 ? 1 : 2),
               CODE_OK, "{}");
    expect(w, ANN, SYNC(",\"since\":{}"), CODE_OK, "\"receipts\":{\"delivered_all\":3,\"read_all\":1}");
    expect(w, ANN, REMOVE(g, "r", USERS_OF(120, 130)), CODE_OK, "\"seq\":5");
    expect(w, ANN, SYNC(",\"since\":{}"), CODE_OK, "\"receipts\":[{");
    expect(w, ANN, ADD(g, "a", USERS_OF(200, 201)), CODE_OK, "\"seq\":6");
    expect(w, ANN, SYNC(",\"since\":{}"), CODE_OK, "\"receipts\":{\"delivered_all\":4,\"read_all\":2}");
    buf_deinit(&b);
    mem_free(g);
    world_end(w);
}

PROMISE(since_says_where_to_begin)
{
    struct world_test *w = sync_world(2);
    char *g = group_of_two(w, "g"), *h = group_of_two(w, "h"), *foreign = group_z(w, DAN, "d");
    json_t *t;

    expect(w, DAN, CREATE("d", "[]", " "), CODE_OK, "\"seq\":1");
    knows(DAN, foreign);
    t = tree_of(w, BEN, 1, SYNC(",\"since\":{\"%s\":2}", g));
    assert_string_equal(seqs_in(t, g), "3 4");
    assert_string_equal(seqs_in(t, h), "1 2 3 4"); /* not named: from 0 */
    json_decref(t);
    t = tree_of(w, BEN, 1, SYNC(",\"since\":{\"%s\":4,\"%s\":4}", g, h));
    assert_int_equal(json_array_size(json_object_get(t, "conversations")), 0);
    json_decref(t);
    t = tree_of(w, BEN, 1, SYNC(",\"since\":{\"%s\":4,\"%s\":1,\"nonsense\":3,\"%s\":5}", g, foreign, h));
    assert_int_equal(json_array_size(json_object_get(t, "gone")), 2);
    assert_string_equal(json_string_value(json_array_get(json_object_get(t, "gone"), 0)), foreign);
    assert_string_equal(json_string_value(json_array_get(json_object_get(t, "gone"), 1)), "nonsense");
    assert_string_equal(seqs_in(t, g), "-");
    assert_string_equal(seqs_in(t, h), "1 2 3 4"); /* above last_seq */
    assert_true(json_is_true(json_object_get(conv_in(t, h), "reset")));
    json_decref(t);
    t = tree_of(w, BEN, 1, SYNC(",\"since\":{\"%s\":9007199254740991},\"limit\":3", h));
    assert_true(json_is_true(json_object_get(t, "more")));
    json_decref(t);
    expect(w, BEN, SYNC(",\"epoch\":\"%s\"", w->data.epoch), CODE_OK, "\"conversations\":[{");
    expect(w, BEN, SYNC(",\"epoch\":\"another\""), CODE_CONFLICT, "epoch");
    mem_free(foreign);
    mem_free(g);
    mem_free(h);
    world_end(w);
}

PROMISE(a_position_that_is_none_is_reset_also_on_a_later_page)
{
    struct world_test *w = sync_world(2);
    char *g = group_of_two(w, "g"), *h = group_of_two(w, "h");
    json_t *t = tree_of(w, BEN, 1, SYNC(",\"since\":{\"%s\":99,\"%s\":99},\"limit\":4", g, h));
    json_t *u = sync_page(w, BEN, 1, ",\"limit\":3", text_in(t, "cursor"));
    json_t *v = sync_page(w, BEN, 1, ",\"limit\":3", text_in(u, "cursor"));

    assert_string_equal(seqs_in(t, g), "1 2 3 4"); /* oldest activity first */
    assert_true(json_is_true(json_object_get(conv_in(t, g), "reset")));
    assert_string_equal(seqs_in(t, h), "-");
    assert_string_equal(seqs_in(u, h), "1 2 3");
    assert_true(json_is_true(json_object_get(conv_in(u, h), "reset")));
    assert_string_equal(seqs_in(v, h), "4");
    assert_null(json_object_get(conv_in(v, h), "reset"));
    assert_true(json_is_false(json_object_get(v, "more")));
    json_decref(t);
    json_decref(u);
    json_decref(v);
    mem_free(g);
    mem_free(h);
    world_end(w);
}

PROMISE(who_was_away_gets_what_they_may_see_and_nothing_of_the_gap)
{
    struct world_test *w = sync_world(2);
    char *g = group_of_two(w, "g");
    json_t *t;

    expect(w, ANN, REMOVE(g, "r", USERS_OF(BEN)), CODE_OK, "\"seq\":5");
    say(w, ANN, g, "n", 3); /* 6 7 8 */
    t = tree_of(w, BEN, 1, SYNC(",\"since\":{\"%s\":3}", g));
    assert_string_equal(seqs_in(t, g), "4 5");
    assert_int_equal(int_in(conv_in(t, g), "last_seq"), 5);
    assert_int_equal(int_in(conv_in(t, g), "unread"), 3);
    json_decref(t);
    expect(w, BEN, SYNC(" "), CODE_OK, "\"visible\":[[1,5]]");
    t = tree_of(w, BEN, 1, SYNC(",\"since\":{\"%s\":7}", g)); /* above what is the last for them */
    assert_true(json_is_true(json_object_get(conv_in(t, g), "reset")));
    json_decref(t);
    t = tree_of(w, BEN, 1, SYNC(",\"since\":{\"%s\":5}", g));
    assert_string_equal(seqs_in(t, g), "-");
    json_decref(t);
    expect(w, ANN, ADD(g, "b", USERS_OF(BEN)), CODE_OK, "\"seq\":9");
    say(w, ANN, g, "o", 1); /* 10 */
    t = tree_of(w, BEN, 1, SYNC(",\"since\":{\"%s\":3}", g));
    assert_string_equal(seqs_in(t, g), "4 5 9 10");
    json_decref(t);
    t = tree_of(w, BEN, 1, SYNC(",\"since\":{\"%s\":3},\"limit\":2", g));
    assert_string_equal(seqs_in(t, g), "4 5");
    assert_true(json_is_true(json_object_get(t, "more")));
    json_decref(t);
    expect(w, BEN, SYNC(" "), CODE_OK, "\"visible\":[[1,5],[9,null]]");
    mem_free(g);
    world_end(w);
}

PROMISE(a_page_ends_at_its_bytes_with_at_least_one_entry)
{
    struct world_test *w = sync_world(2);
    char *big = mem_alloc(60001), *json = mem_alloc(70000), *cursor = NULL;
    int64_t seen = 0;

    memset(big, 'x', 60000);
    for (int i = 0; i < 30; i++) {
        snprintf(json, 70000,
                 "{\"op\":\"message.send\",\"user\":\"%s\",\"cid\":\"c%d\",\"content\":{\"type\":\"sealed\",\"data\":"
                 "\"%s\"}}",
                 user_z(i % 2 ? BEN : CAT), i, big);
        expect(w, ANN, json, CODE_OK, "\"seq\":");
    }
    know_pair(w, ANN, BEN);
    know_pair(w, ANN, CAT);
    for (int pages = 0; pages == 0 || cursor; pages++) {
        json_t *t = sync_page(w, ANN, 7, ",\"limit\":1000", cursor);
        const json_t *list = json_object_get(t, "conversations");
        size_t n = 0;
        char *text = json_dumps(t, JSON_COMPACT);

        for (size_t i = 0; i < json_array_size(list); i++)
            n += json_array_size(json_object_get(json_array_get(list, i), "entries"));
        assert_in_range(strlen(text), 60000, 512 << 10);
        assert_true(n >= 7 || seen + (int64_t)n == 30);
        seen += (int64_t)n;
        free(text);
        mem_free(cursor);
        cursor = text_in(t, "cursor") ? dup_z(text_in(t, "cursor")) : NULL;
        json_decref(t);
        assert_in_range(pages, 0, 5);
    }
    assert_int_equal(seen, 30);
    mem_free(big);
    mem_free(json);
    world_end(w);
}

PROMISE(a_busy_lookup_is_said_and_harms_nobody)
{
    struct world_test *w = sync_world(2);
    char *g = group_of_two(w, "g");
    struct answer *a;

    lookup_fails = 1;
    a = ask(w, 0, BEN, 1, SYNC(" "));
    assert_int_equal(a->code, CODE_UNAVAILABLE);
    assert_string_equal(a->text, "later");
    answer_free(a);
    expect(w, BEN, SYNC(" "), CODE_OK, g);
    mem_free(g);
    world_end(w);
}

PROMISE(more_at_once_than_may_run_wait_for_their_turn)
{
    enum { N = 300 };
    struct world_test *w = sync_world(2);
    char *g = group_of_two(w, "g");
    struct answer *a[N];

    for (int i = 0; i < N; i++)
        a[i] = ask_start(w, 0, i % 2 ? BEN : ANN, 50, i % 3 ? SYNC(" ") : "{\"op\":\"conversation.list\"}");
    for (int i = 0; i < N; i++) {
        assert_int_equal(answer_wait(a[i])->code, CODE_OK);
        assert_non_null(strstr(a[i]->text, g));
        answer_free(a[i]);
    }
    mem_free(g);
    world_end(w);
}

PROMISE(who_asks_much_at_once_delays_nobody_else)
{
    enum { N = 50 };
    struct world_test *w = sync_world(2);
    char *g = group_of_two(w, "g");
    struct answer *a[N];

    held_user = ANN;
    for (int i = 0; i < N; i++)
        a[i] = ask_start(w, 0, ANN, 1, i % 2 ? SYNC(" ") : "{\"op\":\"conversation.list\"}");
    expect(w, BEN, SYNC(" "), CODE_OK, g);
    assert_int_equal(n_held, 2); /* all that were asked before Ben's are there */
    on_reactor(w, w->reactors, release_held, w);
    for (int i = 0; i < N; i++) {
        assert_int_equal(answer_wait(a[i])->code, CODE_OK);
        assert_non_null(strstr(a[i]->text, g));
        answer_free(a[i]);
    }
    mem_free(g);
    world_end(w);
}

PROMISE(cursors_that_are_not_ours_are_refused)
{
    static const char *const bad[] = {"", "A", "!!!!", "AQ", "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
    struct world_test *w = sync_world(2);
    char *g = group_of_two(w, "g"), *cursor;
    json_t *t = tree_of(w, BEN, 1, SYNC(",\"limit\":1"));

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect(w, BEN, SYNC(",\"cursor\":\"%s\"", bad[i]), CODE_BAD_REQUEST, "cursor");
    expect(w, BEN, SYNC(",\"cursor\":\"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\""), CODE_CONFLICT, "epoch");
    cursor = dup_z(text_in(t, "cursor"));
    for (size_t i = 0; i < strlen(cursor);
         i++) { /* each byte changed, and cut off behind each: an answer, whatever it is */
        char was = cursor[i];

        cursor[i] = was == 'A' ? 'B' : 'A';
        answer_free(ask(w, 0, BEN, 1, SYNC(",\"cursor\":\"%s\"", cursor)));
        cursor[i] = 0;
        answer_free(ask(w, 0, BEN, 1, SYNC(",\"cursor\":\"%s\"", cursor)));
        cursor[i] = was;
    }
    expect(w, BEN, SYNC(",\"cursor\":\"%s\"", cursor), CODE_OK, "\"seq\":2"); /* still good: nothing was kept for it */
    sync_crash(w);
    expect(w, BEN, SYNC(",\"cursor\":\"%s\"", cursor), CODE_OK, "\"seq\":2");
    expect(w, DAN, SYNC(",\"cursor\":\"%s\"", cursor), CODE_OK, "\"conversations\":[]"); /* no right goes with it */
    json_decref(t);
    mem_free(cursor);
    mem_free(g);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_device_gets_what_it_has_not_confirmed),
        HOLDS(a_conversation_comes_with_all_that_a_client_needs),
        HOLDS(in_a_large_group_receipts_are_what_all_have),
        HOLDS(since_says_where_to_begin),
        HOLDS(a_position_that_is_none_is_reset_also_on_a_later_page),
        HOLDS(who_was_away_gets_what_they_may_see_and_nothing_of_the_gap),
        HOLDS(a_page_ends_at_its_bytes_with_at_least_one_entry),
        HOLDS(a_busy_lookup_is_said_and_harms_nobody),
        HOLDS(more_at_once_than_may_run_wait_for_their_turn),
        HOLDS(who_asks_much_at_once_delays_nobody_else),
        HOLDS(cursors_that_are_not_ours_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
