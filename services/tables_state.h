/* tables_state: what the files of the tables share: tables.c (records and positions), tables_rebuild.c (rows made
 * anew). Nobody else includes it. */
#pragma once
#include "base/mem.h"
#include "services/tables.h"

/* What a log's positions are, and what they will be when the transaction ends. */
struct next {
    uint64_t applied, owed;
};

struct tables {
    struct env *env;
    struct db *db;
    struct tables_position *at; /* by no order; a handful: the logs of this start and of those not yet removed */
    struct next *next;
    size_t n, cap;
    struct arena arena;
    bool is_dirty; /* committed since the last checkpoint */
    uint64_t rows;
    struct letters_total letters;
    uint64_t kept;    /* letters, since it was opened */
    enum err cause;   /* of the last record that did not fit */
    int64_t stale_ms; /* not after content left a row that may be in the write-ahead file; 0: none did */
    struct rebuild_row rebuilt[SHARD_COUNT], rebuilt_next[SHARD_COUNT]; /* by shard; and as the transaction has it */
    bool is_rebuilt_changed;
};

void tables_note_stale(struct tables *t);
/* tables_rebuild.c */
MUST_CHECK enum err tables_rebuild_load(struct tables *t);
/* The record's conversation is one that is yet to be made anew: then it will be as the record leaves it. */
bool tables_rebuild_skips(const struct tables *t, const struct log_record *r);
void tables_rebuild_end(struct tables *t, bool is_committed);
