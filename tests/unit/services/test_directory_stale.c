/* When what was overwritten in the directory's tables counts as gone from its log. */
#include "tests/unit/services/directory_test.h"
#include "tests/unit/services/moved_clock.h"
#include "tests/unit/services/worn.h"

enum { WITHIN_MS = 2000, OTHER_LOG = 99 };

static struct rig *start(void)
{
    struct rig *g = rig_new();

    g->env.ops = moved_env()->ops;
    g->limits.erase_within_ms = WITHIN_MS;
    rig_open(g);
    return g;
}

/* On the directory's thread: what it does now and then, and how it stands. */
struct seen {
    struct msg msg;
    struct directory *d;
    int64_t tables, log, all; /* since when: in the tables' files; in the log; in either */
    uint64_t trimmed;
    sem_t done;
};
static void see_run(struct msg *m)
{
    struct seen *s = container_of(m, struct seen, msg);

    directory_checkpoint(s->d);
    s->tables = tables_stale_since(s->d->tables);
    s->log = s->d->stale.since_ms;
    s->all = directory_stale_since(s->d);
    s->trimmed = stream_trimmed(s->d->stream);
    sem_post(&s->done);
}
static struct seen see(struct rig *g)
{
    struct seen s = {.msg.run = see_run, .d = g->directory};

    sem_init(&s.done, 0, 0);
    mailbox_post(loop_mailbox(g->directory->loop), &s.msg);
    sem_wait(&s.done);
    sem_destroy(&s.done);
    return s;
}
#define UNTIL(condition)   \
    while (!(condition)) { \
        sched_yield();     \
    }

static void set_status(struct rig *g, const struct person *p, const char *words)
{
    struct asked *a = rig_op(g, OP_user_update, p->user, p->device);

    a->q->args->user_update.has_status = true;
    a->q->args->user_update.status = str_c(words);
    rig_expect(a, CODE_OK, "");
}

/* Nothing is ready for it, and no space to make it: what is erased stands in the segment that it goes on in. */
PROMISE(an_old_text_is_not_gone_as_long_as_the_log_cannot_go_on_in_a_new_segment)
{
    struct rig *g = start();
    struct person ann = sign_up(g, "ann", "correct horse");
    struct segpool_segment s;

    set_status(g, &ann, "old");
    faultfs_fail(g->faults, FAULT_FILL, 1, UINT64_MAX, ERR_FULL);
    UNTIL(segpool_take(g->segments, OTHER_LOG, &s) == ERR_FULL);
    set_status(g, &ann, "new");
    assert_true(see(g).all > 0);
    jump(10 * WITHIN_MS);
    UNTIL(see(g).tables == 0);
    assert_true(see(g).all > 0);
    faultfs_heal(g->faults);
    UNTIL(see(g).all == 0);
    rig_end(g);
}

PROMISE(a_log_that_another_s_scrub_has_roll_asks_for_none_itself)
{
    struct rig *g = start();
    struct worn own;
    uint64_t ticket;

    (void)sign_up(g, "ann", "correct horse");
    worn_take(&own, g->segments, g->log_dir, g->directory->log_id);
    ticket = segpool_scrub(g->segments);
    UNTIL(see(g).log > 0);
    UNTIL(see(g).trimmed > 0); /* it rolled */
    worn_give_back(&own);
    UNTIL(see(g).log == 0);
    assert_int_equal(segpool_scrub(g->segments), ticket + 1);
    rig_end(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(an_old_text_is_not_gone_as_long_as_the_log_cannot_go_on_in_a_new_segment),
        HOLDS(a_log_that_another_s_scrub_has_roll_asks_for_none_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
