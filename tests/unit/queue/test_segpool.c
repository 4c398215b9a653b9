/* The pool of segments, stepped: which ones it hands out, and when what was in them is gone. */
#include "queue/segpool.h"
#include "tests/unit/queue/log_rig.h"
#include <sched.h>
#include <stdatomic.h>

enum { SEGMENT = 8192, AHEAD = 2 };

static void open_pool(struct rig *r)
{
    assert_ok(segpool_open(&(struct segpool_conf){&r->env, r->dir, SEGMENT, AHEAD, true}, &r->pool));
}

static void start(struct rig *r)
{
    rig_start(r);
    char *dir = segment_log_dir(r->dir, 7);
    assert_ok(fs_mkdirs(r->env.fs, dir));
    mem_free(dir);
    open_pool(r);
}

/* As a log does that fills a segment with words and is trimmed of it. */
static struct segpool_segment use(struct rig *r, uint64_t number, const char *words)
{
    struct segpool_segment s;
    char *path, *to = segment_path(r->dir, 7, number);
    struct file *f;

    assert_ok(segpool_take(r->pool, 7, &s));
    path = segpool_path(r->pool, &s);
    assert_ok(fs_open(r->env.fs, path, FS_WRITE, &f));
    for (uint64_t at = 0; at + strlen(words) <= SEGMENT && *words; at += strlen(words))
        assert_ok(file_write(f, words, strlen(words), at));
    file_close(f);
    assert_ok(fs_rename(r->env.fs, path, to));
    mem_free(path);
    mem_free(to);
    return s;
}

static void use_and_give_back(struct rig *r, uint64_t number, const char *words)
{
    struct segpool_segment s = use(r, number, words);

    segpool_recycle(r->pool, 7, number, &s);
}

static bool folder_has(struct rig *r, char *dir, const char *suffix, const char *words)
{
    uint64_t *numbers;
    size_t n;
    bool has = false;

    assert_ok(segment_list(r->env.fs, dir, suffix, &numbers, &n));
    for (size_t i = 0; i < n; i++) {
        char path[256];
        struct str all;
        snprintf(path, sizeof path, "%s/%016llx%s", dir, (unsigned long long)numbers[i], suffix);
        assert_ok(fs_read_all(r->env.fs, path, SEGMENT, &all));
        has |= memmem(all.p, all.len, words, strlen(words)) != NULL;
        mem_free((char *)(uintptr_t)all.p);
    }
    mem_free(numbers);
    mem_free(dir);
    return has;
}

static bool pool_has(struct rig *r, const char *words)
{
    return folder_has(r, segment_ready_dir(r->dir), ".seg", words) ||
           folder_has(r, segment_ready_dir(r->dir), ".old", words) ||
           folder_has(r, segment_ready_dir(r->dir), ".tmp", words);
}

static bool log_has(struct rig *r, const char *words)
{
    return folder_has(r, segment_log_dir(r->dir, 7), ".seg", words);
}

static void step_all(struct rig *r)
{
    while (segpool_step(r->pool))
        ;
}

PROMISE(a_busy_log_gets_back_what_it_gave_as_it_was)
{
    struct segpool_segment s;
    struct rig r;

    start(&r);
    uint64_t fills = faultfs_calls(r.faults, FAULT_FILL);
    for (uint64_t number = 1; number <= AHEAD; number++)
        use_and_give_back(&r, number, "secret");
    assert_int_equal(segpool_take(r.pool, 7, &s), ERR_AGAIN); /* nothing was taken in yet */
    for (uint64_t i = 0; i < AHEAD; i++)
        assert_true(segpool_step(r.pool));
    assert_true(pool_has(&r, "secret"));
    for (uint64_t number = AHEAD + 1; number <= 2 * AHEAD; number++) {
        assert_true(use(&r, number, "").is_old);
        assert_true(log_has(&r, "secret"));
    }
    assert_int_equal(faultfs_calls(r.faults, FAULT_FILL), fills);
    rig_end(&r);
}

PROMISE(with_nothing_else_to_do_old_segments_are_zeroed)
{
    struct segpool_segment s;
    struct rig r;

    start(&r);
    for (uint64_t number = 1; number <= AHEAD; number++)
        use_and_give_back(&r, number, "secret");
    step_all(&r);
    assert_false(pool_has(&r, "secret"));
    for (int i = 0; i < AHEAD; i++) {
        assert_ok(segpool_take(r.pool, 7, &s));
        assert_false(s.is_old);
    }
    rig_end(&r);
}

PROMISE(after_a_scrub_nothing_is_left_of_what_was_given_back_before_it)
{
    struct rig r;

    start(&r);
    for (uint64_t number = 1; number <= AHEAD; number++)
        use_and_give_back(&r, number, "secret");
    assert_true(segpool_step(r.pool)); /* one is ready, the other is not even taken in */
    uint64_t ticket = segpool_scrub(r.pool);
    for (bool is_done = false; !is_done; is_done = segpool_is_scrubbed(r.pool, ticket)) {
        assert_true(pool_has(&r, "secret") || log_has(&r, "secret"));
        assert_true(segpool_step(r.pool));
    }
    assert_false(pool_has(&r, "secret") || log_has(&r, "secret"));
    rig_end(&r);
}

