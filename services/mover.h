/* mover: who holds which shard, and what changes that: stores that are added or emptied, shards that move online.
 *
 * It owns DIR/placement while the server runs. One shard moves at a time, copied while it is in use (move.h); for the
 * change of owner its requests wait, at most MOVER_SWITCH_MS before the placement is written, else it is put off and
 * nothing changed. What is to be done follows from the placement alone, so after a crash it goes on by itself: a move
 * that was noted is a copy to be deleted, then the shard moves again.
 *
 * What never happens together: a hold (hold.h) and a write of the placement. A switch under way is finished first, and
 * while something is held nothing is begun, added or drained. It also waits until the logs of earlier starts are gone:
 * then floors concern logs of this start alone.
 *
 * Thread: the directory's, which may block on an fsync. */
#pragma once
#include "base/buf.h"
#include "proto/code.h"

enum { MOVER_SWITCH_MS = 800, MOVER_PAUSE_MS = 500 };

struct mover;
struct directory;
void mover_create(struct directory *d, struct mover **out);
void mover_start(struct mover *m); /* the streams are open */
void mover_stop(struct mover *m);
void mover_destroy(struct mover *m);

/* OK when the placement says so durably; the work follows by itself. Else *why says it in words. */
enum code mover_add(struct mover *m, struct str name, const char **why);
enum code mover_drain(struct mover *m, struct str name, const char **why);
/* Lines: `store NAME STATE SHARDS` each; `left N`: what is still to be done, 0: nothing; `moved N` since the start;
 * `moving SHARD FROM TO` while one moves; `note WHY` when something has to wait. */
void mover_status(const struct mover *m, struct buf *out);
bool mover_is_switching(const struct mover *m);
