/* The same random workload against this engine and RocksDB, and every answer compared.
 *
 * What a model of our own can't show is a misunderstanding that model and engine share. RocksDB is the other reading of
 * what an ordered store is: without filters by prefix, with an order and an iterator of its own.
 *
 *   DIFFERENTIAL_SEED=n     repeats a run exactly (without workers: to the byte; with them the same operations, but
 * what is flushed when is up to the threads) DIFFERENTIAL_STEPS=n    how many operations a run has
 *
 * Keys are those of a message store (entries, states, cids), such as come before all others, and odd ones: 1 to 255
 * bytes, many of them 0 and 255. A reopening loses what was not flushed, and puts it again from the durable position,
 * as a start does. */
#include "base/enc.h"
#include "base/hash.h"
#include "tests/unit/storage/lsm_rig.h"
#include <rocksdb/c.h>

enum { LOG = 3, STEPS = 5000, CONVS = 30, SEQS = 120, CIDS = 1500, ODD = 400, FRONT_GROUP = 12, KEY_MAX = 255 };

/* --- what is done --- */

enum kind { ENTRY, STATE, CID, FRONT, ODD_KEY };

struct name {
    enum kind kind;
    unsigned a, b;
};

struct change {
    struct name name;
    bool is_delete, ends_batch;
    uint32_t size;
    uint64_t stamp; /* what the value's bytes are made of */
};

struct pair {
    struct rig rig;
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_readoptions_t *reading;
    rocksdb_writeoptions_t *writing;
    char rocks_dir[64];
    struct change *log; /* since the beginning; a position is an index */
    size_t n_log, cap_log;
    uint64_t first_seed, seed;
    unsigned long step;
    struct buf value, ours, theirs;
    unsigned long n_front; /* keys of FRONT so far */
    unsigned long looks, scans, pages, reopenings;
};

static uint64_t rnd(struct pair *p, uint64_t below)
{
    p->seed = p->seed * 6364136223846793005u + 1442695040888963407u;
    return (p->seed >> 33) % below;
}

static void sound(const struct pair *p, bool holds, const char *what)
{
    if (!holds)
        fail_msg("DIFFERENTIAL_SEED=%llu, step %lu: %s", (unsigned long long)p->first_seed, p->step, what);
}

static void rocks(const struct pair *p, char *error)
{
    if (error)
        fail_msg("DIFFERENTIAL_SEED=%llu, step %lu: rocksdb: %s", (unsigned long long)p->first_seed, p->step, error);
}

/* --- keys and values --- */

static struct str conv_key(unsigned conv, char space, char what, char *out)
{
    out[0] = (char)(conv % 3);
    out[1] = space;
    enc_u64(out + 2, hash_u64(conv));
    enc_u64(out + 10, hash_u64(conv + 1000));
    out[18] = what;
    return str_of(out, 19);
}

static struct str odd_key(unsigned n, char *out)
{
    static const char bytes[] = {0, 1, 'c', (char)0xfe, (char)0xff};
    uint64_t h = hash_u64(n + 77777);
    size_t len = n % 8 == 0 ? 1 + h % KEY_MAX : 1 + h % 6; /* short ones are the beginnings of others */
    for (size_t i = 0; i < len; i++)
        out[i] = bytes[hash_u64(h + i) % sizeof(bytes)];
    out[0] = (char)(out[0] ? out[0] : 2); /* before all others are those of FRONT */
    return str_of(out, len);
}

static struct str key_of(struct name n, char *out)
{
    switch (n.kind) {
    case ENTRY:
        conv_key(n.a, 'c', 9, out);
        enc_be64(out + 19, n.b);
        return str_of(out, 27);
    case STATE:
        return conv_key(n.a, 'c', 1, out);
    case CID:
        conv_key(n.a + 500000, 'i', 0, out);
        return str_of(out, 18);
    case FRONT: /* groups that ascend, each before all groups there were */
        memset(out, 0, 8);
        enc_be64(out + 8, (uint64_t)(UINT32_MAX - n.a) << 32 | n.b);
        return str_of(out, 16);
    case ODD_KEY:
        break;
    }
    return odd_key(n.a, out);
}

/* The next one, or one of the last few groups. */
static struct name front_name(struct pair *p)
{
    unsigned long n = rnd(p, 2) || p->n_front == 0 ? p->n_front++ : p->n_front - 1 - rnd(p, p->n_front) % 600;
    return (struct name){FRONT, (unsigned)(n / FRONT_GROUP), (unsigned)(n % FRONT_GROUP)};
}

