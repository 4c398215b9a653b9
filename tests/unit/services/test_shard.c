#include "services/shard_state.h"
#include "tests/unit/services/group_fixture.h"

enum { MANY = 300 };

PROMISE(pipelined_writes_take_effect_in_the_order_sent)
{
    struct world_test *w = world_start(2);
    struct session *ben = session_open(w, BEN, 1, 1);
    struct answer *a[MANY];
    char *events, *at;

    for (int i = 0; i < MANY; i++) /* the first meets a cold conversation and an unknown user */
        a[i] = ask_start(w, 0, ANN, 1, SEND_TO(BEN, JSON("c%d", i), JSON("%d", i)));
    for (int i = 0; i < MANY; i++) {
        answer_wait(a[i]);
        assert_int_equal(a[i]->code, CODE_OK);
        assert_int_equal(number_in(a[i]->text, "seq"), i + 1);
        answer_free(a[i]);
    }
    at = events = events_of(w, ben, MANY);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(number_in(at, "seq"), i + 1);
        at = strchr(at, '\n') + 1;
    }
    mem_free(events);
    world_end(w);
}

PROMISE(a_repeat_of_what_is_under_way_waits_for_it)
{
    struct world_test *w = world_start(2);
    struct answer *a[10];
    int dups = 0;

    for (int i = 0; i < 10; i++)
        a[i] = ask_start(w, (unsigned)i % 2, ANN, (device_id)i + 1, SEND_TO(BEN, "same", "hi"));
    for (int i = 0; i < 10; i++) {
        answer_wait(a[i]);
        assert_int_equal(a[i]->code, CODE_OK);
        assert_int_equal(number_in(a[i]->text, "seq"), 1);
        dups += strstr(a[i]->text, "\"dup\":true") != NULL;
        answer_free(a[i]);
    }
    assert_int_equal(dups, 9);
    expect(w, ANN, SEND_TO(BEN, "next", "hi"), CODE_OK, "\"seq\":2");
    world_end(w);
}

PROMISE(the_same_cid_for_something_else_is_a_conflict)
{
    struct world_test *w = world_start(1);
    struct answer *first = ask_start(w, 0, ANN, 1, SEND_TO(BEN, "a1", "hi"));
    struct answer *other = ask_start(w, 0, ANN, 1, SEND_TO(BEN, "a1", "ho"));

    assert_int_equal(answer_wait(first)->code, CODE_OK);
    assert_int_equal(answer_wait(other)->code, CODE_CONFLICT);
    answer_free(first);
    answer_free(other);
    expect(w, ANN, SEND_TO(BEN, "a1", "ho"), CODE_CONFLICT, "cid");
    expect(w, ANN,
           JSON("{\"op\":\"message.send\",\"user\":\"%s\",\"cid\":\"a1\",\"reply_to\":1,\"content\":{\"type\":\"text\","
                "\"text\":\"hi\"}}",
                user_z(BEN)),
           CODE_CONFLICT, "cid");
    expect(w, ANN, SEND(pair_z(w, ANN, BEN), "a1", "hi"), CODE_OK, "\"dup\":true");
    expect(w, BEN, SEND_TO(ANN, "a1", "mine"), CODE_OK, "\"seq\":2"); /* a cid is its sender's own */
    world_end(w);
}

PROMISE(a_crash_loses_nothing_that_was_answered)
{
    struct world_test *w = world_with_groups(2);
    char *g = mem_dup(str_c(group_new(w, ANN, "g", BEN, 3, false)));
    struct answer *before, *after;

    for (int i = 0; i < 50; i++) {
        expect(w, ANN, SEND_TO(BEN, JSON("a%d", i), JSON("to ben %d", i)), CODE_OK, "\"seq\":");
        expect(w, BEN, SEND(g, JSON("b%d", i), JSON("to all %d", i)), CODE_OK, "\"seq\":");
    }
    expect(w, ANN, JSON("{\"op\":\"group.remove\",\"conv\":\"%s\",\"cid\":\"rm\",\"users\":[\"%s\"]}", g, user_z(BEN)),
           CODE_OK, "52");
    before = ask(w, 0, CAT, 1, JSON("{\"op\":\"history\",\"conv\":\"%s\",\"limit\":200}", g));
    for (int round = 0; round < 3; round++) { /* the last rounds replay what the others left */
        world_crash(w);
        after = ask(w, 0, CAT, 1, JSON("{\"op\":\"history\",\"conv\":\"%s\",\"limit\":200}", g));
        assert_string_equal(before->text, after->text);
        answer_free(after);
        expect(w, BEN, SEND(g, "b7", "to all 7"), CODE_OK, "\"dup\":true");
        expect(w, BEN, SEND(g, "b7", "to none"), CODE_CONFLICT, "cid");
        expect(w, BEN, SEND(g, "new", "x"), CODE_FORBIDDEN, "member");
        expect(w, ANN, SEND_TO(BEN, JSON("r%d", round), "again"), CODE_OK, JSON("\"seq\":%d", 51 + round));
    }
    answer_free(before);
    mem_free(g);
    world_end(w);
}

