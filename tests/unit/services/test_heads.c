#include "services/shard_state.h"
#include "tests/unit/services/sync_world.h"
#include "tests/unit/storage/conv_model.h"

/* The table by itself. */
static uint64_t key_of(const struct conv_id *c) { return hash_u64(dec_u64(c->b)); }

static void same_glance(struct heads *h, const struct authority *a, user_id u, device_id d)
{
    struct glance is, kept;

    glance_at(a, u, d, &is);
    assert_true(heads_glance(h, key_of(&a->id), &a->id, u, d, &kept));
    assert_int_equal(kept.is_member, is.is_member);
    assert_int_equal(kept.is_in, is.is_in);
    assert_int_equal(kept.last, is.last);
    assert_int_equal(kept.first_seq, is.first_seq);
    assert_int_equal(kept.delivered, is.delivered);
    assert_int_equal(kept.last_ts, is.last_ts);
}

PROMISE(what_stays_behind_says_the_same_as_the_conversation)
{
    struct heads *h;

    heads_create(1 << 20, &h);
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct conv_model m;
        struct authority a = {0};
        struct arena arena = {0};

        model_init(&m, seed, seed % 2 ? CONV_PAIR : CONV_GROUP);
        a.id = m.conv;
        for (uint64_t i = 0; i < seed; i++) {
            struct record r = model_next(&m);

            authority_apply(&a, &r, &arena);
        }
        if (a.head) {
            heads_put(h, key_of(&a.id), 7, &a);
            for (user_id u = 0; u <= 10 * (MODEL_USERS + 1); u += 5)
                for (device_id d = 0; d < 4; d++)
                    same_glance(h, &a, u, 100 * u + d);
            heads_drop(h, key_of(&a.id), &a.id);
        }
        assert_int_equal(heads_count(h), 0);
        assert_int_equal(heads_bytes(h), 0);
        arena_deinit(&arena);
    }
    heads_destroy(h);
}

static struct authority pair_of(uint64_t n, struct member *both, struct device_cursor *devices)
{
    static struct range open = {1, 0};
    struct authority a = {.head = n, .first_seq = 1, .last_ts = 5, .members = both, .n_members = 2};

    enc_u64(a.id.b, n);
    for (unsigned i = 0; i < 2; i++) {
        devices[i] = (struct device_cursor){i + 1, n};
        both[i] = (struct member){
            .user = i + 1, .is_in = true, .ranges = &open, .n_ranges = 1, .devices = &devices[i], .n_devices = 1};
    }
    return a;
}

PROMISE(the_longest_unused_go_when_there_is_no_room)
{
    enum { BYTES = 20000, N = 1000 };
    struct member both[2];
    struct device_cursor devices[2];
    struct authority first = pair_of(1, both, devices);
    struct glance g;
    struct heads *h;

    heads_create(BYTES, &h);
    for (uint64_t n = 1; n <= N; n++) {
        struct authority a = pair_of(n, both, devices);

        heads_put(h, key_of(&a.id), (uint16_t)(n % 2), &a);
        assert_true(heads_bytes(h) <= BYTES);
        assert_true(heads_glance(h, key_of(&first.id), &first.id, 1, 1, &g)); /* used each time: it stays */
    }
    assert_in_range(heads_count(h), BYTES / 200, BYTES / 100);
    for (uint64_t n = 2; n <= N; n++) {
        struct authority a = pair_of(n, both, devices);

        assert_int_equal(heads_has(h, key_of(&a.id), &a.id), n > N + 1 - heads_count(h));
    }
    heads_drop_shard(h, 1);
    assert_false(heads_has(h, key_of(&first.id), &first.id));
    assert_in_range(heads_count(h), 1, BYTES / 200);
    heads_destroy(h);
    heads_create(100, &h);
    heads_put(h, key_of(&first.id), 0, &first); /* larger than all the room */
    assert_int_equal(heads_count(h), 0);
    heads_destroy(h);
}

/* Sync and lists with it and without. */
enum { CONVS = 12, GROUPS = 8, PEOPLE = 4, ROUNDS = 6, STEPS = 60 };
static const user_id people[PEOPLE] = {ANN, BEN, CAT, DAN};
static unsigned any(unsigned n) { return (unsigned)(rand() % (int)n); }

static void say_something(struct world_test *w, char *const *conv, unsigned *cid)
{
    const char *c = conv[any(CONVS)], *id = JSON("s%u", (*cid)++), *json;
    user_id by = people[any(PEOPLE)], to = people[any(PEOPLE)];
    unsigned what = any(8);

    /* One expression: what it is made in lives as long as this block. */
    json = what == 0   ? REMOVE(c, id, USERS_OF(to))
           : what == 1 ? ADD(c, id, USERS_OF(to))
           : what == 2 ? JSON("{\"op\":\"receipt\",\"conv\":\"%s\",\"delivered\":%u}", c, 1 + any(20))
                       : SEND(c, id, "x");
    answer_free(ask(w, 0, any(4) ? by : ANN, 1 + any(2), json));
}

static void add_answer(struct world_test *w, user_id user, device_id device, const char *json, struct buf *out)
{
    struct answer *a = ask(w, 0, user, device, json);

    assert_int_equal(a->code, CODE_OK);
    buf_printf(out, "%s\n", a->text);
    answer_free(a);
}

