/* Time is the test's: it stands still unless it is moved, so what is due is known to the message. Most tests ask for a
 * sweep of a conversation, as the walk does; two let the walk find what is due. */
#include "services/retention.h"
#include "services/reactor_state.h"
#include "services/shard_log.h"
#include "tests/unit/services/sync_world.h"

#define GET(conv) JSON("{\"op\":\"conversation.get\",\"conv\":\"%s\"}", conv)
#define LIST "{\"op\":\"conversation.list\"}"
#define REPLY(conv, cid, to)                                                                                       \
    JSON("{\"op\":\"message.send\",\"conv\":\"%s\",\"cid\":\"%s\",\"reply_to\":%d,\"content\":{\"type\":\"text\"," \
         "\"text\":\"x\"}}",                                                                                       \
         conv, cid, to)
enum { HOUR = 3600000, DAY = 24 * HOUR };

static _Atomic int64_t now_ms;
static int64_t fake_now(struct env *e)
{
    (void)e;
    return now_ms;
}
static uint64_t real_mono(struct env *e)
{
    (void)e;
    return env_mono_us(env_posix());
}
static void real_random(struct env *e, void *p, size_t n)
{
    (void)e;
    env_random(env_posix(), p, n);
}
static const struct env_ops ops = {fake_now, real_mono, real_random};

static struct world_test *world_with_time(struct world_limits limits)
{
    static struct env env;
    struct world_test *w = world_of_groups(2);

    now_ms = 1764000000000;
    env = (struct env){&ops, env_posix()->fs};
    n_known = 0;
    w->env = &env;
    limits.group_members = w->limits.group_members;
    w->limits = limits;
    w->ops[OP_sync] = op_sync;
    w->ops[OP_conversation_list] = op_conversation_list;
    w->ops[OP_conversation_get] = op_conversation_get;
    w->inner[INNER_CONV_BATCH] = inner_conv_batch;
    w->inner[INNER_RETENTION] = inner_retention;
    w->inner[INNER_ERASE] = inner_erase;
    sync_open(w);
    return w;
}

/* Asks the owner as the directory does. */
struct asking {
    struct world_test *w;
    struct inner_retention what;
    enum code code;
    unsigned to;
    struct msg msg;
    sem_t done;
};
static void asked(struct request *q)
{
    struct asking *a = q->asker;

    a->what = *(struct inner_retention *)q->result;
    a->code = q->code;
    request_free(q);
    sem_post(&a->done);
}
static void start_asking(struct msg *m)
{
    struct asking *a = container_of(m, struct asking, msg);
    struct request *q = request_new(asked, a);
    struct inner_retention *p = arena_alloc(&q->arena, sizeof *p);

    *p = a->what;
    q->inner = INNER_RETENTION;
    q->result = p;
    bus_request(bus_port(a->w->bus, a->to), a->to, q);
}
static struct inner_retention step(struct world_test *w, const char *conv, enum retention_step s, uint64_t ms)
{
    struct asking a = {.w = w, .what = {.step = s, .now_ms = now_ms, .retention_ms = ms}, .msg.run = start_asking};

    assert_true(conv_parse(str_c(conv), &a.what.conv));
    a.to = w->world.owner_of[shard_of(&w->data, &a.what.conv)];
    sem_init(&a.done, 0, 0);
    mailbox_post(loop_mailbox(w->threads[a.to].loop), &a.msg);
    sem_wait(&a.done);
    sem_destroy(&a.done);
    assert_int_equal(a.code, CODE_OK);
    return a.what;
}
static void sweep_all(struct world_test *w, const char *conv)
{
    while (step(w, conv, RETENTION_SWEEP, 0).more)
        ;
}

