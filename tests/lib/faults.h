/* faults: which calls of a file system are to fail, and how many were made: what faultfs and simdisk have in common.
 *
 * To walk all fallible paths: for n = 1, 2, … let the n-th call fail, until a run meets no fault.
 * Thread: any, at any time. */
#pragma once
#include "base/fs.h"
#include <pthread.h>

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
    FAULT_TAKES_SPACE =
        FAULT_OPEN | FAULT_WRITE | FAULT_SYNC | FAULT_TRUNCATE | FAULT_FILL | FAULT_RENAME | FAULT_MKDIR,
};
enum { FAULT_OPS = 15 };

/* Is called before each call of `ops` does anything, on its thread: may wait there for what the test wants first. */
typedef void fault_hook_fn(void *arg, enum fault_op op, const char *path); /* path: NULL for calls on an open file */

struct faults {
    pthread_mutex_t lock; /* guards all below */
    unsigned ops;
    uint64_t left, times; /* calls that still work, then those that fail */
    enum err err;
    bool has_failed;
    uint64_t calls[FAULT_OPS];
    unsigned hook_ops;
    fault_hook_fn *hook;
    void *hook_arg;
};
void faults_init(struct faults *f);
void faults_deinit(struct faults *f);

/* From now on, of the calls of `ops`, the n-th (from 1) and the `times` - 1 behind it fail with `err`. One such order
 * at a time: the last one given. */
void faults_fail(struct faults *f, unsigned ops, uint64_t n, uint64_t times, enum err err);
void faults_heal(struct faults *f);
bool faults_has_failed(struct faults *f);              /* any call, since the last faults_fail */
uint64_t faults_calls(struct faults *f, unsigned ops); /* made so far, failed ones too */
void faults_hook(struct faults *f, unsigned ops, fault_hook_fn *fn, void *arg);

/* For the file system: counts a call; what it is to answer if not OK. */
enum err faults_enter(struct faults *f, enum fault_op op, const char *path);
