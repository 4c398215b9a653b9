/* notify: what members who were nowhere online are owed, as a durable record.
 *
 * A message is owed to a member whom no session could be told of it. What is owed is gathered in memory, a row a (user,
 * conversation), and written every second by the directory, together with the position of the log up to which all is
 * accounted for. A crash loses the rows in memory and not the log: from the durable position on every member who had
 * not confirmed a message is taken to be owed it. Delivered receipts clear what they cover, and so does writing.
 *
 * At OWED_ROWS_MAX rows in memory (the tables take nothing for long) what would add a row is not gathered, and the
 * position stands still, so that the next start finds it in the log. Trimming waits for it up to a bound, at which what
 * is owed is made anew (rebuild.h) and gathering goes on.
 *
 * Thread: the reactor's; notify_replay before the threads run. */
#pragma once
#include "services/directory.h"
#include "services/reactor.h"

enum { OWED_ROWS_MAX = 1 << 18, OWED_BATCH_AT = 1 << 14, OWED_EVERY_MS = 1000 };

struct notify;
/* Whom the tables surely owe nothing in a conversation; part of what is kept of it in memory. Saves a row a write. */
enum { NOTIFY_SETTLED = 8 };
struct notify_hint {
    user_id settled[NOTIFY_SETTLED];
};

/* `owe` is directory_owe; NULL: nothing is recorded. */
void notify_create(struct reactor *r, notify_owe_fn *owe, struct notify **out);
void notify_destroy(struct notify *n);

void notify_owe(struct notify *n, struct notify_hint *hint, user_id user, const struct entry *e);
/* The user has everything of the conversation up to `delivered`; `head` is how far it is. */
void notify_delivered(struct notify *n, struct notify_hint *hint, user_id user, const struct conv_id *c,
                      uint64_t delivered, uint64_t head);
/* Every record before `pos` has been looked at. */
void notify_accounted(struct notify *n, uint64_t pos);

/* What is owed before `pos` is made anew from the conversations: what was not gathered is not missing any more. */
void notify_restart(struct notify *n, uint64_t pos);
uint64_t notify_position(const struct notify *n); /* as notify_accounted was told */
/* Whether the tables have what is owed up to there; if not, it is sent now. */
bool notify_has_written(struct notify *n, uint64_t pos);

/* Recovery: the records of one old log from its owed position on, in order, after its stores were replayed. */
struct notify_replay;
struct notify_replay_conf {
    struct world *world;
    struct lsm *const *stores; /* by store index, all of them */
    uint64_t log_id;
};
void notify_replay_create(const struct notify_replay_conf *c, struct notify_replay **out);
void notify_replay_destroy(struct notify_replay *p);
MUST_CHECK enum err notify_replay_record(void *replay, const struct log_record *rec); /* a log_record_fn */
/* Hands what was found to `owe`: everything of the log before `end` is accounted for. The batch frees itself on `home`.
 */
void notify_replay_end(struct notify_replay *p, uint64_t end, notify_owe_fn *owe, struct mailbox *home);
