/* Recovery of one log, in three steps. All segments are walked in order; any but the last must be whole (seglog.c, 2).
 * In the last, the walk stops at the first record that is not whole; every batch of it that can be found, also behind
 * that place, is asked for the durable position it knows. If the stop is before the highest, it is damage. Else what is
 * before the stop is copied to a new file, sealed, synced and renamed over the old one.
 *
 * Cut at any moment and repeated, it comes to the same end: until the rename nothing has changed; after it the log is
 * sealed, and of a sealed log only the seal is written again. */
#include "base/buf.h"
#include "base/list.h"
#include "queue/segment.h"
#include <inttypes.h>

/* One segment in memory, and how far it was walked. */
struct walk {
    struct segment_header head;
    uint8_t *bytes;
    size_t size;
    uint64_t off;   /* of the batch that is not whole, or of the end */
    uint64_t kept;  /* bytes of that batch's records that are whole */
    uint64_t pos;   /* behind the last record that is whole */
    bool is_sealed; /* ends with a seal */
};

struct recovery {
    struct env *env;
    const char *dir;
    uint64_t log_id;
    char **why;
    uint64_t durable; /* the highest known */
    uint64_t known;   /* where the records of the last segment's batches end, of those that can be found */
    struct walk at;
};

static void walk_deinit(struct walk *w)
{
    mem_free(w->bytes);
    *w = (struct walk){0};
}

static enum err damaged(struct recovery *r, uint64_t number, uint64_t off, const char *what)
{
    char *path = segment_path(r->dir, r->log_id, number);
    struct buf b = {0};

    buf_printf(&b, "%s is damaged at offset %" PRIu64 ": %s%c", path, off, what, 0);
    mem_free(path);
    mem_free(*r->why);
    *r->why = b.p;
    return ERR_CORRUPT;
}

static enum err load(struct recovery *r, uint64_t number, struct walk *w)
{
    char *path = segment_path(r->dir, r->log_id, number);
    struct str all;
    enum err err;

    TRY(fs_read_all(r->env->fs, path, SEGMENT_MAX, &all));
    *w = (struct walk){.bytes = (uint8_t *)(uintptr_t)all.p, .size = all.len, .off = SEGMENT_HEADER};
    err = w->size < SEGMENT_HEADER ? ERR_CORRUPT : segment_header_read(w->bytes, &w->head);
    if (err == ERR_CORRUPT || (err == ERR_OK && (w->head.log_id != r->log_id || w->head.number != number)))
        err = damaged(r, number, 0, "the segment's header is not what was written");
    w->pos = w->head.start;
out:
    mem_free(path);
    return err;
}

static bool batch_at(const struct walk *w, uint64_t off, struct batch *b)
{
    return off + BATCH_HEADER <= w->size && batch_read(w->bytes + off, &w->head, off, b);
}

/* How many bytes of the batch's records are whole. */
static uint64_t whole_bytes(const struct walk *w, const struct batch *b)
{
    uint64_t data = b->offset + BATCH_HEADER, end = data + b->bytes < w->size ? data + b->bytes : w->size, at = 0;
    struct log_record rec;

    while (data + at < end && record_read(w->bytes + data + at, end - data - at, b->log_id, b->pos + at, &rec))
        at = rec.next - b->pos;
    return at;
}

static void walk(struct walk *w)
{
    struct batch b = {0};
    bool is_seal = false;

    while (batch_at(w, w->off, &b) && b.pos == w->pos) {
        uint64_t whole = whole_bytes(w, &b);
        w->pos += whole;
        is_seal = b.bytes == 0;
        if (whole < b.bytes) {
            w->kept = whole;
            return;
        }
        w->off = batch_end(w->off, b.bytes);
    }
    w->is_sealed = is_seal && segment_ends_at(w->bytes, w->size, w->off);
}

/* Batches behind the stop may know more. Where one begins there is found on the grid. */
static void ask_all(struct recovery *r, const struct walk *w)
{
    struct batch b;
    for (uint64_t off = SEGMENT_HEADER; off + BATCH_HEADER <= w->size;) {
        bool is = batch_at(w, off, &b);
        if (is && b.durable > r->durable)
            r->durable = b.durable;
        if (is)
            r->known = off + BATCH_HEADER + b.bytes < w->size ? off + BATCH_HEADER + b.bytes : w->size;
        off = is ? batch_end(off, b.bytes) : off + BATCH_ALIGN;
    }
}

/* Where the walk stopped, in the file. */
static uint64_t stop_off(const struct walk *w) { return w->kept ? w->off + BATCH_HEADER + w->kept : w->off; }

/* Behind the records of a segment that another one follows is nothing, or zeros: what replay takes for its end too. */
static bool ends(const struct walk *w) { return w->kept == 0 && segment_ends_at(w->bytes, w->size, w->off); }

