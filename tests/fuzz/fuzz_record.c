/* Any bytes as a record, the first one its kind: no crash; what decodes is encoded and decoded to the same, and prints.
 */
#include "proto/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode_again(const struct record *r, struct arena *arena)
{
    struct buf first = {0}, second = {0}, event = {0};
    struct record back;

    record_encode(r, &first);
    if (record_decode(r->kind, buf_get(&first), arena, &back) != ERR_OK)
        abort();
    record_encode(&back, &second);
    if (!str_eq(buf_get(&first), buf_get(&second)))
        abort();
    if (r->kind == RECORD_ENTRY)
        entry_print(&r->entry, &event);
    buf_deinit(&first);
    buf_deinit(&second);
    buf_deinit(&event);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct record r;

    if (size && record_decode(data[0], str_of(data + 1, size - 1), &arena, &r) == ERR_OK)
        encode_again(&r, &arena);
    arena_deinit(&arena);
    return 0;
}
