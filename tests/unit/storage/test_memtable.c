#include "base/enc.h"
#include "storage/memtable.h"
#include "tests/lib/unit.h"

enum { N = 30000, NEARS = 8 };

/* Keys of 1 to 10 bytes from a small alphabet with zeros: many share their first eight bytes, or are each other's
 * start. */
static size_t key_of(uint64_t n, char *out)
{
    static const char letters[] = {0, 1, 'a', (char)0xff};
    size_t len = 1 + n % 10;
    for (size_t i = 0; i < len; i++, n /= 3)
        out[i] = letters[n * 7 % 4];
    return len;
}

static uint64_t next(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

struct cell {
    char key[10];
    size_t len;
    uint64_t stamp;
    size_t size;
    bool is_live;
};

static int by_key(const void *a, const void *b)
{
    const struct cell *x = a, *y = b;
    return str_cmp(str_of(x->key, x->len), str_of(y->key, y->len));
}

static struct cell *find(struct cell *cells, size_t n, struct str key)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(str_of(cells[i].key, cells[i].len), key))
            return &cells[i];
    return NULL;
}

static void check(const struct cell *c, struct str value, bool is_tombstone)
{
    assert_int_equal(is_tombstone, !c->is_live);
    assert_int_equal(value.len, c->is_live ? c->size : 0);
    if (c->is_live)
        assert_int_equal(dec_u64(value.p), c->stamp);
}

/* A value by one of the ways there are. `near` are places that were right once, of this key or of any other. */
static void put_some_way(struct memtable *m, uint64_t *seed, struct memtable_near *near, struct str key,
                         struct str value)
{
    struct memtable_near *at = &near[next(seed) % NEARS];
    struct str before;
    bool is_tombstone;
    switch (next(seed) % 5) {
    case 0:
        memtable_put(m, key, value);
        break;
    case 1:
        memtable_get_near(m, key, at, &before, &is_tombstone);
        break;
    case 2:
        memtable_get_near(m, key, at, &before, &is_tombstone);
        memtable_put(m, STR("another"), value);
        memtable_put_near(m, key, value, at);
        return;
    case 3:
        memtable_put_near(m, key, value, at);
        break;
    case 4:
        memtable_put_again(m, key, value, at);
        break;
    }
    memtable_put_again(m, key, value, at);
}

static void put(struct memtable *m, bool is_late, uint64_t *seed, struct memtable_near *near, struct str key,
                struct str value)
{
    if (is_late)
        memtable_put_late(m, key, value);
    else
        put_some_way(m, seed, near, key, value);
}

static void take_out(struct memtable *m, bool is_late, struct str key)
{
    if (is_late)
        memtable_delete_late(m, key);
    else
        memtable_delete(m, key);
}

/* Of so many puts in turn `late` are late, the others not. */
static void compare_with_sorted_array(unsigned turn, unsigned late)
{
    struct memtable_near near[NEARS] = {{0}};
    static struct cell cells[4096];
    size_t n = 0;
    uint64_t seed = 11;
    struct memtable *m;
    memtable_create(&m);
    for (unsigned i = 0; i < N; i++) {
        char key[10], value[40] = {0};
        size_t len = key_of(next(&seed) % 3000, key);
        bool is_late = i % turn < late;
        if (!is_late)
            memtable_settle(m);
        struct cell *c = find(cells, n, str_of(key, len));
        if (!c) {
            c = &cells[n++];
            memcpy(c->key, key, len);
            c->len = len;
        }
        c->is_live = next(&seed) % 5 != 0;
        c->size = 8 + next(&seed) % 3 * 8;
        c->stamp = i;
        enc_u64(value, c->stamp);
        if (c->is_live)
            put(m, is_late, &seed, near, str_of(key, len), str_of(value, c->size));
        else
            take_out(m, is_late, str_of(key, len));
    }
    memtable_settle(m);
    qsort(cells, n, sizeof(cells[0]), by_key);
    memtable_delete(m, STR("another"));
    assert_true(memtable_count(m) == n + 1);
    struct memtable_iter it;
    size_t i = 0;
    for (memtable_iter_init(&it, m, (struct str){0}); it.it.is_valid; it.it.next(&it.it), i++) {
        if (str_eq(it.it.key, STR("another")))
            it.it.next(&it.it);
        assert_true(str_eq(it.it.key, str_of(cells[i].key, cells[i].len)));
        check(&cells[i], it.it.value, it.it.is_tombstone);
    }
    assert_int_equal(i, n);
    for (i = 0; i < n; i++) {
        struct str value;
        bool is_tombstone;
        struct str key = str_of(cells[i].key, cells[i].len);
        assert_true(memtable_get(m, key, &value, &is_tombstone));
        check(&cells[i], value, is_tombstone);
        memtable_iter_init(&it, m, key);
        assert_true(str_eq(it.it.key, key));
    }
    memtable_destroy(m);
}

