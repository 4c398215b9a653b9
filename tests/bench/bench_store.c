/* What the store engine costs beside RocksDB and LevelDB: the same workload for each, in a process of its own.
 *
 *   bench_store [-n ENTRIES] [-c CONVERSATIONS] [-r RUNS] [-e ENGINE] [-w] [-j FILE]
 *
 * -w: writing only, for a profiler.
 *
 * An entry is what a chat store puts for a message: 200 bytes, of which about half can be compressed, under a key of 27
 * bytes (shard, space, conversation, kind, seq), and 16 bytes in the `cid` index under a key of 18 (shard, space,
 * hash). Batches of 100 entries, conversations at random. Keys, values, batches and cache are the same for all.
 *
 * Writing: CPU of all threads, until no compaction is left to do. The longest stall is the longest time that one batch
 * took, at full speed. Then reads, each kind with a store opened anew:
 *   disk   the files are not in the page cache, nor is a block in the engine's: each read waits for the disk
 *   cold   the files are in the page cache; the engine's cache is empty, and small (64 MiB)
 *   warm   the engine's cache holds all
 * Cold and warm reads wait for nothing, so they are measured in CPU time of the thread that asks, which neighbours on
 * the machine disturb less; reads from the disk by the clock.
 *
 * The keys tail50_us, hit_us and miss_us are of warm reads. A miss asks for a `cid` that is not there, as each
 * new message does. */
#include "tests/bench/store_engine.h"
#include "base/buf.h"
#include "base/enc.h"
#include "base/hash.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 100, VALUE = 200, CID_VALUE = 16, KEY = 27, TAIL = 50, POOL = 4096, READS = 20000, RUNS_MAX = 15 };
static const size_t SMALL_CACHE = 64 << 20, LARGE_CACHE = (size_t)2 << 30;

/* What is measured; the order of the table and the keys of the JSON. */
#define FIGURES(F)                                  \
    F(cpu_us_per_entry, "CPU an entry written, us") \
    F(entries_per_s, "entries/s, at full speed")    \
    F(max_stall_ms, "longest batch, ms")            \
    F(bytes_per_entry, "bytes an entry on disk")    \
    F(open_ms, "opening, ms")                       \
    F(tail50_disk_us, "last 50, disk, us")          \
    F(tail50_cold_us, "last 50, cold, us")          \
    F(tail50_us, "last 50, warm, us")               \
    F(hit_cold_us, "entry by seq, cold, us")        \
    F(hit_us, "entry by seq, warm, us")             \
    F(cid_hit_us, "cid that is there, warm, us")    \
    F(miss_us, "cid that is not there, us")         \
    F(no_seq_us, "seq that is not there, us")

#define FIELD(name, text) double name;
struct figures {
    FIGURES(FIELD)
};
enum { N_FIGURES = sizeof(struct figures) / sizeof(double) };
#define NAME(name, text) #name,
static const char *const figure_names[] = {FIGURES(NAME)};
#define TEXT(name, text) text,
static const char *const figure_texts[] = {FIGURES(TEXT)};

struct bench {
    const struct engine *engine;
    void *store;
    char dir[128];
    unsigned long entries, convs;
    uint64_t *heads;
    char (*values)[VALUE];
    uint64_t seed;
    bool writes_only;
    struct figures f;
};

_Noreturn void engine_failed(const char *engine, const char *what)
{
    fprintf(stderr, "bench_store: %s: %s\n", engine, what);
    _exit(1);
}

static volatile char seen;
void engine_look(struct str value) { seen = (char)(value.len ? value.p[0] ^ value.p[value.len - 1] : 0); }

static uint64_t rnd(struct bench *b)
{
    b->seed = b->seed * 6364136223846793005u + 1442695040888963407u;
    return b->seed >> 33;
}

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double wall(void) { return seconds(CLOCK_MONOTONIC); }
static double cpu(void) { return seconds(CLOCK_PROCESS_CPUTIME_ID); }

