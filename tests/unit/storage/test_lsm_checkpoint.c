#include "storage/manifest.h"
#include "storage/store_verify.h"
#include "storage/sst_read.h"
#include "tests/unit/storage/lsm_rig.h"
#include "tests/unit/storage/quiet.h"

enum { MEMTABLE = 64 << 10 };

static void put(struct rig *r, unsigned i, unsigned version)
{
    char key[40], value[300];
    enum err err;

    snprintf(key, sizeof key, "key-%08u-with-a-prefix", i);
    memset(value, 'a' + (char)(i % 26), sizeof value);
    snprintf(value, 32, "%u.%u", i, version);
    while ((err = lsm_put(r->lsm, str_c(key), str_of(value, sizeof value))) == ERR_LIMIT)
        rig_wait(r);
    assert_ok(err);
}

static void fill(struct rig *r, unsigned version, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        put(r, i, version);
        if (i % 50 == 49)
            lsm_applied(r->lsm, 1, version * 1000000 + i);
    }
    lsm_applied(r->lsm, 1, version * 1000000 + n);
    rig_flush(r);
}

static bool is_there(const char *dir, uint64_t id)
{
    char *path = sst_path(dir, id);
    bool is = access(path, F_OK) == 0;

    mem_free(path);
    return is;
}

static unsigned count_there(const char *dir, const struct manifest *m)
{
    unsigned n = 0;

    for (size_t i = 0; i < m->n_tables; i++)
        n += is_there(dir, m->tables[i].id);
    return n;
}

struct versions {
    unsigned n, version;
};

static bool check_version(void *arg, struct str key, struct str value)
{
    struct versions *v = arg;
    unsigned i, version;

    (void)key;
    assert_int_equal(sscanf(value.p, "%u.%u", &i, &version), 2);
    assert_int_equal(version, v->version);
    v->n++;
    return true;
}

PROMISE(its_tables_stay_while_they_are_merged_away_and_go_when_it_ends)
{
    struct rig r;
    struct lsm_checkpoint c;
    struct manifest m = {0};
    struct lsm *still;
    struct versions v = {0, 1};
    struct lsm_conf conf;
    struct lsm_stats stats;
    char *why = NULL;

    rig_make(&r, MEMTABLE, 1 << 20, true);
    fill(&r, 1, 800);
    lsm_checkpoint_begin(r.lsm, &c);
    assert_ok(manifest_decode(buf_get(&c.manifest), &m));
    assert_int_equal(positions_get(&m.durable, 1), 1000800);
    for (unsigned version = 2; version < 20; version++)
        fill(&r, version, 800);
    do { /* merges have a pace of their own */
        rig_wait(&r);
        lsm_stats(r.lsm, &stats);
    } while (stats.compactions < 2);
    assert_int_equal(count_there(r.dir, &m), m.n_tables);

    conf = (struct lsm_conf){.env = r.conf.env, .dir = r.dir, .cache = r.cache, .filter_prefix = RIG_PREFIX};
    assert_ok(lsm_open_still(&conf, buf_get(&c.manifest), &still, &why));
    assert_int_equal(lsm_durable(still, 1), 1000800);
    assert_ok(lsm_scan(still, STR("a"), STR("z"), 0, NULL, check_version, &v));
    assert_int_equal(v.n, 800);
    lsm_close(still);

    lsm_checkpoint_end(r.lsm, &c);
    while (count_there(r.dir, &m) == m.n_tables)
        rig_wait(&r);
    lsm_checkpoint_end(r.lsm, &c);
    manifest_deinit(&m);
    rig_drop(&r);
}

/* Puts on a store that is only looked at are seen and change nothing on the disk. */
PROMISE(a_store_that_is_looked_at_takes_puts_in_memory_alone)
{
    struct rig r;
    struct lsm_checkpoint c;
    struct lsm *live, *still;
    struct lsm_conf conf;
    struct lsm_stats stats;
    struct versions v = {0, 2};
    char *why = NULL;

    rig_make(&r, MEMTABLE, 1 << 20, false);
    fill(&r, 1, 500);
    lsm_checkpoint_begin(r.lsm, &c);
    conf = (struct lsm_conf){.env = r.conf.env, .dir = r.dir, .cache = r.cache, .filter_prefix = RIG_PREFIX};
    assert_ok(lsm_open_still(&conf, buf_get(&c.manifest), &still, &why));
    live = r.lsm;
    r.lsm = still;
    for (unsigned i = 0; i < 500; i++) {
        put(&r, i, 2);
        lsm_applied(still, 1, 2000000 + i);
    }
    r.lsm = live;
    lsm_stats(still, &stats);
    assert_int_equal(stats.flushes + stats.compactions + stats.frozen, 0);
    assert_ok(lsm_scan(still, STR("a"), STR("z"), 0, NULL, check_version, &v));
    assert_int_equal(v.n, 500);
    lsm_close(still);
    v = (struct versions){0, 1};
    assert_ok(lsm_scan(live, STR("a"), STR("z"), 0, NULL, check_version, &v));
    assert_int_equal(v.n, 500);
    assert_int_not_equal(lsm_open_still(&conf, STR("no manifest"), &still, &why), ERR_OK);
    assert_non_null(why);
    mem_free(why);
    lsm_checkpoint_end(r.lsm, &c);
    rig_drop(&r);
}

