/* The writer. It takes all that is queued, writes it with one call and one sync for each segment it is for (nearly
 * always one), and says how far the log is durable. Segments are strictly one after the other: the next is put in place
 * only when all of the one before is synced. So that a segment is in place proves that its predecessors are whole.
 *
 * Putting in place: the header is written and synced in the ready folder, then the file is renamed into the log's, then
 * both folders are synced. So a segment in place has its header; and a crash leaves at most a ready file whose first
 * bytes are overwritten when it is taken again.
 *
 * Writes end at the end of a page (zeros where there is nothing): a page is then written whole or is in the page cache
 * already, and none has to be read first. A whole place of zeros is always behind the last batch, before whatever the
 * file held when it was taken.
 *
 * Lingering. Records that came while the writer was syncing prove that several ask at once; those whose records were
 * just committed will soon ask again. So it waits until as many are there as both together, or for linger_us. A single
 * asker waits for its commit before it asks again, nothing comes during the sync, and it never waits. */
#include "queue/stream_in.h"
#include "base/log.h"
#include <assert.h>

enum { RUN_MAX = 64, ENOUGH_RECORDS = 256, ENOUGH_BYTES = 256 << 10, LARGE_BYTES = 128 << 10, SCARCE_PAUSE_US = 50000 };

const char stream_zeros[LOG_PAGE + BATCH_ALIGN];

/* Under the lock. Sleeps until `records` are queued, at most `us` (0: as long as it takes). */
static void sleep_until(struct stream *s, size_t records, uint64_t us)
{
    uint64_t at_us = us ? env_mono_us(s->conf.env) + us : 0;
    struct timespec at = {(time_t)(at_us / 1000000), (long)(at_us % 1000000) * 1000};
    int timed_out = 0;

    while (s->queued_records < records && !s->ending && !timed_out) {
        s->wake_at = records;
        if (us)
            timed_out = pthread_cond_timedwait(&s->work, &s->lock, &at);
        else
            pthread_cond_wait(&s->work, &s->lock);
    }
    s->wake_at = 0;
}

static void linger(struct stream *s)
{
    size_t records = s->expected < ENOUGH_RECORDS ? s->expected : ENOUGH_RECORDS;
    if (s->conf.linger_us && s->queued_bytes < ENOUGH_BYTES)
        sleep_until(s, records, s->conf.linger_us);
}

/* All that is queued; NULL when there is nothing: with `wait` only when the stream ends. */
static struct chunk *take_all(struct stream *s, bool wait)
{
    pthread_mutex_lock(&s->lock);
    if (wait) {
        sleep_until(s, 1, 0);
        linger(s);
    }
    struct chunk *all = s->first;
    s->first = NULL;
    s->last = &s->first;
    s->queued_records = s->queued_bytes = 0;
    pthread_mutex_unlock(&s->lock);
    return all;
}

/* Out of descriptors, nothing was done yet and nothing is lost by waiting: what is queued stays queued, and beyond its
 * bound it is refused. Only who ends doesn't wait. */
static bool may_repeat(struct stream *s, enum err err, bool *is_said)
{
    if (err != ERR_SCARCE)
        return false;
    if (!*is_said)
        log_warn("log_waits", "dir=%s err=%s", s->log_dir, err_name(err));
    *is_said = true;
    pthread_mutex_lock(&s->lock);
    sleep_until(s, SIZE_MAX, SCARCE_PAUSE_US);
    bool is_ending = s->ending;
    pthread_mutex_unlock(&s->lock);
    return !is_ending;
}

static enum err open_ready(struct stream *s, const char *path, struct file **out)
{
    bool is_said = false;
    enum err err;

    do
        err = fs_open(s->conf.env->fs, path, FS_WRITE, out);
    while (may_repeat(s, err, &is_said));
    return err;
}

static enum err sync_dir(struct stream *s, const char *dir)
{
    bool is_said = false;
    enum err err;

    do
        err = fs_sync_dir(s->conf.env->fs, dir);
    while (may_repeat(s, err, &is_said));
    return err;
}

static enum err write_header(struct stream *s, struct live *l, const char *ready)
{
    uint8_t head[SEGMENT_HEADER];
    struct iovec v[] = {{head, sizeof head}, {(void *)(uintptr_t)stream_zeros, tail_zeros(s, SEGMENT_HEADER)}};
    enum err err;

    env_random(s->conf.env, &l->generation, sizeof l->generation);
    segment_header_write(head, &(struct segment_header){s->conf.log_id, l->generation, l->number, l->start});
    TRY(open_ready(s, ready, &l->file));
    TRY(file_writev(l->file, v, 2, 0));
    TRY(file_sync(l->file));
    l->is_cached = l->ready.is_old;
out:
    return err;
}

static enum err move_in(struct stream *s, struct live *l, const char *ready)
{
    char *path = segment_path(s->dir, s->conf.log_id, l->number), *ready_dir = segment_ready_dir(s->dir);
    enum err err;

    TRY(fs_rename(s->conf.env->fs, ready, path));
    TRY(sync_dir(s, s->log_dir));
    TRY(sync_dir(s, ready_dir));
out:
    mem_free(path);
    mem_free(ready_dir);
    return err;
}

static void end_previous(struct stream *s, struct live *l) /* under the lock */
{
    if (l->link.prev == &s->segments)
        return;
    struct live *previous = container_of(l->link.prev, struct live, link);
    file_close(previous->file);
    previous->file = NULL;
}

static enum err place(struct stream *s, struct live *l)
{
    char *ready = segpool_path(s->conf.pool, &l->ready);
    enum err err;

