/* link: a socket between coordinator and worker, message by message.
 *
 * Sending waits, at most LINK_SEND_S without progress. Thread: one. Memory: a received message is borrowed until the
 * next link_receive. */
#pragma once
#include "cmd/parley_load_auth.h"

enum { LINK_SEND_S = 30, LINK_GREET_MS = 10000 };
struct link {
    int fd; /* -1: none */
    bool is_known;
    struct buf in;
    size_t taken;
};
enum link_state { LINK_MESSAGE, LINK_NOTHING, LINK_CLOSED, LINK_BAD };

void link_open(struct link *l, int fd, bool is_known);
void link_close(struct link *l);
MUST_CHECK bool link_send(struct link *l, enum msg_type type, struct str body); /* false: the other side is gone */
/* Waits at most wait_ms for a whole message. */
enum link_state link_receive(struct link *l, int64_t wait_ms, struct msg *out);
/* Who is there? INVALID with a sentence in *why. */
MUST_CHECK enum err link_greet_worker(struct link *l, const struct secret *s, struct buf *why);
MUST_CHECK enum err link_greet_coordinator(struct link *l, const struct secret *s, struct buf *why);
