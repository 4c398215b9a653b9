/* assembly: one text message out of the pieces in which its frames came, with a cap.
 *
 * A piece is what a read happened to hold. A message that comes in one piece is not copied; one in several
 * is collected in a buffer that grows with what has arrived, never with what was announced. An announced length beyond
 * the cap ends it at once. Thread: one. A zeroed assembly is empty and valid. */
#pragma once
#include "base/buf.h"

enum { MESSAGE_MAX = 128 * 1024 };
enum assembly_state { ASSEMBLY_MORE, ASSEMBLY_WHOLE, ASSEMBLY_TOO_LARGE };

struct assembly {
    struct buf got;
};

/* A piece; `left` more bytes of its frame are announced; `last`: it ends the message. On WHOLE, *message is borrowed
 * from the piece or from the assembly until assembly_reset, which the caller then owes. */
enum assembly_state assembly_add(struct assembly *a, struct str piece, uint64_t left, bool last, struct str *message);
void assembly_reset(struct assembly *a);
