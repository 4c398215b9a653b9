/* page: a page of a list that goes by user: where it begins, and its end.
 *
 * Thread: the reactor's. */
#pragma once
#include "services/reactor.h"

/* The user that the page begins behind; 0: the list's first. False: the cursor is not one of ours, which was answered.
 */
bool page_begin(struct reactor *r, struct request *q, bool has_cursor, struct str cursor, user_id *after);
/* Closes the array of the page and the object around it; `last` is who it ended with. */
void page_end(struct buf *out, bool more, user_id last);
