/* Any text as a cursor of sync, and any bytes as what is in one: no crash; what is taken is encoded and decoded to the
 * same, and is sorted. */
#include "services/sync_cursor.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_be_same(const struct sync_cursor *a, const struct sync_cursor *b)
{
    if (a->epoch != b->epoch || a->is_since != b->is_since || a->activity != b->activity ||
        !conv_eq(&a->conv, &b->conv) || a->n != b->n)
        abort();
    for (size_t i = 0; i < a->n; i++) {
        if (a->v[i].prefix != b->v[i].prefix || a->v[i].seq != b->v[i].seq)
            abort();
        if (sync_cursor_find(a, a->v[i].prefix) != &a->v[i])
            abort();
    }
}

static void take(struct str text)
{
    struct arena arena = {0};
    struct buf again = {0};
    struct sync_cursor c, back;

    if (sync_cursor_decode(text, &arena, &c)) {
        sync_cursor_encode(&c, &again);
        if (!sync_cursor_decode(buf_get(&again), &arena, &back))
            abort();
        must_be_same(&c, &back);
        sync_cursor_order(&c);
        must_be_same(&c, &back);
    }
    arena_deinit(&arena);
    buf_deinit(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf text = {0};

    take(str_of(data, size));
    text.len = enc_base64url(buf_reserve(&text, size * 4 / 3 + 4), data, size);
    take(buf_get(&text));
    buf_deinit(&text);
    return 0;
}
