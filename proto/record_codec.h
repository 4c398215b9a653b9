/* record_codec: what the files that lay out records share. Internal to record*.c.
 *
 * The readers follow struct dec: a value out of range fails it, for good. */
#pragma once
#include "proto/record.h"

enum { RECORD_VERSION = 1, ENTRY_VERSION = 3, ERASE_VERSION = 2 };

void entry_encode(const struct entry *e, struct buf *out);
/* The least version that can say it: 2 for stubs, which version 1 did not know; 3 for what expires, or did. */
static inline uint8_t entry_version(const struct entry *e) { return e->expires_at ? 3 : e->gone ? 2 : 1; }
void entry_decode(struct dec *d, unsigned version, struct arena *arena, struct entry *e);

static inline void enc_add_bytes(struct buf *out, const void *p, size_t n) { buf_add(out, p, n); }
static inline void enc_add_optional(struct buf *out, bool has, struct str s)
{
    if (has)
        enc_add_field(out, s);
}

static inline void dec_copy_bytes(struct dec *d, void *out, size_t n)
{
    struct str s = dec_get_bytes(d, n);

    if (dec_ok(d))
        memcpy(out, s.p, n);
}
static inline struct conv_id dec_get_conv(struct dec *d)
{
    struct conv_id c = {0};

    dec_copy_bytes(d, c.b, sizeof c.b);
    return c;
}
static inline uint8_t dec_get_below(struct dec *d, unsigned bound)
{
    uint8_t v = dec_get_u8(d);

    d->failed |= v >= bound;
    return v;
}
static inline bool dec_get_bool(struct dec *d) { return dec_get_below(d, 2) == 1; }
static inline int64_t dec_get_ts(struct dec *d)
{
    uint64_t v = dec_get_varint(d);

    d->failed |= v > INT64_MAX;
    return (int64_t)(v & INT64_MAX);
}
static inline bool dec_get_optional(struct dec *d, unsigned has, struct str *out)
{
    if (has)
        *out = dec_get_field(d);
    return has != 0;
}
/* How many items of `size` bytes follow: no more than there are bytes for, so a count can be allocated. */
static inline size_t dec_get_count(struct dec *d, size_t size)
{
    uint64_t n = dec_get_varint(d);

    if (d->failed || n > (uint64_t)(d->end - d->p) / size) {
        d->failed = true;
        return 0;
    }
    return (size_t)n;
}
