/* The owner's side. Records are put into the chunk `open`. A flush hands it over, or, while the writer has not yet
 * taken what was handed over before, adds it to that: so one batch holds all that came together. A chunk's place in its
 * file follows from that of the one before, so whether the next record fits is known when it is appended; the room for
 * the seal that a clean end writes (see seglog.c) is always kept. */
#include "queue/stream_in.h"
#include <assert.h>

/* A busy log has a batch that is written, one that waits and one that is filled, each as large as what comes during a
 * sync: they keep their memory, BATCH_MAX each, as long as batches are that large (stream_shrink). */
enum { IDLE_CHUNKS = 4, CHUNK_BYTES = 4096, QUIET_BYTES = 16 << 10 };

void chunk_free(struct chunk *c)
{
    if (!c)
        return;
    buf_deinit(&c->bytes);
    mem_free(c);
}

/* Home. */
static void commit_arrives(struct msg *m)
{
    struct notice *n = container_of(m, struct notice, commit);

    atomic_store(&n->commit_posted, false); /* first: a commit from now on posts again */
    uint64_t end = atomic_load(&n->committed);
    if (end > n->told) {
        n->told = end;
        n->on_commit(n->arg, end);
    }
}

static void failure_arrives(struct msg *m)
{
    struct notice *n = container_of(m, struct notice, failure);
    n->on_failure(n->arg, (enum err)atomic_load(&n->failed));
}

static void last_arrives(struct msg *m) { mem_free(container_of(m, struct notice, last)); }

static struct notice *notice_new(const struct stream_conf *c)
{
    struct notice *n = mem_new(struct notice);

    *n = (struct notice){
        .commit.run = commit_arrives,
        .failure.run = failure_arrives,
        .last.run = last_arrives,
        .on_commit = c->on_commit,
        .on_failure = c->on_failure,
        .arg = c->arg,
        .home = c->home,
    };
    return n;
}

static struct chunk *chunk_new(void)
{
    struct chunk *c = mem_new(struct chunk);
    buf_reserve(&c->bytes, CHUNK_BYTES);
    return c;
}

static void chunk_reset(struct chunk *c)
{
    struct buf bytes = c->bytes;

    buf_clear(&bytes);
    *c = (struct chunk){.bytes = bytes};
}

static void set_up(struct stream *s)
{
    pthread_condattr_t monotonic;

    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->work, &monotonic);
    pthread_condattr_destroy(&monotonic);
    s->last = &s->first;
    s->open = chunk_new();
    list_init(&s->segments);
}

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

static void free_chunks(struct chunk *c)
{
    for (struct chunk *next; c; c = next) {
        next = c->next;
        chunk_free(c);
    }
}

static void tear_down(struct stream *s)
{
    list_each (&s->segments, l, struct live, link) {
        file_close(l->file);
        mem_free(l);
    }
    free_chunks(s->first); /* a failed writer left them */
    free_chunks(s->idle);
    chunk_free(s->open);
    pthread_cond_destroy(&s->work);
    pthread_mutex_destroy(&s->lock);
    mem_free(s->dir);
    mem_free(s->log_dir);
    mem_free(s);
}

enum err stream_open(const struct stream_conf *c, struct stream **out)
{
    struct stream *s = mem_new(struct stream);
    enum err err;

    s->conf = *c;
    s->dir = mem_dup(str_c(c->dir));
    s->conf.dir = s->dir;
    s->log_dir = segment_log_dir(c->dir, c->log_id);
    uint64_t room = segpool_segment_bytes(c->pool) - SEGMENT_HEADER - BATCH_HEADER - RECORD_HEADER - BATCH_HEADER;
    s->max_body = least(room & ~(uint64_t)(BATCH_ALIGN - 1), BODY_MAX);
    set_up(s);
    TRY(fs_mkdirs(c->env->fs, s->log_dir));
    s->notice = notice_new(c);
    if (!c->is_stepped)
        TRY(pthread_create(&s->writer, NULL, stream_writer_run, s) == 0 ? ERR_OK : ERR_LIMIT);
    *out = s;
    return ERR_OK;
out:
    mem_free(s->notice);
    tear_down(s);
    return err;
}