PROMISE(a_log_that_goes_on_in_an_old_segment_is_stale_by_a_scrub_until_it_gives_that_back)
{
    struct segpool_segment old, s;
    struct rig r;

    start(&r);
    for (uint64_t number = 1; number <= AHEAD; number++)
        use_and_give_back(&r, number, "secret");
    for (uint64_t i = 0; i < AHEAD; i++)
        assert_true(segpool_step(r.pool));
    old = use(&r, AHEAD + 1, "");
    assert_false(segpool_is_stale(r.pool, 7)); /* nobody erases */
    uint64_t ticket = segpool_scrub(r.pool);
    assert_true(segpool_is_stale(r.pool, 7));
    assert_false(segpool_is_stale(r.pool, 8));
    assert_int_equal(segpool_take(r.pool, 7, &s), ERR_AGAIN); /* not another old one */
    step_all(&r);
    assert_true(log_has(&r, "secret"));
    assert_false(pool_has(&r, "secret"));
    assert_false(segpool_is_scrubbed(r.pool, ticket));
    segpool_recycle(r.pool, 7, AHEAD + 1, &old);
    assert_false(segpool_is_stale(r.pool, 7));
    assert_false(segpool_is_scrubbed(r.pool, ticket));
    step_all(&r);
    assert_true(segpool_is_scrubbed(r.pool, ticket));
    assert_false(pool_has(&r, "secret") || log_has(&r, "secret"));
    rig_end(&r);
}

PROMISE(what_can_be_neither_zeroed_nor_removed_is_not_scrubbed)
{
    struct rig r;

    start(&r);
    use_and_give_back(&r, 1, "secret");
    assert_true(segpool_step(r.pool));
    uint64_t ticket = segpool_scrub(r.pool);
    faultfs_fail(r.faults, FAULT_FILL | FAULT_REMOVE, 1, UINT64_MAX, ERR_IO);
    step_all(&r);
    assert_false(segpool_is_scrubbed(r.pool, ticket));
    faultfs_heal(r.faults);
    step_all(&r);
    assert_true(segpool_is_scrubbed(r.pool, ticket));
    assert_false(pool_has(&r, "secret"));
    rig_end(&r);
}

PROMISE(old_segments_of_an_earlier_start_are_gone_when_the_pool_is_open)
{
    struct rig r;

    start(&r);
    use_and_give_back(&r, 1, "secret");
    assert_true(segpool_step(r.pool));
    segpool_close(r.pool);
    assert_true(pool_has(&r, "secret"));
    open_pool(&r);
    assert_false(pool_has(&r, "secret"));
    rig_end(&r);
}

/* --- a pool with its thread --- */

/* A clock that stands: who waits for a while waits until something happens. When the pool begins to wait it is seen
 * what it has ready. */
static struct {
    struct env_ops ops;
    struct rig *rig;
    _Atomic size_t waits_short;
} waiting;

static uint64_t standing_us(struct env *e)
{
    char *dir = segment_ready_dir(waiting.rig->dir);
    uint64_t *ids;
    size_t n;

    assert_ok(segment_list(e->fs, dir, ".seg", &ids, &n));
    mem_free(ids);
    mem_free(dir);
    atomic_fetch_add(&waiting.waits_short, n < AHEAD);
    return (uint64_t)1 << 50;
}

static void start_thread(struct rig *r)
{
    start(r);
    segpool_close(r->pool);
    waiting.ops = *r->env.ops;
    waiting.ops.mono_us = standing_us;
    waiting.rig = r;
    r->env.ops = &waiting.ops;
    assert_ok(rig_try_pool(r, SEGMENT, AHEAD));
}

static struct segpool_segment use_when_ready(struct rig *r, uint64_t number)
{
    struct segpool_segment s;
    char *path, *to = segment_path(r->dir, 7, number);
    enum err err;

    while ((err = segpool_take(r->pool, 7, &s)) == ERR_AGAIN) {
        assert_int_equal(atomic_load(&waiting.waits_short), 0);
        sched_yield();
    }
    assert_ok(err);
    path = segpool_path(r->pool, &s);
    assert_ok(fs_rename(r->env.fs, path, to));
    mem_free(path);
    mem_free(to);
    return s;
}

PROMISE(while_a_scrub_waits_for_a_log_the_others_get_segments_as_ever)
{
    struct segpool_segment s, out;
    uint64_t number = 1, held;
    struct rig r;

    start_thread(&r);
    for (out = use_when_ready(&r, number); !out.is_old; out = use_when_ready(&r, number))
        segpool_recycle(r.pool, 7, number++, &out); /* until that comes round */
    held = number++;
    uint64_t ticket = segpool_scrub(r.pool);
    for (int i = 0; i < 20; i++, number++) {
        s = use_when_ready(&r, number);
        assert_false(s.is_old);
        segpool_recycle(r.pool, 7, number, &s);
    }
    assert_false(segpool_is_scrubbed(r.pool, ticket));
    segpool_recycle(r.pool, 7, held, &out);
    while (!segpool_is_scrubbed(r.pool, ticket))
        sched_yield();
    rig_end(&r);
}