    TRY(write_header(s, l, ready));
    TRY(move_in(s, l, ready));
    pthread_mutex_lock(&s->lock);
    end_previous(s, l);
    l->is_placed = true;
    pthread_mutex_unlock(&s->lock);
out:
    mem_free(ready);
    return err;
}

/* What stands behind a batch's records: zeros up to the next batch, or what ends the run. */
static size_t padding(const struct stream *s, const struct chunk *c, const struct chunk *next)
{
    uint64_t data_end = c->off + BATCH_HEADER + c->bytes.len;

    return next ? next->off - data_end : tail_zeros(s, data_end);
}

/* One call for all chunks up to `end`, which stand one behind the other in one segment. */
static enum err write_run(struct stream *s, struct chunk *from, struct chunk *end)
{
    uint8_t heads[RUN_MAX][BATCH_HEADER];
    struct iovec v[3 * RUN_MAX];
    struct live *l = from->segment;
    int n = 0, i = 0;

    for (struct chunk *c = from; c != end; c = c->next, i++) {
        const struct batch b = {
            .log_id = s->conf.log_id,
            .generation = l->generation,
            .offset = c->off,
            .pos = c->pos,
            .durable = stream_committed(s),
            .bytes = (uint32_t)c->bytes.len,
            .topics = c->topics,
        };
        batch_write(heads[i], &b);
        v[n++] = (struct iovec){heads[i], BATCH_HEADER};
        v[n++] = (struct iovec){c->bytes.p, c->bytes.len};
        v[n++] = (struct iovec){(void *)(uintptr_t)stream_zeros, padding(s, c, c->next != end ? c->next : NULL)};
    }
    return file_writev(l->file, v, n, from->off);
}

/* Where an old segment was written in large pieces, each is one folio of the page cache, which the sync of a part of it
 * writes whole. Only a log that writes such pieces itself gains by them: no pages have to be found for it. */
static void forget_if_small(struct live *l, const struct chunk *from, const struct chunk *end)
{
    size_t bytes = 0;

    for (; l->is_cached && from != end; from = from->next)
        bytes += from->bytes.len;
    if (!l->is_cached || bytes >= LARGE_BYTES)
        return;
    file_forget(l->file);
    l->is_cached = false;
}

/* The chunks from `from` on that one write can hold; the first that it can't. */
static struct chunk *run_end(struct chunk *from)
{
    struct chunk *c = from;
    for (int n = 0; c && n < RUN_MAX && c->segment == from->segment; n++)
        c = c->next;
    return c;
}

/* First what the topics' ends promise, then that it is durable. */
static void publish(struct stream *s, struct chunk *from, struct chunk *end)
{
    struct notice *n = s->notice;

    for (struct chunk *c = from; c != end; c = c->next) {
        for (unsigned topics = c->topics; topics; topics &= topics - 1) {
            int t = __builtin_ctz(topics);
            atomic_store_explicit(&s->topic_end[t], c->topic_end[t], memory_order_release);
        }
        if (c->next == end)
            atomic_store(&n->committed, c->pos + c->bytes.len);
    }
}

static void count(struct stream *s, const struct chunk *from, const struct chunk *end)
{
    uint64_t records = 0;

    for (; from != end; from = from->next)
        records += from->records;
    atomic_fetch_add_explicit(&s->syncs, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->synced_records, records, memory_order_relaxed);
}

/* Nobody was told of the commit yet: what is queued now came from others, while it was being made. */
static void give_back(struct stream *s, struct chunk *from, struct chunk *end)
{
    size_t records = 0;

    pthread_mutex_lock(&s->lock);
    for (struct chunk *next; from != end; from = next) {
        next = from->next;
        records += from->records;
        stream_chunk_done(s, from);
    }
    s->expected = s->queued_records ? s->queued_records + records : 0;
    pthread_mutex_unlock(&s->lock);
}

static void tell(struct notice *n)
{
    if (!atomic_exchange(&n->commit_posted, true))
        mailbox_post(n->home, &n->commit);
}

/* *from moves behind what was written. */
static enum err write_all(struct stream *s, struct chunk **from)
{
    enum err err = ERR_OK;

    while (*from) {
        if (!(*from)->segment->is_placed) /* only this thread places */
            TRY(place(s, (*from)->segment));
        if (!(*from)->records) { /* a roll: that was all */
            struct chunk *next = (*from)->next;
            give_back(s, *from, next);
            *from = next;
            continue;
        }
        struct chunk *end = run_end(*from);
        forget_if_small((*from)->segment, *from, end);
        TRY(write_run(s, *from, end));
        TRY(file_sync((*from)->segment->file));
        count(s, *from, end);
        publish(s, *from, end);
        give_back(s, *from, end);
        tell(s->notice);
        *from = end;
    }
out:
    return err;
}

static void fail(struct stream *s, enum err err, struct chunk *unwritten)
{
    atomic_store(&s->notice->failed, (int)err);
    mailbox_post(s->notice->home, &s->notice->failure);
    for (struct chunk *next; unwritten; unwritten = next) {
        next = unwritten->next;
        chunk_free(unwritten);
    }
}

static bool write_or_fail(struct stream *s, struct chunk *all)
{
    enum err err = write_all(s, &all);
    if (err != ERR_OK)
        fail(s, err, all);
    return err == ERR_OK;
}

bool stream_step(struct stream *s)
{
    if (atomic_load(&s->notice->failed))
        return false;
    struct chunk *all = take_all(s, false);
    return all && write_or_fail(s, all);
}

void *stream_writer_run(void *stream)
{
    struct stream *s = stream;
    struct chunk *all;

    pthread_setname_np(pthread_self(), "log");
    while ((all = take_all(s, true)) != NULL && write_or_fail(s, all))
        ;
    return NULL;
}
