/* framing: a client's WebSocket frames (RFC 6455, section 5), taken out of bytes as they come, in whatever pieces.
 *
 * Nothing is collected but a header that is cut: payload is handed on as far as it is there, unmasked where it lies.
 * What the protocol forbids is found as soon as it is there: an unmasked frame, reserved bits and opcodes, a control
 * frame in pieces or with more than 125 bytes, a continuation of nothing, a message inside a message, a length of 64
 * bits. Thread: one. Memory: none of its own; a zeroed framing is at the beginning of a stream. */
#pragma once
#include "base/str.h"

enum { OPCODE_CONTINUE = 0, OPCODE_BINARY = 2, OPCODE_CLOSE = 8, OPCODE_PING = 9, OPCODE_PONG = 10 };
enum { FRAME_HEAD_MAX = 14, CONTROL_MAX = 125 };
enum framing_what { FRAMING_MORE, FRAMING_PIECE, FRAMING_BAD };

struct framing {
    uint64_t left; /* of the payload */
    uint8_t head[FRAME_HEAD_MAX];
    uint8_t have;       /* bytes of the header */
    uint8_t turn;       /* which byte of the mask is next */
    bool is_in_payload; /* the header was whole, and something is left */
    bool is_in_message; /* a message is to be continued */
};

/* A frame, or a piece of one: the first comes with its header, even when no byte of the payload is there yet. */
struct framed {
    uint8_t opcode;
    bool is_last;  /* it ends the message: no byte of the frame is left, and no frame follows */
    uint64_t left; /* bytes of this frame still to come */
    struct str piece;
};

/* Takes the next one from *at, which moves behind what was taken. MORE: everything up to `end` was taken, and there is
 * no further piece. BAD: the stream is of no use any more. */
enum framing_what framing_next(struct framing *f, char **at, char *end, struct framed *out);
static inline bool framing_is_control(uint8_t opcode) { return opcode >= OPCODE_CLOSE; }
