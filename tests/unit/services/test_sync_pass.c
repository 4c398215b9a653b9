/* Whole passes against what history says, in conversations that grew at random. */
#include "tests/unit/services/sync_world.h"
#include <stdlib.h>

enum { CONVS = 9, GROUPS = 6, PEOPLE = 4, STEPS = 300 };
static const user_id people[PEOPLE] = {ANN, BEN, CAT, DAN};

struct chats {
    struct world_test *w;
    char *conv[CONVS];
    unsigned cid;
};
static unsigned any(unsigned n) { return (unsigned)(rand() % (int)n); }

/* Whatever comes back: rights are not the matter here. */
static void try(struct chats *x, user_id user, const char *json) { answer_free(ask(x->w, any(2), user, 1, json)); }

static void step(struct chats *x)
{
    const char *c = x->conv[any(CONVS)], *cid = JSON("s%u", x->cid++);
    user_id by = people[any(PEOPLE)], to = people[any(PEOPLE)];

    switch (any(12)) {
    case 0:
        try(x, ANN, REMOVE(c, cid, USERS_OF(to)));
        break;
    case 1:
    case 2:
        try(x, ANN, ADD(c, cid, USERS_OF(to)));
        break;
    case 3:
        try(x, by, JSON("{\"op\":\"receipt\",\"conv\":\"%s\",\"delivered\":%u}", c, 1 + any(8)));
        break;
    default:
        try(x, by, SEND(c, cid, "x"));
        break;
    }
}

static void start(struct chats *x, struct world_test *w)
{
    *x = (struct chats){.w = w};
    for (unsigned i = 0; i < GROUPS; i++) {
        expect(w, ANN, CREATE(JSON("g%u", i), USERS_OF(people[1 + i % 3]), " "), CODE_OK, "\"seq\":1");
        x->conv[i] = group_z(w, ANN, JSON("g%u", i));
        for (unsigned j = 0; j < PEOPLE; j++) /* the look-up may say more than is: who is in what, the owner knows */
            knows(people[j], x->conv[i]);
    }
    for (unsigned i = 0; i < CONVS - GROUPS; i++) {
        expect(w, ANN, SEND_TO(people[i + 1], "first", "x"), CODE_OK, "\"seq\":1");
        x->conv[GROUPS + i] = mem_dup(str_c(pair_z(w, ANN, people[i + 1])));
        know_pair(w, ANN, people[i + 1]);
    }
    for (unsigned i = 0; i < STEPS; i++)
        step(x);
}
static void finish(struct chats *x)
{
    for (unsigned i = 0; i < CONVS; i++)
        mem_free(x->conv[i]);
}

/* {conv: [entry…]} of all that the user may see. */
static json_t *all_of(struct chats *x, user_id user)
{
    json_t *all = json_object();

    for (unsigned i = 0; i < CONVS; i++) {
        struct answer *a = ask(x->w, 0, user, 1, HISTORY(x->conv[i], ",\"limit\":200,\"after\":0"));

        if (a->code == CODE_OK) {
            json_t *t = json_loads(a->text, 0, NULL);

            assert_true(json_is_false(json_object_get(t, "more")));
            json_object_set(all, x->conv[i], json_object_get(t, "entries"));
            json_decref(t);
        }
        answer_free(a);
    }
    return all;
}

/* What a pass gave: {conv: [entry…]}, and the conversations in the order they came. */
struct passed {
    json_t *entries, *order;
    unsigned pages;
};

static void take(struct passed *p, const json_t *page, size_t limit)
{
    const json_t *list = json_object_get(page, "conversations");
    size_t n = 0;

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *c = json_array_get(list, i);
        json_t *got = json_object_get(p->entries, text_in(c, "conv")), *new = json_object_get(c, "entries");

        if (!got) {
            json_array_append_new(p->order, json_string(text_in(c, "conv")));
            json_object_set_new(p->entries, text_in(c, "conv"), got = json_array());
        }
        assert_true(json_array_size(new) > 0);
        n += json_array_size(new);
        json_array_extend(got, new);
    }
    assert_true(n <= limit);
    assert_true(n == limit || json_is_false(json_object_get(page, "more")));
    p->pages++;
}

