/* What is made anew from the conversations is what the logs would have made. */
#include "schema/db.h"
#include "storage/convlog_codec.h"
#include "tests/unit/services/directory_test.h"
#include "services/reactor_state.h"
#include "services/rebuild.h"
#include <sched.h>

enum { USERS = 12, GROUPS = 30, STEPS = 400 };

struct story {
    struct rig *g;
    user_id users[USERS];
    struct conv_id groups[GROUPS];
    unsigned n_groups, n_cids;
    uint64_t dice;
    char saved[128];
};

static unsigned roll(struct story *s, unsigned n)
{
    s->dice = s->dice * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)(s->dice >> 33) % n;
}

static struct str next_cid(struct story *s, struct asked *a)
{
    char text[16];

    snprintf(text, sizeof text, "c%u", s->n_cids++);
    return arena_dup(&a->q->arena, str_c(text));
}

static void set_users(struct asked *a, struct user_list *u, const user_id *v, size_t n)
{
    u->v = arena_alloc(&a->q->arena, n * sizeof *v);
    memcpy(u->v, v, n * sizeof *v);
    u->n = n;
}

/* A refusal is as good: the story only has to be a long one. */
static enum code tell(struct asked *a)
{
    enum code code;

    rig_send(a);
    code = rig_wait(a)->code;
    rig_free(a);
    return code;
}

static void tell_group(struct story *s)
{
    struct asked *a = rig_op(s->g, OP_group_create, s->users[roll(s, USERS)], 1);
    struct args_group_create *args = &a->q->args->group_create;
    char title[16];
    struct request *q;

    snprintf(title, sizeof title, "g%u", s->n_groups);
    args->title = arena_dup(&a->q->arena, str_c(title));
    args->cid = next_cid(s, a);
    args->has_description = roll(s, 2);
    args->description = args->has_description ? STR("of many words") : (struct str){0};
    args->has_announce = args->announce = roll(s, 4) == 0;
    set_users(a, &args->members, s->users + roll(s, USERS - 4), 3);
    rig_send(a);
    q = rig_wait(a);
    assert_int_equal(q->code, CODE_OK);
    assert_true(conv_parse(text_of(q, "conv"), &s->groups[s->n_groups++]));
    rig_free(a);
}

static void tell_words(struct story *s, bool is_pair, struct str content)
{
    struct asked *a = rig_op(s->g, OP_message_send, s->users[roll(s, USERS)], 1);
    struct args_message_send *m = &a->q->args->message_send;

    m->has_user = is_pair;
    m->has_conv = !is_pair;
    if (is_pair)
        m->user = s->users[roll(s, USERS)];
    else
        m->conv = s->groups[roll(s, s->n_groups)];
    m->cid = next_cid(s, a);
    m->content = content;
    tell(a);
}

static void tell_message(struct story *s, bool is_pair)
{
    tell_words(s, is_pair, STR("{\"type\":\"text\",\"text\":\"hello\"}"));
}

static void tell_members(struct story *s, bool is_added)
{
    struct asked *a = rig_op(s->g, is_added ? OP_group_add : OP_group_remove, s->users[roll(s, USERS)], 1);
    struct args_group_add *add = &a->q->args->group_add; /* remove's are the same */

    add->conv = s->groups[roll(s, s->n_groups)];
    add->cid = next_cid(s, a);
    set_users(a, &add->users, &s->users[roll(s, USERS)], 1);
    tell(a);
}

static void tell_leave(struct story *s)
{
    struct asked *a = rig_op(s->g, OP_group_leave, s->users[roll(s, USERS)], 1);

    a->q->args->group_leave.conv = s->groups[roll(s, s->n_groups)];
    a->q->args->group_leave.cid = next_cid(s, a);
    tell(a);
}

static void tell_role(struct story *s)
{
    struct asked *a = rig_op(s->g, OP_group_role, s->users[roll(s, USERS)], 1);
    struct args_group_role *args = &a->q->args->group_role;

    args->conv = s->groups[roll(s, s->n_groups)];
    args->cid = next_cid(s, a);
    args->user = s->users[roll(s, USERS)];
    args->role = (enum role)roll(s, 3);
    tell(a);
}

