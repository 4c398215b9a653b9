/* One store that grows: what it costs, and whether a writer ever waits.
 *
 *   bench_growth [-n ENTRIES] [-r ENTRIES_A_SECOND] [-m MERGE_RATE] [-j FILE]      default 50,000,000 at 50,000,
 *   merges at 64 MiB a second (0: no bound)
 *
 * Of a message it puts what the chat store does in a group: the entry (200 bytes under a key of 27), the `cid` index
 * (16 under 18), the conversation's state (34 under 19) and its author's cursors (35 under 27), the last two
 * overwritten again and again. Batches of 100 are due at fixed times, whatever happened to those before (open loop): a
 * stall is how long after its time a batch was done. Once a second the files are counted.
 *
 * What the machine itself takes away is told apart twice. A thread that only is due at the same times and burns a
 * quarter of its time says how late it was (`control`). And of the writer's parts (puts, lsm_applied, what comes home,
 * the count of files) the longest is told with the time it ran and the time it could have run and had no processor, as
 * the kernel counts it; what then is left was spent waiting for a lock, a page or the disk, and is the store's own.
 * `own_ms` is the most that a part took without waiting for a processor. */
#include "base/enc.h"
#include "base/hash.h"
#include "base/worker.h"
#include "storage/lsm.h"
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 100, CONVS = 100000, AUTHORS = 8, THREADS = 3 };

enum part { PUTS, APPLIED, HOME, LOOK, PARTS };

struct bench {
    char dir[128];
    struct longest {
        double ms, cpu_ms, queue_ms;
    } part[PARTS];
    double own_ms;
    int schedstat; /* /proc/thread-self/schedstat: ns run, ns waited for a processor, … ; -1: none */
    uint64_t merge_rate;
    double rate, control_ms; /* the second is the control's, until it is joined */
    atomic_bool is_written;
    struct block_cache *cache;
    struct pool *pool;
    struct mailbox *home;
    struct lsm *lsm;
    uint64_t *heads, random;
    double longest_ms, peak_bytes, settled_bytes, open_ms, amplification;
    unsigned long late; /* batches done more than 50 ms after their time */
    size_t files;
};

static void must(enum err err)
{
    if (err == ERR_OK)
        return;
    fprintf(stderr, "bench_growth: %s\n", err_text(err));
    exit(1);
}

static double wall(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct span {
    double wall, cpu, queue;
};

static struct span now(const struct bench *b)
{
    char text[80] = {0}, *end;
    struct span s = {wall(), 0, 0};
    if (b->schedstat >= 0 && pread(b->schedstat, text, sizeof text - 1, 0) > 0) {
        s.cpu = strtod(text, &end) / 1e9;
        s.queue = strtod(end, NULL) / 1e9;
    }
    return s;
}

static void span_end(struct bench *b, enum part part, struct span from)
{
    struct span to = now(b);
    struct longest l = {(to.wall - from.wall) * 1e3, (to.cpu - from.cpu) * 1e3, (to.queue - from.queue) * 1e3};
    if (l.ms > b->part[part].ms)
        b->part[part] = l;
    if (l.ms - l.queue_ms > b->own_ms)
        b->own_ms = l.ms - l.queue_ms;
}

static void no_wake(void *arg) { (void)arg; }
static void nap(void) { nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL); }

static uint64_t rnd(struct bench *b)
{
    b->random = b->random * 6364136223846793005u + 1442695040888963407u;
    return b->random >> 33;
}

static void open_store(struct bench *b)
{
    char *why = NULL;
    struct lsm_conf c = {.env = env_posix(),
                         .dir = b->dir,
                         .pool = b->pool,
                         .home = b->home,
                         .cache = b->cache,
                         .merge_rate = b->merge_rate,
                         .filter_prefix = 18};
    double from = wall();
    must(lsm_open(&c, &b->lsm, &why));
    b->open_ms = (wall() - from) * 1e3;
}

/* Of shard, space and conversation 18 bytes; then what kind, and of whom or which. */
static void put(struct bench *b, uint64_t conv, char kind, size_t key_len, uint64_t tail, const char *value, size_t n)
{
    char key[27];
    uint64_t name = hash_u64(conv + 1);
    key[0] = (char)name;
    key[1] = 'c';
    enc_be64(key + 2, name);
    enc_be64(key + 10, hash_u64(name));
    key[18] = kind;
    enc_be64(key + 19, tail);
    must(lsm_put(b->lsm, str_of(key, key_len), str_of(value, n)));
}

