#include "queue/seglog_verify.h"
#include "tests/unit/queue/log_rig.h"

enum { RECORDS = 400, SEGMENT = 16 << 10 };

struct findings {
    unsigned n, n_torn;
    char file[128];
    uint64_t at;
    bool seen[RECORDS];
    unsigned n_seen;
};

static void on_damage(void *arg, const char *file, uint64_t at, const char *what)
{
    struct findings *f = arg;

    assert_non_null(what);
    if (f->n++ == 0) {
        snprintf(f->file, sizeof f->file, "%s", file);
        f->at = at;
    }
}

/* Records come as they were appended, in order, each at most once. */
static enum err on_record(void *arg, const struct log_record *rec)
{
    struct findings *f = arg;
    unsigned i = 0;

    while (i < RECORDS && rig_pos(i) != rec->pos)
        i++;
    assert_in_range(i, 0, RECORDS - 1);
    assert_is_record(rec, i);
    assert_false(f->seen[i]);
    f->seen[i] = true;
    f->n_seen++;
    return ERR_OK;
}

static struct findings verify(struct rig *r, uint64_t floor)
{
    struct findings f = {0};
    struct damage_sink sink = {on_damage, &f};
    struct seglog_report report = {0};

    assert_ok(seglog_verify(&r->env, r->dir, 7, floor, &sink, on_record, &f, &report));
    f.n_torn = report.was_torn;
    return f;
}

static size_t numbers(struct rig *r, uint64_t **out)
{
    char *dir = segment_log_dir(r->dir, 7);
    size_t n;

    assert_ok(segment_list(r->env.fs, dir, ".seg", out, &n));
    mem_free(dir);
    return n;
}

static void fill(struct rig *r)
{
    rig_start(r);
    rig_open(r, 7, SEGMENT);
    for (unsigned i = 0; i < RECORDS; i += 5) { /* each batch alone, so that damage is of five records */
        rig_fill(r, i, i + 5, 5);
        rig_wait(r, stream_end(r->stream));
    }
    rig_close(r);
}

static void flip(struct rig *r, const char *path, uint64_t at)
{
    struct file *f;
    uint8_t b;

    assert_ok(fs_open(r->env.fs, path, FS_WRITE, &f));
    assert_ok(file_read_exact(f, &b, 1, at));
    b ^= 0x40;
    assert_ok(file_write(f, &b, 1, at));
    file_close(f);
}

PROMISE(a_whole_log_is_read_to_its_end_and_nothing_is_said)
{
    struct rig r;
    struct findings f;

    fill(&r);
    f = verify(&r, rig_pos(RECORDS));
    assert_int_equal(f.n, 0);
    assert_int_equal(f.n_torn, 0);
    assert_int_equal(f.n_seen, RECORDS);
    rig_end(&r);
}

/* Whatever byte of what was written is changed: it is named with file and a place at or before it, and all records of
 * other batches are read. */
PROMISE(a_changed_byte_anywhere_is_named_and_the_rest_is_read)
{
    struct rig r;
    uint64_t *v;
    size_t n;

    fill(&r);
    n = numbers(&r, &v);
    assert_true(n > 3);
    for (size_t i = 0; i < n; i++) {
        char *path = segment_path(r.dir, 7, v[i]);
        struct file *f;
        uint64_t size, used;
        uint8_t bytes[SEGMENT];

        assert_ok(fs_open(r.env.fs, path, FS_READ, &f));
        assert_ok(file_size(f, &size));
        assert_ok(file_read_exact(f, bytes, size, 0));
        file_close(f);
        for (used = size; used > 0 && bytes[used - 1] == 0;)
            used--;
        for (uint64_t at = 0; at + 64 < used; at += 97) {
            flip(&r, path, at);
            struct findings found = verify(&r, rig_pos(RECORDS));
            /* Zeros between two batches are under no checksum, and mean nothing. */
            bool is_padding = found.n == 0 && bytes[at] == 0;
            assert_true(found.n > 0 || is_padding);
            if (found.n) {
                assert_string_equal(found.file, path);
                assert_true(found.at <= at || found.n_seen == RECORDS);
            }
            assert_true(found.n_seen + (at < SEGMENT_HEADER ? 200 : 5) >= RECORDS);
            flip(&r, path, at);
        }
        mem_free(path);
    }
    mem_free(v);
    rig_end(&r);
}

