/* parley_import_log: a log of its own for records that come from outside. The next server finds it among the logs of
 * earlier starts and takes it in as any other.
 *
 * Thread: one, which waits here for the disk. */
#pragma once
#include "proto/record.h"
#include "storage/placement.h"

struct import_log;
/* The folder is the caller's, locked. */
MUST_CHECK enum err import_log_open(struct env *env, struct data_dir *data, struct import_log **out);
/* Durable after import_log_end. `conv` is NULL for the directory's records. */
MUST_CHECK enum err import_log_add(struct import_log *l, const struct record *r, const struct conv_id *conv);
MUST_CHECK enum err import_log_end(struct import_log *l); /* waits until all is durable */
void import_log_close(struct import_log *l);
