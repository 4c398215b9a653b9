/* hold: everything stays in its place while somebody outside copies it.
 *
 * While it lasts no log is trimmed or removed and no table that was live when it began leaves the disk; all else goes
 * on. It begins in two steps on every reactor, so that nothing is given back after any part was looked at: first all
 * trimming is pinned, then the stores are flushed (for at most HOLD_FLUSH_MS) and their checkpoints taken.
 *
 * The lines, given at once when all of it holds:
 *     epoch WORD                            of parley.json
 *     old LOG                               a log of an earlier start that some view still needs; hexadecimal
 *     log LOG reactor|directory FROM KEPT   of this start: what its stores lack begins at FROM; KEPT: it was trimmed
 *                                           up to there; decimal
 *     store NAME MANIFEST                   the bytes of the store's manifest, hexadecimal
 * and, each time they are asked for, `end LOG POSITION` of each log, the directory's last: up to there it is durable,
 * and whoever wrote an entry before the reactors' ends has the account before the directory's.
 *
 * Its price is space. When less than HOLD_SPARE_BYTES are free it breaks, for writes go before backups.
 *
 * Thread: the directory's. One at a time. */
#pragma once
#include "services/directory.h"

enum { HOLD_FLUSH_MS = 10000, HOLD_SPARE_BYTES = 64 << 20 };

struct hold;
struct hold_conf {
    void (*held)(void *arg, struct str lines);
    /* It is over, or did not begin: once, and not after hold_end. */
    void (*broken)(void *arg, enum code code, const char *why);
    void *arg;
};
/* NULL: broken was called. Neither is called before it returns, otherwise. */
struct hold *hold_start(struct directory *d, const struct hold_conf *c);
void hold_ends(const struct hold *h, struct buf *out); /* after `held` */
void hold_end(struct hold *h);                         /* NULL is fine; h is gone for the caller */
void hold_switched(struct directory *d); /* the mover's: a shard has changed its store, a hold may begin */
void hold_abandon(struct directory *d);  /* the directory's: all threads have ended */
