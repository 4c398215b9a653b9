#include "cmd/parley_import_log.h"
#include "cmd/parley_tool.h"
#include "queue/stream.h"
#include "services/world.h"
#include <semaphore.h>
#include <time.h>

enum { SEGMENT_BYTES = 16 << 20, SEGMENTS_AHEAD = 2, IN_FLIGHT = 8 << 20, FLUSH_EVERY = 256 };

struct import_log {
    struct data_dir *data;
    struct mailbox *home;
    struct segpool *segments;
    struct stream *stream;
    sem_t woken;
    uint64_t committed, added;
    enum err failed;
    struct buf bytes;
};

static void on_wake(void *arg) { sem_post(arg); }

static void on_commit(void *arg, uint64_t end) { ((struct import_log *)arg)->committed = end; }

static void on_failure(void *arg, enum err err) { ((struct import_log *)arg)->failed = err; }

enum err import_log_open(struct env *env, struct data_dir *data, struct import_log **out)
{
    struct import_log *l = mem_new(struct import_log);
    char *dir = tool_path(data->path, "log");
    struct stream_conf c = {
        .env = env, .dir = dir, .max_in_flight = IN_FLIGHT, .on_commit = on_commit, .on_failure = on_failure, .arg = l};
    enum err err;

    l->data = data;
    sem_init(&l->woken, 0, 0);
    mailbox_create(on_wake, &l->woken, &l->home);
    c.home = l->home;
    TRY(data_dir_next_log_id(env, data, &c.log_id));
    TRY(segpool_open(
        &(struct segpool_conf){.env = env, .dir = dir, .segment_bytes = SEGMENT_BYTES, .ahead = SEGMENTS_AHEAD},
        &l->segments));
    c.pool = l->segments;
    TRY(stream_open(&c, &l->stream));
    *out = l;
    l = NULL;
out:
    import_log_close(l);
    mem_free(dir);
    return err;
}

/* Until something came home: a commit, or the end of it. A full disk is met by who appends. */
static void wait_a_little(struct import_log *l)
{
    struct timespec until;

    stream_flush(l->stream);
    clock_gettime(CLOCK_REALTIME, &until); /* sem_timedwait wants it */
    until.tv_sec++;
    (void)!sem_timedwait(&l->woken, &until);
    mailbox_drain(l->home);
}

enum err import_log_add(struct import_log *l, const struct record *r, const struct conv_id *conv)
{
    uint16_t shard = conv ? shard_of(l->data, conv) : SHARD_DIRECTORY;
    uint64_t pos;
    enum err err;

    buf_clear(&l->bytes);
    record_encode(r, &l->bytes);
    while ((err = stream_append(l->stream, (uint8_t)r->kind, shard, record_is_for_tables(r) ? TOPIC_TABLES : 0,
                                buf_get(&l->bytes), &pos)) == ERR_LIMIT) {
        wait_a_little(l);
        if (l->failed != ERR_OK)
            return l->failed;
    }
    if (err == ERR_OK && ++l->added % FLUSH_EVERY == 0)
        stream_flush(l->stream);
    return err;
}

enum err import_log_end(struct import_log *l)
{
    while (l->committed < stream_end(l->stream) && l->failed == ERR_OK)
        wait_a_little(l);
    return l->failed;
}

void import_log_close(struct import_log *l)
{
    if (!l)
        return;
    stream_close(l->stream);
    segpool_close(l->segments);
    mailbox_drain(l->home);
    mailbox_destroy(l->home);
    sem_destroy(&l->woken);
    buf_deinit(&l->bytes);
    mem_free(l);
}
