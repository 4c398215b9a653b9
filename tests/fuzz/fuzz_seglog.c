/* Any bytes as the segments of a log: no crash. What is recovered is recovered again to the same, also after a power
 * cut, and replays whole; what is refused is said, and left as it was.
 *
 * The first bytes say how: which checksums and bindings are made right, the highest position that a view has, and where
 * the second segment begins, if there is one. */
#include "base/enc.h"
#include "queue/segment.h"
#include "tests/fuzz/fuzz_disk.h"

enum { LOG = 1, HOW_BYTES = 4, FIX_HEADERS = 1, FIX_BATCHES = 2, FIX_RECORDS = 4, TWO_SEGMENTS = 8 };
#define DIR "/log"
#define BATCH_MAGIC 0x48435442u /* segment.c */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- making right what a mutation spoils: so that more than the first checksum is met --- */

static void fix_header(uint8_t *p, struct segment_header *h, uint64_t number)
{
    *h = (struct segment_header){LOG, dec_u64(p + 32), number, dec_u64(p + 48)};
    segment_header_write(p, h);
}

static void fix_records(uint8_t *p, size_t n, uint64_t pos)
{
    while (n >= RECORD_HEADER && dec_u32(p + 8) <= n - RECORD_HEADER) {
        size_t len = RECORD_HEADER + dec_u32(p + 8);
        uint8_t *fixed = mem_alloc(len);
        record_write(fixed, &(struct log_record){.log_id = LOG,
                                                 .pos = pos,
                                                 .kind = p[12],
                                                 .topics = p[13],
                                                 .shard = dec_u16(p + 14),
                                                 .body = str_of(p + RECORD_HEADER, len - RECORD_HEADER)});
        memcpy(p, fixed, len);
        mem_free(fixed);
        p += len;
        n -= len;
        pos += len;
    }
}

static void fix_segment(uint8_t *p, size_t n, unsigned how, uint64_t number)
{
    struct segment_header h;
    uint64_t off = SEGMENT_HEADER;

    if (n < SEGMENT_HEADER || !(how & FIX_HEADERS))
        return;
    fix_header(p, &h, number);
    while (off + BATCH_HEADER <= n && dec_u32(p + off + 8) == BATCH_MAGIC) {
        uint8_t *at = p + off;
        struct batch b = {LOG, h.generation, off, dec_u64(at + 48), dec_u64(at + 56), dec_u32(at + 12), at[16]};
        uint64_t records = b.bytes < n - off - BATCH_HEADER ? b.bytes : n - off - BATCH_HEADER;
        if (how & FIX_BATCHES)
            batch_write(at, &b);
        if (how & FIX_RECORDS)
            fix_records(at + BATCH_HEADER, (size_t)records, b.pos);
        off = batch_end(off, b.bytes);
    }
}

static void put_segment(struct simdisk *d, struct str bytes, unsigned how, uint64_t number)
{
    char *dir = segment_log_dir(DIR, LOG), *path = segment_path(DIR, LOG, number);
    struct buf b = {0};

    buf_str(&b, bytes);
    fix_segment((uint8_t *)b.p, b.len, how, number);
    fuzz_put(d, dir, path, buf_get(&b));
    buf_deinit(&b);
    mem_free(dir);
    mem_free(path);
}

/* --- what must hold --- */

static enum err recover(struct simenv *e, uint64_t floor, struct seglog_report *out)
{
    char *why = NULL;
    enum err err = seglog_recover(&e->env, DIR, LOG, floor, out, &why);

    if ((err == ERR_CORRUPT) != (why != NULL))
        abort();
    mem_free(why);
    return err;
}

static enum err follow(void *arg, const struct log_record *r)
{
    uint64_t *pos = arg;

    if (r->pos != *pos || r->next != r->pos + RECORD_HEADER + r->body.len)
        abort();
    *pos = r->next;
    return ERR_OK;
}

static void must_be(struct simenv *e, const struct seglog_report *first)
{
    struct seglog_report again;
    uint64_t pos = first->start;

    if (recover(e, first->end, &again) != ERR_OK || again.start != first->start || again.end != first->end ||
        again.was_torn || again.cut_bytes)
        abort();
    if (seglog_replay(&e->env, DIR, LOG, 0, 0, follow, &pos) != ERR_OK || pos != first->end)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seglog_report report;
    struct simdisk *d;
    struct simenv e;

    if (size < HOW_BYTES)
        return 0;
    unsigned how = data[0];
    size_t n = size - HOW_BYTES, first = how & TWO_SEGMENTS ? dec_u16(data + 2) : n;
    first = first < n ? first : n;
    simdisk_create(1, &d);
    simenv_init(&e, 1, simdisk_fs(d));
    put_segment(d, str_of(data + HOW_BYTES, first), how, 1);
    if (first < n)
        put_segment(d, str_of(data + HOW_BYTES + first, n - first), how, 2);
    uint64_t before = simdisk_sum(d);
    if (recover(&e, data[1], &report) == ERR_OK) {
        must_be(&e, &report);
        simdisk_die(d, DEATH_CUT);
        simdisk_boot(d);
        must_be(&e, &report);
    } else if (simdisk_sum(d) != before) {
        abort();
    }
    simdisk_destroy(d);
    return 0;
}
