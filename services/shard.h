/* shard: conversations in memory: who may, how far, what is under way; the one way by which an entry comes to be.
 *
 * A conversation is loaded at its first use and stays while there is room. It has two faces: *admitted* is what
 * everything appended so far makes of it, and rights are judged by it; *committed* is what is durable, and readers see
 * nothing else.
 *
 * Writes of one conversation run one after the other in the order they came, cold reads and questions to other services
 * included: a write that must wait holds the conversation. The life of a write that makes an entry:
 *
 *   shard_write(r, &conv, q, start)                  loaded, all before it have run
 *     start: e = shard_entry(q); fill in what the op says (kind, content, …)
 *            shard_once(r, c, q, cid, canonical, print, admit)     repeats are answered (or wait, or conflict)
 *     admit: rights by conv_admitted(c); refuse by reactor_fail, or shard_append(r, c, q)
 *   … commit: applied, stored, answered by `print`, told to the members.
 *
 * Thread: the reactor's. Memory: pointers into conv_admitted and conv_committed are good until the function that got
 * them returns to the loop; a struct conv lives while it is held, pinned or has something under way. */
#pragma once
#include "services/heads.h"
#include "services/reactor.h"

struct conv;
typedef void shard_fn(struct reactor *r, struct conv *c, struct request *q);
/* Writes the `ok` of an entry that is committed, a repeat's too: one JSON object with "dup":true where dup is set. */
typedef void shard_print_fn(const struct entry *e, bool dup, struct buf *out);

/* Runs fn when the conversation is loaded and every write before this one has run. fn ends the request, appends, or
 * holds. */
void shard_write(struct reactor *r, const struct conv_id *id, struct request *q, shard_fn *fn);
/* Runs fn as soon as it is loaded: for what only reads. */
void shard_read(struct reactor *r, const struct conv_id *id, struct request *q, shard_fn *fn);

/* For who looks at many. Cold: it is served here, and neither it nor what stays behind of it (heads.h) is in memory. */
bool shard_is_cold(const struct reactor *r, const struct conv_id *id);
/* What stayed behind of one that is not in memory. False: nothing, or it is in memory. */
bool shard_glance(const struct reactor *r, const struct conv_id *id, const struct actor *who, struct glance *out);
/* Begins to load those of them that are cold, together: their blocks are asked of the disk at once. Whoever needs one
 * meanwhile waits for it as ever; one that can't be loaded is forgotten, and who needs it then is told why. */
enum { LOAD_TOGETHER = 32 };
void shard_load_ahead(struct reactor *r, const struct conv_id *const *ids, size_t n);

/* The write waits for something: no other write of this conversation runs until shard_continue, which runs fn. */
void shard_hold(struct conv *c);
void shard_continue(struct reactor *r, struct conv *c, struct request *q, shard_fn *fn);
/* A reader that comes back to the conversation after waiting keeps it in memory meanwhile. */
void conv_pin(struct conv *c);
void conv_unpin(struct reactor *r, struct conv *c); /* c may be gone after it */

/* What a conversation is. head 0: it does not exist. */
const struct conv_id *conv_id(const struct conv *c);
uint16_t conv_shard(const struct conv *c);
struct lsm *conv_store(const struct reactor *r, const struct conv *c);
const struct authority *conv_admitted(const struct conv *c);
const struct authority *conv_committed(const struct conv *c);
/* Who is in by what is committed, as the bus wants it: borrowed, audience_ref what you keep. */
struct audience *conv_audience(struct conv *c);
/* Telling what concerns nobody for long, as receipts and typing: everybody (`to`) in conversations of at most
 * EVERYBODY_MAX members. In larger ones only who wrote lately, each once, but not `but`: otherwise what each member
 * says would cost as much as the group is large. */
enum { EVERYBODY_MAX = 32 };
void conv_tell_one(struct reactor *r, const struct delivery *d, user_id user);
void conv_tell_authors(struct reactor *r, const struct conv *c, const struct delivery *d, user_id but);
/* True when one of a pair blocks the other, whichever way. False for groups. */
bool authority_is_blocked(const struct authority *a);

/* The entry of this write: zeroed, in the request's memory, to be filled in. Texts and lists must live as long as the
 * request: its arguments do. */
struct entry *shard_entry(struct request *q);
/* Goes on with `admit` if this (user, conversation, cid) was never seen; else answers: the first one's `ok` with dup,
 * once it is committed, or `conflict` for another fingerprint. `canonical` is what makes two requests the same, beside
 * the op: its arguments in a fixed form, used up before this returns (reactor_scratch is made for it). */
void shard_once(struct reactor *r, struct conv *c, struct request *q, struct str cid, struct str canonical,
                shard_print_fn *print, shard_fn *admit);
/* Appends the request's entry. Filled in here: conv, seq, from, device, ts, ordinal; by shard_once: cid, hash,
 * fingerprint; by the caller: kind, conv_kind and the rest, of expires_at how long from ts on. Answers the request
 * after commit, or `unavailable` when nothing was appended (draining, a full disk, or log or store at its bound for
 * seconds: it waits for room first). */
void shard_append(struct reactor *r, struct conv *c, struct request *q);
/* Instead of shard_append, for a write that changes nothing because the entry `seq` of time `ts`, maybe still under
 * way, did it already: no entry comes to be, the cid is kept all the same, and after commit the request is answered by
 * `print` with that seq and time. So a repeat is one, whatever has happened since. */
void shard_unchanged(struct reactor *r, struct conv *c, struct request *q, uint64_t seq, int64_t ts);

/* The member who asks, by what is committed: NULL, and the request is ended as an unknown conversation, when there is
 * none or the user never was in it. Who left stays known: member->is_in says. */
const struct member *shard_reader(struct reactor *r, struct conv *c, struct request *q);
/* The member who writes, by what is admitted: NULL, and the request is ended, when unknown or (forbidden) no longer in.
 */
const struct member *shard_writer(struct reactor *r, struct conv *c, struct request *q);
