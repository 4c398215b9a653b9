/* standing: how a running server stands, as lines for who asks by admin.sock (`parley doctor`):
 *
 *     log LOG END TRIMMED STORES MS TABLES MS OWED MS
 *         a live log of a reactor, hexadecimal; its committed end; of each view up to where it is durable, and how old
 *         what it lacks is
 *     held                       a backup or an export keeps everything in its place
 *     rebuild TABLES OWED        shards whose rows are made anew; not there when none are
 *     letters N BYTES            dead letters that wait
 *
 * Thread: the directory's. */
#pragma once
#include "base/buf.h"

struct directory;
void standing_print(struct directory *d, struct buf *out);
