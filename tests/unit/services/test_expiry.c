/* Messages that expire, on clocks that the test moves: `advance` moves both as time does, `jump` the wall clock alone.
 */
#include "services/expiry.h"
#include "services/reactor_state.h"
#include "storage/convlog_expiry.h"
#include "tests/unit/services/moved_clock.h"
#include "tests/unit/services/sync_world.h"
#include <sched.h>

static struct world_test *start(unsigned reactors)
{
    struct world_test *w = world_of_groups(reactors);

    w->env = moved_env();
    w->inner[INNER_ERASE] = inner_erase;
    w->inner[INNER_CONV_BATCH] = inner_conv_batch;
    w->ops[OP_sync] = op_sync;
    w->ops[OP_conversation_list] = op_conversation_list;
    w->ops[OP_conversation_get] = op_conversation_get;
    n_known = 0;
    sync_open(w);
    return w;
}

#define SENDING(to, cid, expires_in)                                                                                   \
    JSON(                                                                                                              \
        "{\"op\":\"message.send\",\"user\":\"%s\",\"cid\":\"%s\",\"content\":{\"type\":\"text\",\"text\":\"secret\"}," \
        "\"expires_in\":%d}",                                                                                          \
        user_z(to), cid, expires_in)

static size_t count(const char *text, const char *what)
{
    size_t n = 0;

    for (const char *at = text; (at = strstr(at, what)) != NULL; at++)
        n++;
    return n;
}

static size_t shown(struct world_test *w, const char *what)
{
    struct answer *a = ask(w, 0, BEN, 1, HISTORY(pair_z(w, ANN, BEN), ",\"limit\":200"));
    size_t n = count(a->text, what);

    assert_int_equal(a->code, CODE_OK);
    answer_free(a);
    return n;
}

