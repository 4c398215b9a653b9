/* The bus between threads that the tests run by hand, and between real ones. */
#include "queue/bus.h"
#include "base/hash.h"
#include "tests/lib/unit.h"
#include <pthread.h>
#include <semaphore.h>

static const struct hash_key key = {{4}};

enum { SEEN_MAX = 64 };
struct place {
    struct port *port;
    struct mailbox *box;
    sem_t woken;
    unsigned forward_to; /* the server hands on to this port; its own: it answers */
    int served;
    unsigned n_seen;
    struct delivery seen[SEEN_MAX];
};

static void wake(void *arg) { sem_post(arg); }

static void serve(void *ctx, struct request *r)
{
    struct place *p = ctx;
    p->served++;
    if (p->forward_to != port_index(p->port)) {
        bus_forward(p->port, p->forward_to, r);
        return;
    }
    buf_printf(&r->out, "{\"by\":%u}", port_index(p->port));
    request_ok(r);
    bus_reply(p->port, r);
}

static void sink(void *ctx, const struct delivery *d)
{
    struct place *p = ctx;
    p->seen[p->n_seen++ % SEEN_MAX] = *d;
}

struct town {
    struct bus *bus;
    struct place at[3];
};

static void town_start(struct town *t, size_t bound)
{
    *t = (struct town){0};
    bus_create(&(struct bus_conf){3, &key}, &t->bus);
    for (unsigned i = 0; i < 3; i++) {
        struct place *p = &t->at[i];
        p->port = bus_port(t->bus, i);
        p->forward_to = i;
        sem_init(&p->woken, 0, 0);
        mailbox_create(wake, &p->woken, &p->box);
        port_attach(p->port, p->box);
        port_bound(p->port, bound);
        bus_serve(p->port, serve, p);
        bus_sink(p->port, sink, p);
    }
}

static void town_end(struct town *t)
{
    bus_destroy(t->bus);
    for (unsigned i = 0; i < 3; i++) {
        mailbox_destroy(t->at[i].box);
        sem_destroy(&t->at[i].woken);
    }
}

static void on_done(struct request *r) { ++*(int *)r->asker; }

PROMISE(a_request_to_ones_own_port_is_a_plain_call)
{
    struct town t;
    int done = 0;

    town_start(&t, 16);
    struct request *r = request_new(on_done, &done);
    bus_request(t.at[1].port, 1, r);
    assert_int_equal(done, 1);
    assert_int_equal(r->code, CODE_OK);
    request_free(r);
    town_end(&t);
}

PROMISE(a_request_crosses_and_its_answer_comes_back)
{
    struct town t;
    int done = 0;

    town_start(&t, 16);
    struct request *r = request_new(on_done, &done);
    bus_request(t.at[0].port, 1, r);
    assert_int_equal(t.at[1].served, 0);
    mailbox_drain(t.at[1].box);
    assert_int_equal(t.at[1].served, 1);
    assert_int_equal(done, 0);
    mailbox_drain(t.at[0].box);
    assert_int_equal(done, 1);
    assert_true(str_eq(buf_get(&r->out), STR("{\"by\":1}")));
    request_free(r);
    town_end(&t);
}

PROMISE(a_forwarded_request_is_answered_to_who_asked_first)
{
    struct town t;
    int done = 0;

    town_start(&t, 16);
    t.at[1].forward_to = 2;
    struct request *r = request_new(on_done, &done);
    bus_request(t.at[0].port, 1, r);
    mailbox_drain(t.at[1].box);
    mailbox_drain(t.at[2].box);
    mailbox_drain(t.at[1].box);
    assert_int_equal(done, 0);
    mailbox_drain(t.at[0].box);
    assert_int_equal(done, 1);
    assert_true(str_eq(buf_get(&r->out), STR("{\"by\":2}")));
    request_free(r);
    t.at[1].forward_to = 0; /* back to the asker's own port */
    r = request_new(on_done, &done);
    bus_request(t.at[0].port, 1, r);
    mailbox_drain(t.at[1].box);
    mailbox_drain(t.at[0].box);
    assert_int_equal(done, 2);
    request_free(r);
    town_end(&t);
}

