#include "services/unread.h"
#include "tests/unit/services/group_fixture.h"

#define HISTORY(conv, ...) JSON("{\"op\":\"history\",\"conv\":\"%s\"%s}", conv, JSON(__VA_ARGS__))

/* The seqs of a page as text, "3 4 5", with a + behind when there is more. */
static const char *page(struct world_test *w, user_id user, const char *json)
{
    static char out[4096];
    struct answer *a = ask(w, 0, user, 1, json);
    size_t n = 0;

    assert_int_equal(a->code, CODE_OK);
    out[0] = 0;
    for (const char *at = a->text; (at = strstr(at, "\"seq\":")); at++)
        n += (size_t)snprintf(out + n, sizeof out - n, "%s%lld", n ? " " : "", (long long)strtoll(at + 6, NULL, 10));
    if (strstr(a->text, "\"more\":true"))
        snprintf(out + n, sizeof out - n, "+");
    answer_free(a);
    return out;
}

static void fill(struct world_test *w, user_id from, const char *conv, int first, int n)
{
    for (int i = first; i < first + n; i++)
        expect(w, from, SEND(conv, JSON("f%d", i), JSON("%d", i)), CODE_OK, "\"seq\":");
}

PROMISE(pages_are_ascending_and_their_bounds_exclusive)
{
    struct world_test *w = world_start(2);
    const char *conv = pair_z(w, ANN, BEN);

    expect(w, ANN, SEND_TO(BEN, "f0", "0"), CODE_OK, "\"seq\":1");
    fill(w, ANN, conv, 1, 9);
    assert_string_equal(page(w, BEN, HISTORY(conv, " ")), "1 2 3 4 5 6 7 8 9 10");
    assert_string_equal(page(w, BEN, HISTORY(conv, ",\"limit\":3")), "8 9 10+");
    assert_string_equal(page(w, BEN, HISTORY(conv, ",\"limit\":3,\"before\":8")), "5 6 7+");
    assert_string_equal(page(w, BEN, HISTORY(conv, ",\"limit\":3,\"before\":4")), "1 2 3");
    assert_string_equal(page(w, BEN, HISTORY(conv, ",\"limit\":3,\"after\":0")), "1 2 3+");
    assert_string_equal(page(w, BEN, HISTORY(conv, ",\"limit\":3,\"after\":7")), "8 9 10");
    assert_string_equal(page(w, BEN, HISTORY(conv, ",\"after\":10")), "");
    assert_string_equal(page(w, BEN, HISTORY(conv, ",\"before\":1")), "");
    assert_string_equal(page(w, BEN, HISTORY(conv, ",\"before\":0")), "");
    assert_string_equal(page(w, BEN, HISTORY(conv, ",\"before\":1000")), "1 2 3 4 5 6 7 8 9 10");
    assert_string_equal(page(w, BEN, HISTORY(conv, ",\"after\":3,\"before\":6")), "4 5");
    world_end(w);
}

PROMISE(each_sees_the_ranges_in_which_they_were_members)
{
    struct world_test *w = world_with_groups(2);
    const char *g = group_new(w, ANN, "g", BEN, 1, false);
    const char *add = JSON("{\"op\":\"group.add\",\"conv\":\"%s\",\"cid\":\"%%s\",\"users\":[\"%s\"]}", g, user_z(CAT));
    const char *rm =
        JSON("{\"op\":\"group.remove\",\"conv\":\"%s\",\"cid\":\"%%s\",\"users\":[\"%s\"]}", g, user_z(CAT));

    fill(w, ANN, g, 0, 3); /* 2 3 4 */
    expect(w, ANN, json_z((char[4096]){0}, add, "in1"), CODE_OK, "\"seq\":5");
    fill(w, ANN, g, 10, 2); /* 6 7 */
    expect(w, ANN, json_z((char[4096]){0}, rm, "out1"), CODE_OK, "\"seq\":8");
    fill(w, ANN, g, 20, 3); /* 9 10 11 */
    assert_string_equal(page(w, CAT, HISTORY(g, " ")), "5 6 7 8");
    expect(w, ANN, json_z((char[4096]){0}, add, "in2"), CODE_OK, "\"seq\":12");
    fill(w, ANN, g, 30, 2); /* 13 14 */
    assert_string_equal(page(w, CAT, HISTORY(g, " ")), "5 6 7 8 12 13 14");
    assert_string_equal(page(w, CAT, HISTORY(g, ",\"limit\":5")), "7 8 12 13 14+");
    assert_string_equal(page(w, CAT, HISTORY(g, ",\"limit\":3")), "12 13 14+");
    assert_string_equal(page(w, CAT, HISTORY(g, ",\"limit\":4,\"after\":2")), "5 6 7 8+");
    assert_string_equal(page(w, CAT, HISTORY(g, ",\"limit\":2,\"after\":8")), "12 13+");
    assert_string_equal(page(w, CAT, HISTORY(g, ",\"limit\":2,\"before\":12")), "7 8+");
    assert_string_equal(page(w, BEN, HISTORY(g, ",\"limit\":2")), "13 14+");
    expect(w, DAN, HISTORY(g, " "), CODE_NOT_FOUND, "no such conversation");
    world_end(w);
}

