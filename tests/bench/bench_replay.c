/* What a start costs after a crash: a log of messages is written, then read back step by step, and all as a server
 * does.
 *
 *   bench_replay [-n MESSAGES] [-c CONVERSATIONS] [-t HOMES]      default 2,000,000 in 20,000 chats of two, 2 homes
 *
 * Content of 200 bytes, conversations at random, four stores, a pool of three threads, memtables and cache of the usual
 * size; none of the messages is for the tables. The log is read from the page cache. Of each step: messages a second,
 * and the processors' time a message, with the threads of the pool. */
#include "base/enc.h"
#include "base/hash.h"
#include "base/loop.h"
#include "cmd/parleyd_replay.h"
#include "queue/stream.h"
#include "services/notify.h"
#include "services/world.h"
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { CONTENT = 200, STORES = 4, THREADS = 3, SEGMENT = 16 << 20, FLUSH_EVERY = 1000 };

struct bench {
    char dir[128], log_dir[160];
    struct data_dir data;
    struct loop *loop, *homes[STORES]; /* the first of them is the log's, too */
    size_t n_homes;
    struct segpool *segments;
    struct stream *stream;
    struct pool *pool;
    struct block_cache *cache;
    struct lsm *stores[STORES];
    struct tables *tables;
    uint64_t *heads; /* of the chats */
    uint64_t messages, convs, log_id, committed, random;
};

static void must(enum err err, const char *why)
{
    if (err == ERR_OK)
        return;
    fprintf(stderr, "bench_replay: %s: %s\n", err_text(err), why ? why : "");
    exit(1);
}

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct lap {
    double wall, cpu;
};

static struct lap begin(void) { return (struct lap){seconds(CLOCK_MONOTONIC), seconds(CLOCK_PROCESS_CPUTIME_ID)}; }

static void end(const struct bench *b, struct lap from, const char *what)
{
    struct lap to = begin();
    printf("%-44s %10.0f messages a second, %.2f us of CPU a message\n", what,
           (double)b->messages / (to.wall - from.wall), (to.cpu - from.cpu) * 1e6 / (double)b->messages);
}

/* --- the log --- */

static void on_commit(void *arg, uint64_t end) { ((struct bench *)arg)->committed = end; }
static void on_failure(void *arg, enum err err)
{
    (void)arg;
    must(err, "the log");
}

static void append(struct bench *b, unsigned shard, struct str body)
{
    uint64_t pos;
    enum err err;
    while ((err = stream_append(b->stream, RECORD_ENTRY, (uint16_t)shard, 0, body, &pos)) == ERR_LIMIT) {
        stream_flush(b->stream);
        mailbox_drain(loop_mailbox(b->loop));
        usleep(100);
    }
    must(err, "append");
}

static uint64_t next_random(struct bench *b)
{
    b->random = b->random * 6364136223846793005u + 1442695040888963407u;
    return b->random >> 33;
}

static struct entry message(struct bench *b, uint64_t conv, uint64_t seq, char *content)
{
    uint64_t author = next_random(b) % 2;
    struct entry e = {.seq = seq, .kind = ENTRY_MESSAGE, .conv_kind = CONV_PAIR, .ordinal = seq, .ts = 1700000000000};
    e.from = 1 + 2 * conv + author;
    e.peer = 2 + 2 * conv - author;
    e.device = 1000 + e.from;
    pair_conv(&b->data.keys, e.from, e.peer, &e.conv);
    e.cid = STR("0123456789abcdef01234");
    enc_u64(e.cid_hash, hash_u64(next_random(b)));
    enc_u64(e.cid_hash + 8, hash_u64(next_random(b)));
    for (size_t i = 20; i < CONTENT - 1; i += 3)
        content[i] = (char)('a' + next_random(b) % 26);
    e.content = str_of(content, CONTENT);
    return e;
}

static void write_log(struct bench *b)
{
    char content[CONTENT];
    struct buf body = {0};

    memset(content, ' ', CONTENT);
    must(data_dir_next_log_id(env_posix(), &b->data, &b->log_id), "log id");
    must(segpool_open(&(struct segpool_conf){env_posix(), b->log_dir, SEGMENT, 4, false}, &b->segments), "segments");
    struct stream_conf c = {env_posix(), b->log_dir, b->log_id, b->segments, loop_mailbox(b->loop), 32 << 20, 0,
                            on_commit,   on_failure, b,         false};
    must(stream_open(&c, &b->stream), "stream");
    for (uint64_t i = 0; i < b->messages; i++) {
        uint64_t conv = next_random(b) % b->convs;
        struct record r = {.kind = RECORD_ENTRY, .entry = message(b, conv, ++b->heads[conv], content)};
        buf_clear(&body);
        record_encode(&r, &body);
        append(b, shard_of(&b->data, &r.entry.conv), buf_get(&body));
        if (i % FLUSH_EVERY == 0)
            stream_flush(b->stream);
    }
    stream_flush(b->stream);
    stream_close(b->stream);
    segpool_close(b->segments);
    mailbox_drain(loop_mailbox(b->loop));
    buf_deinit(&body);
}

/* --- reading it --- */

static enum err count(void *arg, const struct log_record *r)
{
    *(uint64_t *)arg += r->shard < SHARD_COUNT;
    return ERR_OK;
}

static enum err decode(void *arg, const struct log_record *r)
{
    struct arena arena = {0};
    struct record rec;
    enum err err = record_decode(r->kind, r->body, &arena, &rec);
    *(uint64_t *)arg += err == ERR_OK;
    arena_deinit(&arena);
    return err;
}

