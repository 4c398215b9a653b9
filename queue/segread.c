#include "queue/segread.h"

enum { READ_AHEAD = 256 << 10 };

static const uint8_t zeros[BATCH_HEADER];

static enum err read_header(struct segread *r, uint64_t log_id, uint64_t number)
{
    uint8_t head[SEGMENT_HEADER];
    enum err err;

    TRY(file_size(r->file, &r->size));
    TRY(file_read_exact(r->file, head, sizeof head, 0));
    TRY(segment_header_read(head, &r->head));
    TRY(r->head.log_id == log_id && r->head.number == number ? ERR_OK : ERR_CORRUPT);
    r->off = SEGMENT_HEADER;
    r->pos = r->head.start;
out:
    return err;
}

enum err segread_open(struct env *env, const char *dir, uint64_t log_id, uint64_t number, struct segread *r)
{
    enum err err;

    *r = (struct segread){.path = segment_path(dir, log_id, number)};
    TRY(fs_open(env->fs, r->path, FS_READ, &r->file));
    TRY(read_header(r, log_id, number));
out:
    return err;
}

void segread_close(struct segread *r)
{
    file_close(r->file);
    mem_free(r->path);
    buf_deinit(&r->bytes);
    *r = (struct segread){0};
}

void segread_forget(struct segread *r) { buf_clear(&r->bytes); }

/* Makes the `need` bytes at r->off readable, and about `want`; NOT_FOUND: the file ends before. */
static enum err have(struct segread *r, size_t need, uint64_t want, const uint8_t **out)
{
    uint64_t end = r->bytes_off + r->bytes.len;
    if (r->off < r->bytes_off || r->off + need > end) {
        size_t n = want > READ_AHEAD ? READ_AHEAD : (size_t)want, got;
        n = n < need ? need : n;
        buf_clear(&r->bytes);
        enum err err = file_read(r->file, buf_reserve(&r->bytes, n), n, r->off, &got);
        if (err != ERR_OK)
            return err;
        r->bytes.len = got;
        r->bytes_off = r->off;
        if (got < need)
            return ERR_NOT_FOUND;
    }
    *out = (const uint8_t *)r->bytes.p + (r->off - r->bytes_off);
    return ERR_OK;
}

enum err segread_batch(struct segread *r, uint64_t ahead, struct batch *b)
{
    const uint8_t *p;
    enum err err;

    TRY(have(r, BATCH_HEADER, ahead + BATCH_HEADER, &p));
    TRY(memcmp(p, zeros, sizeof zeros) == 0 ? ERR_NOT_FOUND : ERR_OK);
    TRY(batch_read(p, &r->head, r->off, b) && b->pos == r->pos ? ERR_OK : ERR_CORRUPT);
    TRY(b->bytes <= r->size && r->off + BATCH_HEADER + b->bytes <= r->size ? ERR_OK : ERR_CORRUPT);
out:
    return err;
}

void segread_skip(struct segread *r, const struct batch *b)
{
    r->off = batch_end(r->off, b->bytes);
    r->pos += b->bytes;
}

enum err segread_records(struct segread *r, const struct batch *b, uint8_t topics, log_record_fn *fn, void *arg,
                         uint64_t *pos)
{
    const uint8_t *p;
    struct log_record rec;
    enum err err;

    err = have(r, BATCH_HEADER + b->bytes, BATCH_HEADER + b->bytes, &p);
    TRY(err == ERR_NOT_FOUND ? ERR_CORRUPT : err); /* the file is shorter than the batch says */
    p += BATCH_HEADER;
    for (uint64_t at = b->pos, end = b->pos + b->bytes; at < end; at = rec.next) {
        TRY(record_read(p + (at - b->pos), end - at, r->head.log_id, at, &rec) ? ERR_OK : ERR_CORRUPT);
        if (at >= *pos && (!topics || (rec.topics & topics)))
            TRY(fn(arg, &rec));
        *pos = rec.next > *pos ? rec.next : *pos;
    }
    segread_skip(r, b);
out:
    return err;
}
