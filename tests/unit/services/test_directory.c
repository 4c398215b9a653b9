#include "tests/unit/services/directory_test.h"
#include <sys/stat.h>

#define PASSWORD "correct horse"

struct joining {
    struct msg msg;
    struct rig *g;
    user_id user;
    sem_t done;
};
static void join_run(struct msg *m)
{
    struct joining *j = container_of(m, struct joining, msg);

    bus_join(bus_port(j->g->world.bus, 0), j->user);
    sem_post(&j->done);
}
/* From here on the reactor hears what is told to the user. */
static void join(struct rig *g, user_id user)
{
    struct joining j = {.msg.run = join_run, .g = g, .user = user};

    sem_init(&j.done, 0, 0);
    mailbox_post(loop_mailbox(g->loop), &j.msg);
    sem_wait(&j.done);
    sem_destroy(&j.done);
}
static void expect_closed(struct rig *g, user_id user, device_id device, uint16_t code)
{
    pthread_mutex_lock(&g->lock);
    while (g->n_closed == 0)
        pthread_cond_wait(&g->heard, &g->lock);
    assert_int_equal(g->n_closed, 1);
    assert_true(g->closed[0].user == user && g->closed[0].device == device);
    assert_int_equal(g->closed[0].code, code);
    g->n_closed = 0;
    pthread_mutex_unlock(&g->lock);
}

PROMISE(who_signs_up_has_an_account_a_device_and_a_token_that_works)
{
    struct rig *g = rig_start();
    struct person ann = sign_up(g, "Ann.Smith", PASSWORD);
    struct auth_result who = {0};

    assert_int_equal(check_token(g, ann.token, &who), CODE_OK);
    assert_true(who.user == ann.user && who.device == ann.device);
    rig_expect(rig_op(g, OP_user_me, ann.user, ann.device), CODE_OK, "\"username\":\"ann.smith\"");
    rig_end(g);
}

PROMISE(a_sign_up_that_does_not_fit_is_a_bad_request)
{
    static const char *const names[] = {"an", "with space", "umläut", "a234567890123456789012345678901234", ""};
    struct rig *g = rig_start();
    char long_password[300];
    struct asked *a;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        a = begin_signup(g, names[i], PASSWORD);
        assert_int_equal(rig_wait(a)->code, CODE_BAD_REQUEST);
        rig_free(a);
    }
    memset(long_password, 'x', sizeof long_password);
    long_password[257] = '\0';
    a = begin_signup(g, "ann", long_password);
    assert_int_equal(rig_wait(a)->code, CODE_BAD_REQUEST);
    rig_free(a);
    a = begin_signup(g, "ann", "short12");
    assert_int_equal(rig_wait(a)->code, CODE_BAD_REQUEST);
    rig_free(a);
    long_password[256] = '\0';
    sign_up(g, "ann", long_password);
    rig_end(g);
}

PROMISE(of_many_who_want_a_username_at_once_one_gets_it)
{
    enum { MANY = 12 };
    struct rig *g = rig_start();
    struct asked *a[MANY];
    unsigned won = 0;

    for (size_t i = 0; i < MANY; i++)
        a[i] = begin_signup(g, i % 2 ? "ann" : "ANN", PASSWORD);
    for (size_t i = 0; i < MANY; i++) {
        enum code code = rig_wait(a[i])->code;
        won += code == CODE_OK;
        assert_true(code == CODE_OK || code == CODE_CONFLICT);
        rig_free(a[i]);
    }
    assert_int_equal(won, 1);
    rig_end(g);
}

/* Past the queue of hashes, so that they meet in the directory while the first is between log and tables. */
PROMISE(a_username_is_reserved_from_admission_on)
{
    enum { MANY = 50 };
    struct rig *g = rig_start();
    struct asked *a[MANY];
    unsigned won = 0;

    for (size_t i = 0; i < MANY; i++) {
        struct inner_account *in;
        a[i] = rig_begin(g, world_directory(&g->world));
        in = arena_alloc(&a[i]->q->arena, sizeof *in);
        in->username = STR("ann");
        a[i]->q->inner = INNER_ACCOUNT_ADD;
        a[i]->q->result = in;
    }
    for (size_t i = 0; i < MANY; i++)
        rig_send(a[i]);
    for (size_t i = 0; i < MANY; i++) {
        won += rig_wait(a[i])->code == CODE_OK;
        rig_free(a[i]);
    }
    assert_int_equal(won, 1);
    rig_end(g);
}

