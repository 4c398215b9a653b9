/* run: one run of the load generator: its users, connections and rooms, and the phases they go through.
 *
 *   login   every user connects and authenticates, a bounded number at a time
 *   setup   each pair exchanges a first message, each group is created; every member must learn of its conversation
 *   traffic warm-up, then the measured time
 *   drain   no new sends; until every ack and every delivery has come (of shared groups: all that any worker knows of)
 *   audit   what is still missing is counted
 *
 * Thread: one. Whatever goes wrong is counted in `faults`; the first of its kind is kept in words. A lost connection or
 * a resync ends the traffic early: figures of a run that failed are worth nothing. */
#pragma once
#include "cmd/parley_load_crowd.h"
#include "cmd/parley_load_hist.h"
#include "cmd/parley_load_net.h"
#include "cmd/parley_load_options.h"
#include "cmd/parley_load_proc.h"
#include "cmd/parley_load_room.h"
#include "cmd/parley_load_schedule.h"
#include "cmd/parley_load_scrape.h"
#include "cmd/parley_load_script.h"
#include "cmd/parley_load_series.h"
#include "cmd/parley_load_users.h"

/* Request ids: one for auth; an entry's is ID_ENTRY + its sender's counter. Counter 0 is the setup's. */
enum { ID_AUTH = 1, ID_ENTRY = 2 };
#define ID_ACT ((uint64_t)1 << 48) /* of the peer's one act */

enum act_kind { ACT_RECEIPT, ACT_TYPING, ACT_HISTORY, ACT_SYNC, ACT_RESUME, ACT_KINDS };
struct act {
    enum act_kind kind;
    bool is_open, is_again; /* is_again: sync once more when this one is done */
    uint64_t start_us, before;
};

struct slot { /* a send that is not yet popped */
    uint64_t start_us, seq;
    bool is_answered;
};
struct peer {
    struct conn conn;
    uint32_t index;                  /* in run.peers and run.users */
    bool is_in, is_sender, is_first; /* is_first: begins the room */
    bool is_actor;                   /* takes part in what the scenario does beside sending */
    struct act act;
    struct buf since;  /* its positions in conversations of before, as they stand in a sync */
    struct room *room; /* NULL when idle */
    struct view view;
    struct slot *slots;  /* a ring by counter, of run.slots */
    uint64_t sent, done; /* counters: the next to send, the first not answered in order */
    uint64_t first;      /* the counter of its first entry of the traffic */
    uint64_t due;        /* open loop: how many should have been started */
    uint32_t place;      /* open loop: in the order of senders */
};
struct tally {
    uint64_t sent, acked, delivered; /* entries; delivered counts each receiver */
    uint64_t caught, resyncs;        /* entries that sync brought; resyncs that the scenario asks for */
    uint64_t others;                 /* events that are none of this run's entries */
};
struct snapshot {
    uint64_t at_us, own_cpu_us;
    struct tally tally;
    struct proc_use server;
};
/* What somebody outside may want to know or to delay: before the traffic, the measured time's begin and end, each turn;
 * where groups are shared also: all are logged in, own sends are answered. */
