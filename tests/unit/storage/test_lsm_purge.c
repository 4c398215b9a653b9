/* What was erased leaves the files: overwritten and deleted values are looked for in the bytes of every file of the
 * store. Values are random, so that a table has them as they are. */
#include "storage/manifest.h"
#include "tests/unit/storage/lsm_rig.h"

enum { VALUE = 64, SECRETS = 24 };

struct secret {
    char key[16], value[VALUE];
};

static void put(struct rig *r, const char *key, const char *value)
{
    assert_ok(lsm_put(r->lsm, str_c(key), str_of(value, VALUE)));
}

static void make_secret(struct secret *s, unsigned i)
{
    snprintf(s->key, sizeof s->key, "secret-%04u", i);
    env_random(env_posix(), s->value, VALUE);
}

/* Whether any file of the store holds the value. */
static bool is_in_files(const struct rig *r, const char value[VALUE])
{
    DIR *d = opendir(r->dir);
    bool found = false;

    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        struct str all = {0};
        char path[400];
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", r->dir, e->d_name);
        assert_ok(fs_read_all(env_posix()->fs, path, 64 << 20, &all));
        found |= memmem(all.p, all.len, value + 16, VALUE - 32) != NULL; /* its ends may be a part of LZ4's copies */
        mem_free((char *)(uintptr_t)all.p);
    }
    closedir(d);
    return found;
}

static uint64_t position;

static void applied(struct rig *r) { lsm_applied(r->lsm, 1, ++position); }

static void settle(struct rig *r)
{
    while (!lsm_is_clean(r->lsm)) {
        enum err err = lsm_flush(r->lsm);
        assert_true(err == ERR_OK || err == ERR_AGAIN);
        if (r->home)
            mailbox_drain(r->home);
    }
}

static void purge(struct rig *r, int64_t until)
{
    for (unsigned i = 0; i < 1000000; i++) {
        int64_t since = lsm_erased_since(r->lsm);
        if (!since || since > until)
            return;
        lsm_purge(r->lsm, until);
        if (r->home && mailbox_drain(r->home) == 0)
            usleep(100);
    }
    fail_msg("%s", "it never ended");
}

/* Secrets in one table, other keys in tables before and behind. */
static void fill(struct rig *r, struct secret *s)
{
    char key[16], value[VALUE] = {0};

    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 50; i++) {
            snprintf(key, sizeof key, "other-%u-%04u", round, i);
            put(r, key, value);
        }
        for (unsigned i = 0; round == 1 && i < SECRETS; i++) {
            make_secret(&s[i], i);
            put(r, s[i].key, s[i].value);
        }
        applied(r);
        settle(r);
    }
}

static void erase(struct rig *r, const struct secret *s, int64_t at)
{
    lsm_erased(r->lsm, at);
    for (unsigned i = 0; i < SECRETS; i++) {
        if (i % 2)
            assert_ok(lsm_put(r->lsm, str_c(s[i].key), STR("stub")));
        else
            assert_ok(lsm_delete(r->lsm, str_c(s[i].key)));
    }
    applied(r);
}

static void assert_gone(struct rig *r, const struct secret *s)
{
    struct buf value = {0};

    for (unsigned i = 0; i < SECRETS; i++) {
        assert_false(is_in_files(r, s[i].value));
        assert_int_equal(lsm_get(r->lsm, str_c(s[i].key), NULL, &value), i % 2 ? ERR_OK : ERR_NOT_FOUND);
        if (i % 2)
            assert_true(str_eq(buf_get(&value), STR("stub")));
    }
    for (unsigned round = 0; round < 3; round++) {
        char key[16];
        snprintf(key, sizeof key, "other-%u-0049", round);
        assert_ok(lsm_get(r->lsm, str_c(key), NULL, &value));
    }
    buf_deinit(&value);
}

