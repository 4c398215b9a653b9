/* Recovery: what is torn is cut exactly where it is torn, what is damaged is named, what is stale is never valid. */
#include "tests/unit/queue/log_rig.h"
#include "base/buf.h"
#include "base/enc.h"
#include <inttypes.h>

enum { SEGMENT = 8192 };

/* A log's folder as it was before its clean end, in memory. */
struct image {
    uint64_t *numbers;
    size_t n;
    struct str files[64];
};

static void take_image(struct rig *r, uint64_t log_id, struct image *im)
{
    char *dir = segment_log_dir(r->dir, log_id);
    assert_ok(segment_list(r->env.fs, dir, ".seg", &im->numbers, &im->n));
    assert_in_range(im->n, 1, 64);
    for (size_t i = 0; i < im->n; i++) {
        char *path = segment_path(r->dir, log_id, im->numbers[i]);
        assert_ok(fs_read_all(r->env.fs, path, SEGMENT_MAX, &im->files[i]));
        mem_free(path);
    }
    mem_free(dir);
}

static void put_file(struct rig *r, uint64_t log_id, uint64_t number, struct str bytes)
{
    char *path = segment_path(r->dir, log_id, number);
    struct file *f;
    assert_ok(fs_open(r->env.fs, path, FS_CREATE, &f));
    assert_ok(file_truncate(f, 0));
    assert_ok(file_write(f, bytes.p, bytes.len, 0));
    file_close(f);
    mem_free(path);
}

static void put_image(struct rig *r, uint64_t log_id, const struct image *im)
{
    for (size_t i = 0; i < im->n; i++)
        put_file(r, log_id, im->numbers[i], im->files[i]);
}

static void free_image(struct image *im)
{
    for (size_t i = 0; i < im->n; i++)
        mem_free((char *)(uintptr_t)im->files[i].p);
    mem_free(im->numbers);
}

static uint8_t *last_bytes(const struct image *im) { return (uint8_t *)(uintptr_t)im->files[im->n - 1].p; }

/* A log of batches of `batch` records, not sealed. */
static void make_log(struct rig *r, uint64_t log_id, unsigned records, unsigned batch, struct image *im)
{
    rig_open(r, log_id, SEGMENT);
    for (unsigned i = 0; i < records; i += batch) {
        rig_fill(r, i, i + batch, batch);
        rig_wait(r, rig_pos(i + batch)); /* so each is a batch of its own */
    }
    take_image(r, log_id, im);
    rig_close(r);
    put_image(r, log_id, im);
}

/* Recovers, and expects that exactly the first `records` are left; then that doing it again finds nothing to do. */
static void assert_recovers(struct rig *r, uint64_t log_id, uint64_t floor, unsigned records, bool torn)
{
    struct seglog_report rep;
    char *why;

    assert_ok(seglog_recover(&r->env, r->dir, log_id, floor, &rep, &why));
    assert_null(why);
    assert_int_equal(rep.end, rig_pos(records));
    assert_int_equal(rep.was_torn, torn);
    assert_int_equal(rig_count(r, log_id), records);
    assert_ok(seglog_recover(&r->env, r->dir, log_id, rep.end, &rep, &why));
    assert_int_equal(rep.end, rig_pos(records));
    assert_false(rep.was_torn);
    assert_int_equal(rep.cut_bytes, 0);
    assert_int_equal(rig_count(r, log_id), records);
}

/* Expects damage at exactly that place. */
static void assert_damaged(struct rig *r, uint64_t log_id, uint64_t floor, uint64_t number, uint64_t off)
{
    struct seglog_report rep;
    struct buf place = {0};
    char *why, *path = segment_path(r->dir, log_id, number);

    assert_int_equal(seglog_recover(&r->env, r->dir, log_id, floor, &rep, &why), ERR_CORRUPT);
    assert_non_null(why);
    buf_printf(&place, "%s is damaged at offset %" PRIu64 ":%c", path, off, 0);
    assert_non_null(strstr(why, place.p));
    buf_deinit(&place);
    mem_free(path);
    mem_free(why);
}

/* The last batch of the image's last segment. */
static struct batch find_last(const struct image *im)
{
    const uint8_t *p = last_bytes(im);
    struct segment_header h;
    struct batch b = {0}, next;

