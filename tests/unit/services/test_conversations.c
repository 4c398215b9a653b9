#include "tests/unit/services/sync_world.h"

#define GET(conv) JSON("{\"op\":\"conversation.get\",\"conv\":\"%s\"}", conv)
#define LIST(...) JSON("{\"op\":\"conversation.list\"%s}", JSON(__VA_ARGS__))

static char *group_of(struct world_test *w, const char *cid, const char *more)
{
    char *g;

    expect(w, ANN, CREATE(cid, USERS_OF(BEN, CAT), "%s", more), CODE_OK, "\"seq\":1");
    g = group_z(w, ANN, cid);
    for (user_id u = ANN; u <= CAT; u++)
        knows(u, g);
    return g;
}

PROMISE(one_conversation_is_shown_with_its_settings_and_the_viewers_own)
{
    struct world_test *w = sync_world(2);
    char *g = group_of(w, "g", ",\"description\":\"about\",\"locked\":true");

    expect(
        w, ANN,
        JSON("{\"op\":\"message.send\",\"conv\":\"%s\",\"cid\":\"m\",\"content\":{\"type\":\"text\",\"text\":\"hi\"},"
             "\"mentions\":[\"%s\"]}",
             g, user_z(BEN)),
        CODE_OK, "\"seq\":2");
    expect(w, ANN, SEND(g, "m2", "x"), CODE_OK, "\"seq\":3");
    for (int round = 0; round < 2; round++) {
        expect(
            w, BEN, GET(g), CODE_OK,
            JSON("{\"conv\":\"%s\",\"kind\":\"group\",\"title\":\"g\",\"first_seq\":1,\"last_seq\":3,\"visible\":[[1,"
                 "null]],"
                 "\"delivered\":0,\"read\":0,\"unread\":2,\"mentions\":1,\"description\":\"about\",\"announce\":false,"
                 "\"locked\":true,\"history\":\"joined\",\"role\":\"member\",\"member_count\":3,\"last\":{\"ev\":"
                 "\"message\"",
                 g));
        sync_crash(w);
    }
    expect(w, BEN, JSON("{\"op\":\"receipt\",\"conv\":\"%s\",\"read\":2}", g), CODE_OK, "{}");
    expect(w, BEN, GET(g), CODE_OK, "\"delivered\":2,\"read\":2,\"unread\":1,\"mentions\":0");
    expect(w, DAN, GET(g), CODE_NOT_FOUND, "no such conversation");
    expect(w, ANN, SEND_TO(BEN, "p", "hi"), CODE_OK, "\"seq\":1");
    expect(w, BEN, GET(pair_z(w, ANN, BEN)), CODE_OK, JSON("\"kind\":\"pair\",\"peer\":\"%s\",", user_z(ANN)));
    expect(w, ANN, GET(pair_z(w, ANN, BEN)), CODE_OK, JSON("\"kind\":\"pair\",\"peer\":\"%s\",", user_z(BEN)));
    expect(w, CAT, SEND_TO(CAT, "self", "note"), CODE_OK, "\"seq\":1");
    expect(w, CAT, GET(pair_z(w, CAT, CAT)), CODE_OK, JSON("\"kind\":\"pair\",\"peer\":\"%s\",", user_z(CAT)));
    mem_free(g);
    world_end(w);
}

PROMISE(who_left_sees_their_part_and_nothing_that_came_after)
{
    struct world_test *w = sync_world(2);
    char *g = group_of(w, "g", "");
    struct answer *a;

    expect(w, ANN, SEND(g, "m", "old"), CODE_OK, "\"seq\":2");
    expect(w, CAT, LEAVE(g, "l"), CODE_OK, "\"seq\":3");
    expect(w, ANN, UPDATE(g, "u", "\"title\":\"secret\""), CODE_OK, "\"seq\":4");
    expect(w, ANN, SEND(g, "m2", "secret"), CODE_OK, "\"seq\":5");
    for (int i = 0; i < 2; i++) {
        a = ask(w, 0, CAT, 1, i ? GET(g) : LIST(" "));
        assert_int_equal(a->code, CODE_OK);
        assert_int_equal(number_in(a->text, "last_seq"), 3);
        assert_non_null(strstr(a->text, "\"removed\":"));
        assert_null(strstr(a->text, "secret"));
        assert_null(strstr(a->text, "\"role\":\"member\""));
        answer_free(a);
    }
    expect(w, CAT, GET(g), CODE_OK, "\"visible\":[[1,3]]");
    mem_free(g);
    world_end(w);
}

