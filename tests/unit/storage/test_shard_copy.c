/* One shard's keys from a store that is written to meanwhile into another. The seed is printed; SEED=n repeats a run.
 */
#include "storage/shard_copy.h"
#include "base/enc.h"
#include "tests/unit/storage/lsm_rig.h"

enum { SHARD = 255, OTHER = 254, KEYS = 4000, KEY_LEN = 26, LOG = 3 };

static uint64_t state;

static uint64_t draw(uint64_t below)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % below;
}

static struct str key_of(char out[KEY_LEN], unsigned shard, unsigned i)
{
    memset(out, 'c', KEY_LEN);
    out[0] = (char)shard;
    enc_be64(out + 18, i);
    return str_of(out, KEY_LEN);
}

static void change(struct lsm *l, unsigned shard)
{
    char key[KEY_LEN], value[200];
    struct str k = key_of(key, shard, (unsigned)draw(KEYS));

    for (size_t i = 0; i < sizeof value; i += 8)
        enc_u64(value + i, draw(1u << 30));
    if (draw(4) == 0)
        assert_ok(lsm_delete(l, k));
    else
        assert_ok(lsm_put(l, k, str_of(value, 1 + draw(sizeof value))));
    if (draw(16) == 0)
        lsm_applied(l, LOG, lsm_position(l, LOG) + 1);
}

static void rig_done(struct lsm_need *n) { (void)n; } /* a store without a home loads at once */

static bool note(void *arg, struct str key, struct str value)
{
    struct buf *b = arg;

    enc_add_field(b, key);
    enc_add_field(b, value);
    return true;
}

static void contents(struct lsm *l, unsigned shard, struct buf *out)
{
    char from = (char)shard, to = (char)(shard + 1);

    buf_clear(out);
    assert_ok(lsm_scan(l, str_of(&from, 1), str_of(&to, shard < 255), 0, NULL, note, out));
}

static void assert_same(struct lsm *a, struct lsm *b, unsigned shard)
{
    struct buf x = {0}, y = {0};

    contents(a, shard, &x);
    contents(b, shard, &y);
    assert_true(x.len > 0);
    assert_true(str_eq(buf_get(&x), buf_get(&y)));
    buf_deinit(&x);
    buf_deinit(&y);
}

/* With needs, as on a reactor: between two rounds of a scan the store changes. */
static void scan(struct shard_copy *c, unsigned changes)
{
    struct lsm_need need = {.done = rig_done};

    while (shard_copy_scan(c, 4096, &need) == ERR_AGAIN) {
        for (unsigned i = 0; i < changes; i++)
            change(c->from, SHARD);
        lsm_need_load(&need);
    }
    assert_int_equal(need.err, ERR_OK);
    lsm_need_deinit(&need);
}

static void drain(struct shard_copy *c, struct lsm *to)
{
    size_t at = 0;

    assert_ok(shard_copy_apply(to, buf_get(&c->out), &at));
    assert_int_equal(at, c->out.len);
    buf_clear(&c->out);
    lsm_applied(to, LOG, lsm_position(to, LOG) + 1);
}

static void test_a_copy_has_what_the_shard_has_whatever_is_written_meanwhile(void **s)
{
    struct rig a, b;
    struct shard_copy c;

    (void)s;
    state = getenv("SEED") ? (uint64_t)strtoull(getenv("SEED"), NULL, 10) : (uint64_t)getpid();
    print_message("SEED=%llu\n", (unsigned long long)state);
    rig_make(&a, 64 << 10, 256 << 10, false);
    rig_make(&b, 64 << 10, 256 << 10, false);
    for (unsigned i = 0; i < 3 * KEYS; i++)
        change(a.lsm, i % 3 ? SHARD : OTHER);
    shard_copy_begin(&c, a.lsm, SHARD);
    while (!c.is_through) {
        scan(&c, 5);
        for (unsigned i = 0; i < 50; i++)
            change(a.lsm, i % 3 ? SHARD : OTHER);
        if (draw(2))
            drain(&c, b.lsm);
    }
    for (unsigned i = 0; i < KEYS; i++) {
        change(a.lsm, SHARD);
        if (draw(64) == 0)
            drain(&c, b.lsm);
    }
    drain(&c, b.lsm);
    assert_same(a.lsm, b.lsm, SHARD);
    shard_copy_end(&c);
    change(a.lsm, SHARD);
    assert_int_equal(c.out.len, 0);
    {
        struct buf none = {0};
        contents(b.lsm, OTHER, &none);
        assert_int_equal(none.len, 0);
        buf_deinit(&none);
    }
    rig_drop(&a);
    rig_drop(&b);
}

static void test_a_clean_up_deletes_the_shard_and_nothing_else(void **s)
{
    struct shard_clean clean = {.shard = OTHER};
    struct buf before = {0}, after = {0};
    struct rig a;

    (void)s;
    state = 7;
    rig_make(&a, 64 << 10, 256 << 10, false);
    for (unsigned i = 0; i < 3 * KEYS; i++)
        change(a.lsm, i % 3 ? SHARD : OTHER);
    contents(a.lsm, SHARD, &before);
    while (!clean.is_done) {
        struct lsm_need need = {.done = rig_done};

        while (shard_clean_some(a.lsm, &clean, &need) == ERR_AGAIN)
            lsm_need_load(&need);
        assert_int_equal(need.err, ERR_OK);
        lsm_need_deinit(&need);
        lsm_applied(a.lsm, LOG, lsm_position(a.lsm, LOG) + 1);
    }
    assert_true(clean.keys > 1024);
    contents(a.lsm, OTHER, &after);
    assert_int_equal(after.len, 0);
    contents(a.lsm, SHARD, &after);
    assert_true(str_eq(buf_get(&before), buf_get(&after)));
    buf_deinit(&before);
    buf_deinit(&after);
    rig_drop(&a);
}

static void test_bytes_that_no_copy_wrote_are_refused(void **s)
{
    struct buf bytes = {0};
    struct rig a;
    size_t at = 0;

    (void)s;
    rig_make(&a, 64 << 10, 256 << 10, false);
    enc_add_u8(&bytes, 9);
    enc_add_field(&bytes, STR("key"));
    enc_add_field(&bytes, STR("value"));
    assert_int_equal(shard_copy_apply(a.lsm, buf_get(&bytes), &at), ERR_CORRUPT);
    bytes.p[0] = 1;
    assert_int_equal(shard_copy_apply(a.lsm, str_of(bytes.p, bytes.len - 1), &at), ERR_CORRUPT);
    assert_int_equal(at, 0);
    assert_ok(shard_copy_apply(a.lsm, buf_get(&bytes), &at));
    buf_deinit(&bytes);
    rig_drop(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_copy_has_what_the_shard_has_whatever_is_written_meanwhile),
        cmocka_unit_test(test_a_clean_up_deletes_the_shard_and_nothing_else),
        cmocka_unit_test(test_bytes_that_no_copy_wrote_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
