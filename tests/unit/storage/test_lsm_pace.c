/* The pace of merges as the store keeps it: with workers, on the real clock, without asking how long anything took. */
#include "tests/unit/storage/lsm_rig.h"

enum { MEMTABLE = 256 << 10, VALUE = 1000 };

static void write_memtable(struct rig *r, uint64_t *n)
{
    char key[32], value[VALUE];
    for (unsigned i = 0; i < MEMTABLE / VALUE; i++, ++*n) {
        for (unsigned k = 0; k < VALUE; k++) /* not to be compressed */
            value[k] = (char)((*n * 2654435761u + k * 40503u) >> (k % 13));
        snprintf(key, sizeof(key), "%020llu", (unsigned long long)(*n * 7919 % 1000003));
        assert_ok(lsm_put(r->lsm, str_c(key), str_of(value, VALUE)));
    }
    lsm_applied(r->lsm, 1, *n);
    rig_flush(r);
}

PROMISE(merges_at_a_bandwidth_end_and_lose_nothing)
{
    struct rig r;
    struct lsm_stats s;
    uint64_t n = 0;
    rig_make(&r, MEMTABLE, 1 << 20, true);
    lsm_close(r.lsm);
    r.conf.merge_rate = 4 << 20;
    rig_open(&r);
    for (int i = 0; i < 24; i++)
        write_memtable(&r, &n);
    do {
        rig_wait(&r);
        lsm_stats(r.lsm, &s);
    } while (s.merge_debt > 0);
    assert_true(s.compactions >= 2);
    assert_true(s.tables < 16);
    assert_int_equal(s.entries, n);
    rig_drop(&r);
}

PROMISE(a_store_with_a_step_that_is_not_due_can_be_closed_and_has_all_when_opened_again)
{
    struct rig r;
    uint64_t n = 0;
    struct lsm_stats s;
    rig_make(&r, MEMTABLE, 1 << 20, true);
    lsm_close(r.lsm);
    r.conf.merge_rate = 1;
    rig_open(&r);
    for (int i = 0; i < 8; i++)
        write_memtable(&r, &n);
    do {
        rig_wait(&r);
        lsm_stats(r.lsm, &s);
    } while (s.merges == 0 && s.compactions == 0);
    lsm_close(r.lsm);
    mailbox_drain(r.home);
    rig_open(&r);
    lsm_stats(r.lsm, &s);
    assert_int_equal(s.entries, n);
    rig_drop(&r);
}

/* The eighth table starts a merge; the ninth memtable is flushed when that has ended. */
PROMISE(a_writer_that_is_faster_than_merges_waits_for_them_before_there_are_too_many_tables)
{
    struct rig r;
    struct lsm_stats s;
    uint64_t n = 0;
    rig_make(&r, MEMTABLE, 1 << 20, true);
    lsm_close(r.lsm);
    mailbox_drain(r.home);
    r.conf.merge_rate = 1;
    r.conf.tables_max = 8;
    rig_open(&r);
    for (int i = 0; i < 40; i++) {
        write_memtable(&r, &n);
        lsm_stats(r.lsm, &s);
        assert_true(s.tables <= 8 + s.compactions); /* eight flushed ones, and what merges made */
    }
    assert_int_equal(s.entries, n);
    assert_true(s.compactions > 0);
    rig_drop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(merges_at_a_bandwidth_end_and_lose_nothing),
        HOLDS(a_writer_that_is_faster_than_merges_waits_for_them_before_there_are_too_many_tables),
        HOLDS(a_store_with_a_step_that_is_not_due_can_be_closed_and_has_all_when_opened_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
