/* listener: a listening socket on the loop, one a reactor on the same port; the kernel spreads the connections.
 *
 * Out of descriptors it pauses for a moment instead of spinning. Thread: the loop's. */
#pragma once
#include "base/loop.h"

struct listener;
typedef void listener_fn(void *ctx, int fd); /* fd is the callee's now: non-blocking, without Nagle's delay */

/* `port` 0 takes a free one. is_shared: another listener of this process has it. LOCKED: somebody else has it;
 * NOT_FOUND: this machine has no such address; IO: not to be had. All are said in the log. */
MUST_CHECK enum err listener_open(struct loop *l, const char *host, int port, bool is_shared, listener_fn *fn,
                                  void *ctx, struct listener **out);
/* Would listener_open do, for the first of them? Nothing is kept. */
MUST_CHECK enum err listener_try(const char *host, int port);
void listener_close(struct listener *l); /* the loop frees it */
int listener_port(const struct listener *l);
