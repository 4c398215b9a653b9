/* bench_convlog: CPU per message of the message store: applying and putting as a live shard does, replaying, and
 * reading back. Once as many as a memtable of the usual size holds, once with flushes and merges (done inline: their
 * CPU counts). usage: bench_convlog [MESSAGES]   default 1,000,000 */
#include "storage/convlog.h"
#include "base/hash.h"
#include <time.h>

enum { CONTENT = 200, PAIRS = 1000, GROUPS = 100, GROUP_SIZE = 100, BATCH = 100, A_MEMTABLE = 30000 };

struct bench {
    struct lsm *lsm;
    struct arena arena;
    struct authority *convs;
    uint64_t messages, position, random;
    char content[CONTENT];
};

static double cpu_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(enum err err)
{
    if (err == ERR_OK)
        return;
    fprintf(stderr, "bench_convlog: %s\n", err_text(err));
    exit(1);
}

static uint64_t next_random(struct bench *b)
{
    b->random ^= b->random << 13;
    b->random ^= b->random >> 7;
    b->random ^= b->random << 17;
    return b->random;
}

static struct conv_id conv_of(size_t i)
{
    struct conv_id c;

    enc_u64(c.b, hash_u64(i + 1));
    enc_u64(c.b + 8, hash_u64(i + 77));
    return c;
}

static void applied(struct bench *b)
{
    if (++b->position % BATCH == 0)
        lsm_applied(b->lsm, 1, b->position);
}

static struct record message(struct bench *b, size_t conv, const struct authority *a, bool in_pair)
{
    struct record r = {.kind = RECORD_ENTRY};
    size_t author = next_random(b) % (in_pair ? 2 : GROUP_SIZE);

    r.entry = (struct entry){.conv = conv_of(conv), .seq = a->head + 1, .kind = ENTRY_MESSAGE, .from = 1 + author};
    r.entry.conv_kind = in_pair ? CONV_PAIR : CONV_GROUP;
    r.entry.peer = in_pair ? 2 - author : 0;
    r.entry.device = 100 + author;
    r.entry.ts = 1700000000000;
    r.entry.ordinal = a->ordinal + 1;
    r.entry.cid = STR("0123456789abcdef01234");
    enc_u64(r.entry.cid_hash, next_random(b));
    enc_u64(r.entry.cid_hash + 8, next_random(b));
    for (size_t i = 20; i < CONTENT - 1; i += 3) /* as compressible as words are */
        b->content[i] = (char)('a' + next_random(b) % 26);
    r.entry.content = str_of(b->content, CONTENT);
    return r;
}

static void create_group(struct bench *b, size_t i)
{
    struct member_role members[GROUP_SIZE];
    struct record r = {.kind = RECORD_ENTRY};

    for (size_t k = 0; k < GROUP_SIZE; k++)
        members[k] = (struct member_role){1 + k, k ? ROLE_MEMBER : ROLE_OWNER};
    r.entry = (struct entry){.conv = conv_of(i), .seq = 1, .kind = ENTRY_CREATED, .conv_kind = CONV_GROUP, .from = 1};
    enc_u64(r.entry.cid_hash, next_random(b));
    r.entry.members = members;
    r.entry.n_members = GROUP_SIZE;
    authority_apply(&b->convs[i], &r, &b->arena);
    must(convlog_put(b->lsm, (uint16_t)(i % SHARD_COUNT), &r, &b->convs[i]));
    applied(b);
}

/* Making the records is measured alone first, and taken off. */
static double run(struct bench *b, bool in_pair, bool do_put)
{
    size_t convs = in_pair ? PAIRS : GROUPS;
    double start = cpu_s();

    for (uint64_t i = 0; i < b->messages; i++) {
        size_t c = next_random(b) % convs;
        struct record r = message(b, c, &b->convs[c], in_pair);
        if (!do_put)
            continue;
        authority_apply(&b->convs[c], &r, &b->arena);
        must(convlog_put(b->lsm, (uint16_t)(c % SHARD_COUNT), &r, &b->convs[c]));
        applied(b);
    }
    return (cpu_s() - start) / (double)b->messages * 1e6;
}