PROMISE(it_is_a_sorted_array_with_the_last_word_on_each_key) { compare_with_sorted_array(1, 0); }

PROMISE(what_is_put_late_is_the_same_once_it_is_settled)
{
    compare_with_sorted_array(N, N);
    compare_with_sorted_array(7, 3);
    compare_with_sorted_array(1000, 999);
    compare_with_sorted_array(10000, 4000);
}

PROMISE(what_is_put_late_counts_at_once_and_is_there_once_it_is_settled)
{
    struct memtable *m;
    struct str value;
    bool is_tombstone;
    memtable_create(&m);
    memtable_put(m, STR("a"), STR("old"));
    size_t before = memtable_bytes(m);
    memtable_put_late(m, STR("b"), STR("1"));
    memtable_delete_late(m, STR("a"));
    assert_true(memtable_bytes(m) > before);
    assert_int_equal(memtable_count(m), 3);
    assert_true(memtable_get(m, STR("a"), &value, &is_tombstone) && !is_tombstone);
    assert_false(memtable_get(m, STR("b"), &value, &is_tombstone));
    memtable_settle(m);
    assert_int_equal(memtable_count(m), 2);
    assert_true(memtable_get(m, STR("a"), &value, &is_tombstone) && is_tombstone);
    assert_true(memtable_get(m, STR("b"), &value, &is_tombstone) && str_eq(value, STR("1")));
    memtable_put_late(m, STR("c"), STR("2")); /* never settled: freed all the same */
    memtable_destroy(m);
}

/* What a store does all the time: conversations that go on beside each other, with a key before their entries that is
 * put again and again. */
PROMISE(what_is_put_behind_the_last_of_its_kind_stands_where_a_search_finds_it)
{
    enum { CONVS = 150, ROUNDS = 200 };
    static struct memtable_near last[CONVS], again[CONVS];
    struct memtable *m;
    struct str value;
    bool is_tombstone;
    char key[17];
    memtable_create(&m);
    for (uint64_t i = 0; i < CONVS * ROUNDS; i++) {
        uint64_t conv = i * 7 % CONVS, seq = i / CONVS;
        enc_be64(key, conv * 0x9e3779b97f4a7c15u);
        key[8] = 9;
        enc_be64(key + 9, seq);
        memtable_put_near(m, str_of(key, 17), str_of(&i, 8), &last[conv]);
        key[8] = 1;
        memtable_put_again(m, str_of(key, 9), str_of(&i, seq == ROUNDS / 2 ? 4 : 8), &again[conv]);
    }
    assert_int_equal(memtable_count(m), CONVS * (ROUNDS + 1));
    for (uint64_t i = 0; i < CONVS * ROUNDS; i++) {
        uint64_t conv = i * 7 % CONVS;
        enc_be64(key, conv * 0x9e3779b97f4a7c15u);
        key[8] = 9;
        enc_be64(key + 9, i / CONVS);
        assert_true(memtable_get(m, str_of(key, 17), &value, &is_tombstone));
        assert_int_equal(dec_u64(value.p), i);
        key[8] = 1;
        assert_true(memtable_get(m, str_of(key, 9), &value, &is_tombstone));
        assert_true(dec_u64(value.p) >= CONVS * (ROUNDS - 1) && dec_u64(value.p) * 7 % CONVS == conv);
    }
    memtable_destroy(m);
}

PROMISE(a_place_that_another_put_took_over_is_not_written_to)
{
    struct memtable_near near = {0};
    struct memtable *m;
    struct str value;
    bool is_tombstone;
    memtable_create(&m);
    memtable_put_again(m, STR("key"), STR("one"), &near);
    memtable_put(m, STR("key"), STR("three"));
    memtable_put_again(m, STR("key"), STR("two"), &near);
    assert_true(memtable_get(m, STR("key"), &value, &is_tombstone));
    assert_true(str_eq(value, STR("two")));
    memtable_delete(m, STR("key"));
    assert_true(memtable_get(m, STR("key"), &value, &is_tombstone) && is_tombstone);
    memtable_put_again(m, STR("key"), STR("two"), &near);
    assert_true(memtable_get(m, STR("key"), &value, &is_tombstone) && !is_tombstone);
    memtable_put_again(m, STR("other"), STR("two"), &near); /* of the same size, and not the key of that place */
    assert_int_equal(memtable_count(m), 2);
    memtable_destroy(m);
}

