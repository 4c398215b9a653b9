/* naming: which conversation two people have, and the hash of a conversation's id: what routing asks of every request.
 *
 * Both are keyed hashes and cost more than all else that routing does, and who writes to somebody mostly does so again:
 * so the answers for the pairs that were asked about lately are kept, and the hash of the last id, which routing and
 * the look-up ask for one after the other. What is kept is a function of what was asked, so it is never wrong; two
 * pairs that share a place drive each other out, and cost then what all cost without it.
 *
 * Thread: the reactor's. Memory: 160 KiB a reactor. */
#pragma once
#include "storage/placement.h"

struct naming;
void naming_create(const struct data_keys *keys, struct naming **out);
void naming_destroy(struct naming *n);
void naming_pair(struct naming *n, user_id a, user_id b, struct conv_id *out); /* pair_conv's answer */
/* Its keyed hash; modulo SHARD_COUNT it is shard_of's answer. */
uint64_t naming_hash(struct naming *n, const struct conv_id *c);
