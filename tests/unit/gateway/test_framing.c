#include "gateway/framing.h"
#include "base/buf.h"
#include "tests/lib/unit.h"

static struct framing f;
static struct framed got;
static char bytes[70000 + FRAME_HEAD_MAX], *at;
static size_t n_bytes;

static int fresh(void **state)
{
    (void)state;
    f = (struct framing){0};
    n_bytes = 0;
    at = bytes;
    return 0;
}

static void add(const void *p, size_t n)
{
    memcpy(bytes + n_bytes, p, n);
    n_bytes += n;
}

/* A masked frame. */
static void add_frame(unsigned first, const char *payload, size_t n)
{
    static const char mask[4] = {1, 2, 3, 4};
    uint8_t head[10] = {(uint8_t)first, (uint8_t)(0x80 | n)};
    size_t len = 2;

    if (n >= 126) {
        head[1] = n <= UINT16_MAX ? 0xfe : 0xff;
        len = n <= UINT16_MAX ? 4 : 10;
        for (size_t i = 0; i < len - 2; i++)
            head[len - 1 - i] = (uint8_t)((uint64_t)n >> 8 * i);
    }
    add(head, len);
    add(mask, 4);
    for (size_t i = 0; i < n; i++)
        bytes[n_bytes++] = (char)(payload[i] ^ mask[i % 4]);
}

static enum framing_what next(void) { return framing_next(&f, &at, bytes + n_bytes, &got); }

static void expect_piece(unsigned opcode, struct str piece, uint64_t left, bool is_last)
{
    assert_int_equal(next(), FRAMING_PIECE);
    assert_int_equal(got.opcode, opcode);
    assert_true(str_eq(got.piece, piece));
    assert_int_equal(got.left, left);
    assert_int_equal(got.is_last, is_last);
}

PROMISE(frames_behind_each_other_come_one_by_one)
{
    add_frame(0x81, "hello", 5);
    add_frame(0x89, "", 0);
    add_frame(0x01, "a ", 2);
    add_frame(0x8a, "pong", 4);
    add_frame(0x80, "message of two", 14);
    expect_piece(1, STR("hello"), 0, true);
    expect_piece(OPCODE_PING, STR(""), 0, true);
    expect_piece(1, STR("a "), 0, false);
    expect_piece(OPCODE_PONG, STR("pong"), 0, true);
    expect_piece(OPCODE_CONTINUE, STR("message of two"), 0, true);
    assert_int_equal(next(), FRAMING_MORE);
    assert_ptr_equal(at, bytes + n_bytes);
}

PROMISE(every_length_is_read)
{
    static const size_t lengths[] = {0, 1, 125, 126, 127, 256, 65535, 65536, 70000};
    static char payload[70000];

    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (char)(i * 7);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        fresh(NULL);
        add_frame(0x82, payload, lengths[i]);
        expect_piece(OPCODE_BINARY, str_of(payload, lengths[i]), 0, true);
        assert_ptr_equal(at, bytes + n_bytes);
    }
}

/* At every place, and into three. */
PROMISE(any_split_gives_the_same_bytes)
{
    static const char text[] = "twenty-nine bytes of payload.";
    char whole[64];
    size_t n, len = sizeof text - 1;

    add_frame(0x81, text, len);
    n = n_bytes;
    memcpy(whole, bytes, n);
    for (size_t a = 0; a <= n; a++) {
        for (size_t b = a; b <= n; b++) {
            const size_t ends[] = {a, b, n};
            struct buf all = {0};
            bool is_last = false;

            fresh(NULL);
            memcpy(bytes, whole, n);
            for (int i = 0; i < 3; i++) {
                n_bytes = ends[i];
                while (next() == FRAMING_PIECE) {
                    buf_str(&all, got.piece);
                    assert_int_equal(got.left, len - all.len);
                    is_last = got.is_last;
                }
            }
            assert_true(is_last && str_eq(buf_get(&all), str_of(text, len)));
            buf_deinit(&all);
        }
    }
}

PROMISE(what_is_announced_is_told_with_the_header)
{
    add("\x81\xff\0\0\1\0\0\0\0\0\1\2\3\4", 14);
    expect_piece(1, STR(""), (uint64_t)1 << 40, false);
    assert_int_equal(next(), FRAMING_MORE);
}

static void expect_bad(const char *head, size_t n)
{
    fresh(NULL);
    add(head, n);
    assert_int_equal(next(), FRAMING_BAD);
}

PROMISE(what_the_protocol_forbids_is_found_with_its_second_byte)
{
    expect_bad("\x81\x05", 2); /* unmasked */
    expect_bad("\xc1\x85", 2); /* a reserved bit */
    expect_bad("\xa1\x85", 2);
    expect_bad("\x91\x85", 2);
    expect_bad("\x83\x85", 2); /* a reserved opcode */
    expect_bad("\x87\x85", 2);
    expect_bad("\x8b\x85", 2);
    expect_bad("\x8f\x85", 2);
    expect_bad("\x09\x81", 2); /* a control frame in pieces */
    expect_bad("\x89\xfe", 2); /* or too long */
    expect_bad("\x80\x85", 2); /* continues nothing */
}

PROMISE(a_message_inside_a_message_is_bad)
{
    add_frame(0x01, "a", 1);
    add_frame(0x81, "b", 1);
    expect_piece(1, STR("a"), 0, false);
    assert_int_equal(next(), FRAMING_BAD);
}

PROMISE(a_length_has_at_most_63_bits) { expect_bad("\x81\xff\x80\0\0\0\0\0\0\0\1\2\3\4", 14); }

PROMISE(a_length_may_be_longer_than_it_need_be)
{
    add("\x81\xfe\x00\x01\0\0\0\0x", 9);
    expect_piece(1, STR("x"), 0, true);
}

int main(void)
{
#define FRESH(test) cmocka_unit_test_setup(test, fresh)
    const struct CMUnitTest tests[] = {
        FRESH(frames_behind_each_other_come_one_by_one),
        FRESH(every_length_is_read),
        FRESH(any_split_gives_the_same_bytes),
        FRESH(what_is_announced_is_told_with_the_header),
        FRESH(what_the_protocol_forbids_is_found_with_its_second_byte),
        FRESH(a_message_inside_a_message_is_bad),
        FRESH(a_length_has_at_most_63_bits),
        FRESH(a_length_may_be_longer_than_it_need_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