/* One page of an operator's erasing, to its end. */
struct erasing_page {
    struct world_test *w;
    struct inner_erase what;
    unsigned to;
    struct msg msg;
    sem_t done;
};
static void page_erased(struct request *q)
{
    struct erasing_page *p = q->asker;

    assert_int_equal(q->code, CODE_OK);
    p->what = *(struct inner_erase *)q->result;
    request_free(q);
    sem_post(&p->done);
}
static void start_erasing(struct msg *m)
{
    struct erasing_page *p = container_of(m, struct erasing_page, msg);
    struct request *q = request_new(page_erased, p);
    struct inner_erase *s = arena_alloc(&q->arena, sizeof *s);

    *s = p->what;
    q->inner = INNER_ERASE;
    q->result = s;
    bus_request(bus_port(p->w->bus, p->to), p->to, q);
}
static uint64_t erase_of(struct world_test *w, const char *conv, uint64_t from, uint64_t to)
{
    struct erasing_page p = {.w = w, .what = {.from = from, .to = to}, .msg.run = start_erasing};

    assert_true(conv_parse(str_c(conv), &p.what.conv));
    p.to = w->world.owner_of[shard_of(&w->data, &p.what.conv)];
    sem_init(&p.done, 0, 0);
    mailbox_post(loop_mailbox(w->threads[p.to].loop), &p.msg);
    sem_wait(&p.done);
    sem_destroy(&p.done);
    assert_int_equal(p.what.next, 0);
    return p.what.erased;
}

/* Messages first..last of a talk, a second apart. */
static void send_some(struct world_test *w, const char *conv, user_id from, int first, int last)
{
    for (int i = first; i <= last; i++) {
        now_ms += 1000;
        expect(w, from, SEND(conv, JSON("m%d", i), JSON("%d", i)), CODE_OK, "\"seq\":");
    }
}
static char *pair_of(struct world_test *w, user_id a, user_id b)
{
    char *c = mem_dup(str_c(pair_z(w, a, b)));

    expect(w, a, SEND_TO(b, "first", "first"), CODE_OK, "\"seq\":1");
    know_pair(w, a, b);
    return c;
}
static int64_t oldest(struct world_test *w, user_id who, const char *conv)
{
    struct answer *a = ask(w, 0, who, who * 10, HISTORY(conv, ",\"after\":0"));
    int64_t seq = number_in(a->text, "seq");

    assert_int_equal(a->code, CODE_OK);
    answer_free(a);
    return seq;
}

PROMISE(what_is_older_than_it_is_kept_is_gone_and_what_is_not_stays)
{
    struct world_test *w = world_with_time((struct world_limits){.retention_ms = DAY});
    char *c = pair_of(w, ANN, BEN);

    send_some(w, c, ANN, 2, 40);
    sweep_all(w, c);
    assert_int_equal(oldest(w, BEN, c), 1);
    now_ms += DAY - 10000; /* 30 is a day old, to the millisecond */
    for (int round = 0; round < 2; round++) {
        sweep_all(w, c);
        assert_int_equal(oldest(w, BEN, c), 31);
        expect(w, BEN, GET(c), CODE_OK, "\"first_seq\":31,\"last_seq\":40");
        expect(w, BEN, HISTORY(c, ",\"before\":31"), CODE_OK, "{\"entries\":[],\"more\":false}");
        expect(w, BEN, HISTORY(c, ",\"before\":35,\"limit\":50"), CODE_OK, "\"more\":false}");
        expect(w, BEN, HISTORY(c, ",\"after\":5,\"limit\":2"), CODE_OK, "\"seq\":32");
        expect(w, ANN, REPLY(c, "r30", 30), CODE_BAD_REQUEST, "reply_to");
        sync_crash(w);
    }
    mem_free(c);
    world_end(w);
}

PROMISE(a_conversations_own_retention_comes_before_the_servers)
{
    struct world_test *w = world_with_time((struct world_limits){.retention_ms = DAY});
    char *c = pair_of(w, ANN, BEN);

    send_some(w, c, ANN, 2, 10);
    assert_int_equal(step(w, c, RETENTION_SHOW, 0).retention_ms, RETENTION_SERVER);
    assert_true(step(w, c, RETENTION_SET, RETENTION_FOREVER).retention_ms == RETENTION_FOREVER);
    now_ms += 3 * (int64_t)DAY;
    sync_crash(w); /* it is durable */
    sweep_all(w, c);
    assert_int_equal(oldest(w, BEN, c), 1);
    step(w, c, RETENTION_SET, 4 * (uint64_t)DAY);
    sweep_all(w, c);
    assert_int_equal(oldest(w, BEN, c), 1);
    now_ms += (int64_t)DAY;
    sweep_all(w, c);
    assert_int_equal(oldest(w, BEN, c), 10);
    send_some(w, c, ANN, 11, 12);
    now_ms += 2 * (int64_t)DAY;
    assert_int_equal(step(w, c, RETENTION_SET, RETENTION_SERVER).first_seq, 10);
    sweep_all(w, c);
    assert_int_equal(oldest(w, BEN, c), 12);
    mem_free(c);
    world_end(w);
}

