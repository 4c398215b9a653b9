/* session: one WebSocket connection, from the upgrade to the end.
 *
 *   HELD ──token good──────────────► LIVE ──┐
 *     └──token dead: HTTP 401               │
 *   NEW ──auth──► CHECKING ──good──► LIVE ──┼──► CLOSING ──► DEAD
 *     └──10 s: 4408    └──dead: 4401 ───────┘    (the Close frame is queued: nothing    (libwebsockets is told
 *                                                 more is read, requests go on)          by the next flush, or knows)
 *
 * HELD: the token came in the header of the upgrade. libwebsockets wants to answer that at once and must not: its 101
 * is taken from it (ws.c), kept in `held`, and sent when the token is known to be good.
 *
 * What always holds:
 * - A listed session is in the registry and has joined the bus. A LIVE one is listed; one whose token is being checked
 * a second time is too (proto/auth.h), and nothing is written to it before the token is known to be good.
 * - Nothing is written from a callback of libwebsockets: sessions that have something to write are in the gateway's
 * list of dirty ones, and the end of the turn writes each with as few writes as possible. An entry that its queue has
 * no room for has it written earlier (entries come by the mailbox or a timer); only what then finds none is too much.
 * - A write ends at the end of a frame, and after one that the socket did not take whole (libwebsockets keeps its rest)
 *   there is none until the socket is writable again.
 * - From the upgrade on libwebsockets reads nothing: session_in.c does. It has what was read while the session could go
 *   on, and keeps what was read beyond that in `rest`.
 * - `stopped`: nothing is read, because too much is unsent or unanswered, or a token is being checked.
 * - A reply is not asked for when too much is unsent: reads wait (`waiting`), at most PENDING_MAX of them.
 * - `muted`: a resync was sent and no sync asked for since; entries are not queued.
 *
 * Memory: counted by `refs`: one for libwebsockets' connection, one for each request under way, whose answer may come
 * when the connection is long gone. */
#pragma once
#include "gateway/assembly.h"
#include "gateway/framing.h"
#include "gateway/inside.h"
#include "gateway/intake.h"
#include "gateway/outq.h"

enum session_state { SESSION_HELD, SESSION_NEW, SESSION_CHECKING, SESSION_LIVE, SESSION_CLOSING, SESSION_DEAD };

enum close_code {
    CLOSE_NORMAL = 1000,
    CLOSE_DRAINING = 1001,
    CLOSE_PROTOCOL = 1002,
    CLOSE_BINARY = 1003,
    CLOSE_UTF8 = 1007,
    CLOSE_TOO_LARGE = 1009,
    CLOSE_MALFORMED = 4400,
    CLOSE_UNAUTHENTICATED = 4401,
    CLOSE_NO_AUTH = 4408,
    CLOSE_REPLACED = 4409,
    CLOSE_ABUSE = 4429,
};

enum {
    PENDING_MAX = 4096,
    PENDING_BYTES_MAX = 4 << 20, /* of requests as they came: each is kept until it is answered */
    READS_MAX = 16,              /* under way at once; their answers may be large, so the others wait for their turn */
    UNSENT_MAX = 1 << 20,
    BATCH_MAX = 256,
    STRANGER_MAX = 8 << 10, /* bytes of a message before authentication */
    MALFORMED_MAX = 16,     /* before authentication: requests that are not auth, too */
    REFUSED_MAX = 1000,
};

struct session {
    struct conn conn;
    uint32_t refs;
    uint32_t reads;  /* those of the pending that read and are with the services */
    struct lws *wsi; /* NULL when the connection is gone */
    struct gateway *g;
    struct link all, dirty, by_user;
    struct timer timer;
    struct outq out;
    struct intake_item intake;
    struct framing frames;
    struct assembly in;
    struct buf rest, control; /* read and not looked at yet; of a control frame that comes in pieces */
    char *held;               /* HELD: the 101; afterwards the auth answer's text, until it was asked for */
    user_id user;
    device_id device;
    uint64_t born;     /* orders the sessions of a device over all reactors */
    uint64_t heard_ms; /* when the peer last showed life */
    uint64_t acked;    /* bytes that the peer's system had taken when session_drains last looked */
    uint64_t began_ms; /* when the first piece of a message came whose last one did not; 0: there is none */
    uint32_t held_len;
    uint32_t losses;                        /* the gateway's count that this session knows of */
    uint32_t pending, pending_bytes;        /* requests under way */
    struct request *waiting, *waiting_last; /* reads that are not yet, a list by `next` */
    uint32_t in_lws;                        /* bytes that libwebsockets may still hold */
    uint16_t refused, malformed;            /* lately */
    uint8_t state;
    bool by_header, batch, blocked, stopped, muted, pinged, finished, starting;
};

/* session.c: life */
struct session *session_new(struct gateway *g, struct lws *wsi, bool held);
void session_opened(struct session *s); /* the upgrade is through (or held) */
void session_gone(struct session *s);   /* libwebsockets' connection is; s may be freed */
void session_unref(struct session *s);
void session_close(struct session *s, enum close_code code);
void session_peer_closes(struct session *s, struct str payload); /* with the payload of its Close frame */
void session_kill(struct session *s);                            /* without a word */
void session_list(struct session *s);                            /* registers it and joins the bus */
void session_unlist(struct session *s);                          /* no-op when it is not listed */
void session_alive(struct session *s);                           /* the peer has shown life */
bool session_is_open(const struct session *s);                   /* not closing, not dead */

/* session_out.c: writing */
void session_touch(struct session *s); /* has something to write */
void session_flush(struct session *s); /* from the turn's end */
void session_writable(struct session *s);
/* Whether the peer has taken anything since the last time, of more than its socket holds. libwebsockets tells only when
 * all of it is through, which may take a slow reader longer than a heartbeat. */
bool session_drains(struct session *s);
void session_pace(struct session *s); /* stops or resumes reading by what is unsent and unanswered */
void session_deliver(struct session *s, const struct delivery *d); /* may kill it, by a write that fails */
void session_resync(struct session *s);
void session_lost(struct session *s); /* resyncs, if it has not heard of the last loss */

/* session_in.c: reading */
void session_readable(struct intake_item *it); /* the intake's: something came, or `rest` may be looked at */
void session_read(struct session *s, bool is_on);
void session_check_message(struct session *s); /* closes when one takes longer than a heartbeat to arrive */

/* session_ops.c: requests and replies */
struct ask { /* hangs on request.asker, lives in its arena */
    struct session *s;
    struct str re;  /* raw JSON of the id, or empty */
    uint32_t bytes; /* of the request, as it counts in pending_bytes */
};
void session_request(struct session *s, struct str text);
void session_refuse_frame(struct session *s, enum code code, const char *why); /* a reply to no id */
void session_malformed(struct session *s); /* counts one that was none, or came too early; closes at the bound */
void session_reply(struct session *s, struct str re, const struct request *r);
void session_start_waiting(struct session *s); /* reads whose turn has come */
void session_drop_waiting(struct session *s);  /* of a session that is gone */

/* session_auth.c */
void session_auth(struct session *s, struct request *r); /* of op auth, answered here */
void session_auth_header(struct session *s, struct str token);