static enum err follow(struct recovery *r, const struct walk *next)
{
    if (next->head.number != r->at.head.number + 1)
        return damaged(r, r->at.head.number + 1, 0, "the segment is missing");
    if (next->head.start != r->at.pos || !ends(&r->at))
        return damaged(r, r->at.head.number, stop_off(&r->at), "a record is not what was written");
    return ERR_OK;
}

/* Walks all; the last stays in r->at. */
static enum err walk_all(struct recovery *r, const uint64_t *numbers, size_t n, uint64_t *start)
{
    struct walk w = {0};
    enum err err = ERR_OK;

    for (size_t i = 0; i < n; i++) {
        TRY(load(r, numbers[i], &w));
        if (i == 0)
            *start = w.head.start;
        else
            TRY(follow(r, &w));
        walk(&w);
        walk_deinit(&r->at);
        r->at = w;
        w = (struct walk){0};
    }
    ask_all(r, &r->at);
    r->durable = r->durable > r->at.head.start ? r->durable : r->at.head.start;
    if (r->at.pos < r->durable)
        err = damaged(r, r->at.head.number, stop_off(&r->at), "a record that was durable is not what was written");
out:
    walk_deinit(&w);
    return err;
}

/* The bytes before the stop, with the header of a batch that was cut short written anew, and the seal. The file may end
 * with a record, before the next place of a batch. */
static void build_copy(const struct walk *w, struct buf *out)
{
    struct batch b = {0};
    uint64_t end = w->off, there = stop_off(w) < w->size ? stop_off(w) : w->size;

    if (w->kept && batch_at(w, w->off, &b)) {
        b.bytes = (uint32_t)w->kept;
        end = batch_end(w->off, w->kept);
    }
    uint8_t *p = (uint8_t *)buf_reserve(out, end + BATCH_HEADER);
    memset(p, 0, end + BATCH_HEADER);
    memcpy(p, w->bytes, there);
    if (b.bytes)
        batch_write(p + w->off, &b);
    batch_write(p + end, &(struct batch){w->head.log_id, w->head.generation, end, w->pos, w->pos, 0, 0});
    out->len = end + BATCH_HEADER;
}

/* A seal is written again, as it is: the sync of a clean end may have failed and left its page clean in the cache, so
 * that another sync has nothing to do and proves nothing. The folder is synced even when nothing was to do: an earlier
 * try may have been cut before it did that. */
static enum err make_durable(struct recovery *r, const char *log_dir)
{
    char *path = segment_path(r->dir, r->log_id, r->at.head.number);
    struct file *f = NULL;
    struct buf copy = {0};
    enum err err;

    if (r->at.is_sealed && r->known <= r->at.off) {
        uint64_t seal = r->at.off - BATCH_HEADER;
        TRY(fs_open(r->env->fs, path, FS_WRITE, &f));
        TRY(file_write(f, r->at.bytes + seal, BATCH_HEADER, seal));
        TRY(file_sync(f));
        TRY(fs_sync_dir(r->env->fs, log_dir));
    } else {
        build_copy(&r->at, &copy);
        TRY(fs_replace(r->env->fs, path, buf_get(&copy)));
    }
out:
    file_close(f);
    buf_deinit(&copy);
    mem_free(path);
    return err;
}

static void report(const struct recovery *r, uint64_t start, struct seglog_report *out)
{
    uint64_t stop = stop_off(&r->at), end = stop + BATCH_HEADER; /* a torn header says no more */

    end = r->known > stop ? r->known : end < r->at.size ? end : r->at.size;
    *out = (struct seglog_report){.start = start, .end = r->at.pos};
    out->was_torn = !ends(&r->at) || r->known > stop;
    out->cut_bytes = out->was_torn && end > stop ? end - stop : 0;
}

enum err seglog_recover(struct env *env, const char *dir, uint64_t log_id, uint64_t durable_floor,
                        struct seglog_report *out, char **why)
{
    struct recovery r = {.env = env, .dir = dir, .log_id = log_id, .why = why, .durable = durable_floor};
    char *log_dir = segment_log_dir(dir, log_id);
    uint64_t *numbers = NULL, start = 0;
    size_t n;
    enum err err;

    *why = NULL;
    TRY(segment_list(env->fs, log_dir, ".seg", &numbers, &n));
    if (n == 0) { /* opened and never written to, or on its way out */
        *out = (struct seglog_report){.start = durable_floor, .end = durable_floor};
        goto out;
    }
    TRY(walk_all(&r, numbers, n, &start));
    TRY(make_durable(&r, log_dir));
    report(&r, start, out);
out:
    walk_deinit(&r.at);
    mem_free(numbers);
    mem_free(log_dir);
    return err;
}
