/* parley_backup_check: is a backup what it was when it was made? Thread: one. */
#pragma once
#include "cmd/parley_copy.h"
#include "storage/backup_list.h"

/* Reads every file that the list names and says on stdout which is not as it was; *damages counts them. */
void backup_check(struct pace *p, const char *folder, const struct backup_list *l, uint64_t *damages);
/* Reads the list of the backup in `folder`; on failure says why in *why (mem_free). */
MUST_CHECK enum err backup_open(struct env *env, const char *folder, struct backup_list *out, char **why);
