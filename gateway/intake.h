/* intake: which sessions have something to read. It watches their sockets by an epoll of its own, which the loop sees
 * as one descriptor, because libuv serves whatever is ready in the order in which it became so, and does not stop
 * before all of it is served: when thousands hang up at once, those who talk would wait for all of them.
 *
 * Here a turn serves at most READS_A_TURN sockets, and those whose peer has hung up come last, HANGUPS_A_TURN of them
 * at the turn's end; the others wait for the next turn, which follows without sleep. Thread: the loop's. Memory: an
 * item is embedded in its session. */
#pragma once
#include "base/loop.h"

enum { READS_A_TURN = 1024, HANGUPS_A_TURN = 16 };

struct intake;
struct intake_item {
    struct link wait; /* to be called at the end of a turn */
    int fd;
    bool is_in, is_on, is_hung; /* on: its owner wants to read */
};
typedef void intake_fn(struct intake_item *);

/* fn reads once; it is called again when there is more. It may take out any item, its own too. IO: no descriptors left.
 */
MUST_CHECK enum err intake_open(struct loop *l, intake_fn *fn, struct intake **out);
void intake_close(struct intake *i); /* everybody is out; the loop frees it */
void intake_add(struct intake *i, struct intake_item *it, int fd, bool is_on);
void intake_remove(struct intake *i, struct intake_item *it); /* before fd is closed; no-op when it is not in */
void intake_set(struct intake *i, struct intake_item *it, bool is_on); /* no-op when it is not in */
/* fn is called once more at the end of the turn: the owner still has something that was read before. */
void intake_again(struct intake *i, struct intake_item *it);