static struct passed pass(struct chats *x, user_id user, const char *since, bool is_busy)
{
    struct passed p = {json_object(), json_array(), 0};
    char *cursor = NULL;
    bool more = true;

    while (more) {
        size_t limit = 1 + any(9);
        json_t *t = sync_page(x->w, user, 70, JSON("%s,\"limit\":%zu", cursor ? "" : since, limit), cursor);

        take(&p, t, limit);
        more = json_is_true(json_object_get(t, "more"));
        assert_int_equal(more, text_in(t, "cursor") != NULL);
        mem_free(cursor);
        cursor = more ? mem_dup(str_c(text_in(t, "cursor"))) : NULL;
        json_decref(t);
        for (unsigned i = 0; is_busy && i < 3; i++)
            step(x);
        assert_in_range(p.pages, 1, 2000);
    }
    return p;
}
static void forget(struct passed *p)
{
    json_decref(p->entries);
    json_decref(p->order);
}

static int64_t last_ts(const json_t *entries)
{
    return int_in(json_array_get(entries, json_array_size(entries) - 1), "ts");
}

/* Everything behind `from`, each once and in order; and oldest activity first. */
static void check_quiet(const struct passed *p, const json_t *all, const json_t *from)
{
    const char *conv;
    json_t *entries;
    int64_t before = 0;

    json_object_foreach((json_t *)(uintptr_t)all, conv, entries)
    {
        const json_t *got = json_object_get(p->entries, conv);
        size_t at = 0;

        for (size_t i = 0; i < json_array_size(entries); i++) {
            const json_t *e = json_array_get(entries, i);

            if (int_in(e, "seq") > int_in(from, conv))
                assert_true(json_equal(e, json_array_get(got, at++)));
        }
        assert_int_equal(at, json_array_size(got));
    }
    for (size_t i = 0; i < json_array_size(p->order); i++) {
        int64_t ts = last_ts(json_object_get(all, json_string_value(json_array_get(p->order, i))));

        assert_true(ts >= before);
        before = ts;
    }
}

/* Nothing twice, nothing out of order, nothing that they may not see, and everything that was there at the beginning.
 */
static void check_busy(const struct passed *p, const json_t *before, const json_t *after)
{
    const char *conv;
    json_t *entries;

    json_object_foreach(p->entries, conv, entries)
    {
        const json_t *may = json_object_get(after, conv);
        size_t at = 0;

        for (size_t i = 0; i < json_array_size(may) && at < json_array_size(entries); i++)
            at += (size_t)json_equal(json_array_get(may, i), json_array_get(entries, at));
        assert_int_equal(at, json_array_size(entries));
        assert_true(json_array_size(entries) >= json_array_size(json_object_get(before, conv)));
    }
    json_object_foreach((json_t *)(uintptr_t)before, conv, entries) assert_non_null(json_object_get(p->entries, conv));
}

PROMISE(a_pass_gives_all_that_may_be_seen_once_and_in_order)
{
    struct world_test *w = sync_world(2);
    struct chats x;

    srand(7);
    start(&x, w);
    for (unsigned i = 0; i < PEOPLE * 3; i++) {
        json_t *all = all_of(&x, people[i % PEOPLE]), *none = json_object();
        struct passed p = pass(&x, people[i % PEOPLE], i % 2 ? ",\"since\":{}" : "", false);

        check_quiet(&p, all, none);
        forget(&p);
        json_decref(none);
        json_decref(all);
    }
    finish(&x);
    world_end(w);
}

PROMISE(a_pass_begins_at_the_positions_given)
{
    struct world_test *w = sync_world(2);
    struct chats x;

    srand(8);
    start(&x, w);
    for (unsigned i = 0; i < PEOPLE * 4; i++) {
        json_t *all = all_of(&x, people[i % PEOPLE]), *from = json_object(), *entries;
        const char *conv;
        struct passed p;
        char *text;

        json_object_foreach(all, conv, entries)
        {
            size_t n = json_array_size(entries);

            if (any(4)) /* some position that the client may have got to; mostly the last */
                json_object_set(from, conv,
                                json_object_get(json_array_get(entries, any(2) ? n - 1 : any((unsigned)n)), "seq"));
        }
        text = json_dumps(from, JSON_COMPACT);
        p = pass(&x, people[i % PEOPLE], JSON(",\"since\":%s", text), false);
        check_quiet(&p, all, from);
        forget(&p);
        free(text);
        json_decref(from);
        json_decref(all);
    }
    finish(&x);
    world_end(w);
}

