/* shard_log: the log's side of the shards: records on their way to being durable, and what happens when they are.
 *
 * Beside entries (shard.h) only receipts come this way. Records of a log are committed in the order they were appended.
 */
#pragma once
#include "services/shard.h"

struct appended {
    struct link link;
    uint64_t pos;
    struct conv *conv;
    struct record rec;
    struct arena *memory; /* of an entry: where its bytes may be kept; NULL: nowhere */
    struct str bytes;     /* what was appended; empty: not kept */
    bool is_applied;      /* to what is in memory; the store may still have to be asked again */
    void (*committed)(struct reactor *r, struct appended *a); /* after it was applied; a is its owner's again */
};

typedef void shards_failure_fn(void *reactor, enum err err);
void shards_create(struct reactor *r, void (*on_tables)(struct directory *), shards_failure_fn *on_failure,
                   struct shards **out);
void shards_destroy(struct shards *s);
/* The timer of appends that wait for room. */
void shards_stall_over(struct timer *t);
/* The turn ends: those that were asked for in it and are not in memory are loaded. */
void shards_load_gathered(struct shards *s);
/* Everything before `end` of this reactor's log is durable. */
void shards_committed(struct shards *s, uint64_t end);

/* The shard leaves this reactor: forgets all of its conversations that are idle. True when none is left: then nothing
 * of the shard is under way, and all that was appended is in its store. */
bool shards_leave(struct shards *s, uint16_t shard);
/* Every record before it is in the stores, and has been looked at by notify. While !shards_are_between, conversations'
 * states may lack yet. */
uint64_t shards_applied(const struct shards *s);
/* What is owed to the conversation's members is made anew: nobody is surely owed nothing. */
void shards_unsettle(struct shards *s, const struct conv_id *id);
/* No store has a part of a record only, so lsm_applied may be called. */
bool shards_are_between(const struct shards *s);

/* Appends a->rec, which a->conv may need to admit. CLOSED: draining; LIMIT, FULL: no room; nothing was done then. a is
 * the log's until `committed`. */
MUST_CHECK enum err shard_log_append(struct reactor *r, struct appended *a);
/* Refuses a request whose record could not be appended. */
void shard_log_refuse(struct reactor *r, struct request *q, enum err err);