/* Around the size up to which a record's bytes are kept from the log for the store. */
PROMISE(messages_of_any_size_are_stored_as_they_were_sent)
{
    struct world_test *w = world_start(1);
    char text[3000];

    for (unsigned size = 1; size < sizeof text; size += size < 700 || size > 1100 ? 100 : 5) {
        memset(text, 'a' + (int)(size / 5 % 26), size);
        text[size] = '\0';
        expect(w, ANN, SEND_TO(BEN, JSON("c%u", size), text), CODE_OK, "\"seq\":");
        expect(w, BEN, JSON("{\"op\":\"history\",\"conv\":\"%s\",\"limit\":1}", pair_z(w, ANN, BEN)), CODE_OK,
               JSON("\"%s\"", text));
        expect(w, ANN, SEND_TO(BEN, JSON("c%u", size), text), CODE_OK, "\"dup\":true"); /* it is read from the store */
    }
    world_end(w);
}

struct count {
    struct world_test *w;
    size_t convs;
    uint64_t bytes;
};
static void count_convs(void *arg)
{
    struct count *n = arg;
    struct shards *s = reactor_shards(n->w->r[0]);

    n->convs = s->convs.count;
    n->bytes = s->bytes;
}

PROMISE(conversations_come_and_go_with_the_room_there_is)
{
    enum { BOUND = 20000 };
    struct world_test *w = world_new(1);
    struct count n = {.w = w};

    w->limits.convs_bytes = BOUND;
    world_open(w);
    for (int round = 0; round < 2; round++)
        for (user_id u = 100; u < 200; u++)
            expect(w, ANN, SEND_TO(u, JSON("c%d", round), "hi"), CODE_OK, JSON("\"seq\":%d", round + 1));
    expect(w, ANN, SEND_TO(100, "c0", "hi"), CODE_OK, "\"dup\":true");
    on_reactor(w, 0, count_convs, &n);
    assert_in_range(n.convs, 1, BOUND / sizeof(struct conv));
    world_end(w);
}

struct held {
    struct world_test *w;
    size_t bytes, convs;
};
static void add_held(void *arg)
{
    struct held *h = arg;

    h->bytes = h->convs = 0;
    list_each (&reactor_shards(h->w->r[0])->recent, c, struct conv, used) {
        h->bytes += sizeof *c + c->arena.bytes + c->ahead_arena.bytes;
        h->convs++;
    }
}

/* One large group takes the room of many chats, so counting them bounds nothing. */
PROMISE(conversations_in_memory_are_bounded_by_what_they_take)
{
    enum { BOUND = 1 << 20, GROUPS = 30, MEMBERS = 500 };
    struct world_test *w = world_with_groups(1);
    struct held h = {.w = w};

    world_close(w);
    w->limits.convs_bytes = BOUND;
    world_open(w);
    for (user_id u = 100; u < 300; u++)
        expect(w, ANN, SEND_TO(u, "c", "hi"), CODE_OK, "\"seq\":1");
    on_reactor(w, 0, add_held, &h);
    assert_int_equal(h.convs, 200);
    for (int i = 0; i < GROUPS; i++) {
        group_new(w, ANN, JSON("g%d", i), 100, MEMBERS, false);
        on_reactor(w, 0, add_held, &h);
        assert_in_range(h.bytes, 1, BOUND);
    }
    assert_in_range(h.convs, 2, GROUPS - 1);
    world_end(w);
}

PROMISE(what_does_not_exist_takes_no_room)
{
    struct world_test *w = world_start(1);
    struct count n = {.w = w};

    for (int i = 0; i < 100; i++) {
        struct conv_id c = {{(uint8_t)i, 7}};
        expect(w, ANN, SEND(conv_z(&c), "x", "y"), CODE_NOT_FOUND, "no such conversation");
        expect(w, ANN, JSON("{\"op\":\"history\",\"conv\":\"%s\"}", conv_z(&c)), CODE_NOT_FOUND,
               "no such conversation");
    }
    on_reactor(w, 0, count_convs, &n);
    assert_int_equal(n.convs, 0);
    assert_int_equal(n.bytes, 0);
    world_end(w);
}

