#include "storage/placement.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <unistd.h>

struct fixture {
    struct env *env;
    char root[64], path[96];
    struct data_dir dir;
    char *why;
};

static int make_folder(void **state)
{
    struct fixture *f = mem_new(struct fixture);

    f->env = env_posix();
    snprintf(f->root, sizeof f->root, "/tmp/parley-placement-XXXXXX");
    assert_non_null(mkdtemp(f->root));
    snprintf(f->path, sizeof f->path, "%s/a/data", f->root);
    *state = f;
    return 0;
}

static int remove_folder(void **state)
{
    struct fixture *f = *state;
    char command[128];

    data_dir_close(&f->dir);
    mem_free(f->why);
    snprintf(command, sizeof command, "rm -rf %s", f->root);
    assert_int_equal(system(command), 0);
    mem_free(f);
    return 0;
}

static enum err reopen(struct fixture *f, unsigned n_stores)
{
    mem_free(f->why);
    data_dir_close(&f->dir);
    return data_dir_open(f->env, f->path, n_stores, &f->dir, &f->why);
}

static void write_as(struct fixture *f, const char *name, const char *text)
{
    char path[192];

    snprintf(path, sizeof path, "%s/%s", f->path, name);
    assert_int_equal(fs_replace(f->env->fs, path, str_c(text)), ERR_OK);
}

static void remove_file(struct fixture *f, const char *name)
{
    char path[192];

    snprintf(path, sizeof path, "%s/%s", f->path, name);
    assert_int_equal(unlink(path), 0);
}

static void a_new_folder_is_the_same_when_opened_again(void **state)
{
    struct fixture *f = *state;
    struct data_dir first;
    char epoch[64];

    assert_int_equal(reopen(f, 4), ERR_OK);
    first = f->dir;
    snprintf(epoch, sizeof epoch, "%s", first.epoch);
    assert_int_equal(strlen(epoch), 16);
    assert_int_equal(reopen(f, 4), ERR_OK);
    assert_string_equal(f->dir.epoch, epoch);
    assert_memory_equal(&f->dir.keys, &first.keys, sizeof first.keys);
    assert_memory_equal(f->dir.store_of, first.store_of, sizeof first.store_of);
    assert_int_equal(f->dir.n_stores, 4);
    assert_string_equal(f->dir.stores[3], "store3");
    assert_int_equal(reopen(f, 0), ERR_OK);
    assert_int_equal(f->dir.n_stores, 4);
    char path[192];
    snprintf(path, sizeof path, "%s/secret.key", f->path);
    assert_int_equal(access(path, R_OK | W_OK), 0);
    snprintf(path, sizeof path, "%s/stores/store2", f->path);
    assert_int_equal(access(path, X_OK), 0);
}

static void two_folders_share_neither_keys_nor_epoch(void **state)
{
    struct fixture *f = *state;
    struct data_dir other = {0};
    char path[96], *why = NULL;
    struct conv_id a, b;

    assert_int_equal(reopen(f, 2), ERR_OK);
    snprintf(path, sizeof path, "%s/b", f->root);
    assert_int_equal(data_dir_open(f->env, path, 2, &other, &why), ERR_OK);
    assert_string_not_equal(f->dir.epoch, other.epoch);
    pair_conv(&f->dir.keys, 1, 2, &a);
    pair_conv(&other.keys, 1, 2, &b);
    assert_false(conv_eq(&a, &b));
    data_dir_close(&other);
}

static void a_folder_in_use_is_locked(void **state)
{
    struct fixture *f = *state;
    struct data_dir second = {0};
    char *why = NULL;

    assert_int_equal(reopen(f, 4), ERR_OK);
    assert_int_equal(data_dir_open(f->env, f->path, 4, &second, &why), ERR_LOCKED);
    assert_non_null(strstr(why, f->path));
    mem_free(why);
    data_dir_close(&f->dir);
    assert_int_equal(data_dir_open(f->env, f->path, 4, &second, &why), ERR_OK);
    data_dir_close(&second);
}

