/* sync_cursor: how far a pass of sync is, whole in the text that the client brings back: the server keeps nothing.
 *
 * A pass gives conversations by their last activity, oldest first. The mark is the activity up to which all are
 * through; the list says of single conversations up to which seq the client has them: those named by `since`, the one
 * that a page ended in, and those given last, so that one which is active during the pass goes on where it was. What is
 * neither listed nor behind the mark begins at 0 (`since`) or at the device's own cursor. So nothing is ever skipped; a
 * conversation that fell from the list and became active again is given once more.
 *
 * Conversations are listed by the first 8 bytes of their ids, which are keyed hashes: all but unique for one user. Two
 * with the same are both taken to have what the lower seq says.
 * A cursor carries no right: forged, it is as good as a `since` that anybody may send. */
#pragma once
#include "proto/id.h"

enum { SYNC_CURSOR_MAX = 131072 /* characters */, SYNC_LISTED_MAX = 6000 /* always fit */ };

struct sync_listed {
    uint64_t prefix, seq;
};
struct sync_cursor {
    uint64_t epoch; /* a hash of its name */
    bool is_since;
    int64_t activity; /* the mark: (activity, conv), both 0 at the beginning */
    struct conv_id conv;
    struct sync_listed *v; /* by prefix, each once */
    size_t n;
};

uint64_t sync_prefix(const struct conv_id *c);
/* Sorts the list and lets each prefix stand once. */
void sync_cursor_order(struct sync_cursor *c);
const struct sync_listed *sync_cursor_find(const struct sync_cursor *c, uint64_t prefix); /* NULL: not listed */

/* Appends it as base64url. At most SYNC_LISTED_MAX are listed. */
void sync_cursor_encode(const struct sync_cursor *c, struct buf *out);
/* False for what no server wrote. The list goes into the arena. */
bool sync_cursor_decode(struct str text, struct arena *arena, struct sync_cursor *out);