static void make_values(struct bench *b)
{
    static const char *const words[] = {"hello", "tomorrow", "the ", "meeting", "see you ", "https://", "lunch",
                                        " and ", "photo",    "ok ",  "thanks ", "where",    "train ",   "minutes"};
    b->values = mem_alloc(POOL * sizeof(b->values[0]));
    for (size_t i = 0; i < POOL; i++) {
        struct buf text = {0};
        while (text.len < 90)
            buf_char(&text, (char)rnd(b));
        while (text.len < VALUE)
            buf_str(&text, str_c(words[rnd(b) % (sizeof(words) / sizeof(words[0]))]));
        memcpy(b->values[i], text.p, VALUE);
        buf_deinit(&text);
    }
}

/* --- keys --- */

static struct str entry_key(uint64_t conv, uint64_t seq, char *out)
{
    uint64_t name = hash_u64(conv + 1);
    out[0] = (char)name;
    out[1] = 'c';
    enc_be64(out + 2, name);
    enc_be64(out + 10, hash_u64(name));
    out[18] = 9;
    enc_be64(out + 19, seq);
    return str_of(out, KEY);
}

static struct str cid_key(uint64_t n, char *out)
{
    uint64_t hash = hash_u64(n + 0x636964);
    out[0] = (char)(hash >> 8);
    out[1] = 'i';
    enc_be64(out + 2, hash);
    enc_be64(out + 10, hash_u64(hash));
    return str_of(out, ENGINE_PREFIX);
}

/* --- writing --- */

static uint64_t bytes_on_disk(const char *dir)
{
    uint64_t bytes = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        char path[512];
        struct stat st;
        snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
        const char *dot = strrchr(e->d_name, '.');
        if (dot && (strcmp(dot, ".sst") == 0 || strcmp(dot, ".ldb") == 0) && stat(path, &st) == 0)
            bytes += (uint64_t)st.st_size;
    }
    closedir(d);
    return bytes;
}

static void make_batch(struct bench *b, unsigned long first, struct engine_put *puts, char (*keys)[KEY],
                       char (*cids)[CID_VALUE])
{
    for (unsigned long k = 0; k < BATCH; k++) {
        uint64_t conv = rnd(b) % b->convs, seq = ++b->heads[conv];
        char *value = b->values[rnd(b) % POOL];
        enc_u64(value, first + k);
        enc_u64(cids[k], seq);
        enc_u64(cids[k] + 8, hash_u64(first + k));
        puts[2 * k] = (struct engine_put){entry_key(conv, seq, keys[2 * k]), str_of(value, VALUE)};
        puts[2 * k + 1] = (struct engine_put){cid_key(first + k, keys[2 * k + 1]), str_of(cids[k], CID_VALUE)};
    }
}

static void write_entries(struct bench *b)
{
    struct engine_put puts[2 * BATCH];
    char keys[2 * BATCH][KEY], cids[BATCH][CID_VALUE];
    double cpu_from = cpu(), from = wall(), longest = 0;

    for (unsigned long i = 0; i < b->entries; i += BATCH) {
        make_batch(b, i, puts, keys, cids);
        double at = wall();
        b->engine->write(b->store, puts, 2 * BATCH);
        if (wall() - at > longest)
            longest = wall() - at;
    }
    b->f.entries_per_s = (double)b->entries / (wall() - from);
    b->engine->settle(b->store);
    b->f.cpu_us_per_entry = (cpu() - cpu_from) / (double)b->entries * 1e6;
    b->f.max_stall_ms = longest * 1e3;
    b->f.bytes_per_entry = (double)bytes_on_disk(b->dir) / (double)b->entries;
    if (b->engine->describe)
        b->engine->describe(b->store);
}

/* --- reading --- */

static void expect(struct bench *b, bool is_right)
{
    if (!is_right)
        engine_failed(b->engine->name, "a wrong answer");
}

