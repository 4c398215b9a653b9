/* outq: what waits to be written to one connection, in order, with a bound for what may be dropped.
 *
 * Three kinds: replies, which are never dropped (who asks for too many is no longer read); entries, which are dropped
 * all together when too many wait, and the client is told to sync; ephemerals, of which a later one with the same slot
 * takes the place of an earlier one, and which are the first to go.
 * Everything queued is a run of complete WebSocket frames, so a write may end behind any item. Replies that follow one
 * another share a block of memory, and are one item.
 * Thread: the connection's. Memory: shared frames are held by reference, replies are owned; a queue of at most OUTQ_FEW
 * items (an answer and an event) has no ring. A zeroed outq is empty and valid. */
#pragma once
#include "proto/frame.h"

enum { OUTQ_FEW = 2, OUTQ_ENTRIES_MAX = 4096, OUTQ_BYTES_MAX = 1 << 20, OUTQ_EPHEMERALS_MAX = 128 };

struct out_item {
    union {
        char *own;
        struct frame *shared;
    };
    union {
        uint64_t slot; /* of an ephemeral */
        size_t room;   /* of replies: what their block has, of which len is used; of a notice its len */
    };
    uint32_t len;
    uint8_t kind;
    bool is_shared;
    uint16_t frames;
};
struct outq {
    struct out_item *ring;         /* NULL: `few` is it */
    struct out_item few[OUTQ_FEW]; /* most queues never hold more */
    uint32_t cap, head, n;         /* cap is a power of two, or 0: no ring */
    uint32_t entries, ephemerals;
    size_t reply_bytes, entry_bytes;
};
/* Bytes to write now: so many frames of the queue, from the front. */
struct out_batch {
    const char *p;
    size_t len;
    unsigned frames;
};

void outq_deinit(struct outq *q);
static inline bool outq_is_empty(const struct outq *q) { return q->n == 0; }
/* Room for a reply of len bytes, to be filled before anything else is asked of the queue. */
char *outq_reply(struct outq *q, size_t len);
void outq_notice(struct outq *q, struct frame *f); /* a shared frame that is never dropped */
/* LIMIT when no entry may be added any more: the caller writes, or drops the events and tells the client. */
MUST_CHECK enum err outq_entry(struct outq *q, struct frame *f);
void outq_ephemeral(struct outq *q, struct frame *f, uint64_t slot);
void outq_drop_events(struct outq *q); /* entries and ephemerals; replies and notices stay */
/* The next bytes: several small items copied to `scratch`, or one item where it lies. False when empty. */
bool outq_peek(struct outq *q, char *scratch, size_t max, struct out_batch *out);
void outq_pop(struct outq *q, unsigned frames); /* what a peek gave, before a further reply */
