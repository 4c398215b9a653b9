/* bench_log: what the log costs next to the least that its promise costs: pwritev and fdatasync on a file filled ahead.
 *
 * Records of 200 bytes, so many a sync on both sides. The bare loop writes the same bytes again and again. The log is
 * used as a reactor uses it: the next batch is appended and handed over while the one before is being synced, but not
 * before the writer took that one, so each sync carries exactly one batch; then segments are trimmed. With -d a batch
 * is handed over only when the one before is durable: that adds two threads' waking to each. The two sides take turns
 * of a twentieth of a second, so that what else the disk does meets both. CPU is that of the whole process, threads and
 * system calls included. Usage: bench_log [-d] [FOLDER], by default on the disk of /tmp. */
#include "base/env.h"
#include "queue/stream_in.h"
#include <inttypes.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

enum { RECORD = 200, MS_A_TURN = 50, TURNS = 40, SEGMENT = 16 << 20 };

/* What one side did in all its turns. */
struct tally {
    uint64_t records, us, cpu_us;
};

static uint64_t cpu_us(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static uint64_t now_us(void) { return env_mono_us(env_posix()); }

static void must(enum err err)
{
    if (err == ERR_OK)
        return;
    fprintf(stderr, "bench_log: %s\n", err_text(err));
    exit(1);
}

/* --- bare --- */

struct bare {
    struct file *file;
    char *bytes;
    uint64_t at;
};

static void bare_open(struct bare *b, const char *dir, unsigned batch)
{
    char path[300];
    snprintf(path, sizeof path, "%s/bare", dir);
    *b = (struct bare){.bytes = mem_alloc((size_t)RECORD * batch)};
    must(fs_open(env_posix()->fs, path, FS_CREATE, &b->file));
    must(file_fill(b->file, 4 * SEGMENT));
}

static void bare_batch(struct bare *b, unsigned batch)
{
    size_t n = (size_t)RECORD * batch;
    must(file_write(b->file, b->bytes, n, b->at));
    must(file_sync(b->file));
    b->at = b->at + 2 * n > 4 * SEGMENT ? 0 : b->at + n;
}

static void bare_close(struct bare *b)
{
    file_close(b->file);
    mem_free(b->bytes);
}

/* --- the log --- */

struct logged {
    sem_t woken;
    struct mailbox *box;
    struct segpool *pool;
    struct stream *stream;
    uint64_t committed;
    bool when_durable; /* a batch is handed over when the one before is durable */
};

static void wake(void *arg) { sem_post(arg); }
static void on_commit(void *arg, uint64_t end) { ((struct logged *)arg)->committed = end; }
static void on_failure(void *arg, enum err err)
{
    (void)arg;
    must(err);
}

static void logged_open(struct logged *l, const char *dir, unsigned batch, bool when_durable)
{
    struct env *env = env_posix();
    *l = (struct logged){.when_durable = when_durable};
    sem_init(&l->woken, 0, 0);
    mailbox_create(wake, &l->woken, &l->box);
    must(segpool_open(&(struct segpool_conf){env, dir, SEGMENT, 4, false}, &l->pool));
    struct stream_conf c = {env, dir, batch, l->pool, l->box, 64 << 20, 0, on_commit, on_failure, l, false};
    must(stream_open(&c, &l->stream));
}

static void logged_wait(struct logged *l, uint64_t end)
{
    while (l->committed < end) {
        sem_wait(&l->woken);
        mailbox_drain(l->box);
    }
}

static void logged_append(struct logged *l, unsigned batch)
{
    static char body[RECORD];
    uint64_t pos;
    enum err err;
    for (unsigned i = 0; i < batch; i++) {
        while ((err = stream_append(l->stream, 1, 7, 1, str_of(body, sizeof body), &pos)) == ERR_LIMIT)
            usleep(100); /* segments are being filled */
        must(err);
    }
}

/* The writer adds what is handed over to what it has not taken yet; there is something only where a turn begins. */
static bool is_taken(struct stream *s)
{
    pthread_mutex_lock(&s->lock);
    bool is = !s->first;
    pthread_mutex_unlock(&s->lock);
    return is;
}

/* Appends a batch and hands it over; then waits until the one before is durable. */
static void logged_batch(struct logged *l, unsigned batch)
{
    uint64_t before = stream_end(l->stream);
    logged_append(l, batch);
    if (l->when_durable)
        logged_wait(l, before);
    while (!is_taken(l->stream))
        sched_yield();
    stream_flush(l->stream);
    logged_wait(l, before);
    stream_trim(l->stream, l->committed);
}

static void logged_close(struct logged *l, const char *dir, unsigned batch)
{
    logged_wait(l, stream_end(l->stream));
    stream_close(l->stream);
    segpool_close(l->pool);
    mailbox_drain(l->box);
    mailbox_destroy(l->box);
    sem_destroy(&l->woken);
    must(seglog_remove(env_posix(), dir, batch));
}

/* --- */

static void turn(struct bare *b, struct logged *l, unsigned batch, struct tally *t)
{
    uint64_t from = now_us(), cpu_from = cpu_us();
    for (; now_us() - from < MS_A_TURN * 1000; t->records += batch) {
        if (b)
            bare_batch(b, batch);
        else
            logged_batch(l, batch);
    }
    if (l)
        logged_wait(l, stream_end(l->stream));
    t->us += now_us() - from;
    t->cpu_us += cpu_us() - cpu_from;
}

static void row(const char *dir, unsigned batch, bool when_durable)
{
    struct bare b;
    struct logged l;
    struct tally bare = {0}, logged = {0};

    bare_open(&b, dir, batch);
    logged_open(&l, dir, batch, when_durable);
    for (int i = 0; i < TURNS; i++) {
        turn(&b, NULL, batch, &bare);
        turn(NULL, &l, batch, &logged);
    }
    struct stream_counts c = stream_counts(l.stream);
    bare_close(&b);
    logged_close(&l, dir, batch);
    double bare_s = (double)bare.records * 1e6 / (double)bare.us;
    double logged_s = (double)logged.records * 1e6 / (double)logged.us;
    printf("%6u | %12.0f %10.2f | %12.0f %10.2f | %3.0f %% | %.1f\n", batch, bare_s,
           (double)bare.cpu_us / (double)bare.records, logged_s, (double)logged.cpu_us / (double)logged.records,
           100 * logged_s / bare_s, (double)c.records / (double)c.syncs);
}

int main(int argc, char **argv)
{
    static const unsigned batches[] = {1, 10, 100, 1000};
    bool when_durable = argc > 1 && strcmp(argv[1], "-d") == 0;
    const char *folder = argc > 1 + when_durable ? argv[1 + when_durable] : "/tmp";
    char dir[256], cmd[300];

    snprintf(dir, sizeof dir, "%s/parley-bench-XXXXXX", folder);
    if (!mkdtemp(dir))
        return 1;
    printf("%6s | %12s %10s | %12s %10s | %s | %s\n", "batch", "bare /s", "CPU us", "log /s", "CPU us", "log",
           "records a sync");
    for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++)
        row(dir, batches[i], when_durable);
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
    return system(cmd) == 0 ? 0 : 1;
}
