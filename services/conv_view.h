/* conv_view: a conversation as one member sees it, printed: inside the member's visible ranges, by what is committed.
 *
 * All may need blocks of the store: on AGAIN (reactor_read) `out` is as it was before.
 * Who left sees neither title nor settings: they may have changed since, and what they were is not kept. */
#pragma once
#include "services/inner.h"
#include "services/shard.h"

struct conv_view {
    const struct reactor *r;
    struct conv *c;
    const struct member *m; /* of conv_committed(c) */
    struct lsm_need *need;
};

/* The time of the last visible entry; of who left and whose entries are all no more, when they came. Reads only for who
 * left. */
enum err conv_view_activity(const struct conv_view *v, int64_t *out);
/* An item of conversation.list; with `is_full` the whole of conversation.get. */
enum err conv_view_list(const struct conv_view *v, bool is_full, struct buf *out);

/* How much may be printed. */
struct conv_room {
    size_t entries, bytes;
    bool is_first; /* one entry is printed, whatever its size */
};
/* An item of sync with the oldest entries behind `after`, a reset when some of those are no more by now; *reached is
 * the last of them. When not even one has room, nothing is printed and *reached is `after`. */
enum err conv_view_sync(const struct conv_view *v, uint64_t after, bool is_reset, const struct conv_room *room,
                        struct buf *out, size_t *n, uint64_t *reached);
