/* faultfs: files that fail when told to. Wraps an fs (usually fs_posix), counts calls and fails some of them.
 *
 * To walk all fallible paths: for n = 1, 2, … let the n-th call fail, until a run meets no fault.
 * Thread: any, at any time. Memory: files opened through it must be closed before it is destroyed. */
#pragma once
#include "base/fs.h"

enum fault_op {
    FAULT_OPEN = 1 << 0,
    FAULT_READ = 1 << 1,
    FAULT_WRITE = 1 << 2,
    FAULT_SYNC = 1 << 3,
    FAULT_TRUNCATE = 1 << 4,
    FAULT_FILL = 1 << 5,
    FAULT_SIZE = 1 << 6,
    FAULT_LOCK = 1 << 7,
    FAULT_RENAME = 1 << 8,
    FAULT_LINK = 1 << 9,
    FAULT_REMOVE = 1 << 10,
    FAULT_MKDIR = 1 << 11,
    FAULT_SYNC_DIR = 1 << 12,
    FAULT_LIST = 1 << 13,
    FAULT_SPACE = 1 << 14,
    FAULT_ALL = (1 << 15) - 1,
};

struct faultfs;
void faultfs_create(struct fs *inner, struct faultfs **out);
void faultfs_destroy(struct faultfs *f);
struct fs *faultfs_fs(struct faultfs *f);

/* From now on, of the calls of `ops`, the n-th (from 1) and the `times` - 1 behind it fail with `err`, without reaching
 * the files. One such order at a time: the last one given. */
void faultfs_fail(struct faultfs *f, unsigned ops, uint64_t n, uint64_t times, enum err err);
void faultfs_heal(struct faultfs *f);
bool faultfs_has_failed(struct faultfs *f);              /* any call, since the last faultfs_fail */
uint64_t faultfs_calls(struct faultfs *f, unsigned ops); /* made so far, failed ones too */

/* Is called before each call of `ops` does anything, on its thread: may wait there for what the test wants first. */
typedef void faultfs_hook_fn(void *arg, enum fault_op op, const char *path); /* path: NULL for calls on an open file */
void faultfs_hook(struct faultfs *f, unsigned ops, faultfs_hook_fn *fn, void *arg);