static void read_tail(struct bench *b)
{
    char from[KEY], to[KEY];
    uint64_t conv = rnd(b) % b->convs, head = b->heads[conv];
    entry_key(conv, head > TAIL ? head - TAIL + 1 : 1, from);
    entry_key(conv, head + 1, to);
    size_t n = b->engine->scan(b->store, str_of(from, KEY), str_of(to, KEY), TAIL);
    expect(b, n == (head < TAIL ? head : TAIL));
}

static void read_hit(struct bench *b)
{
    char key[KEY];
    uint64_t conv = rnd(b) % b->convs;
    if (b->heads[conv] > 0)
        expect(b, b->engine->get(b->store, entry_key(conv, 1 + rnd(b) % b->heads[conv], key)));
}

static void read_cid(struct bench *b)
{
    char key[KEY];
    expect(b, b->engine->get(b->store, cid_key(rnd(b) % b->entries, key)));
}

static void read_miss(struct bench *b)
{
    char key[KEY];
    expect(b, !b->engine->get(b->store, cid_key((1ull << 40) + rnd(b), key)));
}

static void read_no_seq(struct bench *b)
{
    char key[KEY];
    expect(b, !b->engine->get(b->store, entry_key(rnd(b) % b->convs, (1ull << 40) + rnd(b), key)));
}

/* Microseconds a read. */
static double time_of(struct bench *b, clockid_t clock, void (*read)(struct bench *), size_t n)
{
    double from = seconds(clock);
    for (size_t i = 0; i < n; i++)
        read(b);
    return (seconds(clock) - from) / (double)n * 1e6;
}

static double cpu_of(struct bench *b, void (*read)(struct bench *), size_t n)
{
    return time_of(b, CLOCK_THREAD_CPUTIME_ID, read, n);
}

static double reopen(struct bench *b, size_t cache_bytes)
{
    if (b->store)
        b->engine->close(b->store);
    double from = wall();
    b->store = b->engine->open(b->dir, cache_bytes);
    return (wall() - from) * 1e3;
}

/* Sends the page cache's pages of the files away; they are on the disk, since every engine syncs its tables. */
static void forget_files(const char *dir)
{
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        char path[512];
        snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        fdatasync(fd);
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
    }
    closedir(d);
}

static void measure_reads(struct bench *b)
{
    b->f.open_ms = reopen(b, SMALL_CACHE);
    b->f.tail50_cold_us = cpu_of(b, read_tail, b->convs / 20);
    reopen(b, SMALL_CACHE);
    b->f.hit_cold_us = cpu_of(b, read_hit, READS / 10);
    reopen(b, SMALL_CACHE);
    forget_files(b->dir);
    b->f.tail50_disk_us = time_of(b, CLOCK_MONOTONIC, read_tail, b->convs / 20);
    reopen(b, LARGE_CACHE);
    (void)cpu_of(b, read_tail, 10 * b->convs);
    b->f.tail50_us = cpu_of(b, read_tail, READS);
    (void)cpu_of(b, read_hit, b->entries / 4);
    b->f.hit_us = cpu_of(b, read_hit, 5 * READS);
    (void)cpu_of(b, read_cid, b->entries / 4);
    b->f.cid_hit_us = cpu_of(b, read_cid, 5 * READS);
    b->f.miss_us = cpu_of(b, read_miss, 5 * READS);
    b->f.no_seq_us = cpu_of(b, read_no_seq, 5 * READS);
}

static void remove_all(const char *dir)
{
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        char path[512];
        snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
        unlink(path);
    }
    closedir(d);
    rmdir(dir);
}

static void run_here(struct bench *b)
{
    make_values(b);
    b->heads = mem_new_array(uint64_t, b->convs);
    reopen(b, SMALL_CACHE);
    write_entries(b);
    if (!b->writes_only)
        measure_reads(b);
    b->engine->close(b->store);
}

/* In a process of its own, so that neither threads nor the heap of one engine are there when another is measured. */
static struct figures run(struct bench *b)
{
    int ends[2];
    struct figures f;
    const char *tmp = getenv("TMPDIR");