PROMISE(a_request_to_a_full_mailbox_is_answered_unavailable)
{
    struct town t;
    int done = 0;
    struct request *r[3];

    town_start(&t, 2);
    for (int i = 0; i < 3; i++) {
        r[i] = request_new(on_done, &done);
        bus_request(t.at[0].port, 1, r[i]);
    }
    assert_int_equal(done, 1);
    assert_int_equal(r[2]->code, CODE_UNAVAILABLE);
    mailbox_drain(t.at[1].box);
    mailbox_drain(t.at[0].box);
    assert_int_equal(done, 3);
    for (int i = 0; i < 3; i++)
        request_free(r[i]);
    town_end(&t);
}

static void note_offline(void *arg, user_id user) { *(user_id *)arg = *(user_id *)arg * 100 + user; }

static struct delivery entry_for(struct audience *a)
{
    return (struct delivery){.class = DELIVER_ENTRY, .frame = frame_text(STR("{}")), .to = a};
}

static struct audience *audience_of_1_to(unsigned n)
{
    struct audience *a = audience_new(n);
    for (unsigned i = 0; i < n; i++)
        a->users[i] = i + 1;
    return a;
}

PROMISE(an_emit_reaches_each_port_once_and_tells_who_is_nowhere)
{
    struct town t;
    user_id offline = 0;
    struct audience *a = audience_of_1_to(5);
    struct delivery d = entry_for(a);

    town_start(&t, 16);
    bus_join(t.at[0].port, 1);
    bus_join(t.at[1].port, 1);
    bus_join(t.at[1].port, 2);
    bus_join(t.at[2].port, 9); /* not addressed */
    bus_emit(t.at[0].port, &d, note_offline, &offline);
    assert_int_equal(offline, 30405);
    assert_int_equal(t.at[0].n_seen, 1); /* at once: it is here */
    assert_int_equal(t.at[1].n_seen, 0);
    assert_int_equal(mailbox_drain(t.at[1].box), 1);
    assert_int_equal(t.at[1].n_seen, 1);
    assert_ptr_equal(t.at[1].seen[0].frame, d.frame);
    assert_int_equal(port_waiting(t.at[2].port), 0);
    bus_leave(t.at[1].port, 2);
    bus_leave(t.at[1].port, 1);
    assert_true(bus_is_online(t.bus, 1));
    assert_false(bus_is_online(t.bus, 2));
    bus_emit(t.at[0].port, &d, NULL, NULL);
    assert_int_equal(port_waiting(t.at[1].port), 0);
    assert_int_equal(atomic_load(&d.frame->refs), 1); /* all that crossed gave theirs back */
    assert_int_equal(atomic_load(&a->refs), 1);
    frame_unref(d.frame);
    audience_unref(a);
    town_end(&t);
}

PROMISE(one_user_alone_can_be_addressed_and_a_sender_left_out)
{
    struct town t;
    user_id offline = 0;
    struct audience *a = audience_of_1_to(2);
    struct delivery d = entry_for(a);

    town_start(&t, 16);
    bus_join(t.at[1].port, 1);
    d.skip_user = 1;
    bus_emit(t.at[0].port, &d, note_offline, &offline);
    assert_int_equal(offline, 2);
    assert_int_equal(port_waiting(t.at[1].port), 0);
    d.skip_device = 77; /* the sender's other devices are there to be told */
    bus_emit(t.at[0].port, &d, NULL, NULL);
    assert_int_equal(mailbox_drain(t.at[1].box), 1);
    struct delivery bye = {.class = DELIVER_CLOSE, .only_user = 1, .only_device = 77, .close_code = 4001};
    bus_emit(t.at[0].port, &bye, NULL, NULL);
    assert_int_equal(mailbox_drain(t.at[1].box), 1);
    assert_int_equal(t.at[1].seen[1].close_code, 4001);
    frame_unref(d.frame);
    audience_unref(a);
    town_end(&t);
}

PROMISE(entries_dropped_at_a_full_mailbox_become_one_loss)
{
    struct town t;
    struct audience *a = audience_of_1_to(1);
    struct delivery d = entry_for(a), e = d, bye = {.class = DELIVER_CLOSE, .only_user = 1};
    e.class = DELIVER_EPHEMERAL;

    town_start(&t, 4);
    bus_join(t.at[1].port, 1);
    for (int i = 0; i < 4; i++)
        bus_emit(t.at[0].port, &e, NULL, NULL);
    bus_emit(t.at[0].port, &e, NULL, NULL); /* dropped, and nobody is told */
    assert_int_equal(port_waiting(t.at[1].port), 4);
    for (int i = 0; i < 9; i++)
        bus_emit(t.at[0].port, &d, NULL, NULL);
    bus_emit(t.at[0].port, &bye, NULL, NULL); /* never dropped */
    assert_int_equal(mailbox_drain(t.at[1].box), 6);
    assert_int_equal(t.at[1].seen[4].class, DELIVER_LOST);
    assert_int_equal(t.at[1].seen[5].class, DELIVER_CLOSE);
    for (int i = 0; i < 6; i++) /* and once more: the flag was lowered */
        bus_emit(t.at[0].port, &d, NULL, NULL);
    assert_int_equal(mailbox_drain(t.at[1].box), 5);
    assert_int_equal(t.at[1].seen[10].class, DELIVER_LOST);
    assert_int_equal(atomic_load(&d.frame->refs), 1);
    frame_unref(d.frame);
    audience_unref(a);
    town_end(&t);
}

