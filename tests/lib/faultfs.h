/* faultfs: real files that fail when told to. Wraps an fs (usually fs_posix), counts calls and fails some of them,
 * which then don't reach the files. For tests that need real files beside, as SQLite does; others take simdisk.
 *
 * Thread: any, at any time. Memory: files opened through it must be closed before it is destroyed. */
#pragma once
#include "tests/lib/faults.h"

struct faultfs;
void faultfs_create(struct fs *inner, struct faultfs **out);
void faultfs_destroy(struct faultfs *f);
struct fs *faultfs_fs(struct faultfs *f);
struct faults *faultfs_faults(struct faultfs *f);

/* See faults.h. */
static inline void faultfs_fail(struct faultfs *f, unsigned ops, uint64_t n, uint64_t times, enum err err)
{
    faults_fail(faultfs_faults(f), ops, n, times, err);
}
static inline void faultfs_heal(struct faultfs *f) { faults_heal(faultfs_faults(f)); }
static inline bool faultfs_has_failed(struct faultfs *f) { return faults_has_failed(faultfs_faults(f)); }
static inline uint64_t faultfs_calls(struct faultfs *f, unsigned ops) { return faults_calls(faultfs_faults(f), ops); }
static inline void faultfs_hook(struct faultfs *f, unsigned ops, fault_hook_fn *fn, void *arg)
{
    faults_hook(faultfs_faults(f), ops, fn, arg);
}
