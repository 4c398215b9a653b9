/* convlog: the message store: conversations as logs, in an lsm store.
 *
 * Applies records (proto/record.h) and reads what they made. Applying is idempotent and decides nothing. The essay with
 * the keys and values to the byte stands in convlog.c; the columns of a message: conversation, seq, kind, from, device,
 * ts, cid, reply_to, mentions, content, ordinal.
 *
 * Thread: the store's owner. Reads that would block answer AGAIN and fill `need` (see lsm.h); NULL need: blocking. */
#pragma once
#include "proto/record.h"
#include "storage/lsm.h"
#include "storage/lsm_need.h"

struct range {
    uint64_t from, to;
}; /* visible seqs, both included; to = 0: open */
struct device_cursor {
    device_id device;
    uint64_t delivered;
};
enum { MENTIONS_KEPT = 64, DEVICES_KEPT = 64 };
/* What lsm_conf.filter_prefix must be for a store of conversations: shard, space and conversation (see convlog.c). */
enum { CONVLOG_FILTER_PREFIX = 18 };
struct member {
    user_id user;
    enum role role;
    bool is_in; /* a member now: the last range is open */
    int64_t joined_ts;
    uint64_t joined_seq;      /* standing: the lower, the longer */
    uint64_t delivered, read; /* the member's cursors */
    struct range *ranges;
    size_t n_ranges; /* ascending, disjoint, with a gap between */
    struct device_cursor *devices;
    size_t n_devices; /* no order; the DEVICES_KEPT that are furthest. None: delivered 0 */
    uint64_t *mentions;
    size_t n_mentions; /* ascending seqs above `read` that mention this user, the newest MENTIONS_KEPT */
    uint32_t ranges_cap, devices_cap, mentions_cap; /* authority.c's */
};
/* A conversation's authority as it is stored: who may, what is visible to whom, how far it is. */
struct authority {
    struct conv_id id;
    enum conv_kind kind;
    uint64_t head;          /* the last seq; 0: does not exist (a block may stand before the first) */
    uint64_t ordinal;       /* messages among 1..head */
    uint64_t first_seq;     /* the oldest kept: 1, until some were forgotten */
    uint64_t first_ordinal; /* messages below it */
    uint64_t retention_ms;  /* its own (record.h): RETENTION_SERVER, RETENTION_FOREVER, or an age */
    int64_t last_ts;
    struct group_settings settings;     /* texts owned by the arena */
    bool announce, locked, history_all; /* their effective values */
    user_id pair[2];
    bool blocked[2]; /* one-to-one: who, the lower first; blocked[i]: pair[i] blocks the other */
    struct member *members;
    size_t n_members;     /* pair and group alike, those who left too; sorted by user */
    uint32_t members_cap; /* authority.c's */
};

/* Applies one conversation record to the store: ENTRY, RECEIPT, BLOCK, UNCHANGED, ERASE, RETENTION, FORGET. It must be
 * given in log order.
 * For ENTRY the conversation's head, the cid index and the members it changes are put in the same breath. `now` is the
 * caller's in-memory authority (the committed one), already changed by authority_apply, so nothing is read back; what
 * the record touched is written. LIMIT as lsm_put: some of it may be in; give the same record again. */
MUST_CHECK enum err convlog_put(struct lsm *l, uint16_t shard, const struct record *r, const struct authority *now);
/* Where a conversation's last entry and its state were put: the next ones need not be searched for. Those of another
 * conversation are no worse than zeroed ones. */
struct convlog_near {
    struct lsm_near entry, state;
};
/* For who puts many at once: of an ENTRY all but the conversation's state, which is owed by convlog_put_state before
 * lsm_applied, once for all its entries. `bytes` are what record_encode writes of it; `cid` is what
 * convlog_find_cid_near left, or zeroed. */
MUST_CHECK enum err convlog_put_entry(struct lsm *l, uint16_t shard, const struct entry *e, struct str bytes,
                                      const struct authority *now, struct convlog_near *near, struct lsm_near *cid);
MUST_CHECK enum err convlog_put_state(struct lsm *l, uint16_t shard, const struct authority *now, struct buf *scratch);
MUST_CHECK enum err convlog_put_state_near(struct lsm *l, uint16_t shard, const struct authority *now,
                                           struct buf *scratch, struct convlog_near *near);
/* The same change on an authority in memory (zeroed before the first): the one place that says what a record does
 * (head, ranges, roles, cursors, blocks; an own entry moves the author's cursors, and the sending device's when it had
 * all before). An entry at or below the head changes nothing; a receipt never moves back. What the record lists is
 * taken as it is: a group's `created` names its creator, with the role. A removed member keeps cursors and ranges and
 * has no role but ROLE_MEMBER. New memory comes from the arena; used by live shards and by replay. */
void authority_apply(struct authority *a, const struct record *r, struct arena *arena);
/* A deep copy into another arena: how a long-lived authority gets rid of what its arena no longer needs. */
void authority_copy(const struct authority *a, struct arena *arena, struct authority *out);

