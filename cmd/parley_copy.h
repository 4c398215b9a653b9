/* parley_copy: files copied at a bounded rate, with a digest of each, as durable as they are reported.
 *
 * Every few MiB a file is synced and the rate is kept, so that a server's own syncs find a short queue at the disk.
 * Thread: one. */
#pragma once
#include "base/digest.h"
#include "base/env.h"

struct pace {
    struct env *env;
    uint64_t rate; /* bytes a second; 0: as fast as it goes */
    uint64_t begun_us, bytes;
};
void pace_begin(struct pace *p, struct env *env, uint64_t rate);
void pace(struct pace *p, uint64_t bytes); /* waits when it went too fast */

struct copied {
    uint64_t bytes;
    struct digest digest;
};
enum { COPY_ALL = -1 };
/* The first `bytes` bytes (COPY_ALL: all) of `from` and then `tail`, to a new file; synced, its folder is the caller's.
 * CORRUPT: it is shorter. */
MUST_CHECK enum err copy_file(struct pace *p, const char *from, const char *to, int64_t bytes, struct str tail,
                              struct copied *out);
/* Reads all of a file. */
MUST_CHECK enum err copy_digest(struct pace *p, const char *path, struct copied *out);
MUST_CHECK enum err copy_bytes(struct pace *p, struct str bytes, const char *to, struct copied *out);
