/* What the store engine costs: CPU per entry written (flush and merges of all threads counted in), reads, bytes.
 *
 *   bench_store [ENTRIES [CONVERSATIONS]]
 *
 * Entries of 200 bytes of which about half can be compressed, keys of 26 bytes as the message store has them, batches
 * of 100, conversations at random. `cold` reads start with an empty block cache (the files may be in the page cache).
 */
#include "base/enc.h"
#include "base/worker.h"
#include "storage/lsm.h"
#include "storage/lsm_need.h"
#include <dirent.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 100, VALUE = 200, KEY = 26, PREFIX = 18, TAIL = 50, POOL = 4096, READS = 20000 };

struct bench {
    char dir[64];
    struct block_cache *cache;
    struct pool *pool;
    struct mailbox *home;
    struct lsm *lsm;
    struct lsm_conf conf;
    unsigned long entries, convs;
    uint64_t *heads;
    char (*values)[VALUE];
    uint64_t seed;
};

static void must(enum err err)
{
    if (err == ERR_OK)
        return;
    fprintf(stderr, "bench_store: %s\n", err_text(err));
    exit(1);
}

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

static void no_wake(void *arg) { (void)arg; }

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

static void open_store(struct bench *b, size_t cache_bytes)
{
    char *why = NULL;
    lsm_close(b->lsm);
    b->lsm = NULL;
    block_cache_destroy(b->cache);
    block_cache_create(cache_bytes, &b->cache);
    b->conf = (struct lsm_conf){.env = env_posix(),
                                .dir = b->dir,
                                .pool = b->pool,
                                .home = b->home,
                                .cache = b->cache,
                                .filter_prefix = PREFIX};
    enum err err = lsm_open(&b->conf, &b->lsm, &why);
    if (err != ERR_OK)
        fprintf(stderr, "%s\n", why);
    must(err);
}

static struct str key_of(uint64_t conv, uint64_t seq, char *out)
{
    uint64_t name = conv * 0x9e3779b97f4a7c15u;
    out[0] = (char)(name >> 56);
    out[1] = 9;
    enc_be64(out + 2, name);
    enc_be64(out + 10, ~name);
    enc_be64(out + 18, seq);
    return str_of(out, KEY);
}

static void drain(struct bench *b)
{
    struct timespec nap = {0, 200000}; /* not a busy wait: that would be counted as the engine's CPU */
    if (mailbox_drain(b->home) == 0)
        nanosleep(&nap, NULL);
}

/* Until nothing is in memory and no merge has come home for a while. */
static void settle(struct bench *b)
{
    while (lsm_flush(b->lsm) == ERR_AGAIN || !lsm_is_clean(b->lsm))
        drain(b);
    for (double quiet = wall(); wall() - quiet < 0.3;) {
        struct timespec nap = {0, 1000000};
        if (mailbox_drain(b->home) > 0)
            quiet = wall();
        nanosleep(&nap, NULL);
    }
}

static void write_entries(struct bench *b)
{
    double cpu_from = cpu(), from = wall(), longest = 0;
    for (unsigned long i = 0; i < b->entries; i += BATCH) {
        double at = wall();
        while (lsm_is_busy(b->lsm))
            drain(b);
        for (unsigned long k = 0; k < BATCH; k++) {
            char key[KEY];
            uint64_t conv = rnd(b) % b->convs;
            char *value = b->values[rnd(b) % POOL];
            enc_u64(value, i + k);
            must(lsm_put(b->lsm, key_of(conv, ++b->heads[conv], key), str_of(value, VALUE)));
        }
        lsm_applied(b->lsm, 1, i + BATCH);
        mailbox_drain(b->home);
        if (wall() - at > longest)
            longest = wall() - at;
    }
    double took = wall() - from;
    settle(b);
    struct lsm_stats s;
    lsm_stats(b->lsm, &s);
    printf("write     %.2f us of CPU an entry, %.0f entries/s, longest batch %.1f ms\n",
           (cpu() - cpu_from) / (double)b->entries * 1e6, (double)b->entries / took, longest * 1e3);
    printf("on disk   %.1f bytes an entry in %zu tables; %llu flushes, %llu merges, each byte merged %.2f times\n",
           (double)s.table_bytes / (double)b->entries, s.tables, (unsigned long long)s.flushes,
           (unsigned long long)s.compactions, (double)s.compacted_bytes / (double)s.table_bytes);
    printf("in memory %.2f bytes of filter, %.2f of index an entry\n", (double)s.filter_bytes / (double)b->entries,
           (double)s.index_bytes / (double)b->entries);
}