static void purges(bool has_home)
{
    struct secret s[SECRETS];
    struct rig r;

    rig_make(&r, 1 << 20, 1 << 20, has_home);
    fill(&r, s);
    assert_int_equal(lsm_erased_since(r.lsm), 0);
    assert_true(is_in_files(&r, s[0].value));
    erase(&r, s, 1000);
    assert_int_equal(lsm_erased_since(r.lsm), 1000);
    settle(&r);
    assert_true(is_in_files(&r, s[0].value)); /* dead, and there */
    purge(&r, 1000);
    while (r.home && mailbox_drain(r.home))
        ;
    assert_int_equal(lsm_erased_since(r.lsm), 0);
    lsm_close(r.lsm);
    rig_open(&r); /* what a burial had not removed yet goes */
    assert_gone(&r, s);
    assert_int_equal(lsm_erased_since(r.lsm), 0);
    rig_drop(&r);
}

static void overwritten_and_deleted_values_leave_the_files(void **state)
{
    (void)state;
    purges(false);
}

static void they_do_so_with_workers(void **state)
{
    (void)state;
    purges(true);
}

static void what_was_erased_is_known_after_a_restart(void **state)
{
    struct secret s[SECRETS];
    struct rig r;

    (void)state;
    rig_make(&r, 1 << 20, 1 << 20, false);
    fill(&r, s);
    erase(&r, s, 1000);
    settle(&r);
    lsm_close(r.lsm);
    rig_open(&r);
    assert_int_equal(lsm_erased_since(r.lsm), 1000);
    purge(&r, 1000);
    assert_gone(&r, s);
    rig_drop(&r);
}

static void a_younger_erasing_is_not_taken_for_purged(void **state)
{
    struct secret s[SECRETS];
    struct rig r;

    (void)state;
    rig_make(&r, 1 << 20, 1 << 20, false);
    fill(&r, s);
    lsm_erased(r.lsm, 1000);
    assert_ok(lsm_delete(r.lsm, STR("other-0-0000")));
    applied(&r);
    settle(&r);
    erase(&r, s, 2000); /* in memory while the purge of what came before runs */
    purge(&r, 1000);
    assert_int_equal(lsm_erased_since(r.lsm), 2000);
    assert_true(is_in_files(&r, s[0].value));
    settle(&r);
    lsm_close(r.lsm);
    rig_open(&r);
    assert_int_equal(lsm_erased_since(r.lsm), 2000);
    purge(&r, 2000);
    assert_gone(&r, s);
    rig_drop(&r);
}

static void a_checkpoint_names_what_is_not_purged(void **state)
{
    struct secret s[SECRETS];
    struct lsm_checkpoint c;
    struct manifest m = {0};
    struct rig r;

    (void)state;
    rig_make(&r, 1 << 20, 1 << 20, false);
    fill(&r, s);
    erase(&r, s, 1000);
    settle(&r);
    lsm_checkpoint_begin(r.lsm, &c);
    assert_ok(manifest_decode(buf_get(&c.manifest), &m));
    assert_int_equal(m.erased_ms, 1000);
    manifest_deinit(&m);
    purge(&r, 1000);
    assert_true(is_in_files(&r, s[0].value)); /* a copy that is under way keeps its tables */
    lsm_checkpoint_end(r.lsm, &c);
    assert_gone(&r, s);
    rig_drop(&r);
}

static void nothing_erased_costs_nothing(void **state)
{
    struct secret s[SECRETS];
    struct lsm_stats before, after;
    struct rig r;

    (void)state;
    rig_make(&r, 1 << 20, 1 << 20, false);
    fill(&r, s);
    lsm_stats(r.lsm, &before);
    lsm_purge(r.lsm, INT64_MAX);
    lsm_stats(r.lsm, &after);
    assert_int_equal(before.compactions, after.compactions);
    assert_int_equal(before.flushes, after.flushes);
    rig_drop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(overwritten_and_deleted_values_leave_the_files),
        cmocka_unit_test(they_do_so_with_workers),
        cmocka_unit_test(what_was_erased_is_known_after_a_restart),
        cmocka_unit_test(a_younger_erasing_is_not_taken_for_purged),
        cmocka_unit_test(a_checkpoint_names_what_is_not_purged),
        cmocka_unit_test(nothing_erased_costs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