static int64_t metric_of(struct world_test *w, const char *name)
{
    struct buf all = {0};
    char line[64];
    int64_t n;

    metrics_print(w->world.metrics, &all);
    buf_char(&all, '\0');
    snprintf(line, sizeof line, "\n%s ", name);
    n = strtoll(strstr(all.p, line) + strlen(line), NULL, 10);
    buf_deinit(&all);
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
static void look_on(void *arg) { expiry_now(((struct reactor *)arg)->expiry); }
static void look(struct world_test *w)
{
    for (unsigned i = 0; i < w->reactors; i++)
        on_reactor(w, i, look_on, w->r[i]);
}
/* What it asks for has its own pace. */
static void until_swept(struct world_test *w, size_t contents)
{
    while (stored(w).contents > contents) {
        look(w);
        sched_yield();
    }
}

PROMISE(what_expired_is_shown_to_nobody_and_soon_is_nowhere_in_the_store)
{
    struct world_test *w = start(2);
    struct session *ben = session_open(w, BEN, 1, 0);
    char *events;

    expect(w, ANN, SENDING(BEN, "a1", 60), CODE_OK, "\"seq\":1");
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
    expect(w, ANN, SENDING(BEN, "a1", 60), CODE_OK, "\"dup\":true"); /* a repeat brings nothing back */
    expect(w, ANN, SENDING(BEN, "a1", 61), CODE_CONFLICT, "");
    expect(w, ANN, SEND_TO(BEN, "a1", "secret"), CODE_CONFLICT, "");
    assert_int_equal(shown(w, "secret"), 0);
    assert_int_equal(metric_of(w, "parley_expired_total"), 1);
    assert_int_equal(metric_of(w, "parley_expiry_held"), 0);
    world_end(w);
}

/* So it is the reader that hides it, whatever the sweeper does. */
PROMISE(a_clock_that_jumps_hides_but_erases_nothing_for_a_while)
{
    struct world_test *w = start(1);

    expect(w, ANN, SENDING(BEN, "a1", 1), CODE_OK, "\"seq\":1");
    expect(w, ANN, SENDING(BEN, "a2", 3600), CODE_OK, "\"seq\":2"); /* the last one, which lists show */
    until_swept(w, 1);                                              /* it runs, and knows the clock */
    jump(24 * 3600 * 1000);
    look(w);
    assert_int_equal(metric_of(w, "parley_expiry_held"), 1);
    assert_int_equal(shown(w, "\"expired\":true"), 2);
    know_pair(w, ANN, BEN);
    expect_hidden(w, "{\"op\":\"sync\"}", 2);
    expect_hidden(w, "{\"op\":\"conversation.list\"}", 1);
    expect_hidden(w, JSON("{\"op\":\"conversation.get\",\"conv\":\"%s\"}", pair_z(w, ANN, BEN)), 1);
    expect(w, ANN, SENDING(CAT, "c1", 1), CODE_OK, "\"seq\":1");
    advance(30 * 60 * 1000); /* not after half an hour */
    look(w);
    expect(w, ANN, SEND_TO(DAN, "d1", "behind it in the log"), CODE_OK, "\"seq\":1");
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
        expect(w, ANN, SENDING(BEN, JSON("a%d", i), 60), CODE_OK, "\"seq\":");
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
            expect(w, ANN, SENDING(u, JSON("m%d", i), i == 0 ? 500 : 60), CODE_OK, "\"seq\":");
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

    expect(w, ANN, SENDING(BEN, "a1", 60), CODE_OK, "\"seq\":1");
    pair_conv(&w->data.keys, ANN, BEN, &of_pair.conv);
    on_reactor(w, 0, plant, &of_pair);
    on_reactor(w, 0, plant, &of_nobody);
    while (stored(w).keys > 1) {
        look(w);
        sched_yield();
    }
    assert_int_equal(shown(w, "secret"), 1);
    advance(61 * 1000);
    until_swept(w, 0);
    assert_int_equal(stored(w).keys, 0);
    world_end(w);
}

/* An operator's erasing of a whole conversation, as far as one page goes. */
struct erasing {
    struct msg msg;
    struct world_test *w;
    struct request *q;
    sem_t done;
};
static void erasing_done(struct request *q)
{
    struct erasing *e = q->asker;

    assert_int_equal(q->code, CODE_OK);
    request_free(q);
    sem_post(&e->done);
}
static void erasing_start(struct msg *m)
{
    struct erasing *e = container_of(m, struct erasing, msg);
    const struct inner_erase *p = e->q->result;

    bus_request(bus_port(e->w->bus, 0), e->w->world.owner_of[shard_of(&e->w->data, &p->conv)], e->q);
}
static void erase(struct world_test *w, struct inner_erase what)
{
    struct erasing e = {.msg.run = erasing_start, .w = w};

    sem_init(&e.done, 0, 0);
    e.q = request_new(erasing_done, &e);
    e.q->inner = INNER_ERASE;
    e.q->result = memcpy(arena_alloc(&e.q->arena, sizeof what), &what, sizeof what);
    mailbox_post(loop_mailbox(w->threads[0].loop), &e.msg);
    sem_wait(&e.done);
    sem_destroy(&e.done);
}

PROMISE(what_had_expired_is_called_so_also_if_an_operator_erases_it_first)
{
    struct world_test *w = start(2);
    struct inner_erase all = {.from = 1, .to = SEQ_MAX};

    pair_conv(&w->data.keys, ANN, BEN, &all.conv);
    expect(w, ANN, SENDING(BEN, "a1", 3600), CODE_OK, "\"seq\":1");
    expect(w, ANN, SEND_TO(BEN, "a2", "secret"), CODE_OK, "\"seq\":2");
    expect(w, ANN, SENDING(BEN, "a3", 24 * 3600 * 2), CODE_OK, "\"seq\":3");
    jump(24 * 3600 * 1000);
    erase(w, all);
    assert_int_equal(shown(w, "\"expired\":true"), 1);
    assert_int_equal(shown(w, "\"deleted\":true"), 2);
    assert_int_equal(stored(w).contents + stored(w).keys, 0);
    world_end(w);
}

PROMISE(only_what_one_user_sent_before_a_moment_is_erased)
{
    struct world_test *w = start(2);
    struct inner_erase some = {.from = 1, .to = SEQ_MAX, .user = ANN};
    struct answer *a;

    pair_conv(&w->data.keys, ANN, BEN, &some.conv);
    expect(w, ANN, SEND_TO(BEN, "a1", "secret"), CODE_OK, "\"seq\":1");
    expect(w, BEN, SEND_TO(ANN, "b1", "secret"), CODE_OK, "\"seq\":2");
    advance(1000);
    a = ask(w, 0, ANN, 1, SEND_TO(BEN, "a2", "secret"));
    some.before_ms = number_in(a->text, "ts"); /* it is not before that */
    answer_free(a);
    erase(w, some);
    assert_int_equal(shown(w, "deleted"), 1);
    assert_int_equal(shown(w, "secret"), 2);
    some.before_ms++;
    erase(w, some);
    assert_int_equal(shown(w, "secret"), 1);
    some.before_ms = 0;
    some.user = CAT;
    erase(w, some);
    assert_int_equal(shown(w, "secret"), 1);
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
        HOLDS(what_had_expired_is_called_so_also_if_an_operator_erases_it_first),
        HOLDS(only_what_one_user_sent_before_a_moment_is_erased),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
