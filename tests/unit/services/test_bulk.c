/* Everything is proved by counts and by order on the reactor's thread; a test decides what a turn finds in the mailbox
 * by letting the reactor stand still while it posts. */
#include "services/bulk.h"
#include "tests/unit/services/sync_world.h"

enum { FLOOD = 1000, LIMIT = 20, OF_TURN = BULK_TURN_ROWS / (BULK_REQUEST_ROWS + LIMIT) + 1 };

/* What the reactor's thread counts; the test's thread looks while that stands still, or has answered everything. */
static struct counts {
    size_t reads, reads_at_send, reads_at_cat, in_turn, most_in_turn;
    size_t rows, most_rows;
    struct turn_hook hook;
} counts;

static void on_turn_end(struct turn_hook *h)
{
    (void)h;
    if (counts.in_turn > counts.most_in_turn)
        counts.most_in_turn = counts.in_turn;
    if (counts.rows > counts.most_rows)
        counts.most_rows = counts.rows;
    counts.in_turn = counts.rows = 0;
}
static void counted_history(void *service, struct request *q)
{
    if (q->actor.user == CAT)
        counts.reads_at_cat = counts.reads;
    counts.reads++;
    counts.in_turn++;
    op_history(service, q);
}
static void counted_send(void *service, struct request *q)
{
    counts.reads_at_send = counts.reads;
    op_message_send(service, q);
}
static void counted_batch(void *service, struct request *q)
{
    counts.rows += ((struct inner_conv_batch *)q->result)->n;
    inner_conv_batch(service, q);
}
static void nothing(void *arg) { (void)arg; }
static void add_hook(void *arg) { loop_hook(arg, &counts.hook); }

/* One reactor whose bulk has its hook already, so that ours is behind it and sees whole turns. */
static struct world_test *counted_world(void)
{
    struct world_test *w = sync_world(1);

    expect(w, ANN, SEND_TO(BEN, "c1", "x"), CODE_OK, "\"seq\":1");
    expect(w, CAT, SEND_TO(DAN, "c1", "x"), CODE_OK, "\"seq\":1");
    expect(w, ANN, JSON("{\"op\":\"history\",\"conv\":\"%s\"}", pair_z(w, ANN, BEN)), CODE_OK, "\"seq\":1");
    w->ops[OP_history] = counted_history;
    w->ops[OP_message_send] = counted_send;
    w->inner[INNER_CONV_BATCH] = counted_batch;
    counts = (struct counts){.hook.fn = on_turn_end};
    on_reactor(w, 0, add_hook, w->threads[0].loop);
    return w;
}

/* A reactor that stands still. */
struct stop {
    struct msg msg;
    sem_t stands, go;
};
static void stand_still(struct msg *m)
{
    struct stop *s = container_of(m, struct stop, msg);

    sem_post(&s->stands);
    sem_wait(&s->go);
}
static void stop_reactor(struct world_test *w, struct stop *s)
{
    s->msg.run = stand_still;
    sem_init(&s->stands, 0, 0);
    sem_init(&s->go, 0, 0);
    mailbox_post(loop_mailbox(w->threads[0].loop), &s->msg);
    sem_wait(&s->stands);
}

/* Reads, each of which is asked for again from inside its answer while the flood is on. */
struct flood {
    struct world_test *w;
    bool is_on; /* the reactor's */
    size_t refused;
    sem_t done;
    struct one {
        struct msg msg;
        struct flood *f;
    } v[BULK_OF_USER + FLOOD];
    char json[256];
};
static void ask_one(struct flood *f, struct one *o);
static void one_done(struct request *q)
{
    struct one *o = q->asker;
    struct flood *f = o->f;

    if (q->code == CODE_UNAVAILABLE && q->retry_after_ms > 0)
        f->refused++;
    else if (q->code != CODE_OK)
        fail_msg("answered %s %s", code_text(q->code), q->why);
    request_free(q);
    if (f->is_on)
        ask_one(f, o);
    else
        sem_post(&f->done);
}
static void ask_one(struct flood *f, struct one *o)
{
    struct request *q = request_new(one_done, o);
    struct frame_head head = {0};

    if (args_parse_frame(arena_dup(&q->arena, str_c(f->json)), q, &head) != CODE_OK)
        fail_msg("not a request: %s", f->json);
    q->actor = (struct actor){ANN, 1};
    bus_request(bus_port(f->w->bus, 0), 0, q);
}
static void start_one(struct msg *m)
{
    struct one *o = container_of(m, struct one, msg);
    ask_one(o->f, o);
}
static struct flood *flood_new(struct world_test *w, size_t n, bool is_on)
{
    struct flood *f = mem_new(struct flood);

