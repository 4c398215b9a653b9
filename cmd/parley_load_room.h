/* room: one conversation as its members see it, and the proof that they all see the same.
 *
 * Every entry is sighted once by each member: by the sender as the ack of its own send, by all others as an event. Each
 * sighting names seq, sender, the sender's counter and its start time; all sightings of one seq must agree, which shows
 * that ack and events speak of one entry. Each member's view must be dense: events ascend, acks ascend in the order of
 * the sends, and merged they are every seq exactly once. Acks and events may overtake each other, so a view keeps a
 * bitmap of what came ahead of its first missing seq.
 *
 *   view   … 7 8 9 | 10 missing | 11 12 seen ahead        `next` is 10, bit 0 of `ahead` stands for 10
 *   room   notes from the oldest seq that some member still misses up to the highest seen
 *
 * A conversation may be older than this run: a view begins behind the first entry of this run that it sees, and all
 * views of a room must begin at the same one. Thread: one. */
#pragma once
#include "base/mem.h"

struct faults {
    uint64_t missing;  /* a member never saw a seq that others saw or that lies below one it saw */
    uint64_t repeats;  /* a member saw a seq twice */
    uint64_t disorder; /* an event below an earlier one, or acks not in the order of the sends */
    uint64_t wrong;    /* two accounts of one entry differ, or its sender or content is not what was sent */
    uint64_t strays;   /* an entry of this run reached a connection that it was not for */
    uint64_t resyncs;  /* the server dropped events for a connection */
    uint64_t refused;  /* a request was answered with an error */
    uint64_t unacked;  /* a request was never answered */
    uint64_t lost;     /* a connection closed under way */
    uint64_t garbled;  /* a frame could not be read */
    uint64_t workers;  /* a process that did a part of the run died */
};
uint64_t faults_sum(const struct faults *f);

struct sighting {
    uint64_t seq, start_us;
    uint32_t sender, counter;
};
struct note;
enum { ROOM_CONV_MAX = 64 };
struct room {
    char conv[ROOM_CONV_MAX];
    size_t conv_len;       /* 0: not known yet */
    size_t members, begun; /* of this process */
    size_t named;          /* members that the server was told of */
    size_t peer_first;     /* the index of its first member in the run */
    bool is_live;          /* its deliveries' latency counts */
    uint64_t first;        /* where views begin; 0: not known yet */
    uint64_t base, top;    /* notes are kept for [base, top) */
    uint64_t digest;       /* of all notes ever taken, in whatever order: two processes compare it */
    struct note *notes;    /* a ring, by seq */
    size_t cap;
};
struct view {
    bool begun;
    uint64_t next;       /* all below were seen */
    uint64_t last_event; /* 0: none */
    uint64_t last_own;
    uint64_t synced; /* the highest seq that a sync brought: up to there events may say again what is known */
    uint64_t *ahead; /* a ring of bits, by seq; NULL until something came ahead */
    size_t words;
};

void room_deinit(struct room *r);
void view_deinit(struct view *v);

/* Its id is known, and its members are not told yet. False: it has another one, or this is none. */
bool room_name(struct room *r, struct str conv);
/* A member learns of the conversation by its entry `seq`, and the view starts behind that. False when it contradicts
 * what another member was told. */
bool room_begin(struct room *r, struct view *v, struct str conv, uint64_t seq);
/* The entries that not all members have seen yet (gaps included). */
static inline uint64_t room_open(const struct room *r) { return r->top - r->base; }
/* A member sees an entry; faults are counted. True when the sighting is sound. */
bool room_event(struct room *r, struct view *v, const struct sighting *s, struct faults *f);
/* What a sync brings, and the view lacks: out of the events' order. */
bool room_catch(struct room *r, struct view *v, const struct sighting *s, struct faults *f);
bool view_has(const struct view *v, uint64_t seq);
/* Acks are handed in in the order of the sends. */
bool room_ack(struct room *r, struct view *v, const struct sighting *s, struct faults *f);
/* Every member has seen the entry. */
bool room_all_have(const struct room *r, uint64_t seq);
/* Others say that it came up to below `top`. False: that is absurdly far ahead. */
bool room_expect(struct room *r, uint64_t top);
/* At the end, for each member: counts what it never saw. */
void room_audit(const struct room *r, const struct view *v, struct faults *f);