PROMISE(rights_count_what_is_under_way)
{
    struct world_test *w = world_with_groups(1);
    const char *g = group_new(w, ANN, "g", BEN, 2, false);
    struct answer *rm, *sends[20];

    rm = ask_start(w, 0, ANN, 1,
                   JSON("{\"op\":\"group.remove\",\"conv\":\"%s\",\"cid\":\"rm\",\"users\":[\"%s\"]}", g, user_z(BEN)));
    for (int i = 0; i < 20; i++)
        sends[i] = ask_start(w, 0, i % 2 ? BEN : CAT, 1, SEND(g, JSON("s%d", i), "x"));
    assert_int_equal(answer_wait(rm)->code, CODE_OK);
    answer_free(rm);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(answer_wait(sends[i])->code, i % 2 ? CODE_FORBIDDEN : CODE_OK);
        answer_free(sends[i]);
    }
    expect(w, CAT, SEND(g, "last", "x"), CODE_OK, "\"seq\":13");
    world_end(w);
}

/* Asks again as long as it is told to, as a client does. */
static void send_all(struct world_test *w, int n, const char *text, int *refused)
{
    struct answer **a = mem_new_array(struct answer *, (size_t)n);
    bool *has = mem_new_array(bool, (size_t)n);

    for (int left = n; left > 0;) {
        for (int i = 0; i < n; i++)
            a[i] = has[i] ? NULL : ask_start(w, 0, ANN, 1, SEND_TO(BEN, JSON("c%d", i), text));
        for (int i = 0; i < n; i++) {
            if (!a[i])
                continue;
            answer_wait(a[i]);
            if (a[i]->code == CODE_OK) {
                has[i] = true;
                left--;
            } else {
                assert_int_equal(a[i]->code, CODE_UNAVAILABLE);
                ++*refused;
            }
            answer_free(a[i]);
        }
    }
    mem_free(a);
    mem_free(has);
}

/* The one write of a client that tries again until it is let. */
static void persist(struct world_test *w, const char *json, const char *has)
{
    struct answer *a = ask(w, 0, ANN, 1, json);

    while (a->code == CODE_UNAVAILABLE) {
        answer_free(a);
        a = ask(w, 0, ANN, 1, json);
    }
    assert_int_equal(a->code, CODE_OK);
    assert_non_null(strstr(a->text, has));
    answer_free(a);
}

PROMISE(a_log_or_store_at_its_bound_makes_writers_wait_and_loses_nothing)
{
    enum { N = 1000 };
    char text[2001] = {0};

    memset(text, 'x', sizeof text - 1);
    for (int what = 0; what < 2; what++) {
        struct world_test *w = world_new(1);
        struct session *ben;
        char *events;
        int refused = 0;

        if (what == 0)
            w->max_in_flight = 16 << 10;
        else
            w->memtable_bytes = 64 << 10;
        world_open(w);
        ben = session_open(w, BEN, 1, 0);
        expect(w, ANN, SEND_TO(BEN, "first", "x"), CODE_OK, "\"seq\":1");
        send_all(w, N, text, &refused); /* where a slow disk lets one wait too long, it is refused and sent again */
        events = events_of(w, ben, N + 1);
        assert_int_equal(events_so_far(w, ben), N + 1);
        for (char *at = events, *end = at; *at; at = end + 1) {
            end = strchr(at, '\n');
            *end = 0;
        }
        mem_free(events);
        persist(w, SEND_TO(BEN, "last", "x"), JSON("\"seq\":%d", N + 2));
        world_crash(w);
        expect(w, ANN, SEND_TO(BEN, "c0", text), CODE_OK, "\"dup\":true");
        persist(w, SEND_TO(BEN, "more", "x"), JSON("\"seq\":%d", N + 3));
        world_end(w);
    }
}

/* Keeps the workers from flushing until it is told to go on. */
struct stopper {
    struct job job;
    sem_t go, ended;
};
static void stop_worker(struct job *j) { sem_wait(&container_of(j, struct stopper, job)->go); }
static void worker_went_on(struct job *j) { sem_post(&container_of(j, struct stopper, job)->ended); }

static void are_busy(void *arg)
{
    struct count *c = arg;
    struct lsm *const *stores;
    size_t n = reactor_stores(c->w->r[0], &stores);

    c->convs = 0;
    for (size_t i = 0; i < n; i++)
        c->convs += stores[i] && lsm_is_busy(stores[i]);
}