/* Page after page, and the last stays as a stub. */
PROMISE(the_newest_loses_its_content_and_is_the_last_one_still)
{
    struct world_test *w = world_with_time((struct world_limits){.retention_ms = DAY});
    char *c = pair_of(w, ANN, BEN);
    struct inner_retention s;
    unsigned pages = 0;

    send_some(w, c, ANN, 2, 2 * FORGET_MAX + 50);
    now_ms += 2 * (int64_t)DAY;
    do {
        s = step(w, c, RETENTION_SWEEP, 0);
        pages++;
    } while (s.more);
    assert_int_equal(pages, 5); /* the first as a stub, three pages, the last as a stub */
    assert_true(s.first_seq == 2 * FORGET_MAX + 50 && s.head == s.first_seq);
    expect(w, BEN, HISTORY(c, ""), CODE_OK, "\"expired\":true}],\"more\":false}");
    expect(w, BEN, LIST, CODE_OK, JSON("\"last_seq\":%d,", 2 * FORGET_MAX + 50));
    assert_false(step(w, c, RETENTION_SWEEP, 0).more);
    sync_crash(w);
    expect(w, BEN, LIST, CODE_OK, "\"unread\":1,");
    send_some(w, c, ANN, 1000, 1000);
    now_ms += 2 * (int64_t)DAY;
    sweep_all(w, c);
    assert_int_equal(oldest(w, BEN, c), 2 * FORGET_MAX + 51);
    mem_free(c);
    world_end(w);
}

PROMISE(a_repeat_of_what_is_no_more_is_answered_as_ever)
{
    struct world_test *w = world_with_time((struct world_limits){.retention_ms = DAY});
    char *c = pair_of(w, ANN, BEN);
    int64_t begun = now_ms;

    send_some(w, c, ANN, 2, 9);
    now_ms += 2 * (int64_t)DAY;
    sweep_all(w, c);
    for (int round = 0; round < 2; round++) {
        expect(w, ANN, SEND_TO(BEN, "first", "first"), CODE_OK,
               JSON("\"seq\":1,\"ts\":%lld,\"dup\":true", (long long)begun));
        for (int i = 2; i <= 9; i++)
            expect(w, ANN, SEND(c, JSON("m%d", i), JSON("%d", i)), CODE_OK,
                   JSON("\"seq\":%d,\"ts\":%lld,\"dup\":true", i, (long long)begun + 1000 * (i - 1)));
        expect(w, ANN, SEND(c, "m3", "other"), CODE_CONFLICT, "cid");
        sync_crash(w);
    }
    send_some(w, c, ANN, 10, 10);
    expect(w, BEN, GET(c), CODE_OK, "\"last_seq\":10");
    mem_free(c);
    world_end(w);
}

/* Such a write has no entry of its own, and of the one that stood only the seq is left. */
PROMISE(a_repeat_of_what_changed_nothing_is_answered_when_all_of_it_is_no_more)
{
    struct world_test *w = world_with_time((struct world_limits){.retention_ms = DAY});
    char *g;

    expect(w, ANN, CREATE("g", USERS_OF(BEN, CAT), ""), CODE_OK, "\"seq\":1");
    g = group_z(w, ANN, "g");
    expect(w, ANN, ROLE(g, "r1", BEN, "admin"), CODE_OK, "\"seq\":2");
    expect(w, ANN, ROLE(g, "r2", BEN, "admin"), CODE_OK, "\"seq\":2");
    send_some(w, g, ANN, 3, 5);
    now_ms += 2 * (int64_t)DAY;
    sweep_all(w, g);
    assert_int_equal(oldest(w, BEN, g), 5);
    for (int round = 0; round < 2; round++) {
        expect(w, ANN, ROLE(g, "r1", BEN, "admin"), CODE_OK, "\"seq\":2,\"ts\":1764000000000,\"dup\":true");
        expect(w, ANN, ROLE(g, "r2", BEN, "admin"), CODE_OK, "\"seq\":2,\"ts\":1764000003000,\"dup\":true");
        expect(w, ANN, CREATE("g", USERS_OF(BEN, CAT), ""), CODE_OK, "\"seq\":1,\"ts\":1764000000000,\"dup\":true");
        sync_crash(w);
    }
    mem_free(g);
    world_end(w);
}