/* --- two logs of one pool --- */

static void on_commit(void *arg, uint64_t end)
{
    (void)arg;
    (void)end;
}

static struct stream *open_log(struct rig *r, uint64_t id)
{
    struct stream_conf c = rig_conf(r, id);
    struct stream *s;

    c.on_commit = on_commit;
    c.is_stepped = true;
    assert_ok(stream_open(&c, &s));
    return s;
}

static void write_out(struct stream *s)
{
    stream_flush(s);
    while (stream_step(s))
        ;
}

/* False: no segment is ready. */
static bool append(struct stream *s, const char *word)
{
    char body[600];
    uint64_t pos;

    for (size_t at = 0; at < sizeof body; at++)
        body[at] = word[at % strlen(word)];
    if (stream_append(s, 1, 1, 0, str_of(body, sizeof body), &pos) != ERR_OK)
        return false;
    write_out(s);
    return true;
}

static void give_back(struct rig *r, struct stream *s)
{
    while (stream_roll(s) != ERR_OK)
        assert_true(segpool_step(r->pool));
    write_out(s);
    stream_trim(s, stream_end(s));
}

static bool dir_has(struct rig *r, uint64_t id, const char *words)
{
    return folder_has(r, segment_log_dir(r->dir, id), ".seg", words);
}

/* What purge does in each reactor, and the directory for its log. */
PROMISE(what_one_log_gave_back_and_another_writes_over_is_gone_when_both_have_rolled)
{
    struct stream *a, *b;
    struct rig r;
    unsigned given = 3;

    rig_start(&r);
    open_pool(&r);
    a = open_log(&r, 7);
    b = open_log(&r, 8);
    for (unsigned i = 0; i < given * SEGMENT / 600;)
        i += append(a, "secret") ? 1 : !segpool_step(r.pool);
    stream_trim(a, stream_end(a));
    for (unsigned i = 0; i < given && segpool_step(r.pool); i++)
        ;
    while (append(b, "harmless") && !dir_has(&r, 8, "secret"))
        ;
    assert_true(dir_has(&r, 8, "secret")); /* behind what it wrote */
    (void)stream_scrub(a);                 /* so it does not go on in an old one itself */
    give_back(&r, a);
    uint64_t ticket = stream_scrub(a);
    while (segpool_step(r.pool))
        ;
    assert_false(stream_is_stale(a));
    assert_true(stream_is_stale(b));
    assert_false(stream_is_scrubbed(a, ticket));
    assert_true(dir_has(&r, 8, "secret"));
    give_back(&r, b);
    while (segpool_step(r.pool))
        ;
    assert_true(stream_is_scrubbed(a, ticket));
    assert_false(dir_has(&r, 7, "secret") || dir_has(&r, 8, "secret") || pool_has(&r, "secret"));
    stream_close(a);
    stream_close(b);
    mailbox_drain(r.home);
    rig_end(&r);
}

PROMISE(a_stale_log_rolls_even_when_its_segment_is_empty)
{
    struct stream *a;
    struct rig r;

    rig_start(&r);
    open_pool(&r);
    a = open_log(&r, 7);
    for (unsigned i = 0; i < 3 * SEGMENT / 600;)
        i += append(a, "secret") ? 1 : !segpool_step(r.pool);
    stream_trim(a, stream_end(a));
    for (bool is_old = false; !is_old; is_old = dir_has(&r, 7, "secret")) { /* on and on, into what it gave back */
        assert_true(append(a, "harmless"));
        give_back(&r, a);
        assert_true(segpool_step(r.pool));
    }
    uint64_t ticket = stream_scrub(a);
    assert_true(stream_is_stale(a));
    give_back(&r, a); /* nothing was written since the last roll */
    assert_false(stream_is_stale(a));
    while (segpool_step(r.pool))
        ;
    assert_true(stream_is_scrubbed(a, ticket));
    assert_false(dir_has(&r, 7, "secret") || pool_has(&r, "secret"));
    stream_close(a);
    mailbox_drain(r.home);
    rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_busy_log_gets_back_what_it_gave_as_it_was),
        HOLDS(with_nothing_else_to_do_old_segments_are_zeroed),
        HOLDS(after_a_scrub_nothing_is_left_of_what_was_given_back_before_it),
        HOLDS(a_log_that_goes_on_in_an_old_segment_is_stale_by_a_scrub_until_it_gives_that_back),
        HOLDS(what_can_be_neither_zeroed_nor_removed_is_not_scrubbed),
        HOLDS(while_a_scrub_waits_for_a_log_the_others_get_segments_as_ever),
        HOLDS(what_one_log_gave_back_and_another_writes_over_is_gone_when_both_have_rolled),
        HOLDS(a_stale_log_rolls_even_when_its_segment_is_empty),
        HOLDS(old_segments_of_an_earlier_start_are_gone_when_the_pool_is_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
