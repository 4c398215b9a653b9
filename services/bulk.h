/* bulk: how much reading one turn of the loop does, so that what is committed, written and delivered never waits for
 * more than that.
 *
 * Those run as they come. A read runs at once, too, while its turn has room and nobody waits; else it waits, and runs
 * at the end of a turn, behind all else that the turn had to do. Who waits is served by turns, a read for each user: so
 * who asks for a thousand pages delays others by one at a time.
 *
 * A turn has BULK_TURN_ROWS, about half a millisecond. A read takes of them what it may print or look at, known from
 * its arguments, and the last one of a turn may take more than was left. A page that is read from the disk is printed
 * when it is there; reads of a conversation that is being loaded run when it is.
 *
 * Bounds: BULK_OF_USER of a user wait, BULK_WAITING_MAX in all; beyond them a read is answered `unavailable`.
 * Thread: the reactor's. Memory: of a request that waits its `msg` is used. */
#pragma once
#include "services/reactor.h"

enum { BULK_TURN_ROWS = 256, BULK_REQUEST_ROWS = 4 /* of every read */, BULK_OF_USER = 1024, BULK_WAITING_MAX = 16384 };

struct bulk;
void bulk_create(struct reactor *r, reactor_fn *serve, struct bulk **out);
void bulk_destroy(struct bulk *b); /* what waits stays unanswered */

/* Whether it is one: an op that reads, or a batch of conversations that sync or a list asks for. */
bool bulk_is(const struct request *q);
/* Calls `serve` with it, now or later, or refuses it. */
void bulk_serve(struct bulk *b, struct request *q);
