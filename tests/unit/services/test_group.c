#include "tests/unit/services/group_world.h"

/* "ann:owner ben:member …", in the order listed, with a + behind when there is more. */
static const char *roles(struct world_test *w, user_id viewer, const char *json)
{
    static const struct {
        user_id user;
        const char *name;
    } names[] = {{ANN, "ann"}, {BEN, "ben"}, {CAT, "cat"}, {DAN, "dan"}};
    static char out[256];
    struct answer *a = ask(w, 1 % w->reactors, viewer, 1, json);
    size_t n = 0;

    assert_int_equal(a->code, CODE_OK);
    out[0] = 0;
    for (const char *at = a->text; (at = strstr(at, "{\"user\":")); at++) {
        char role[16];

        for (size_t i = 0; i < 4; i++) {
            if (strncmp(at + 9, user_z(names[i].user), USER_TEXT) == 0)
                n += (size_t)snprintf(out + n, sizeof out - n, "%s%s:", n ? " " : "", names[i].name);
        }
        assert_int_equal(sscanf(strstr(at, "\"role\":"), "\"role\":\"%15[a-z]", role), 1);
        assert_true(number_in(at, "joined_at") > 0);
        n += (size_t)snprintf(out + n, sizeof out - n, "%s", role);
    }
    if (strstr(a->text, "\"more\":true"))
        snprintf(out + n, sizeof out - n, "+");
    answer_free(a);
    return out;
}
#define ROLES(w, viewer, conv) roles(w, viewer, MEMBERS(conv, " "))

static struct world_test *start(unsigned reactors)
{
    struct world_test *w = world_of_groups(reactors);

    world_open(w);
    return w;
}
/* ANN's group of ANN, BEN and CAT. */
static char *make(struct world_test *w)
{
    expect(w, ANN, CREATE("g", USERS_OF(BEN, CAT), " "), CODE_OK, "\"seq\":1");
    return group_z(w, ANN, "g");
}

PROMISE(a_group_begins_with_one_entry_that_says_all)
{
    struct world_test *w = start(2);
    struct session *ben = session_open(w, BEN, 1, 1);
    char *g, *events;

    expect(w, ANN, CREATE("g", USERS_OF(BEN, CAT, ANN), ",\"announce\":true,\"description\":\"d\""), CODE_OK,
           "\"seq\":1");
    g = group_z(w, ANN, "g");
    events = events_of(w, ben, 1);
    assert_non_null(
        strstr(events, JSON("{\"ev\":\"created\",\"conv\":\"%s\",\"seq\":1,\"from\":\"%s\",", g, user_z(ANN))));
    assert_non_null(strstr(events, JSON("\"members\":[{\"user\":\"%s\",\"role\":\"member\"},{\"user\":\"%s\",\"role\":"
                                        "\"member\"},{\"user\":\"%s\",\"role\":\"owner\"}]",
                                        user_z(BEN), user_z(CAT), user_z(ANN))));
    assert_non_null(strstr(
        events, "\"title\":\"g\",\"description\":\"d\",\"announce\":true,\"locked\":false,\"history\":\"joined\""));
    assert_string_equal(ROLES(w, CAT, g), "ann:owner ben:member cat:member");
    expect(w, BEN, SEND(g, "m1", "no"), CODE_FORBIDDEN, "only admins");
    expect(w, ANN, SEND(g, "m1", "yes"), CODE_OK, "\"seq\":2");
    mem_free(events);
    mem_free(g);
    world_end(w);
}

PROMISE(creating_again_with_the_same_cid_finds_the_same_group)
{
    struct world_test *w = start(2);
    char *g = make(w);

    for (int round = 0; round < 2; round++) {
        expect(w, ANN, CREATE("g", USERS_OF(BEN, CAT), " "), CODE_OK, JSON("{\"conv\":\"%s\",\"seq\":1,\"ts\":", g));
        expect(w, ANN, CREATE("g", USERS_OF(BEN, CAT), " "), CODE_OK, "\"dup\":true");
        expect(w, ANN, CREATE("g", USERS_OF(BEN), " "), CODE_CONFLICT, "cid");
        expect(w, ANN, CREATE("g", USERS_OF(BEN, CAT), ",\"locked\":true"), CODE_CONFLICT, "cid");
        expect(w, ANN, UPDATE(g, "g", "\"title\":\"g\""), CODE_CONFLICT, "cid");
        world_crash(w);
    }
    expect(w, BEN, CREATE("g", USERS_OF(ANN), " "), CODE_OK, "\"seq\":1,\"ts\":"); /* BEN's own */
    assert_string_equal(ROLES(w, ANN, g), "ann:owner ben:member cat:member");
    mem_free(g);
    world_end(w);
}

