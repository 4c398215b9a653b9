/* inner: what services ask each other, beside the ops of the protocol. r->inner is one of these; r->asker's arguments
 * and results are in one of the structs below, hung on r->result by the asker (in the arena of r), filled in by the
 * server. */
#pragma once
#include "proto/request.h"

struct expiring; /* storage/convlog_expiry.h */
enum inner_kind {
    INNER_NONE,
    /* asked of the lookup */
    INNER_LOGIN_DATA,  /* struct inner_login: the stored password hash of a username */
    INNER_USERS_EXIST, /* struct inner_users: which of them exist, and have room for one more group */
    INNER_USER_CONVS,  /* struct inner_convs: every conversation a user is or was in; waits for the barrier first */
    /* asked of the directory */
    INNER_BARRIER,     /* struct inner_barrier: ends when the tables hold what is before the targets; `unavailable` when
                          that takes too long */
    INNER_ACCOUNT_ADD, /* struct inner_account: a hashed sign-up, with its first device */
    INNER_DEVICE_ADD,  /* struct inner_device: a login; device 0 makes a new one */
    INNER_SEED,        /* struct inner_seed: accounts without a password, a device and a token each */
    /* asked of a reactor that owns shards */
    INNER_HOLD,       /* struct inner_hold: a step of hold.h; what it says comes in `out` */
    INNER_MOVE,       /* struct inner_move (move.h): a step of moving a shard */
    INNER_ERASE,      /* struct inner_erase: a page of a conversation loses its content */
    INNER_REBUILD,    /* struct inner_rebuild (rebuild.h): what some conversations of a shard are, as rows */
    INNER_RETENTION,  /* struct inner_retention: how long a conversation keeps its entries, or a page of them goes */
    INNER_CONV_BATCH, /* struct inner_conv_batch: summaries and entries of many conversations for one viewer (sync,
                         list) */
};

/* One conversation of a batch, as the asking user (and device) may know it. */
struct inner_conv_row {
    struct conv_id conv;
    /* in: where reading goes on: behind `position`, or behind this device's own cursor if that is further */
    uint64_t position;
    bool from_device;
    /* out of a look */
    bool is_visible; /* the user is or was in it */
    bool has_new;    /* entries behind `after` are visible */
    bool is_reset;   /* the position was none; `after` begins anew */
    uint64_t after;
    int64_t activity; /* the time of the last visible entry; of who left, where it was asked for */
    /* out of SYNC: everything visible up to here is printed */
    uint64_t reached;
    /* the asker's own */
    unsigned owner;
    bool is_named, is_open;
};
enum { CONV_BATCH_MAX = 64 /* rows in one request: served one after the other without going back to the loop */ };
enum conv_batch_kind {
    CONV_LOOK_NEW, /* activity of who left: only where has_new */
    CONV_LOOK_ALL,
    CONV_SYNC, /* prints objects of `sync`, comma-separated, while `entries` and `bytes` last; both count down */
    CONV_LIST, /* prints objects of `conversation.list`, while `bytes` last */
};
struct inner_conv_batch {
    enum conv_batch_kind kind;
    struct inner_conv_row *v;
    size_t n; /* the asker's */
    size_t entries, bytes;
    bool is_first; /* nothing is printed yet, so that the first entry is, of whatever size */
    size_t done;   /* rows worked through */
    bool is_full;  /* there is no room for what comes next */
};
struct inner_hold {
    enum hold_step { HOLD_PIN, HOLD_CHECKPOINT, HOLD_RELEASE } step;
};
struct inner_erase {
    bool is_status; /* only since_ms is asked for */
    struct conv_id conv;
    uint64_t from, to;          /* out: cut to what there is */
    int64_t before_ms;          /* only those of before this moment; 0: all */
    user_id user;               /* only what this one sent; 0: all */
    const struct expiring *due; /* instead of from..to: these of `conv`, as far as they have expired. The asker's */
    size_t n_due;
    uint64_t erased, next; /* out: how many had content; where to go on, 0: through. Of `due` next only says that some
                              have not expired yet, by the clock of now */
    int64_t since_ms;      /* out: purge_since */
};
struct inner_retention {
    enum retention_step { RETENTION_SHOW, RETENTION_SET, RETENTION_SWEEP } step;
    struct conv_id conv;
    int64_t now_ms;           /* in of SWEEP: the time that is believed */
    uint64_t retention_ms;    /* its own: in of SET, out of all */
    uint64_t first_seq, head; /* out */
    bool more;                /* out of SWEEP: there may be more to go */
};
struct inner_users {
    const user_id *v;
    size_t n;
    bool *exists;
    bool are_joining, is_full; /* asked: they are to be in one more group; answered: one of them is in too many */
};
struct inner_convs {
    user_id user;
    struct inner_conv_ref {
        struct conv_id conv;
    } * v;
    size_t n;
};
struct inner_barrier {
    const uint64_t *targets; /* of each reactor's log (directory_ends) */
};
struct inner_login {
    struct str username;
    user_id user;
    struct str name, password; /* encoded hash; empty: none. user 0: nobody */
};
struct inner_account {
    struct str username, name, phone, password;
    user_id user;
    device_id device;
    struct str token;
};
struct inner_device {
    user_id user;
    device_id device;
    struct str token;
};
struct inner_seed {
    struct str prefix;
    uint64_t first, count;
    struct buf *lines; /* username TAB user TAB device TAB token LF */
};
