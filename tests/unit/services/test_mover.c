/* What a move does when it may not go on: the placement finds no space, the new store takes too long or nothing. */
#include "services/hold.h"
#include "services/mover.h"
#include "tests/unit/services/directory_test.h"

enum { USERS = 60, BIG = 15 << 10 };

struct rig_move {
    struct rig *g;
    user_id users[USERS];
    pthread_mutex_t lock; /* of what the hook sees */
    pthread_cond_t changed;
    bool is_blocked;           /* the new store's flushes wait */
    unsigned full_at, written; /* the n-th placement finds no space; 0: none */
};

static void on_call(void *arg, enum fault_op op, const char *path)
{
    struct rig_move *m = arg;

    pthread_mutex_lock(&m->lock);
    if (op == FAULT_OPEN && path && strstr(path, "/placement") && ++m->written == m->full_at)
        faultfs_fail(m->g->faults, FAULT_RENAME, 1, 1, ERR_FULL);
    while (op == FAULT_OPEN && path && strstr(path, "/stores/late/") && m->is_blocked)
        pthread_cond_wait(&m->changed, &m->lock);
    pthread_mutex_unlock(&m->lock);
}

static void set_blocked(struct rig_move *m, bool is_blocked)
{
    pthread_mutex_lock(&m->lock);
    m->is_blocked = is_blocked;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

static enum err open_late(void *arg, unsigned store, const char *name, struct lsm **out)
{
    struct rig *g = arg;
    char path[200], *why = NULL;

    (void)store;
    snprintf(path, sizeof path, "%s/stores/%s", g->dir, name);
    assert_ok(lsm_open(&(struct lsm_conf){.env = &g->env,
                                          .dir = path,
                                          .cache = g->cache,
                                          .memtable_bytes = 64 << 10,
                                          .filter_prefix = 18,
                                          .pool = g->pool,
                                          .home = loop_mailbox(g->loop)},
                       &g->late, &why));
    *out = g->late;
    return ERR_OK;
}

static void begin(struct rig_move *m)
{
    char name[16];

    *m = (struct rig_move){.g = rig_new()};
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->changed, NULL);
    m->g->inner[INNER_MOVE] = inner_move;
    m->g->inner[INNER_HOLD] = inner_hold;
    m->g->ops[OP_history] = op_history;
    m->g->is_whole = true;
    m->g->memtable_bytes = 64 << 20;
    m->g->open_store = open_late;
    rig_open(m->g);
    for (unsigned i = 0; i < USERS; i++) {
        snprintf(name, sizeof name, "user%u", i);
        m->users[i] = rig_account(m->g, name);
    }
    faultfs_hook(m->g->faults, FAULT_OPEN, on_call, m);
}

/* On the directory's thread. */
enum what { ASK_STATUS, ASK_ADD, ASK_HOLD };
struct asking {
    struct msg msg;
    struct rig *g;
    enum what what;
    enum code code;
    struct buf out;
    sem_t done;
};
static void on_held(void *arg, struct str lines)
{
    (void)arg;
    (void)lines;
}
static void on_broken(void *arg, enum code code, const char *why)
{
    (void)arg;
    fail_msg("the hold broke: %s %s", code_text(code), why);
}
static void ask_run(struct msg *msg)
{
    struct asking *a = container_of(msg, struct asking, msg);
    const char *why;

    if (a->what == ASK_ADD)
        a->code = mover_add(a->g->directory->mover, STR("late"), &why);
    else if (a->what == ASK_HOLD)
        assert_non_null(hold_start(a->g->directory, &(struct hold_conf){on_held, on_broken, NULL}));
    else
        mover_status(a->g->directory->mover, &a->out);
    sem_post(&a->done);
}
static void ask_mover(struct rig *g, struct asking *a)
{
    a->msg.run = ask_run;
    a->g = g;
    sem_init(&a->done, 0, 0);
    mailbox_post(loop_mailbox(g->directory->loop), &a->msg);
    sem_wait(&a->done);
    sem_destroy(&a->done);
    buf_char(&a->out, '\0');
}

static bool status_has(struct rig *g, const char *words)
{
    struct asking a = {0};
    bool has;

    ask_mover(g, &a);
    has = strstr(a.out.p, words) != NULL;
    buf_deinit(&a.out);
    return has;
}

static void until_status(struct rig *g, const char *words)
{
    while (!status_has(g, words))
        sched_yield();
}

/* What moves stands still; so nothing is under way when the threads end. */
static void stop_moving(struct rig *g)
{
    struct asking a = {.what = ASK_HOLD};

    ask_mover(g, &a);
    buf_deinit(&a.out);
    until_status(g, "note a backup or an export is under way");
}

static void end(struct rig_move *m)
{
    stop_moving(m->g);
    rig_close(m->g);
    faultfs_hook(m->g->faults, 0, NULL, NULL);
    assert_int_equal(atomic_load(&m->g->failures), 0);
    rig_end(m->g);
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->changed);
}

