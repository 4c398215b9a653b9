#include "base/enc.h"
#include "tests/lib/unit.h"

static const uint64_t numbers[] = {
    0, 1, 127, 128, 255, 16383, 16384, UINT32_MAX, (uint64_t)1 << 35, (uint64_t)1 << 62, (uint64_t)1 << 63, UINT64_MAX,
};
enum { NUMBERS = sizeof(numbers) / sizeof(numbers[0]) };

PROMISE(what_was_encoded_is_decoded)
{
    struct buf b = {0};
    for (size_t i = 0; i < NUMBERS; i++) {
        enc_add_varint(&b, numbers[i]);
        enc_add_u64(&b, numbers[i]);
        enc_add_u32(&b, (uint32_t)numbers[i]);
        enc_add_u8(&b, (uint8_t)numbers[i]);
        enc_add_field(&b, STR("field"));
        enc_add_field(&b, (struct str){0});
    }
    struct dec d = dec_of(buf_get(&b));
    for (size_t i = 0; i < NUMBERS; i++) {
        assert_int_equal(dec_get_varint(&d), numbers[i]);
        assert_int_equal(dec_get_u64(&d), numbers[i]);
        assert_int_equal(dec_get_u32(&d), (uint32_t)numbers[i]);
        assert_int_equal(dec_get_u8(&d), (uint8_t)numbers[i]);
        assert_true(str_eq(dec_get_field(&d), STR("field")));
        assert_int_equal(dec_get_field(&d).len, 0);
    }
    assert_true(dec_done(&d));
    buf_deinit(&b);
}

/* Of each length, as the last of all, and in front of others. */
PROMISE(a_varint_is_read_alike_whatever_follows)
{
    for (unsigned bits = 0; bits < 64; bits++) {
        for (uint64_t v = ((uint64_t)1 << bits) - 1; v < ((uint64_t)1 << bits) + 2; v++) {
            struct buf b = {0};

            enc_add_varint(&b, v);
            for (unsigned after = 0; after < 9; after++) {
                struct dec d = dec_of(buf_get(&b));

                assert_true(dec_get_varint(&d) == v);
                assert_int_equal(d.end - d.p, after);
                enc_add_u8(&b, after % 2 ? 0x80 : 0x7f);
            }
            buf_deinit(&b);
        }
    }
}

PROMISE(a_reader_never_passes_its_end_and_stays_failed)
{
    struct buf b = {0};
    enc_add_varint(&b, 300);
    enc_add_u32(&b, 7);
    enc_add_field(&b, STR("field"));
    for (size_t cut = 0; cut < b.len; cut++) {
        char *exact = mem_dup(str_of(b.p, cut)); /* the sanitizer watches its end */
        struct dec d = dec_of(str_of(exact, cut));
        dec_get_varint(&d);
        dec_get_u32(&d);
        dec_get_field(&d);
        assert_false(dec_ok(&d));
        assert_false(dec_done(&d));
        assert_int_equal(dec_get_u8(&d), 0);
        assert_int_equal(dec_get_u64(&d), 0);
        assert_int_equal(dec_get_bytes(&d, 0).len, 0);
        assert_false(dec_ok(&d));
        mem_free(exact);
    }
    buf_deinit(&b);
}

PROMISE(a_field_longer_than_the_rest_is_refused_whatever_it_announces)
{
    for (size_t i = 1; i < NUMBERS; i++) {
        struct buf b = {0};
        enc_add_varint(&b, numbers[i]);
        struct dec d = dec_of(buf_get(&b));
        assert_null(dec_get_field(&d).p);
        assert_false(dec_ok(&d));
        buf_deinit(&b);
    }
}