PROMISE(a_page_ends_at_its_bytes_with_at_least_one_entry)
{
    struct world_test *w = world_start(1);
    char *big = mem_alloc(60001), *json = mem_alloc(70000);
    size_t seen = 0;
    int64_t before = 1000;

    memset(big, 'x', 60000);
    for (int i = 0; i < 20; i++) {
        snprintf(json, 70000,
                 "{\"op\":\"message.send\",\"user\":\"%s\",\"cid\":\"c%d\",\"content\":{\"type\":\"sealed\",\"data\":"
                 "\"%s\"}}",
                 user_z(BEN), i, big);
        expect(w, ANN, json, CODE_OK, "\"seq\":");
    }
    for (int pages = 0; seen < 20; pages++) {
        struct answer *a =
            ask(w, 0, BEN, 1, HISTORY(pair_z(w, ANN, BEN), ",\"before\":%lld,\"limit\":200", (long long)before));

        assert_int_equal(a->code, CODE_OK);
        assert_in_range(strlen(a->text), 60000, 512 << 10);
        before = number_in(a->text, "seq"); /* the first of the page: the oldest */
        for (const char *at = a->text; (at = strstr(at, "\"seq\":")); at++)
            seen++;
        assert_int_equal(strstr(a->text, "\"more\":true") != NULL, seen < 20);
        answer_free(a);
        assert_in_range(pages, 0, 5);
    }
    mem_free(big);
    mem_free(json);
    world_end(w);
}

/* Printed they are longer than stored: what is stored of them has room in a page, and what is printed has not. */
PROMISE(a_page_ends_at_its_printed_bytes_at_the_end_that_is_farther_away)
{
    struct world_test *w = world_start(1);
    char text[2601];
    int64_t first = 1;

    memset(text, 'x', 2600);
    text[2600] = '\0';
    for (int i = 0; i < 220; i++)
        expect(w, ANN, SEND_TO(BEN, JSON("c%d", i), text), CODE_OK, "\"seq\":");
    for (int newest = 0; newest < 2; newest++) {
        struct answer *a =
            ask(w, 0, BEN, 1, HISTORY(pair_z(w, ANN, BEN), "%s,\"limit\":200", newest ? "" : ",\"after\":0"));
        int64_t n = 0, from = number_in(a->text, "seq");

        assert_int_equal(a->code, CODE_OK);
        assert_in_range(strlen(a->text), (512 << 10) - 3000, 512 << 10);
        for (const char *at = a->text; (at = strstr(at, "\"seq\":")); at++)
            assert_int_equal(strtoll(at + 6, NULL, 10), from + n++);
        if (newest)
            first = 220 - n + 1;
        assert_int_equal(from, first);
        assert_non_null(strstr(a->text, "\"more\":true"));
        answer_free(a);
    }
    world_end(w);
}

/* Unread, as sync and lists will ask for it. */
struct asking {
    struct conv *c;
    struct request *q;
};
static enum err count_step(struct reactor *r, void *arg, struct lsm_need *need)
{
    struct asking *a = arg;
    struct conv *c = a->c;
    uint64_t n = 0;
    enum err err = unread_count(r, c, authority_member(conv_committed(c), a->q->actor.user), need, &n);

