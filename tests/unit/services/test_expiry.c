/* Messages that expire, on clocks that the test moves: `advance` moves both as time does, `jump` the wall clock alone.
 */
#include "services/expiry.h"
#include "services/reactor_state.h"
#include "storage/convlog_expiry.h"
#include "tests/unit/services/sync_world.h"
#include <sched.h>

/* The system's, and how far the test has moved them. */
static struct {
    struct env env;
    _Atomic int64_t time_ms, jumped_ms;
} moved;

static int64_t moved_now_ms(struct env *e)
{
    (void)e;
    return env_now_ms(env_posix()) + moved.time_ms + moved.jumped_ms;
}
static uint64_t moved_mono_us(struct env *e)
{
    (void)e;
    return env_mono_us(env_posix()) + (uint64_t)moved.time_ms * 1000;
}
static void moved_random(struct env *e, void *p, size_t n)
{
    (void)e;
    env_random(env_posix(), p, n);
}
static void jump(int64_t ms) { moved.jumped_ms += ms; }
static void advance(int64_t ms) { moved.time_ms += ms; }

static struct world_test *start(unsigned reactors)
{
    static const struct env_ops ops = {moved_now_ms, moved_mono_us, moved_random};
    struct world_test *w = world_of_groups(reactors);

    moved.env = (struct env){&ops, env_posix()->fs};
    moved.time_ms = moved.jumped_ms = 0;
    w->env = &moved.env;
    w->inner[INNER_ERASE] = inner_erase;
    w->inner[INNER_CONV_BATCH] = inner_conv_batch;
    w->ops[OP_sync] = op_sync;
    w->ops[OP_conversation_list] = op_conversation_list;
    w->ops[OP_conversation_get] = op_conversation_get;
    n_known = 0;
    sync_open(w);
    return w;
}

static const char *sending(user_id to, const char *cid, unsigned expires_in)
{
    return JSON(
        "{\"op\":\"message.send\",\"user\":\"%s\",\"cid\":\"%s\",\"content\":{\"type\":\"text\",\"text\":\"secret\"},"
        "\"expires_in\":%u}",
        user_z(to), cid, expires_in);
}

static const char *history(struct world_test *w)
{
    return JSON("{\"op\":\"history\",\"conv\":\"%s\",\"limit\":200}", pair_z(w, ANN, BEN));
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;

    for (const char *at = text; (at = strstr(at, what)) != NULL; at++)
        n++;
    return n;
}

static size_t shown(struct world_test *w, const char *what)
{
    struct answer *a = ask(w, 0, BEN, 1, history(w));
    size_t n = count(a->text, what);

    assert_int_equal(a->code, CODE_OK);
    answer_free(a);
    return n;
}

static void expect_hidden(struct world_test *w, const char *json, size_t expired)
{
    struct answer *a = ask(w, 0, BEN, 1, json);

    assert_int_equal(a->code, CODE_OK);
    assert_int_equal(count(a->text, "secret"), 0);
    assert_int_equal(count(a->text, "\"expired\":true"), expired);
    answer_free(a);
}

/* What the stores hold: content, and keys of the index. */
struct stored {
    struct reactor *r;
    size_t contents, keys;
};
static bool count_key(void *arg, struct str key, struct str value)
{
    struct stored *s = arg;
    struct expiring x;

    s->keys += expiry_key_parse(key, &x);
    s->contents += memmem(value.p ? value.p : "", value.len, "secret", 6) != NULL;
    return true;
}
static void count_stored(void *arg)
{
    struct stored *s = arg;
    struct lsm *const *stores;
    size_t n = reactor_stores(s->r, &stores);

    for (size_t i = 0; i < n; i++)
        if (stores[i])
            assert_ok(lsm_scan(stores[i], STR(""), STR(""), 0, NULL, count_key, s));
}
static struct stored stored(struct world_test *w)
{
    struct stored all = {0};

    for (unsigned i = 0; i < w->reactors; i++) {
        struct stored s = {w->r[i], 0, 0};
        on_reactor(w, i, count_stored, &s);
        all.contents += s.contents;
        all.keys += s.keys;
    }
    return all;
}
/* The sweeper has its own pace. */
static void until_swept(struct world_test *w, size_t contents)
{
    while (stored(w).contents > contents)
        sched_yield();
}

PROMISE(what_expired_is_shown_to_nobody_and_soon_is_nowhere_in_the_store)
{
    struct world_test *w = start(2);
    struct session *ben = session_open(w, BEN, 1, 0);
    char *events;

    expect(w, ANN, sending(BEN, "a1", 60), CODE_OK, "\"seq\":1");
    expect(w, ANN, SEND_TO(BEN, "a2", "kept"), CODE_OK, "\"seq\":2");
    events = events_of(w, ben, 2);
    assert_int_equal(number_in(events, "expires_at") - number_in(events, "ts"), 60000);
    mem_free(events);
    assert_int_equal(shown(w, "secret"), 1);
    assert_int_equal(shown(w, "expires_at"), 1);
    assert_int_equal(stored(w).keys, 1);
    advance(59000);
    assert_int_equal(shown(w, "expired"), 0);
    advance(60000);
    assert_int_equal(shown(w, "secret"), 0);
    assert_int_equal(shown(w, "\"expired\":true"), 1);
    assert_int_equal(shown(w, "kept"), 1);
    until_swept(w, 0);
    assert_int_equal(stored(w).keys, 0);
    assert_int_equal(shown(w, "\"expired\":true"), 1);
    expect(w, ANN, sending(BEN, "a1", 60), CODE_OK, "\"dup\":true"); /* a repeat brings nothing back */
    expect(w, ANN, sending(BEN, "a1", 61), CODE_CONFLICT, "");
    expect(w, ANN, SEND_TO(BEN, "a1", "secret"), CODE_CONFLICT, "");
    assert_int_equal(shown(w, "secret"), 0);
    world_end(w);
}

