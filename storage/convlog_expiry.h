/* convlog_expiry: which messages expire when: an index by time, beside the conversations of a shard.
 *
 *   shard 1  'x'  expires_at 8 (big endian)  conv 16  seq 8 (big endian)   →   nothing
 *
 * A key is put with its entry and deleted with the erasing that makes the entry a stub, each in the same batch
 * (convlog_put); so who finds no key up to a moment knows that nothing is left to erase. A key without an entry that
 * expires does no harm: whoever meets it takes it away. All keys of a shard are the shard's: they move with it.
 *
 * Thread: the store's owner. */
#pragma once
#include "storage/convlog.h"

enum { EXPIRY_KEY = 34 };
#define EXPIRY_NEVER INT64_MAX
struct expiring {
    int64_t at; /* ms since 1970 */
    struct conv_id conv;
    uint64_t seq;
};

void expiry_key(uint16_t shard, const struct expiring *x, char out[EXPIRY_KEY]);
bool expiry_key_parse(struct str key, struct expiring *out); /* false: not one of these */

/* Those of [from, until], at most max, the earliest first. *next is when the first expires that is not among them,
 * EXPIRY_NEVER when there is none. OK, AGAIN, LIMIT, IO, CORRUPT. */
enum err convlog_expiring(struct lsm *l, uint16_t shard, int64_t from, int64_t until, size_t max, struct lsm_need *need,
                          struct expiring *out, size_t *n, int64_t *next);
MUST_CHECK enum err convlog_expiry_put(struct lsm *l, uint16_t shard, const struct entry *e);
/* Is there none, nothing is done. */
MUST_CHECK enum err convlog_expiry_delete(struct lsm *l, uint16_t shard, const struct expiring *x);
