#include "tests/unit/services/directory_test.h"
#include "queue/stream_in.h"
#include "services/directory_state.h"
#include <sched.h>

/* A log that takes the account and then has no room for its device. */
struct two {
    struct msg msg;
    struct rig *g;
    struct request *q[2];
    sem_t done;
    enum code codes[2];
    int n;
};
static void two_done(struct request *q)
{
    struct two *t = q->asker;
    t->codes[t->n++] = q->code;
    request_free(q);
    sem_post(&t->done);
}
static struct request *sign_up_request(struct two *t)
{
    struct request *q = request_new(two_done, t);
    struct inner_account *a = arena_alloc(&q->arena, sizeof *a);

    q->inner = INNER_ACCOUNT_ADD;
    q->origin = bus_port(t->g->world.bus, 0);
    a->username = STR("ana");
    a->password = STR("$argon2id$");
    q->result = a;
    return q;
}
/* On the directory's thread: the second comes when the log has the first account and the tables don't yet. */
static void both(struct msg *m)
{
    struct two *t = container_of(m, struct two, msg);
    struct directory *d = t->g->directory;
    size_t before = d->stream->conf.max_in_flight;

    d->stream->conf.max_in_flight = 1;
    directory_serve(d, t->q[0]);
    stream_flush(d->stream);
    while (stream_committed(d->stream) < stream_end(d->stream))
        sched_yield();
    d->stream->conf.max_in_flight = before;
    directory_serve(d, t->q[1]);
}

PROMISE(a_name_stays_reserved_until_all_that_names_it_in_the_log_is_in_the_tables)
{
    struct rig *g = rig_start();
    struct two t = {.g = g, .msg.run = both};

    sem_init(&t.done, 0, 0);
    t.q[0] = sign_up_request(&t);
    t.q[1] = sign_up_request(&t);
    bus_post(g->world.bus, world_directory(&g->world), &t.msg);
    sem_wait(&t.done);
    usleep(300000);
    assert_int_equal(t.codes[0], CODE_UNAVAILABLE);
    assert_int_equal(atomic_load(&g->failures), 0);
    rig_restart(g); /* the tables are made from the log */
    sem_wait(&t.done);
    assert_int_equal(t.codes[1], CODE_CONFLICT);
    rig_end(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_name_stays_reserved_until_all_that_names_it_in_the_log_is_in_the_tables)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