/* So it is the reader that hides it, whatever the sweeper does. */
PROMISE(a_clock_that_jumps_hides_but_erases_nothing_for_a_while)
{
    struct world_test *w = start(1);

    expect(w, ANN, sending(BEN, "a1", 3600), CODE_OK, "\"seq\":1");
    expect(w, ANN, sending(BEN, "a2", 1), CODE_OK, "\"seq\":2");
    until_swept(w, 1); /* it runs, and knows the clock */
    jump(24 * 3600 * 1000);
    assert_int_equal(shown(w, "\"expired\":true"), 2);
    know_pair(w, ANN, BEN);
    expect_hidden(w, "{\"op\":\"sync\"}", 2);
    expect_hidden(w, "{\"op\":\"conversation.list\"}", 1);
    expect_hidden(w, JSON("{\"op\":\"conversation.get\",\"conv\":\"%s\"}", pair_z(w, ANN, BEN)), 1);
    expect(w, ANN, sending(CAT, "c1", 1), CODE_OK, "\"seq\":1");
    advance(30 * 60 * 1000); /* not after half an hour */
    for (int i = 0; i < 2000; i++)
        assert_int_equal(stored(w).contents, 2);
    jump(-24 * 3600 * 1000); /* the operator set it right */
    assert_int_equal(shown(w, "secret"), 1);
    assert_int_equal(shown(w, "\"expired\":true"), 1); /* what is a stub stays one */
    advance(3600 * 1000);                              /* and what has expired by the right clock goes */
    until_swept(w, 1);                                 /* but CAT's, which was sent in the future */
    assert_int_equal(shown(w, "\"expired\":true"), 2);
    world_end(w);
}

PROMISE(what_expired_while_nobody_ran_is_erased_by_the_next_start)
{
    struct world_test *w = start(2);

    for (int i = 0; i < 10; i++)
        expect(w, ANN, sending(BEN, JSON("a%d", i), 60), CODE_OK, "\"seq\":");
    world_close(w);
    advance(120 * 1000);
    world_open(w);
    assert_int_equal(shown(w, "secret"), 0);
    until_swept(w, 0);
    assert_int_equal(stored(w).keys, 0);
    world_crash(w); /* the stubs were in the log before the index forgot them */
    assert_int_equal(stored(w).contents + stored(w).keys, 0);
    assert_int_equal(shown(w, "\"expired\":true"), 10);
    world_end(w);
}

PROMISE(many_that_expire_at_once_are_all_erased_and_only_those)
{
    enum { PEOPLE = 60, EACH = 20 }; /* more than a batch, and conversations with more than a request's */
    struct world_test *w = start(2);

    for (user_id u = 100; u < 100 + PEOPLE; u++)
        for (int i = 0; i < EACH; i++)
            expect(w, ANN, sending(u, JSON("m%d", i), i == 0 ? 500 : 60), CODE_OK, "\"seq\":");
    assert_int_equal(stored(w).contents, PEOPLE * EACH);
    advance(100 * 1000);
    until_swept(w, PEOPLE);
    assert_int_equal(stored(w).keys, PEOPLE);
    advance(1000 * 1000);
    until_swept(w, 0);
    assert_int_equal(stored(w).keys, 0);
    world_end(w);
}

struct planting {
    struct world_test *w;
    struct conv_id conv;
};
static void plant(void *arg)
{
    struct planting *p = arg;
    uint16_t shard = shard_of(&p->w->data, &p->conv);
    struct reactor *r = p->w->r[p->w->world.owner_of[shard]];

    for (uint64_t seq = 1; seq < 4; seq++) /* of the first the time is wrong, the others are not there */
        assert_ok(convlog_expiry_put(reactor_store(r, shard), shard,
                                     &(struct entry){.conv = p->conv, .seq = seq, .expires_at = 1000 + (int64_t)seq}));
    expiry_note(r->expiry, shard, 1000);
}

PROMISE(a_key_without_a_message_is_taken_away_and_is_in_nobodys_way)
{
    struct world_test *w = start(1);
    struct planting of_pair = {.w = w}, of_nobody = {.w = w, .conv = {{9}}};

    expect(w, ANN, sending(BEN, "a1", 60), CODE_OK, "\"seq\":1");
    pair_conv(&w->data.keys, ANN, BEN, &of_pair.conv);
    on_reactor(w, 0, plant, &of_pair);
    on_reactor(w, 0, plant, &of_nobody);
    while (stored(w).keys > 1)
        sched_yield();
    assert_int_equal(shown(w, "secret"), 1);
    advance(61 * 1000);
    until_swept(w, 0);
    assert_int_equal(stored(w).keys, 0);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(what_expired_is_shown_to_nobody_and_soon_is_nowhere_in_the_store),
        HOLDS(a_clock_that_jumps_hides_but_erases_nothing_for_a_while),
        HOLDS(what_expired_while_nobody_ran_is_erased_by_the_next_start),
        HOLDS(many_that_expire_at_once_are_all_erased_and_only_those),
        HOLDS(a_key_without_a_message_is_taken_away_and_is_in_nobodys_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
