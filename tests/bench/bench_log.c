/* bench_log: what the log costs next to the least that its promise costs: pwritev and fdatasync on a file filled ahead.
 *
 * Records of 200 bytes. In each row both sides make batches of the same size durable, one after the other; CPU is that
 * of the whole process, threads and system calls included. Usage: bench_log [FOLDER], by default on the disk of /tmp.
 */
#include "base/env.h"
#include "queue/stream.h"
#include <inttypes.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

enum { RECORD = 200, MS_A_ROW = 700, SEGMENT = 16 << 20 };

struct result {
    double records_s, cpu_us;
};

struct watch {
    uint64_t at_us, cpu_us;
};

static uint64_t cpu_us(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static struct watch watch_start(void) { return (struct watch){env_mono_us(env_posix()), cpu_us()}; }

static bool is_over(const struct watch *w) { return env_mono_us(env_posix()) - w->at_us > MS_A_ROW * 1000; }

static struct result watch_stop(const struct watch *w, uint64_t records)
{
    double us = (double)(env_mono_us(env_posix()) - w->at_us), cpu = (double)(cpu_us() - w->cpu_us);
    return (struct result){(double)records * 1e6 / us, cpu / (double)records};
}

static void must(enum err err)
{
    if (err == ERR_OK)
        return;
    fprintf(stderr, "bench_log: %s\n", err_text(err));
    exit(1);
}

static struct result bare(const char *dir, unsigned batch)
{
    char path[300], *bytes = mem_alloc((size_t)RECORD * batch);
    struct fs *fs = env_posix()->fs;
    struct file *f;
    uint64_t n = 0, at = 0;

    snprintf(path, sizeof path, "%s/bare", dir);
    must(fs_open(fs, path, FS_CREATE, &f));
    must(file_fill(f, 4 * SEGMENT));
    struct watch w = watch_start();
    for (; !is_over(&w); n += batch) {
        must(file_write(f, bytes, (size_t)RECORD * batch, at));
        must(file_sync(f));
        at += (uint64_t)RECORD * batch;
        if (at + (uint64_t)RECORD * batch > 4 * SEGMENT)
            at = 0;
    }
    struct result r = watch_stop(&w, n);
    file_close(f);
    must(fs_remove(fs, path));
    mem_free(bytes);
    return r;
}

struct home {
    sem_t woken;
    struct mailbox *box;
    uint64_t committed;
};

static void wake(void *arg) { sem_post(arg); }
static void on_commit(void *arg, uint64_t end) { ((struct home *)arg)->committed = end; }
static void on_failure(void *arg, enum err err)
{
    (void)arg;
    must(err);
}

static void append(struct stream *s, struct home *h, struct str body)
{
    uint64_t pos;
    enum err err;
    while ((err = stream_append(s, 1, 7, 1, body, &pos)) == ERR_LIMIT) {
        stream_flush(s);
        sem_wait(&h->woken);
        mailbox_drain(h->box);
    }
    must(err);
}

static struct result logged(const char *dir, unsigned batch)
{
    static char body[RECORD];
    struct env *env = env_posix();
    struct home h = {0};
    struct segpool *pool;
    struct stream *s;
    uint64_t n = 0;

    sem_init(&h.woken, 0, 0);
    mailbox_create(16, wake, &h.woken, &h.box);
    must(segpool_open(&(struct segpool_conf){env, dir, SEGMENT, 4, false}, &pool));
    must(stream_open(&(struct stream_conf){env, dir, batch, pool, h.box, 64 << 20, 0, on_commit, on_failure, &h, false},
                     &s));
    struct watch w = watch_start();
    for (; !is_over(&w); n += batch) {
        for (unsigned i = 0; i < batch; i++)
            append(s, &h, str_of(body, sizeof body));
        stream_flush(s);
        while (h.committed < stream_end(s)) {
            sem_wait(&h.woken);
            mailbox_drain(h.box);
        }
        stream_trim(s, h.committed);
    }
    struct result r = watch_stop(&w, n);
    stream_close(s);
    segpool_close(pool);
    mailbox_drain(h.box);
    mailbox_destroy(h.box);
    sem_destroy(&h.woken);
    must(seglog_remove(env, dir, batch));
    return r;
}

int main(int argc, char **argv)
{
    static const unsigned batches[] = {1, 10, 100, 1000};
    char dir[256], cmd[300];

    snprintf(dir, sizeof dir, "%s/parley-bench-XXXXXX", argc > 1 ? argv[1] : "/tmp");
    if (!mkdtemp(dir))
        return 1;
    printf("%6s | %12s %10s | %12s %10s | %s\n", "batch", "bare /s", "CPU us", "log /s", "CPU us", "log to bare");
    for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++) {
        struct result a = bare(dir, batches[i]), b = logged(dir, batches[i]);
        printf("%6u | %12.0f %10.2f | %12.0f %10.2f | %3.0f %%\n", batches[i], a.records_s, a.cpu_us, b.records_s,
               b.cpu_us, 100 * b.records_s / a.records_s);
    }
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
    return system(cmd) == 0 ? 0 : 1;
}
