/* directory_state: what the files of the directory share: its state, and how a write goes through it.
 *
 *   admit (against the tables and `names`, `busy`) → log → durable → tables, with others in one transaction → `applied`
 *
 * Thread: the directory's, but for what is atomic. */
#pragma once
#include "base/loop.h"
#include "base/map.h"
#include "queue/redeliver.h"
#include "services/directory.h"

struct admin;
struct hold;
struct mover;

/* A record on its way from the log to the tables. */
struct directory_record {
    struct link link;
    uint64_t pos;
    uint8_t kind;
    size_t len;
    char bytes[];
};

/* One op's write on its way. In the memory of its request, or of who keeps it. */
struct directory_write {
    struct link link;
    uint64_t last;           /* where its last record stands */
    struct request *request; /* NULL: nobody asks */
    struct str username;     /* reserved by it; empty: none */
    user_id user;            /* whose devices it changes; 0: nobody's */
    device_id device;
    uint16_t close_code; /* of the device's sockets; 0: they stay open */
    bool is_kept;        /* one of its records became a dead letter: the tables don't show it */
    void *own;           /* the op's */
    void (*applied)(struct directory *,
                    struct directory_write *); /* the tables show it: answer; the write is the op's again */
};

struct directory_follow {
    struct stream *stream;
    struct consumer *consumer;
    struct redeliver again; /* the record that did not fit, and when it is tried next; what is behind it waits */
};

/* A request that waits: for its user's devices to be free, or for the tables to be current. */
struct directory_waiting {
    struct link link;
    struct request *request;
    const uint64_t *targets; /* of a barrier: by port */
    uint64_t until_ms;
};

/* rebuild.c's. */
struct rebuilding {
    struct request *asked; /* NULL: nobody is asked; answered, it is `page` */
    struct request *page;  /* whose rows are being written */
    unsigned port;         /* whose log waits, while either is */
    struct {
        size_t conv, member, owed;
        bool has_head;
    } at;            /* of the page: what is written */
    uint64_t begins; /* a bit a port: its reactor is to be told that what is owed begins anew */
    uint64_t round;  /* counts detachings: what was asked before one is of no use */
    struct timer again;
    uint64_t convs, since_ms;
};

struct directory {
    struct directory_conf conf;
    struct world *world;
    struct env *env;
    struct tables *tables;
    struct db *db;
    struct loop *loop;
    struct port *port;
    struct stream *stream;
    uint64_t log_id, committed;
    struct metric_set *metrics;
    struct turn_hook turn;
    struct timer tick, retry, overdue; /* overdue: of the barriers */
    struct timer redeliver;            /* a record of a followed log is due again */
    bool has_work;                     /* something may be ready for the tables */
    bool is_behind;                    /* a log has more than one turn took */
    bool looks_further;                /* positions are to be moved over what does not concern the tables, too */
    bool is_stalled;                   /* the tables take nothing now; `retry` looks again */
    bool has_failed, is_stopping;

    struct link records, writes; /* both in log order */
    size_t n_writes, n_deferred;
    struct map names, busy; /* writes, by reserved username and by user */
    struct link deferred, barriers;
    struct link seeds;
    struct directory_follow follow[BUS_PORTS_MAX];
    _Atomic uint64_t applied[BUS_PORTS_MAX]; /* by port, for directory_has */
    unsigned first_port;                     /* modulo reactors: whose log the next slice begins with */
    struct msg wake;
    _Atomic bool is_woken;
    struct msg *owed, **owed_last; /* batches that wait, in order */
    struct admin *admin;
    struct hold *hold; /* hold.c's; NULL: nothing is held */
    struct {
        int64_t since_ms; /* of what is gone from the tables' files and not yet from the log; 0: nothing */
        uint64_t target;  /* up to here the log is to be trimmed for it; 0: it is to be rolled first */
        uint64_t ticket;  /* of the scrub behind that; 0: none yet */
        bool erases;      /* it was begun by an erasing, not by another log's scrub */
    } stale;              /* directory_stale.c's */
    struct mover *mover;  /* NULL: nothing moves */
    struct rebuilding rebuild;
    _Atomic bool is_incomplete; /* the tables lack what is being made anew: nobody is told that they have anything */
};

/* directory_write.c: admission. */
/* Appends the records, all or none, and takes the write. FULL, LIMIT: at a bound. */
enum { DIRECTORY_RECORDS_MAX = 2 };
MUST_CHECK enum err directory_admit(struct directory *d, struct directory_write *w, const struct record *v, size_t n);
/* Ends a request with what admission said. */
void directory_refuse(struct directory *d, struct request *r, enum err err);
void directory_answer(struct directory *d, struct request *r); /* it is ok */
void directory_fail(struct directory *d, struct request *r, enum code code, const char *why);
bool directory_is_reserved(const struct directory *d, struct str username);
/* True: a write to this user's devices is under way, and the request is served again after it, or refused when too many
 * are under way or wait already. */
bool directory_defer(struct directory *d, struct request *r, user_id user);
/* The tables show the writes up to `committed`: their ops answer, and what waited for them is served. */
void directory_writes_applied(struct directory *d);

/* directory_apply.c: from the logs to the tables. */
void directory_work(struct directory *d); /* what is ready of the directory's own, and a slice of the rest */
void directory_barriers_overdue(struct timer *t);
void directory_checkpoint(struct directory *d);
void directory_publish_durable(struct directory *d);
void directory_publish_barriers(struct directory *d);
void directory_barrier(struct directory *d, struct request *r);
void directory_failed(struct directory *d, enum err err);
MUST_CHECK enum err directory_follow_open(struct directory *d, unsigned port);

/* directory_stale.c: what was overwritten leaves the files. */
MUST_CHECK enum err directory_stale_checkpoint(struct directory *d); /* a checkpoint of the tables, as it is due */
void directory_stale_show(struct directory *d);           /* after each: is the log trimmed for it? the metric */
int64_t directory_stale_since(const struct directory *d); /* since when it waits, ms since 1970; 0: nothing */

/* directory.c */
void directory_serve(void *ctx, struct request *r);

/* The inner requests (inner.h). */
void directory_account_add(struct directory *d, struct request *r);
void directory_device_add(struct directory *d, struct request *r);