/* A port whose parcels follow the turns of a loop of its own, beside one that is drained by hand. */
struct follower {
    struct town t;
    struct loop *loop;
    struct audience *a;
    struct delivery d;
};

static void follow(struct follower *f)
{
    town_start(&f->t, 0);
    port_bound(f->t.at[1].port, 1000);
    assert_ok(loop_create(&f->loop));
    port_follow(f->t.at[0].port, f->loop);
    bus_join(f->t.at[1].port, 1);
    f->a = audience_of_1_to(1);
    f->d = entry_for(f->a);
}

static void follow_end(struct follower *f)
{
    town_end(&f->t);
    assert_int_equal(atomic_load(&f->d.frame->refs), 1);
    assert_int_equal(atomic_load(&f->a->refs), 1);
    frame_unref(f->d.frame);
    audience_unref(f->a);
    loop_destroy(f->loop);
}

PROMISE(what_a_turn_sends_leaves_by_its_end_in_order_and_earlier_when_it_is_much)
{
    struct follower f;
    int done = 0;
    struct request *r = request_new(on_done, &done);

    follow(&f);
    struct place *to = &f.t.at[1];
    for (uint64_t i = 1; i <= 40; i++) {
        f.d.slot = i;
        bus_emit(f.t.at[0].port, &f.d, NULL, NULL);
    }
    size_t early = port_waiting(to->port);
    assert_true(early > 0 && early < 40);
    assert_int_equal(mailbox_drain(to->box), 1);
    assert_int_equal(to->n_seen, early);
    assert_int_equal(port_waiting(to->port), 0);
    bus_request(f.t.at[0].port, 1, r);
    f.d.slot = 41;
    bus_emit(f.t.at[0].port, &f.d, NULL, NULL);
    assert_int_equal(mailbox_drain(to->box), 0);
    loop_turn(f.loop);
    assert_int_equal(port_waiting(to->port), 42 - early);
    assert_int_equal(mailbox_drain(to->box), 1);
    assert_int_equal(to->n_seen, 41);
    assert_int_equal(to->served, 1);
    for (uint64_t i = 1; i <= 41; i++)
        assert_int_equal(to->seen[i - 1].slot, i);
    loop_turn(f.loop); /* the answer came at once: that port has no turns */
    assert_int_equal(done, 1);
    request_free(r);
    follow_end(&f);
}

PROMISE(what_left_late_comes_before_the_loss_that_follows_it)
{
    struct follower f;

    follow(&f);
    struct place *to = &f.t.at[1];
    bus_emit(f.t.at[0].port, &f.d, NULL, NULL);
    port_bound(to->port, 1);
    bus_emit(f.t.at[2].port, &f.d, NULL, NULL); /* fills it */
    bus_emit(f.t.at[0].port, &f.d, NULL, NULL); /* is dropped */
    mailbox_drain(to->box);
    assert_int_equal(to->n_seen, 3);
    assert_int_equal(to->seen[0].class, DELIVER_ENTRY);
    assert_int_equal(to->seen[1].class, DELIVER_ENTRY);
    assert_int_equal(to->seen[2].class, DELIVER_LOST);
    follow_end(&f);
}

/* A turn with one item, over and over, to a port that does not run: the memory is bounded, not only the number. */
PROMISE(a_parcel_counts_for_its_memory_whatever_is_in_it)
{
    struct follower f;
    unsigned turns = 0;

    follow(&f);
    struct place *to = &f.t.at[1];
    for (; port_waiting(to->port) < 1000; turns++) {
        bus_emit(f.t.at[0].port, &f.d, NULL, NULL);
        loop_turn(f.loop);
    }
    assert_true(turns < 1000 / 4);
    assert_int_equal(mailbox_drain(to->box), turns);
    assert_int_equal(port_waiting(to->port), 0);
    assert_int_equal(to->n_seen, turns);
    follow_end(&f);
}

