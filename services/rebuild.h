/* rebuild: a view that lags is detached, not waited for, and made anew from what it is a view of.
 *
 *   consumer                                     holds a log     detached   made anew from
 *   the message stores                           yes, always     never      nothing: the log is the only copy
 *   accounts, devices, contacts (directory's)    its own, always never      nothing: the log, then SQLite, is it
 *   chats, groups, members (reactors' logs)      up to the bound yes        the conversations in the stores
 *   what is owed (reactors' logs)                up to the bound yes        the members' cursors and the heads there
 *
 * The bound is world_max_lag bytes of a log, or a log that cannot be rid in time of what was erased (purge.h).
 *
 * Detaching: in one transaction the view's position jumps to the log's committed end, every shard of the log's reactor
 * is noted as to be made anew, and dead letters of its conversations go, for what they hold is in the conversations.
 * The transaction is synced, then the log is trimmed past it. From then on records about conversations whose turn has
 * not come yet are passed over.
 *
 * Making anew: shard by shard, in the order of the conversations' ids, a page at a time. The reactor reads a page in
 * one turn, so all of it is as of one moment, and says which of its log's records are in it; what the view reads of
 * that log waits while a page is on its way, so that no record is passed over that the page does not have. The
 * directory writes the rows in transactions of a bounded size; how far it came is in each. So a crash at any point goes
 * on where it was, and what is behind that point is kept up to date by the log as ever.
 *
 * Until it is done nobody is told that the tables have anything: lists are `unavailable` and not incomplete. Rights,
 * messages and their delivery need no table.
 *
 * What is owed becomes what a member may see and no device of theirs has confirmed: of those who were online, too,
 * whose receipts clear it.
 *
 * Thread: the directory's; inner_rebuild: the reactor's. */
#pragma once
#include "schema/conversations.h"
#include "schema/owed_rows.h"

struct directory;

enum { REBUILD_PAGE_CONVS = 64, REBUILD_PAGE_ROWS = 2048 };

/* One conversation as rows. */
struct rebuilt {
    struct conv_id conv;
    enum conv_kind kind; /* 0: it has no rows, for nothing was ever said in it */
    user_id a, b;        /* of a pair */
    int64_t created;
    struct group_row group;
    struct member_row *members; /* of a group */
    size_t n_members;
    struct owed_row *owed; /* of everybody who is or was in it; count 0: nothing */
    size_t n_owed;
};
struct inner_rebuild {
    bool is_beginning; /* what is owed by this reactor's log was detached: gathering begins anew; all else is unused */
    unsigned port;
    uint64_t round;
    uint16_t shard;
    uint8_t what;
    bool has_after; /* the page begins behind `after` */
    struct conv_id after;
    /* out, in the request's memory */
    bool is_owner;    /* the shard is this reactor's */
    uint64_t applied; /* the page has what is before it in this reactor's log */
    struct rebuilt *v;
    size_t n;
    bool is_through; /* the shard has no more */
};

/* A request's `result` (inner.h). */
void rebuild_init(struct directory *d);
void rebuild_stop(struct directory *d);   /* asks and writes nothing any more; twice is fine */
void rebuild_deinit(struct directory *d); /* the reactors' threads have ended */
/* Now and then: detaches what holds a log. */
void rebuild_look(struct directory *d);
/* A slice of what is to be made anew. The world's errors, as tables_apply. */
MUST_CHECK enum err rebuild_work(struct directory *d);
/* The log of a reactor is not to be read on now. */
bool rebuild_freezes(const struct directory *d, unsigned port);