/* --- store_verify, on a store that was closed --- */

struct findings {
    unsigned damages, keys, lost;
    char file[128];
    uint64_t at[64];
};

static void on_damage(void *arg, const char *file, uint64_t at, const char *what)
{
    struct findings *f = arg;

    assert_non_null(what);
    snprintf(f->file, sizeof f->file, "%s", file);
    f->at[f->damages++ % 64] = at;
}
static void on_key(void *arg, struct str key, struct str value)
{
    (void)key;
    (void)value;
    ((struct findings *)arg)->keys++;
}
static void on_lost(void *arg, struct str after, struct str last, struct buf *out)
{
    (void)after;
    assert_true(last.len > 0);
    buf_str(out, STR(" (lost)"));
    ((struct findings *)arg)->lost++;
}

static struct findings verify(const char *dir)
{
    struct findings f = {0};
    struct damage_sink sink = {on_damage, &f};
    struct store_counts counts = {0};

    assert_ok(store_verify(&(struct store_verify){fs_posix(), dir, &sink, &f, on_key, on_lost}, &counts));
    return f;
}

static void flip(const char *path, uint64_t at)
{
    struct file *f;
    uint8_t b;

    assert_ok(fs_open(fs_posix(), path, FS_WRITE, &f));
    assert_ok(file_read_exact(f, &b, 1, at));
    b ^= 0x10;
    assert_ok(file_write(f, &b, 1, at));
    file_close(f);
}

PROMISE(every_byte_of_a_table_is_under_the_check_and_one_bad_block_hides_no_other)
{
    struct rig r;
    struct findings f;
    struct manifest m = {0};
    char *path;
    uint64_t size;

    rig_make(&r, 1 << 20, 1 << 20, false);
    fill(&r, 1, 1000);
    assert_ok(manifest_read(fs_posix(), r.dir, &m));
    assert_int_equal(m.n_tables, 1);
    size = m.tables[0].bytes;
    path = sst_path(r.dir, m.tables[0].id);
    f = verify(r.dir);
    assert_int_equal(f.damages, 0);
    assert_int_equal(f.keys, 1000);
    for (uint64_t at = 0; at < size; at += 211) {
        flip(path, at);
        int kept = quiet();
        f = verify(r.dir);
        loud(kept);
        assert_true(f.damages > 0);
        assert_string_equal(f.file, path);
        if (f.lost) { /* a data block: about 27 keys of 300 bytes are in one */
            assert_int_equal(f.lost, 1);
            assert_in_range(f.keys, 1000 - 40, 1000 - 1);
            assert_true(f.at[0] <= at && at < f.at[0] + 9000);
        }
        flip(path, at);
    }
    flip(path, 100); /* two at once: both are said */
    flip(path, size / 2);
    f = verify(r.dir);
    assert_int_equal(f.lost, 2);
    flip(path, 100);
    flip(path, size / 2);
    mem_free(path);
    manifest_deinit(&m);
    rig_drop(&r);
}

PROMISE(without_its_manifest_a_store_is_read_by_the_tables_that_are_there)
{
    struct rig r;
    struct findings f;
    char path[100];

    rig_make(&r, 1 << 20, 1 << 20, false);
    fill(&r, 1, 300);
    fill(&r, 2, 300);
    snprintf(path, sizeof path, "%s/MANIFEST", r.dir);
    flip(path, 20);
    f = verify(r.dir);
    assert_int_equal(f.damages, 1);
    assert_string_equal(f.file, path);
    assert_int_equal(f.keys, 300);
    rig_drop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(its_tables_stay_while_they_are_merged_away_and_go_when_it_ends),
        HOLDS(a_store_that_is_looked_at_takes_puts_in_memory_alone),
        HOLDS(every_byte_of_a_table_is_under_the_check_and_one_bad_block_hides_no_other),
        HOLDS(without_its_manifest_a_store_is_read_by_the_tables_that_are_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