/* All that sync and lists say to everybody. */
static char *all_answers(struct world_test *w, char *const *conv)
{
    struct buf b = {0};

    for (unsigned i = 0; i < PEOPLE * 3; i++) {
        user_id u = people[i % PEOPLE];
        device_id d = i / PEOPLE;

        add_answer(w, u, d, SYNC(" "), &b);
        add_answer(w, u, d, SYNC(",\"limit\":3"), &b);
        add_answer(w, u, d, SYNC(",\"since\":{\"%s\":2,\"%s\":9}", conv[i % CONVS], conv[(i + 1) % CONVS]), &b);
        add_answer(w, u, d, "{\"op\":\"conversation.list\"}", &b);
    }
    buf_char(&b, 0);
    return b.p;
}

static void reopen(struct world_test *w, uint64_t convs_bytes, uint64_t heads_bytes)
{
    world_close(w);
    w->limits.convs_bytes = convs_bytes;
    w->limits.heads_bytes = heads_bytes;
    sync_open(w);
}

struct used {
    struct world_test *w;
    int64_t heads_used;
    size_t heads;
    uint64_t misses;
};
static void count_used(void *arg)
{
    struct used *u = arg;
    struct lsm_stats s;

    lsm_stats(u->w->stores[0], &s);
    u->misses = s.cache_misses;
    u->heads_used = reactor_metrics(u->w->r[0])->v[METRIC_HEADS_USED];
    u->heads = heads_count(reactor_shards(u->w->r[0])->heads);
}

PROMISE(sync_and_lists_say_the_same_with_and_without_heads)
{
    struct world_test *w = sync_world(1);
    char *conv[CONVS];
    struct used used = {.w = w};
    unsigned cid = 0;

    srand(11);
    for (unsigned i = 0; i < CONVS; i++) {
        if (i < GROUPS) {
            expect(w, ANN, CREATE(JSON("g%u", i), USERS_OF(people[1 + i % 3]), " "), CODE_OK, "\"seq\":1");
            conv[i] = group_z(w, ANN, JSON("g%u", i));
        } else {
            user_id a = people[i % 2], b = people[2 + i / 2 % 2];

            expect(w, a, SEND_TO(b, JSON("p%u", i), "x"), CODE_OK, "\"seq\"");
            conv[i] = mem_dup(str_c(pair_z(w, a, b)));
        }
        for (unsigned j = 0; j < PEOPLE; j++)
            knows(people[j], conv[i]);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        char *with, *again, *in_memory, *without;

        reopen(w, 1, 0);
        for (unsigned i = 0; i < STEPS; i++) {
            say_something(w, conv, &cid);
            if (i % 8 == 0)
                json_decref(tree_of(w, people[any(PEOPLE)], 1, SYNC(" ")));
        }
        with = all_answers(w, conv);
        again = all_answers(w, conv);
        on_reactor(w, 0, count_used, &used);
        assert_in_range(used.heads_used, 100, 100000);
        reopen(w, 0, 0);
        in_memory = all_answers(w, conv);
        on_reactor(w, 0, count_used, &used);
        assert_int_equal(used.heads_used, 0); /* all stayed in memory */
        reopen(w, 1, 1);
        without = all_answers(w, conv);
        on_reactor(w, 0, count_used, &used);
        assert_int_equal(used.heads, 0);
        assert_string_equal(with, in_memory);
        assert_string_equal(with, again);
        assert_string_equal(with, without);
        mem_free(with);
        mem_free(again);
        mem_free(in_memory);
        mem_free(without);
    }
    for (unsigned i = 0; i < CONVS; i++)
        mem_free(conv[i]);
    world_end(w);
}

static void flush(void *arg)
{
    struct world_test *w = arg;

    for (unsigned i = 0; i < STORES; i++)
        if (w->of[0][i] && !lsm_is_clean(w->stores[i]))
            (void)!lsm_flush(w->stores[i]);
}
struct clean {
    struct world_test *w;
    bool is_so;
};
static void look_clean(void *arg)
{
    struct clean *c = arg;

    c->is_so = lsm_is_clean(c->w->stores[0]) && lsm_is_clean(c->w->stores[1]);
}

PROMISE(sync_with_nothing_new_reads_nothing_of_conversations_that_left_memory)
{
    enum { PEERS = 300 };
    struct world_test *w = sync_world(1);
    struct used cold = {.w = w}, first = {.w = w}, second = {.w = w};
    struct clean clean = {.w = w};

    for (user_id u = 100; u < 100 + PEERS; u++) {
        expect(w, ANN, SEND_TO(u, "c", "hi"), CODE_OK, "\"seq\":1");
        knows(ANN, pair_z(w, ANN, u));
    }
    do {
        on_reactor(w, 0, flush, w);
        on_reactor(w, 0, look_clean, &clean);
    } while (!clean.is_so);
    reopen(w, 1, 0);
    on_reactor(w, 0, count_used, &cold);
    json_decref(tree_of(w, ANN, ANN * 10, SYNC(" "))); /* the device that has written: it has it all */
    on_reactor(w, 0, count_used, &first);
    assert_true(first.misses > cold.misses);
    assert_int_equal(first.heads, PEERS);
    json_decref(tree_of(w, ANN, ANN * 10, SYNC(" ")));
    on_reactor(w, 0, count_used, &second);
    assert_int_equal(second.misses, first.misses);
    assert_int_equal(second.heads_used, first.heads_used + PEERS);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(what_stays_behind_says_the_same_as_the_conversation),
        HOLDS(the_longest_unused_go_when_there_is_no_room),
        HOLDS(sync_and_lists_say_the_same_with_and_without_heads),
        HOLDS(sync_with_nothing_new_reads_nothing_of_conversations_that_left_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