static void tell_settings(struct story *s)
{
    struct asked *a = rig_op(s->g, OP_group_update, s->users[roll(s, USERS)], 1);
    struct args_group_update *args = &a->q->args->group_update;

    args->conv = s->groups[roll(s, s->n_groups)];
    args->cid = next_cid(s, a);
    args->has_title = true;
    args->title = STR("another");
    args->has_description = roll(s, 2);
    args->has_locked = args->locked = roll(s, 2);
    tell(a);
}

static void tell_receipt(struct story *s)
{
    struct asked *a = rig_op(s->g, OP_receipt, s->users[roll(s, USERS)], 1);
    struct args_receipt *args = &a->q->args->receipt;

    args->conv = s->groups[roll(s, s->n_groups)];
    args->has_read = true;
    args->read = 1 + roll(s, 6);
    tell(a);
}

static void tell_on(struct story *s, unsigned steps)
{
    for (unsigned i = 0; i < steps; i++) {
        switch (roll(s, 10)) {
        case 0:
            tell_members(s, true);
            break;
        case 1:
            tell_members(s, false);
            break;
        case 2:
            tell_leave(s);
            break;
        case 3:
            tell_role(s);
            break;
        case 4:
            tell_settings(s);
            break;
        case 5:
            tell_receipt(s);
            break;
        default:
            tell_message(s, roll(s, 2));
            break;
        }
    }
}

static void story_begin(struct story *s, struct rig *g)
{
    char name[16];

    *s = (struct story){.g = g, .dice = 7};
    g->ops[OP_group_update] = op_group_update;
    g->ops[OP_group_leave] = op_group_leave;
    g->ops[OP_group_role] = op_group_role;
    g->ops[OP_receipt] = op_receipt;
    g->inner[INNER_REBUILD] = inner_rebuild;
    g->is_whole = true;
    rig_open(g);
    for (unsigned i = 0; i < USERS; i++) {
        snprintf(name, sizeof name, "user%u", i);
        s->users[i] = rig_account(g, name);
    }
    rig_close(g);
    snprintf(s->saved, sizeof s->saved, "%s/saved.db", g->dir);
    rig_copy_tables(g, g->tables_path, s->saved);
    rig_open(g);
    for (unsigned i = 0; i < GROUPS; i++)
        tell_group(s);
}

/* The store's log is not replayed by the rig, so nothing may be in it alone. */
struct flushing {
    struct msg msg;
    struct rig *g;
    bool is_clean;
    sem_t done;
};
static void flush_run(struct msg *m)
{
    struct flushing *f = container_of(m, struct flushing, msg);
    struct lsm_stats stats;

    lsm_stats(f->g->store, &stats);
    f->is_clean = lsm_is_clean(f->g->store) && stats.merges == 0;
    if (!lsm_is_clean(f->g->store))
        (void)!lsm_flush(f->g->store);
    sem_post(&f->done);
}
static void flush_store(struct rig *g)
{
    struct flushing f = {.msg.run = flush_run, .g = g};

    sem_init(&f.done, 0, 0);
    while (!f.is_clean) {
        mailbox_post(loop_mailbox(g->loop), &f.msg);
        sem_wait(&f.done);
        sched_yield();
    }
    sem_destroy(&f.done);
}

static int64_t metric_of(struct rig *g, const char *name)
{
    struct buf b = {0}, line = {0};
    const char *at;
    int64_t n;

    metrics_print(g->world.metrics, &b);
    buf_char(&b, '\0');
    buf_printf(&line, "\n%s %c", name, 0);
    at = strstr(b.p, line.p);
    assert_non_null(at);
    n = strtoll(at + line.len - 1, NULL, 10);
    buf_deinit(&b);
    buf_deinit(&line);
    return n;
}

