/* receipt: cursors of members: "has everything up to 41, has read up to 38".
 *
 * A step is a record of the log. The first of a device goes out at once; what follows within RECEIPT_MERGE_MS, or while
 * it is under way, is merged into one more. Answered and announced after commit. */
#pragma once
#include "services/shard.h"

enum { RECEIPT_MERGE_MS = 200 };

void receipts_create(struct reactor *r, struct receipts **out);
void receipts_destroy(struct receipts *s);
void receipts_leave(struct receipts *s, uint16_t shard); /* none of the shard rests: they are sent, or done */
/* Whether `m` is among those whose cursors `viewer`, who sees no further than `last`, is told: for who is in, all who
 * are; for who left, who was in at `last`. */
bool receipt_is_listed(const struct member *viewer, const struct member *m, uint64_t last);
/* Whether `viewer` may see how far `of` is: not across a block. */
bool receipt_is_visible(const struct authority *a, user_id viewer, user_id of);
/* One member's cursors as `viewer` may see them: {"user":…,"delivered":…,"read":…}, cut at the viewer's last visible
 * seq. */
void receipt_print(const struct member *m, uint64_t last_visible, struct buf *out);
