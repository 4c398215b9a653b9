#include "gateway/assembly.h"

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
