#include "proto/frame.h"
#include "base/enc.h"
#include "base/spare.h"

enum { FIN = 0x80, OPCODE_TEXT = 1, LEN_16 = 126, LEN_64 = 127 };

size_t frame_header(uint8_t *out, unsigned opcode, size_t payload)
{
    out[0] = (uint8_t)(FIN | opcode);
    if (payload < LEN_16) {
        out[1] = (uint8_t)payload;
        return 2;
    }
    if (payload <= UINT16_MAX) {
        out[1] = LEN_16;
        out[2] = (uint8_t)(payload >> 8);
        out[3] = (uint8_t)payload;
        return 4;
    }
    out[1] = LEN_64;
    enc_be64(out + 2, payload);
    return FRAME_HEADER_MAX;
}

struct frame *frame_text(struct str payload)
{
    uint8_t head[FRAME_HEADER_MAX];
    size_t n = frame_header(head, OPCODE_TEXT, payload.len);
    struct frame *f = spare_alloc(sizeof *f + n + payload.len);

    atomic_init(&f->refs, 1);
    f->payload = (uint32_t)n;
    f->len = (uint32_t)(n + payload.len);
    memcpy(f->bytes, head, n);
    if (payload.len)
        memcpy(f->bytes + n, payload.p, payload.len);
    return f;
}

/* A new reference comes from one that is held, so nothing needs ordering; the last one to go must see what all the
 * others did before theirs went. */
static void ref(_Atomic uint32_t *refs) { atomic_fetch_add_explicit(refs, 1, memory_order_relaxed); }
static bool unref(_Atomic uint32_t *refs) { return atomic_fetch_sub_explicit(refs, 1, memory_order_acq_rel) == 1; }

struct frame *frame_ref(struct frame *f)
{
    ref(&f->refs);
    return f;
}

void frame_unref(struct frame *f)
{
    if (f && unref(&f->refs))
        spare_free(f, sizeof *f + f->len);
}

struct audience *audience_new(size_t n)
{
    struct audience *a = mem_alloc(sizeof *a + n * sizeof a->users[0]);

    atomic_init(&a->refs, 1);
    a->n = (uint32_t)n;
    return a;
}

struct audience *audience_ref(struct audience *a)
{
    ref(&a->refs);
    return a;
}

void audience_unref(struct audience *a)
{
    if (a && unref(&a->refs))
        mem_free(a);
}
