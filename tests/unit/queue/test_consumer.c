/* Consumers of a live log, trimming behind them, and what becomes of trimmed segments. */
#include "tests/unit/queue/log_rig.h"
#include "base/buf.h"
#include <sched.h>
#include <pthread.h>

static void open_consumer(struct rig *r, uint64_t from, uint8_t topics, struct consumer **c)
{
    assert_ok(consumer_open(&(struct consumer_conf){r->stream, from, topics}, c));
}

PROMISE(a_consumer_follows_a_log_across_segments_and_knows_where_it_is)
{
    struct rig r;
    struct consumer *c;
    struct expecting e = {0};
    uint64_t pos = 0;

    rig_start(&r);
    rig_open(&r, 7, 8192);
    open_consumer(&r, 0, 0, &c);
    assert_ok(consumer_read(c, SIZE_MAX, rig_expect, &e, &pos));
    assert_int_equal(pos, 0);
    for (unsigned n = 0; n < 1000; n += 40) {
        rig_fill(&r, n, n + 40, 7);
        rig_wait(&r, rig_pos(n + 40));
        assert_ok(consumer_read(c, SIZE_MAX, rig_expect, &e, &pos));
        assert_int_equal(pos, rig_pos(n + 40));
        assert_int_equal(e.seen, n + 40);
    }
    consumer_close(c);
    rig_end(&r);
}

PROMISE(a_consumer_of_a_topic_gets_its_records_and_passes_all_others)
{
    struct rig r;
    struct consumer *c;
    struct expecting e = {.topics = 2};
    uint64_t pos = 0;

    rig_start(&r);
    rig_open(&r, 7, 8192);
    for (unsigned i = 0; i < 500; i++) { /* batches of one: most are passed by their header */
        rig_fill(&r, i, i + 1, 1);
        rig_wait(&r, rig_pos(i + 1));
    }
    open_consumer(&r, 0, 2, &c);
    while (pos < rig_pos(500))
        assert_ok(consumer_read(c, 100, rig_expect, &e, &pos));
    assert_int_equal(e.seen, 50);
    consumer_close(c);
    rig_end(&r);
}

static enum err count_bytes(void *arg, const struct log_record *rec)
{
    *(size_t *)arg += rec->body.len;
    return ERR_OK;
}

PROMISE(a_consumer_reads_in_portions_and_resumes_at_its_cursor)
{
    struct rig r;
    struct consumer *c;
    struct expecting e = {0};
    uint64_t pos = 0;

    rig_start(&r);
    rig_open(&r, 7, 8192);
    for (unsigned i = 0; i < 300; i += 3) {
        rig_fill(&r, i, i + 3, 3);
        rig_wait(&r, rig_pos(i + 3));
    }
    while (pos < rig_pos(300)) { /* each time as after a restart of the consumer */
        size_t bytes = 0;
        uint64_t same;
        open_consumer(&r, pos, 0, &c);
        assert_ok(consumer_read(c, 500, count_bytes, &bytes, &same));
        assert_true(bytes < 500 + 3 * 300);
        consumer_close(c);
        open_consumer(&r, pos, 0, &c);
        assert_ok(consumer_read(c, 500, rig_expect, &e, &pos));
        assert_int_equal(pos, same);
        assert_int_equal(pos, e.next);
        consumer_close(c);
    }
    assert_int_equal(e.seen, 300);
    rig_end(&r);
}

struct refusing {
    struct expecting e;
    unsigned refuse;
};

static enum err refuse_one(void *arg, const struct log_record *rec)
{
    struct refusing *f = arg;
    if (f->e.i == f->refuse)
        return ERR_AGAIN;
    return rig_expect(&f->e, rec);
}

PROMISE(a_record_that_was_refused_comes_again)
{
    struct rig r;
    struct consumer *c;
    struct refusing f = {.refuse = 5};
    uint64_t pos = 0;

    rig_start(&r);
    rig_open(&r, 7, 8192);
    rig_fill(&r, 0, 20, 20);
    rig_wait(&r, rig_pos(20));
    open_consumer(&r, 0, 0, &c);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(consumer_read(c, SIZE_MAX, refuse_one, &f, &pos), ERR_AGAIN);
        assert_int_equal(pos, rig_pos(5));
    }
    f.refuse = 100;
    assert_ok(consumer_read(c, SIZE_MAX, refuse_one, &f, &pos));
    assert_int_equal(f.e.seen, 20);
    consumer_close(c);
    rig_end(&r);
}

struct held {
    sem_t reached, go;
};

static void hold(void *arg, enum fault_op op, const char *path)
{
    struct held *h = arg;
    (void)op;
    (void)path;
    sem_post(&h->reached);
    sem_wait(&h->go);
}

