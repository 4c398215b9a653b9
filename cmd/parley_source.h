/* parley_source: a data folder to be copied or read as it is at one moment: of a running server, which holds it still
 * (services/hold.h), of a stopped one, which is locked, or in a backup.
 *
 * Thread: one. Memory: a source owns what it lists. */
#pragma once
#include "base/buf.h"
#include "base/env.h"
#include <stdio.h>

struct source_store {
    char *name;
    struct buf manifest; /* its bytes */
};
struct source_log {
    uint64_t id;
    bool is_directory;
    uint64_t from, kept, end; /* as in hold.h; SEGLOG_COPY_STILL: as it is */
};
struct source {
    struct env *env;
    char *data, *epoch;
    bool is_running;
    struct source_store *stores;
    size_t n_stores;
    struct source_log *logs; /* the directory's behind the others */
    size_t n_logs;
    FILE *to, *from;   /* the server's door */
    struct file *lock; /* of a stopped server's folder */
};
/* On failure *why (mem_free) says it. A server that runs is asked; otherwise the folder is locked. */
MUST_CHECK enum err source_open(struct env *env, const char *data, struct source *out, char **why);
/* A folder that nobody will change, as in a backup. */
MUST_CHECK enum err source_open_still(struct env *env, const char *data, struct source *out, char **why);
/* Where the logs end by now. Also proves that all is still held; of a stopped server's folder nothing changes. */
MUST_CHECK enum err source_ends(struct source *s, char **why);
/* Whether the server still holds everything, as far as it has said; costs nothing. */
MUST_CHECK enum err source_still_holds(struct source *s, char **why);
void source_close(struct source *s);
