/* owed: rows of what is owed, gathered by (user, conversation) until a batch takes them. Shared by notify.c (live) and
 * notify_replay.c. Thread: one. */
#pragma once
#include "base/map.h"
#include "services/directory.h"

struct owed_table {
    struct hash_key key;
    struct map map;     /* struct gathered */
    struct link all;    /* in the order they came */
    struct arena arena; /* of the rows; freed as a whole when a batch took them */
};

void owed_init(struct owed_table *t, const struct hash_key *key);
void owed_deinit(struct owed_table *t);
static inline size_t owed_count(const struct owed_table *t) { return t->map.count; }

/* LIMIT: it would be a row more than `max`. */
MUST_CHECK enum err owed_add(struct owed_table *t, size_t max, user_id user, const struct conv_id *c, uint64_t seq,
                             int64_t ts);
MUST_CHECK enum err owed_clear(struct owed_table *t, size_t max, user_id user, const struct conv_id *c, uint64_t up_to);
/* Moves the rows into a batch (at most two a gathered one: what is cleared, then what is owed) and empties the table.
 */
void owed_take(struct owed_table *t, struct owed_batch *b);