static struct name any_name(struct pair *p)
{
    uint64_t c = rnd(p, 10);
    if (c < 5)
        return (struct name){ENTRY, (unsigned)rnd(p, CONVS), (unsigned)rnd(p, SEQS)};
    if (c < 6)
        return (struct name){STATE, (unsigned)rnd(p, CONVS), 0};
    if (c < 7)
        return (struct name){CID, (unsigned)rnd(p, CIDS), 0};
    if (c < 9)
        return front_name(p);
    return (struct name){ODD_KEY, (unsigned)rnd(p, ODD), 0};
}

static uint32_t any_size(struct pair *p, enum kind kind)
{
    if (kind == STATE || kind == CID)
        return 16; /* of one size, so that it is overwritten where it is */
    switch (rnd(p, 200)) {
    case 0:
        return (uint32_t)rnd(p, 100000);
    case 1:
        return (uint32_t)(8100 + rnd(p, 200)); /* about a block's size */
    case 2:
        return 0;
    default:
        return (uint32_t)rnd(p, 300);
    }
}

static struct str value_of(struct pair *p, const struct change *c)
{
    buf_clear(&p->value);
    char *at = buf_reserve(&p->value, c->size + 8);
    for (uint32_t i = 0; i < c->size; i += 8)
        enc_u64(at + i, hash_u64(c->stamp + i / 32));
    return str_of(at, c->size);
}

/* --- the two sides --- */

static void open_rocks(struct pair *p)
{
    char *error = NULL;
    p->db = rocksdb_open(p->options, p->rocks_dir, &error);
    rocks(p, error);
}

static void set_up(struct pair *p, bool has_home, size_t cache_bytes)
{
    const char *seed = getenv("DIFFERENTIAL_SEED");
    *p = (struct pair){0};
    env_random(env_posix(), &p->first_seed, sizeof(p->first_seed));
    p->first_seed = p->seed = seed ? strtoull(seed, NULL, 10) : p->first_seed;
    print_message("DIFFERENTIAL_SEED=%llu workers=%d\n", (unsigned long long)p->first_seed, has_home);
    rig_make(&p->rig, (size_t)(64 << 10) << p->first_seed % 6, cache_bytes, has_home);
    snprintf(p->rocks_dir, sizeof(p->rocks_dir), "/tmp/parley-rocks-XXXXXX");
    assert_non_null(mkdtemp(p->rocks_dir));
    p->options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(p->options, 1);
    rocksdb_options_set_write_buffer_size(p->options, 256 << 10);
    p->reading = rocksdb_readoptions_create();
    p->writing = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(p->writing, 1); /* it flushes when it is closed */
    open_rocks(p);
}

static void tear_down(struct pair *p)
{
    rig_drop(&p->rig);
    rocksdb_close(p->db);
    rocksdb_options_destroy(p->options);
    rocksdb_readoptions_destroy(p->reading);
    rocksdb_writeoptions_destroy(p->writing);
    rig_remove(p->rocks_dir);
    buf_deinit(&p->value);
    buf_deinit(&p->ours);
    buf_deinit(&p->theirs);
    mem_free(p->log);
}

static void wait_while_busy(struct pair *p)
{
    while (lsm_is_busy(p->rig.lsm))
        rig_wait(&p->rig);
}

static void apply_ours(struct pair *p, size_t i)
{
    char key[KEY_MAX];
    const struct change *c = &p->log[i];
    struct str k = key_of(c->name, key);
    enum err err = c->is_delete ? lsm_delete(p->rig.lsm, k) : lsm_put(p->rig.lsm, k, value_of(p, c));
    sound(p, err == ERR_OK, err_name(err));
    if (c->ends_batch)
        lsm_applied(p->rig.lsm, LOG, i + 1);
}

static void apply_theirs(struct pair *p, const struct change *c)
{
    char key[KEY_MAX], *error = NULL;
    struct str k = key_of(c->name, key), v = value_of(p, c);
    if (c->is_delete)
        rocksdb_delete(p->db, p->writing, k.p, k.len, &error);
    else
        rocksdb_put(p->db, p->writing, k.p, k.len, v.p, v.len, &error);
    rocks(p, error);
}

