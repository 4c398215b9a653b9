#include "base/enc.h"
#include "storage/block.h"
#include "tests/lib/unit.h"

enum { N = 300 };

/* Every third number is a key; every seventh key a tombstone. */
static struct str key_of(unsigned n, char *out)
{
    int len = snprintf(out, 32, "conversation/%05u", n * 3);
    return str_of(out, (size_t)len);
}

static struct str value_of(unsigned n, char *out)
{
    memset(out, 'a' + (int)(n % 26), 400);
    return str_of(out, n % 7 == 0 ? 0 : n * 11 % 400);
}

static struct str build(struct block_builder *b)
{
    char key[32], value[400];
    for (unsigned i = 0; i < N; i++)
        block_builder_add(b, key_of(i, key), value_of(i, value), i % 7 == 0);
    assert_true(str_eq(block_builder_last(b), key_of(N - 1, key)));
    return block_builder_finish(b);
}

static void stands_on(const struct block_iter *w, unsigned i)
{
    char key[32], value[400];
    assert_true(w->is_valid);
    assert_true(str_eq(block_iter_key(w), key_of(i, key)));
    assert_true(str_eq(w->value, value_of(i, value)));
    assert_int_equal(w->is_tombstone, i % 7 == 0);
}

PROMISE(a_walk_meets_what_was_added)
{
    struct block_builder b = {0};
    struct block_iter w;
    unsigned i = 0;
    block_iter_init(&w, build(&b));
    for (; w.is_valid; block_iter_next(&w), i++)
        stands_on(&w, i);
    assert_ok(w.err);
    assert_int_equal(i, N);
    block_builder_deinit(&b);
}

PROMISE(a_search_finds_the_first_key_at_or_after_any_other)
{
    struct block_builder b = {0};
    struct block_iter w;
    char key[32];
    struct str bytes = build(&b);
    for (unsigned n = 0; n < N * 3 + 10; n++) {
        int len = snprintf(key, sizeof(key), "conversation/%05u", n);
        block_iter_init(&w, bytes);
        block_iter_seek(&w, str_of(key, (size_t)len));
        if (n <= (N - 1) * 3)
            stands_on(&w, (n + 2) / 3);
        else
            assert_false(w.is_valid);
        assert_ok(w.err);
    }
    block_iter_init(&w, bytes);
    block_iter_seek(&w, (struct str){0});
    stands_on(&w, 0);
    block_builder_deinit(&b);
}

PROMISE(a_builder_can_be_used_again)
{
    struct block_builder b = {0};
    struct block_iter w;
    build(&b);
    block_builder_clear(&b);
    assert_true(block_builder_is_empty(&b));
    block_iter_init(&w, build(&b));
    stands_on(&w, 0);
    block_builder_deinit(&b);
}

static void comes_back(struct str raw, bool compress)
{
    struct buf sealed = {0};
    struct block *out = NULL;
    block_seal(raw, 7, 4096, compress, &sealed);
    assert_true(sealed.len <= raw.len + SEAL_BYTES);
    assert_ok(block_unseal(buf_get(&sealed), 7, 4096, &out));
    assert_true(str_eq(raw, str_of(out->bytes, out->len)));
    block_unref(out);
    buf_deinit(&sealed);
}

PROMISE(a_sealed_block_comes_back_whether_it_shrinks_or_not)
{
    struct block_builder b = {0};
    struct buf noise = {0};
    uint64_t x = 1;
    struct str raw = build(&b);
    comes_back(raw, true);
    comes_back(raw, false);
    for (int i = 0; i < 1000; i++)
        enc_add_u64(&noise, x = x * 6364136223846793005u + 1442695040888963407u);
    comes_back(buf_get(&noise), true);
    comes_back(STR("x"), true);
    buf_deinit(&noise);
    block_builder_deinit(&b);
}

PROMISE(compression_makes_what_repeats_smaller)
{
    struct block_builder b = {0};
    struct buf sealed = {0};
    struct str raw = build(&b);
    block_seal(raw, 7, 0, true, &sealed);
    assert_true(sealed.len < raw.len / 4);
    buf_deinit(&sealed);
    block_builder_deinit(&b);
}

PROMISE(every_flipped_bit_every_cut_and_every_other_place_is_damage)
{
    struct block_builder b = {0};
    struct buf sealed = {0};
    struct block *out = NULL;
    block_seal(build(&b), 7, 4096, true, &sealed);
    for (size_t bit = 0; bit < sealed.len * 8; bit++) {
        sealed.p[bit / 8] = (char)(sealed.p[bit / 8] ^ 1 << bit % 8);
        assert_int_equal(block_unseal(buf_get(&sealed), 7, 4096, &out), ERR_CORRUPT);
        sealed.p[bit / 8] = (char)(sealed.p[bit / 8] ^ 1 << bit % 8);
    }
    for (size_t len = 0; len < sealed.len; len++)
        assert_int_equal(block_unseal(str_of(sealed.p, len), 7, 4096, &out), ERR_CORRUPT);
    assert_int_equal(block_unseal(buf_get(&sealed), 8, 4096, &out), ERR_CORRUPT);
    assert_int_equal(block_unseal(buf_get(&sealed), 7, 8192, &out), ERR_CORRUPT);
    buf_deinit(&sealed);
    block_builder_deinit(&b);
}

PROMISE(bytes_that_are_no_block_end_the_walk_and_nothing_worse)
{
    struct block_builder b = {0};
    uint64_t seed = 5;
    struct str good = build(&b);
    for (unsigned round = 0; round < 20000; round++) {
        char *bytes = mem_alloc(good.len); /* exactly as long, so that a sanitizer sees a step too far */
        struct block_iter w;
        memcpy(bytes, good.p, good.len);
        size_t len = round % 3 ? good.len : seed % good.len;
        for (unsigned i = 0; i < 1 + round % 4; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            size_t at = round % 2 ? (seed >> 20) % good.len : good.len - 1 - (seed >> 20) % 80;
            bytes[at] = (char)(seed >> 50);
        }
        char *cut = mem_alloc(len);
        memcpy(cut, bytes, len);
        block_iter_init(&w, str_of(cut, len));
        for (unsigned n = 0; w.is_valid && n < 2 * N; n++)
            block_iter_next(&w);
        block_iter_init(&w, str_of(cut, len));
        block_iter_seek(&w, STR("conversation/00451"));
        assert_true(w.err == ERR_OK || w.err == ERR_CORRUPT);
        mem_free(cut);
        mem_free(bytes);
    }
    block_builder_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_walk_meets_what_was_added),
        HOLDS(a_search_finds_the_first_key_at_or_after_any_other),
        HOLDS(a_builder_can_be_used_again),
        HOLDS(a_sealed_block_comes_back_whether_it_shrinks_or_not),
        HOLDS(compression_makes_what_repeats_smaller),
        HOLDS(every_flipped_bit_every_cut_and_every_other_place_is_damage),
        HOLDS(bytes_that_are_no_block_end_the_walk_and_nothing_worse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