    f->w = w;
    f->is_on = is_on;
    sem_init(&f->done, 0, 0);
    snprintf(f->json, sizeof f->json, "{\"id\":1,\"op\":\"history\",\"conv\":\"%s\",\"limit\":%d}", pair_z(w, ANN, BEN),
             LIMIT);
    for (size_t i = 0; i < n; i++) {
        f->v[i] = (struct one){.msg.run = start_one, .f = f};
        mailbox_post(loop_mailbox(w->threads[0].loop), &f->v[i].msg);
    }
    return f;
}
static void flood_off(void *arg) { ((struct flood *)arg)->is_on = false; }
static void flood_end(struct flood *f, size_t n)
{
    on_reactor(f->w, 0, flood_off, f);
    for (size_t i = 0; i < n; i++)
        sem_wait(&f->done);
    sem_destroy(&f->done);
    mem_free(f);
}

PROMISE(a_send_is_served_and_answered_under_a_thousand_reads_that_never_end)
{
    struct world_test *w = counted_world();
    struct stop s;
    struct flood *f;
    struct answer *a;

    stop_reactor(w, &s);
    f = flood_new(w, FLOOD, true);
    a = ask_start(w, 0, CAT, 1, SEND_TO(DAN, "c2", "behind a thousand"));
    sem_post(&s.go);
    answer_wait(a); /* while all thousand are asked for again and again */
    assert_int_equal(a->code, CODE_OK);
    answer_free(a);
    flood_end(f, FLOOD);
    assert_in_range(counts.reads_at_send, 1, OF_TURN);
    assert_in_range(counts.most_in_turn, 1, OF_TURN);
    assert_true(counts.reads >= FLOOD);
    world_end(w);
}

PROMISE(who_reads_once_waits_for_one_turn_of_who_reads_a_thousand_times)
{
    struct world_test *w = counted_world();
    struct stop s;
    struct flood *f;
    struct answer *a;

    stop_reactor(w, &s);
    f = flood_new(w, FLOOD, false);
    a = ask_start(w, 0, CAT, 1, JSON("{\"op\":\"history\",\"conv\":\"%s\"}", pair_z(w, CAT, DAN)));
    sem_post(&s.go);
    answer_wait(a);
    assert_int_equal(a->code, CODE_OK);
    answer_free(a);
    flood_end(f, FLOOD);
    assert_in_range(counts.reads_at_cat, 1, 2 * OF_TURN);
    assert_int_equal(counts.reads, FLOOD + 1);
    assert_in_range(counts.most_in_turn, 1, OF_TURN);
    world_end(w);
}

PROMISE(a_user_at_the_bound_is_unavailable_and_others_are_served)
{
    enum { BEYOND = 50, N = OF_TURN + BULK_OF_USER + BEYOND };
    struct world_test *w = counted_world();
    struct stop s;
    struct flood *f;
    struct answer *a;
    struct metric_set *m = reactor_metrics(w->r[0]);

    stop_reactor(w, &s);
    f = flood_new(w, N, false);
    a = ask_start(w, 0, CAT, 1, JSON("{\"op\":\"history\",\"conv\":\"%s\"}", pair_z(w, CAT, DAN)));
    sem_post(&s.go);
    answer_wait(a);
    assert_int_equal(a->code, CODE_OK);
    answer_free(a);
    for (size_t i = 0; i < N; i++)
        sem_wait(&f->done);
    assert_int_equal(f->refused, BEYOND);
    assert_int_equal(atomic_load(&m->v[METRIC_BULK_REFUSED]), BEYOND);
    flood_end(f, 0);
    expect(w, ANN, JSON("{\"op\":\"history\",\"conv\":\"%s\"}", pair_z(w, ANN, BEN)), CODE_OK, "\"seq\":1");
    assert_int_equal(atomic_load(&m->v[METRIC_BULK_WAITING]), 0);
    world_end(w);
}

PROMISE(looking_at_thousands_of_conversations_is_spread_over_turns)
{
    enum { CONVS = 600, ASKERS = 4 };
    static const user_id askers[ASKERS] = {ANN, BEN, CAT, DAN};
    struct world_test *w = counted_world();
    struct answer *a[ASKERS];

    for (size_t u = 0; u < ASKERS; u++)
        for (user_id i = 0; i < CONVS; i++)
            knows(askers[u], pair_z(w, askers[u], 1000 + i));
    for (size_t u = 0; u < ASKERS; u++)
        a[u] = ask_start(w, 0, askers[u], 1, SYNC(" "));
    for (size_t u = 0; u < ASKERS; u++) {
        answer_wait(a[u]);
        assert_int_equal(a[u]->code, CODE_OK);
        answer_free(a[u]);
    }
    on_reactor(w, 0, nothing, NULL); /* the turn of the last answer is over */
    assert_in_range(counts.most_rows, CONV_BATCH_MAX, BULK_TURN_ROWS + CONV_BATCH_MAX);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_send_is_served_and_answered_under_a_thousand_reads_that_never_end),
        HOLDS(who_reads_once_waits_for_one_turn_of_who_reads_a_thousand_times),
        HOLDS(a_user_at_the_bound_is_unavailable_and_others_are_served),
        HOLDS(looking_at_thousands_of_conversations_is_spread_over_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
