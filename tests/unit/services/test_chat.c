#include "tests/unit/services/group_fixture.h"

PROMISE(the_first_message_makes_the_conversation_of_two)
{
    struct world_test *w = world_start(2);
    struct session *ben = session_open(w, BEN, 1, 1);
    char *events;

    expect(w, ANN, SEND_TO(BEN, "a1", "hi"), CODE_OK, "\"seq\":1");
    expect(w, BEN, SEND_TO(ANN, "b1", "hello"), CODE_OK, "\"seq\":2");
    expect(w, ANN, SEND(pair_z(w, ANN, BEN), "a2", "by its id"), CODE_OK, "\"seq\":3");
    events = events_of(w, ben, 3);
    assert_non_null(strstr(events, "\"text\":\"hi\""));
    assert_non_null(strstr(events, "\"text\":\"hello\"")); /* another device of the sender's */
    assert_non_null(strstr(events, "\"seq\":3"));
    mem_free(events);
    world_end(w);
}

PROMISE(who_sends_gets_no_event_of_it_on_that_device)
{
    struct world_test *w = world_start(1);
    struct session *phone = session_open(w, ANN, ANN * 10, 0), *desk = session_open(w, ANN, 2, 0);
    char *events;

    expect(w, ANN, SEND_TO(ANN, "a1", "note to self"), CODE_OK, "\"seq\":1");
    events = events_of(w, desk, 1);
    assert_non_null(strstr(events, "note to self"));
    assert_int_equal(events_so_far(w, phone), 0);
    mem_free(events);
    world_end(w);
}

PROMISE(what_one_may_not_know_of_looks_like_what_is_not_there)
{
    struct world_test *w = world_start(2);
    const char *theirs, *nowhere;
    struct answer *a, *b;

    expect(w, ANN, SEND_TO(BEN, "a1", "hi"), CODE_OK, "\"seq\":1");
    theirs = pair_z(w, ANN, BEN);
    nowhere = pair_z(w, ANN, DAN);
    a = ask(w, 0, CAT, 1, SEND(theirs, "c1", "x"));
    b = ask(w, 0, CAT, 1, SEND(nowhere, "c1", "x"));
    assert_int_equal(a->code, CODE_NOT_FOUND);
    assert_int_equal(b->code, CODE_NOT_FOUND);
    assert_string_equal(a->text, b->text);
    answer_free(a);
    answer_free(b);
    expect(w, CAT, JSON("{\"op\":\"history\",\"conv\":\"%s\"}", theirs), CODE_NOT_FOUND,
           a ? "no such conversation" : "");
    expect(w, CAT, SEND("c-never-given", "c1", "x"), CODE_NOT_FOUND, "no such conversation");
    world_end(w);
}

PROMISE(nobody_writes_to_who_does_not_exist_and_only_strangers_are_looked_up)
{
    struct world_test *w = world_start(1);

    expect(w, ANN, SEND_TO(USERS + 1, "a1", "hi"), CODE_NOT_FOUND, "no such user");
    expect(w, ANN,
           JSON("{\"op\":\"message.send\",\"user\":\"u-never-given\",\"cid\":\"x\",\"content\":{\"type\":\"a\"}}"),
           CODE_NOT_FOUND, "no such user");
    expect(w, ANN, SEND_TO(ANN, "a2", "self"), CODE_OK, "\"seq\":1");
    assert_int_equal(__atomic_load_n(&w->users_asked, __ATOMIC_RELAXED), 1);
    expect(w, ANN, SEND_TO(BEN, "a3", "hi"), CODE_OK, "\"seq\":1");
    expect(w, ANN, SEND_TO(BEN, "a4", "hi"), CODE_OK, "\"seq\":2");
    assert_int_equal(__atomic_load_n(&w->users_asked, __ATOMIC_RELAXED), 2);
    world_end(w);
}

#define REPLY(to, cid)                                                                                            \
    JSON("{\"op\":\"message.send\",\"user\":\"%s\",\"cid\":\"%s\",\"reply_to\":%d,\"content\":{\"type\":\"a\"}}", \
         user_z(BEN), cid, to)
#define MENTION(who, cid)                                                                                              \
    JSON(                                                                                                              \
        "{\"op\":\"message.send\",\"user\":\"%s\",\"cid\":\"%s\",\"mentions\":[\"%s\"],\"content\":{\"type\":\"a\"}}", \
        user_z(BEN), cid, user_z(who))

