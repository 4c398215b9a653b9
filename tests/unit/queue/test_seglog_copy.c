#include "queue/seglog_copy.h"
#include "tests/unit/queue/log_rig.h"

enum { SEGMENT = 16 << 10 };

struct copying {
    struct rig *r;
    char dir[96]; /* of the copy's logs */
    unsigned segments;
};

/* As a backup does: the first bytes, and what goes behind them. */
static enum err on_segment(void *arg, uint64_t number, const char *path, uint64_t bytes, struct str tail)
{
    struct copying *c = arg;
    char *to = segment_path(c->dir, 7, number), *all = mem_alloc(bytes + tail.len);
    struct file *in, *out;

    assert_ok(fs_open(c->r->env.fs, path, FS_READ, &in));
    assert_ok(file_read_exact(in, all, bytes, 0));
    file_close(in);
    if (tail.len)
        memcpy(all + bytes, tail.p, tail.len);
    assert_ok(fs_open(c->r->env.fs, to, FS_CREATE_NEW, &out));
    assert_ok(file_write(out, all, bytes + tail.len, 0));
    file_close(out);
    mem_free(all);
    mem_free(to);
    c->segments++;
    return ERR_OK;
}

static void copy(struct rig *r, uint64_t from, uint64_t end, struct copying *out)
{
    char *log_dir;

    *out = (struct copying){.r = r};
    snprintf(out->dir, sizeof out->dir, "%s/copy-%llu-%llu", r->dir, (unsigned long long)from, (unsigned long long)end);
    log_dir = segment_log_dir(out->dir, 7);
    assert_ok(fs_mkdirs(r->env.fs, log_dir));
    assert_ok(seglog_copy(&(struct seglog_copy){&r->env, r->dir, 7, from, end, on_segment, out}));
    mem_free(log_dir);
}

/* The copy is a log that ended: recovery finds nothing to cut, and it holds the records up to `n`. */
static void is_log_up_to(struct copying *c, unsigned first, unsigned n)
{
    struct seglog_report report;
    struct expecting e = {.i = first};
    char *why = NULL;

    assert_ok(seglog_recover(&c->r->env, c->dir, 7, rig_pos(n), &report, &why));
    assert_false(report.was_torn);
    assert_int_equal(report.end, rig_pos(n));
    assert_ok(seglog_replay(&c->r->env, c->dir, 7, rig_pos(first), 0, rig_expect, &e));
    assert_int_equal(e.i, n);
}

PROMISE(of_a_log_that_goes_on_the_copy_ends_where_it_was_told_to)
{
    struct rig r;
    struct copying c;
    uint64_t ends[3];
    unsigned n[3] = {37, 150, 400};

    rig_start(&r);
    rig_open(&r, 7, SEGMENT);
    for (int i = 0; i < 3; i++) {
        rig_fill(&r, i ? n[i - 1] : 0, n[i], 5);
        rig_wait(&r, stream_end(r.stream));
        ends[i] = stream_committed(r.stream);
    }
    for (int i = 0; i < 3; i++) {
        copy(&r, 0, ends[i], &c);
        is_log_up_to(&c, 0, n[i]);
    }
    assert_true(c.segments > 3);
    rig_end(&r);
}

PROMISE(what_is_not_needed_is_not_copied_nor_looked_at)
{
    struct rig r;
    struct copying all, some;
    uint64_t end;
    char *path;
    struct file *f;

    rig_start(&r);
    rig_open(&r, 7, SEGMENT);
    rig_fill(&r, 0, 400, 5);
    rig_wait(&r, stream_end(r.stream));
    end = stream_committed(r.stream);
    copy(&r, 0, end, &all);
    path = segment_path(r.dir, 7, 0);
    assert_ok(fs_open(r.env.fs, path, FS_WRITE, &f));
    assert_ok(file_truncate(f, 10)); /* as if it were on its way out */
    file_close(f);
    copy(&r, rig_pos(300), end, &some);
    assert_true(some.segments < all.segments);
    is_log_up_to(&some, 300, 400);
    copy(&r, end, end, &some);
    assert_true(some.segments <= 1);
    mem_free(path);
    rig_end(&r);
}

