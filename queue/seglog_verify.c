/* Batches stand on a grid of 64 bytes and say of which log, segment, place and position they are, so behind a damaged
 * one the next is found by looking at each place of the grid. What is lost lies between two positions.
 *
 * Only in the last segment may something be torn: at or behind the highest position that anybody knew to be durable
 * (seglog.c, 3). There the walk ends without damage. */
#include "queue/seglog_verify.h"
#include "base/mem.h"
#include "queue/segment.h"

struct check {
    struct env *env;
    const char *dir;
    uint64_t log_id, floor;
    const struct damage_sink *sink;
    log_record_fn *fn;
    void *arg;
    struct seglog_report report;
    uint64_t number, pos;       /* of the segment before; behind its last record */
    bool has_before, is_broken; /* is_broken: where it ends is not known, for what stood there was damaged */
};

struct piece { /* a segment in memory */
    struct segment_header head;
    char *path;
    const uint8_t *bytes;
    uint64_t size, durable;
    uint64_t known; /* where the records of the last batch end that can be found */
    bool is_last;
};

static void found(struct check *c, const struct piece *s, uint64_t at, const char *what)
{
    damage_found(c->sink, s->path, at, what);
    c->is_broken = true;
}

static bool batch_at(const struct piece *s, uint64_t off, struct batch *b)
{
    return off + BATCH_HEADER <= s->size && batch_read(s->bytes + off, &s->head, off, b);
}

/* The next place at or behind `off` where a batch begins; the segment's size when there is none. */
static uint64_t find_batch(const struct piece *s, uint64_t off, struct batch *b)
{
    for (; off + BATCH_HEADER <= s->size; off += BATCH_ALIGN) {
        if (batch_at(s, off, b))
            return off;
    }
    return s->size;
}

static void learn_durable(const struct check *c, struct piece *s)
{
    struct batch b;

    s->durable = c->floor > s->head.start ? c->floor : s->head.start;
    for (uint64_t off = find_batch(s, SEGMENT_HEADER, &b); off < s->size;
         off = find_batch(s, batch_end(off, b.bytes), &b)) {
        s->durable = b.durable > s->durable ? b.durable : s->durable;
        s->known = off + BATCH_HEADER + b.bytes;
    }
    s->known = s->known < s->size ? s->known : s->size;
}

/* Hands on the whole records of a batch; *whole: how many bytes they have. */
static enum err records(struct check *c, const struct piece *s, const struct batch *b, uint64_t *whole)
{
    uint64_t data = b->offset + BATCH_HEADER, end = data + b->bytes < s->size ? data + b->bytes : s->size, at = 0;
    struct log_record rec;
    enum err err = ERR_OK;

    while (data + at < end && record_read(s->bytes + data + at, end - data - at, c->log_id, b->pos + at, &rec)) {
        TRY(c->fn(c->arg, &rec));
        at = rec.next - b->pos;
    }
    *whole = at;
out:
    return err;
}

static bool may_be_torn(const struct check *c, const struct piece *s) { return s->is_last && c->pos >= s->durable; }

static enum err walk(struct check *c, struct piece *s)
{
    uint64_t off = SEGMENT_HEADER, at, whole = 0;
    struct batch b = {0};
    bool is_torn = false;
    enum err err = ERR_OK;

    c->pos = s->head.start;
    for (;; off = batch_end(at, b.bytes)) {
        at = find_batch(s, off, &b);
        if (at == s->size && segment_ends_at(s->bytes, s->size, off))
            break;
        if (at != off || b.pos != c->pos) {
            if ((is_torn = may_be_torn(c, s)))
                break;
            found(c, s, off,
                  at < s->size ? "a batch of records is not what was written"
                               : "what stands here is not what was written");
            if (at == s->size)
                break;
        }
        TRY(records(c, s, &b, &whole));
        c->pos = b.pos + whole;
        if (whole < b.bytes) {
            if ((is_torn = may_be_torn(c, s)))
                break;
            found(c, s, at + BATCH_HEADER + whole, "a record is not what was written");
        }
        c->pos = b.pos + b.bytes;
    }
    if (is_torn && !c->is_broken) {
        c->report.was_torn = true;
        c->report.cut_bytes = s->known > off                 ? s->known - off
                              : s->size - off < BATCH_HEADER ? s->size - off
                                                             : BATCH_HEADER;
    }
    if (s->is_last && c->pos < s->durable && !c->is_broken)
        found(c, s, off, "the log ends before what was durable");
out:
    return err;
}

static enum err load(struct check *c, uint64_t number, struct piece *s)
{
    struct str all;
    enum err err;

    s->path = segment_path(c->dir, c->log_id, number);
    err = fs_read_all(c->env->fs, s->path, SEGMENT_MAX, &all);
    if (err == ERR_IO || err == ERR_CORRUPT) {
        found(c, s, 0, err == ERR_IO ? "it cannot be read" : "it is larger than any segment");
        return ERR_OK;
    }
    TRY(err);
    s->bytes = (const uint8_t *)all.p;
    s->size = all.len;
out:
    return err;
}

static bool header_is_whole(struct check *c, uint64_t number, struct piece *s)
{
    if (s->size >= SEGMENT_HEADER && segment_header_read(s->bytes, &s->head) == ERR_OK && s->head.log_id == c->log_id &&
        s->head.number == number)
        return true;
    found(c, s, 0, "the segment's header is not what was written");
    return false;
}

static void follow(struct check *c, const struct piece *s)
{
    if (!c->has_before)
        c->report.start = s->head.start;
    else if (s->head.start != c->pos && !c->is_broken)
        found(c, s, 0, "it does not begin where the segment before it ends");
    c->is_broken = false;
}

static enum err segment(struct check *c, uint64_t number, bool is_last)
{
    struct piece s = {.is_last = is_last};
    enum err err;

    if (c->has_before && number != c->number + 1) {
        s.path = segment_path(c->dir, c->log_id, c->number + 1);
        found(c, &s, 0, "the segment is missing");
        mem_free(s.path);
    }
    TRY(load(c, number, &s));
    if (s.bytes && header_is_whole(c, number, &s)) {
        follow(c, &s);
        learn_durable(c, &s);
        TRY(walk(c, &s));
        c->report.end = c->pos;
    }
    c->has_before = true;
    c->number = number;
out:
    mem_free((void *)(uintptr_t)s.bytes);
    mem_free(s.path);
    return err;
}

enum err seglog_verify(struct env *env, const char *dir, uint64_t log_id, uint64_t durable_floor,
                       const struct damage_sink *sink, log_record_fn *fn, void *arg, struct seglog_report *out)
{
    struct check c = {
        .env = env, .dir = dir, .log_id = log_id, .floor = durable_floor, .sink = sink, .fn = fn, .arg = arg};
    char *log_dir = segment_log_dir(dir, log_id);
    uint64_t *numbers = NULL;
    size_t n = 0;
    enum err err;

    TRY(segment_list(env->fs, log_dir, ".seg", &numbers, &n));
    for (size_t i = 0; i < n; i++)
        TRY(segment(&c, numbers[i], i + 1 == n));
    *out = c.report;
out:
    mem_free(numbers);
    mem_free(log_dir);
    return err;
}