PROMISE(replies_and_mentions_point_at_what_is_there)
{
    struct world_test *w = world_start(1);

    expect(w, ANN, REPLY(1, "r0"), CODE_BAD_REQUEST, "reply_to");
    expect(w, ANN, MENTION(CAT, "m0"), CODE_BAD_REQUEST, "mentions");
    expect(w, ANN, SEND_TO(BEN, "a1", "hi"), CODE_OK, "\"seq\":1");
    expect(w, ANN, REPLY(1, "r1"), CODE_OK, "\"seq\":2");
    expect(w, ANN, REPLY(3, "r2"), CODE_BAD_REQUEST, "reply_to");
    expect(w, ANN, MENTION(CAT, "m1"), CODE_BAD_REQUEST, "mentions");
    expect(w, ANN, MENTION(BEN, "m2"), CODE_OK, "\"seq\":3");
    expect(w, ANN, REPLY(1, "r2"), CODE_OK, "\"seq\":4"); /* a refused write used up no cid */
    world_end(w);
}

PROMISE(in_an_announce_group_only_admins_write_and_who_left_is_forbidden)
{
    struct world_test *w = world_with_groups(2);
    const char *loud = group_new(w, ANN, "g1", BEN, 2, true), *plain = group_new(w, ANN, "g2", BEN, 2, false);

    expect(w, BEN, SEND(loud, "b1", "x"), CODE_FORBIDDEN, "admins");
    expect(w, ANN, SEND(loud, "a1", "x"), CODE_OK, "\"seq\":2");
    expect(w, BEN, SEND(plain, "b1", "x"), CODE_OK, "\"seq\":2");
    expect(w, ANN,
           JSON("{\"op\":\"group.remove\",\"conv\":\"%s\",\"cid\":\"rm\",\"users\":[\"%s\"]}", plain, user_z(BEN)),
           CODE_OK, "\"seq\":3");
    expect(w, BEN, SEND(plain, "b2", "x"), CODE_FORBIDDEN, "member");
    expect(w, BEN, SEND(plain, "b1", "x"), CODE_OK, "\"dup\":true"); /* repeats are looked for before rights */
    expect(w, DAN, SEND(plain, "d1", "x"), CODE_NOT_FOUND, "no such conversation");
    world_end(w);
}

PROMISE(who_is_removed_is_told_so_and_nothing_after)
{
    struct world_test *w = world_with_groups(2);
    const char *g = group_new(w, ANN, "g", BEN, 2, false);
    struct session *ben = session_open(w, BEN, 1, 1), *cat = session_open(w, CAT, 1, 0);
    char *events;

    expect(w, ANN, JSON("{\"op\":\"group.remove\",\"conv\":\"%s\",\"cid\":\"rm\",\"users\":[\"%s\"]}", g, user_z(BEN)),
           CODE_OK, "\"seq\":2");
    expect(w, ANN, SEND(g, "a1", "x"), CODE_OK, "\"seq\":3");
    expect(w, ANN, JSON("{\"op\":\"group.add\",\"conv\":\"%s\",\"cid\":\"add\",\"users\":[\"%s\"]}", g, user_z(BEN)),
           CODE_OK, "\"seq\":4");
    mem_free(events_of(w, cat, 3));
    events = events_of(w, ben, 2);
    assert_non_null(strstr(events, "\"seq\":2"));
    assert_null(strstr(events, "\"seq\":3"));
    assert_non_null(strstr(events, "\"seq\":4"));
    mem_free(events);
    world_end(w);
}

PROMISE(a_draining_server_takes_no_writes_and_knows_its_repeats)
{
    struct world_test *w = world_start(1);

    expect(w, ANN, SEND_TO(BEN, "a1", "hi"), CODE_OK, "\"seq\":1");
    atomic_store(&w->world.draining, true);
    expect(w, ANN, SEND_TO(BEN, "a2", "hi"), CODE_UNAVAILABLE, "going down");
    expect(w, ANN, SEND_TO(BEN, "a1", "hi"), CODE_OK, "\"dup\":true");
    expect(w, ANN, JSON("{\"op\":\"history\",\"conv\":\"%s\"}", pair_z(w, ANN, BEN)), CODE_OK, "\"seq\":1");
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(the_first_message_makes_the_conversation_of_two),
        HOLDS(who_sends_gets_no_event_of_it_on_that_device),
        HOLDS(what_one_may_not_know_of_looks_like_what_is_not_there),
        HOLDS(nobody_writes_to_who_does_not_exist_and_only_strangers_are_looked_up),
        HOLDS(replies_and_mentions_point_at_what_is_there),
        HOLDS(in_an_announce_group_only_admins_write_and_who_left_is_forbidden),
        HOLDS(who_is_removed_is_told_so_and_nothing_after),
        HOLDS(a_draining_server_takes_no_writes_and_knows_its_repeats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