static void fill_and_walk(int64_t step, bool is_late)
{
    struct memtable *m;
    memtable_create(&m);
    for (int64_t i = 0; i < N; i++) {
        char key[8];
        enc_be64(key, (uint64_t)(step > 0 ? i : N - 1 - i));
        if (is_late)
            memtable_put_late(m, str_of(key, 8), str_of(key, 8));
        else
            memtable_put(m, str_of(key, 8), str_of(key, 8));
    }
    memtable_settle(m);
    struct memtable_iter it;
    uint64_t seen = 0;
    for (memtable_iter_init(&it, m, (struct str){0}); it.it.is_valid; it.it.next(&it.it), seen++)
        assert_int_equal(dec_be64(it.it.key.p), seen);
    assert_int_equal(seen, N);
    memtable_destroy(m);
}

PROMISE(ascending_and_descending_keys_are_kept_in_order)
{
    fill_and_walk(1, false);
    fill_and_walk(-1, false);
    fill_and_walk(1, true);
    fill_and_walk(-1, true);
}

PROMISE(a_value_of_the_same_size_takes_no_more_memory)
{
    struct memtable *m;
    struct str value;
    bool is_tombstone;
    memtable_create(&m);
    memtable_put(m, STR("key"), STR("one"));
    size_t before = memtable_bytes(m);
    memtable_put(m, STR("key"), STR("two"));
    assert_int_equal(memtable_bytes(m), before);
    assert_true(memtable_get(m, STR("key"), &value, &is_tombstone));
    assert_true(str_eq(value, STR("two")));
    memtable_put(m, STR("key"), STR("three"));
    assert_true(memtable_bytes(m) > before);
    assert_int_equal(memtable_count(m), 1);
    memtable_destroy(m);
}

PROMISE(an_empty_one_has_nothing_and_ends_at_once)
{
    struct memtable *m;
    struct str value;
    bool is_tombstone;
    struct memtable_iter it;
    memtable_create(&m);
    assert_false(memtable_get(m, STR("key"), &value, &is_tombstone));
    memtable_iter_init(&it, m, STR("key"));
    assert_false(it.it.is_valid);
    memtable_destroy(m);
}

PROMISE(a_walk_starts_at_the_first_key_at_or_after_what_was_asked)
{
    struct memtable *m;
    struct memtable_iter it;
    memtable_create(&m);
    memtable_put(m, STR("b"), STR("1"));
    memtable_put(m, STR("d"), STR("2"));
    memtable_iter_init(&it, m, STR("c"));
    assert_true(it.it.is_valid && str_eq(it.it.key, STR("d")));
    it.it.next(&it.it);
    assert_false(it.it.is_valid);
    memtable_iter_init(&it, m, STR("e"));
    assert_false(it.it.is_valid);
    memtable_destroy(m);
}

static struct str number(uint64_t n, char *out)
{
    memset(out, 'k', 8);
    enc_be64(out + 8, n);
    return str_of(out, 16);
}

/* The leftmost leaf is split again and again by keys that all are below those it began with, so that separators stand
 * beside a first key that is above them. */
PROMISE(keys_put_before_all_others_are_found_and_overwritten)
{
    enum { BLOCKS = 40, BLOCK = 100 };
    struct memtable *m;
    char key[16];
    struct str value;
    bool is_tombstone;
    memtable_create(&m);
    for (uint64_t b = BLOCKS; b-- > 0;)
        for (uint64_t i = 0; i < BLOCK; i++)
            memtable_put(m, number(b * BLOCK + i, key), STR("one"));
    for (uint64_t i = 0; i < BLOCKS * BLOCK; i++) {
        assert_true(memtable_get(m, number(i, key), &value, &is_tombstone));
        memtable_put(m, number(i, key), STR("two"));
    }
    assert_int_equal(memtable_count(m), BLOCKS * BLOCK);
    for (uint64_t i = 0; i < BLOCKS * BLOCK; i++) {
        assert_true(memtable_get(m, number(i, key), &value, &is_tombstone));
        assert_true(str_eq(value, STR("two")));
    }
    memtable_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(it_is_a_sorted_array_with_the_last_word_on_each_key),
        HOLDS(what_is_put_behind_the_last_of_its_kind_stands_where_a_search_finds_it),
        HOLDS(a_place_that_another_put_took_over_is_not_written_to),
        HOLDS(what_is_put_late_is_the_same_once_it_is_settled),
        HOLDS(what_is_put_late_counts_at_once_and_is_there_once_it_is_settled),
        HOLDS(ascending_and_descending_keys_are_kept_in_order),
        HOLDS(keys_put_before_all_others_are_found_and_overwritten),
        HOLDS(a_value_of_the_same_size_takes_no_more_memory),
        HOLDS(an_empty_one_has_nothing_and_ends_at_once),
        HOLDS(a_walk_starts_at_the_first_key_at_or_after_what_was_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