enum run_stage { RUN_READY, RUN_TURN, RUN_BEGUN, RUN_ENDED, RUN_LOGGED_IN, RUN_ANSWERED };
struct run {
    const struct load_options *o;
    bool (*at_stage)(struct run *r, enum run_stage stage); /* NULL, or a worker's; false (before traffic): none */
    void *stage_arg;
    struct users users;
    uint32_t base;      /* the number of our first user in the whole run */
    struct crowd crowd; /* empty unless groups are shared */
    struct script script;
    struct net net;
    struct peer *peers;
    struct room *rooms;
    size_t n, n_rooms, n_connecting, n_in, n_begun;
    struct peer **senders; /* in the order of the open loop */
    size_t n_senders, slots;
    bool is_sending, is_broken, is_quiet, is_learning; /* is_quiet: no entries are written while acts run */
    struct peer **comers, **actors;                    /* a ring of those who drop and come back; all who act */
    size_t comers_begin, comers_cut, comers_end, n_actors, n_coming, n_away, n_acts;
    uint64_t random, acts_from_us, acts_due, back_us, fill; /* fill: entries to write before the traffic */
    struct hist *acts[ACT_KINDS];
    uint64_t start_us, from_us, to_us; /* of the traffic; the measured part of it */
    uint64_t due;                      /* open loop: entries whose time has come */
    uint64_t open_acks, open_notes;    /* sends without an answer; entries that not everybody has seen */
    uint64_t progress;                 /* counts whatever moves the run forward */
    struct tally tally;
    struct faults faults;
    struct buf fault;                    /* the first fault, in words */
    struct hist *ack, *delivery, *reach; /* reach: until all members have an entry */
    struct reach *reaches;               /* shared groups: what reach is made of, once all workers are heard */
    size_t n_reaches;
    struct series *series;
    struct snapshot login, begin, end; /* before the first connection; of the measured time */
    struct target target;
    struct scrape scrapes[2]; /* what the server says of itself when the measured time begins and ends */
    uint64_t login_us;        /* how long the logins took */
};

/* A worker's part: the run's number and the first user's, as the cids name them, and lines of a users file. */
struct run_part {
    uint32_t run, base;
    struct str users;     /* borrowed for the whole run, as ids */
    uint32_t workers, at; /* of shared groups; else 0 */
    struct str ids;
};

/* Reads the users (from o->users, unless it is a part of a run) and prepares; INVALID with a sentence in r->fault. */
MUST_CHECK enum err run_init(struct run *r, const struct load_options *o, const struct run_part *part);
size_t run_unit(const struct load_options *o); /* users come in so many: a room of the scenario, or 1 */
size_t run_staying(const struct load_options *o, size_t users); /* reconnect: so many stay, in pairs: the first ones */
void run_deinit(struct run *r);
/* All phases. INVALID with a sentence in r->fault: it could not come to traffic. OK: look at the faults. */
MUST_CHECK enum err run_all(struct run *r);
void run_stop(void);      /* ends the traffic as if its time were over; for signal handlers */
bool run_take_stop(void); /* was that called? and forgets it: for who runs no traffic */
/* What was used: before the first connection, at a moment, and as the server tells a little later. */
void run_first_look(struct run *r);
void run_snapshot(struct run *r, struct snapshot *s);
void run_ask_server(struct run *r, struct scrape *s);
void run_hear_server(struct run *r);

/* For the parts of a run. */
static inline uint32_t run_number(const struct run *r, const struct peer *p) { return r->base + p->index; }
/* How far each room came, and that others say so. False: what they say makes no sense. */
void run_tops(const struct run *r, struct buf *out);
bool run_expect(struct run *r, struct str tops);
void run_fault(struct run *r, uint64_t *counter, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Turns until is_done; false when nothing moved for --drain-timeout, or the run is broken. */
bool run_wait(struct run *r, bool (*is_done)(const struct run *r), void (*step)(struct run *r));

extern const struct net_ops run_ops; /* what the connections call; arg is the run */
/* login */
MUST_CHECK enum err login_all(struct run *r);
/* setup */
void setup_places(struct run *r); /* before any entry can come */
MUST_CHECK enum err setup_rooms(struct run *r);
void setup_name(struct run *r, struct peer *p); /* the next members of the group that p makes */
/* talk: what a peer says and hears */
void talk_hear(struct run *r, struct peer *p, struct str text);
void talk_send(struct run *r, struct peer *p,
               struct str to_user);              /* the entry p->sent; to_user is empty: to the room */
void talk_refill(struct run *r, struct peer *p); /* sends what window and schedule permit */
void talk_due(struct run *r);                    /* open loop: starts what is due by now */
uint64_t talk_next_us(const struct run *r);      /* open loop: when the next one is due */
