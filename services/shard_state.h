/* shard_state: what the files of the shards share: shard.c (order and life of a conversation), shard_load.c (from
 * the store), shard_once.c (repeats), shard_log.c (append and commit). receipt.c uses it too. Nobody else includes it.
 */
#pragma once
#include "base/map.h"
#include "services/heads.h"
#include "services/notify.h"
#include "services/shard_log.h"

enum { AUTHORS_KEPT = 16, CONV_ARENA = 320 /* a pair's members, of three devices in all */ };
struct tail; /* tail.h */
struct load; /* shard_load.c's */

/* Who wrote last. */
struct authors {
    user_id v[AUTHORS_KEPT];
    unsigned next;
};

/* A conversation is in memory while it is used or there is room. What must hold:
 *   - `ahead` is `now` plus everything in flight. While only messages are in flight they differ in head, ordinal and
 * time alone, and then `ahead` borrows members and texts from `now`; a change of members or settings under way makes it
 * a deep copy with an arena of its own, until all such are committed.
 *   - it goes only when idle: nothing waits, nothing is in flight, its state is in the store, nobody holds or pins it.
 */
struct conv {
    struct link used;  /* in shards.recent, the latest first */
    struct link stale; /* in shards.stale */
    struct conv_id id;
    uint64_t hash;
    uint16_t shard;
    bool is_loading, is_loaded, is_held, is_pumping, is_deep;
    unsigned pins, in_flight, changing; /* changing: in flight and more than a message */
    uint64_t bytes;                     /* that it holds, as last weighed */
    struct link waiting;                /* struct work: writes in their order, and all else while it loads */
    struct authority now, ahead;
    struct arena arena, ahead_arena;
    size_t touched; /* records applied that may have left garbage in the arena */
    struct audience *audience;
    struct authors *authors; /* NULL: none, as of a pair, where nobody asks for them */
    struct notify_hint hint;
    struct tail *tail; /* NULL: none */
    struct convlog_near near;
    bool end_was_read;
};

/* One request at its conversation; in the request's memory, found by q->server. */
struct work {
    struct link link; /* conv.waiting, or the repeats of another */
    struct request *q;
    struct conv *conv;
    shard_fn *fn, *admit;
    shard_print_fn *print;
    struct link repeats; /* struct work: the same cid again, while this one is under way */
    enum err err;
    uint64_t since_ms;   /* when it came */
    struct lsm_near cid; /* where it was looked for */
    struct appended log;
};

struct tails {
    struct link recent; /* struct tail */
    uint64_t bytes, bytes_max;
};

struct shards {
    struct reactor *r;
    struct map convs, cids;       /* struct conv by id; struct work in flight by cid hash */
    uint64_t op_prints[OP_COUNT]; /* what an op's name adds to a fingerprint */
    struct link recent;
    struct heads *heads; /* of those that had to go */
    struct tails tails;
    struct link loads;             /* struct load: to begin when the turn ends */
    struct link loading;           /* struct load: those that have begun */
    struct load *open[STORES_MAX]; /* of those the one that has room, by store */
    uint64_t bytes, bytes_max;
    struct link appended; /* struct appended, in log order */
    struct link stale;    /* struct conv: entries of it are in the store, its state is not */
    bool is_unmarked;     /* the stores were not told how far they have everything */
    uint64_t committed;
    struct timer retry;  /* the store was too busy to take what is committed */
    struct link stalled; /* struct work: appends that wait for room, each holding its conversation */
    struct timer stall;
    void (*on_tables)(struct directory *);
    shards_failure_fn *on_failure;
    bool has_failed;
};

static inline struct work *work_of(struct request *q) { return q->server; }

/* The one with this id, now the latest used: loaded, loading or new. */
struct conv *conv_get(struct shards *s, const struct conv_id *id);
/* It is no longer found, and the caller's. */
void conv_detach(struct shards *s, struct conv *c);
void conv_free(struct conv *c);
/* Runs what waits until a write holds the conversation. Only the outermost call runs anything, so an answer that makes
 * its asker send the next request doesn't overtake. */
void conv_pump(struct reactor *r, struct conv *c);
/* shard_write and shard_read of what is served here, whatever moves (move.h). */
void shard_write_now(struct reactor *r, const struct conv_id *id, struct request *q, shard_fn *fn);
void shard_read_now(struct reactor *r, const struct conv_id *id, struct request *q, shard_fn *fn);
/* w waits until it is loaded, which begins when the turn ends. */
void shard_load(struct reactor *r, struct conv *c, struct work *w);
/* Ends the use that just happened: a conversation that is idle and not there is forgotten, and old ones make room. */
void conv_settle(struct reactor *r, struct conv *c);
/* Goes on with a write: at once when it never waited, else by shard_continue. */
void shard_go_on(struct reactor *r, struct conv *c, struct request *q, shard_fn *fn);
/* What was committed changed who is in: the audience is made anew when next asked for. */
void conv_members_changed(struct conv *c);
/* Copies the authority to a fresh arena when the old one holds mostly garbage. */
void conv_tidy(struct conv *c);
void shard_drop_loads(struct shards *s);
void tails_init(struct tails *all, uint64_t bytes_max);
void tail_drop(struct tails *all, struct conv *c); /* no-op when it has none */
/* The write under way with this cid, or NULL. */
struct work *shard_in_flight(const struct shards *s, const uint8_t cid_hash[16]);
static inline uint64_t cid_slot(const uint8_t cid_hash[16]) { return dec_u64(cid_hash); }
