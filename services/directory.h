/* directory: the one writer of accounts, devices, tokens and profiles, and of SQLite.
 *
 * It is a thread with a loop, the port world_directory and a log of its own. A write is checked against the tables and
 * against what is under way, appended to the log, applied to the tables when it is durable, and only then answered: so
 * whatever was answered, every reader of the tables sees. The log carries finished values (ids, hashes, times).
 * It also applies what the reactors' logs hold for the tables (TOPIC_TABLES): who is in which conversation.
 *
 * It is no reactor: it may block on SQLite and on an fsync, and everything it does is bounded by its port, its log's
 * max_in_flight and DIRECTORY_WRITES_MAX.
 *
 * Starting, by cmd:   tables_open; tables_replay of every old log (recovery); directory_create; the reactors and their
 * streams; directory_connect; then its thread runs directory_run. Ending:             reactors' threads ended;
 * directory_stop; join; directory_destroy; then the reactors' streams close.
 *
 * Thread: directory_run's, where nothing else is said. */
#pragma once
#include "base/worker.h"
#include "services/handlers.h"
#include "services/tables.h"
#include "services/world.h"

enum { DIRECTORY_WRITES_MAX = 4096 /* writes under way or waiting for one; at it: unavailable */ };

struct directory;
struct views;
struct lsm;
struct directory_conf {
    struct world *world;   /* streams[world_directory] and `directory` are set by directory_create */
    struct tables *tables; /* the caller's */
    op_fn *const *ops;     /* op_handlers; a test may give fewer */
    const char *log_dir;
    uint64_t log_id; /* new */
    struct segpool *segments;
    size_t max_in_flight; /* bytes of its log; 0: 4 MiB */
    uint64_t barrier_ms;  /* how long somebody may wait for the tables; 0: 10 s */
    struct views *views;  /* how durable all is, for the moves and for who asks by admin.sock; NULL: nobody does */
    /* How a store is opened that came later, on the home of its index. NULL: shards don't move. */
    enum err (*open_store)(void *arg, unsigned store, const char *name, struct lsm **out);
    void (*close_store)(void *arg, unsigned store); /* one that was emptied: nobody has it any more */
    const char *admin_path;                         /* the folder where the owner-only admin.sock is made; NULL: none */
    /* After a synced checkpoint, for each log: how far the tables have it durably, and the table of what is owed. On
     * the directory's thread. May be NULL. */
    void (*on_durable)(void *arg, const struct tables_position *p);
    /* Its log failed or a record cannot be applied: logged; the process must end and restart. Once. */
    void (*on_failure)(void *arg, enum err err);
    void *arg; /* of both */
};

MUST_CHECK enum err directory_create(const struct directory_conf *c, struct directory **out);
/* Opens the consumers of world->streams[0..reactors-1], which are open by now. */
MUST_CHECK enum err directory_connect(struct directory *d);
void directory_run(struct directory *d);  /* until directory_stop; then applies and checkpoints what is committed */
void directory_stop(struct directory *d); /* any thread */
void directory_destroy(struct directory *d);

/* Any thread: a reactor committed records for the tables. Posts at most one message. */
void directory_wake(struct directory *d);
/* Any thread: how far each reactor's log has something for the tables by now; targets[0..reactors-1]. */
void directory_ends(const struct directory *d, uint64_t *targets);
/* Any thread: how far the tables show the log of a reactor. */
uint64_t directory_applied(const struct directory *d, unsigned port);
/* Any thread: the tables hold everything before them, so nobody needs to ask for INNER_BARRIER. */
bool directory_has(const struct directory *d, const uint64_t *targets);

/* Any thread: what members who were offline are owed, a durable record for notifications. The rows of one batch and the
 * position of the log that they bring it to are one transaction; batches of a log come in order. Rows already counted
 * (by seq) are not counted again. `done` runs on `home` when the tables have it; the batch and its rows are then the
 * caller's again. A full disk delays it. */
struct owed_batch {
    struct msg msg;              /* the directory's, until done */
    struct directory *directory; /* the same */
    uint64_t log_id, pos;
    struct owed_row *v;
    size_t n;
    enum err err; /* OK */
    struct mailbox *home;
    void (*done)(struct owed_batch *);
};
void directory_owe(struct directory *d, struct owed_batch *b);
/* How far a log was worked through, at start-up: tables_position().owed. */