/* An operator's erasing takes what is kept, whatever range it names. */
PROMISE(erasing_what_is_no_more_makes_nothing_of_it)
{
    struct world_test *w = world_with_time((struct world_limits){.retention_ms = DAY});
    char *c = pair_of(w, ANN, BEN);
    struct lsm *store;
    struct entry e;
    struct arena arena = {0};
    struct conv_id id;

    send_some(w, c, ANN, 2, 10);
    now_ms += DAY - 4000;
    sweep_all(w, c);
    assert_int_equal(oldest(w, BEN, c), 7);
    assert_int_equal(erase_of(w, c, 1, 8), 2);
    assert_int_equal(erase_of(w, c, 1, 5), 0);
    sync_crash(w);
    expect(w, BEN, HISTORY(c, ",\"after\":0"), CODE_OK, "\"deleted\":true");
    assert_int_equal(oldest(w, BEN, c), 7);
    assert_true(conv_parse(str_c(c), &id));
    world_close(w);
    world_open(w); /* looked at before anybody asks */
    store = w->stores[w->data.store_of[shard_of(&w->data, &id)]];
    for (uint64_t seq = 1; seq <= 10; seq++) {
        enum err err = convlog_entry(store, shard_of(&w->data, &id), &id, seq, NULL, &arena, &e);
        assert_int_equal(err, seq < 7 ? ERR_NOT_FOUND : ERR_OK);
    }
    arena_deinit(&arena);
    mem_free(c);
    world_end(w);
}

/* A group has entries that are no messages, so that counting needs ordinals. */
static char *group_with_some(struct world_test *w)
{
    char *g;

    expect(w, ANN, CREATE("g", USERS_OF(BEN, CAT), ""), CODE_OK, "\"seq\":1");
    g = group_z(w, ANN, "g");
    for (user_id u = ANN; u <= CAT; u++)
        knows(u, g);
    send_some(w, g, ANN, 2, 5);
    expect(
        w, ANN,
        JSON("{\"op\":\"message.send\",\"conv\":\"%s\",\"cid\":\"m\",\"content\":{\"type\":\"text\",\"text\":\"hi\"},"
             "\"mentions\":[\"%s\"]}",
             g, user_z(BEN)),
        CODE_OK, "\"seq\":6");
    expect(w, CAT, LEAVE(g, "l"), CODE_OK, "\"seq\":7");
    now_ms += 100000;
    send_some(w, g, ANN, 8, 10);
    expect(w, ANN, UPDATE(g, "u", "\"title\":\"new\""), CODE_OK, "\"seq\":11");
    send_some(w, g, ANN, 12, 13);
    return g;
}

PROMISE(unread_counts_what_is_kept)
{
    struct world_test *w = world_with_time((struct world_limits){.retention_ms = DAY});
    char *g = group_with_some(w);

    expect(w, BEN, GET(g), CODE_OK, "\"unread\":10,\"mentions\":1");
    now_ms += DAY - 50000; /* 8 is the oldest that is young enough */
    sweep_all(w, g);
    for (int round = 0; round < 2; round++) {
        expect(w, BEN, GET(g), CODE_OK, "\"first_seq\":8,");
        expect(w, BEN, GET(g), CODE_OK, "\"unread\":5,\"mentions\":0");
        sync_crash(w);
    }
    expect(w, BEN, JSON("{\"op\":\"receipt\",\"conv\":\"%s\",\"read\":9}", g), CODE_OK, "{}");
    expect(w, BEN, GET(g), CODE_OK, "\"unread\":3");
    mem_free(g);
    world_end(w);
}

