/* reactor: the services' side of a reactor thread: the shards it owns, their log, their stores, and the server of its
 * port.
 *
 * Requests come in by the port (bus_request): an op whose `where` is HERE runs on the reactor that got it; CONV runs on
 * the reactor that owns the conversation, to which it is forwarded; DIR and LOOK (and auth) go on to the directory and
 * the lookup. A handler gets the reactor as its service and ends its request by reactor_end or by an append (shard.h).
 *
 * Thread: create and destroy before and after the loop runs, all else on the reactor's thread. */
#pragma once
#include "base/loop.h"
#include "services/handlers.h"
#include "services/world.h"
#include "storage/convlog.h"

struct reactor;
struct naming;
struct shards;
struct notify;
struct typing;
struct receipts;
struct surveys;
struct views;
struct moves;
struct expiry;
struct owed_batch;
typedef void notify_owe_fn(struct directory *d, struct owed_batch *b);

struct reactor_conf {
    struct world *world;
    unsigned index;    /* its port, 0..world->reactors-1; world->streams[index] is set by reactor_create */
    struct loop *loop; /* its mailbox is attached to the port by the caller */
    struct pool *pool; /* what blocks: removing old logs */
    op_fn *const *ops, *const *inner; /* op_handlers and inner_handlers; a test may give fewer */
    struct lsm *const *stores; /* by store index; NULL: another reactor's. They are the caller's, homed on this loop */
    struct views *views;       /* shared by all reactors: how durable everything is (views.h) */
    const char *log_dir;
    uint64_t log_id; /* new */
    struct segpool *segments;
    size_t max_in_flight; /* bytes; 0: 8 MiB */
    uint32_t linger_us;
    bool is_stepped; /* its log has no thread (stream.h) */
    /* How the directory (world->directory) is told; NULL in tests. directory_wake: records that the tables are made
     * from are committed. directory_owe: writes what is owed to offline members. */
    void (*on_tables)(struct directory *d);
    notify_owe_fn *owe;
    void (*on_failure)(void *arg,
                       enum err err); /* log or store failed for good: the process must end and restart; once */
    void *arg;
};

/* Opens the log and serves the port. */
MUST_CHECK enum err reactor_create(const struct reactor_conf *c, struct reactor **out);
/* Closes the log (flushed and synced first); what was not answered stays unanswered. */
void reactor_destroy(struct reactor *r);

struct world *reactor_world(const struct reactor *r);
struct env *reactor_env(const struct reactor *r);
struct port *reactor_port(const struct reactor *r);
struct loop *reactor_loop(const struct reactor *r);
struct metric_set *reactor_metrics(const struct reactor *r);
struct stream *reactor_stream(const struct reactor *r);
const struct data_keys *reactor_keys(const struct reactor *r);
struct shards *reactor_shards(const struct reactor *r); /* shard.h's own */
struct naming *reactor_naming(const struct reactor *r);
struct notify *reactor_notify(const struct reactor *r);
struct typing *reactor_typing(const struct reactor *r);
struct receipts *reactor_receipts(const struct reactor *r);
struct surveys *reactor_surveys(const struct reactor *r);
struct moves *reactor_moves(const struct reactor *r);
struct expiry *reactor_expiry(const struct reactor *r);
struct buf *reactor_scratch(struct reactor *r); /* cleared; for what is used up before returning to the loop */
struct lsm *reactor_store(const struct reactor *r, uint16_t shard);    /* of a shard that it owns */
size_t reactor_store_index(const struct reactor *r, uint16_t shard);   /* the same store's */
size_t reactor_stores(const struct reactor *r, struct lsm *const **v); /* by store index, NULL where not its own */
const char *reactor_store_name(const struct reactor *r, size_t store); /* of one of its own */

/* Ends a request whose code is set. */
void reactor_end(struct reactor *r, struct request *q);
void reactor_ok(struct reactor *r, struct request *q); /* request_ok, then the end */
void reactor_fail(struct reactor *r, struct request *q, enum code code,
                  const char *why); /* a sentence of ours, no format */
/* The one answer for a conversation that is not there or that this user may not know of. */
void reactor_no_conv(struct reactor *r, struct request *q);
/* Something of ours failed (I/O, damage): logged with an id, which the `internal` answer carries. LIMIT is no failure:
 * too many reads wait for the disk, `unavailable`. */
void reactor_broken(struct reactor *r, struct request *q, const char *what, enum err err);

/* Which port owns a conversation. */
unsigned reactor_owner(const struct reactor *r, const struct conv_id *c);
/* Hands a request on to the reactor that owns `c`, and runs fn there (at once when that is this one). For ops that
 * begin HERE and end at the conversation: group.create, group.add. The request keeps its asker. */
typedef void reactor_fn(struct reactor *r, struct request *q); /* finds q->server as it was */
void reactor_hand_over(struct reactor *r, struct request *q, const struct conv_id *c, reactor_fn *fn);

/* Asks another service on behalf of q. `inner` with `result` filled in by the caller is sent to port `to`; when the
 * answer is there, fn runs here with q and the answered request (`sub`, freed after fn returns). Memory for `result`
 * comes from the new request's arena: ask by reactor_ask_new, fill sub->result, then reactor_ask. */
typedef void reactor_answer_fn(struct reactor *r, struct request *q, struct request *sub);
struct request *reactor_ask_new(struct reactor *r, struct request *q, int inner, reactor_answer_fn *fn);
void reactor_ask(struct reactor *r, struct request *sub, unsigned to);

/* Reads that may need the disk. fn is called at once with a zeroed `need`, and called again with it each time what it
 * lacked is loaded, as long as it answers AGAIN; any other answer says that it is through, and `arg` may be gone. */
typedef enum err reactor_read_fn(struct reactor *r, void *arg, struct lsm_need *need);
void reactor_read(struct reactor *r, reactor_read_fn *fn, void *arg);
