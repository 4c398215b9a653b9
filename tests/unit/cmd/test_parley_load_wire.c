#include "tests/lib/unit.h"
#include "cmd/parley_load_wire.h"

#define WELCOME                                                                        \
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSEC-WebSocket-accept: " \
    "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

PROMISE(a_right_answer_to_the_upgrade_is_accepted_with_what_follows_left)
{
    size_t bytes = 0;
    int status;
    struct str in = STR(WELCOME "\x81\x00");

    assert_int_equal(wire_welcome(in, &bytes, &status), WIRE_FRAME);
    assert_int_equal(bytes, sizeof WELCOME - 1);
    for (size_t n = 0; n < sizeof WELCOME - 1; n++)
        assert_int_equal(wire_welcome(str_of(in.p, n), &bytes, &status), WIRE_MORE);
}

PROMISE(another_answer_to_the_upgrade_is_refused_with_its_status)
{
    size_t bytes;
    int status;

    assert_int_equal(wire_welcome(STR("HTTP/1.1 401 Unauthorized\r\n\r\n"), &bytes, &status), WIRE_BAD);
    assert_int_equal(status, 401);
    assert_int_equal(wire_welcome(STR("SSH-2.0 hello\r\n\r\n"), &bytes, &status), WIRE_BAD);
    assert_int_equal(status, 0);
    assert_int_equal(wire_welcome(STR("HTTP/1.1 101 OK\r\nSec-WebSocket-Accept: wrong\r\n\r\n"), &bytes, &status),
                     WIRE_BAD);
    assert_int_equal(status, 0);
}

static void put_header(struct buf *b, uint8_t first, size_t length)
{
    buf_char(b, (char)first);
    if (length < 126) {
        buf_char(b, (char)length);
    } else if (length < 65536) {
        buf_char(b, 126);
        buf_char(b, (char)(length >> 8));
        buf_char(b, (char)length);
    } else {
        buf_char(b, 127);
        for (int shift = 56; shift >= 0; shift -= 8)
            buf_char(b, (char)(length >> shift));
    }
}

static const size_t LENGTHS[] = {0, 1, 7, 8, 9, 125, 126, 127, 65535, 65536, 100000};

PROMISE(frames_of_all_sizes_are_read_and_parts_of_one_wait)
{
    for (size_t i = 0; i < sizeof LENGTHS / sizeof LENGTHS[0]; i++) {
        struct buf b = {0};
        struct wire_frame f;
        put_header(&b, 0x81, LENGTHS[i]);
        size_t header = b.len;
        memset(buf_reserve(&b, LENGTHS[i]), 'x', LENGTHS[i]);
        b.len += LENGTHS[i];
        buf_str(&b, STR("next"));
        assert_int_equal(wire_parse(buf_get(&b), &f), WIRE_FRAME);
        assert_int_equal(f.opcode, WIRE_TEXT);
        assert_int_equal(f.payload.len, LENGTHS[i]);
        assert_int_equal(f.bytes, header + LENGTHS[i]);
        for (size_t n = 0; n < header + LENGTHS[i]; n += n < 20 ? 1 : 5000)
            assert_int_equal(wire_parse(str_of(b.p, n), &f), WIRE_MORE);
        buf_deinit(&b);
    }
}

PROMISE(frames_that_break_the_rules_are_refused)
{
    static const char *const bad[] = {
        "\x01\x01x",
        /* no FIN */ "\xc1\x01x",
        /* a reserved bit */ "\x83\x01x", /* an unknown opcode */
        "\x81\x81xxxxx",
        /* masked */ "\x80\x01x",                   /* a continuation of nothing */
        "\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", /* too large */
    };
    struct wire_frame f;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(wire_parse(str_of(bad[i], i == 5 ? 10 : 3), &f), WIRE_BAD);
}

/* What a server does with a client's frame. */
static void read_masked(struct str frame, struct buf *payload)
{
    const uint8_t *p = (const uint8_t *)frame.p;
    size_t length = p[1] & 127, at = 2;

    assert_true(p[1] & 128);
    if (length >= 126) {
        size_t digits = length == 126 ? 2 : 8;
        for (length = 0; digits; digits--)
            length = length << 8 | p[at++];
    }
    assert_int_equal(frame.len, at + 4 + length);
    for (size_t i = 0; i < length; i++)
        buf_char(payload, (char)(p[at + 4 + i] ^ p[at + i % 4]));
}

PROMISE(what_is_written_reads_back_as_written_at_all_sizes_and_behind_others)
{
    for (size_t i = 0; i < sizeof LENGTHS / sizeof LENGTHS[0]; i++) {
        struct buf out = {0}, text = {0}, got = {0};
        buf_str(&out, STR("before"));
        for (size_t k = 0; k < LENGTHS[i]; k++)
            buf_char(&text, (char)(k * 31));
        size_t mark = wire_begin(&out);
        buf_str(&out, buf_get(&text));
        wire_end(&out, mark, WIRE_TEXT, 0xa1b2c3d4);
        assert_memory_equal(out.p, "before", 6);
        assert_int_equal((uint8_t)out.p[6], 0x81);
        read_masked(str_from(buf_get(&out), 6), &got);
        assert_true(str_eq(buf_get(&got), buf_get(&text)));
        buf_deinit(&out);
        buf_deinit(&text);
        buf_deinit(&got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_right_answer_to_the_upgrade_is_accepted_with_what_follows_left),
        HOLDS(another_answer_to_the_upgrade_is_refused_with_its_status),
        HOLDS(frames_of_all_sizes_are_read_and_parts_of_one_wait),
        HOLDS(frames_that_break_the_rules_are_refused),
        HOLDS(what_is_written_reads_back_as_written_at_all_sizes_and_behind_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