PROMISE(members_must_exist_and_fit)
{
    struct world_test *w = world_of_groups(2);
    char *g, *h;

    w->limits.group_members = 3;
    world_open(w);
    expect(w, ANN, CREATE("a", USERS_OF(BEN, 99999), " "), CODE_NOT_FOUND, "members: there is no such user");
    expect(w, ANN, CREATE("a", "[\"u\"]", " "), CODE_NOT_FOUND, "members: there is no such user");
    expect(w, ANN, CREATE("a", USERS_OF(BEN, CAT, DAN), " "), CODE_TOO_LARGE, "members");
    expect(w, ANN, JSON("{\"op\":\"group.create\",\"title\":\"\",\"cid\":\"a\",\"members\":[]}"), CODE_BAD_REQUEST,
           "title");
    expect(w, ANN, CREATE("a", "[]", " "), CODE_OK, "\"seq\":1"); /* what was refused used up no cid */
    g = group_z(w, ANN, "a");
    expect(w, ANN, ADD(g, "x", USERS_OF(BEN, 99999)), CODE_NOT_FOUND, "users: there is no such user");
    expect(w, ANN, ADD(g, "x", USERS_OF(BEN, CAT, DAN)), CODE_TOO_LARGE, "users");
    expect(w, ANN, ADD(g, "x", "[]"), CODE_BAD_REQUEST, "users");
    assert_string_equal(ROLES(w, ANN, g), "ann:owner");
    expect(w, ANN, ADD(g, "x", USERS_OF(BEN, CAT)), CODE_OK, "\"seq\":2");
    expect(w, ANN, ADD(g, "y", USERS_OF(DAN)), CODE_TOO_LARGE, "users");
    h = group_z(w, ANN, "none");
    expect(w, ANN, ADD(h, "x", USERS_OF(BEN)), CODE_NOT_FOUND, "no such conversation");
    mem_free(h);
    mem_free(g);
    world_end(w);
}

PROMISE(adding_who_is_in_is_ok_with_the_seq_that_stands)
{
    struct world_test *w = start(2);
    char *g = make(w);

    expect(w, ANN, SEND(g, "m", "x"), CODE_OK, "\"seq\":2");
    expect(w, ANN, ADD(g, "d", USERS_OF(DAN, BEN)), CODE_OK, "\"seq\":3");
    expect(w, ANN, SEND(g, "m2", "x"), CODE_OK, "\"seq\":4");
    expect(w, ANN, ADD(g, "e", USERS_OF(BEN)), CODE_OK, "\"seq\":1");
    expect(w, ANN, ADD(g, "f", USERS_OF(BEN, DAN)), CODE_OK, "\"seq\":3");
    expect(w, ANN, SEND(g, "m3", "x"), CODE_OK, "\"seq\":5");
    expect(w, DAN, HISTORY(g, " "), CODE_OK, JSON("\"added\":[{\"user\":\"%s\",\"role\":\"member\"}]}", user_z(DAN)));
    mem_free(g);
    world_end(w);
}

/* The cid of a write that changed nothing is kept like any other: else a retry could undo what others did since. */
PROMISE(a_retry_of_what_changed_nothing_changes_nothing_later_either)
{
    struct world_test *w = start(2);
    char *g = make(w);
    struct answer *a[2];
    int dups = 0;

    for (int i = 0; i < 2; i++)
        a[i] = ask_start(w, (unsigned)i, ANN, 1, ADD(g, "e", USERS_OF(BEN)));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(answer_wait(a[i])->code, CODE_OK);
        assert_int_equal(number_in(a[i]->text, "seq"), 1);
        dups += strstr(a[i]->text, "\"dup\":true") != NULL;
        answer_free(a[i]);
    }
    assert_int_equal(dups, 1);
    expect(w, ANN, UPDATE(g, "u", "\"announce\":false"), CODE_OK, "\"seq\":1");
    expect(w, ANN, UPDATE(g, "u", "\"announce\":true"), CODE_CONFLICT, "cid");
    expect(w, ANN, SEND(g, "u", "x"), CODE_CONFLICT, "cid");
    expect(w, ANN, REMOVE(g, "r", USERS_OF(BEN)), CODE_OK, "\"seq\":2");
    for (int i = 0; i < 2; i++) {
        expect(w, ANN, ADD(g, "e", USERS_OF(BEN)), CODE_OK, "\"seq\":1");
        expect(w, ANN, ADD(g, "e", USERS_OF(BEN)), CODE_OK, "\"dup\":true");
        expect(w, ANN, ADD(g, "e", USERS_OF(DAN)), CODE_CONFLICT, "cid");
        expect(w, BEN, SEND(g, JSON("b%d", i), "x"), CODE_FORBIDDEN, "not a member");
        if (i == 0)
            world_crash(w);
    }
    expect(w, ANN, SEND(g, "m", "x"), CODE_OK, "\"seq\":3");
    mem_free(g);
    world_end(w);
}