/* The batch that tells recovery that all before it is durable. Only a help, so its failure changes nothing. */
static void seal(struct stream *s)
{
    uint8_t bytes[BATCH_HEADER];
    struct live *l = s->at;
    uint64_t end = s->open->off + BATCH_HEADER;

    if (!l || !l->file || atomic_load(&s->notice->failed))
        return;
    batch_write(bytes, &(struct batch){s->conf.log_id, l->generation, s->open->off, s->end, s->end, 0, 0});
    struct iovec v[] = {{bytes, sizeof bytes}, {(void *)(uintptr_t)stream_zeros, tail_zeros(s, end)}};
    if (file_writev(l->file, v, 2, s->open->off) == ERR_OK)
        (void)!file_sync(l->file);
}

static void end_notice(struct notice *n)
{
    if (!atomic_load(&n->commit_posted) && !atomic_load(&n->failed))
        mem_free(n);
    else
        mailbox_post(n->home, &n->last);
}

static void end_writer(struct stream *s)
{
    pthread_mutex_lock(&s->lock);
    s->ending = true;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->writer, NULL);
}

void stream_close(struct stream *s)
{
    if (!s)
        return;
    stream_flush(s);
    if (s->conf.is_stepped)
        while (stream_step(s))
            ;
    else
        end_writer(s);
    seal(s);
    end_notice(s->notice);
    tear_down(s);
}

/* Appending. */
static struct chunk *take_idle(struct stream *s) /* under the lock */
{
    struct chunk *c = s->idle;
    if (c) {
        s->idle = c->next;
        s->n_idle--;
        c->next = NULL;
    }
    return c;
}

void stream_chunk_done(struct stream *s, struct chunk *c)
{
    s->largest = c->bytes.len > s->largest ? c->bytes.len : s->largest;
    if (s->n_idle >= IDLE_CHUNKS || c->bytes.cap > BATCH_MAX) {
        chunk_free(c);
        return;
    }
    chunk_reset(c);
    c->next = s->idle;
    s->idle = c;
    s->n_idle++;
}

/* Idle chunks with memory beyond `enough`. */
static struct chunk *take_oversized(struct stream *s, size_t enough) /* under the lock */
{
    struct chunk *taken = NULL;

    for (struct chunk **at = &s->idle, *c; (c = *at) != NULL;) {
        if (c->bytes.cap <= enough) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        s->n_idle--;
        c->next = taken;
        taken = c;
    }
    return taken;
}

/* Memory doubles, so what is more than twice the largest batch none has needed. */
void stream_shrink(struct stream *s)
{
    pthread_mutex_lock(&s->lock);
    size_t enough = 2 * s->largest > QUIET_BYTES ? 2 * s->largest : QUIET_BYTES;
    struct chunk *oversized = take_oversized(s, enough);
    s->largest = 0;
    pthread_mutex_unlock(&s->lock);
    free_chunks(oversized);
    if (!s->open->bytes.len && s->open->bytes.cap > enough) {
        buf_deinit(&s->open->bytes);
        buf_reserve(&s->open->bytes, CHUNK_BYTES);
    }
}

/* The last chunk that waits for the writer, if the open one may become part of it. */
static struct chunk *joinable(struct stream *s) /* under the lock */
{
    struct chunk *c = s->first ? container_of(s->last, struct chunk, next) : NULL;
    bool fits = c && c->segment == s->open->segment && c->bytes.len + s->open->bytes.len <= BATCH_MAX;
    return fits ? c : NULL;
}

static void join(struct chunk *to, const struct chunk *from)
{
    buf_add(&to->bytes, from->bytes.p, from->bytes.len);
    to->records += from->records;
    to->topics |= from->topics;
    for (int i = 0; i < TOPICS; i++)
        to->topic_end[i] = from->topic_end[i] ? from->topic_end[i] : to->topic_end[i];
}