PROMISE(what_is_written_but_not_durable_is_not_read)
{
    struct rig r;
    struct consumer *c;
    struct expecting e = {0};
    struct held h;
    uint64_t pos = 0;

    sem_init(&h.reached, 0, 0);
    sem_init(&h.go, 0, 0);
    rig_start(&r);
    rig_open(&r, 7, 8192);
    rig_fill(&r, 0, 3, 3);
    rig_wait(&r, rig_pos(3));
    faultfs_hook(r.faults, FAULT_SYNC, hold, &h);
    rig_fill(&r, 3, 6, 3);
    sem_wait(&h.reached);
    open_consumer(&r, 0, 0, &c);
    assert_ok(consumer_read(c, SIZE_MAX, rig_expect, &e, &pos));
    assert_int_equal(pos, rig_pos(3));
    assert_int_equal(e.seen, 3);
    faultfs_hook(r.faults, 0, NULL, NULL);
    sem_post(&h.go);
    rig_wait(&r, rig_pos(6));
    assert_ok(consumer_read(c, SIZE_MAX, rig_expect, &e, &pos));
    assert_int_equal(e.seen, 6);
    consumer_close(c);
    rig_end(&r);
    sem_destroy(&h.reached);
    sem_destroy(&h.go);
}

static size_t list_files(struct rig *r, char *dir, uint64_t **numbers)
{
    size_t n;
    assert_ok(segment_list(r->env.fs, dir, ".seg", numbers, &n));
    mem_free(dir);
    return n;
}

PROMISE(trimming_takes_whole_segments_and_never_the_last)
{
    struct rig r;
    uint64_t *numbers, start;
    struct expecting e = {0};

    rig_start(&r);
    rig_open(&r, 7, 8192);
    rig_fill(&r, 0, 300, 10);
    rig_wait(&r, rig_pos(300));
    stream_trim(r.stream, 0);
    assert_int_equal(stream_trimmed(r.stream), 0);
    stream_trim(r.stream, rig_pos(200));
    start = stream_trimmed(r.stream);
    assert_in_range(start, rig_pos(200) - 8192, rig_pos(200));
    stream_trim(r.stream, UINT64_MAX);
    start = stream_trimmed(r.stream);
    assert_in_range(start, rig_pos(300) - 8192, rig_pos(300));
    rig_close(&r);
    segpool_close(r.pool); /* does what was asked of it */
    r.pool = NULL;
    assert_int_equal(list_files(&r, segment_log_dir(r.dir, 7), &numbers), 1);
    mem_free(numbers);
    while (rig_pos(e.i) < start)
        e.i++;
    assert_ok(seglog_replay(&r.env, r.dir, 7, 0, 0, rig_expect, &e));
    assert_int_equal(e.i, 300);
    rig_end(&r);
}

PROMISE(a_cursor_that_was_trimmed_away_is_told_so)
{
    struct rig r;
    struct consumer *early, *c;
    struct expecting e = {0};
    uint64_t pos = 0;

    rig_start(&r);
    rig_open(&r, 7, 8192);
    rig_fill(&r, 0, 300, 10);
    rig_wait(&r, rig_pos(300));
    open_consumer(&r, 0, 0, &early);
    assert_ok(consumer_read(early, 1, rig_expect, &e, &pos)); /* it has the first segment open */
    stream_trim(r.stream, rig_pos(300));
    assert_int_equal(consumer_read(early, SIZE_MAX, rig_expect, &e, &pos), ERR_NOT_FOUND);
    assert_int_equal(consumer_open(&(struct consumer_conf){r.stream, 0, 0}, &c), ERR_NOT_FOUND);
    consumer_close(early);
    rig_end(&r);
}

static void assert_is_zero(struct rig *r, uint64_t id, uint64_t size)
{
    char *path = segment_ready_path(r->dir, id, ".seg");
    struct str all;
    assert_ok(fs_read_all(fs_posix(), path, 1 << 20, &all));
    assert_int_equal(all.len, size);
    for (size_t i = 0; i < all.len; i++)
        assert_int_equal(all.p[i], 0);
    mem_free((char *)(uintptr_t)all.p);
    mem_free(path);
}

static ino_t inode(char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    mem_free(path);
    return st.st_ino;
}

static bool is_ready(struct rig *r, ino_t which)
{
    uint64_t *numbers;
    size_t n = list_files(r, segment_ready_dir(r->dir), &numbers);
    bool found = false;

    for (size_t i = 0; i < n; i++)
        found |= inode(segment_ready_path(r->dir, numbers[i], ".seg")) == which;
    mem_free(numbers);
    return found;
}

PROMISE(trimmed_segments_are_zeroed_when_nothing_else_is_to_do_and_written_again)
{
    struct rig r;
    uint64_t *numbers;
    bool reused = false;

    rig_start(&r);
    rig_open(&r, 7, 8192);
    rig_fill(&r, 0, 60, 1);
    rig_wait(&r, rig_pos(60));
    ino_t first = inode(segment_path(r.dir, 7, 0));
    stream_trim(r.stream, rig_pos(60));
    rig_close(&r);
    while (!is_ready(&r, first)) /* the pool zeroes them in its own time */
        sched_yield();
    segpool_close(r.pool);
    r.pool = NULL;
    size_t n = list_files(&r, segment_ready_dir(r.dir), &numbers);
    assert_in_range(n, 2, 4); /* as many as are kept ahead, or twice as many of those given back */
    for (size_t i = 0; i < n; i++) {
        assert_is_zero(&r, numbers[i], 8192);
        reused |= inode(segment_ready_path(r.dir, numbers[i], ".seg")) == first;
    }
    assert_true(reused);
    mem_free(numbers);
    uint64_t fills = faultfs_calls(r.faults, FAULT_FILL);
    rig_open(&r, 8, 8192); /* finds them ready */
    assert_int_equal(faultfs_calls(r.faults, FAULT_FILL), fills);
    rig_end(&r);
}