    assert_ok(segment_header_read(p, &h));
    for (uint64_t off = SEGMENT_HEADER; batch_read(p + off, &h, off, &next); off = batch_end(off, next.bytes))
        b = next;
    assert_true(b.bytes > 0);
    return b;
}

enum { RECORDS = 60, BATCH = 3 };

/* How many records are whole when the bytes of the last batch from `at` (0: its header) on are not. */
static unsigned whole_before(uint64_t at)
{
    unsigned n = RECORDS - BATCH;
    uint64_t end = BATCH_HEADER;
    for (; n < RECORDS; n++) {
        end += RECORD_HEADER + rig_len(n);
        if (at < end)
            break;
    }
    return n;
}

enum tear { CUT_OFF, ZEROED, GARBLED, STALE };

static void tear_at(struct rig *r, const struct image *im, const struct batch *b, uint64_t at, enum tear how)
{
    size_t size = im->files[im->n - 1].len, off = b->offset + at;
    uint8_t *copy = mem_alloc(size);

    memcpy(copy, last_bytes(im), size);
    if (how == ZEROED)
        memset(copy + off, 0, size - off);
    if (how == GARBLED)
        copy[off] ^= 0xff;
    for (size_t i = off; how == STALE && i < size; i++)
        copy[i] ^= 0x5a; /* what the file had before */
    put_file(r, 7, im->numbers[im->n - 1], str_of(copy, how == CUT_OFF ? off : size));
    mem_free(copy);
}

static bool is_zero(const uint8_t *p, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        if (p[i])
            return false;
    return true;
}

static void tear_everywhere(enum tear how)
{
    struct rig r;
    struct image im;

    rig_start(&r);
    make_log(&r, 7, RECORDS, BATCH, &im);
    struct batch b = find_last(&im);
    assert_int_equal(b.pos + b.bytes, rig_pos(RECORDS));
    for (uint64_t at = 0; at < BATCH_HEADER + b.bytes; at++) {
        /* Nothing of it is there: a clean end. The batch begins with a checksum, whose first bytes may be zero
         * themselves. */
        bool is_gone = how != GARBLED && how != STALE && is_zero(last_bytes(&im) + b.offset, at);
        if (how == ZEROED && at < BATCH_HEADER + b.bytes && last_bytes(&im)[b.offset + at] == 0)
            continue; /* may have changed nothing */
        tear_at(&r, &im, &b, at, how);
        assert_recovers(&r, 7, 0, whole_before(at), !is_gone);
        tear_at(&r, &im, &b, at, how);
        assert_recovers(&r, 7, b.pos, whole_before(at), !is_gone); /* a view that has all before the batch */
    }
    free_image(&im);
    rig_end(&r);
}

PROMISE(a_tail_cut_off_at_any_byte_is_cut_at_the_record_it_hit) { tear_everywhere(CUT_OFF); }
PROMISE(a_tail_zero_from_any_byte_is_cut_at_the_record_it_hit) { tear_everywhere(ZEROED); }
PROMISE(a_tail_with_any_byte_changed_is_cut_at_the_record_it_hit) { tear_everywhere(GARBLED); }

PROMISE(a_tail_with_old_bytes_from_any_byte_is_cut_at_the_record_it_hit) { tear_everywhere(STALE); }

PROMISE(a_file_that_ends_with_its_last_record_loses_nothing)
{
    struct rig r;
    struct image im, after;

    rig_start(&r);
    make_log(&r, 7, RECORDS, BATCH, &im);
    struct batch b = find_last(&im);
    uint64_t end = b.offset + BATCH_HEADER + b.bytes, place = batch_end(b.offset, b.bytes);
    assert_true(end < place); /* where the next batch would stand is not in the file */
    tear_at(&r, &im, &b, BATCH_HEADER + b.bytes, CUT_OFF);
    assert_recovers(&r, 7, 0, RECORDS, false);
    take_image(&r, 7, &after);
    assert_true(is_zero(last_bytes(&after) + end, place - end));
    free_image(&after);
    free_image(&im);
    rig_end(&r);
}