PROMISE(a_login_makes_a_device_and_a_wrong_password_or_name_makes_none)
{
    struct rig *g = rig_start();
    struct person ann = sign_up(g, "ann", PASSWORD), again = {0};
    struct auth_result who;

    assert_int_equal(log_in(g, "Ann", PASSWORD, 0, &again), CODE_OK);
    assert_true(again.user == ann.user && again.device != ann.device);
    assert_int_equal(check_token(g, again.token, &who), CODE_OK);
    assert_int_equal(check_token(g, ann.token, &who), CODE_OK);
    assert_int_equal(log_in(g, "ann", "correct horsf", 0, &again), CODE_UNAUTHENTICATED);
    assert_int_equal(log_in(g, "bob", PASSWORD, 0, &again), CODE_UNAUTHENTICATED);
    assert_int_equal(log_in(g, "no such name!", PASSWORD, 0, &again), CODE_UNAUTHENTICATED);
    rig_end(g);
}

PROMISE(a_login_with_a_device_kills_its_old_token_and_closes_its_socket)
{
    struct rig *g = rig_start();
    struct person ann = sign_up(g, "ann", PASSWORD), bob = sign_up(g, "bob", PASSWORD), again = {0};
    struct auth_result before, who;

    join(g, ann.user);
    assert_int_equal(check_token(g, ann.token, &before), CODE_OK);
    assert_int_equal(log_in(g, "ann", PASSWORD, ann.device, &again), CODE_OK);
    assert_true(again.device == ann.device);
    assert_int_equal(check_token(g, ann.token, &who), CODE_UNAUTHENTICATED);
    assert_int_equal(check_token(g, again.token, &who), CODE_OK);
    assert_true(who.revocations > before.revocations);
    expect_closed(g, ann.user, ann.device, 4409);
    assert_int_equal(log_in(g, "ann", PASSWORD, bob.device, &again), CODE_NOT_FOUND);
    assert_int_equal(check_token(g, bob.token, &who), CODE_OK);
    rig_end(g);
}

PROMISE(a_revoked_device_and_a_closed_session_are_dead_at_once)
{
    struct rig *g = rig_start();
    struct person ann = sign_up(g, "ann", PASSWORD), second = {0};
    struct auth_result who;
    struct asked *a;

    join(g, ann.user);
    assert_int_equal(log_in(g, "ann", PASSWORD, 0, &second), CODE_OK);
    a = rig_op(g, OP_device_revoke, ann.user, ann.device);
    a->q->args->device_revoke.device = second.device;
    rig_expect(a, CODE_OK, "{}");
    expect_closed(g, ann.user, second.device, 4401);
    assert_int_equal(check_token(g, second.token, &who), CODE_UNAUTHENTICATED);
    a = rig_op(g, OP_device_revoke, ann.user, ann.device);
    a->q->args->device_revoke.device = second.device;
    rig_expect(a, CODE_NOT_FOUND, "");
    assert_int_equal(log_in(g, "ann", PASSWORD, second.device, &second), CODE_NOT_FOUND);
    rig_expect(rig_op(g, OP_session_delete, ann.user, ann.device), CODE_OK, "{}");
    expect_closed(g, ann.user, ann.device, 4401);
    assert_int_equal(check_token(g, ann.token, &who), CODE_UNAUTHENTICATED);
    rig_end(g);
}

PROMISE(changes_to_one_users_devices_are_judged_one_after_the_other)
{
    enum { MANY = 20 };
    struct rig *g = rig_start();
    struct person ann = sign_up(g, "ann", PASSWORD);
    struct asked *a[MANY];
    unsigned won = 0;

    for (size_t i = 0; i < MANY; i++) {
        a[i] = rig_op(g, OP_device_revoke, ann.user, ann.device);
        a[i]->q->args->device_revoke.device = ann.device;
    }
    for (size_t i = 0; i < MANY; i++)
        rig_send(a[i]);
    for (size_t i = 0; i < MANY; i++) {
        enum code code = rig_wait(a[i])->code;
        won += code == CODE_OK;
        assert_true(code == CODE_OK || code == CODE_NOT_FOUND);
        rig_free(a[i]);
    }
    assert_int_equal(won, 1);
    rig_end(g);
}