/* Every row of a table as text, in one order. */
static void dump(struct rig *g, struct buf *out)
{
    static const char *const tables[] = {
        "SELECT ifnull(group_concat(quote(conv) || a || '|' || b || '|' || created, char(10)), '') FROM"
        " (SELECT * FROM chats ORDER BY conv)",
        "SELECT ifnull(group_concat(quote(conv) || seq || '|' || title || quote(description) || quote(picture) ||"
        " announce || locked || history_all || '|' || creator || '|' || created, char(10)), '') FROM"
        " (SELECT * FROM groups ORDER BY conv)",
        "SELECT ifnull(group_concat(quote(conv) || user_id || '|' || role || '|' || joined_seq || '|' || joined_at ||"
        " '|' || quote(left_seq), char(10)), '') FROM (SELECT * FROM group_members ORDER BY conv, user_id)",
    };
    struct db *db = NULL;

    assert_ok(db_open_reader(g->tables_path, &db));
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        struct rows q = {0};

        assert_ok(rows_begin(&q, db, tables[i], ""));
        assert_ok(rows_next(&q));
        buf_str(out, rows_str(&q, 0));
        buf_char(out, '\n');
        rows_end(&q);
    }
    db_close(db);
    buf_char(out, '\0');
}

static void dump_owed(struct rig *g, struct buf *out)
{
    struct db *db = NULL;
    struct rows q = {0};

    assert_ok(db_open_reader(g->tables_path, &db));
    assert_ok(
        rows_begin(&q, db,
                   "SELECT ifnull(group_concat(quote(conv) || user_id || '|' || first_seq || '|' || last_seq ||"
                   " '|' || count || '|' || since, char(10)), '') FROM (SELECT * FROM owed ORDER BY conv, user_id)",
                   ""));
    assert_ok(rows_next(&q));
    buf_str(out, rows_str(&q, 0));
    buf_char(out, '\0');
    rows_end(&q);
    db_close(db);
}

static void until_rebuilt(struct rig *g)
{
    while (metric_of(g, "parley_rebuild_shards"))
        sched_yield();
}

static void until_owed(struct rig *g)
{
    const struct stream *log = g->world.streams[0];
    uint64_t tables, owed = 0;

    while (owed < stream_committed(log)) {
        views_durable(g->views, stream_log_id(log), &tables, &owed);
        sched_yield();
    }
}

static void assert_same(const struct buf *a, const struct buf *b)
{
    assert_true(a->len > 2000);
    assert_string_equal(a->p, b->p);
}

/* The tables as they are when the logs are consumed from the beginning. The rig is closed before and after. */
static void dump_twin(struct story *s, struct buf *out)
{
    rig_copy_tables(s->g, s->saved, s->g->tables_path);
    rig_open(s->g);
    rig_close(s->g);
    dump(s->g, out);
}

PROMISE(tables_made_anew_are_those_that_consumed_everything)
{
    struct story s;
    struct buf consumed = {0}, anew = {0};

    story_begin(&s, rig_new());
    tell_on(&s, STEPS);
    flush_store(s.g);
    rig_close(s.g);
    dump(s.g, &consumed);
    rig_copy_tables(s.g, s.saved, s.g->tables_path);
    s.g->detached = REBUILD_TABLES;
    rig_open(s.g);
    until_rebuilt(s.g);
    rig_close(s.g);
    dump(s.g, &anew);
    assert_same(&consumed, &anew);
    assert_int_equal(atomic_load(&s.g->failures), 0);
    buf_deinit(&consumed);
    buf_deinit(&anew);
    rig_end(s.g);
}

PROMISE(what_is_owed_is_made_anew_as_it_was_recorded)
{
    struct story s;
    struct buf recorded = {0}, anew = {0};

    story_begin(&s, rig_new());
    for (unsigned i = 0; i < STEPS; i++) { /* nobody leaves or joins: what was before is owed to nobody who joins */
        if (roll(&s, 3))
            tell_message(&s, roll(&s, 2));
        else
            tell_receipt(&s);
    }
    until_owed(s.g);
    flush_store(s.g);
    rig_close(s.g);
    dump_owed(s.g, &recorded);
    rig_copy_tables(s.g, s.saved, s.g->tables_path);
    s.g->detached = REBUILD_OWED;
    rig_open(s.g);
    until_rebuilt(s.g);
    rig_close(s.g);
    dump_owed(s.g, &anew);
    assert_same(&recorded, &anew);
    buf_deinit(&recorded);
    buf_deinit(&anew);
    rig_end(s.g);
}

