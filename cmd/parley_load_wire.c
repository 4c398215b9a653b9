#include "cmd/parley_load_wire.h"
#include <assert.h>
#include <ctype.h>

#define NONCE "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

enum { FIN = 0x80, RESERVED = 0x70, OPCODE = 0x0f, MASKED = 0x80, LENGTH = 0x7f };
enum { HEADER_SMALL = 6, HEADER_USUAL = 8, HEADER_LARGE = 14, HEAD_MAX = 16384 };

void wire_hello(struct buf *out, struct str host, struct str path)
{
    buf_printf(out,
               "GET " STR_FMT " HTTP/1.1\r\nHost: " STR_FMT "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Key: " NONCE "\r\nSec-WebSocket-Version: 13\r\n\r\n",
               STR_ARG(path), STR_ARG(host));
}

/* The value of a header, or an empty text. */
static struct str header_get(struct str head, struct str name)
{
    struct str line, value;

    while (str_cut(head, '\n', &line, &head)) {
        if (!str_cut(line, ':', &line, &value) || line.len != name.len || strncasecmp(line.p, name.p, name.len) != 0)
            continue;
        while (value.len && isspace((unsigned char)value.p[0]))
            value = str_from(value, 1);
        while (value.len && isspace((unsigned char)value.p[value.len - 1]))
            value.len--;
        return value;
    }
    return STR("");
}

enum wire_result wire_welcome(struct str in, size_t *bytes, int *status)
{
    const char *end = memmem(in.p, in.len, "\r\n\r\n", 4);
    struct str head = {in.p, end ? (size_t)(end - in.p) + 4 : in.len};
    int64_t code;

    *status = 0;
    if (!end)
        return in.len < HEAD_MAX ? WIRE_MORE : WIRE_BAD;
    if (!str_starts(head, STR("HTTP/1.1 ")) || !str_to_i64(str_of(head.p + 9, 3), 100, 999, &code))
        return WIRE_BAD;
    *status = (int)code;
    if (code != 101)
        return WIRE_BAD;
    if (!str_eq(header_get(head, STR("Sec-WebSocket-Accept")), STR(ACCEPT))) {
        *status = 0;
        return WIRE_BAD;
    }
    *bytes = head.len;
    return WIRE_FRAME;
}

static bool opcode_is_known(unsigned opcode)
{
    return opcode == WIRE_TEXT || opcode == WIRE_BINARY || (opcode >= WIRE_CLOSE && opcode <= WIRE_PONG);
}

enum wire_result wire_parse(struct str in, struct wire_frame *out)
{
    const uint8_t *p = (const uint8_t *)in.p;
    uint64_t length;
    size_t header = 2;

    if (in.len < 2)
        return WIRE_MORE;
    if (!(p[0] & FIN) || (p[0] & RESERVED) || (p[1] & MASKED) || !opcode_is_known(p[0] & OPCODE))
        return WIRE_BAD;
    length = p[1] & LENGTH;
    header += length == 126 ? 2 : length == 127 ? 8 : 0;
    if (in.len < header)
        return WIRE_MORE;
    if (header > 2) {
        length = 0;
        for (size_t i = 2; i < header; i++)
            length = length << 8 | p[i];
    }
    if (length > WIRE_FRAME_MAX)
        return WIRE_BAD;
    if (in.len - header < length)
        return WIRE_MORE;
    out->opcode = p[0] & OPCODE;
    out->payload = str_of(in.p + header, (size_t)length);
    out->bytes = header + (size_t)length;
    return WIRE_FRAME;
}

size_t wire_begin(struct buf *out)
{
    size_t mark = out->len;

    buf_reserve(out, HEADER_USUAL);
    out->len += HEADER_USUAL;
    return mark;
}

static void mask_bytes(char *p, size_t n, uint32_t mask)
{
    uint64_t wide = (uint64_t)mask << 32 | mask, v;
    uint8_t key[4];

    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&v, p, 8);
        v ^= wide;
        memcpy(p, &v, 8);
    }
    memcpy(key, &mask, 4);
    for (size_t i = 0; i < n; i++)
        p[i] = (char)(p[i] ^ key[i & 3]);
}

/* The header's size depends on the payload's, and only now is that known. Nearly every message is between 126 and 65535
 * bytes, for which wire_begin left exactly enough; the others are moved. */
void wire_end(struct buf *out, size_t mark, enum wire_opcode opcode, uint32_t mask)
{
    size_t length = out->len - mark - HEADER_USUAL;
    size_t header = length < 126 ? HEADER_SMALL : length < 65536 ? HEADER_USUAL : HEADER_LARGE;
    uint8_t *p;

    assert(length <= UINT32_MAX);
    if (header != HEADER_USUAL) {
        buf_reserve(out, HEADER_LARGE - HEADER_USUAL);
        memmove(out->p + mark + header, out->p + mark + HEADER_USUAL, length);
        out->len = mark + header + length;
    }
    p = (uint8_t *)out->p + mark;
    *p++ = (uint8_t)(FIN | (unsigned)opcode);
    if (header == HEADER_SMALL) {
        *p++ = (uint8_t)(MASKED | length);
    } else if (header == HEADER_USUAL) {
        *p++ = MASKED | 126;
        *p++ = (uint8_t)(length >> 8);
        *p++ = (uint8_t)length;
    } else {
        *p++ = MASKED | 127;
        for (int shift = 56; shift >= 0; shift -= 8)
            *p++ = (uint8_t)((uint64_t)length >> shift);
    }
    memcpy(p, &mask, 4);
    mask_bytes((char *)p + 4, length, mask);
}