    if (err == ERR_AGAIN)
        return err;
    assert_ok(err);
    buf_printf(&a->q->out, "{\"unread\":%llu}", (unsigned long long)n);
    reactor_ok(r, a->q);
    conv_unpin(r, c);
    return ERR_OK;
}
static void count_start(struct reactor *r, struct conv *c, struct request *q)
{
    struct asking *a = arena_alloc(&q->arena, sizeof *a);

    *a = (struct asking){c, q};
    conv_pin(c);
    reactor_read(r, count_step, a);
}
static void op_count(void *service, struct request *q)
{
    shard_read(service, &q->args->conversation_get.conv, q, count_start);
}
#define UNREAD(user, conv, n) \
    expect(w, user, JSON("{\"op\":\"conversation.get\",\"conv\":\"%s\"}", conv), CODE_OK, "{\"unread\":" #n "}")
#define READ(user, conv, n) \
    expect(w, user, JSON("{\"op\":\"receipt\",\"conv\":\"%s\",\"read\":%d}", conv, n), CODE_OK, "{}")

PROMISE(unread_are_the_messages_after_the_read_cursor_that_one_may_see)
{
    struct world_test *w = world_with_groups(2);
    char *g;

    world_close(w);
    w->ops[OP_conversation_get] = op_count;
    world_open(w);
    g = mem_dup(str_c(group_new(w, ANN, "g", BEN, 1, false)));
    for (int round = 0; round < 2; round++) {
        if (round == 0) {
            fill(w, ANN, g, 0, 3); /* 2 3 4 */
            expect(w, ANN,
                   JSON("{\"op\":\"group.add\",\"conv\":\"%s\",\"cid\":\"in\",\"users\":[\"%s\"]}", g, user_z(CAT)),
                   CODE_OK, "5");
            fill(w, ANN, g, 10, 4); /* 6 7 8 9 */
            expect(w, ANN,
                   JSON("{\"op\":\"group.remove\",\"conv\":\"%s\",\"cid\":\"out\",\"users\":[\"%s\"]}", g, user_z(CAT)),
                   CODE_OK, "10");
            fill(w, ANN, g, 20, 2); /* 11 12 */
            expect(w, ANN,
                   JSON("{\"op\":\"group.add\",\"conv\":\"%s\",\"cid\":\"in2\",\"users\":[\"%s\"]}", g, user_z(CAT)),
                   CODE_OK, "13");
            fill(w, ANN, g, 30, 1); /* 14 */
        }
        UNREAD(ANN, g, 0); /* who writes has read */
        UNREAD(BEN, g, 10);
        UNREAD(CAT, g, 5); /* 6 7 8 9 and 14 */
        world_crash(w);
    }
    READ(CAT, g, 7);
    UNREAD(CAT, g, 3);
    READ(BEN, g, 12);
    UNREAD(BEN, g, 1);
    READ(CAT, g, 14);
    UNREAD(CAT, g, 0);
    mem_free(g);
    world_end(w);
}

/* The second range's entries are not in the kept end yet, which moves when they are added. */
PROMISE(a_page_of_two_ranges_is_right_while_the_end_that_is_kept_grows)
{
    struct world_test *w = world_with_groups(1);
    const char *g = group_new(w, ANN, "g", BEN, 1, false);
    const char *users = JSON("\"conv\":\"%s\",\"users\":[\"%s\"]", g, user_z(CAT));

    expect(w, ANN, JSON("{\"op\":\"group.add\",\"cid\":\"in1\",%s}", users), CODE_OK, "\"seq\":2");
    fill(w, ANN, g, 0, 8); /* 3 to 10 */
    expect(w, ANN, JSON("{\"op\":\"group.remove\",\"cid\":\"out\",%s}", users), CODE_OK, "\"seq\":11");
    fill(w, ANN, g, 50, 1); /* 12, which CAT does not see */
    expect(w, ANN, JSON("{\"op\":\"group.add\",\"cid\":\"in2\",%s}", users), CODE_OK, "\"seq\":13");
    for (int i = 0; i < 3; i++)
        assert_string_equal(page(w, ANN, HISTORY(g, ",\"limit\":13")), "1 2 3 4 5 6 7 8 9 10 11 12 13");
    fill(w, ANN, g, 100, 40); /* 14 to 53 */
    assert_true(strncmp(page(w, CAT, HISTORY(g, ",\"after\":4,\"limit\":100")), "5 6 7 8 9 10 11 13 14 15", 24) == 0);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(pages_are_ascending_and_their_bounds_exclusive),
        HOLDS(each_sees_the_ranges_in_which_they_were_members),
        HOLDS(a_page_of_two_ranges_is_right_while_the_end_that_is_kept_grows),
        HOLDS(a_page_ends_at_its_bytes_with_at_least_one_entry),
        HOLDS(a_page_ends_at_its_printed_bytes_at_the_end_that_is_farther_away),
        HOLDS(unread_are_the_messages_after_the_read_cursor_that_one_may_see),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