PROMISE(a_disk_that_is_full_is_relieved_by_trimming)
{
    struct rig r;
    uint64_t pos;
    unsigned i = 0;
    enum err err;

    rig_start(&r);
    rig_open(&r, 7, 8192);
    faultfs_fail(r.faults, FAULT_FILL, 1, UINT64_MAX, ERR_FULL);
    while ((err = rig_append(&r, i, &pos)) == ERR_OK || err == ERR_LIMIT)
        i += err == ERR_OK;
    assert_int_equal(err, ERR_FULL);
    stream_flush(r.stream);
    rig_wait(&r, rig_pos(i));
    faultfs_heal(r.faults); /* zeroing what is there takes no space; a real disk would refuse new files only */
    stream_trim(r.stream, rig_pos(i));
    while ((err = rig_append(&r, i, &pos)) != ERR_OK)
        assert_true(err == ERR_FULL || err == ERR_LIMIT);
    rig_end(&r);
}

PROMISE(what_was_left_half_filled_or_of_another_size_is_not_used)
{
    struct rig r;
    struct file *f;
    uint64_t *numbers;

    rig_start(&r);
    char *dir = segment_ready_dir(r.dir), *half = segment_ready_path(r.dir, 9, ".tmp");
    char *small = segment_ready_path(r.dir, 4, ".seg");
    assert_ok(fs_mkdirs(r.env.fs, dir));
    assert_ok(fs_open(r.env.fs, half, FS_CREATE, &f));
    file_close(f);
    assert_ok(fs_open(r.env.fs, small, FS_CREATE, &f));
    assert_ok(file_fill(f, 4096));
    file_close(f);
    assert_ok(rig_try_pool(&r, 8192, 3));
    assert_int_equal(access(half, F_OK), -1);
    assert_int_equal(access(small, F_OK), -1);
    assert_int_equal(list_files(&r, dir, &numbers), 3);
    mem_free(numbers);
    mem_free(half);
    mem_free(small);
    rig_end(&r);
}

/* Several threads: an owner that appends and trims, a consumer of all, and one of a topic. */
struct follower {
    struct rig *r;
    uint8_t topics;
    unsigned until, seen;
    _Atomic uint64_t pos;
};

static void *follow(void *arg)
{
    struct follower *f = arg;
    struct expecting e = {.topics = f->topics};
    struct consumer *c;
    uint64_t pos = 0, end = rig_pos(f->until);

    open_consumer(f->r, 0, f->topics, &c);
    while (pos < end) {
        assert_ok(consumer_read(c, 10000, rig_expect, &e, &pos));
        atomic_store(&f->pos, pos);
        sched_yield();
    }
    f->seen = e.seen;
    consumer_close(c);
    return NULL;
}

PROMISE(consumers_on_other_threads_see_all_while_the_log_is_written_and_trimmed)
{
    enum { N = 6000 };
    struct rig r;
    struct follower f[2] = {{.r = &r, .until = N}, {.r = &r, .until = N, .topics = 1}};
    pthread_t threads[2];

    rig_start(&r);
    rig_open(&r, 7, 16384);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, follow, &f[i]), 0);
    for (unsigned i = 0; i < N; i += 10) {
        rig_fill(&r, i, i + 10, 10);
        mailbox_drain(r.home);
        uint64_t a = atomic_load(&f[0].pos), b = atomic_load(&f[1].pos);
        stream_trim(r.stream, a < b ? a : b);
    }
    rig_wait(&r, rig_pos(N));
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(f[0].seen, N);
    stream_trim(r.stream, rig_pos(N));
    assert_true(stream_trimmed(r.stream) > rig_pos(N) - 16384);
    rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_consumer_follows_a_log_across_segments_and_knows_where_it_is),
        HOLDS(a_consumer_of_a_topic_gets_its_records_and_passes_all_others),
        HOLDS(a_consumer_reads_in_portions_and_resumes_at_its_cursor),
        HOLDS(a_record_that_was_refused_comes_again),
        HOLDS(what_is_written_but_not_durable_is_not_read),
        HOLDS(trimming_takes_whole_segments_and_never_the_last),
        HOLDS(a_cursor_that_was_trimmed_away_is_told_so),
        HOLDS(trimmed_segments_are_zeroed_when_nothing_else_is_to_do_and_written_again),
        HOLDS(a_disk_that_is_full_is_relieved_by_trimming),
        HOLDS(what_was_left_half_filled_or_of_another_size_is_not_used),
        HOLDS(consumers_on_other_threads_see_all_while_the_log_is_written_and_trimmed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
