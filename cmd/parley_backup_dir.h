/* parley_backup_dir: the folder that holds a server's backups, one a folder.
 *
 *     DIR/20260131T120000Z/BACKUP, files/…     a backup; deleting its folder is all it takes to remove it
 *     DIR/20260131T130000Z.part/…              one that was never finished; the next backup removes it
 *     DIR/lock                                 held while a backup is made
 *
 * Thread: one. */
#pragma once
#include "storage/backup_list.h"

/* Every backup, oldest first, as its list says; mem_free *out after backup_list_deinit of each. *n_halves: unfinished
 * ones; *n_bad: with a list that cannot be read. */
MUST_CHECK enum err backup_dir_read(struct fs *fs, const char *dir, struct backup_list **out, size_t *n,
                                    size_t *n_halves, size_t *n_bad);
void backup_dir_free(struct backup_list *v, size_t n);
/* Removes what was left unfinished. */
MUST_CHECK enum err backup_dir_clean(struct fs *fs, const char *dir);
/* Removes a folder with all that is in it; fine when it is not there. */
MUST_CHECK enum err backup_dir_remove(struct fs *fs, const char *path);