PROMISE(what_never_left_gives_its_references_back)
{
    struct follower f;

    follow(&f);
    bus_emit(f.t.at[0].port, &f.d, NULL, NULL);
    assert_int_equal(atomic_load(&f.d.frame->refs), 2);
    follow_end(&f);
}

/* A hook behind the port's: what it sends must not wait for the next event. */
struct late {
    struct follower f;
    struct turn_hook hook;
    bool is_armed;
    struct timer arm; /* a message's wake-up would bring a second turn by itself */
};

static void late_sends(struct turn_hook *h)
{
    struct late *l = container_of(h, struct late, hook);
    if (l->is_armed)
        bus_emit(l->f.t.at[0].port, &l->f.d, NULL, NULL);
    l->is_armed = false;
}

static void late_arm(struct timer *t) { container_of(t, struct late, arm)->is_armed = true; }

static void *late_runs(void *arg)
{
    loop_run(((struct late *)arg)->f.loop);
    return NULL;
}

PROMISE(what_a_hook_behind_sends_does_not_wait_for_the_next_event)
{
    struct late l = {.hook.fn = late_sends, .arm.fn = late_arm};
    pthread_t thread;

    follow(&l.f);
    struct place *to = &l.f.t.at[1];
    loop_hook(l.f.loop, &l.hook);
    timer_set(l.f.loop, &l.arm, 1);
    assert_int_equal(pthread_create(&thread, NULL, late_runs, &l), 0);
    while (to->n_seen == 0) {
        sem_wait(&to->woken);
        mailbox_drain(to->box);
    }
    loop_stop(l.f.loop);
    pthread_join(thread, NULL);
    follow_end(&l.f);
}

/* Two real threads: each asks the other, serves it, and gets its entries. */
enum { ASKED = 3000 };

struct life {
    struct place *here;
    unsigned other;
    int done;
    struct frame *frame;
};

static void done_free(struct request *r)
{
    struct life *l = r->asker;
    l->done++;
    request_free(r);
}

static void *live(void *arg)
{
    struct life *l = arg;
    struct delivery d = {.class = DELIVER_ENTRY, .frame = l->frame, .only_user = 100 + l->other};

    for (int i = 0; i < ASKED; i++) {
        bus_request(l->here->port, l->other, request_new(done_free, l));
        bus_emit(l->here->port, &d, NULL, NULL);
        mailbox_drain(l->here->box);
    }
    while (l->done < ASKED || l->here->served < ASKED || l->here->n_seen < ASKED) {
        sem_wait(&l->here->woken);
        mailbox_drain(l->here->box);
    }
    return NULL;
}

PROMISE(two_threads_ask_answer_and_tell_each_other)
{
    struct town t;
    struct frame *f = frame_text(STR("{}"));
    pthread_t threads[2];

    town_start(&t, 1 << 20);
    struct life lives[2] = {{&t.at[0], 1, 0, f}, {&t.at[1], 0, 0, f}};
    for (unsigned i = 0; i < 2; i++)
        bus_join(t.at[i].port, 100 + i);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, live, &lives[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 2; i++)
        assert_int_equal(t.at[i].n_seen, ASKED);
    assert_int_equal(atomic_load(&f->refs), 1);
    frame_unref(f);
    town_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_request_to_ones_own_port_is_a_plain_call),
        HOLDS(a_request_crosses_and_its_answer_comes_back),
        HOLDS(a_forwarded_request_is_answered_to_who_asked_first),
        HOLDS(a_request_to_a_full_mailbox_is_answered_unavailable),
        HOLDS(an_emit_reaches_each_port_once_and_tells_who_is_nowhere),
        HOLDS(one_user_alone_can_be_addressed_and_a_sender_left_out),
        HOLDS(entries_dropped_at_a_full_mailbox_become_one_loss),
        HOLDS(what_a_turn_sends_leaves_by_its_end_in_order_and_earlier_when_it_is_much),
        HOLDS(what_left_late_comes_before_the_loss_that_follows_it),
        HOLDS(a_parcel_counts_for_its_memory_whatever_is_in_it),
        HOLDS(what_never_left_gives_its_references_back),
        HOLDS(what_a_hook_behind_sends_does_not_wait_for_the_next_event),
        HOLDS(two_threads_ask_answer_and_tell_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