static void change_some(struct pair *p)
{
    size_t n = 1 + rnd(p, 60);
    wait_while_busy(p);
    while (p->n_log + n > p->cap_log) {
        p->cap_log = p->cap_log ? 2 * p->cap_log : 1024;
        p->log = mem_realloc(p->log, p->cap_log * sizeof(p->log[0]));
    }
    for (size_t i = 0; i < n; i++) {
        struct change *c = &p->log[p->n_log];
        *c = (struct change){.name = any_name(p), .is_delete = rnd(p, 4) == 0, .ends_batch = i + 1 == n};
        c->size = c->is_delete ? 0 : any_size(p, c->name.kind);
        c->stamp = rnd(p, UINT32_MAX);
        apply_theirs(p, c);
        apply_ours(p, p->n_log++);
    }
    if (p->rig.home)
        mailbox_drain(p->rig.home);
}

/* --- answers, as bytes that can be compared --- */

static void note(struct buf *b, struct str key, struct str value)
{
    enc_add_field(b, key);
    enc_add_field(b, value);
}

static bool note_ours(void *arg, struct str key, struct str value)
{
    note(arg, key, value);
    return true;
}

/* An iterator stands somewhere: its key and value. */
static bool standing(rocksdb_iterator_t *it, struct str *key, struct str *value)
{
    if (!rocksdb_iter_valid(it))
        return false;
    key->p = rocksdb_iter_key(it, &key->len);
    value->p = rocksdb_iter_value(it, &value->len);
    return true;
}

static void compare_get(struct pair *p)
{
    char name[KEY_MAX], *error = NULL;
    struct str key = key_of(any_name(p), name);
    size_t len = 0;
    buf_clear(&p->ours);
    enum err err = rnd(p, 2) ? lsm_get(p->rig.lsm, key, NULL, &p->ours) : rig_get(&p->rig, key, &p->ours);
    char *theirs = rocksdb_get(p->db, p->reading, key.p, key.len, &len, &error);
    rocks(p, error);
    sound(p, err == (theirs ? ERR_OK : ERR_NOT_FOUND), "only one of them has a key");
    sound(p, !theirs || str_eq(buf_get(&p->ours), str_of(theirs, len)), "a value differs");
    rocksdb_free(theirs);
    p->looks++;
}

typedef enum err scan_fn(struct lsm *l, struct str from, struct str to, size_t max, struct lsm_need *need,
                         lsm_each_fn *fn, void *arg);

/* Without waiting for blocks, or waiting; if not, each miss is loaded and the scan repeated. */
static void scan_ours(struct pair *p, scan_fn *scan, struct str from, struct str to, size_t max)
{
    struct rig_read w = {0};
    struct lsm_need *need = rnd(p, 2) ? &w.need : NULL;
    enum err err;
    buf_clear(&p->ours);
    while ((err = scan(p->rig.lsm, from, to, max, need, note_ours, &p->ours)) == ERR_AGAIN) {
        sound(p, p->ours.len == 0, "half a scan was told");
        rig_load(&p->rig, &w);
    }
    lsm_need_deinit(&w.need);
    sound(p, err == ERR_OK, err_name(err));
}

static void compare_range(struct pair *p, struct str from, struct str to, size_t max)
{
    struct str key, value;
    size_t n = 0;
    scan_ours(p, lsm_scan, from, to, max);
    buf_clear(&p->theirs);
    rocksdb_iterator_t *it = rocksdb_create_iterator(p->db, p->reading);
    for (rocksdb_iter_seek(it, from.p, from.len); standing(it, &key, &value); rocksdb_iter_next(it), n++) {
        if ((to.len && str_cmp(key, to) >= 0) || (max && n == max))
            break;
        note(&p->theirs, key, value);
    }
    rocksdb_iter_destroy(it);
    sound(p, str_eq(buf_get(&p->ours), buf_get(&p->theirs)), "a scan differs");
    p->scans++;
}

static void compare_scan(struct pair *p)
{
    char a[KEY_MAX], b[KEY_MAX];
    struct name first = any_name(p), second = any_name(p);
    if (rnd(p, 2) && first.kind == ENTRY)
        second = (struct name){ENTRY, first.a, (unsigned)rnd(p, SEQS)}; /* the same conversation: filters help */
    struct str from = key_of(first, a), to = key_of(second, b);
    if (str_cmp(from, to) > 0) {
        struct str t = from;
        from = to;
        to = t;
    }
    if (rnd(p, 10) == 0)
        to = (struct str){0};
    compare_range(p, from, to, rnd(p, 3) ? 1 + rnd(p, 80) : rnd(p, 10) ? 200 : 0);
}

