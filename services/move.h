/* move: a shard on its way from one store to another, maybe to another reactor, as the reactors see it. The directory's
 * mover (mover.h) says what comes next; each step below is a request to one of the reactors, answered when it is done.
 *
 *   COPY    the source scans the shard and sends batches to the target, which puts them into its store; what is written
 *           meanwhile follows (shard_copy.h). Answered when little is missing; from then on it follows what is written.
 *   FLUSH   the target's store has durably what was put.
 *   PAUSE   at the source: requests of the shard wait; what is under way ends, conversations leave memory, the last
 *           batch is acknowledged, what is owed is written. When that takes too long it resumes, and answers so.
 *   ARRIVE  at the target: the shard is its own, but requests of it wait yet.
 *           (Now the mover tells everybody where the shard is.)
 *   LEAVE   at the source: what waits is handed over, and so is all that comes late.
 *   FENCE   to every reactor, which passes it on to the source: then nothing is on the way to the source any more.
 *   OPEN    by way of the source to the target: behind all that was handed over. What waits is served: first what was
 *           handed over, then what came directly, so that two requests of one session keep their order.
 *   STOP    instead: the source gives up; the mover has the target's copy deleted.
 *   CLEAN   what a store has of a shard that is not its own is deleted, durably.
 *
 * A store's mark is a position of a log that there is not, MOVE_LOG: all that was applied before it is durable with it.
 * Thread: the reactor's. */
#pragma once
#include "services/shard.h"

#define MOVE_LOG UINT64_MAX
enum { MOVE_BATCH = 128 << 10, MOVE_WINDOW = 1 << 20, MOVE_LAG_MAX = 16 << 20 };

enum move_step {
    MOVE_STORE_OPENED,
    MOVE_STORE_GONE, /* no shard is in it; answered when nothing of it is under way: then it may be closed */
    MOVE_COPY,
    MOVE_BATCH_PUT,
    MOVE_FLUSH,
    MOVE_PAUSE,
    MOVE_RESUME,
    MOVE_ARRIVE,
    MOVE_LEAVE,
    MOVE_FENCE,
    MOVE_OPEN,
    MOVE_STOP,
    MOVE_CLEAN,
};
struct inner_move {
    enum move_step step;
    uint16_t shard, from, to; /* from, to: store indexes; what concerns one store has it in `to` */
    uint16_t source, target;  /* reactors */
    uint64_t within_ms;       /* of FLUSH and PAUSE: else `unavailable` */
    struct lsm *store;        /* of STORE_OPENED, with its name */
    const char *name;
    struct buf batch;  /* of BATCH_PUT: the source's */
    bool is_broken;    /* out: the copy can't go on */
    uint64_t end;      /* out of PAUSE: before it in the source's log is all of the shard, and in the target's store */
    int64_t erased_ms; /* out of PAUSE, for FLUSH: since then what was erased may have been copied before; 0: nothing */
    uint64_t bytes;    /* out of COPY: sent so far */
};

void moves_create(struct reactor *r, struct moves **out);
void moves_destroy(struct moves *m);
/* True: the request waits, or was handed over to the shard's owner, and goes on by shard_write or shard_read. */
bool moves_gate(struct reactor *r, const struct conv_id *id, struct request *q, shard_fn *fn, bool is_write);
/* The conversation's shard is this reactor's, and not about to change that. */
bool moves_serves(const struct reactor *r, const struct conv_id *id);
