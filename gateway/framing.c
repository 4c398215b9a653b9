#include "gateway/framing.h"
#include "base/enc.h"

enum { FIN = 0x80, RESERVED = 0x70, OPCODE = 0x0f, MASKED = 0x80, LENGTH = 0x7f, LEN_16 = 126, LEN_64 = 127, MASK = 4 };

static size_t head_len(const uint8_t *head)
{
    unsigned n = head[1] & LENGTH;

    return 2 + (n == LEN_16 ? 2 : n == LEN_64 ? 8 : 0) + MASK;
}

/* What the first two bytes tell. */
static bool may_begin(const struct framing *f)
{
    unsigned opcode = f->head[0] & OPCODE;

    if ((f->head[0] & RESERVED) || !(f->head[1] & MASKED))
        return false;
    if (framing_is_control((uint8_t)opcode))
        return opcode <= OPCODE_PONG && (f->head[0] & FIN) && (f->head[1] & LENGTH) <= CONTROL_MAX;
    return opcode <= OPCODE_BINARY && (opcode == OPCODE_CONTINUE) == f->is_in_message;
}

/* False: beyond what there can be. One that takes more bytes than it need, as some clients write it, is read. */
static bool read_length(struct framing *f)
{
    unsigned n = f->head[1] & LENGTH;

    if (n == LEN_16)
        f->left = (uint64_t)f->head[2] << 8 | f->head[3];
    else if (n == LEN_64)
        f->left = dec_be64(f->head + 2);
    else
        f->left = n;
    return f->left <= INT64_MAX;
}

/* Takes what the header still lacks of its first n bytes; false: it is not all there. */
static bool take_head(struct framing *f, size_t n, char **at, char *end)
{
    size_t lacks = n - f->have, there = (size_t)(end - *at);
    size_t took = lacks < there ? lacks : there;

    memcpy(f->head + f->have, *at, took);
    f->have = (uint8_t)(f->have + took);
    *at += took;
    return took == lacks;
}

static enum framing_what read_head(struct framing *f, char **at, char *end)
{
    if (f->have < 2 && !take_head(f, 2, at, end))
        return FRAMING_MORE;
    if (!may_begin(f))
        return FRAMING_BAD;
    if (!take_head(f, head_len(f->head), at, end))
        return FRAMING_MORE;
    if (!read_length(f))
        return FRAMING_BAD;
    if (!framing_is_control(f->head[0] & OPCODE))
        f->is_in_message = !(f->head[0] & FIN);
    memmove(f->head + FRAME_HEAD_MAX - MASK, f->head + f->have - MASK, MASK);
    f->turn = 0;
    f->is_in_payload = true;
    return FRAMING_PIECE;
}

/* Sixteen bytes at a time: every processor this is built for has registers of that size. */
typedef uint32_t wide __attribute__((vector_size(16)));

static void unmask(struct framing *f, char *p, size_t n)
{
    const uint8_t *mask = f->head + FRAME_HEAD_MAX - MASK;
    uint8_t turned[MASK];
    uint32_t four, w4;
    wide sixteen, w;
    size_t i = 0;

    for (unsigned k = 0; k < MASK; k++)
        turned[k] = mask[(f->turn + k) % MASK];
    memcpy(&four, turned, sizeof four);
    sixteen = (wide){four, four, four, four};
    for (; n - i >= sizeof w; i += sizeof w) {
        memcpy(&w, p + i, sizeof w);
        w ^= sixteen;
        memcpy(p + i, &w, sizeof w);
    }
    for (; n - i >= sizeof w4; i += sizeof w4) {
        memcpy(&w4, p + i, sizeof w4);
        w4 ^= four;
        memcpy(p + i, &w4, sizeof w4);
    }
    for (unsigned k = 0; i < n; i++, k++)
        p[i] = (char)((uint8_t)p[i] ^ turned[k]);
    f->turn = (uint8_t)((f->turn + n) % MASK);
}

enum framing_what framing_next(struct framing *f, char **at, char *end, struct framed *out)
{
    size_t n;

    if (!f->is_in_payload) {
        enum framing_what what = read_head(f, at, end);

        if (what != FRAMING_PIECE)
            return what;
    } else if (*at == end) {
        return FRAMING_MORE;
    }
    n = (uint64_t)(end - *at) < f->left ? (size_t)(end - *at) : (size_t)f->left;
    unmask(f, *at, n);
    f->left -= n;
    *out = (struct framed){
        .opcode = f->head[0] & OPCODE,
        .is_last = f->left == 0 && (f->head[0] & FIN),
        .left = f->left,
        .piece = str_of(*at, n),
    };
    *at += n;
    if (f->left == 0) {
        f->is_in_payload = false;
        f->have = 0;
    }
    return FRAMING_PIECE;
}