/* Replay would stop at it, so recovery must not let it pass. */
PROMISE(what_stands_behind_the_records_of_a_segment_in_the_middle_is_damage)
{
    struct rig r;
    struct image im;
    unsigned met = 0;

    rig_start(&r);
    make_log(&r, 7, 150, 10, &im);
    for (size_t i = 0; i + 1 < im.n; i++) {
        uint8_t *p = (uint8_t *)(uintptr_t)im.files[i].p;
        uint64_t off = SEGMENT_HEADER;
        struct segment_header h;
        struct batch b;
        assert_ok(segment_header_read(p, &h));
        while (off + BATCH_HEADER <= im.files[i].len && batch_read(p + off, &h, off, &b))
            off = batch_end(off, b.bytes);
        if (off + BATCH_HEADER > im.files[i].len)
            continue;
        p[off + 10] = 1;
        put_file(&r, 7, im.numbers[i], im.files[i]);
        assert_damaged(&r, 7, 0, im.numbers[i], off);
        p[off + 10] = 0;
        put_file(&r, 7, im.numbers[i], im.files[i]);
        met++;
    }
    assert_true(met > 0);
    assert_recovers(&r, 7, 0, 150, false);
    free_image(&im);
    rig_end(&r);
}

PROMISE(the_bytes_that_are_cut_are_counted)
{
    struct rig r;
    struct image im;
    struct seglog_report rep;
    char *why;

    rig_start(&r);
    make_log(&r, 7, RECORDS, BATCH, &im);
    struct batch b = find_last(&im);
    uint64_t first = RECORD_HEADER + rig_len(RECORDS - BATCH);
    tear_at(&r, &im, &b, BATCH_HEADER + first + 3, GARBLED);
    assert_ok(seglog_recover(&r.env, r.dir, 7, 0, &rep, &why));
    assert_int_equal(rep.cut_bytes, b.bytes - first);
    assert_int_equal(rep.start, 0);
    free_image(&im);
    rig_end(&r);
}

PROMISE(damage_anywhere_before_what_is_durable_is_named_with_file_and_offset)
{
    struct rig r;
    struct image im;
    struct batch b;
    struct segment_header h;

    rig_start(&r);
    make_log(&r, 7, RECORDS, BATCH, &im);
    uint8_t *p = last_bytes(&im);
    uint64_t number = im.numbers[im.n - 1];
    assert_ok(segment_header_read(p, &h));
    assert_true(batch_read(p + SEGMENT_HEADER, &h, SEGMENT_HEADER, &b));
    assert_true(b.offset < find_last(&im).offset); /* so a later batch knows that this one was durable */
    unsigned i = 0;
    while (rig_pos(i) < b.pos)
        i++;
    for (uint64_t at = 0, record = BATCH_HEADER; at < BATCH_HEADER + b.bytes; at++) {
        while (at >= record + RECORD_HEADER + rig_len(i))
            record += RECORD_HEADER + rig_len(i++);
        tear_at(&r, &im, &b, at, GARBLED);
        assert_damaged(&r, 7, 0, number, b.offset + (at < BATCH_HEADER || record == BATCH_HEADER ? 0 : record));
    }
    free_image(&im);
    rig_end(&r);
}

PROMISE(what_a_view_has_durably_cannot_be_torn)
{
    struct rig r;
    struct image im;

    rig_start(&r);
    make_log(&r, 7, RECORDS, BATCH, &im);
    struct batch b = find_last(&im);
    tear_at(&r, &im, &b, 5, GARBLED);
    assert_damaged(&r, 7, rig_pos(RECORDS), im.numbers[im.n - 1], b.offset);
    assert_damaged(&r, 7, b.pos + 1, im.numbers[im.n - 1], b.offset);
    assert_recovers(&r, 7, b.pos, RECORDS - BATCH, true);
    free_image(&im);
    rig_end(&r);
}

PROMISE(what_was_recovered_once_is_never_torn_again)
{
    struct rig r;
    struct image im, again;

    rig_start(&r);
    make_log(&r, 7, RECORDS, BATCH, &im);
    assert_recovers(&r, 7, 0, RECORDS, false);
    take_image(&r, 7, &again);
    uint64_t off = find_last(&im).offset;
    last_bytes(&again)[off] ^= 1;
    put_image(&r, 7, &again);
    assert_damaged(&r, 7, 0, again.numbers[again.n - 1], off);
    free_image(&again);
    free_image(&im);
    rig_end(&r);
}