PROMISE(of_a_log_that_nobody_writes_the_copy_is_all_of_it)
{
    struct rig r;
    struct copying c;

    rig_start(&r);
    rig_open(&r, 7, SEGMENT);
    rig_fill(&r, 0, 200, 5);
    rig_close(&r);
    copy(&r, 0, SEGLOG_COPY_STILL, &c);
    is_log_up_to(&c, 0, 200);
    rig_end(&r);
}

PROMISE(what_another_log_left_behind_the_end_is_not_copied)
{
    struct rig r;
    struct copying c;
    struct str all;
    char *path, old[BATCH_HEADER];
    struct file *f;

    memset(old, 0x5a, sizeof old);
    rig_start(&r);
    rig_open(&r, 7, SEGMENT);
    rig_fill(&r, 0, 5, 5);
    rig_close(&r);
    path = segment_path(r.dir, 7, 0);
    assert_ok(fs_open(r.env.fs, path, FS_WRITE, &f));
    assert_ok(file_write(f, old, sizeof old, SEGMENT - sizeof old));
    file_close(f);
    mem_free(path);
    copy(&r, 0, SEGLOG_COPY_STILL, &c);
    is_log_up_to(&c, 0, 5);
    path = segment_path(c.dir, 7, 0);
    assert_ok(fs_read_all(r.env.fs, path, SEGMENT, &all));
    assert_null(memmem(all.p, all.len, old, sizeof old));
    mem_free((char *)(uintptr_t)all.p);
    mem_free(path);
    rig_end(&r);
}

PROMISE(zeros_at_the_end_of_the_last_record_belong_to_it)
{
    struct rig r;
    struct copying c;
    struct seglog_report report;
    char *why = NULL, *zeros = mem_alloc(3000);
    uint64_t pos;

    rig_start(&r);
    rig_open(&r, 7, SEGMENT);
    assert_ok(stream_append(r.stream, 1, 0, 0, str_of(zeros, 3000), &pos));
    stream_flush(r.stream);
    rig_wait(&r, stream_end(r.stream));
    copy(&r, 0, SEGLOG_COPY_STILL, &c); /* not sealed: as a kill leaves it */
    assert_ok(seglog_recover(&r.env, c.dir, 7, 0, &report, &why));
    assert_int_equal(report.end, RECORD_HEADER + 3000);
    mem_free(zeros);
    rig_end(&r);
}

PROMISE(damage_is_met_by_the_copy_and_not_copied)
{
    struct rig r;
    struct copying c = {.r = &r};
    uint64_t end;
    char *path;
    struct file *f;

    rig_start(&r);
    rig_open(&r, 7, SEGMENT);
    rig_fill(&r, 0, 100, 5);
    rig_wait(&r, stream_end(r.stream));
    end = stream_committed(r.stream);
    path = segment_path(r.dir, 7, 0);
    assert_ok(fs_open(r.env.fs, path, FS_WRITE, &f));
    assert_ok(file_write(f, "damaged", 7, SEGMENT_HEADER + BATCH_HEADER + 300));
    file_close(f);
    assert_int_equal(seglog_copy(&(struct seglog_copy){&r.env, r.dir, 7, 0, end, on_segment, &c}), ERR_CORRUPT);
    assert_int_equal(c.segments, 0);
    mem_free(path);
    rig_end(&r);
}

PROMISE(records_are_read_up_to_an_end)
{
    struct rig r;
    struct expecting e = {.i = 60};

    rig_start(&r);
    rig_open(&r, 7, SEGMENT);
    rig_fill(&r, 0, 150, 5);
    rig_wait(&r, stream_end(r.stream));
    rig_fill(&r, 150, 200, 5);
    rig_wait(&r, stream_end(r.stream));
    assert_ok(seglog_read(&r.env, r.dir, 7, rig_pos(60), rig_pos(150), rig_expect, &e));
    assert_int_equal(e.i, 150);
    rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(of_a_log_that_goes_on_the_copy_ends_where_it_was_told_to),
        HOLDS(what_is_not_needed_is_not_copied_nor_looked_at),
        HOLDS(of_a_log_that_nobody_writes_the_copy_is_all_of_it),
        HOLDS(what_another_log_left_behind_the_end_is_not_copied),
        HOLDS(zeros_at_the_end_of_the_last_record_belong_to_it),
        HOLDS(damage_is_met_by_the_copy_and_not_copied),
        HOLDS(records_are_read_up_to_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
