/* tail: the last entries of conversations that are read again and again, as they are stored.
 *
 * What is asked of a conversation most is its end: the page that opens it, what a device missed, its last entry in a
 * list. Where a tail is kept, the store is not asked. It begins with the second read of the end, so that who looks at
 * many conversations once leaves no copies behind, and catches up when it is read: a commit does nothing for it. What
 * is in it changes by erasing alone, and then it is dropped (shard_log.c).
 *
 * Bounds: TAIL_ENTRIES and TAIL_BYTES each; all of a reactor's have a quarter of what its conversations have, and the
 * longest unused go. A tail goes with its conversation. Thread: the reactor's. */
#pragma once
#include "services/shard.h"

enum { TAIL_ENTRIES = 64, TAIL_BYTES = 32 << 10 };

/* convlog_read_bytes of a conversation, through its tail. `to` is at most its head. What is given is good until the
 * next of these calls for the same conversation, or until the caller returns to the loop. */
enum err conv_read(const struct reactor *r, struct conv *c, uint64_t from, uint64_t to, size_t max_entries,
                   size_t max_bytes, bool newest_first, struct lsm_need *need, struct arena *arena,
                   struct entry_bytes *out);
/* convlog_entry in the same way, decoded into the arena. */
enum err conv_entry(const struct reactor *r, const struct conv *c, uint64_t seq, struct lsm_need *need,
                    struct arena *arena, struct entry *out);
