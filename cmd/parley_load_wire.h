/* wire: the client's side of WebSocket (RFC 6455) as bytes: handshake, frames. No sockets here.
 *
 * It is written by hand because of what it costs. A libwebsockets connection does one send per message and several
 * epoll_ctl around it: 6.5 to 11.5 us of CPU to write one frame, 18 us a message in a relay at window 8. Here all
 * frames of a loop turn leave in one send, and a received buffer is parsed where it lies: 1.4 to 2.7 us a delivered
 * entry, verification included (1,000 connections in pairs, window 8). Else the generator would be what is measured.
 *
 * Messages must be whole frames (FIN set): no server of interest fragments, and one that does is reported, not guessed.
 * Memory: what wire_parse returns is borrowed from its input. */
#pragma once
#include "base/buf.h"

enum wire_opcode { WIRE_TEXT = 1, WIRE_BINARY = 2, WIRE_CLOSE = 8, WIRE_PING = 9, WIRE_PONG = 10 };
enum wire_result { WIRE_MORE, WIRE_FRAME, WIRE_BAD };
enum { WIRE_FRAME_MAX = 4 << 20 }; /* a server's frame beyond this is refused */

struct wire_frame {
    enum wire_opcode opcode;
    struct str payload;
    size_t bytes; /* header and payload: how far to move on */
};

/* The upgrade request. The nonce is RFC 6455's own example: it guards against caches, of which there are none here, and
 * its answer is known without SHA-1. */
void wire_hello(struct buf *out, struct str host, struct str path);
/* Looks for the end of the answer's head: MORE, FRAME (accepted; *bytes is its length) or BAD (*status: its HTTP
 * status, 0 when it isn't HTTP or the accept key is wrong). */
enum wire_result wire_welcome(struct str in, size_t *bytes, int *status);

/* The first frame in `in`. BAD: masked, fragmented, reserved bits or opcodes, larger than WIRE_FRAME_MAX. */
enum wire_result wire_parse(struct str in, struct wire_frame *out);

/* A frame is written in place: begin, append the payload to *out, end with the mark that begin returned. */
size_t wire_begin(struct buf *out);
void wire_end(struct buf *out, size_t mark, enum wire_opcode opcode, uint32_t mask);
