/* dead: what the owner may do with dead letters, as lines. The same for a running server, through admin.sock, and for a
 * stopped one's tables.
 *
 *     list AFTER          of those with larger ids, at most DEAD_LIST, `ID LOG OFFSET KIND BYTES ATTEMPTS KEPT_MS WHY`
 *     show ID             one line each: `log`, `offset`, `kind`, `shard`, `kept`, `attempts`, `why`, `body`
 * (hexadecimal) replay ID           applies it; it is gone then drop ID             it is gone
 *
 * Thread: the tables'. */
#pragma once
#include "proto/code.h"
#include "services/tables.h"

enum { DEAD_LIST = 1000 };

/* Lines go to `out`; on failure `why` says it, with a terminator. */
enum code dead_obey(struct tables *t, struct str line, struct buf *out, struct buf *why);