static void another_number_of_stores_is_refused(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(reopen(f, STORES_MAX + 1), ERR_INVALID);
    assert_int_equal(reopen(f, 0), ERR_INVALID);
    assert_int_equal(reopen(f, 4), ERR_OK);
    assert_int_equal(reopen(f, 5), ERR_INVALID);
    assert_non_null(strstr(f->why, "4 stores"));
    assert_int_equal(reopen(f, 4), ERR_OK); /* the refusal let go of the lock */
}

static void damage_is_named_and_never_replaced(void **state)
{
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "{\"version\":1}",
        "{\"version\":2,\"epoch\":\"x\",\"shards\":255}",
        "{\"version\":2,\"epoch\":\"\",\"shards\":256}",
        "{\"version\":2,\"epoch\":7,\"shards\":256}",
    };
    struct fixture *f = *state;

    assert_int_equal(reopen(f, 4), ERR_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_as(f, "parley.json", bad[i]);
        assert_int_equal(reopen(f, 0), ERR_CORRUPT);
        assert_non_null(strstr(f->why, "parley.json"));
    }
    write_as(f, "parley.json", "{\"version\":3,\"epoch\":\"x\",\"shards\":256}");
    assert_int_equal(reopen(f, 0), ERR_UNSUPPORTED);
    remove_file(f, "parley.json");
    assert_int_equal(reopen(f, 4), ERR_CORRUPT);
    assert_non_null(strstr(f->why, "is missing"));
}

static void a_lost_key_is_damage(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(reopen(f, 4), ERR_OK);
    write_as(f, "secret.key", "short");
    assert_int_equal(reopen(f, 4), ERR_CORRUPT);
    remove_file(f, "secret.key");
    assert_int_equal(reopen(f, 4), ERR_CORRUPT);
    assert_non_null(strstr(f->why, "secret.key"));
}

static void a_lost_or_damaged_placement_is_damage_and_never_replaced(void **state)
{
    struct fixture *f = *state;
    char path[192];

    snprintf(path, sizeof path, "%s/placement", f->path);
    assert_int_equal(reopen(f, 4), ERR_OK);
    write_as(f, "placement", "PRLYPLAC and more that nobody wrote");
    assert_int_equal(reopen(f, 4), ERR_CORRUPT);
    assert_non_null(strstr(f->why, "/placement is damaged"));
    remove_file(f, "placement");
    assert_int_equal(reopen(f, 4), ERR_CORRUPT);
    assert_non_null(strstr(f->why, "/placement is missing"));
    assert_int_not_equal(access(path, F_OK), 0);
}

/* Not what the ring would say of these names. */
static void a_shards_store_is_what_the_placement_says(void **state)
{
    struct fixture *f = *state;
    struct placement p = {0};

    assert_int_equal(reopen(f, 2), ERR_OK);
    placement_copy(&f->dir.placement, &p);
    for (unsigned s = 0; s < SHARD_COUNT; s++)
        p.store_of[s] = (uint16_t)!p.store_of[s];
    assert_int_equal(placement_write(f->env->fs, f->path, &p), ERR_OK);
    assert_int_equal(reopen(f, 2), ERR_OK);
    assert_memory_equal(f->dir.store_of, p.store_of, sizeof p.store_of);
    assert_int_equal(f->dir.placement.generation, 2);
    placement_deinit(&p);
}

static void a_store_that_is_new_may_lack_its_manifest_and_no_other(void **state)
{
    struct fixture *f = *state;
    struct placement p = {0};

    assert_int_equal(reopen(f, 1), ERR_OK);
    assert_int_equal(data_dir_made(f->env, &f->dir), ERR_OK);
    write_as(f, "stores/store0/MANIFEST", "there");
    placement_copy(&f->dir.placement, &p);
    p.stores[1] = (struct placement_store){"more", STORE_NEW};
    p.n_stores = 2;
    assert_int_equal(placement_write(f->env->fs, f->path, &p), ERR_OK);
    assert_int_equal(reopen(f, 2), ERR_OK);
    assert_int_equal(data_dir_check(f->env, &f->dir, &f->why), ERR_OK);
    p.stores[1].state = STORE_ACTIVE;
    assert_int_equal(placement_write(f->env->fs, f->path, &p), ERR_OK);
    assert_int_equal(reopen(f, 2), ERR_OK);
    assert_int_equal(data_dir_check(f->env, &f->dir, &f->why), ERR_CORRUPT);
    assert_non_null(strstr(f->why, "stores/more/MANIFEST"));
    placement_deinit(&p);
}

