/* Any bytes as what a client sends: no crash, and cut into two anywhere they are the same frames, the same payload, and
 * bad at the same place. The first byte says where the cut is. */
#include "gateway/framing.h"
#include "base/buf.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* All that was found, as one text: of each frame its opcode, its payload and whether it ended a message. */
struct found {
    struct framing f;
    struct buf text;
    bool is_bad;
};

static void take(struct found *all, char *p, char *end)
{
    enum framing_what what = FRAMING_PIECE;
    struct framed one;

    while (!all->is_bad && (what = framing_next(&all->f, &p, end, &one)) == FRAMING_PIECE) {
        buf_str(&all->text, one.piece);
        if (one.left)
            continue;
        buf_char(&all->text, (char)one.opcode);
        buf_char(&all->text, (char)one.is_last);
    }
    all->is_bad |= what == FRAMING_BAD;
    if (!all->is_bad && p != end)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct found whole = {0}, cut = {0};
    struct buf bytes = {0};
    size_t n = size ? size - 1 : 0, at = n ? data[0] % (n + 1) : 0;

    if (n == 0)
        return 0;
    buf_add(&bytes, data + 1, n);
    take(&whole, bytes.p, bytes.p + n);
    memcpy(bytes.p, data + 1, n); /* it was unmasked */
    take(&cut, bytes.p, bytes.p + at);
    take(&cut, bytes.p + at, bytes.p + n);
    if (whole.is_bad != cut.is_bad || !str_eq(buf_get(&whole.text), buf_get(&cut.text)))
        abort();
    buf_deinit(&whole.text);
    buf_deinit(&cut.text);
    buf_deinit(&bytes);
    return 0;
}
