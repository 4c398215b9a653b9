#include "storage/manifest.h"
#include "tests/lib/faultfs.h"
#include "tests/lib/unit.h"
#include <unistd.h>

static void fill(struct manifest *m, uint64_t generation)
{
    *m = (struct manifest){.generation = generation, .next_table = 100 + generation, .n_tables = 5};
    m->tables = mem_new_array(struct manifest_table, 5);
    for (uint64_t i = 0; i < 5; i++)
        m->tables[i] = (struct manifest_table){.id = generation * 10 + i, .bytes = 1000 + i};
    positions_set(&m->durable, 3, generation * 1000);
    positions_set(&m->durable, 1, 77);
}

static void is_generation(const struct manifest *m, uint64_t generation)
{
    struct manifest want;
    fill(&want, generation);
    assert_int_equal(m->generation, want.generation);
    assert_int_equal(m->next_table, want.next_table);
    assert_int_equal(m->n_tables, want.n_tables);
    assert_memory_equal(m->tables, want.tables, 5 * sizeof(m->tables[0]));
    assert_true(positions_eq(&m->durable, &want.durable));
    manifest_deinit(&want);
}

static void encode(uint64_t generation, struct buf *out)
{
    struct manifest m;
    fill(&m, generation);
    buf_clear(out);
    manifest_encode(&m, out);
    manifest_deinit(&m);
}

PROMISE(what_was_written_is_read)
{
    struct buf b = {0};
    struct manifest m = {0};
    encode(4, &b);
    assert_ok(manifest_decode(buf_get(&b), &m));
    is_generation(&m, 4);
    manifest_deinit(&m);
    buf_deinit(&b);
}

PROMISE(every_flipped_bit_and_every_cut_is_damage)
{
    struct buf b = {0};
    struct manifest m = {0};
    encode(4, &b);
    for (size_t bit = 0; bit < b.len * 8; bit++) {
        b.p[bit / 8] = (char)(b.p[bit / 8] ^ 1 << bit % 8);
        assert_int_equal(manifest_decode(buf_get(&b), &m), ERR_CORRUPT);
        b.p[bit / 8] = (char)(b.p[bit / 8] ^ 1 << bit % 8);
    }
    for (size_t len = 0; len < b.len; len++)
        assert_int_equal(manifest_decode(str_of(b.p, len), &m), ERR_CORRUPT);
    assert_null(m.tables);
    buf_deinit(&b);
}

PROMISE(positions_are_set_found_and_forgotten)
{
    struct positions p = {0}, q = {0};
    assert_int_equal(positions_get(&p, 5), 0);
    positions_set(&p, 5, 50);
    positions_set(&p, 6, 60);
    positions_set(&p, 5, 55);
    positions_copy(&p, &q);
    assert_true(positions_eq(&p, &q));
    positions_forget(&q, 5);
    assert_false(positions_eq(&p, &q));
    assert_int_equal(positions_get(&q, 5), 0);
    assert_int_equal(positions_get(&q, 6), 60);
    positions_set(&q, 9, 55);
    assert_false(positions_eq(&p, &q));
    positions_forget(&q, 1);
    positions_deinit(&p);
    positions_deinit(&q);
}

/* Lets the n-th call and all behind it fail, as if the process had died there, for every n. */
PROMISE(a_switch_that_stops_anywhere_leaves_the_old_one_or_the_new)
{
    char dir[] = "/tmp/parley-manifest-XXXXXX", path[80];
    struct faultfs *f;
    struct buf old = {0}, new = {0};
    bool met_old = false, met_new = false;
    assert_non_null(mkdtemp(dir));
    faultfs_create(fs_posix(), &f);
    encode(1, &old);
    encode(2, &new);
    for (uint64_t n = 1;; n++) {
        struct manifest m = {0};
        faultfs_heal(f);
        assert_ok(manifest_switch(faultfs_fs(f), dir, buf_get(&old)));
        faultfs_fail(f, FAULT_ALL, n, UINT64_MAX, ERR_IO);
        enum err err = manifest_switch(faultfs_fs(f), dir, buf_get(&new));
        bool has_failed = faultfs_has_failed(f);
        faultfs_heal(f);
        assert_ok(manifest_read(faultfs_fs(f), dir, &m));
        is_generation(&m, m.generation == 1 && err != ERR_OK ? 1 : 2);
        met_old = met_old || m.generation == 1;
        met_new = met_new || m.generation == 2;
        manifest_deinit(&m);
        if (!has_failed)
            break;
    }
    assert_true(met_old && met_new);
    snprintf(path, sizeof(path), "%s/MANIFEST", dir);
    unlink(path);
    rmdir(dir);
    faultfs_destroy(f);
    buf_deinit(&old);
    buf_deinit(&new);
}

PROMISE(where_there_is_none_it_says_so)
{
    struct manifest m = {0};
    assert_int_equal(manifest_read(fs_posix(), "/nonexistent", &m), ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(what_was_written_is_read),
        HOLDS(every_flipped_bit_and_every_cut_is_damage),
        HOLDS(positions_are_set_found_and_forgotten),
        HOLDS(a_switch_that_stops_anywhere_leaves_the_old_one_or_the_new),
        HOLDS(where_there_is_none_it_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
