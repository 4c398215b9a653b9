/* rebuild_rows: which shards' rows are being made anew, and how far that is. Thread: the db's. */
#pragma once
#include "proto/id.h"
#include "schema/db.h"

enum { REBUILD_TABLES = 1, REBUILD_OWED = 2 };
struct rebuild_row {
    uint16_t shard;
    uint8_t what;  /* 0: nothing is made anew */
    bool has_conv; /* all conversations up to `conv`, by their bytes, are done */
    struct conv_id conv;
};

typedef void rebuild_rows_fn(void *arg, const struct rebuild_row *r);
MUST_CHECK enum err rebuild_rows_each(struct db *d, rebuild_rows_fn *fn, void *arg);
MUST_CHECK enum err rebuild_rows_put(struct db *d, const struct rebuild_row *r); /* what 0: it is done */
