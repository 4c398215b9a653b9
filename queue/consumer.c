/* A consumer reads the same files as recovery does, but never past what is committed. What it may read is in the page
 * cache, for it was just written; it asks for no more than that, lest reading ahead fill the cache with the zeros that
 * the log will be written over (a small sync would then rewrite a large piece of cache each time). */
#include "queue/segread.h"
#include "queue/stream_in.h"
#include "base/log.h"
#include <inttypes.h>

struct consumer {
    struct consumer_conf conf;
    struct segread at;    /* closed: not in any segment yet */
    uint64_t segment_end; /* where the next segment starts; UINT64_MAX: this was the last when we looked */
    uint64_t pos;         /* all before it was read */
};

enum err consumer_open(const struct consumer_conf *c, struct consumer **out)
{
    if (c->from < stream_trimmed(c->stream))
        return ERR_NOT_FOUND;
    struct consumer *r = mem_new(struct consumer);
    r->conf = *c;
    r->pos = c->from;
    *out = r;
    return ERR_OK;
}

void consumer_close(struct consumer *c)
{
    if (!c)
        return;
    segread_close(&c->at);
    mem_free(c);
}

/* Opens the segment that holds c->pos. */
static enum err enter(struct consumer *c)
{
    struct stream *s = c->conf.stream;
    uint64_t number;
    enum err err;

    segread_close(&c->at);
    TRY(stream_find(s, c->pos, &number, &c->segment_end));
    TRY(segread_open(s->conf.env, s->dir, s->conf.log_id, number, &c->at));
out:
    if (err != ERR_OK)
        segread_close(&c->at);
    return err;
}

/* Whether the log has gone on in another segment. What is committed by now is in segments that are in place by now, so
 * asking once a read is enough. A segment read to its end may have been trimmed meanwhile: then leave it. */
static void look_further(struct consumer *c)
{
    uint64_t number;
    if (!c->at.file || c->segment_end != UINT64_MAX)
        return;
    if (stream_find(c->conf.stream, c->at.head.start, &number, &c->segment_end) != ERR_OK)
        segread_close(&c->at);
}

struct reading {
    log_record_fn *fn;
    void *arg;
    size_t bytes;
    enum err err; /* fn's */
};

static enum err count(void *arg, const struct log_record *rec)
{
    struct reading *r = arg;
    r->bytes += rec->body.len;
    r->err = r->fn(r->arg, rec);
    return r->err;
}

static enum err read_batch(struct consumer *c, uint64_t committed, struct reading *r)
{
    struct batch b;
    enum err err = ERR_OK;

    if (!c->at.file || c->at.pos >= c->segment_end)
        TRY(enter(c));
    err = segread_batch(&c->at, committed - c->at.pos, &b);
    TRY(err == ERR_NOT_FOUND ? ERR_CORRUPT : err); /* it is committed, so it is there */
    uint64_t end = b.pos + b.bytes;
    if (end > c->pos && (!c->conf.topics || (b.topics & c->conf.topics)))
        return segread_records(&c->at, &b, c->conf.topics, count, r, &c->pos);
    segread_skip(&c->at, &b);
    c->pos = end > c->pos ? end : c->pos;
out:
    return err;
}

/* A segment that is trimmed is zeroed or written over under its readers, which is no damage. */
static enum err explain(struct consumer *c, enum err err)
{
    if (c->pos < stream_trimmed(c->conf.stream))
        err = ERR_NOT_FOUND;
    else if (err != ERR_SCARCE) /* no segment could be opened now: repeat it */
        log_error("log_unreadable", "file=%s offset=%" PRIu64 " err=%s", c->at.path ? c->at.path : "", c->at.off,
                  err_name(err));
    segread_close(&c->at);
    return err;
}

enum err consumer_read(struct consumer *c, size_t max_bytes, log_record_fn *fn, void *arg, uint64_t *pos)
{
    uint64_t committed = stream_committed(c->conf.stream);
    struct reading r = {fn, arg, 0, ERR_OK};
    enum err err = ERR_OK;

    segread_forget(&c->at);
    look_further(c);
    while (err == ERR_OK && c->pos < committed && r.bytes < max_bytes)
        err = read_batch(c, committed, &r);
    *pos = c->pos;
    return err == ERR_OK || r.err != ERR_OK ? err : explain(c, err);
}
