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

static enum framing_what read_head(struct framing *f, char **at, char *end)
{
    while (f->have < 2 || f->have < head_len(f->head)) {
        if (*at == end)
            return FRAMING_MORE;
        f->head[f->have++] = (uint8_t) * (*at)++;
        if (f->have == 2 && !may_begin(f))
            return FRAMING_BAD;
    }
    if (!read_length(f))
        return FRAMING_BAD;
    if (!framing_is_control(f->head[0] & OPCODE))
        f->is_in_message = !(f->head[0] & FIN);
    memmove(f->head + FRAME_HEAD_MAX - MASK, f->head + f->have - MASK, MASK);
    f->turn = 0;
    f->is_in_payload = true;
    return FRAMING_PIECE;
}

static void unmask(struct framing *f, char *p, size_t n)
{
    const uint8_t *mask = f->head + FRAME_HEAD_MAX - MASK;
    uint8_t turned[8];
    uint64_t eight, w;
    size_t i = 0;

    for (unsigned k = 0; k < sizeof turned; k++)
        turned[k] = mask[(f->turn + k) % MASK];
    memcpy(&eight, turned, sizeof eight);
    for (; n - i >= sizeof w; i += sizeof w) {
        memcpy(&w, p + i, sizeof w);
        w ^= eight;
        memcpy(p + i, &w, sizeof w);
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