/* Ended again and again while rows are made and conversations go on; the last opening makes the rest. */
PROMISE(making_anew_goes_on_behind_every_end_and_misses_no_record_meanwhile)
{
    struct story s;
    struct buf consumed = {0}, anew = {0};
    unsigned ends = 0;
    int64_t left = 1;

    story_begin(&s, rig_new());
    tell_on(&s, STEPS);
    flush_store(s.g);
    rig_close(s.g);
    rig_copy_tables(s.g, s.saved, s.g->tables_path);
    s.g->detached = REBUILD_TABLES | REBUILD_OWED;
    while (left) {
        rig_open(s.g);
        tell_on(&s, 3);
        left = metric_of(s.g, "parley_rebuild_shards");
        flush_store(s.g);
        rig_close(s.g);
        ends += left > 0;
    }
    assert_true(ends > 0);
    dump(s.g, &anew);
    dump_twin(&s, &consumed);
    assert_same(&consumed, &anew);
    buf_deinit(&consumed);
    buf_deinit(&anew);
    rig_end(s.g);
}

static void sql(struct rig *g, const char *text)
{
    struct db *db = NULL;
    enum err err;

    assert_ok(db_open(g->tables_path, &db));
    while ((err = db_run(db, text, "")) == ERR_AGAIN)
        sched_yield();
    assert_ok(err);
    db_close(db);
}

#define POISON "CREATE TRIGGER poison BEFORE INSERT ON groups BEGIN SELECT RAISE(ABORT, 'poison'); END"
/* So that nothing more is passed over: of the directory's, which detaching a reactor's log leaves. */
#define FILL                                                                                                       \
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) INSERT INTO letters (log_id," \
    " pos, kind, shard, subject, kept, attempts, why, sum, body) SELECT 1, i, 64, 256, zeroblob(8), 1, 1, 'w', 0," \
    " x'00' FROM n"

/* Consumers that stand still for good: the tables, for they take no record more and pass over none. */
static void story_stuck(struct story *s, struct rig *g)
{
    g->segment_bytes = 64 << 10;
    story_begin(s, g);
    flush_store(g);
    rig_close(g);
    sql(g, FILL);
    rig_open(g);
    sql(g, POISON);
    s->n_groups--;
    tell_group(s);
}

/* More than the bound, and several segments of it. */
static void talk_until_trimmed(struct story *s, uint64_t pos)
{
    const struct stream *log = s->g->world.streams[0];
    char words[8 << 10];

    memset(words, ' ', sizeof words);
    words[0] = '{';
    words[sizeof words - 1] = '}';
    for (unsigned i = 0; i < 64; i++)
        tell_words(s, true, str_of(words, sizeof words));
    flush_store(s->g);
    while (stream_trimmed(log) <= pos)
        sched_yield();
}

PROMISE(tables_that_stand_still_hold_a_log_up_to_the_bound_and_are_made_anew)
{
    struct rig *g = rig_new();
    struct story s;
    struct buf consumed = {0}, anew = {0};
    uint64_t stuck;

    g->limits.max_lag = 256 << 10;
    story_stuck(&s, g);
    stuck = stream_committed(g->world.streams[0]);
    talk_until_trimmed(&s, stuck);
    assert_true(metric_of(g, "parley_views_detached_total") >= 1);
    assert_true(metric_of(g, "parley_rebuild_shards") > 0); /* the groups are not taken yet */
    sql(g, "DROP TRIGGER poison");
    tell_on(&s, STEPS);
    until_rebuilt(g);
    flush_store(g);
    rig_close(g);
    dump(g, &anew);
    g->detached = REBUILD_TABLES; /* which is what everything consumed makes: see above */
    sql(g, "DELETE FROM group_members");
    sql(g, "DELETE FROM groups");
    sql(g, "DELETE FROM chats");
    rig_open(g);
    until_rebuilt(g);
    rig_close(g);
    dump(g, &consumed);
    assert_same(&consumed, &anew);
    assert_int_equal(atomic_load(&g->failures), 0);
    buf_deinit(&consumed);
    buf_deinit(&anew);
    rig_end(g);
}