PROMISE(rights_follow_the_role)
{
    struct world_test *w = start(2);
    char *g = make(w), *random = group_z(w, DAN, "none");
    const char *ops[] = {UPDATE("%s", "x", "\"title\":\"t\""), ADD("%s", "x", USERS_OF(DAN)),
                         REMOVE("%s", "x", USERS_OF(BEN)),     LEAVE("%s", "x"),
                         ROLE("%s", "x", BEN, "admin"),        MEMBERS("%s", " ")};

    for (size_t i = 0; i < 6; i++) { /* who is not in it cannot tell it from none */
        expect(w, DAN, json_z((char[4096]){0}, ops[i], g), CODE_NOT_FOUND, "no such conversation");
        expect(w, DAN, json_z((char[4096]){0}, ops[i], random), CODE_NOT_FOUND, "no such conversation");
    }
    expect(w, BEN, ADD(g, "x", USERS_OF(DAN)), CODE_FORBIDDEN, "admins");
    expect(w, BEN, REMOVE(g, "x", USERS_OF(CAT)), CODE_FORBIDDEN, "admins");
    expect(w, BEN, ROLE(g, "x", CAT, "admin"), CODE_FORBIDDEN, "admins");
    expect(w, BEN, UPDATE(g, "x", "\"announce\":true"), CODE_FORBIDDEN, "admins");
    expect(w, BEN, UPDATE(g, "x", "\"title\":\"by ben\""), CODE_OK, "\"seq\":2");
    expect(w, ANN, UPDATE(g, "x", "\"locked\":true,\"title\":\"by ben\""), CODE_OK, "\"seq\":3");
    expect(w, BEN, UPDATE(g, "y", "\"title\":\"no\""), CODE_FORBIDDEN, "admins");
    expect(w, ANN, ROLE(g, "r1", BEN, "admin"), CODE_OK, "\"seq\":4");
    expect(w, BEN, UPDATE(g, "y", "\"title\":\"yes\""), CODE_OK, "\"seq\":5");
    expect(w, BEN, REMOVE(g, "y2", USERS_OF(CAT, ANN)), CODE_FORBIDDEN, "owner");
    expect(w, BEN, REMOVE(g, "y2", USERS_OF(CAT, DAN)), CODE_NOT_FOUND, "users");
    expect(w, BEN, REMOVE(g, "y2", USERS_OF(BEN)), CODE_BAD_REQUEST, "group.leave");
    assert_string_equal(ROLES(w, ANN, g), "ann:owner ben:admin cat:member"); /* all or nothing */
    expect(w, BEN, ROLE(g, "r2", CAT, "owner"), CODE_FORBIDDEN, "owner");
    expect(w, BEN, ROLE(g, "r2", ANN, "member"), CODE_FORBIDDEN, "owner");
    expect(w, BEN, ROLE(g, "r2", CAT, "admin"), CODE_OK, "\"seq\":6");
    expect(w, BEN, ROLE(g, "r3", CAT, "admin"), CODE_OK, "\"seq\":6"); /* as it was */
    expect(w, BEN, ROLE(g, "r4", DAN, "admin"), CODE_NOT_FOUND, "user");
    expect(w, ANN, ROLE(g, "r5", ANN, "admin"), CODE_CONFLICT, "last owner");
    expect(w, ANN, ROLE(g, "r6", BEN, "owner"), CODE_OK, "\"seq\":7");
    expect(w, ANN, ROLE(g, "r7", ANN, "admin"), CODE_OK, "\"seq\":8");
    expect(w, BEN, REMOVE(g, "y3", USERS_OF(CAT, ANN)), CODE_OK, "\"seq\":9");
    assert_string_equal(ROLES(w, BEN, g), "ben:owner");
    mem_free(random);
    mem_free(g);
    world_end(w);
}

