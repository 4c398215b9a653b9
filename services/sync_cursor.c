/* The bytes:  version 1, since 1, epoch 8, activity 8, conv 16, n varint, then n times prefix 8, seq varint; ascending.
 */
#include "services/sync_cursor.h"

enum { VERSION = 1, FIXED = 1 + 1 + 8 + 8 + 16, LISTED_LEAST = 8 + 1 };

uint64_t sync_prefix(const struct conv_id *c) { return dec_be64(c->b); }

static int by_prefix(const void *x, const void *y)
{
    const struct sync_listed *a = x, *b = y;

    if (a->prefix != b->prefix)
        return a->prefix < b->prefix ? -1 : 1;
    return (a->seq > b->seq) - (a->seq < b->seq);
}

void sync_cursor_order(struct sync_cursor *c)
{
    size_t n = 0;

    if (c->n == 0)
        return;
    qsort(c->v, c->n, sizeof *c->v, by_prefix);
    for (size_t i = 0; i < c->n; i++) {
        if (n == 0 || c->v[n - 1].prefix != c->v[i].prefix)
            c->v[n++] = c->v[i];
    }
    c->n = n;
}

const struct sync_listed *sync_cursor_find(const struct sync_cursor *c, uint64_t prefix)
{
    size_t low = 0, high = c->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (c->v[mid].prefix < prefix)
            low = mid + 1;
        else
            high = mid;
    }
    return low < c->n && c->v[low].prefix == prefix ? &c->v[low] : NULL;
}

void sync_cursor_encode(const struct sync_cursor *c, struct buf *out)
{
    struct buf b = {0};

    enc_add_u8(&b, VERSION);
    enc_add_u8(&b, c->is_since);
    enc_add_u64(&b, c->epoch);
    enc_add_u64(&b, (uint64_t)c->activity);
    buf_add(&b, &c->conv, sizeof c->conv);
    enc_add_varint(&b, c->n);
    for (size_t i = 0; i < c->n; i++) {
        enc_add_u64(&b, c->v[i].prefix);
        enc_add_varint(&b, c->v[i].seq);
    }
    out->len += enc_base64url(buf_reserve(out, b.len * 4 / 3 + 4), b.p, b.len);
    buf_deinit(&b);
}

static bool decode_list(struct dec *d, struct arena *arena, struct sync_cursor *c)
{
    uint64_t n = dec_get_varint(d);

    if (!dec_ok(d) || n > (uint64_t)(d->end - d->p) / LISTED_LEAST)
        return false;
    c->n = (size_t)n;
    c->v = arena_alloc(arena, c->n * sizeof *c->v + 1);
    for (size_t i = 0; i < c->n; i++) {
        c->v[i].prefix = dec_get_u64(d);
        c->v[i].seq = dec_get_varint(d);
        if (!dec_ok(d) || c->v[i].seq > SEQ_MAX || (i && c->v[i].prefix <= c->v[i - 1].prefix))
            return false;
    }
    return dec_done(d);
}

bool sync_cursor_decode(struct str text, struct arena *arena, struct sync_cursor *out)
{
    size_t max = text.len, n = 0;
    char *bytes = arena_alloc(arena, max + 1);
    uint8_t version, since;
    struct str conv;
    struct dec d;

    if (text.len > SYNC_CURSOR_MAX || !dec_base64url(bytes, max, &n, text) || n < FIXED)
        return false;
    d = dec_of(str_of(bytes, n));
    version = dec_get_u8(&d);
    since = dec_get_u8(&d);
    *out = (struct sync_cursor){.epoch = dec_get_u64(&d), .is_since = since};
    out->activity = (int64_t)dec_get_u64(&d);
    conv = dec_get_bytes(&d, sizeof out->conv);
    if (version != VERSION || since > 1 || !dec_ok(&d) || out->activity < 0)
        return false;
    memcpy(&out->conv, conv.p, sizeof out->conv);
    return decode_list(&d, arena, out);
}