static void a_crash_while_a_folder_is_made_is_completed(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(fs_mkdirs(f->env->fs, f->path), ERR_OK);
    write_as(f, "secret.key", "0123456789abcdef0123456789abcdef");
    assert_int_equal(reopen(f, 3), ERR_OK);
    assert_int_equal(f->dir.n_stores, 3);
    struct data_keys keys = f->dir.keys;
    assert_int_equal(reopen(f, 3), ERR_OK);
    assert_memory_equal(&keys, &f->dir.keys, sizeof keys);
}

static void log_ids_are_never_given_twice(void **state)
{
    struct fixture *f = *state;
    uint64_t id = 0;

    assert_int_equal(reopen(f, 1), ERR_OK);
    for (uint64_t i = 1; i <= 3; i++) {
        assert_int_equal(data_dir_next_log_id(f->env, &f->dir, &id), ERR_OK);
        assert_int_equal(id, i);
    }
    assert_int_equal(reopen(f, 1), ERR_OK);
    assert_int_equal(data_dir_next_log_id(f->env, &f->dir, &id), ERR_OK);
    assert_int_equal(id, 4);
    write_as(f, "log/next", "4x");
    assert_int_equal(data_dir_next_log_id(f->env, &f->dir, &id), ERR_CORRUPT);
    remove_file(f, "log/next");
    write_as(f, "log/something", "a log");
    assert_int_equal(data_dir_next_log_id(f->env, &f->dir, &id), ERR_CORRUPT);
    assert_int_equal(id, 4);
}

static void conversations_are_derived_and_kept_apart(void **state)
{
    struct fixture *f = *state;
    struct conv_id a, b;
    uint8_t x[16], y[16];

    assert_int_equal(reopen(f, 1), ERR_OK);
    const struct data_keys *k = &f->dir.keys;
    pair_conv(k, 7, 9, &a);
    pair_conv(k, 9, 7, &b);
    assert_true(conv_eq(&a, &b));
    pair_conv(k, 7, 7, &b);
    assert_false(conv_eq(&a, &b));
    group_conv(k, 7, STR("one"), &a);
    group_conv(k, 7, STR("one"), &b);
    assert_true(conv_eq(&a, &b));
    group_conv(k, 8, STR("one"), &b);
    assert_false(conv_eq(&a, &b));
    /* A cid with the bytes of a user's id does not make a group a pair. */
    group_conv(k, 7, STR("\x09\0\0\0\0\0\0\0"), &b);
    pair_conv(k, 7, 9, &a);
    assert_false(conv_eq(&a, &b));
    cid_hash(k, &a, 7, STR("c"), x);
    cid_hash(k, &a, 9, STR("c"), y);
    assert_memory_not_equal(x, y, 16);
    cid_hash(k, &b, 7, STR("c"), y);
    assert_memory_not_equal(x, y, 16);
    cid_hash(k, &a, 7, STR("c"), y);
    assert_memory_equal(x, y, 16);
}

static void conversations_spread_over_all_shards(void **state)
{
    struct fixture *f = *state;
    unsigned count[SHARD_COUNT] = {0};

    assert_int_equal(reopen(f, 1), ERR_OK);
    for (user_id u = 1; u <= 100 * SHARD_COUNT; u++) {
        struct conv_id c;
        pair_conv(&f->dir.keys, u, u + 1, &c);
        count[shard_of(&f->dir, &c)]++;
    }
    for (unsigned s = 0; s < SHARD_COUNT; s++)
        assert_in_range(count[s], 50, 160);
}

