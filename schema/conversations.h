/* conversations: chats, groups and their members, for look-ups and lists. Rights are never decided by these tables.
 * Thread: the db's. */
#pragma once
#include "proto/record.h"
#include "schema/db.h"

struct group_row {
    uint64_t seq; /* of the last entry that is in it */
    struct str title, description, picture;
    bool announce, locked, history_all;
    user_id creator;
    int64_t created;
};
struct member_row {
    user_id user;
    enum role role;
    uint64_t joined_seq, left_seq /* 0: they are in */;
    int64_t joined_at;
};

/* Every conversation that a user is or was in, each once. *out is the caller's (mem_free). */
MUST_CHECK enum err conversations_of(struct db *d, user_id user, struct conv_id **out, size_t *n);
/* Whether a user is or was in at least `n` groups: reads so many rows at most. */
MUST_CHECK enum err conversations_has_groups(struct db *d, user_id user, uint64_t n, bool *out);
MUST_CHECK enum err conversations_group(struct db *d, const struct conv_id *c, struct arena *a, struct group_row *out);
MUST_CHECK enum err conversations_member(struct db *d, const struct conv_id *c, user_id user, struct member_row *out);
MUST_CHECK enum err conversations_pair(struct db *d, const struct conv_id *c, user_id *a, user_id *b);

/* Making rows anew from what a conversation is, whatever was there. A group's row comes before its members'. */
MUST_CHECK enum err conversations_put_pair(struct db *d, const struct conv_id *c, user_id a, user_id b,
                                           int64_t created);
MUST_CHECK enum err conversations_put_group(struct db *d, const struct conv_id *c, const struct group_row *g);
MUST_CHECK enum err conversations_put_member(struct db *d, const struct conv_id *c, const struct member_row *m);

/* Applies an entry; one that changes nothing here, or that is in already, is fine. */
MUST_CHECK enum err conversations_apply(struct db *d, const struct entry *e);
