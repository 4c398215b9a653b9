/* Any bytes as a manifest, also with the right checksum behind them: no crash; what decodes is encoded and decoded to
 * the same. */
#include "base/enc.h"
#include "base/hash.h"
#include "storage/manifest.h"
#include <stdlib.h>

#define MAGIC 0x494e414d594c5250u /* which seeds the checksum (manifest.c) */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode_again(const struct manifest *m)
{
    struct manifest back = {0};
    struct buf bytes = {0};

    manifest_encode(m, &bytes);
    if (manifest_decode(buf_get(&bytes), &back) != ERR_OK || back.generation != m->generation ||
        back.next_table != m->next_table || back.n_tables != m->n_tables || !positions_eq(&back.durable, &m->durable))
        abort();
    if (m->n_tables && memcmp(back.tables, m->tables, m->n_tables * sizeof m->tables[0]) != 0)
        abort();
    manifest_deinit(&back);
    buf_deinit(&bytes);
}

static void decode(struct str bytes)
{
    struct manifest m = {0};

    if (manifest_decode(bytes, &m) == ERR_OK)
        encode_again(&m);
    manifest_deinit(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf b = {0};

    decode(str_of(data, size));
    buf_add(&b, data, size);
    enc_add_u64(&b, hash_sum(b.p, b.len, MAGIC));
    decode(buf_get(&b));
    buf_deinit(&b);
    return 0;
}
