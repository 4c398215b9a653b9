/* where: which ports each user is at: the bus's one table that threads share.
 *
 * Thread: any. 64 stripes of a lock each; what one call did happens before what a later one on the same user sees.
 * Memory: 16 bytes for each pair of user and port, in tables at most 3/4 full that grow by doubling: 21 to 43 bytes an
 * online user. */
#pragma once
#include "base/hash.h"

struct where;

void where_create(const struct hash_key *key, struct where **out);
void where_destroy(struct where *w);
/* Counted: a user stays at a port until as many left as joined. Leaving without having joined is a bug and aborts. */
void where_join(struct where *w, uint64_t user, unsigned port);
void where_leave(struct where *w, uint64_t user, unsigned port);
uint64_t where_ports(struct where *w, uint64_t user); /* a bit each; 0: nowhere */
