#include "gateway/assembly.h"

enum { MASK_LEN = 4, MASK_BIT = 0x80, LEN_16 = 126, LEN_64 = 127, HEADER_16 = 4, HEADER_64 = 10 };

enum assembly_state assembly_add(struct assembly *a, struct str piece, uint64_t left, bool last, struct str *message)
{
    size_t have = a->got.len + piece.len;

    if (have > MESSAGE_MAX || left > MESSAGE_MAX - have)
        return ASSEMBLY_TOO_LARGE;
    if (last && a->got.len == 0) {
        *message = piece;
        return ASSEMBLY_WHOLE;
    }
    buf_add(&a->got, piece.p, piece.len);
    if (!last)
        return ASSEMBLY_MORE;
    *message = buf_get(&a->got);
    return ASSEMBLY_WHOLE;
}

void assembly_reset(struct assembly *a) { buf_deinit(&a->got); }

/* Is there, that many bytes before the payload, the header of a text or continuation frame with this length and mask?
 */
static bool is_header(const uint8_t *h, size_t len, uint64_t total, uint8_t mask)
{
    uint64_t said = 0;

    if ((h[0] & 0x7f) > 1 || (h[1] & MASK_BIT) != mask)
        return false;
    if (len == 2)
        return (h[1] & 0x7f) == total;
    if ((h[1] & 0x7f) != (len == HEADER_16 ? LEN_16 : LEN_64))
        return false;
    for (size_t i = 2; i < len; i++)
        said = said << 8 | h[i];
    return said == total;
}

bool assembly_is_unmasked(const void *payload, size_t before, uint64_t total)
{
    static const uint8_t lens[] = {2, HEADER_16, HEADER_64};
    const uint8_t *p = payload;

    for (size_t i = 0; i < sizeof lens; i++) {
        size_t masked = lens[i] + (size_t)MASK_LEN;

        if (before >= masked && is_header(p - masked, lens[i], total, MASK_BIT))
            return false;
    }
    for (size_t i = 0; i < sizeof lens; i++) {
        if (before >= lens[i] && is_header(p - lens[i], lens[i], total, 0))
            return true;
    }
    return false;
}
