/* acts: what a peer does beside sending: receipts, typing, pages of history, syncs, and going away and coming back.
 *
 * A peer has at most one act at a time. An act starts by the schedule of its scenario (or, in a closed loop, when the
 * one before it is done), and its latency counts from when it should have started.
 *
 *   resume   drop → waits for its turn (--connecting) → connect → auth → sync from its positions, page by page → done
 *
 * What a sync brings is taken into the room's books like an event, so a hole that it does not fill is found by the
 * audit. What comes both by sync and as an event is no repeat: the protocol allows it (at least once). Connections are
 * closed and opened by acts_step only, between two turns, for in a turn their memory is in use. */
#pragma once
#include "cmd/parley_load_event.h"
#include "cmd/parley_load_run.h"

/* A scenario's peers that take part beside sending are chosen here, once the rooms are there. */
void acts_prepare(struct run *r);
/* Each actor syncs once, to know its positions in conversations of before. INVALID with a sentence in r->fault. */
MUST_CHECK enum err acts_learn(struct run *r);
void acts_begin(struct run *r); /* the measured time begins */
void acts_step(struct run *r);  /* between two turns: starts what is due, drops and connects */
void acts_end(struct run *r);   /* no new acts; who stopped reading reads again */
/* For talk. */
void acts_logged_in(struct run *r, struct peer *p);
void acts_hear(struct run *r, struct peer *p, const struct event *e);
void acts_acked(struct run *r, struct peer *p);
bool acts_resync(struct run *r, struct peer *p); /* false: a resync is a fault here */