PROMISE(a_varint_of_more_than_64_bits_is_refused)
{
    struct dec d = dec_of(STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"));
    assert_int_equal(dec_get_varint(&d), UINT64_MAX);
    assert_true(dec_done(&d));
    d = dec_of(STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"));
    dec_get_varint(&d);
    assert_false(dec_ok(&d));
    d = dec_of(STR("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"));
    dec_get_varint(&d);
    assert_false(dec_ok(&d));
}

PROMISE(an_empty_input_is_done_at_once)
{
    struct dec d = dec_of((struct str){0});
    assert_true(dec_done(&d));
    assert_int_equal(dec_get_bytes(&d, 0).len, 0);
    assert_true(dec_done(&d));
    dec_get_u8(&d);
    assert_false(dec_ok(&d));
}

PROMISE(big_endian_numbers_sort_as_bytes)
{
    for (size_t i = 1; i < NUMBERS; i++) {
        uint8_t a[8], b[8];
        enc_be64(a, numbers[i - 1]);
        enc_be64(b, numbers[i]);
        assert_true(memcmp(a, b, 8) < 0);
        assert_int_equal(dec_be64(b), numbers[i]);
    }
}

PROMISE(base32_is_crockford_s_and_sorts_like_its_bytes)
{
    char text[26], other[26];
    uint8_t bytes[16] = {0}, back[16];

    assert_int_equal(enc_base32(text, "\xff\xff\xff\xff\xff\xff\xff\xff", 8), 13);
    assert_memory_equal(text, "zzzzzzzzzzzzy", 13);
    assert_int_equal(enc_base32(text, "\x00\x44\x32\x14\xc7", 5), 8);
    assert_memory_equal(text, "01234567", 8);
    assert_int_equal(enc_base32(text, bytes, 16), 26);
    for (unsigned i = 1; i < 256; i++) {
        memcpy(other, text, 26);
        bytes[i % 3] = (uint8_t)i;
        bytes[15] = (uint8_t)(i * 31);
        assert_int_equal(enc_base32(text, bytes, 16), 26);
        assert_true(dec_base32(back, 16, str_of(text, 26)));
        assert_memory_equal(back, bytes, 16);
    }
    enc_base32(text, "abcdefgh", 8);
    enc_base32(other, "abcdefgi", 8);
    assert_true(memcmp(text, other, 13) < 0);
}

/* The definition: 5 bits after 5, of what is behind the end zeros. */
static void write_slowly(char *out, const uint8_t *in, size_t n)
{
    for (size_t at = 0; at < n * 8; at += 5) {
        unsigned v = 0;
        for (size_t bit = at; bit < at + 5; bit++)
            v = v << 1 | (bit < n * 8 && in[bit / 8] >> (7 - bit % 8) & 1);
        *out++ = "0123456789abcdefghjkmnpqrstvwxyz"[v];
    }
}

PROMISE(base32_of_every_length_is_its_bits_five_by_five)
{
    uint8_t bytes[20], back[20];
    char text[32], expected[32];
    uint32_t dice = 1;

    for (unsigned round = 0; round < 2000; round++) {
        size_t n = round % 20 + 1, len = (n * 8 + 4) / 5;
        for (size_t i = 0; i < n; i++) {
            dice = dice * 1664525 + 1013904223;
            bytes[i] = (uint8_t)(dice >> 24);
        }
        write_slowly(expected, bytes, n);
        assert_int_equal(enc_base32(text, bytes, n), len);
        assert_memory_equal(text, expected, len);
        assert_true(dec_base32(back, n, str_of(text, len)));
        assert_memory_equal(back, bytes, n);
    }
}

/* Whatever byte stands wherever in the text of an id: read is only what would be written. */
PROMISE(base32_of_an_id_is_read_strictly_at_every_place)
{
    static const size_t sizes[] = {8, 16};
    uint8_t bytes[16], back[16];
    char text[32], again[32];

    for (unsigned k = 0; k < 2; k++) {
        size_t n = sizes[k], len;
        for (size_t i = 0; i < n; i++)
            bytes[i] = (uint8_t)(i * 73 + 5);
        len = enc_base32(text, bytes, n);
        for (size_t at = 0; at < len; at++) {
            char was = text[at];
            for (unsigned c = 0; c < 256; c++) {
                text[at] = (char)c;
                bool is_read = dec_base32(back, n, str_of(text, len));
                bool is_of_alphabet = c && strchr("0123456789abcdefghjkmnpqrstvwxyz", (int)c);
                if (is_read) {
                    enc_base32(again, back, n);
                    assert_memory_equal(again, text, len);
                }
                assert_true(is_read == is_of_alphabet || (at == len - 1 && is_of_alphabet));
            }
            text[at] = was;
        }
    }
}

PROMISE(decimal_numbers_are_what_printf_writes)
{
    char out[DECIMAL_MAX], expected[32];

    for (uint64_t power = 1, i = 0; i < DECIMAL_MAX; i++, power *= 10) {
        const uint64_t near[] = {power - 1, power, power + 1, power * 7 / 3, UINT64_MAX - power};
        for (size_t k = 0; k < sizeof near / sizeof near[0]; k++) {
            size_t n = (size_t)snprintf(expected, sizeof expected, "%llu", (unsigned long long)near[k]);
            assert_int_equal(enc_decimal(out, near[k]), n);
            assert_memory_equal(out, expected, n);
        }
    }
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t v = (uint64_t)1 << bit;
        size_t n = (size_t)snprintf(expected, sizeof expected, "%llu", (unsigned long long)v);
        assert_int_equal(enc_decimal(out, v), n);
        assert_memory_equal(out, expected, n);
    }
}

PROMISE(base32_accepts_only_what_writing_produces)
{
    uint8_t out[8];
    assert_true(dec_base32(out, 8, STR("zzzzzzzzzzzzy")));
    assert_false(dec_base32(out, 8, STR("zzzzzzzzzzzzz"))); /* the last bit stands for nothing */
    assert_false(dec_base32(out, 8, STR("Zzzzzzzzzzzzy")));
    assert_false(dec_base32(out, 8, STR("0000000000i00")));
    assert_false(dec_base32(out, 8, STR("0000000000l00")));
    assert_false(dec_base32(out, 8, STR("0000000000o00")));
    assert_false(dec_base32(out, 8, STR("0000000000u00")));
    assert_false(dec_base32(out, 8, STR("000000000000")));
    assert_false(dec_base32(out, 8, STR("00000000000000")));
    assert_false(dec_base32(out, 8, STR("000000\0000000")));
    assert_false(dec_base32(out, 8, (struct str){0}));
}

PROMISE(base64url_is_that_of_rfc_4648_without_padding)
{
    static const char *const known[][2] = {
        {"", ""}, {"f", "Zg"}, {"fo", "Zm8"}, {"foo", "Zm9v"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff", "-_8"},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        char text[16], back[16];
        size_t n = enc_base64url(text, known[i][0], strlen(known[i][0]));
        assert_true(str_eq(str_of(text, n), str_c(known[i][1])));
        assert_true(dec_base64url(back, sizeof(back), &n, str_c(known[i][1])));
        assert_true(str_eq(str_of(back, n), str_c(known[i][0])));
    }
}

PROMISE(base64url_is_read_strictly_and_within_its_bound)
{
    char out[3];
    size_t n = 99;
    assert_false(dec_base64url(out, 3, &n, STR("Zm9vZg"))); /* four bytes into three */
    assert_false(dec_base64url(out, 3, &n, STR("Z")));
    assert_false(dec_base64url(out, 3, &n, STR("Zh")));
    assert_false(dec_base64url(out, 3, &n, STR("Zg==")));
    assert_false(dec_base64url(out, 3, &n, STR("Zm+v")));
    assert_false(dec_base64url(out, 3, &n, STR("Zm/v")));
    assert_false(dec_base64url(out, 3, &n, STR("Zm9 ")));
    assert_int_equal(n, 99);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(what_was_encoded_is_decoded),
        HOLDS(a_varint_is_read_alike_whatever_follows),
        HOLDS(a_reader_never_passes_its_end_and_stays_failed),
        HOLDS(a_field_longer_than_the_rest_is_refused_whatever_it_announces),
        HOLDS(a_varint_of_more_than_64_bits_is_refused),
        HOLDS(an_empty_input_is_done_at_once),
        HOLDS(big_endian_numbers_sort_as_bytes),
        HOLDS(base32_is_crockford_s_and_sorts_like_its_bytes),
        HOLDS(base32_of_every_length_is_its_bits_five_by_five),
        HOLDS(base32_of_an_id_is_read_strictly_at_every_place),
        HOLDS(decimal_numbers_are_what_printf_writes),
        HOLDS(base32_accepts_only_what_writing_produces),
        HOLDS(base64url_is_that_of_rfc_4648_without_padding),
        HOLDS(base64url_is_read_strictly_and_within_its_bound),
    };
    return cmocka_run_group_tests_name("enc", tests, NULL, NULL);
}