/* The open chunk starts anew behind `before`. */
static void start_behind(struct stream *s, const struct chunk *before)
{
    s->open->segment = s->at;
    s->open->off = batch_end(before->off, before->bytes.len);
    s->open->pos = s->end;
}

/* Under the lock. */
static void hand_over(struct stream *s)
{
    struct chunk *c = s->open, *to = joinable(s);

    s->queued_records += c->records;
    s->queued_bytes += c->bytes.len;
    if (to) {
        join(to, c);
        chunk_reset(c);
        start_behind(s, to);
        return;
    }
    *s->last = c;
    s->last = &c->next;
    s->open = take_idle(s);
    if (!s->open)
        s->open = chunk_new();
    start_behind(s, c);
}

void stream_flush(struct stream *s)
{
    if (!s->open->records)
        return;
    pthread_mutex_lock(&s->lock);
    hand_over(s);
    bool wakes = s->wake_at && s->queued_records >= s->wake_at;
    if (wakes)
        s->wake_at = 0;
    pthread_mutex_unlock(&s->lock);
    if (wakes)
        pthread_cond_signal(&s->work);
}

static bool fits(const struct stream *s, size_t bytes)
{
    uint64_t end = batch_end(s->open->off, s->open->bytes.len + bytes);
    return s->at && end + BATCH_HEADER <= segpool_segment_bytes(s->conf.pool);
}

static enum err next_segment(struct stream *s)
{
    struct segpool_segment ready;
    enum err err = segpool_take(s->conf.pool, s->conf.log_id, &ready);

    if (err != ERR_OK)
        return err == ERR_FULL ? ERR_FULL : ERR_LIMIT; /* filling is behind: too much in flight, as it were */
    stream_flush(s);
    struct live *l = mem_new(struct live);
    *l = (struct live){.number = s->next_number++, .start = s->end, .ready = ready};
    pthread_mutex_lock(&s->lock);
    list_push(&s->segments, &l->link);
    pthread_mutex_unlock(&s->lock);
    s->at = s->open->segment = l;
    s->open->off = SEGMENT_HEADER;
    s->open->pos = s->end;
    return ERR_OK;
}

/* The chunk without records that is handed over has the writer put the segment in place. It takes no room: what is
 * appended next begins where it does. It counts as a record, so that the writer wakes. */
enum err stream_roll(struct stream *s)
{
    bool wakes;
    enum err err;

    if (atomic_load_explicit(&s->notice->failed, memory_order_relaxed))
        return ERR_CLOSED;
    if (!s->at || (s->open->off == SEGMENT_HEADER && !s->open->records && !stream_is_stale(s)))
        return ERR_OK;
    TRY(next_segment(s));
    pthread_mutex_lock(&s->lock);
    hand_over(s);
    s->open->off = SEGMENT_HEADER;
    s->queued_records++;
    wakes = s->wake_at && s->queued_records >= s->wake_at;
    if (wakes)
        s->wake_at = 0;
    pthread_mutex_unlock(&s->lock);
    if (wakes)
        pthread_cond_signal(&s->work);
out:
    return err;
}

static enum err admit(struct stream *s, size_t n, size_t bodies)
{
    uint64_t in_flight = s->end - stream_committed(s);
    size_t bytes = n * RECORD_HEADER + bodies;

    if (atomic_load_explicit(&s->notice->failed, memory_order_relaxed))
        return ERR_CLOSED;
    if ((n - 1) * RECORD_HEADER + bodies > s->max_body)
        return ERR_INVALID;
    if (in_flight && in_flight + bytes > s->conf.max_in_flight)
        return ERR_LIMIT;
    if (s->open->bytes.len + bytes > BATCH_MAX)
        stream_flush(s);
    return fits(s, bytes) ? ERR_OK : next_segment(s);
}

