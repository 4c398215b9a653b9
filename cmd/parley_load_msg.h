/* msg: what a coordinator and its workers say to each other, as bytes.
 *
 *   message   length (u32, of the body)  type (u8)  body
 *   hello     "PLWK"  version (u32)  has a secret (u8)  nonce (32)     worker, first
 *   proof     nonce (32)  proof (32)                                   coordinator
 *   welcome   proof (32)                                               worker
 *   job       run (u32)  base (u32)  options: "--name=value" NUL, …  users: lines of a users file
 *             workers (u32)  at (u32)  ids: lines, of all users      0, 0 and nothing unless groups are shared
 *   tops      see parley_load_crowd.h: shared groups only, there and back
 *   failed    a sentence: it could not come to traffic
 *   result    see parley_load_result.h
 *   ready, go, begun, ended, alive, stop: no body
 *
 *   worker        hello         welcome       … ready      begun … ended … result       (alive each second)
 *   coordinator         proof           job           go             (stop)
 *
 * Where groups are shared, all wait for each other once more before the groups are made: ready and go come twice.
 *
 * Bounded: a body's length is judged by its type before any of it is kept. Memory: what is read is borrowed. */
#pragma once
#include "base/enc.h"
#include "base/err.h"

enum { MSG_VERSION = 2, MSG_HEAD = 5, MSG_NONCE = 32, MSG_PROOF_BYTES = 32, MSG_ARGS_MAX = 64 };
enum { MSG_SMALL_MAX = 4096, MSG_JOB_MAX = 256 << 20, MSG_RESULT_MAX = 64 << 20, MSG_TOPS_MAX = 16 << 20 };
enum msg_type {
    MSG_HELLO = 1,
    MSG_PROOF,
    MSG_WELCOME,
    MSG_JOB,
    MSG_READY,
    MSG_GO,
    MSG_BEGUN,
    MSG_ENDED,
    MSG_ALIVE,
    MSG_STOP,
    MSG_RESULT,
    MSG_FAILED,
    MSG_TOPS,
    MSG_TYPES
};
struct msg {
    enum msg_type type;
    struct str body;
    size_t bytes; /* of the whole message */
};
enum msg_state { MSG_PART, MSG_WHOLE, MSG_BAD };

size_t msg_begin(struct buf *out, enum msg_type type);
void msg_end(struct buf *out, size_t mark);
/* The first message of `in`. is_known: the other side has proved who it is; else it may say small things only. BAD: an
 * unknown type, or a body longer than its type may have. */
enum msg_state msg_parse(struct str in, bool is_known, struct msg *out);

struct hello {
    uint32_t version;
    bool has_secret;
    uint8_t nonce[MSG_NONCE];
};
void hello_encode(const struct hello *h, struct buf *out);
/* INVALID: not a hello. Another version is told in h->version, and the rest is not read. */
MUST_CHECK enum err hello_decode(struct str body, struct hello *h);

struct job {
    uint32_t run, base; /* of the cids: the run's number, and the first user's */
    size_t n_args;
    const char *args[MSG_ARGS_MAX];
    struct str options; /* the args as they lie in the message, each with its NUL */
    struct str users;
    uint32_t workers, at; /* 0: no group is shared */
    struct str ids;
};
void job_encode(const struct job *j, struct buf *out); /* takes options, not args */
MUST_CHECK enum err job_decode(struct str body, struct job *j);