    snprintf(b->dir, sizeof(b->dir), "%s/parley-bench-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(b->dir) || pipe(ends) < 0)
        engine_failed(b->engine->name, "no folder to write to");
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        run_here(b);
        fflush(stdout);
        _exit(write(ends[1], &b->f, sizeof(b->f)) == (ssize_t)sizeof(b->f) ? 0 : 1);
    }
    close(ends[1]);
    ssize_t got = read(ends[0], &f, sizeof(f));
    close(ends[0]);
    if (pid > 0)
        waitpid(pid, NULL, 0);
    remove_all(b->dir);
    if (got != (ssize_t)sizeof(f))
        engine_failed(b->engine->name, "gave no figures");
    return f;
}

/* --- telling --- */

static const struct engine *const engines[] = {&engine_parley, &engine_rocksdb, &engine_leveldb};
enum { ENGINES = sizeof(engines) / sizeof(engines[0]) };

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double figure(const struct figures *f, size_t i)
{
    double v;
    memcpy(&v, (const char *)f + i * sizeof(v), sizeof(v));
    return v;
}

static double median(const struct figures *runs, size_t n, size_t i)
{
    double v[RUNS_MAX];
    for (size_t k = 0; k < n; k++)
        v[k] = figure(&runs[k], i);
    qsort(v, n, sizeof(v[0]), by_value);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static void print_table(struct figures runs[ENGINES][RUNS_MAX], size_t n)
{
    printf("\n%-30s", n > 1 ? "median of the runs" : "");
    for (size_t e = 0; e < ENGINES; e++)
        printf("%12s", engines[e]->name);
    for (size_t i = 0; i < N_FIGURES; i++) {
        printf("\n%-30s", figure_texts[i]);
        for (size_t e = 0; e < ENGINES; e++)
            printf("%12.*f", figure(&runs[e][0], i) < 1000 ? 2 : 0, median(runs[e], n, i));
    }
    printf("\n");
}

static void write_json(const char *path, struct figures runs[ENGINES][RUNS_MAX], size_t n)
{
    FILE *f = fopen(path, "w");
    if (!f)
        engine_failed(path, "can't be written");
    for (size_t e = 0; e < ENGINES; e++) {
        fprintf(f, "%s\"%s\":{", e ? ",\n " : "{", engines[e]->name);
        for (size_t i = 0; i < N_FIGURES; i++)
            fprintf(f, "%s\"%s\":%.3f", i ? "," : "", figure_names[i], median(runs[e], n, i));
        fprintf(f, "}");
    }
    fprintf(f, "}\n");
    if (fclose(f) != 0)
        engine_failed(path, "can't be written");
}

int main(int argc, char **argv)
{
    static struct figures runs[ENGINES][RUNS_MAX];
    unsigned long entries = 2000000, convs = 10000, n_runs = 1;
    const char *only = NULL, *json = NULL;
    bool writes_only = false;

    for (int c; (c = getopt(argc, argv, "n:c:r:e:j:w")) != -1;) {
        if (c == 'n')
            entries = strtoul(optarg, NULL, 10);
        else if (c == 'c')
            convs = strtoul(optarg, NULL, 10);
        else if (c == 'r')
            n_runs = strtoul(optarg, NULL, 10);
        else if (c == 'e')
            only = optarg;
        else if (c == 'w')
            writes_only = true;
        else if (c == 'j')
            json = optarg;
        else
            return 2;
    }
    if (entries < BATCH || convs == 0 || n_runs == 0 || n_runs > RUNS_MAX)
        return 2;
    for (size_t r = 0; r < n_runs; r++) {
        for (size_t e = 0; e < ENGINES; e++) {
            struct bench b = {.engine = engines[e],
                              .seed = 42,
                              .entries = entries - entries % BATCH,
                              .convs = convs,
                              .writes_only = writes_only};
            if (!only || strcmp(only, engines[e]->name) == 0)
                runs[e][r] = run(&b);
        }
    }
    print_table(runs, n_runs);
    if (json && !only)
        write_json(json, runs, n_runs);
    return 0;
}