static void add_store(struct rig *g)
{
    struct asking a = {.what = ASK_ADD};

    ask_mover(g, &a);
    assert_int_equal(a.code, CODE_OK);
    buf_deinit(&a.out);
}

static void say(struct rig_move *m, unsigned from, unsigned to, unsigned cid, size_t bytes)
{
    struct asked *a = rig_op(m->g, OP_message_send, m->users[from], 1);
    struct args_message_send *args = &a->q->args->message_send;
    char text[16], *words = arena_alloc(&a->q->arena, bytes);

    snprintf(text, sizeof text, "c%u", cid);
    memset(words, ' ', bytes);
    words[0] = '{';
    words[bytes - 1] = '}';
    args->has_user = true;
    args->user = m->users[to];
    args->cid = arena_dup(&a->q->arena, str_c(text));
    args->content = str_of(words, bytes);
    rig_expect(a, CODE_OK, "\"seq\":"); /* waits, maybe, and is never refused */
}

static void expect_entries(struct rig_move *m, unsigned from, unsigned to, unsigned n)
{
    struct asked *a = rig_op(m->g, OP_history, m->users[from], 1);
    char last[32];

    pair_conv(&m->g->data.keys, m->users[from], m->users[to], &a->q->args->history.conv);
    a->q->args->history.has_limit = true;
    a->q->args->history.limit = 1;
    snprintf(last, sizeof last, "\"seq\":%u,", n);
    rig_expect(a, CODE_OK, last);
}

static void until_moved(struct rig *g)
{
    while (status_has(g, "moved 0\n") || status_has(g, "moved 1\n"))
        sched_yield();
}

PROMISE(without_space_for_the_placement_a_move_is_taken_back_and_tried_again)
{
    struct rig_move m;

    begin(&m);
    for (unsigned i = 1; i < USERS; i++)
        say(&m, 0, i, 0, 100);
    m.full_at = 3; /* behind that of the new store and of the move's beginning: the change itself */
    add_store(m.g);
    until_status(m.g, "note a shard is too busy"); /* requests go on at the old store */
    assert_true(faultfs_has_failed(m.g->faults));
    assert_true(status_has(m.g, "moved 0\n"));
    until_moved(m.g);
    for (unsigned i = 1; i < USERS; i++) {
        say(&m, i, 0, 1, 100);
        expect_entries(&m, 0, i, 2);
    }
    end(&m);
}

/* A pair in the shard that moves: of so many people there is one. */
static void find_pair(struct rig_move *m, unsigned shard, unsigned *from, unsigned *to)
{
    struct conv_id c;

    for (*from = 0; *from < USERS; ++*from) {
        for (*to = *from + 1; *to < USERS; ++*to) {
            pair_conv(&m->g->data.keys, m->users[*from], m->users[*to], &c);
            if (shard_of(&m->g->data, &c) == shard)
                return;
        }
    }
    fail_msg("nobody talks in shard %u", shard);
}

static unsigned moving_shard(struct rig *g)
{
    unsigned shard = UINT32_MAX;

    while (shard == UINT32_MAX) {
        struct asking a = {0};
        const char *at;

        ask_mover(g, &a);
        at = strstr(a.out.p, "moving ");
        if (at)
            shard = (unsigned)strtoul(at + 7, NULL, 10);
        buf_deinit(&a.out);
    }
    return shard;
}

PROMISE(a_store_that_takes_too_long_delays_a_move_and_one_that_takes_nothing_has_it_given_up)
{
    enum { MANY = (20 << 20) / BIG }; /* more than may be missing in the new store */
    struct rig_move m;
    unsigned from, to, shard;

    begin(&m);
    for (unsigned i = 1; i < USERS; i++)
        say(&m, 0, i, 0, 100);
    set_blocked(&m, false);
    add_store(m.g);
    until_status(m.g, "store late active");
    set_blocked(&m, true);
    until_status(m.g, "note a shard is too busy"); /* the flush did not come in time, and requests went on */
    shard = moving_shard(m.g);
    find_pair(&m, shard, &from, &to);
    for (unsigned i = 1; i <= MANY; i++)
        say(&m, from, to, i, BIG);
    set_blocked(&m, false);
    until_status(m.g, "note a copy could not be finished");
    while (moving_shard(m.g) == shard) /* the first is done when another is under way */
        sched_yield();
    for (unsigned i = 1; i < USERS; i++)
        say(&m, i, 0, MANY + 1, 100);
    expect_entries(&m, from, to, MANY + (from == 0 ? 2 : 0));
    end(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(without_space_for_the_placement_a_move_is_taken_back_and_tried_again),
        HOLDS(a_store_that_takes_too_long_delays_a_move_and_one_that_takes_nothing_has_it_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
