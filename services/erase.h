/* erase: an operator's deleting of messages, page by page at their conversation.
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
};
struct erase_conf {
    /* Once, unless cancelled before: how many messages lost their content. On an error, how many did before it. */
    void (*done)(void *arg, enum code code, const char *why, uint64_t erased);
    void *arg;
};
struct erase_run *erase_start(struct directory *d, const struct erase_range *range, const struct erase_conf *c);
/* How long the oldest erasing has been in the files, over all reactors: done's `erased` is that moment, 0: none is. */
struct erase_run *erase_ask_status(struct directory *d, const struct erase_conf *c);
void erase_cancel(struct erase_run *e); /* NULL is fine; the page under way still ends */
