/* parley_backup_job: makes one backup: everything of a source into a new folder of DIR, and last its list.
 *
 * Thread: one. */
#pragma once
#include "cmd/parley_copy.h"
#include "cmd/parley_source.h"
#include "storage/backup_list.h"

struct backup_job {
    struct env *env;
    const char *dir;       /* of all backups; there, and locked by the caller */
    struct source *source; /* as opened */
    bool never_link;       /* no file is shared with the data folder */
    struct pace pace;
    /* What became of it. */
    struct backup_list list;
    char *previous;   /* the backup's name that this one builds on; NULL: none */
    uint64_t written; /* bytes on the disk that were not there before */
};
/* On failure *why (mem_free) says it, and what was half made is gone, or will be with the next backup. */
MUST_CHECK enum err backup_job_run(struct backup_job *j, char **why);
void backup_job_deinit(struct backup_job *j);