static void put_message(struct bench *b, uint64_t n)
{
    char value[200], cid[18] = {0, 'i'};
    uint64_t conv = rnd(b) % CONVS, seq = ++b->heads[conv];
    memset(value, 'x', sizeof value);
    for (size_t i = 0; i < 96; i += 8) /* about a half is not to be compressed */
        enc_u64(value + i, hash_u64(n * 16 + i));
    put(b, conv, 9, 27, seq, value, sizeof value);
    cid[0] = (char)hash_u64(n);
    enc_be64(cid + 2, hash_u64(n + 0x636964));
    enc_be64(cid + 10, hash_u64(~n));
    must(lsm_put(b->lsm, str_of(cid, sizeof cid), str_of(value, 16)));
    put(b, conv, 1, 19, 0, value, 34);
    put(b, conv, 4, 27, rnd(b) % AUTHORS, value, 35);
}

/* Due when the writer is, with a quarter of a batch's time to burn. */
static void *control(void *arg)
{
    struct bench *b = arg;
    double due = wall(), every = BATCH / b->rate;
    while (!atomic_load(&b->is_written)) {
        for (due += every; wall() < due;)
            nap();
        while (wall() < due + every / 4)
            ;
        double ms = (wall() - due - every / 4) * 1e3;
        b->control_ms = ms > b->control_ms ? ms : b->control_ms;
        if (ms > every * 1e3)
            due = wall();
    }
    return NULL;
}

static double bytes_on_disk(const char *dir)
{
    double bytes = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        struct stat st;
        if (fstatat(dirfd(d), e->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
            bytes += (double)st.st_size;
    }
    closedir(d);
    return bytes;
}

static void look(struct bench *b)
{
    struct lsm_stats s;
    lsm_stats(b->lsm, &s);
    double bytes = bytes_on_disk(b->dir);
    b->peak_bytes = bytes > b->peak_bytes ? bytes : b->peak_bytes;
    b->files = s.files > b->files ? s.files : b->files;
}

static size_t take_home(struct bench *b)
{
    struct span s = now(b);
    size_t n = mailbox_drain(b->home);
    span_end(b, HOME, s);
    return n;
}

static void write_batch(struct bench *b, uint64_t first)
{
    struct span s = now(b);
    for (uint64_t k = 0; k < BATCH; k++)
        put_message(b, first + k);
    span_end(b, PUTS, s);
    s = now(b);
    lsm_applied(b->lsm, 1, first + BATCH);
    span_end(b, APPLIED, s);
}

static void write_all(struct bench *b, uint64_t entries)
{
    double begun = wall(), looked = begun;
    for (uint64_t i = 0; i < entries; i += BATCH) {
        double due = begun + (double)i / b->rate;
        while (wall() < due)
            if (take_home(b) == 0)
                nap();
        while (lsm_is_busy(b->lsm))
            if (take_home(b) == 0)
                nap();
        write_batch(b, i);
        take_home(b);
        double ms = (wall() - due) * 1e3;
        b->longest_ms = ms > b->longest_ms ? ms : b->longest_ms;
        b->late += ms > 50;
        if (wall() - looked > 1) {
            struct span s = now(b);
            look(b);
            span_end(b, LOOK, s);
            looked = wall();
        }
    }
}

static void write_beside_control(struct bench *b, uint64_t entries)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, control, b) != 0)
        must(ERR_LIMIT);
    write_all(b, entries);
    atomic_store(&b->is_written, true);
    pthread_join(thread, NULL);
}

static void settle(struct bench *b)
{
    struct lsm_stats s;
    while (lsm_flush(b->lsm) == ERR_AGAIN || !lsm_is_clean(b->lsm))
        if (mailbox_drain(b->home) == 0)
            nap();
    do {
        if (mailbox_drain(b->home) == 0)
            nap();
        lsm_stats(b->lsm, &s);
    } while (s.merges > 0);
    b->settled_bytes = bytes_on_disk(b->dir);
    b->peak_bytes = b->settled_bytes > b->peak_bytes ? b->settled_bytes : b->peak_bytes;
    b->amplification = (double)(s.flushed_bytes + s.compacted_bytes) / (double)s.flushed_bytes;
    printf("%zu tables, %llu flushes, %llu merges, filters %.1f MiB, indexes %.1f MiB, busy for %.0f ms\n", s.tables,
           (unsigned long long)s.flushes, (unsigned long long)s.compactions, (double)s.filter_bytes / 1048576,
           (double)s.index_bytes / 1048576, (double)s.stalled_us / 1e3);
}

