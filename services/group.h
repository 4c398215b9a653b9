/* group: what the ops of groups share.
 *
 * Who may what: anybody who is in writes (unless `announce`) and changes title, description and picture (unless
 * `locked`). Admins also write and change these when that is set, change the other settings, add and remove members,
 * and make and unmake admins. Only owners touch owners. A group with members always has an owner: the last one cannot
 * step down, and leaving hands over.
 *
 * All are writes of a conversation (shard.h): a repeat is found before rights are looked at. */
#pragma once
#include "services/shard.h"

/* Bounds of a group's history: what its authority keeps of everybody who ever was in. */
enum { GROUP_KNOWN_FACTOR = 16 /* who is or was in, in multiples of the limit of members */, GROUP_STAYS_MAX = 256 };

/* The member who asks, by what is admitted: NULL, and the request is ended, when this is no group or the user is not in
 * it, or has less than `least`. */
const struct member *group_writer(struct reactor *r, struct conv *c, struct request *q, enum role least);
/* The `ok` of all but group.create: {seq, ts}. */
void group_print(const struct entry *e, bool dup, struct buf *out);
/* Goes on with `found` if all of them are users who may be in one more group, else ends the request; holds the
 * conversation meanwhile. `v`, at least one, lives as long as the request. */
void group_find_users(struct reactor *r, struct conv *c, struct request *q, const user_id *v, size_t n,
                      shard_fn *found);

/* shard_append for who changes the members of many: while the tables lag it is `unavailable`, before anything is. */
void group_append(struct reactor *r, struct conv *c, struct request *q);

/* The settings that an op names; `args` are those of group.create or group.update. */
#define GROUP_SETTINGS(args)                                             \
    ((struct group_settings){.has_title = (args)->has_title,             \
                             .has_description = (args)->has_description, \
                             .has_picture = (args)->has_picture,         \
                             .has_announce = (args)->has_announce,       \
                             .has_locked = (args)->has_locked,           \
                             .has_history = (args)->has_history,         \
                             .title = (args)->title,                     \
                             .description = (args)->description,         \
                             .picture = (args)->picture,                 \
                             .announce = (args)->announce,               \
                             .locked = (args)->locked,                   \
                             .history_all = (args)->history})
/* Their fixed form, for telling repeats. */
void group_add_settings(struct buf *b, const struct group_settings *s);
