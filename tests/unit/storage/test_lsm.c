/* The whole engine against a sorted array that does the same: puts, overwrites, deletes, gets, scans, flushes, merges,
 * and reopening with a replay from the durable position. The seed is printed; SEED=n repeats a run. */
#include "base/enc.h"
#include "tests/unit/storage/lsm_rig.h"

enum { LOG = 7, CONVS = 12, SEQS = 64, KINDS = 2, KEYS = CONVS * SEQS * KINDS, KEY_LEN = 26 };

/* --- the model --- */

struct cell {
    bool is_live;
    uint32_t size;
    uint64_t stamp; /* what its bytes are made of */
};

struct change {
    unsigned key;
    struct cell cell;
};

struct model {
    struct cell now[KEYS];
    struct change *log; /* everything since the beginning; the position is the index */
    size_t n_log;
};

static void key_name(unsigned i, char *out)
{
    memset(out, 0, KEY_LEN);
    out[0] = (char)(i / (SEQS * KINDS) % 3); /* shard */
    out[1] = (char)(i % KINDS);
    memset(out + 2, (int)(i / (SEQS * KINDS)) + 'a', 16);
    enc_be64(out + 18, i / KINDS % SEQS);
}

static struct str value_of(struct cell c, struct buf *b)
{
    buf_clear(b);
    char *p = buf_reserve(b, c.size + 8);
    for (uint32_t i = 0; i < c.size; i += 8)
        enc_u64(p + i, c.stamp * 0x9e3779b97f4a7c15u + i / 64);
    return str_of(p, c.size);
}

/* Where keys, and the last of their conversation, were put: memtables and stores come and go meanwhile. */
static struct lsm_near of_key[KEYS], of_conv[CONVS * KINDS];

static void apply(struct lsm *l, const struct change *c, struct buf *b)
{
    char name[KEY_LEN];
    struct str key = str_of(name, KEY_LEN);
    key_name(c->key, name);
    if (!c->cell.is_live)
        assert_ok(lsm_delete(l, key));
    else if (c->cell.stamp % 3 == 0)
        assert_ok(
            lsm_put_near(l, key, value_of(c->cell, b), &of_conv[c->key / (SEQS * KINDS) * KINDS + c->key % KINDS]));
    else if (c->cell.stamp % 3 == 1)
        assert_ok(lsm_put_again(l, key, value_of(c->cell, b), &of_key[c->key]));
    else
        assert_ok(lsm_put(l, key, value_of(c->cell, b)));
}

static void check_get(struct rig *r, const struct model *m, unsigned i, bool blocking, struct buf *b)
{
    char key[KEY_LEN];
    struct buf got = {0};
    key_name(i, key);
    enum err err = blocking ? lsm_get_near(r->lsm, str_of(key, KEY_LEN), NULL, &of_key[i], &got)
                            : rig_get(r, str_of(key, KEY_LEN), &got);
    assert_int_equal(err, m->now[i].is_live ? ERR_OK : ERR_NOT_FOUND);
    if (err == ERR_OK)
        assert_true(str_eq(buf_get(&got), value_of(m->now[i], b)));
    buf_deinit(&got);
}

/* The model's keys in the store's order. */
static int by_name(const void *a, const void *b)
{
    char ka[KEY_LEN], kb[KEY_LEN];
    key_name(*(const unsigned *)a, ka);
    key_name(*(const unsigned *)b, kb);
    return memcmp(ka, kb, KEY_LEN);
}

struct expected {
    const struct model *m;
    const unsigned *sorted;
    size_t at, end, met, max;
    struct buf *b;
};

static bool next_live(struct expected *e)
{
    while (e->at < e->end && !e->m->now[e->sorted[e->at]].is_live)
        e->at++;
    return e->at < e->end;
}

static bool meet(void *arg, struct str key, struct str value)
{
    struct expected *e = arg;
    char name[KEY_LEN];
    assert_true(next_live(e));
    key_name(e->sorted[e->at], name);
    assert_true(str_eq(key, str_of(name, KEY_LEN)));
    assert_true(str_eq(value, value_of(e->m->now[e->sorted[e->at]], e->b)));
    e->at++;
    e->met++;
    return true;
}

typedef enum err scan_fn(struct lsm *l, struct str from, struct str to, size_t max, struct lsm_need *need,
                         lsm_each_fn *fn, void *arg);

static void check_scan(struct rig *r, scan_fn *scan, const struct model *m, const unsigned *sorted, size_t from,
                       size_t to, size_t max, bool blocking, struct buf *b)
{
    char key_from[KEY_LEN], key_to[KEY_LEN];
    struct expected e = {.m = m, .sorted = sorted, .at = from, .end = to, .max = max, .b = b};
    struct rig_read w = {0};
    enum err err;
    key_name(sorted[from], key_from);
    struct str end = {0};
    if (to < KEYS) {
        key_name(sorted[to], key_to);
        end = str_of(key_to, KEY_LEN);
    }
    while ((err = scan(r->lsm, str_of(key_from, KEY_LEN), end, max, blocking ? NULL : &w.need, meet, &e)) ==
           ERR_AGAIN) {
        assert_int_equal(e.met, 0);
        rig_load(r, &w);
    }
    lsm_need_deinit(&w.need);
    assert_ok(err);
    if (max == 0 || e.met < max)
        assert_false(next_live(&e));
    else
        assert_int_equal(e.met, max);
}