PROMISE(who_left_keeps_the_conversation_and_nothing_of_it)
{
    struct world_test *w = world_with_time((struct world_limits){.retention_ms = DAY});
    char *g = group_with_some(w);
    json_t *page;

    expect(w, CAT, SEND_TO(CAT, "self", "note"), CODE_OK, "\"seq\":1");
    know_pair(w, CAT, CAT);
    now_ms += DAY - 50000;
    sweep_all(w, g);
    for (int round = 0; round < 2; round++) {
        expect(w, CAT, GET(g), CODE_OK, "\"first_seq\":8,\"last_seq\":7,");
        expect(w, CAT, GET(g), CODE_OK, "\"unread\":0,\"mentions\":0}");
        page = tree_of(w, CAT, 1, LIST);
        assert_int_equal(json_array_size(json_object_get(page, "conversations")), 2);
        assert_null(json_object_get(conv_in(page, g), "last"));
        assert_non_null(json_object_get(conv_in(page, pair_z(w, CAT, CAT)), "last"));
        json_decref(page);
        expect(w, CAT, HISTORY(g, ""), CODE_OK, "{\"entries\":[],\"more\":false}");
        page = sync_page(w, CAT, 1, "", NULL);
        assert_null(conv_in(page, g));
        json_decref(page);
        sync_crash(w);
    }
    mem_free(g);
    world_end(w);
}

PROMISE(a_position_below_what_is_kept_is_reset)
{
    struct world_test *w = world_with_time((struct world_limits){.retention_ms = DAY});
    char *g = group_with_some(w);
    json_t *page;

    now_ms += DAY - 50000;
    sweep_all(w, g);
    for (uint64_t since = 5; since <= 8; since++) {
        page = sync_page(w, BEN, 77, JSON(",\"since\":{\"%s\":%d}", g, (int)since), NULL);
        assert_int_equal(json_is_true(json_object_get(conv_in(page, g), "reset")), since < 7);
        assert_string_equal(seqs_in(page, g), since < 8 ? "8 9 10 11 12 13" : "9 10 11 12 13");
        json_decref(page);
    }
    mem_free(g);
    world_end(w);
}

/* By what stays behind of a conversation that left memory, too. */
PROMISE(a_conversation_that_left_memory_is_looked_at_as_it_is_now)
{
    struct world_test *w = world_with_time((struct world_limits){.retention_ms = DAY, .convs_bytes = 1});
    char *g = group_with_some(w);
    json_t *page;

    for (int i = 0; i < 5; i++)
        expect(w, ANN, SEND_TO((user_id)(100 + i), "x", "others"), CODE_OK, "\"seq\":1");
    now_ms += DAY - 50000;
    sweep_all(w, g);
    for (int i = 0; i < 5; i++)
        expect(w, ANN, SEND_TO((user_id)(100 + i), "y", "others"), CODE_OK, "\"seq\":2");
    page = sync_page(w, BEN, 77, JSON(",\"since\":{\"%s\":3}", g), NULL);
    assert_true(json_is_true(json_object_get(conv_in(page, g), "reset")));
    assert_string_equal(seqs_in(page, g), "8 9 10 11 12 13");
    json_decref(page);
    mem_free(g);
    world_end(w);
}

/* --- the walk --- */

enum { WITHIN_MS = 400 };

/* Every look is a question to the server, whose walk goes on meanwhile. */
static void until_oldest(struct world_test *w, const char *conv, int64_t seq)
{
    while (oldest(w, BEN, conv) != seq)
        ;
}

PROMISE(a_walk_finds_what_is_due_and_nothing_else)
{
    struct world_test *w = world_with_time((struct world_limits){.retention_ms = HOUR, .erase_within_ms = WITHIN_MS});
    char *talks[6];

    for (int i = 0; i < 6; i++) {
        talks[i] = pair_of(w, BEN, (user_id)(50 + i));
        send_some(w, talks[i], BEN, 2, 5);
    }
    step(w, talks[1], RETENTION_SET, RETENTION_FOREVER);
    step(w, talks[2], RETENTION_SET, 10 * (uint64_t)DAY);
    now_ms += HOUR - 500; /* no jump to be doubted; in the talk that was last the last is not due */
    for (int i = 0; i < 6; i++)
        until_oldest(w, talks[i], i == 1 || i == 2 ? 1 : 5);
    assert_int_equal(oldest(w, BEN, talks[1]), 1);
    assert_int_equal(oldest(w, BEN, talks[2]), 1);
    for (int i = 0; i < 6; i++)
        mem_free(talks[i]);
    world_end(w);
}

