/* erase: an operator's deleting of messages, page by page at their conversation; and that of those that expired.
 *
 * A page is read, the messages in it that have content become one ERASE record in the conversation's log, and the asker
 * is answered when that is durable and the store has the stubs. What is already erased, and what is no message, is
 * passed over; so asking again does no harm. What was erased leaves the files by purge.h.
 *
 * Thread: the reactor's; erase_start is the directory's, which asks the owners. */
#pragma once
#include "proto/code.h"
#include "proto/id.h"
#include "proto/record.h"

struct directory;
struct erase_run;
struct erase_range {
    struct conv_id conv;
    uint64_t from, to; /* both included */
    int64_t before_ms; /* only what was sent before this moment; 0: all */
    user_id user;      /* only what this one sent; 0: all */
};
struct erase_conf {
    /* Once, unless cancelled before: how many messages lost their content. On an error, how many did before it. */
    void (*done)(void *arg, enum code code, const char *why, uint64_t erased);
    /* How far it is, a few times a second at most; may be NULL. Seqs, or for a user conversations. */
    void (*progress)(void *arg, uint64_t at, uint64_t of, uint64_t erased);
    const bool *is_over; /* may be NULL; once it is true no further page is asked for */
    void *arg;
};
struct erase_run *erase_start(struct directory *d, const struct erase_range *range, const struct erase_conf *c);
/* How long the oldest erasing has been in the files, over all reactors and the directory: done's `erased` is that
 * moment, 0: none is. */
struct erase_run *erase_ask_status(struct directory *d, const struct erase_conf *c);
void erase_cancel(struct erase_run *e); /* NULL is fine; the page under way still ends */

/* All that a user sent before it began (and, if before_ms, before that moment), in every conversation that they are or
 * were in, one after the other. `who`: a username or an id; a name wins. NULL: done was called. */
struct erase_user;
struct erase_user *erase_user_start(struct directory *d, struct str who, int64_t before_ms, const struct erase_conf *c);
void erase_user_cancel(struct erase_user *e);