static void read_with(struct bench *b, log_record_fn *fn, const char *what)
{
    uint64_t n = 0;
    struct lap from = begin();
    must(seglog_replay(env_posix(), b->log_dir, b->log_id, 0, 0, fn, &n), what);
    end(b, from, what);
    if (n != b->messages)
        must(ERR_CORRUPT, "a message is missing");
}

static void recover(struct bench *b, const char *what)
{
    struct seglog_report report;
    char *why = NULL;
    struct lap from = begin();
    must(seglog_recover(env_posix(), b->log_dir, b->log_id, 0, &report, &why), why);
    end(b, from, what);
}

static void open_stores(struct bench *b)
{
    char *why = NULL, dir[300];
    for (unsigned i = 0; i < STORES; i++) {
        snprintf(dir, sizeof dir, "%s/stores/%s", b->dir, b->data.stores[i]);
        struct lsm_conf c = {.env = env_posix(),
                             .dir = dir,
                             .pool = b->pool,
                             .home = loop_mailbox(b->homes[i % b->n_homes]),
                             .cache = b->cache,
                             .merge_rate = (64 << 20) / STORES,
                             .filter_prefix = CONVLOG_FILTER_PREFIX};
        must(lsm_open(&c, &b->stores[i], &why), why);
    }
    snprintf(dir, sizeof dir, "%s/tables.db", b->dir);
    must(tables_open(env_posix(), dir, &b->tables, &why), why);
}

static void replay(struct bench *b)
{
    struct views_log *logs;
    size_t n;
    char *why = NULL;
    struct lap from = begin();
    must(replay_logs(&(struct replay_conf){.env = env_posix(),
                                           .data = &b->data,
                                           .log_dir = b->log_dir,
                                           .stores = b->stores,
                                           .homes = b->homes,
                                           .n_homes = b->n_homes,
                                           .tables = b->tables},
                     &logs, &n, &why),
         why);
    end(b, from, "all of replay_logs, into four stores");
    mem_free(logs);
}

/* Every chat is as far as it was written, and its last entries are there. */
static void check(struct bench *b)
{
    struct arena arena = {0};
    for (uint64_t i = 0; i < b->convs; i++) {
        struct conv_id c;
        struct authority a;
        struct entry_list list;
        pair_conv(&b->data.keys, 1 + 2 * i, 2 + 2 * i, &c);
        uint16_t shard = shard_of(&b->data, &c);
        struct lsm *store = b->stores[b->data.store_of[shard]];
        if (b->heads[i] == 0)
            continue;
        must(convlog_load(store, shard, &c, NULL, &arena, &a), "a chat is missing");
        must(a.head == b->heads[i] ? ERR_OK : ERR_CORRUPT, "a chat is not as far as it was written");
        must(convlog_read(store, shard, &c, 1, a.head, 50, 512 * 1024, true, NULL, &arena, &list), "entries");
        must(list.n == (a.head < 50 ? a.head : 50) ? ERR_OK : ERR_CORRUPT, "an entry is missing");
        arena_deinit(&arena);
    }
}

static void replay_owed(struct bench *b)
{
    struct world world = {.data = &b->data};
    struct notify_replay *p;
    struct lap from = begin();
    notify_replay_create(&(struct notify_replay_conf){.world = &world, .stores = b->stores, .log_id = b->log_id}, &p);
    must(seglog_replay(env_posix(), b->log_dir, b->log_id, 0, 0, notify_replay_record, p), "owed");
    end(b, from, "what is owed, of a log whose owed are unknown");
    notify_replay_destroy(p);
}

static void close_stores(struct bench *b)
{
    for (unsigned i = 0; i < STORES; i++)
        lsm_close(b->stores[i]);
    tables_close(b->tables);
    pool_destroy(b->pool);
    for (size_t i = 0; i < b->n_homes; i++) {
        mailbox_drain(loop_mailbox(b->homes[i]));
        loop_destroy(b->homes[i]);
    }
    block_cache_destroy(b->cache);
}

int main(int argc, char **argv)
{
    struct bench b = {.messages = 2000000, .convs = 20000, .n_homes = 2, .random = 42};
    char *why = NULL, command[200];

    for (int c; (c = getopt(argc, argv, "n:c:t:")) != -1;) {
        if (c == 'n')
            b.messages = strtoull(optarg, NULL, 10);
        else if (c == 'c')
            b.convs = strtoull(optarg, NULL, 10);
        else if (c == 't')
            b.n_homes = strtoul(optarg, NULL, 10);
        else
            return 2;
    }
    if (b.messages == 0 || b.convs == 0 || b.n_homes == 0 || b.n_homes > STORES)
        return 2;
    snprintf(b.dir, sizeof b.dir, "%s/parley-bench-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    must(mkdtemp(b.dir) ? ERR_OK : ERR_IO, "folder");
    snprintf(b.log_dir, sizeof b.log_dir, "%s/log", b.dir);
    must(data_dir_open(env_posix(), b.dir, STORES, &b.data, &why), why);
    for (size_t i = 0; i < b.n_homes; i++)
        must(loop_create(&b.homes[i]), "loop");
    b.loop = b.homes[0];
    must(pool_create("bench", THREADS, 1000, &b.pool), "pool");
    block_cache_create(128 << 20, &b.cache);
    b.heads = mem_new_array(uint64_t, b.convs);
    write_log(&b);
    recover(&b, "recovery: the log is made sound");
    read_with(&b, count, "reading: every record checked");
    read_with(&b, decode, "reading and decoding");
    open_stores(&b);
    replay(&b);
    check(&b);
    replay_owed(&b);
    close_stores(&b);
    data_dir_close(&b.data);
    mem_free(b.heads);
    snprintf(command, sizeof command, "rm -rf %s", b.dir);
    return system(command) == 0 ? 0 : 1;
}