PROMISE(settings_that_stay_as_they_are_make_no_entry)
{
    struct world_test *w = start(1);
    char *g = make(w);

    expect(w, ANN, UPDATE(g, "a", "\"title\":\"g\",\"announce\":false,\"history\":\"joined\",\"description\":\"\""),
           CODE_OK, "\"seq\":1");
    expect(w, ANN, UPDATE(g, "b", "\"title\":\"new\",\"announce\":false"), CODE_OK, "\"seq\":2");
    expect(w, ANN, HISTORY(g, " "), CODE_OK, "\"cid\":\"b\",\"title\":\"new\"}");
    expect(w, ANN, UPDATE(g, "c", "\"title\":\"\""), CODE_BAD_REQUEST, "title");
    expect(w, ANN, JSON("{\"op\":\"group.update\",\"conv\":\"%s\",\"cid\":\"c\"}", g), CODE_BAD_REQUEST, "setting");
    expect(w, ANN, UPDATE(g, "d", "\"history\":\"all\""), CODE_OK, "\"seq\":3");
    expect(w, ANN, ADD(g, "e", USERS_OF(DAN)), CODE_OK, "\"seq\":4");
    expect(w, DAN, HISTORY(g, " "), CODE_OK, "\"ev\":\"created\"");
    mem_free(g);
    world_end(w);
}

PROMISE(who_is_removed_keeps_the_past_and_nothing_after)
{
    struct world_test *w = start(2);
    struct session *cat = session_open(w, CAT, 1, 1);
    char *g = make(w), *events;

    expect(w, CAT, SEND(g, "c1", "hello"), CODE_OK, "\"seq\":2");
    expect(w, ANN, REMOVE(g, "r", USERS_OF(CAT)), CODE_OK, "\"seq\":3");
    events = events_of(w, cat, 3);
    assert_non_null(strstr(events, JSON("\"seq\":3,\"from\":\"%s\"", user_z(ANN))));
    assert_non_null(strstr(events, JSON("\"removed\":[\"%s\"]", user_z(CAT))));
    mem_free(events);
    expect(w, ANN, SEND(g, "a1", "secret"), CODE_OK, "\"seq\":4");
    expect(w, CAT, SEND(g, "c2", "x"), CODE_FORBIDDEN, "not a member any more");
    expect(w, CAT, SEND(g, "c1", "hello"), CODE_OK, "\"dup\":true"); /* repeats are looked for before rights */
    expect(w, CAT, UPDATE(g, "c3", "\"title\":\"t\""), CODE_FORBIDDEN, "not a member any more");
    expect(w, CAT, LEAVE(g, "c3"), CODE_FORBIDDEN, "not a member any more");
    expect(w, CAT, MEMBERS(g, " "), CODE_FORBIDDEN, "not a member any more");
    expect(w, CAT, HISTORY(g, " "), CODE_OK, "\"seq\":3");
    expect(w, ANN, ADD(g, "back", USERS_OF(CAT)), CODE_OK, "\"seq\":5");
    expect(w, ANN, ADD(g, "back", USERS_OF(CAT)), CODE_OK, "\"dup\":true");
    expect(w, CAT, HISTORY(g, ",\"after\":3"), CODE_OK, "{\"entries\":[{\"ev\":\"members\"");
    mem_free(events_of(w, cat, 4)); /* told by another thread */
    assert_int_equal(events_so_far(w, cat), 4);
    mem_free(g);
    world_end(w);
}

PROMISE(the_last_owner_who_leaves_hands_over)
{
    struct world_test *w = start(2);
    struct session *ben = session_open(w, BEN, 1, 0);
    char *g = make(w), *events;

    expect(w, ANN, ADD(g, "d", USERS_OF(DAN)), CODE_OK, "\"seq\":2");
    expect(w, ANN, ROLE(g, "r1", DAN, "admin"), CODE_OK, "\"seq\":3");
    expect(w, ANN, LEAVE(g, "l1"), CODE_OK, "\"seq\":4");
    expect(w, ANN, LEAVE(g, "l1"), CODE_OK, "\"dup\":true");
    expect(w, ANN, LEAVE(g, "l2"), CODE_FORBIDDEN, "not a member any more");
    assert_string_equal(ROLES(w, BEN, g), "ben:member cat:member dan:owner"); /* the admin */
    events = events_of(w, ben, 4);
    assert_non_null(strstr(
        events, JSON("\"removed\":[\"%s\"],\"role\":{\"user\":\"%s\",\"role\":\"owner\"}", user_z(ANN), user_z(DAN))));
    mem_free(events);
    expect(w, DAN, ADD(g, "a", USERS_OF(ANN)), CODE_OK, "\"seq\":5");
    assert_string_equal(ROLES(w, ANN, g),
                        "ann:member ben:member cat:member dan:owner"); /* who comes back begins anew */
    expect(w, DAN, LEAVE(g, "l3"), CODE_OK, "\"seq\":6");
    world_crash(w);
    assert_string_equal(ROLES(w, ANN, g), "ann:member ben:owner cat:member"); /* in longest */
    expect(w, CAT, LEAVE(g, "l4"), CODE_OK, "\"seq\":7");
    expect(w, BEN, LEAVE(g, "l5"), CODE_OK, "\"seq\":8");
    assert_string_equal(ROLES(w, ANN, g), "ann:owner");
    expect(w, ANN, LEAVE(g, "l6"), CODE_OK, "\"seq\":9");
    expect(w, ANN, HISTORY(g, ",\"limit\":1"), CODE_OK, "\"seq\":9");
    mem_free(g);
    world_end(w);
}

