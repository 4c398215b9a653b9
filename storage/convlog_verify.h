/* convlog_verify: are the conversations whole that stores and logs hold together? Every value is read; entries must run
 * from the oldest kept to the head, without a gap.
 *
 * Give it first what the logs hold (ascending log ids), then each store's keys (ascending), store by store.
 * Thread: one. Memory: 64 bytes for each conversation of which the logs hold entries. */
#pragma once
#include "base/env.h"
#include "storage/convlog.h"

struct convlog_verify;
struct convlog_verify_conf {
    /* A sentence about one conversation. */
    void (*found)(void *arg, const struct conv_id *c, const char *what);
    void *arg;
};
struct convlog_counts {
    uint64_t conversations, entries; /* of entries: those in the stores */
};
void convlog_verify_create(const struct convlog_verify_conf *c, struct convlog_verify **out);
void convlog_verify_destroy(struct convlog_verify *v);

/* A record of a conversation in a log. One that cannot be read is said. `is_wanted`: the store does not have it yet, so
 * it counts. */
void convlog_verify_record(struct convlog_verify *v, unsigned kind, struct str body, bool is_wanted);
void convlog_verify_key(struct convlog_verify *v, struct str key, struct str value);
void convlog_verify_store_end(struct convlog_verify *v);
/* Behind the last store: those of which only logs hold entries. */
void convlog_verify_end(struct convlog_verify *v, struct convlog_counts *out);

/* Appends in words whose keys lie behind `after`, up to `last`. */
void convlog_verify_lost(struct str after, struct str last, struct buf *out);