/* The conversations of all pages, as their number in `v`. */
static const char *order(struct world_test *w, user_id user, int limit, char *const *v, size_t n)
{
    static char out[1024];
    char *cursor = NULL;
    size_t at = 0;

    out[0] = 0;
    do {
        json_t *t = tree_of(
            w, user, 1, cursor ? LIST(",\"limit\":%d,\"cursor\":\"%s\"", limit, cursor) : LIST(",\"limit\":%d", limit));
        const json_t *list = json_object_get(t, "conversations");

        assert_in_range(json_array_size(list), 1, limit);
        for (size_t i = 0; i < json_array_size(list); i++)
            for (size_t j = 0; j < n; j++)
                if (strcmp(v[j], text_in(json_array_get(list, i), "conv")) == 0)
                    at += (size_t)snprintf(out + at, sizeof out - at, "%s%zu", at ? " " : "", j);
        assert_int_equal(json_is_true(json_object_get(t, "more")), text_in(t, "cursor") != NULL);
        mem_free(cursor);
        cursor = text_in(t, "cursor") ? mem_dup(str_c(text_in(t, "cursor"))) : NULL;
        json_decref(t);
    } while (cursor);
    return out;
}

PROMISE(a_list_is_newest_activity_first_in_pages)
{
    enum { N = 7 };
    struct world_test *w = sync_world(2);
    char *v[N];

    for (size_t i = 0; i < N; i++)
        v[i] = group_of(w, JSON("g%zu", i), "");
    for (size_t i = 0; i < N; i++) { /* activity in another order than they were made in */
        int64_t before = env_now_ms(w->world.env);

        while (env_now_ms(w->world.env) == before)
            ;
        expect(w, i % 2 ? ANN : BEN, SEND(v[(i * 3) % N], "m", "x"), CODE_OK, "\"seq\":2");
    }
    for (int limit = 1; limit <= N + 1; limit++)
        assert_string_equal(order(w, CAT, limit, v, N), "4 1 5 2 6 3 0");
    expect(w, CAT, LIST(" "), CODE_OK, "\"unread\":1,\"mentions\":0,\"last\":{\"ev\":\"message\"");
    expect(w, DAN, LIST(" "), CODE_OK, "{\"conversations\":[],\"more\":false}");
    expect(w, CAT, LIST(",\"cursor\":\"x\""), CODE_BAD_REQUEST, "cursor");
    expect(w, CAT, LIST(",\"cursor\":\"________________________________\""), CODE_BAD_REQUEST, "cursor");
    expect(w, CAT, LIST(",\"cursor\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\""), CODE_OK,
           "{\"conversations\":[],\"more\":false}");
    for (size_t i = 0; i < N; i++)
        mem_free(v[i]);
    world_end(w);
}

PROMISE(a_page_of_a_list_ends_at_its_bytes)
{
    enum { N = 30 };
    struct world_test *w = sync_world(2);
    char *big = mem_alloc(60001), *json = mem_alloc(70000), cursor[64] = "";
    size_t seen = 0;

    memset(big, 'x', 60000);
    for (user_id u = 100; u < 100 + N; u++) {
        snprintf(
            json, 70000,
            "{\"op\":\"message.send\",\"user\":\"%s\",\"cid\":\"c\",\"content\":{\"type\":\"sealed\",\"data\":\"%s\"}}",
            user_z(u), big);
        expect(w, ANN, json, CODE_OK, "\"seq\":1");
        know_pair(w, ANN, u);
    }
    for (int pages = 0; seen < N; pages++) {
        struct answer *a =
            ask(w, 0, ANN, 1, pages ? LIST(",\"limit\":200,\"cursor\":\"%s\"", cursor) : LIST(",\"limit\":200"));

        assert_int_equal(a->code, CODE_OK);
        assert_in_range(strlen(a->text), 60000, 512 << 10);
        for (const char *at = a->text; (at = strstr(at, "\"kind\":")); at++)
            seen++;
        if (seen < N)
            assert_int_equal(sscanf(strstr(a->text, "\"cursor\":"), "\"cursor\":\"%63[^\"]", cursor), 1);
        answer_free(a);
        assert_in_range(pages, 0, 5);
    }
    assert_int_equal(seen, N);
    mem_free(big);
    mem_free(json);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(one_conversation_is_shown_with_its_settings_and_the_viewers_own),
        HOLDS(who_left_sees_their_part_and_nothing_that_came_after),
        HOLDS(a_list_is_newest_activity_first_in_pages),
        HOLDS(a_page_of_a_list_ends_at_its_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
