#include "base/hash.h"
#include "tests/lib/unit.h"

PROMISE(siphash_gives_its_published_values)
{
    static const uint8_t of_nothing_64[8] = {0x31, 0x0e, 0x0e, 0xdd, 0x47, 0xdb, 0x6f, 0x72};
    static const uint8_t of_15_bytes_64[8] = {0xe5, 0x45, 0xbe, 0x49, 0x61, 0xca, 0x29, 0xa1};
    static const uint8_t of_nothing_128[16] = {0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6,
                                               0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93};
    struct hash_key key;
    uint8_t input[16], out[16];

    for (uint8_t i = 0; i < 16; i++)
        key.b[i] = input[i] = i;
    uint64_t h = hash_keyed64(&key, input, 0);
    assert_memory_equal(&h, of_nothing_64, 8);
    h = hash_keyed64(&key, input, 15);
    assert_memory_equal(&h, of_15_bytes_64, 8);
    hash_keyed128(&key, input, 0, out);
    assert_memory_equal(out, of_nothing_128, 16);
}

PROMISE(a_checksum_notices_every_flipped_bit_and_another_seed)
{
    uint8_t bytes[64] = {1, 2, 3};
    uint64_t sum = hash_sum(bytes, sizeof(bytes), 5);

    assert_int_equal(hash_sum(bytes, sizeof(bytes), 5), sum);
    assert_int_not_equal(hash_sum(bytes, sizeof(bytes), 6), sum);
    for (unsigned bit = 0; bit < 8 * sizeof(bytes); bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(hash_sum(bytes, sizeof(bytes), 5), sum);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

PROMISE(a_checksum_is_the_same_on_every_machine)
{
    assert_int_equal(hash_sum("", 0, 0), 0x2d06800538d394c2u); /* the published XXH3 of nothing */
}

PROMISE(hash_u64_spreads_neighbours)
{
    unsigned used[256] = {0};
    for (uint64_t i = 0; i < 256 * 64; i++)
        used[hash_u64(i << 20) % 256]++;
    for (unsigned i = 0; i < 256; i++)
        assert_in_range(used[i], 16, 160);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(siphash_gives_its_published_values),
        HOLDS(a_checksum_notices_every_flipped_bit_and_another_seed),
        HOLDS(a_checksum_is_the_same_on_every_machine),
        HOLDS(hash_u64_spreads_neighbours),
    };
    return cmocka_run_group_tests_name("hash", tests, NULL, NULL);
}