PROMISE(a_clean_end_is_sealed_so_recovery_leaves_it_as_it_is)
{
    struct rig r;
    struct image before, after;

    rig_start(&r);
    rig_open(&r, 7, SEGMENT);
    rig_fill(&r, 0, RECORDS, BATCH);
    rig_close(&r);
    take_image(&r, 7, &before);
    assert_recovers(&r, 7, 0, RECORDS, false);
    take_image(&r, 7, &after);
    assert_true(str_eq(before.files[before.n - 1], after.files[after.n - 1]));
    free_image(&before);
    free_image(&after);
    rig_end(&r);
}

PROMISE(a_torn_record_is_cut_even_where_valid_ones_follow)
{
    enum { BIG = 700 << 10 };
    struct rig r;
    struct image im;
    struct seglog_report rep;
    char *why, *body = mem_alloc(BIG);
    uint64_t pos;

    rig_start(&r);
    assert_ok(rig_try_pool(&r, 4 << 20, 1));
    rig_open(&r, 7, 0);
    for (int i = 0; i < 2; i++) /* too large for one batch, but of one write */
        assert_ok(stream_append(r.stream, 1, 1, 1, str_of(body, BIG), &pos));
    stream_flush(r.stream);
    rig_wait(&r, stream_end(r.stream));
    take_image(&r, 7, &im);
    rig_close(&r);
    struct segment_header h;
    struct batch b;
    uint8_t *p = last_bytes(&im);
    assert_ok(segment_header_read(p, &h));
    uint64_t second = batch_end(SEGMENT_HEADER, RECORD_HEADER + BIG);
    assert_true(batch_read(p + second, &h, second, &b));
    b.durable = 0; /* as it is when both were written at once; else the writer was quick */
    batch_write(p + second, &b);
    p[SEGMENT_HEADER + BATCH_HEADER + 1000] ^= 1;
    put_image(&r, 7, &im);
    assert_ok(seglog_recover(&r.env, r.dir, 7, 0, &rep, &why));
    assert_int_equal(rep.end, 0);
    assert_true(rep.was_torn);
    assert_true(rep.cut_bytes > BIG);
    mem_free(body);
    free_image(&im);
    rig_end(&r);
}

PROMISE(a_missing_segment_is_damage_unless_it_is_the_first)
{
    struct rig r;
    struct image im;
    struct seglog_report rep;
    char *why;

    rig_start(&r);
    make_log(&r, 7, 150, 10, &im);
    assert_true(im.n >= 3);
    char *second = segment_path(r.dir, 7, im.numbers[1]), *first = segment_path(r.dir, 7, im.numbers[0]);
    assert_ok(fs_remove(r.env.fs, second));
    assert_damaged(&r, 7, 0, im.numbers[1], 0);
    put_image(&r, 7, &im);
    assert_ok(fs_remove(r.env.fs, first));
    assert_ok(seglog_recover(&r.env, r.dir, 7, 0, &rep, &why));
    assert_true(rep.start > 0);
    assert_int_equal(rep.end, rig_pos(150));
    mem_free(first);
    mem_free(second);
    free_image(&im);
    rig_end(&r);
}

PROMISE(a_damaged_header_or_a_gap_at_a_segments_end_is_named)
{
    struct rig r;
    struct image im;

    rig_start(&r);
    make_log(&r, 7, 150, 10, &im);
    for (size_t i = 0; i < im.n; i++) {
        for (size_t at = 0; at < SEGMENT_HEADER; at += 7) {
            ((uint8_t *)(uintptr_t)im.files[i].p)[at] ^= 0x10;
            put_image(&r, 7, &im);
            assert_damaged(&r, 7, 0, im.numbers[i], 0);
            ((uint8_t *)(uintptr_t)im.files[i].p)[at] ^= 0x10;
        }
    }
    struct segment_header h;
    struct batch b = {0}, next;
    uint8_t *p = (uint8_t *)(uintptr_t)im.files[0].p;
    assert_ok(segment_header_read(p, &h));
    for (uint64_t off = SEGMENT_HEADER; off < SEGMENT && batch_read(p + off, &h, off, &next);
         off = batch_end(off, next.bytes))
        b = next;
    memset(p + b.offset, 0, SEGMENT - b.offset); /* as if it had never been written */
    put_image(&r, 7, &im);
    assert_damaged(&r, 7, 0, im.numbers[0], b.offset);
    free_image(&im);
    rig_end(&r);
}