/* NOT_FOUND: neither entry nor block. The whole authority, members included: bounded by the group's size. */
enum err convlog_load(struct lsm *l, uint16_t shard, const struct conv_id *c, struct lsm_need *need,
                      struct arena *arena, struct authority *out);
/* The cid index: never expires. */
enum err convlog_find_cid(struct lsm *l, uint16_t shard, const uint8_t cid_hash[16], struct lsm_need *need,
                          uint64_t *seq, uint64_t *fingerprint);
/* The same; `near` is for convlog_put_entry, when it was not found. */
enum err convlog_find_cid_near(struct lsm *l, uint16_t shard, const uint8_t cid_hash[16], struct lsm_need *need,
                               struct lsm_near *near, uint64_t *seq, uint64_t *fingerprint);
/* The time of an entry that is no more, by its cid. NOT_FOUND: that is not kept with this one. */
enum err convlog_forgotten_ts(struct lsm *l, uint16_t shard, const uint8_t cid_hash[16], struct lsm_need *need,
                              int64_t *ts);
enum err convlog_entry(struct lsm *l, uint16_t shard, const struct conv_id *c, uint64_t seq, struct lsm_need *need,
                       struct arena *arena, struct entry *out);
/* Entries of [from, to] ascending, until max_entries or max_bytes of stored bytes (at least one). newest_first: those
 * at the end of the range instead of its start, listed ascending all the same. `to` is at most the head. CORRUPT: one
 * is missing between others. `more`: the range has others. As they are stored, copied into the arena. */
struct entry_bytes {
    struct str *v;
    size_t n, bytes; /* bytes: of all of them */
    uint64_t seq;    /* of the first */
    bool more;
};
enum err convlog_read_bytes(struct lsm *l, uint16_t shard, const struct conv_id *c, uint64_t from, uint64_t to,
                            size_t max_entries, size_t max_bytes, bool newest_first, struct lsm_need *need,
                            struct arena *arena, struct entry_bytes *out);
/* One of them, which borrows from the bytes. CORRUPT: not the entry `seq`. *out is garbage on failure. */
enum err convlog_decode(struct str bytes, uint64_t seq, struct arena *arena, struct entry *out);
/* The same as convlog_read_bytes, all decoded into the arena. */
struct entry_list {
    struct entry *v;
    size_t n;
    bool more;
};
enum err convlog_read(struct lsm *l, uint16_t shard, const struct conv_id *c, uint64_t from, uint64_t to,
                      size_t max_entries, size_t max_bytes, bool newest_first, struct lsm_need *need,
                      struct arena *arena, struct entry_list *out);

/* Replay of one record after a crash: loads the authority it needs (blocking, with a bounded cache of its own),
 * applies. One replay belongs to one store. LIMIT as convlog_put. INVALID: not a record of conversations. */
struct convlog_replay;
void convlog_replay_create(struct convlog_replay **out);
void convlog_replay_destroy(struct convlog_replay *r);
MUST_CHECK enum err convlog_replay_record(struct convlog_replay *r, struct lsm *l, uint16_t shard, unsigned kind,
                                          struct str body);
/* A record that will be replayed soon: has what it needs fetched from memory, in as many calls, apart from each other,
 * with step 0, 1, 2. It may be skipped. */
void convlog_replay_fetch(const struct convlog_replay *r, unsigned kind, struct str body, unsigned step);
/* From now on a conversation's state is put late, once for all that was replayed since the last time:
 * convlog_replay_settle puts those of a store (NULL: of all), and only then may lsm_applied be called. Until then
 * nobody else reads the store (lsm_defer). LIMIT: to be repeated. */
void convlog_replay_defer(struct convlog_replay *r);
MUST_CHECK enum err convlog_replay_settle(struct convlog_replay *r, struct lsm *l);

/* The conversations of a shard, one after the other, for who looks at all of them: the next behind `after` (NULL: the
 * first), without its members. `own`: only those with a retention of their own. NOT_FOUND: no more. */
struct convlog_state {
    struct conv_id id;
    uint64_t head, first_seq, retention_ms;
};
enum err convlog_next(struct lsm *l, uint16_t shard, const struct conv_id *after, bool own, struct lsm_need *need,
                      struct convlog_state *out);
/* When the shard's conversations were last looked at for what is too old, ms since 1970; 0: never. */
enum err convlog_swept(struct lsm *l, uint16_t shard, struct lsm_need *need, int64_t *ms);
MUST_CHECK enum err convlog_put_swept(struct lsm *l, uint16_t shard, int64_t ms);

/* Which of 1..head a member may see; some of it may be forgotten. */
bool member_sees(const struct member *m, uint64_t seq);
uint64_t member_last_visible(const struct member *m, uint64_t head);         /* 0: nothing */
const struct member *authority_member(const struct authority *a, user_id u); /* NULL: never was one */