PROMISE(a_store_that_takes_nothing_is_waited_for_and_then_refuses)
{
    enum { N = 100000, WORKERS = 2 };
    struct world_test *w = world_new(1);
    struct stopper stoppers[WORKERS] = {0};
    struct answer **a = mem_new_array(struct answer *, N);
    struct count busy = {.w = w};
    char text[2001] = {0};
    int64_t last = 1;
    int n = 0;

    memset(text, 'x', sizeof text - 1);
    w->memtable_bytes = 64 << 10;
    world_open(w);
    expect(w, ANN, SEND_TO(BEN, "first", "x"), CODE_OK, "\"seq\":1");
    for (int i = 0; i < WORKERS; i++) {
        stoppers[i].job = (struct job){.run = stop_worker, .done = worker_went_on};
        sem_init(&stoppers[i].go, 0, 0);
        sem_init(&stoppers[i].ended, 0, 0);
        assert_ok(pool_submit(w->pool, &stoppers[i].job));
    }
    while (!busy.convs && n < N) {
        a[n] = ask_start(w, 0, ANN, 1, SEND_TO(BEN, JSON("c%d", n), text));
        n++;
        on_reactor(w, 0, are_busy, &busy);
    }
    assert_int_not_equal(busy.convs, 0);
    expect(w, ANN, SEND_TO(BEN, "late", text), CODE_UNAVAILABLE, "busy"); /* it waited for room, and there came none */
    for (int i = 0; i < WORKERS; i++)
        sem_post(&stoppers[i].go);
    for (int i = 0; i < n; i++) {
        answer_wait(a[i]);
        if (a[i]->code == CODE_OK)
            assert_int_equal(number_in(a[i]->text, "seq"), ++last);
        else
            assert_int_equal(a[i]->code, CODE_UNAVAILABLE);
        answer_free(a[i]);
    }
    mem_free(a);
    for (int i = 0; i < WORKERS; i++) {
        sem_wait(&stoppers[i].ended);
        sem_destroy(&stoppers[i].go);
        sem_destroy(&stoppers[i].ended);
    }
    world_crash(w);
    persist(w, SEND_TO(BEN, "last", "x"), JSON("\"seq\":%lld", (long long)last + 1));
    world_end(w);
}

static void flush_stores(void *arg)
{
    struct reactor *r = arg;
    struct lsm *const *stores;
    size_t n = reactor_stores(r, &stores);

    for (size_t i = 0; i < n; i++)
        assert_true(!stores[i] || lsm_is_clean(stores[i]) || lsm_flush(stores[i]) != ERR_IO);
}
static void are_clean(void *arg)
{
    struct count *c = arg;
    struct lsm *const *stores;
    size_t n = reactor_stores(c->w->r[0], &stores);

    c->convs = 1;
    for (size_t i = 0; i < n; i++)
        c->convs &= !stores[i] || lsm_is_clean(stores[i]);
}

PROMISE(what_waits_for_a_cold_conversation_runs_in_order_when_it_is_there)
{
    enum { CONVS = 50, STEPS = 6 };
    struct world_test *w = world_start(1);
    struct count n = {.w = w};
    struct answer *a[CONVS][STEPS];

    for (user_id c = 0; c < CONVS; c++)
        for (int i = 0; i < 3; i++)
            expect(w, ANN, SEND_TO(100 + c, JSON("old%d", i), "x"), CODE_OK, "\"seq\":");
    do {
        on_reactor(w, 0, flush_stores, w->r[0]);
        on_reactor(w, 0, are_clean, &n);
    } while (!n.convs);
    world_crash(w); /* what is read now is on the disk and in no cache */
    for (int i = 0; i < STEPS; i++)
        for (user_id c = 0; c < CONVS; c++)
            a[c][i] = ask_start(w, 0, ANN, 1,
                                i == 1   ? SEND_TO(100 + c, "old1", "x")
                                : i == 2 ? JSON("{\"op\":\"history\",\"conv\":\"%s\"}", pair_z(w, ANN, 100 + c))
                                         : SEND_TO(100 + c, JSON("new%d", i), "x"));
    for (user_id c = 0; c < CONVS; c++) {
        const int seqs[STEPS] = {4, 2, 1, 5, 6, 7};

        for (int i = 0; i < STEPS; i++) {
            answer_wait(a[c][i]);
            assert_int_equal(a[c][i]->code, CODE_OK);
            assert_int_equal(number_in(a[c][i]->text, "seq"), seqs[i]);
            assert_int_equal(strstr(a[c][i]->text, "\"dup\":true") != NULL, i == 1);
            answer_free(a[c][i]);
        }
    }
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(pipelined_writes_take_effect_in_the_order_sent),
        HOLDS(a_repeat_of_what_is_under_way_waits_for_it),
        HOLDS(the_same_cid_for_something_else_is_a_conflict),
        HOLDS(messages_of_any_size_are_stored_as_they_were_sent),
        HOLDS(conversations_come_and_go_with_the_room_there_is),
        HOLDS(conversations_in_memory_are_bounded_by_what_they_take),
        HOLDS(what_does_not_exist_takes_no_room),
        HOLDS(rights_count_what_is_under_way),
        HOLDS(what_waits_for_a_cold_conversation_runs_in_order_when_it_is_there),
        HOLDS(a_log_or_store_at_its_bound_makes_writers_wait_and_loses_nothing),
        HOLDS(a_store_that_takes_nothing_is_waited_for_and_then_refuses),
        HOLDS(a_crash_loses_nothing_that_was_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
