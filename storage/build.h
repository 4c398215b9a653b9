/* build: makes one table out of walks: a memtable's when it is flushed, those of several tables when they are merged.
 *
 * It works in steps, so that a worker serves others in between and the owner can stop it.
 * Thread: one at a time (the owner makes it, workers step it). Memory: a build borrows its inputs. */
#pragma once
#include "storage/memtable.h"
#include "storage/sst_read.h"

struct build;
struct build_conf {
    struct fs *fs;
    const char *dir; /* borrowed */
    uint64_t table;  /* the new table's id */
    size_t filter_prefix;
    bool drop_tombstones;            /* nothing older remains */
    const struct memtable *memtable; /* one of these two */
    struct sst *const *tables;       /* newest first; copied */
    size_t n_tables;
    uint64_t room; /* free bytes that the disk must have before it starts, else FULL */
};
void build_create(const struct build_conf *c, struct build **out);
/* About `budget` bytes of work. OK: done, the table is synced, its name too; AGAIN: more to do; other: failed. */
MUST_CHECK enum err build_step(struct build *b, size_t budget);
/* The table, with one reference, once; NULL when nothing was left to write. */
struct sst *build_take(struct build *b);
uint64_t build_written(const struct build *b); /* bytes, so far; between steps */
bool build_cannot_read(const struct build *b); /* it failed on an input, not on what it wrote */
/* Removes the file unless it was taken. */
void build_destroy(struct build *b);
