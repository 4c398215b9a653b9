/* Segments are looked at from the last one backwards, as far as they are needed: what a live log trimmed may be zeroed
 * or written over at any moment. Every record on the way is checked, so that damage is met by the backup and not by who
 * restores it. */
#include "queue/seglog_copy.h"
#include "base/log.h"
#include "queue/segread.h"
#include <inttypes.h>

static enum err nothing(void *arg, const struct log_record *r)
{
    (void)arg;
    (void)r;
    return ERR_OK;
}

/* Walks to `end` or the segment's; *is_sealed: it stands behind a seal. */
static enum err walk(struct segread *r, uint64_t *pos, uint64_t end, log_record_fn *fn, void *arg, bool *is_sealed)
{
    struct batch b;
    enum err err = ERR_OK;

    *is_sealed = false;
    while (r->pos < end && (err = segread_batch(r, end - r->pos, &b)) == ERR_OK) {
        TRY(segread_records(r, &b, 0, fn, arg, pos));
        *is_sealed = b.bytes == 0;
    }
    TRY(err == ERR_NOT_FOUND ? ERR_OK : err);
out:
    if (err != ERR_OK)
        log_error("log_unreadable", "file=%s offset=%" PRIu64 " err=%s", r->path, r->off, err_name(err));
    return err;
}

static enum err live_segment(const struct seglog_copy *c, uint64_t number, bool is_last)
{
    struct segread r = {0};
    uint8_t seal[BATCH_HEADER];
    uint64_t pos = 0;
    bool is_sealed;
    enum err err;

    TRY(segread_open(c->env, c->dir, c->log_id, number, &r));
    TRY(walk(&r, &pos, c->end, nothing, NULL, &is_sealed));
    TRY(is_last && r.pos < c->end ? ERR_CORRUPT : ERR_OK);
    batch_write(seal, &(struct batch){c->log_id, r.head.generation, r.off, r.pos, r.pos, 0, 0});
    TRY(c->segment(c->arg, number, r.path, r.off, str_of(seal, is_last && !is_sealed ? sizeof seal : 0)));
out:
    segread_close(&r);
    return err;
}

/* Behind the last batch that can be found, if the log ends there: what follows is of another log. Else what stands
 * there may be torn, and only zeros that no batch claims are left out. */
static uint64_t used_end(const uint8_t *bytes, uint64_t size)
{
    struct segment_header head;
    struct batch b;
    uint64_t end = 0, used = size;

    if (size >= SEGMENT_HEADER && segment_header_read(bytes, &head) == ERR_OK) {
        end = SEGMENT_HEADER;
        for (uint64_t off = end; off + BATCH_HEADER <= size; off = off < end ? end : off + BATCH_ALIGN)
            if (batch_read(bytes + off, &head, off, &b))
                end = batch_end(off, b.bytes);
        if (segment_ends_at(bytes, size, end))
            return end < size ? end : size;
    }
    while (used > end && bytes[used - 1] == 0)
        used--;
    used = (used + BATCH_ALIGN - 1) & ~(uint64_t)(BATCH_ALIGN - 1);
    return used < size ? used : size;
}

/* As it is: what is torn or damaged is for recovery to judge. */
static enum err still_segment(const struct seglog_copy *c, uint64_t number)
{
    char *path = segment_path(c->dir, c->log_id, number);
    struct str all = {0};
    enum err err;

    TRY(fs_read_all(c->env->fs, path, SEGMENT_MAX, &all));
    TRY(c->segment(c->arg, number, path, used_end((const uint8_t *)all.p, all.len), (struct str){0}));
out:
    mem_free((void *)(uintptr_t)all.p);
    mem_free(path);
    return err;
}

/* [*first, *last): those that hold something of [from, end). */
static enum err choose(const struct seglog_copy *c, const uint64_t *numbers, size_t n, size_t *first, size_t *last)
{
    struct segread r = {0};
    bool is_it = false;
    enum err err = ERR_OK;

    for (*first = *last = n; *first > 0 && !is_it; segread_close(&r)) {
        TRY(segread_open(c->env, c->dir, c->log_id, numbers[*first - 1], &r));
        is_it = r.head.start <= c->from;
        --*first;
        if (r.head.start >= c->end)
            *last = *first; /* it came after `end` was asked */
    }
out:
    segread_close(&r);
    return err;
}

enum err seglog_read(struct env *env, const char *dir, uint64_t log_id, uint64_t from, uint64_t end, log_record_fn *fn,
                     void *arg)
{
    struct seglog_copy c = {.env = env, .dir = dir, .log_id = log_id, .from = from, .end = end};
    char *log_dir = segment_log_dir(dir, log_id);
    struct segread r = {0};
    uint64_t *numbers = NULL;
    size_t n = 0, first, last;
    bool is_sealed;
    enum err err;

    TRY(segment_list(env->fs, log_dir, ".seg", &numbers, &n));
    TRY(choose(&c, numbers, n, &first, &last));
    for (size_t i = first; i < last; i++, segread_close(&r)) {
        TRY(segread_open(env, dir, log_id, numbers[i], &r));
        TRY(walk(&r, &from, end, fn, arg, &is_sealed));
    }
out:
    segread_close(&r);
    mem_free(numbers);
    mem_free(log_dir);
    return err;
}

enum err seglog_copy(const struct seglog_copy *c)
{
    char *log_dir = segment_log_dir(c->dir, c->log_id);
    bool is_still = c->end == SEGLOG_COPY_STILL;
    uint64_t *numbers = NULL;
    size_t n = 0, first = 0, last;
    enum err err;

    TRY(segment_list(c->env->fs, log_dir, ".seg", &numbers, &n));
    last = n;
    if (!is_still)
        TRY(choose(c, numbers, n, &first, &last));
    for (size_t i = first; i < last; i++)
        TRY(is_still ? still_segment(c, numbers[i]) : live_segment(c, numbers[i], i + 1 == last));
out:
    mem_free(numbers);
    mem_free(log_dir);
    return err;
}
