/* owed_rows: what members who were offline are owed: one row for a user and conversation, however many messages.
 *
 * The rows are made from the logs by notification, which keeps how far it came in each log beside them, in the same
 * transaction. Thread: the db's. */
#pragma once
#include "proto/id.h"
#include "schema/db.h"

struct owed_row {
    user_id user;
    struct conv_id conv;
    bool clear; /* nothing up to last_seq is owed any more: the user has it; the rest is unused */
    uint64_t first_seq, last_seq, count;
    int64_t since; /* when the first of them came */
};
/* Adds messages first_seq..last_seq, `count` of them. What the row counted already (up to its last_seq) is not counted
 * again: rows come in order of seqs, and a repeated one changes nothing. */
MUST_CHECK enum err owed_rows_add(struct db *d, const struct owed_row *o);
/* The user has everything up to `seq`: nothing up to there is owed any more. Messages behind it stay, counted as they
 * were at most. */
MUST_CHECK enum err owed_rows_clear(struct db *d, user_id user, const struct conv_id *c, uint64_t seq);
/* Makes the row anew, whatever was there; count 0: nothing is owed. */
MUST_CHECK enum err owed_rows_put(struct db *d, const struct owed_row *o);
MUST_CHECK enum err owed_rows_get(struct db *d, user_id user, const struct conv_id *c,
                                  struct owed_row *out); /* NOT_FOUND */

typedef void owed_rows_position_fn(void *arg, uint64_t log_id, uint64_t pos);
MUST_CHECK enum err owed_rows_each_position(struct db *d, owed_rows_position_fn *fn, void *arg);
MUST_CHECK enum err owed_rows_reached(struct db *d, uint64_t log_id, uint64_t pos);
MUST_CHECK enum err owed_rows_forget(struct db *d, uint64_t log_id);