PROMISE(where_the_server_keeps_all_those_with_a_retention_are_found)
{
    struct world_test *w = world_with_time((struct world_limits){.erase_within_ms = WITHIN_MS});
    char *keeps = pair_of(w, BEN, 50), *forgets = pair_of(w, BEN, 51);

    send_some(w, keeps, BEN, 2, 5);
    send_some(w, forgets, BEN, 2, 5);
    now_ms += DAY;
    step(w, forgets, RETENTION_SET, DAY);
    until_oldest(w, forgets, 5);
    assert_int_equal(oldest(w, BEN, keeps), 1);
    mem_free(keeps);
    mem_free(forgets);
    world_end(w);
}

struct marking {
    struct world_test *w;
    struct conv_id conv;
    int64_t put, got;
};
static void mark(void *arg)
{
    struct marking *m = arg;
    uint16_t shard = shard_of(&m->w->data, &m->conv);
    struct lsm *l = m->w->stores[m->w->data.store_of[shard]];

    if (m->put)
        assert_ok(convlog_put_swept(l, shard, m->put));
    assert_ok(convlog_swept(l, shard, NULL, &m->got));
}
static int64_t marked(struct world_test *w, const char *conv, int64_t put)
{
    struct marking m = {.w = w, .put = put};

    assert_true(conv_parse(str_c(conv), &m.conv));
    on_reactor(w, w->world.owner_of[shard_of(&w->data, &m.conv)], mark, &m);
    return m.got;
}

static uint16_t shard_z(struct world_test *w, const char *conv)
{
    struct conv_id c;

    assert_true(conv_parse(str_c(conv), &c));
    return shard_of(&w->data, &c);
}

static char *pair_elsewhere(struct world_test *w, const char *than)
{
    user_id u = 51;

    while (shard_z(w, pair_z(w, BEN, u)) == shard_z(w, than))
        u++;
    return pair_of(w, BEN, u);
}

PROMISE(a_clock_that_is_far_ahead_of_the_last_sweep_is_not_believed_at_once)
{
    struct world_test *w = world_with_time((struct world_limits){.retention_ms = DAY, .erase_within_ms = WITHIN_MS});
    char *c = pair_of(w, BEN, 50), *other;

    send_some(w, c, BEN, 2, 5);
    while (marked(w, c, 0) == 0)
        ; /* it is swept, and nothing was due */
    now_ms += SWEEP_DOUBT_MS + 10;
    other = pair_elsewhere(w, c); /* of a shard without a mark: its walk shows that passes go on */
    send_some(w, other, BEN, 2, 3);
    step(w, other, RETENTION_SET, 500);
    until_oldest(w, other, 3);
    send_some(w, other, BEN, 4, 6);
    until_oldest(w, other, 6);
    assert_int_equal(oldest(w, BEN, c), 1);
    assert_true(marked(w, c, 0) < now_ms - SWEEP_DOUBT_MS);
    marked(w, c, now_ms - SWEEP_DOUBT_MS); /* a server that stood still for less is believed */
    until_oldest(w, c, 5);
    now_ms -= 10 * (int64_t)DAY; /* and one that goes back forgets late */
    while (marked(w, c, 0) > now_ms)
        ;
    mem_free(c);
    mem_free(other);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(what_is_older_than_it_is_kept_is_gone_and_what_is_not_stays),
        HOLDS(a_conversations_own_retention_comes_before_the_servers),
        HOLDS(the_newest_loses_its_content_and_is_the_last_one_still),
        HOLDS(a_repeat_of_what_is_no_more_is_answered_as_ever),
        HOLDS(a_repeat_of_what_changed_nothing_is_answered_when_all_of_it_is_no_more),
        HOLDS(erasing_what_is_no_more_makes_nothing_of_it),
        HOLDS(unread_counts_what_is_kept),
        HOLDS(who_left_keeps_the_conversation_and_nothing_of_it),
        HOLDS(a_position_below_what_is_kept_is_reset),
        HOLDS(a_conversation_that_left_memory_is_looked_at_as_it_is_now),
        HOLDS(a_walk_finds_what_is_due_and_nothing_else),
        HOLDS(where_the_server_keeps_all_those_with_a_retention_are_found),
        HOLDS(a_clock_that_is_far_ahead_of_the_last_sweep_is_not_believed_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