/* A recovery that was cut short may have copied a segment that a power cut then took away. */
PROMISE(a_copy_without_its_segment_does_not_keep_a_log_from_being_removed)
{
    struct rig r;
    uint64_t *ids;
    size_t n;

    rig_start(&r);
    rig_open(&r, 7, SEGMENT);
    rig_fill(&r, 0, 3, 1);
    rig_close(&r);
    char *path = segment_path(r.dir, 7, 1);
    char copy[128];
    snprintf(copy, sizeof copy, "%s.tmp", path);
    assert_ok(fs_replace(r.env.fs, copy, STR("half a copy")));
    assert_ok(seglog_remove(&r.env, r.dir, 7));
    assert_ok(seglog_list(&r.env, r.dir, &ids, &n));
    assert_int_equal(n, 0);
    mem_free(ids);
    mem_free(path);
    rig_end(&r);
}

PROMISE(what_a_segment_held_before_is_never_valid_in_it)
{
    struct rig r;
    struct image longer, other, now;

    rig_start(&r);
    make_log(&r, 7, RECORDS, BATCH, &longer); /* the same records at the same places, of another generation */
    assert_ok(seglog_remove(&r.env, r.dir, 7));
    make_log(&r, 8, RECORDS, BATCH, &other); /* the same of another log */
    make_log(&r, 7, BATCH, BATCH, &now);
    assert_int_equal(now.n, 1);
    uint64_t end = batch_end(SEGMENT_HEADER, rig_pos(BATCH));
    const struct image *old[] = {&longer, &other};
    for (int i = 0; i < 2; i++) {
        memcpy(last_bytes(&now) + end, old[i]->files[0].p + end, SEGMENT - end);
        put_image(&r, 7, &now);
        assert_recovers(&r, 7, 0, BATCH, true);
        memset(last_bytes(&now) + end, 0, BATCH_HEADER); /* as a writer ends what it writes */
        put_image(&r, 7, &now);
        assert_recovers(&r, 7, 0, BATCH, false);
    }
    free_image(&longer);
    free_image(&other);
    free_image(&now);
    rig_end(&r);
}

PROMISE(a_log_that_is_empty_or_has_only_a_header_recovers)
{
    struct rig r;
    struct image im;
    struct seglog_report rep;
    char *why;

    rig_start(&r);
    rig_open(&r, 5, SEGMENT);
    rig_close(&r);
    assert_ok(seglog_recover(&r.env, r.dir, 5, 0, &rep, &why));
    assert_int_equal(rep.start, 0);
    assert_int_equal(rep.end, 0);
    make_log(&r, 7, BATCH, BATCH, &im);
    memset(last_bytes(&im) + SEGMENT_HEADER, 0, SEGMENT - SEGMENT_HEADER);
    put_image(&r, 7, &im);
    assert_recovers(&r, 7, 0, 0, false);
    im.files[0].len = SEGMENT_HEADER;
    put_image(&r, 7, &im);
    assert_recovers(&r, 7, 0, 0, false);
    assert_int_equal(seglog_recover(&r.env, r.dir, 99, 0, &rep, &why), ERR_NOT_FOUND);
    free_image(&im);
    rig_end(&r);
}

PROMISE(recovery_can_be_broken_off_at_every_step)
{
    struct rig r;
    struct image im;
    struct seglog_report rep;
    char *why;
    uint64_t n = 0;

    rig_start(&r);
    make_log(&r, 7, RECORDS, BATCH, &im);
    struct batch b = find_last(&im);
    do {
        tear_at(&r, &im, &b, BATCH_HEADER + 2, GARBLED);
        faultfs_fail(r.faults, FAULT_ALL, ++n, UINT64_MAX, ERR_IO); /* as if the process ended there */
        enum err err = seglog_recover(&r.env, r.dir, 7, b.pos, &rep, &why);
        assert_true(err == ERR_OK || err == ERR_IO);
        faultfs_heal(r.faults);
        assert_ok(seglog_recover(&r.env, r.dir, 7, b.pos, &rep, &why));
        assert_int_equal(rep.end, b.pos);
        assert_int_equal(rig_count(&r, 7), RECORDS - BATCH);
    } while (faultfs_has_failed(r.faults));
    assert_true(n > 10);
    free_image(&im);
    rig_end(&r);
}