PROMISE(until_the_tables_are_whole_again_nobody_is_told_what_they_have)
{
    struct rig *g = rig_new();
    struct story s;
    struct asked *a;
    struct inner_convs *in;

    g->limits.max_lag = 256 << 10;
    g->barrier_ms = 1;
    story_stuck(&s, g);
    talk_until_trimmed(&s, stream_committed(g->world.streams[0]));
    for (int i = 0; i < 2; i++) {
        a = rig_begin(g, world_lookup(&g->world));
        in = arena_alloc(&a->q->arena, sizeof *in);
        in->user = s.users[0];
        a->q->inner = INNER_USER_CONVS;
        a->q->result = in;
        rig_send(a);
        if (i == 0) {
            assert_int_equal(rig_wait(a)->code, CODE_UNAVAILABLE);
            sql(g, "DROP TRIGGER poison");
            until_rebuilt(g);
        } else {
            assert_int_equal(rig_wait(a)->code, CODE_OK);
            assert_true(in->n > 0);
        }
        rig_free(a);
    }
    rig_end(g);
}

/* --- pages --- */

/* On the reactor's thread: a conversation's state is taken out of the store, or put back. */
struct state_of {
    struct msg msg;
    struct rig *g;
    struct conv_id conv;
    struct buf value;
    sem_t done;
};
static void take_state_run(struct msg *m)
{
    struct state_of *s = container_of(m, struct state_of, msg);
    struct key key = key_of(shard_of(&s->g->data, &s->conv), &s->conv, WHAT_STATE);
    uint64_t log = stream_log_id(s->g->world.streams[0]);

    if (s->value.len) {
        assert_ok(lsm_put(s->g->store, key_str(&key), buf_get(&s->value)));
    } else {
        assert_ok(lsm_get(s->g->store, key_str(&key), NULL, &s->value));
        assert_ok(lsm_delete(s->g->store, key_str(&key)));
    }
    lsm_applied(s->g->store, log, lsm_position(s->g->store, log));
    sem_post(&s->done);
}
static void take_state(struct state_of *s)
{
    s->msg.run = take_state_run;
    sem_init(&s->done, 0, 0);
    mailbox_post(loop_mailbox(s->g->loop), &s->msg);
    sem_wait(&s->done);
    sem_destroy(&s->done);
}

static bool page_has(const struct inner_rebuild *page, const struct conv_id *c)
{
    for (size_t i = 0; i < page->n; i++)
        if (conv_eq(&page->v[i].conv, c))
            return true;
    return false;
}

static void expect_page(struct rig *g, const struct conv_id *c, enum code code)
{
    struct asked *a = rig_begin(g, 0);
    struct inner_rebuild *page = arena_alloc(&a->q->arena, sizeof *page);

    *page = (struct inner_rebuild){.shard = shard_of(&g->data, c), .what = REBUILD_TABLES};
    a->q->inner = INNER_REBUILD;
    a->q->result = page;
    rig_send(a);
    assert_int_equal(rig_wait(a)->code, code);
    if (code == CODE_OK)
        assert_true(page->is_owner && page->is_through && page_has(page, c));
    rig_free(a);
}

PROMISE(a_conversation_without_its_state_is_damage_and_not_the_end_of_its_shard)
{
    struct state_of of = {0};
    struct story s;

    story_begin(&s, rig_new());
    of.g = s.g;
    of.conv = s.groups[0];
    expect_page(s.g, &s.groups[0], CODE_OK);
    take_state(&of);
    expect_page(s.g, &s.groups[0], CODE_INTERNAL);
    take_state(&of);
    expect_page(s.g, &s.groups[0], CODE_OK);
    buf_deinit(&of.value);
    rig_end(s.g);
}