/* Where things lie is computed, and where shards should: what these say must be said by every later program. */
static void what_is_computed_never_changes(void **state)
{
    struct fixture *f = *state;
    struct conv_id pair, group;
    uint8_t cid[16], all[2 * SHARD_COUNT];

    assert_int_equal(fs_mkdirs(f->env->fs, f->path), ERR_OK);
    write_as(f, "secret.key", "0123456789abcdef0123456789abcdef");
    assert_int_equal(reopen(f, 4), ERR_OK);
    pair_conv(&f->dir.keys, 12345, 67890, &pair);
    group_conv(&f->dir.keys, 12345, STR("a-cid"), &group);
    cid_hash(&f->dir.keys, &pair, 12345, STR("a-cid"), cid);
    for (unsigned s = 0; s < SHARD_COUNT; s++)
        enc_u16(all + 2 * s, f->dir.store_of[s]);
    assert_int_equal(hash_sum(pair.b, 16, 0), 0xa4035b3bfc36637fu);
    assert_int_equal(hash_sum(group.b, 16, 0), 0xddf15353f927ef49u);
    assert_int_equal(hash_sum(cid, 16, 0), 0x8ce9c654a865e5ceu);
    assert_int_equal(hash_sum(f->dir.keys.token, 32, 0), 0x5b2516b94165c603u);
    assert_int_equal(shard_of(&f->dir, &pair), 0x44);
    assert_int_equal(hash_sum(all, sizeof all, 0), 0x3f940ef9de94371eu);
}

/* Some stores; how many shards each has, and how many moved since there was one store fewer. */
static unsigned place(const struct hash_key *k, unsigned n, uint16_t out[SHARD_COUNT], unsigned held[])
{
    char names[STORES_MAX][16], *stores[STORES_MAX];
    uint16_t before[SHARD_COUNT];
    unsigned moved = 0;

    for (unsigned i = 0; i < n; i++) {
        snprintf(names[i], sizeof names[i], "store%u", i);
        stores[i] = names[i];
    }
    if (n > 1)
        assert_int_equal(placement_of_shards(k, stores, n - 1, before), ERR_OK);
    assert_int_equal(placement_of_shards(k, stores, n, out), ERR_OK);
    memset(held, 0, n * sizeof held[0]);
    for (unsigned s = 0; s < SHARD_COUNT; s++) {
        held[out[s]]++;
        moved += n > 1 && out[s] != before[s];
    }
    return moved;
}

static void shards_are_even_over_stores_and_few_move(void **state)
{
    (void)state;
    for (uint8_t seed = 0; seed < 8; seed++) {
        struct hash_key k = {{seed}};
        for (unsigned n = 1; n <= 16; n *= 2) {
            uint16_t store_of[SHARD_COUNT];
            unsigned held[STORES_MAX], moved = place(&k, n, store_of, held), most = SHARD_COUNT * 11 / (10 * n);
            for (unsigned i = 0; i < n; i++)
                assert_in_range(held[i], SHARD_COUNT * 6 / (10 * n), n == 1 ? SHARD_COUNT : most);
            if (n > 1) /* 1/n to the new store, and a few that make room */
                assert_true(moved <= SHARD_COUNT * 15 / (10 * n) + SHARD_COUNT / 10);
        }
    }
}

int main(void)
{
#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_new_folder_is_the_same_when_opened_again),
        IN_FOLDER(two_folders_share_neither_keys_nor_epoch),
        IN_FOLDER(a_folder_in_use_is_locked),
        IN_FOLDER(another_number_of_stores_is_refused),
        IN_FOLDER(damage_is_named_and_never_replaced),
        IN_FOLDER(a_lost_key_is_damage),
        IN_FOLDER(a_lost_or_damaged_placement_is_damage_and_never_replaced),
        IN_FOLDER(a_shards_store_is_what_the_placement_says),
        IN_FOLDER(a_store_that_is_new_may_lack_its_manifest_and_no_other),
        IN_FOLDER(a_crash_while_a_folder_is_made_is_completed),
        IN_FOLDER(log_ids_are_never_given_twice),
        IN_FOLDER(conversations_are_derived_and_kept_apart),
        IN_FOLDER(conversations_spread_over_all_shards),
        IN_FOLDER(what_is_computed_never_changes),
        cmocka_unit_test(shards_are_even_over_stores_and_few_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