static bool count(void *arg, struct str key, struct str value)
{
    (void)key;
    (void)value;
    ++*(size_t *)arg;
    return true;
}

static void read_tail(struct bench *b)
{
    char from[KEY], to[KEY];
    uint64_t conv = rnd(b) % b->convs, head = b->heads[conv];
    size_t n = 0;
    key_of(conv, head > TAIL ? head - TAIL + 1 : 1, from);
    key_of(conv, head + 1, to);
    must(lsm_scan(b->lsm, str_of(from, KEY), str_of(to, KEY), TAIL, NULL, count, &n));
    if (n != (head < TAIL ? head : TAIL))
        must(ERR_CORRUPT);
}

static void read_hit(struct bench *b)
{
    char key[KEY];
    static struct buf value;
    uint64_t conv = rnd(b) % b->convs;
    if (b->heads[conv] > 0)
        must(lsm_get(b->lsm, key_of(conv, 1 + rnd(b) % b->heads[conv], key), NULL, &value));
}

static void read_miss(struct bench *b)
{
    char key[KEY];
    static struct buf value;
    uint64_t conv = rnd(b) % b->convs;
    if (lsm_get(b->lsm, key_of(conv, (1ull << 40) + rnd(b), key), NULL, &value) != ERR_NOT_FOUND)
        must(ERR_CORRUPT);
}

static void measure(struct bench *b, const char *name, void (*read)(struct bench *), size_t n)
{
    double cpu_from = cpu(), from = wall();
    for (size_t i = 0; i < n; i++)
        read(b);
    printf("%-9s %.2f us, %.2f us of CPU\n", name, (wall() - from) / (double)n * 1e6,
           (cpu() - cpu_from) / (double)n * 1e6);
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

int main(int argc, char **argv)
{
    struct bench b = {.seed = 42};
    b.entries = argc > 1 ? strtoul(argv[1], NULL, 10) : 2000000;
    b.convs = argc > 2 ? strtoul(argv[2], NULL, 10) : 10000;
    b.heads = mem_new_array(uint64_t, b.convs);
    const char *tmp = getenv("TMPDIR");
    snprintf(b.dir, sizeof(b.dir), "%s/parley-bench-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(b.dir))
        must(ERR_IO);
    make_values(&b);
    mailbox_create(1000, no_wake, NULL, &b.home);
    must(pool_create("bench", 1, 1000, &b.pool));

    open_store(&b, 64 << 20);
    write_entries(&b);
    double from = wall();
    open_store(&b, 64 << 20);
    printf("open      %.1f ms\n", (wall() - from) * 1e3);
    measure(&b, "tail cold", read_tail, b.convs / 20);
    open_store(&b, 1 << 30);
    measure(&b, "tail fill", read_tail, READS);
    measure(&b, "tail warm", read_tail, READS);
    open_store(&b, 64 << 20);
    measure(&b, "hit cold", read_hit, READS / 10);
    open_store(&b, 1 << 30);
    measure(&b, "hit fill", read_hit, 5 * READS);
    measure(&b, "hit warm", read_hit, 5 * READS);
    measure(&b, "miss", read_miss, 5 * READS);

    lsm_close(b.lsm);
    pool_destroy(b.pool);
    mailbox_drain(b.home);
    mailbox_destroy(b.home);
    block_cache_destroy(b.cache);
    mem_free(b.heads);
    mem_free(b.values);
    remove_all(b.dir);
    return 0;
}
