/* frame: one encoded event, shared by everybody who gets it.
 *
 * Made once, on the thread that owns the conversation, as a complete WebSocket text frame (header and payload), then
 * only read: any number of connections on any thread hold a reference. Thread: ref and unref from any. */
#pragma once
#include "base/buf.h"
#include <stdatomic.h>

struct frame {
    _Atomic uint32_t refs;
    uint32_t len;     /* of bytes: header and payload */
    uint32_t payload; /* where the payload starts */
    char bytes[];
};
struct frame *frame_text(struct str payload); /* one reference, the caller's */
struct frame *frame_ref(struct frame *f);
void frame_unref(struct frame *f); /* NULL is fine */
enum { FRAME_HEADER_MAX = 10 };
size_t frame_header(uint8_t *out, unsigned opcode,
                    size_t payload); /* server to client: FIN, unmasked; returns 2, 4 or 10 */

/* The members of a conversation at one moment: immutable, shared. */
struct audience {
    _Atomic uint32_t refs;
    uint32_t n;
    uint64_t users[];
};
struct audience *audience_new(size_t n); /* one reference; the caller fills users before sharing */
struct audience *audience_ref(struct audience *a);
void audience_unref(struct audience *a);
