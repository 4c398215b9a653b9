/* retention: entries that are older than their conversation keeps them are forgotten, the oldest first.
 *
 * How long that is says the conversation (`parley retention`, a RETENTION record) or, where it says nothing, the server
 * (world.limits.retention_ms). A page of at most FORGET_MAX entries goes with one FORGET record; the first_seq of the
 * conversation rises by it, and what was forgotten leaves the files by purge.h. The newest entry stays, as a stub, so a
 * conversation always has a last one. Before a pair's first message goes it becomes a stub, so that the tables hear of
 * it (a dead letter may hold its content).
 *
 * A sweep looks for what is due: over the conversations of each shard of a reactor, one at a time, in steps with pauses
 * between, SWEEPS_A_TIME times in world_erase_within. Where the server keeps everything, only over those with a
 * retention of their own.
 *
 * The clock: a shard keeps when it was swept last. When that is more than SWEEP_DOUBT_MS ago, the server stood still,
 * or the clock is wrong; nothing says which. So nothing is forgotten until the server has run for SWEEP_DOUBT_MS, and a
 * log line says so at once. A clock that is less wrong forgets so much too early, one that is behind too late.
 *
 * Thread: the reactor's; retention_ask is the directory's, which asks the owners. */
#pragma once
#include "proto/code.h"
#include "services/inner.h"
#include "services/reactor.h"

enum { SWEEPS_A_TIME = 2, SWEEP_DOUBT_MS = 24 * 3600 * 1000, SWEEP_EVERY_MAX_MS = 12 * 3600 * 1000 };

struct sweep;
void sweep_create(struct reactor *r, struct sweep **out);
void sweep_destroy(struct sweep *s);

/* The age at which its entries go, by what it says itself and the server; RETENTION_FOREVER: none. */
uint64_t retention_of(const struct world *w, uint64_t own_ms);

/* Shows what a conversation has, or sets it: durable when it is answered. */
struct retention_ask;
struct retention_conf {
    /* Once, unless cancelled before; what it is then, on CODE_OK. */
    void (*done)(void *arg, enum code code, const char *why, const struct inner_retention *is);
    void *arg;
};
struct retention_ask *retention_ask(struct directory *d, const struct inner_retention *what,
                                    const struct retention_conf *c);
void retention_cancel(struct retention_ask *a); /* NULL is fine; what is under way still ends */