PROMISE(a_pass_while_all_goes_on_skips_nothing_and_repeats_nothing)
{
    struct world_test *w = sync_world(2);
    struct chats x;

    srand(9);
    start(&x, w);
    for (unsigned i = 0; i < PEOPLE; i++) {
        json_t *before = all_of(&x, people[i]), *after;
        struct passed p = pass(&x, people[i], i % 2 ? ",\"since\":{}" : "", true);

        after = all_of(&x, people[i]);
        check_busy(&p, before, after);
        forget(&p);
        json_decref(before);
        json_decref(after);
    }
    finish(&x);
    world_end(w);
}

PROMISE(acknowledging_during_a_pass_changes_nothing)
{
    struct world_test *w = sync_world(2);
    struct chats x;
    struct passed p = {json_object(), json_array(), 0};
    json_t *none = json_object(), *all;
    char *cursor = NULL;

    srand(10);
    start(&x, w);
    all = all_of(&x, ANN);
    do {
        json_t *t = sync_page(w, ANN, 70, ",\"limit\":5", cursor);
        const json_t *list = json_object_get(t, "conversations");

        take(&p, t, 5);
        for (size_t i = 0; i < json_array_size(list); i++) {
            const json_t *c = json_array_get(list, i), *e = json_object_get(c, "entries");

            json_decref(tree_of(w, ANN, 70,
                                JSON("{\"op\":\"receipt\",\"conv\":\"%s\",\"delivered\":%lld}", text_in(c, "conv"),
                                     (long long)int_in(json_array_get(e, json_array_size(e) - 1), "seq"))));
        }
        mem_free(cursor);
        cursor = text_in(t, "cursor") ? mem_dup(str_c(text_in(t, "cursor"))) : NULL;
        json_decref(t);
    } while (cursor);
    check_quiet(&p, all, none);
    expect(w, ANN, SYNC(" "), CODE_OK, "\"more\":"); /* device 110 has not acknowledged */
    json_decref(none);
    none = sync_page(w, ANN, 70, "", NULL);
    assert_int_equal(json_array_size(json_object_get(none, "conversations")), 0);
    json_decref(none);
    json_decref(all);
    forget(&p);
    finish(&x);
    world_end(w);
}

PROMISE(many_conversations_need_no_large_cursor)
{
    enum { MANY = 400 };
    struct world_test *w = sync_world(2);
    json_t *seen = json_object();
    char *cursor = NULL;
    size_t n = 0;

    for (user_id u = 100; u < 100 + MANY; u++) {
        expect(w, u, SEND_TO(ANN, "a", "x"), CODE_OK, "\"seq\":1");
        expect(w, u, SEND_TO(ANN, "b", "x"), CODE_OK, "\"seq\":2");
        know_pair(w, ANN, u);
    }
    do {
        json_t *t = sync_page(w, ANN, 70, ",\"limit\":33", cursor);
        const json_t *list = json_object_get(t, "conversations");

        for (size_t i = 0; i < json_array_size(list); i++) {
            const json_t *c = json_array_get(list, i), *e = json_object_get(c, "entries");

            for (size_t j = 0; j < json_array_size(e); j++, n++) {
                assert_int_equal(int_in(json_array_get(e, j), "seq"),
                                 1 + (json_object_get(seen, text_in(c, "conv")) != NULL));
                json_object_set_new(seen, text_in(c, "conv"), json_true());
            }
        }
        mem_free(cursor);
        cursor = text_in(t, "cursor") ? mem_dup(str_c(text_in(t, "cursor"))) : NULL;
        assert_true(!cursor || strlen(cursor) < 4000);
        json_decref(t);
    } while (cursor);
    assert_int_equal(n, 2 * MANY);
    json_decref(seen);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_pass_gives_all_that_may_be_seen_once_and_in_order),
        HOLDS(a_pass_begins_at_the_positions_given),
        HOLDS(a_pass_while_all_goes_on_skips_nothing_and_repeats_nothing),
        HOLDS(acknowledging_during_a_pass_changes_nothing),
        HOLDS(many_conversations_need_no_large_cursor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
