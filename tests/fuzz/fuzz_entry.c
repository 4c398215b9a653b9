/* Any bytes as an entry's event, as a line of an import: no crash; what is read is encoded and decoded as a record, and
 * prints as something that is read again. */
#include "proto/entry_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_again(struct entry *e, struct arena *arena)
{
    struct record r = {.kind = RECORD_ENTRY, .entry = *e}, back;
    struct buf bytes = {0}, event = {0};
    struct entry again;

    r.entry.conv_kind = CONV_GROUP;
    record_encode(&r, &bytes);
    if (record_decode(RECORD_ENTRY, buf_get(&bytes), arena, &back) != ERR_OK)
        abort();
    entry_print(e, &event);
    if (entry_parse(buf_get(&event), arena, &again) != ERR_OK || again.seq != e->seq || again.from != e->from ||
        !str_eq(again.content, e->content))
        abort();
    buf_deinit(&bytes);
    buf_deinit(&event);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct entry e;

    if (entry_parse(str_of(data, size), &arena, &e) == ERR_OK)
        read_again(&e, &arena);
    arena_deinit(&arena);
    return 0;
}
