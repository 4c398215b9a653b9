/* merge: many ascending walks as one. Of equal keys the one of the newest walk is met, the others are passed over.
 *
 * Tombstones are met like any key: leaving them out is the caller's, who knows whether something older remains.
 * Memory: the walks are borrowed; key and value are those of the walk that is on top, borrowed until the next step. */
#pragma once
#include "base/mem.h"
#include "storage/iter.h"

struct merge {
    struct iter it;
    struct merge_item *heap; /* least key first, among equals the newest walk */
    size_t n;
    struct str last; /* the key that was met, in last_bytes */
    char last_bytes[256];
};
/* `inputs`: newest first, each standing on its first key or ended. */
void merge_init(struct merge *m, struct iter *const inputs[], size_t n);
void merge_deinit(struct merge *m);
