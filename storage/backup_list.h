/* backup_list: the list of a backup's files, by which it is a backup. The essay on its text stands in backup_list.c.
 *
 * Thread: one. Memory: a list owns its texts; zeroed it is empty and valid. */
#pragma once
#include "base/buf.h"
#include "base/digest.h"

#define BACKUP_LIST "BACKUP" /* the file's name in a backup's folder */
#define BACKUP_FILES "files" /* the folder beside it: a data folder */

struct backup_file {
    char *path; /* below the backup's folder */
    uint64_t bytes;
    struct digest digest;
};
struct backup_list {
    char *name, *epoch;
    int64_t begun_ms, ended_ms; /* wall clock */
    uint64_t new_bytes;         /* of files that the backup before did not have */
    struct backup_file *v;      /* in the order they were added; sorted by path once encoded or decoded */
    size_t n, cap;
};
void backup_list_deinit(struct backup_list *l);
void backup_list_add(struct backup_list *l, struct str path, uint64_t bytes, const struct digest *d);
/* NULL: not in it. The list is sorted. */
const struct backup_file *backup_list_find(const struct backup_list *l, struct str path);
uint64_t backup_list_bytes(const struct backup_list *l);

void backup_list_encode(struct backup_list *l, struct buf *out); /* sorts it */
/* CORRUPT; UNSUPPORTED: of a later program. */
MUST_CHECK enum err backup_list_decode(struct str text, struct backup_list *out);
/* FOLDER/BACKUP. NOT_FOUND, IO and those of decoding. */
MUST_CHECK enum err backup_list_read(struct fs *fs, const char *folder, struct backup_list *out);