PROMISE(removing_a_log_can_be_broken_off_at_every_step)
{
    struct rig r;
    struct image im;
    struct seglog_report rep;
    char *why;
    uint64_t n = 0, *ids;
    size_t count;
    enum err err;

    rig_start(&r);
    do {
        make_log(&r, ++n + 100, 100, 10, &im);
        segpool_close(r.pool); /* its thread would meet the faults too */
        r.pool = NULL;
        faultfs_fail(r.faults, FAULT_ALL & ~(unsigned)(FAULT_FILL | FAULT_OPEN), n, UINT64_MAX, ERR_IO);
        err = seglog_remove(&r.env, r.dir, n + 100);
        faultfs_heal(r.faults);
        assert_ok(seglog_list(&r.env, r.dir, &ids, &count));
        if (count) {
            assert_ok(seglog_recover(&r.env, r.dir, n + 100, rig_pos(100), &rep, &why));
            assert_int_equal(rep.end, rig_pos(100));
            assert_ok(seglog_remove(&r.env, r.dir, n + 100));
        }
        mem_free(ids);
        free_image(&im);
    } while (err != ERR_OK);
    assert_true(n > 4);
    rig_end(&r);
}

PROMISE(the_logs_that_are_there_are_listed_in_ascending_order)
{
    static const uint64_t made[] = {0xfedcba9876543210u, 3, 0x10};
    struct rig r;
    uint64_t *ids;
    size_t n;

    rig_start(&r);
    assert_ok(seglog_list(&r.env, "/tmp/parley-no-such-folder", &ids, &n));
    assert_int_equal(n, 0);
    for (int i = 0; i < 3; i++) {
        rig_open(&r, made[i], SEGMENT);
        rig_close(&r);
    }
    assert_ok(seglog_list(&r.env, r.dir, &ids, &n));
    assert_int_equal(n, 3);
    assert_true(ids[0] == 3 && ids[1] == 0x10 && ids[2] == made[0]);
    mem_free(ids);
    rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_tail_cut_off_at_any_byte_is_cut_at_the_record_it_hit),
        HOLDS(a_tail_zero_from_any_byte_is_cut_at_the_record_it_hit),
        HOLDS(a_tail_with_any_byte_changed_is_cut_at_the_record_it_hit),
        HOLDS(a_tail_with_old_bytes_from_any_byte_is_cut_at_the_record_it_hit),
        HOLDS(a_file_that_ends_with_its_last_record_loses_nothing),
        HOLDS(what_stands_behind_the_records_of_a_segment_in_the_middle_is_damage),
        HOLDS(the_bytes_that_are_cut_are_counted),
        HOLDS(damage_anywhere_before_what_is_durable_is_named_with_file_and_offset),
        HOLDS(what_a_view_has_durably_cannot_be_torn),
        HOLDS(what_was_recovered_once_is_never_torn_again),
        HOLDS(a_clean_end_is_sealed_so_recovery_leaves_it_as_it_is),
        HOLDS(a_torn_record_is_cut_even_where_valid_ones_follow),
        HOLDS(a_missing_segment_is_damage_unless_it_is_the_first),
        HOLDS(a_damaged_header_or_a_gap_at_a_segments_end_is_named),
        HOLDS(a_copy_without_its_segment_does_not_keep_a_log_from_being_removed),
        HOLDS(what_a_segment_held_before_is_never_valid_in_it),
        HOLDS(a_log_that_is_empty_or_has_only_a_header_recovers),
        HOLDS(recovery_can_be_broken_off_at_every_step),
        HOLDS(removing_a_log_can_be_broken_off_at_every_step),
        HOLDS(the_logs_that_are_there_are_listed_in_ascending_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
