/* crowd: groups whose members are shared among the workers of a run, since one process cannot hold a group of 10,000.
 *
 * Users are numbered over the whole run, worker after worker, and cids name these numbers. Of each group every worker
 * has an equal share (the first ones one member more), in the same order of groups, so a number alone tells the room:
 *
 *   2 groups of 5, 2 workers     worker 0: 0 1 2 | 3 4 5      worker 1: 6 7 | 8 9
 *                                  group 0 is 0 1 2 6 7, group 1 is 3 4 5 8 9
 *
 * What is checked where: each worker checks the deliveries of its own members, as for a group of its own: once, in
 * order, and byte for byte what the writer, whoever's user it is, must have written under that cid. What only all
 * together can tell goes through the coordinator:
 *
 *   tops      when its own sends are answered, each worker says how far each room came; all then wait for the highest,
 *             so an entry that none of a worker's members was given is missed as well
 *   digests   at the end, over seq, writer, counter and start of every entry: all workers were told the same log
 *   reaches   when the last member of each worker had an entry; the latest is when all had it
 *
 * Times of several processes are compared, so all must be on one machine. Thread: one; Memory: ids are borrowed. */
#pragma once
#include "base/enc.h"
#include "base/err.h"
#include "base/mem.h"

struct crowd {
    size_t n, at;        /* workers, and which one this is; n is 0: no room is shared */
    size_t group, rooms; /* members of each group, over all workers; groups */
    size_t users;
    struct str *ids; /* of all users of the run, by number */
};

/* How many members of each group worker `at` of n has. */
size_t crowd_share(size_t group, size_t n, size_t at);
/* The first number of worker `at`; of n workers (at == n) the number of all users. */
size_t crowd_first(size_t group, size_t rooms, size_t n, size_t at);
/* From the ids of all users, each ended by a newline; c->n, at and group are set. INVALID: they do not make whole
 * groups, or a worker would have no member. */
MUST_CHECK enum err crowd_init(struct crowd *c, struct str ids);
void crowd_deinit(struct crowd *c);
/* The room of a user; SIZE_MAX: there is no such number, or nothing is shared. */
size_t crowd_room(const struct crowd *c, uint32_t number);
/* The i-th member of a room, in the order of the workers. */
uint32_t crowd_member(const struct crowd *c, size_t room, size_t i);

/* How far the rooms came, as a message. Both give false on damage; merging keeps the higher of each in v. */
void tops_encode(const uint64_t *v, size_t n, struct buf *out);
bool tops_merge(struct str body, uint64_t *v, size_t n);

/* When all members that a worker has of a room had an entry of it. */
struct reach {
    uint64_t room, seq, us;
};
enum { REACHES_MAX = 1 << 16 }; /* kept of a run; later entries are left out */
struct hist;
/* Sorts them, and adds to *out the latest of each entry that all `workers` tell of. */
void reaches_merge(struct reach *v, size_t n, size_t workers, struct hist *out);