PROMISE(writes_sent_together_take_effect_in_their_order)
{
    struct world_test *w = start(2);
    char *g = group_z(w, ANN, "g");
    struct answer *a[] = {
        ask_start(w, 0, ANN, 1, CREATE("g", USERS_OF(BEN), " ")),
        ask_start(w, 0, ANN, 1, ADD(g, "a", USERS_OF(CAT))),
        ask_start(w, 0, ANN, 1, SEND(g, "m", "for all three")),
        ask_start(w, 0, ANN, 1, REMOVE(g, "r", USERS_OF(CAT))),
        ask_start(w, 0, ANN, 1, CREATE("g", USERS_OF(BEN), " ")),
        ask_start(w, 0, ANN, 1, LEAVE(g, "l")),
        ask_start(w, 0, ANN, 1, SEND(g, "m2", "too late")),
    };
    const int64_t seqs[] = {1, 2, 3, 4, 1, 5, -1};

    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(answer_wait(a[i])->code, i == 6 ? CODE_FORBIDDEN : CODE_OK);
        assert_int_equal(number_in(a[i]->text, "seq"), seqs[i]);
        answer_free(a[i]);
    }
    expect(w, CAT, HISTORY(g, " "), CODE_OK, "for all three");
    mem_free(g);
    world_end(w);
}

PROMISE(members_come_in_pages)
{
    struct world_test *w = start(2);
    char *g = make(w), cursor[64];
    struct answer *a;

    a = ask(w, 0, BEN, 1, MEMBERS(g, ",\"limit\":2"));
    assert_int_equal(a->code, CODE_OK);
    assert_int_equal(sscanf(strstr(a->text, "\"cursor\":"), "\"cursor\":\"%63[a-z0-9]", cursor), 1);
    answer_free(a);
    assert_string_equal(roles(w, BEN, MEMBERS(g, ",\"limit\":2")), "ann:owner ben:member+");
    assert_string_equal(roles(w, BEN, MEMBERS(g, ",\"limit\":2,\"cursor\":\"%s\"", cursor)), "cat:member");
    expect(w, BEN, MEMBERS(g, ",\"cursor\":\"nonsense\""), CODE_BAD_REQUEST, "cursor");
    expect(w, ANN, SEND_TO(BEN, "p", "hi"), CODE_OK, "\"seq\":1");
    assert_string_equal(ROLES(w, BEN, pair_z(w, ANN, BEN)), "ann:member ben:member");
    expect(w, ANN, ADD(pair_z(w, ANN, BEN), "p2", USERS_OF(CAT)), CODE_BAD_REQUEST, "not a group");
    expect(w, ANN, LEAVE(pair_z(w, ANN, BEN), "p2"), CODE_BAD_REQUEST, "not a group");
    mem_free(g);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_group_begins_with_one_entry_that_says_all),
        HOLDS(creating_again_with_the_same_cid_finds_the_same_group),
        HOLDS(members_must_exist_and_fit),
        HOLDS(adding_who_is_in_is_ok_with_the_seq_that_stands),
        HOLDS(a_retry_of_what_changed_nothing_changes_nothing_later_either),
        HOLDS(rights_follow_the_role),
        HOLDS(settings_that_stay_as_they_are_make_no_entry),
        HOLDS(who_is_removed_keeps_the_past_and_nothing_after),
        HOLDS(the_last_owner_who_leaves_hands_over),
        HOLDS(writes_sent_together_take_effect_in_their_order),
        HOLDS(members_come_in_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
