/* unread: how many messages of a conversation a member has not read.
 *
 * Every entry carries its ordinal, the number of messages up to and including it; so the messages of a stretch of seqs
 * are a difference of two ordinals, however long it is. Nothing is counted per member when a message is written. */
#pragma once
#include "services/shard.h"

/* Messages above the member's `read` inside its visible ranges, of those that are kept. AGAIN: call again when `need`
 * is loaded (reactor_read).
 */
enum err unread_count(const struct reactor *r, const struct conv *c, const struct member *m, struct lsm_need *need,
                      uint64_t *out);