/* A page backwards: the message store knows which seqs a page has and asks for these; RocksDB walks back from the
 * page's end. */
static void compare_page(struct pair *p)
{
    char a[KEY_MAX], b[KEY_MAX];
    unsigned conv = (unsigned)rnd(p, CONVS), n = 1 + (unsigned)rnd(p, 60), end = 1 + (unsigned)rnd(p, SEQS + 5);
    unsigned first = end > n ? end - n : 0;
    struct str from = key_of((struct name){ENTRY, conv, first}, a), to = key_of((struct name){ENTRY, conv, end}, b);
    struct str key, value;
    struct buf back[64];
    size_t met = 0;

    scan_ours(p, lsm_scan_run, from, to, end - first);
    buf_clear(&p->theirs);
    rocksdb_iterator_t *it = rocksdb_create_iterator(p->db, p->reading);
    rocksdb_iter_seek_for_prev(it, to.p, to.len);
    if (standing(it, &key, &value) && str_eq(key, to))
        rocksdb_iter_prev(it);
    for (; standing(it, &key, &value) && str_cmp(key, from) >= 0 && met < 64; rocksdb_iter_prev(it), met++) {
        back[met] = (struct buf){0};
        note(&back[met], key, value);
    }
    rocksdb_iter_destroy(it);
    for (; met > 0; met--) {
        buf_str(&p->theirs, buf_get(&back[met - 1]));
        buf_deinit(&back[met - 1]);
    }
    sound(p, str_eq(buf_get(&p->ours), buf_get(&p->theirs)), "a page differs");
    p->pages++;
}

/* --- flushes, reopening --- */

static void reopen(struct pair *p)
{
    lsm_close(p->rig.lsm);
    rig_open(&p->rig);
    for (size_t i = lsm_durable(p->rig.lsm, LOG); i < p->n_log; i++) {
        if (i == 0 || p->log[i - 1].ends_batch)
            wait_while_busy(p);
        apply_ours(p, i);
    }
    rocksdb_close(p->db);
    open_rocks(p);
    p->reopenings++;
}

static void flush_theirs(struct pair *p)
{
    char *error = NULL;
    rocksdb_flushoptions_t *o = rocksdb_flushoptions_create();
    rocksdb_flush(p->db, o, &error);
    rocks(p, error);
    rocksdb_flushoptions_destroy(o);
    if (rnd(p, 4) == 0)
        rocksdb_compact_range(p->db, NULL, 0, NULL, 0);
}

static void step(struct pair *p)
{
    uint64_t c = rnd(p, 1000);
    if (c < 300)
        change_some(p);
    else if (c < 600)
        compare_get(p);
    else if (c < 780)
        compare_page(p);
    else if (c < 990)
        compare_scan(p);
    else if (c < 997)
        rig_flush(&p->rig);
    else if (c < 999)
        flush_theirs(p);
    else
        reopen(p);
}

static void run(bool has_home, size_t cache_bytes)
{
    const char *given = getenv("DIFFERENTIAL_STEPS");
    unsigned long steps = given ? strtoul(given, NULL, 10) : STEPS;
    struct pair p;
    struct lsm_stats s;

    set_up(&p, has_home, cache_bytes);
    for (; p.step < steps; p.step++)
        step(&p);
    compare_range(&p, (struct str){0}, (struct str){0}, 0);
    reopen(&p);
    compare_range(&p, (struct str){0}, (struct str){0}, 0);
    lsm_stats(p.rig.lsm, &s);
    print_message("%zu changes, %lu gets, %lu pages, %lu scans, %lu reopenings; %zu tables\n", p.n_log, p.looks,
                  p.pages, p.scans, p.reopenings, s.tables);
    tear_down(&p);
}

PROMISE(it_answers_as_rocksdb_does_with_background_work_inline) { run(false, 1 << 20); }
PROMISE(it_answers_as_rocksdb_does_with_workers_and_hardly_any_cache) { run(true, 64 << 10); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(it_answers_as_rocksdb_does_with_background_work_inline),
        HOLDS(it_answers_as_rocksdb_does_with_workers_and_hardly_any_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