PROMISE(a_missing_segment_is_named)
{
    struct rig r;
    struct findings f;
    uint64_t *v;
    char *path;

    fill(&r);
    assert_true(numbers(&r, &v) > 3);
    path = segment_path(r.dir, 7, v[1]);
    assert_ok(fs_remove(r.env.fs, path));
    f = verify(&r, 0);
    assert_int_equal(f.n, 1);
    assert_string_equal(f.file, path);
    assert_true(f.n_seen < RECORDS && f.n_seen > RECORDS / 2);
    mem_free(path);
    mem_free(v);
    rig_end(&r);
}

/* What nobody was told of may be torn; what somebody knows to be durable may not. */
PROMISE(a_torn_tail_is_no_damage_unless_it_was_known_to_be_durable)
{
    struct rig r;
    struct findings f;
    uint64_t *v;
    size_t n;
    char *path;
    struct file *file;
    uint64_t size, at;
    uint8_t bytes[SEGMENT];

    fill(&r);
    n = numbers(&r, &v);
    path = segment_path(r.dir, 7, v[n - 1]);
    assert_ok(fs_open(r.env.fs, path, FS_WRITE, &file));
    assert_ok(file_size(file, &size));
    assert_ok(file_read_exact(file, bytes, size, 0));
    for (at = size; at > 0 && bytes[at - 1] == 0;)
        at--;
    at = (at - 1) & ~(uint64_t)63; /* the seal */
    memset(bytes, 0, 64);
    assert_ok(file_write(file, bytes, 64, at)); /* so it did not end in good order */
    bytes[0] = 1;
    assert_ok(file_write(file, bytes, 1, at - 64)); /* and in its last batch a byte is not what it was */
    file_close(file);
    f = verify(&r, 0);
    assert_int_equal(f.n, 0);
    assert_int_equal(f.n_torn, 1);
    assert_true(f.n_seen < RECORDS);
    f = verify(&r, rig_pos(RECORDS));
    assert_int_equal(f.n, 1);
    assert_string_equal(f.file, path);
    mem_free(path);
    mem_free(v);
    rig_end(&r);
}

/* As the last batch of a segment that was taken with what another log left in it. */
PROMISE(old_bytes_behind_a_segments_end_are_no_damage)
{
    struct rig r;
    struct findings f;
    uint64_t *v;
    size_t n;

    fill(&r);
    n = numbers(&r, &v);
    for (size_t i = 0; i < n; i++) {
        char *path = segment_path(r.dir, 7, v[i]);
        struct file *file;
        struct segment_header h;
        struct batch b;
        uint8_t bytes[SEGMENT];
        uint64_t off = SEGMENT_HEADER;

        assert_ok(fs_open(r.env.fs, path, FS_WRITE, &file));
        assert_ok(file_read_exact(file, bytes, SEGMENT, 0));
        assert_ok(segment_header_read(bytes, &h));
        while (off + BATCH_HEADER <= SEGMENT && batch_read(bytes + off, &h, off, &b))
            off = batch_end(off, b.bytes);
        memset(bytes, 0x5a, SEGMENT);
        if (off + BATCH_HEADER < SEGMENT)
            assert_ok(file_write(file, bytes, SEGMENT - off - BATCH_HEADER, off + BATCH_HEADER));
        file_close(file);
        mem_free(path);
    }
    f = verify(&r, rig_pos(RECORDS));
    assert_int_equal(f.n, 0);
    assert_int_equal(f.n_torn, 0);
    assert_int_equal(f.n_seen, RECORDS);
    mem_free(v);
    rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_whole_log_is_read_to_its_end_and_nothing_is_said),
        HOLDS(a_changed_byte_anywhere_is_named_and_the_rest_is_read),
        HOLDS(a_missing_segment_is_named),
        HOLDS(a_torn_tail_is_no_damage_unless_it_was_known_to_be_durable),
        HOLDS(old_bytes_behind_a_segments_end_are_no_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