PROMISE(what_is_no_token_is_refused)
{
    struct rig *g = rig_start();
    struct auth_result who;

    assert_int_equal(check_token(g, "", &who), CODE_UNAUTHENTICATED);
    assert_int_equal(check_token(g, "x", &who), CODE_UNAUTHENTICATED);
    assert_int_equal(check_token(g, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &who), CODE_UNAUTHENTICATED);
    assert_int_equal(check_token(g, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA!", &who), CODE_UNAUTHENTICATED);
    rig_end(g);
}

PROMISE(a_token_is_nowhere_on_the_disk)
{
    struct rig *g = rig_start();
    struct person ann = sign_up(g, "ann", PASSWORD);
    char command[256];

    rig_close(g);
    snprintf(command, sizeof command, "! grep -rqaF -e '%s' -e '" PASSWORD "' '%s'", ann.token, g->dir);
    assert_int_equal(system(command), 0);
    rig_end(g);
}

PROMISE(a_profile_is_shown_to_others_without_what_is_ones_own)
{
    struct rig *g = rig_start();
    struct person ann = sign_up(g, "ann", PASSWORD), bob = sign_up(g, "bob", PASSWORD);
    struct asked *a = rig_op(g, OP_user_update, ann.user, ann.device);
    struct args_user_update *u = &a->q->args->user_update;
    struct request *q;

    u->has_name = u->has_status = u->has_last_seen = u->has_read_receipts = true;
    u->name = STR("Ann \"A\"");
    u->status = STR("away");
    u->last_seen = STR("contacts");
    rig_expect(a, CODE_OK, "\"last_seen\":\"contacts\",\"read_receipts\":false");

    a = rig_op(g, OP_user_get, bob.user, bob.device);
    a->q->args->user_get.user = ann.user;
    rig_send(a);
    q = rig_wait(a);
    assert_int_equal(q->code, CODE_OK);
    assert_non_null(strstr(q->out.p, "\"name\":\"Ann \\\"A\\\"\",\"status\":\"away\"}"));
    assert_null(strstr(q->out.p, "last_seen"));
    rig_free(a);

    a = rig_op(g, OP_user_find, bob.user, bob.device);
    a->q->args->user_find.username = STR("ANN");
    rig_expect(a, CODE_OK, "\"username\":\"ann\"");
    a = rig_op(g, OP_user_find, bob.user, bob.device);
    a->q->args->user_find.username = STR("zoe");
    rig_expect(a, CODE_NOT_FOUND, "");
    a = rig_op(g, OP_user_get, bob.user, bob.device);
    a->q->args->user_get.user = 12345;
    rig_expect(a, CODE_NOT_FOUND, "");
    a = rig_op(g, OP_user_update, ann.user, ann.device);
    a->q->args->user_update.has_last_seen = true;
    a->q->args->user_update.last_seen = STR("friends");
    rig_expect(a, CODE_BAD_REQUEST, "");
    rig_end(g);
}

PROMISE(devices_are_listed_with_the_asking_one_marked)
{
    struct rig *g = rig_start();
    struct person ann = sign_up(g, "ann", PASSWORD), second = {0};
    struct asked *a;
    struct request *q;

    assert_int_equal(log_in(g, "ann", PASSWORD, 0, &second), CODE_OK);
    a = rig_op(g, OP_device_list, ann.user, ann.device);
    rig_send(a);
    q = rig_wait(a);
    assert_int_equal(q->code, CODE_OK);
    assert_non_null(strstr(q->out.p, "\"current\":true"));
    assert_non_null(strstr(q->out.p, "\"more\":false"));
    rig_free(a);
    a = rig_op(g, OP_device_list, ann.user, ann.device);
    a->q->args->device_list.has_limit = true;
    a->q->args->device_list.limit = 1;
    rig_send(a);
    q = rig_wait(a);
    assert_non_null(strstr(q->out.p, "\"more\":true"));
    assert_true(text_of(q, "cursor").len > 0);
    rig_free(a);
    rig_end(g);
}

PROMISE(accounts_and_tokens_outlive_a_restart)
{
    struct rig *g = rig_start();
    struct person ann = sign_up(g, "ann", PASSWORD), again;
    struct auth_result who;
    struct asked *a;

    rig_restart(g);
    assert_int_equal(check_token(g, ann.token, &who), CODE_OK);
    assert_int_equal(log_in(g, "ann", PASSWORD, 0, &again), CODE_OK);
    a = begin_signup(g, "ann", PASSWORD);
    assert_int_equal(rig_wait(a)->code, CODE_CONFLICT);
    rig_free(a);
    rig_end(g);
}

PROMISE(what_the_tables_lost_comes_back_from_the_log)
{
    struct rig *g = rig_new();
    struct person ann, bob;
    struct auth_result who;
    struct asked *a;
    char saved[128];

    rig_open(g);
    ann = sign_up(g, "ann", PASSWORD);
    rig_close(g);
    snprintf(saved, sizeof saved, "%s/saved.db", g->dir);
    rig_copy_tables(g, g->tables_path, saved);
    rig_open(g);
    bob = sign_up(g, "bob", PASSWORD);
    a = rig_op(g, OP_session_delete, ann.user, ann.device);
    rig_expect(a, CODE_OK, "{}");
    rig_close(g);
    rig_copy_tables(g, saved, g->tables_path); /* as a power cut leaves them that came before any checkpoint */
    rig_open(g);
    assert_int_equal(check_token(g, bob.token, &who), CODE_OK);
    assert_int_equal(check_token(g, ann.token, &who), CODE_UNAUTHENTICATED);
    rig_end(g);
}

static void send_message(struct rig *g, const struct person *from, user_id to, const char *cid)
{
    struct asked *a = rig_op(g, OP_message_send, from->user, from->device);
    struct args_message_send *m = &a->q->args->message_send;

    m->has_user = true;
    m->user = to;
    m->cid = str_c(cid);
    m->content = STR("{\"type\":\"text\",\"text\":\"hello\"}");
    rig_expect(a, CODE_OK, "\"seq\":");
}

/* Asks again while the tables take nothing. */
static size_t convs_of(struct rig *g, user_id user)
{
    for (;;) {
        struct asked *a = rig_begin(g, world_lookup(&g->world));
        struct inner_convs *in = arena_alloc(&a->q->arena, sizeof *in);
        enum code code;
        size_t n;

        in->user = user;
        a->q->inner = INNER_USER_CONVS;
        a->q->result = in;
        rig_send(a);
        code = rig_wait(a)->code;
        n = in->n;
        rig_free(a);
        if (code == CODE_OK)
            return n;
        assert_int_equal(code, CODE_UNAVAILABLE);
    }
}

PROMISE(a_conversation_that_was_answered_is_in_its_members_lists)
{
    struct rig *g = rig_start();
    struct person ann = sign_up(g, "ann", PASSWORD), bob = sign_up(g, "bob", PASSWORD);

    assert_int_equal(convs_of(g, ann.user), 0);
    for (unsigned i = 0; i < 50; i++) { /* each a conversation of its own: the barrier is what makes it visible */
        char cid[16], name[16];
        user_id to;

        snprintf(cid, sizeof cid, "c%u", i);
        snprintf(name, sizeof name, "peer%u", i);
        struct asked *a = rig_begin(g, world_directory(&g->world));
        struct inner_account *in = arena_alloc(&a->q->arena, sizeof *in);
        in->username = str_c(name);
        a->q->inner = INNER_ACCOUNT_ADD;
        a->q->result = in;
        rig_send(a);
        assert_int_equal(rig_wait(a)->code, CODE_OK);
        to = in->user;
        rig_free(a);
        send_message(g, &ann, to, cid);
        assert_int_equal(convs_of(g, ann.user), i + 1);
        assert_int_equal(convs_of(g, to), 1);
    }
    assert_int_equal(convs_of(g, bob.user), 0);
    rig_restart(g);
    assert_int_equal(convs_of(g, ann.user), 50);
    rig_end(g);
}

PROMISE(a_name_that_is_tried_too_often_has_to_wait)
{
    struct rig *g = rig_new();
    struct person p;
    struct asked *a;
    enum code code = CODE_OK;

    g->is_limited = true;
    rig_open(g);
    for (unsigned i = 0; i < ACCOUNT_ATTEMPTS_PER_MINUTE; i++)
        assert_int_equal(log_in(g, "ann", PASSWORD, 0, &p), CODE_UNAUTHENTICATED);
    a = rig_op(g, OP_session_create, 0, 0);
    a->q->args->session_create.username = STR("ann");
    a->q->args->session_create.password = STR(PASSWORD);
    rig_send(a);
    code = rig_wait(a)->code;
    assert_int_equal(code, CODE_RATE_LIMITED);
    assert_true(a->q->retry_after_ms > 0 && a->q->retry_after_ms <= 60000);
    rig_free(a);
    assert_int_equal(log_in(g, "bob", PASSWORD, 0, &p), CODE_UNAUTHENTICATED);
    rig_end(g);
}

PROMISE(a_full_queue_of_hashes_is_unavailable_and_the_others_are_answered)
{
    enum { MANY = ACCOUNT_HASH_QUEUE + 20 };
    struct rig *g = rig_start();
    struct asked *a[MANY];
    unsigned refused = 0;

    for (size_t i = 0; i < MANY; i++) {
        char name[16];
        snprintf(name, sizeof name, "user%zu", i);
        a[i] = rig_op(g, OP_account_create, 0, 0);
        a[i]->q->args->account_create.username = arena_dup(&a[i]->q->arena, str_c(name));
        a[i]->q->args->account_create.password = STR(PASSWORD);
    }
    for (size_t i = 0; i < MANY; i++)
        rig_send(a[i]);
    for (size_t i = 0; i < MANY; i++) {
        struct request *q = rig_wait(a[i]);
        assert_true(q->code == CODE_OK || q->code == CODE_UNAVAILABLE);
        refused += q->code == CODE_UNAVAILABLE;
        assert_true(q->code == CODE_OK || q->retry_after_ms > 0);
        rig_free(a[i]);
    }
    assert_true(refused > 0 && refused <= 20);
    rig_end(g);
}

PROMISE(a_log_that_cannot_be_written_answers_nothing_and_says_so)
{
    struct rig *g = rig_start();
    struct person ann = sign_up(g, "ann", PASSWORD);
    struct asked *a = rig_op(g, OP_session_delete, ann.user, ann.device);
    struct auth_result who;

    faultfs_fail(g->faults, FAULT_WRITE | FAULT_SYNC, 1, UINT64_MAX, ERR_IO);
    rig_send(a);
    while (atomic_load(&g->failures) == 0)
        sched_yield();
    faultfs_heal(g->faults);
    assert_int_equal(check_token(g, ann.token, &who), CODE_OK); /* it did not happen */
    rig_close(g);
    assert_int_equal(sem_trywait(&a->done), -1); /* and was not answered */
    rig_free(a);
    rig_end(g);
}

static struct asked *begin_seed(struct rig *g, const char *prefix, uint64_t count, struct buf *lines)
{
    struct asked *a = rig_begin(g, world_directory(&g->world));
    struct inner_seed *in = arena_alloc(&a->q->arena, sizeof *in);

    *in = (struct inner_seed){.prefix = str_c(prefix), .count = count, .lines = lines};
    a->q->inner = INNER_SEED;
    a->q->result = in;
    rig_send(a);
    return a;
}

PROMISE(seeded_accounts_have_tokens_that_work_and_no_password)
{
    struct rig *g = rig_start();
    struct buf lines = {0};
    struct asked *a = begin_seed(g, "U", 5000, &lines);
    struct str rest, line, field, tail;
    struct auth_result who;
    struct person p;
    char token[64] = {0};
    size_t n = 0;

    assert_int_equal(rig_wait(a)->code, CODE_OK);
    rig_free(a);
    for (rest = buf_get(&lines); str_cut(rest, '\n', &line, &rest); n++) {
        char name[16];
        snprintf(name, sizeof name, "u%06zu", n);
        assert_true(str_cut(line, '\t', &field, &tail));
        if (!str_eq(field, str_c(name)))
            fail_msg("%s is not in " STR_FMT, name, STR_ARG(line));
        if (n == 4999)
            memcpy(token, line.p + line.len - TOKEN_TEXT, TOKEN_TEXT);
    }
    assert_int_equal(n, 5000);
    assert_int_equal(check_token(g, token, &who), CODE_OK);
    assert_int_equal(log_in(g, "u000007", PASSWORD, 0, &p), CODE_UNAUTHENTICATED);
    a = begin_seed(g, "u", 20, &lines);
    assert_int_equal(rig_wait(a)->code, CODE_CONFLICT);
    assert_non_null(strstr(a->q->why, "u000000"));
    rig_free(a);
    a = begin_seed(g, "not a name ", 20, &lines);
    assert_int_equal(rig_wait(a)->code, CODE_BAD_REQUEST);
    rig_free(a);
    buf_deinit(&lines);
    rig_end(g);
}

PROMISE(a_full_disk_is_unavailable_and_heals)
{
    struct rig *g = rig_new();
    struct buf lines = {0};
    struct asked *a;
    struct auth_result who;
    struct person ann, bob;

    g->segment_bytes = 64 << 10;
    rig_open(g);
    ann = sign_up(g, "ann", PASSWORD);
    faultfs_fail(g->faults, FAULT_FILL, 1, UINT64_MAX, ERR_FULL);
    a = begin_seed(g, "u", 100000, &lines); /* more than what is reserved takes */
    assert_int_equal(rig_wait(a)->code, CODE_UNAVAILABLE);
    rig_free(a);
    for (enum code code = CODE_OK; code == CODE_OK; rig_free(a)) { /* what is left over may have room for a few */
        a = rig_op(g, OP_user_update, ann.user, ann.device);
        a->q->args->user_update.has_status = true;
        a->q->args->user_update.status = STR("patient");
        rig_send(a);
        code = rig_wait(a)->code;
        assert_true(code == CODE_OK || (code == CODE_UNAVAILABLE && a->q->retry_after_ms > 0));
    }
    assert_int_equal(check_token(g, ann.token, &who), CODE_OK);
    faultfs_heal(g->faults);
    for (enum code code = CODE_UNAVAILABLE; code != CODE_OK;) { /* when segments were reserved again */
        code = log_in(g, "ann", PASSWORD, 0, &bob);
        assert_true(code == CODE_OK || code == CODE_UNAVAILABLE);
    }
    assert_int_equal(check_token(g, bob.token, &who), CODE_OK);
    assert_int_equal(atomic_load(&g->failures), 0);
    buf_deinit(&lines);
    rig_end(g);
}

static struct asked *begin_barrier(struct rig *g, uint64_t target)
{
    struct asked *a = rig_begin(g, world_directory(&g->world));
    struct inner_barrier *b = arena_alloc(&a->q->arena, sizeof *b);
    uint64_t *targets = arena_alloc(&a->q->arena, sizeof *targets);

    *targets = target;
    b->targets = targets;
    a->q->inner = INNER_BARRIER;
    a->q->result = b;
    rig_send(a);
    return a;
}

PROMISE(who_waits_for_the_tables_too_long_is_told_to_come_again)
{
    struct rig *g = rig_new();
    struct asked *first, *second;

    g->barrier_ms = 1;
    rig_open(g);
    first = begin_barrier(g, UINT64_MAX);
    second = begin_barrier(g, UINT64_MAX);
    assert_int_equal(rig_wait(first)->code, CODE_UNAVAILABLE);
    assert_true(first->q->retry_after_ms > 0);
    assert_int_equal(rig_wait(second)->code, CODE_UNAVAILABLE);
    rig_free(first);
    rig_free(second);
    first = begin_barrier(g, 0);
    assert_int_equal(rig_wait(first)->code, CODE_OK);
    rig_free(first);
    rig_end(g);
}

/* Many users; the last one's token is not needed. */
enum { CROWD = 200 };
static void seed_crowd(struct rig *g, user_id crowd[CROWD])
{
    struct buf lines = {0};
    struct asked *a = begin_seed(g, "u", CROWD, &lines);
    struct str rest, line, name, user;
    size_t n = 0;

    assert_int_equal(rig_wait(a)->code, CODE_OK);
    rig_free(a);
    for (rest = buf_get(&lines); str_cut(rest, '\n', &line, &rest); n++) {
        assert_true(str_cut(line, '\t', &name, &line) && str_cut(line, '\t', &user, &line));
        assert_true(user_parse(user, &crowd[n]));
    }
    assert_int_equal(n, CROWD);
    buf_deinit(&lines);
}

static struct asked *begin_group(struct rig *g, user_id by, const user_id *v, size_t n, unsigned cid)
{
    struct asked *a = rig_op(g, OP_group_create, by, 1);
    struct args_group_create *args = &a->q->args->group_create;
    char text[16];

    snprintf(text, sizeof text, "g%u", cid);
    args->title = STR("t");
    args->cid = arena_dup(&a->q->arena, str_c(text));
    args->members.v = arena_alloc(&a->q->arena, n * sizeof *v);
    memcpy(args->members.v, v, n * sizeof *v);
    args->members.n = n;
    rig_send(a);
    return a;
}

static int64_t metric_of(struct rig *g, const char *name)
{
    struct buf b = {0}, line = {0};
    const char *at;
    int64_t n;

    metrics_print(g->world.metrics, &b);
    buf_char(&b, '\0');
    buf_printf(&line, "\n%s ", name);
    buf_char(&line, '\0');
    at = strstr(b.p, line.p);
    assert_non_null(at);
    n = strtoll(at + line.len - 1, NULL, 10);
    buf_deinit(&b);
    buf_deinit(&line);
    return n;
}

PROMISE(what_is_made_at_once_reaches_the_tables_in_slices)
{
    enum { GROUPS = 60, ROWS = GROUPS * CROWD, SLICE = 2000 + CROWD };
    struct rig *g = rig_start();
    struct asked *a[GROUPS];
    struct db *rival = NULL;
    user_id crowd[CROWD];
    int64_t before;

    seed_crowd(g, crowd);
    before = metric_of(g, "parley_tables_commits_total");
    assert_ok(db_open(g->tables_path, &rival));
    assert_ok(db_begin(rival));
    for (unsigned i = 0; i < GROUPS; i++)
        a[i] = begin_group(g, crowd[0], crowd + 1, CROWD - 1, i);
    for (unsigned i = 0; i < GROUPS; i++) {
        assert_int_equal(rig_wait(a[i])->code, CODE_OK);
        rig_free(a[i]);
    }
    db_rollback(rival);
    db_close(rival);
    assert_int_equal(convs_of(g, crowd[CROWD - 1]), GROUPS);
    assert_true(metric_of(g, "parley_tables_commits_total") - before >= ROWS / SLICE);
    rig_end(g);
}

PROMISE(nobody_is_in_more_groups_than_a_user_may_be)
{
    struct rig *g = rig_new();
    user_id crowd[CROWD];
    struct asked *a;

    g->limits.user_groups = 3;
    rig_open(g);
    seed_crowd(g, crowd);
    for (unsigned i = 0; i < 3; i++) {
        a = begin_group(g, crowd[0], crowd + 1, 1, i);
        assert_int_equal(rig_wait(a)->code, CODE_OK);
        rig_free(a);
        assert_int_equal(convs_of(g, crowd[0]), i + 1); /* the tables have it */
    }
    a = begin_group(g, crowd[0], crowd + 2, 1, 3);
    assert_int_equal(rig_wait(a)->code, CODE_TOO_LARGE);
    rig_free(a);
    a = begin_group(g, crowd[2], crowd, 2, 0);
    assert_int_equal(rig_wait(a)->code, CODE_TOO_LARGE);
    assert_non_null(strstr(a->q->why, "groups"));
    rig_free(a);
    a = begin_group(g, crowd[0], crowd + 1, 1, 0);
    assert_non_null(strstr(rig_wait(a)->out.p, "\"dup\":true"));
    rig_free(a);
    a = begin_group(g, crowd[2], crowd + 3, 5, 0);
    assert_int_equal(rig_wait(a)->code, CODE_OK);
    rig_free(a);
    rig_end(g);
}

PROMISE(who_waits_for_ones_devices_is_bounded)
{
    enum { MANY = DIRECTORY_WRITES_MAX + 100 };
    struct rig *g = rig_start();
    struct person ann = sign_up(g, "ann", PASSWORD);
    struct asked **a = mem_new_array(struct asked *, MANY), *fence;
    struct db *rival = NULL;
    unsigned won = 0, refused = 0;

    assert_ok(db_open(g->tables_path, &rival));
    assert_ok(db_begin(rival)); /* so the first stays under way */
    for (size_t i = 0; i < MANY; i++) {
        a[i] = rig_op(g, OP_device_revoke, ann.user, ann.device);
        a[i]->q->args->device_revoke.device = ann.device;
        rig_send(a[i]);
    }
    fence = begin_barrier(g, 0); /* served behind them */
    rig_wait(fence);
    rig_free(fence);
    db_rollback(rival);
    db_close(rival);
    for (size_t i = 0; i < MANY; i++) {
        enum code code = rig_wait(a[i])->code;

        won += code == CODE_OK;
        refused += code == CODE_UNAVAILABLE;
        rig_free(a[i]);
    }
    assert_int_equal(won, 1);
    assert_int_equal(refused, 100);
    mem_free(a);
    rig_end(g);
}

PROMISE(while_the_tables_lag_nobody_makes_them_lag_more)
{
    struct rig *g = rig_new();
    struct db *rival = NULL;
    user_id crowd[CROWD];
    struct asked *a;
    enum code code;

    g->limits.tables_lag = 10;
    rig_open(g);
    seed_crowd(g, crowd);
    assert_ok(db_open(g->tables_path, &rival));
    assert_ok(db_begin(rival));
    a = begin_group(g, crowd[0], crowd + 1, 20, 1);
    assert_int_equal(rig_wait(a)->code, CODE_OK);
    rig_free(a);
    a = begin_group(g, crowd[0], crowd + 1, 20, 2);
    assert_int_equal(rig_wait(a)->code, CODE_UNAVAILABLE);
    assert_true(a->q->retry_after_ms > 0);
    rig_free(a);
    a = begin_group(g, crowd[0], crowd + 1, 20, 1); /* a repeat is one all the same */
    assert_int_equal(rig_wait(a)->code, CODE_OK);
    assert_non_null(strstr(a->q->out.p, "\"dup\":true"));
    rig_free(a);
    db_rollback(rival);
    db_close(rival);
    do { /* they take it now */
        a = begin_group(g, crowd[0], crowd + 1, 20, 2);
        code = rig_wait(a)->code;
        rig_free(a);
    } while (code == CODE_UNAVAILABLE);
    assert_int_equal(code, CODE_OK);
    rig_end(g);
}

PROMISE(tables_that_take_nothing_refuse_writes_and_lose_none)
{
    struct rig *g = rig_start();
    struct person ann = sign_up(g, "ann", PASSWORD);
    struct asked *first = rig_op(g, OP_user_update, ann.user, ann.device);
    struct db *rival = NULL;
    enum code code = CODE_OK;

    assert_ok(db_open(g->tables_path, &rival));
    assert_ok(db_begin(rival)); /* the writer's lock, as an operator's shell may hold it */
    first->q->args->user_update.has_status = true;
    first->q->args->user_update.status = STR("patient");
    rig_send(first);
    while (code == CODE_OK) { /* until the directory has noticed */
        struct asked *a = begin_barrier(g, UINT64_MAX);
        code = rig_wait(a)->code;
        rig_free(a);
    }
    assert_int_equal(code, CODE_UNAVAILABLE);
    rig_expect(rig_op(g, OP_session_delete, ann.user, ann.device), CODE_UNAVAILABLE, "");
    assert_int_equal(sem_trywait(&first->done), -1);
    db_rollback(rival);
    db_close(rival);
    assert_int_equal(rig_wait(first)->code, CODE_OK); /* the log had it; the tables took it at the next try */
    assert_non_null(strstr(first->q->out.p, "patient"));
    rig_free(first);
    assert_int_equal(atomic_load(&g->failures), 0);
    rig_end(g);
}

static void admin_ask(struct rig *g, const char *line, struct buf *out)
{
    int fd = -1;
    char bytes[4096];
    ssize_t n;

    assert_ok(admin_connect(g->dir, &fd));
    assert_int_equal(write(fd, line, strlen(line)), strlen(line));
    while ((n = read(fd, bytes, sizeof bytes)) > 0)
        buf_add(out, bytes, (size_t)n);
    buf_char(out, '\0');
    close(fd);
}

PROMISE(the_owner_seeds_a_running_server_through_its_socket)
{
    struct rig *g = rig_new();
    struct buf out = {0};
    struct stat st;
    char path[128];
    int fd;

    g->has_admin = true;
    rig_open(g);
    snprintf(path, sizeof path, "%s/admin.sock", g->dir);
    assert_ok(stat(path, &st));
    assert_int_equal(st.st_mode & 0777, 0600);
    admin_ask(g, "seed load- 3000\n", &out);
    assert_non_null(strstr(out.p, "load-002999\tu"));
    assert_non_null(strstr(out.p, "\nok\n"));
    buf_clear(&out);
    admin_ask(g, "seed load- 1\n", &out);
    assert_string_equal(out.p, "error conflict the username is taken: load-000000\n");
    buf_clear(&out);
    admin_ask(g, "dance\n", &out);
    assert_non_null(strstr(out.p, "error bad_request"));
    assert_ok(admin_connect(g->dir, &fd)); /* who says nothing holds nothing up */
    rig_close(g);
    close(fd);
    assert_int_equal(stat(path, &st), -1);
    assert_int_equal(admin_connect(g->dir, &fd), ERR_NOT_FOUND);
    buf_deinit(&out);
    rig_end(g);
}

struct owing {
    struct owed_batch batch;
    sem_t done;
};
static void owed_done(struct owed_batch *b) { sem_post(&container_of(b, struct owing, batch)->done); }

PROMISE(what_is_owed_is_kept_with_its_position)
{
    struct rig *g = rig_start();
    struct owed_row rows[2] = {{.user = 5, .conv = {{1}}, .first_seq = 1, .last_seq = 4, .count = 4, .since = 9},
                               {.user = 6, .conv = {{1}}, .first_seq = 1, .last_seq = 4, .count = 4, .since = 9}};
    struct owing o = {
        .batch = {.log_id = 77, .pos = 1234, .v = rows, .n = 2, .home = loop_mailbox(g->loop), .done = owed_done}};
    struct owed_row got;

    sem_init(&o.done, 0, 0);
    directory_owe(g->directory, &o.batch);
    sem_wait(&o.done);
    assert_ok(o.batch.err);
    sem_destroy(&o.done);
    rig_restart(g);
    assert_int_equal(tables_position(g->tables, 77).owed, 1234);
    assert_int_equal(tables_position(g->tables, 77).owed_durable, 1234);
    rig_close(g);
    struct db *db = NULL;
    assert_ok(db_open_reader(g->tables_path, &db));
    assert_ok(owed_rows_get(db, 6, &rows[1].conv, &got));
    assert_int_equal(got.count, 4);
    db_close(db);
    rig_end(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(who_signs_up_has_an_account_a_device_and_a_token_that_works),
        HOLDS(a_sign_up_that_does_not_fit_is_a_bad_request),
        HOLDS(of_many_who_want_a_username_at_once_one_gets_it),
        HOLDS(a_username_is_reserved_from_admission_on),
        HOLDS(a_login_makes_a_device_and_a_wrong_password_or_name_makes_none),
        HOLDS(a_login_with_a_device_kills_its_old_token_and_closes_its_socket),
        HOLDS(a_revoked_device_and_a_closed_session_are_dead_at_once),
        HOLDS(changes_to_one_users_devices_are_judged_one_after_the_other),
        HOLDS(what_is_no_token_is_refused),
        HOLDS(a_token_is_nowhere_on_the_disk),
        HOLDS(a_profile_is_shown_to_others_without_what_is_ones_own),
        HOLDS(devices_are_listed_with_the_asking_one_marked),
        HOLDS(accounts_and_tokens_outlive_a_restart),
        HOLDS(what_the_tables_lost_comes_back_from_the_log),
        HOLDS(a_conversation_that_was_answered_is_in_its_members_lists),
        HOLDS(a_name_that_is_tried_too_often_has_to_wait),
        HOLDS(a_full_queue_of_hashes_is_unavailable_and_the_others_are_answered),
        HOLDS(a_log_that_cannot_be_written_answers_nothing_and_says_so),
        HOLDS(seeded_accounts_have_tokens_that_work_and_no_password),
        HOLDS(a_full_disk_is_unavailable_and_heals),
        HOLDS(who_waits_for_the_tables_too_long_is_told_to_come_again),
        HOLDS(what_is_made_at_once_reaches_the_tables_in_slices),
        HOLDS(nobody_is_in_more_groups_than_a_user_may_be),
        HOLDS(who_waits_for_ones_devices_is_bounded),
        HOLDS(while_the_tables_lag_nobody_makes_them_lag_more),
        HOLDS(tables_that_take_nothing_refuse_writes_and_lose_none),
        HOLDS(the_owner_seeds_a_running_server_through_its_socket),
        HOLDS(what_is_owed_is_kept_with_its_position),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