/* On the directory's thread: a page is there whose reactor has the shard no more, with a conversation that is nowhere
 * else, or how much is left is looked at. */
struct stray {
    struct msg msg;
    struct rig *g;
    uint16_t shard;
    bool is_asked;
    unsigned left;
    sem_t done;
};
static const struct conv_id nowhere = {{0x77}};

static void set_page(struct directory *d, uint16_t shard, unsigned port)
{
    struct request *q = request_new(NULL, d);
    struct inner_rebuild *page = arena_alloc(&q->arena, sizeof *page);
    uint8_t of[SHARD_COUNT] = {0};

    of[shard] = REBUILD_TABLES;
    assert_ok(tables_begin(d->tables));
    assert_ok(tables_detach(d->tables, of));
    assert_ok(tables_end(d->tables));
    *page = (struct inner_rebuild){
        .port = port, .shard = shard, .what = REBUILD_TABLES, .is_owner = true, .is_through = true, .n = 1};
    page->v = arena_alloc(&q->arena, sizeof *page->v);
    *page->v = (struct rebuilt){.conv = nowhere, .kind = CONV_PAIR, .a = 1, .b = 2, .created = 1};
    q->result = page;
    d->rebuild.page = q;
    d->rebuild.port = port;
}
static void stray_run(struct msg *m)
{
    struct stray *s = container_of(m, struct stray, msg);
    struct directory *d = s->g->directory;

    if (!s->is_asked) {
        set_page(d, s->shard, 1);
        assert_ok(rebuild_work(d));
        s->is_asked = d->rebuild.asked && !d->rebuild.page && d->rebuild.port == 0;
    }
    s->left = tables_rebuild_left(d->tables, REBUILD_TABLES);
    sem_post(&s->done);
}
static void stray_step(struct stray *s)
{
    s->msg.run = stray_run;
    sem_init(&s->done, 0, 0);
    mailbox_post(loop_mailbox(s->g->directory->loop), &s->msg);
    sem_wait(&s->done);
    sem_destroy(&s->done);
}

static int64_t count(struct rig *g, const char *what)
{
    struct db *db = NULL;
    struct rows q = {0};
    int64_t n;

    assert_ok(db_open_reader(g->tables_path, &db));
    assert_ok(rows_begin(&q, db, what, ""));
    assert_ok(rows_next(&q));
    n = rows_i64(&q, 0);
    rows_end(&q);
    db_close(db);
    return n;
}

PROMISE(a_page_of_a_shard_that_has_moved_meanwhile_is_dropped_and_its_new_owner_asked)
{
    struct stray stray = {0};
    struct story s;

    story_begin(&s, rig_new());
    stray.g = s.g;
    stray.shard = shard_of(&s.g->data, &s.groups[0]);
    stray_step(&stray);
    assert_true(stray.is_asked);
    while (stray.left) {
        stray_step(&stray);
        sched_yield();
    }
    assert_int_equal(count(s.g, "SELECT count(*) FROM chats WHERE conv = x'77000000000000000000000000000000'"), 0);
    rig_end(s.g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(tables_made_anew_are_those_that_consumed_everything),
        HOLDS(what_is_owed_is_made_anew_as_it_was_recorded),
        HOLDS(making_anew_goes_on_behind_every_end_and_misses_no_record_meanwhile),
        HOLDS(tables_that_stand_still_hold_a_log_up_to_the_bound_and_are_made_anew),
        HOLDS(a_conversation_without_its_state_is_damage_and_not_the_end_of_its_shard),
        HOLDS(a_page_of_a_shard_that_has_moved_meanwhile_is_dropped_and_its_new_owner_asked),
        HOLDS(until_the_tables_are_whole_again_nobody_is_told_what_they_have),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
