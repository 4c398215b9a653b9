/* worker: a process that does a part of a run for a coordinator, and tells it what it found.
 *
 * It waits, logged in and with its rooms set up, until all others are as far. It says every second that it lives;
 * without its coordinator it ends. One job a process. */
#pragma once
#include "cmd/parley_load_link.h"
#include "cmd/parley_load_options.h"

/* Does the one job that comes over the socket, which becomes its own. A child of the coordinator (is_child) needs no
 * handshake. Returns the exit status. */
int worker_serve(int fd, bool is_child, const struct secret *s);
/* Waits at o->worker_listen for coordinators, one after the other, each served by a child. Returns the exit status,
 * when it cannot listen; else it goes on until it is killed. */
int worker_listen(const struct load_options *o);