static double run_replay(struct bench *b)
{
    struct convlog_replay *p;
    struct buf log = {0}, body = {0};
    struct dec d;
    double start;

    for (uint64_t i = 0; i < b->messages; i++) {
        size_t c = next_random(b) % PAIRS;
        struct record r = message(b, c, &b->convs[c], true);
        authority_apply(&b->convs[c], &r, &b->arena);
        buf_clear(&body);
        record_encode(&r, &body);
        enc_add_u8(&log, (uint8_t)(c % SHARD_COUNT));
        enc_add_field(&log, buf_get(&body));
    }
    convlog_replay_create(&p);
    start = cpu_s();
    for (d = dec_of(buf_get(&log)); d.p < d.end;) {
        uint8_t shard = dec_get_u8(&d);
        must(convlog_replay_record(p, b->lsm, shard, RECORD_ENTRY, dec_get_field(&d)));
        applied(b);
    }
    start = cpu_s() - start;
    convlog_replay_destroy(p);
    buf_deinit(&log);
    buf_deinit(&body);
    return start / (double)b->messages * 1e6;
}

static void run_reads(struct bench *b)
{
    enum { READS = 5000 };
    struct arena arena = {0};
    struct entry_list list;
    struct authority a;
    double start = cpu_s(), page, load;

    for (int i = 0; i < READS; i++) {
        size_t c = next_random(b) % PAIRS;
        struct conv_id id = conv_of(c);
        must(convlog_read(b->lsm, (uint16_t)(c % SHARD_COUNT), &id, 1, b->convs[c].head, 50, 512 * 1024, true, NULL,
                          &arena, &list));
        arena_deinit(&arena);
    }
    page = (cpu_s() - start) / READS * 1e6;
    start = cpu_s();
    for (int i = 0; i < READS; i++) {
        size_t c = next_random(b) % PAIRS;
        struct conv_id id = conv_of(c);
        must(convlog_load(b->lsm, (uint16_t)(c % SHARD_COUNT), &id, NULL, &arena, &a));
        arena_deinit(&arena);
    }
    load = (cpu_s() - start) / READS * 1e6;
    printf("  last 50 of a pair %.1f µs, authority of a pair %.1f µs\n", page, load);
}

enum mode { MODE_PAIRS, MODE_GROUPS, MODE_REPLAY };

static void run_mode(struct bench *b, enum mode mode, uint64_t messages, bool with_flush)
{
    static const char *const names[] = {"pairs", "groups of 100", "replay of pairs"};
    char dir[] = "/tmp/parley-bench-XXXXXX", command[64], *why = NULL;
    struct block_cache *cache;
    struct lsm_conf conf = {.env = env_posix(), .filter_prefix = CONVLOG_FILTER_PREFIX};
    double making, cpu;

    b->messages = messages;
    b->convs = mem_new_array(struct authority, PAIRS);
    making = run(b, mode != MODE_GROUPS, false);
    conf.memtable_bytes = with_flush ? 0 : 64 << 20;
    conf.dir = mkdtemp(dir);
    block_cache_create(256 << 20, &cache);
    conf.cache = cache;
    must(lsm_open(&conf, &b->lsm, &why));
    for (size_t i = 0; mode == MODE_GROUPS && i < GROUPS; i++)
        create_group(b, i);
    cpu = mode == MODE_REPLAY ? run_replay(b) : run(b, mode == MODE_PAIRS, true) - making;
    printf("%-16s %s: %.2f µs of CPU a message\n", names[mode],
           with_flush ? "with flush, merges" : "memtable only     ", cpu);
    if (mode == MODE_PAIRS && with_flush)
        run_reads(b);
    lsm_close(b->lsm);
    block_cache_destroy(cache);
    mem_free(b->convs);
    arena_deinit(&b->arena);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    if (system(command) != 0)
        fprintf(stderr, "bench_convlog: %s stays\n", dir);
}

int main(int argc, char **argv)
{
    struct bench b = {.random = 88172645463325252u};
    int64_t given;
    uint64_t messages = argc > 1 && str_to_i64(str_c(argv[1]), 1, 100000000, &given) ? (uint64_t)given : 1000000;

    memcpy(b.content, "{\"type\":\"text\",\"t\":\"", 20);
    memset(b.content + 20, ' ', CONTENT - 21);
    b.content[CONTENT - 1] = '}';
    for (enum mode mode = MODE_PAIRS; mode <= MODE_REPLAY; mode++) {
        run_mode(&b, mode, A_MEMTABLE, false);
        run_mode(&b, mode, messages, true);
    }
    return 0;
}
