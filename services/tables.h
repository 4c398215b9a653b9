/* tables: SQLite as a view of the logs: which record is in it, and how far each log was applied.
 *
 * The one writer of DIR/tables.db. Records are applied in transactions, each with the positions reached, so a record is
 * in the tables if and only if its log's *applied* position is behind it; a crash loses transactions whole, and replay
 * brings them back. A position is *durable* after a checkpoint that synced it: only that permits trimming.
 *
 * Thread: one at a time (recovery's, then the directory's). Memory: what is passed is borrowed for the call. */
#pragma once
#include "queue/seglog.h"
#include "schema/letters.h"
#include "schema/owed_rows.h"
#include "schema/rebuild_rows.h"

struct tables;

/* Opens or makes the file and brings its schema up to date. What is in the tables then is durable, so applied and
 * durable positions are equal. UNSUPPORTED: made by a later program; CORRUPT, IO, FULL, LOCKED. *why (mem_free) says it
 * in words. */
MUST_CHECK enum err tables_open(struct env *env, const char *path, struct tables **out, char **why);
void tables_close(struct tables *t); /* with a last checkpoint */
struct db *tables_db(struct tables *t);

/* Positions of a log; all 0 for a log they never heard of. */
struct tables_position {
    uint64_t log_id;
    uint64_t applied, durable;
    uint64_t owed, owed_durable; /* the same of the table of what is owed */
};
struct tables_position tables_position(const struct tables *t, uint64_t log_id);
/* All of them: *n of them, good until the next call that takes a non-const tables. */
const struct tables_position *tables_positions(const struct tables *t, size_t *n);

/* Recovery: applies what an old log holds past its applied position. The log was made sound by seglog_recover before,
 * which said its `end`. On failure *why (mem_free) names log and offset. Checkpoint before such a log is removed. */
MUST_CHECK enum err tables_replay(struct tables *t, const char *log_dir, uint64_t log_id, uint64_t end, char **why);
/* Forgets the positions of all logs but these: of those that were removed. */
MUST_CHECK enum err tables_keep(struct tables *t, const uint64_t *log_ids, size_t n);

/* One transaction: begin, any number of applies, reached (moves a log's position), then end or abandon. */
MUST_CHECK enum err tables_begin(struct tables *t);
/* INVALID: the record does not fit (nobody wrote such bytes, a later program did, or it contradicts a row); nothing of
 * it happened, the transaction goes on, and the caller tries again or keeps it as a letter. *is_kept: it became one
 * unasked, behind another of its subject (letters.h); an erasing never does, it takes the content out of those. LIMIT:
 * it would have, but there are too many. Any other error is the world's: abandon and look at it; FULL heals when there
 * is space. */
MUST_CHECK enum err tables_apply(struct tables *t, const struct log_record *r, bool *is_kept);
/* Of a record that just did not fit: passes it over. LIMIT: there are too many letters. */
MUST_CHECK enum err tables_keep_letter(struct tables *t, const struct log_record *r, unsigned attempts);
struct letters_total tables_letters(const struct tables *t);
uint64_t tables_letters_kept(const struct tables *t); /* since it was opened */
/* Outside of a transaction: applies a letter again, and is rid of it. NOT_FOUND; AGAIN: *first must go before it;
 * INVALID: it still does not fit, CORRUPT: it is damaged: it stays. */
MUST_CHECK enum err tables_letter_replay(struct tables *t, uint64_t id, uint64_t *first);
MUST_CHECK enum err tables_letter_drop(struct tables *t, uint64_t id); /* NOT_FOUND */
uint64_t tables_rows(const struct tables *t); /* about how many were written since it was opened, or tried to */
MUST_CHECK enum err tables_reached(struct tables *t, uint64_t log_id, uint64_t pos);
/* Adds to what is owed, or clears it. */
MUST_CHECK enum err tables_owe(struct tables *t, const struct owed_row *o);
MUST_CHECK enum err tables_owed_reached(struct tables *t, uint64_t log_id, uint64_t pos);
MUST_CHECK enum err tables_end(struct tables *t);
void tables_abandon(struct tables *t);

/* Rows of shards that are made anew from their conversations (rebuild.h says when). Until a conversation's turn has
 * come, records about it are passed over by tables_apply, for what they say comes with it. In a transaction: */
/* Of each shard, what[shard] (REBUILD_…) is made anew, from its first conversation on; 0: as it was. Dead letters of
 * conversations whose tables are made anew go. */
MUST_CHECK enum err tables_detach(struct tables *t, const uint8_t what[]);
/* All conversations of the shard up to `c` are done; NULL: the shard is. */
MUST_CHECK enum err tables_rebuilt(struct tables *t, uint16_t shard, const struct conv_id *c);
/* At any time: the shard that comes next; false: none. And of how many shards something of `what` is to be made. */
bool tables_rebuild_next(const struct tables *t, struct rebuild_row *out);
unsigned tables_rebuild_left(const struct tables *t, uint8_t what);

/* Makes everything applied durable: syncs the write-ahead file and the database. AGAIN: a reader was in the way; the
 * durable positions stay what they were. No-op when nothing was written since the last. */
MUST_CHECK enum err tables_checkpoint(struct tables *t);
/* The same without copying anything, so that no reader is in the way; the write-ahead file stays as large as it is. For
 * who can't wait for a checkpoint. */
MUST_CHECK enum err tables_sync(struct tables *t);
/* When the oldest content left a row that may still stand in the write-ahead file, ms since 1970; 0: none does:
 * of a profile that was changed, or of a dead letter. */
int64_t tables_stale_since(const struct tables *t);
/* A checkpoint that empties that file. AGAIN as there. */
MUST_CHECK enum err tables_truncate(struct tables *t);
/* True when so much was written since the last checkpoint that one is due now. */
bool tables_checkpoint_is_due(const struct tables *t);
