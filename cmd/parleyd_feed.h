/* parleyd_feed: puts what a log holds into the stores, with a thread for each home of stores.
 *
 * One thread reads the log and hands records over in batches, a few of which may wait for each thread; in a batch they
 * stand as in the log. So what is of one shard, whose store has one home, is applied in the order of the log, and the
 * stores of different homes don't wait for each other. With each batch goes the position up to which all records were
 * handed over: that is what its stores have applied when it is done, and are told when their memtable is full or at the
 * end.
 *
 * Thread: the caller's, which until feed_wait must leave the stores and the homes' mailboxes alone. */
#pragma once
#include "base/loop.h"
#include "queue/seglog.h"
#include "storage/convlog.h"
#include "storage/placement.h"

struct feed;
struct feed_conf {
    const struct data_dir *data;
    struct lsm *const *stores; /* all; the home of store i is homes[i % n_homes]; without homes one thread feeds all */
    struct loop *const *homes;
    size_t n_homes;
};
MUST_CHECK enum err feed_create(const struct feed_conf *c, struct feed **out); /* LIMIT: no thread is to be had */
void feed_destroy(struct feed *f);
/* Copies the record of a shard. An error is that of an earlier record: of it and all behind it nothing is done. */
MUST_CHECK enum err feed_record(struct feed *f, const struct log_record *r);
/* After an error: which record of the log that is fed could not be applied. */
bool feed_refused(struct feed *f, uint16_t *shard, uint64_t *pos);
/* Everything of the log before `pos` was given, and is put when this returns. */
MUST_CHECK enum err feed_wait(struct feed *f, uint64_t log_id, uint64_t pos);