static uint64_t rnd(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

static void change_some(struct rig *r, struct model *m, uint64_t *seed, struct buf *b)
{
    size_t n = 1 + rnd(seed) % 40;
    m->log = mem_realloc(m->log, (m->n_log + n) * sizeof(m->log[0]));
    for (size_t i = 0; i < n; i++) {
        struct change c = {.key = (unsigned)(rnd(seed) % KEYS)};
        c.cell.is_live = rnd(seed) % 4 != 0;
        c.cell.size = (uint32_t)(rnd(seed) % 50 == 0 ? rnd(seed) % 40000 : rnd(seed) % 3 ? 64 : rnd(seed) % 300);
        c.cell.stamp = rnd(seed);
        m->log[m->n_log++] = c;
        m->now[c.key] = c.cell;
        apply(r->lsm, &c, b);
    }
    lsm_applied(r->lsm, LOG, m->n_log);
}

/* What a start does: all that the manifest does not cover is put again. */
static void reopen(struct rig *r, const struct model *m, struct buf *b)
{
    uint64_t before = lsm_durable(r->lsm, LOG);
    lsm_close(r->lsm);
    rig_open(r);
    uint64_t from = lsm_durable(r->lsm, LOG);
    assert_true(from >= before && from <= m->n_log);
    for (size_t i = from; i < m->n_log; i++) {
        apply(r->lsm, &m->log[i], b);
        lsm_applied(r->lsm, LOG, i + 1);
        rig_wait(r);
    }
}

static void compare_with_model(bool has_home, size_t cache_bytes, unsigned steps)
{
    static struct model m;
    static unsigned sorted[KEYS];
    const char *given = getenv("SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)getpid() * 1000003 + steps, first = seed;
    struct rig r;
    struct buf b = {0};
    struct lsm_stats stats;

    print_message("SEED=%llu home=%d\n", (unsigned long long)first, has_home);
    m = (struct model){0};
    for (unsigned i = 0; i < KEYS; i++)
        sorted[i] = i;
    qsort(sorted, KEYS, sizeof(sorted[0]), by_name);
    rig_make(&r, 32 << 10, cache_bytes, has_home);
    for (unsigned step = 0; step < steps; step++) {
        while (lsm_is_busy(r.lsm))
            rig_wait(&r);
        change_some(&r, &m, &seed, &b);
        if (r.home)
            mailbox_drain(r.home);
        for (int i = 0; i < 4; i++)
            check_get(&r, &m, (unsigned)(rnd(&seed) % KEYS), rnd(&seed) % 4 == 0, &b);
        size_t from = rnd(&seed) % KEYS, to = from + rnd(&seed) % 80;
        check_scan(&r, lsm_scan, &m, sorted, from, to < KEYS ? to : KEYS, rnd(&seed) % 3 ? rnd(&seed) % 60 : 0,
                   rnd(&seed) % 4 == 0, &b);
        if (to < KEYS && to > from)
            check_scan(&r, lsm_scan_run, &m, sorted, from, to, to - from, rnd(&seed) % 4 == 0, &b);
        if (rnd(&seed) % 60 == 0)
            rig_flush(&r);
        if (rnd(&seed) % 100 == 0)
            reopen(&r, &m, &b);
    }
    check_scan(&r, lsm_scan, &m, sorted, 0, KEYS, 0, false, &b);
    rig_flush(&r);
    assert_int_equal(lsm_durable(r.lsm, LOG), m.n_log);
    check_scan(&r, lsm_scan, &m, sorted, 0, KEYS, 0, true, &b);
    lsm_stats(r.lsm, &stats);
    print_message("tables=%zu compactions=%llu rounds=%u\n", stats.tables, (unsigned long long)stats.compactions,
                  r.rounds);
    assert_true(stats.tables < 40);
    mem_free(m.log);
    buf_deinit(&b);
    rig_drop(&r);
}

PROMISE(what_is_deferred_is_read_once_it_is_settled_or_applied)
{
    struct rig r;
    struct buf got = {0};

    rig_make(&r, 1 << 20, 1 << 20, false);
    assert_ok(lsm_put(r.lsm, STR("a"), STR("old")));
    lsm_defer(r.lsm);
    assert_ok(lsm_put(r.lsm, STR("b"), STR("1")));
    assert_ok(lsm_delete(r.lsm, STR("a")));
    assert_int_equal(rig_get(&r, STR("b"), &got), ERR_NOT_FOUND);
    assert_false(lsm_is_clean(r.lsm));
    lsm_settle(r.lsm);
    assert_int_equal(rig_get(&r, STR("a"), &got), ERR_NOT_FOUND);
    assert_ok(rig_get(&r, STR("b"), &got));
    lsm_defer(r.lsm);
    assert_ok(lsm_put(r.lsm, STR("a"), STR("new")));
    lsm_applied(r.lsm, LOG, 1);
    assert_ok(lsm_put(r.lsm, STR("c"), STR("2"))); /* not deferred any more */
    assert_ok(rig_get(&r, STR("a"), &got));
    assert_ok(rig_get(&r, STR("c"), &got));
    lsm_applied(r.lsm, LOG, 2);
    rig_flush(&r);
    assert_ok(rig_get(&r, STR("a"), &got));
    buf_deinit(&got);
    rig_drop(&r);
}

PROMISE(it_answers_as_a_sorted_array_does_with_background_work_inline) { compare_with_model(false, 1 << 20, 1500); }
PROMISE(it_answers_as_a_sorted_array_does_with_workers_and_hardly_any_cache)
{
    compare_with_model(true, 64 << 10, 1500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(what_is_deferred_is_read_once_it_is_settled_or_applied),
        HOLDS(it_answers_as_a_sorted_array_does_with_background_work_inline),
        HOLDS(it_answers_as_a_sorted_array_does_with_workers_and_hardly_any_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