static void add_record(struct stream *s, struct log_record *r)
{
    struct chunk *c = s->open;

    r->log_id = s->conf.log_id;
    r->pos = s->end;
    r->next = s->end + RECORD_HEADER + r->body.len;
    record_write((uint8_t *)buf_reserve(&c->bytes, RECORD_HEADER + r->body.len), r);
    c->bytes.len += RECORD_HEADER + r->body.len;
    c->records++;
    c->topics |= r->topics;
    for (unsigned topics = r->topics; topics; topics &= topics - 1)
        c->topic_end[__builtin_ctz(topics)] = r->next;
    s->end = r->next;
}

enum err stream_append_all(struct stream *s, struct log_record *v, size_t n)
{
    size_t bodies = 0;
    enum err err;

    for (size_t i = 0; i < n; i++)
        bodies += v[i].body.len;
    TRY(admit(s, n, bodies));
    for (size_t i = 0; i < n; i++)
        add_record(s, &v[i]);
out:
    return err;
}

enum err stream_append(struct stream *s, uint8_t kind, uint16_t shard, uint8_t topics, struct str body, uint64_t *pos)
{
    struct log_record r = {.kind = kind, .topics = topics, .shard = shard, .body = body};
    enum err err = stream_append_all(s, &r, 1);

    if (err == ERR_OK)
        *pos = r.pos;
    return err;
}

struct stream_counts stream_counts(const struct stream *s)
{
    return (struct stream_counts){
        .syncs = atomic_load_explicit(&s->syncs, memory_order_relaxed),
        .bytes = stream_committed(s),
        .records = atomic_load_explicit(&s->synced_records, memory_order_relaxed),
    };
}

uint64_t stream_log_id(const struct stream *s) { return s->conf.log_id; }

uint64_t stream_end(const struct stream *s) { return s->end; }

uint64_t stream_committed(const struct stream *s)
{
    return atomic_load_explicit(&s->notice->committed, memory_order_acquire);
}

uint64_t stream_topic_end(const struct stream *s, unsigned topic_bit)
{
    uint64_t end = 0;
    for (unsigned left = topic_bit & 0xff; left; left &= left - 1) {
        uint64_t one = atomic_load_explicit(&s->topic_end[__builtin_ctz(left)], memory_order_acquire);
        end = one > end ? one : end;
    }
    return end;
}

/* Trimming, and where a position is. */
static struct live *after(struct stream *s, struct live *l) /* under the lock: the next one in place */
{
    struct live *next = l->link.next == &s->segments ? NULL : container_of(l->link.next, struct live, link);
    return next && next->is_placed ? next : NULL;
}

void stream_trim(struct stream *s, uint64_t pos)
{
    pos = least(pos, stream_committed(s));
    pthread_mutex_lock(&s->lock);
    for (struct live *l, *next; (l = list_first(&s->segments, struct live, link)) != NULL; mem_free(l)) {
        next = l->is_placed ? after(s, l) : NULL;
        if (!next || next->start > pos)
            break;
        list_remove(&l->link);
        atomic_store_explicit(&s->trimmed, next->start, memory_order_release);
        segpool_recycle(s->conf.pool, s->conf.log_id, l->number, &l->ready);
    }
    pthread_mutex_unlock(&s->lock);
}

uint64_t stream_scrub(struct stream *s) { return segpool_scrub(s->conf.pool); }

bool stream_is_scrubbed(const struct stream *s, uint64_t ticket) { return segpool_is_scrubbed(s->conf.pool, ticket); }

bool stream_is_stale(const struct stream *s) { return segpool_is_stale(s->conf.pool, s->conf.log_id); }

uint64_t stream_trimmed(const struct stream *s) { return atomic_load_explicit(&s->trimmed, memory_order_acquire); }

enum err stream_find(struct stream *s, uint64_t pos, uint64_t *number, uint64_t *next_start)
{
    enum err err = ERR_NOT_FOUND;

    pthread_mutex_lock(&s->lock);
    list_each (&s->segments, l, struct live, link) {
        struct live *next = after(s, l);
        if (l->is_placed && l->start <= pos && (!next || pos < next->start)) {
            *number = l->number;
            *next_start = next ? next->start : UINT64_MAX;
            err = ERR_OK;
            break;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return err;
}
