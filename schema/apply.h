/* apply: one record of a log, as rows. Applied twice it leaves what applying it once leaves, and an old version of a
 * record means for ever what it meant. Thread: the db's, inside a transaction. */
#pragma once
#include "proto/record.h"
#include "schema/db.h"

/* Records that the tables hold nothing of are fine. */
MUST_CHECK enum err apply_record(struct db *d, const struct record *r);