static void tell_parts(const struct bench *b)
{
    static const char *const name[PARTS] = {"puts", "lsm_applied", "coming home", "counting files"};
    for (int i = 0; i < PARTS; i++)
        printf("longest %-16s %9.2f ms: %.2f on a processor, %.2f waiting for one, %.2f for something else\n", name[i],
               b->part[i].ms, b->part[i].cpu_ms, b->part[i].queue_ms,
               b->part[i].ms - b->part[i].cpu_ms - b->part[i].queue_ms);
}

static void tell(const struct bench *b, uint64_t entries, const char *json)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    tell_parts(b);
    struct row {
        const char *name;
        double is, target; /* 0: none */
    } rows[] = {{"longest_stall_ms", b->longest_ms, 50},
                {"own_ms", b->own_ms, 50},
                {"control_ms", b->control_ms, 0},
                {"batches_late", (double)b->late, 0},
                {"open_ms", b->open_ms, 1000},
                {"files_at_most", (double)b->files, LSM_TABLES_MAX + 8},
                {"bytes_per_entry", b->settled_bytes / (double)entries, 0},
                {"peak_over_settled", b->peak_bytes / b->settled_bytes, 0},
                {"write_amplification", b->amplification, 0},
                {"peak_rss_mib", (double)u.ru_maxrss / 1024, 0}};
    FILE *f = json ? fopen(json, "w") : NULL;
    if (json && !f)
        must(ERR_IO);
    if (f)
        fprintf(f, "{\"entries\":%llu,\"rate\":%.0f", (unsigned long long)entries, b->rate);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *holds = rows[i].target == 0 ? "" : rows[i].is <= rows[i].target ? "holds" : "MISSED";
        printf("%-22s %12.2f  %s\n", rows[i].name, rows[i].is, holds);
        if (f)
            fprintf(f, ",\"%s\":%.3f,\"%s_target\":%.0f", rows[i].name, rows[i].is, rows[i].name, rows[i].target);
    }
    if (f && (fprintf(f, "}\n") < 0 || fclose(f) != 0))
        must(ERR_IO);
}

int main(int argc, char **argv)
{
    struct bench b = {.random = 42,
                      .rate = 50000,
                      .merge_rate = 64 << 20,
                      .schedstat = open("/proc/thread-self/schedstat", O_RDONLY)};
    uint64_t entries = 50000000;
    const char *json = NULL, *tmp = getenv("TMPDIR");
    char command[200];

    for (int c; (c = getopt(argc, argv, "n:r:m:j:")) != -1;) {
        if (c == 'n')
            entries = strtoull(optarg, NULL, 10);
        else if (c == 'r')
            b.rate = strtod(optarg, NULL);
        else if (c == 'm')
            b.merge_rate = strtoull(optarg, NULL, 10);
        else if (c == 'j')
            json = optarg;
        else
            return 2;
    }
    entries -= entries % BATCH;
    if (entries == 0 || !(b.rate > 0))
        return 2;
    snprintf(b.dir, sizeof b.dir, "%s/parley-bench-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(b.dir))
        must(ERR_IO);
    b.heads = mem_new_array(uint64_t, CONVS);
    block_cache_create(64 << 20, &b.cache);
    mailbox_create(no_wake, NULL, &b.home);
    must(pool_create("bench", THREADS, 1000, &b.pool));
    open_store(&b);
    write_beside_control(&b, entries);
    look(&b);
    settle(&b);
    lsm_close(b.lsm);
    mailbox_drain(b.home);
    open_store(&b);
    tell(&b, entries, json);
    lsm_close(b.lsm);
    pool_destroy(b.pool);
    mailbox_drain(b.home);
    mailbox_destroy(b.home);
    block_cache_destroy(b.cache);
    mem_free(b.heads);
    snprintf(command, sizeof command, "rm -rf %s", b.dir);
    return system(command) == 0 ? 0 : 1;
}
