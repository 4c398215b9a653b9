/* record: what the log carries, and how it is laid out in bytes.
 *
 * A record holds finished values (ids, seqs, hashes, times), so applying it decides nothing: the same record applied
 * twice to a store or to SQLite leaves what applying it once leaves. Kinds and versions are for ever: a new field means
 * a new version, an old version is always decoded as it was. The log itself sees only kind, shard and bytes.
 *
 * Kinds below 64 belong to conversations (their shard's log), the others to the directory's. */
#pragma once
#include "proto/op.h"

enum { SHARD_COUNT = 256, SHARD_DIRECTORY = 256 };

enum record_kind {
    RECORD_ENTRY = 1,     /* an entry of a conversation */
    RECORD_RECEIPT = 2,   /* a member's cursors moved */
    RECORD_BLOCK = 3,     /* one of a pair blocks the other, or no longer */
    RECORD_UNCHANGED = 4, /* a write that changed nothing was answered: its cid, and the seq that stands */
    RECORD_ERASE = 8,     /* messages lost their content */
    RECORD_RETENTION = 9, /* how long a conversation keeps its entries */
    RECORD_FORGET = 10,   /* the oldest entries are no more */
    RECORD_ACCOUNT = 64,  /* sign-up */
    RECORD_DEVICE = 65,   /* a device got a token (again) */
    RECORD_DEVICE_GONE = 66,
    RECORD_PROFILE = 67,
    RECORD_CONTACT = 68,
    RECORD_BLOCKED = 69, /* the blocker's own list */
    RECORD_KIND_MAX = 127
};
/* The kinds that SQLite's tables are made from, beside all of the directory's: see record_is_for_tables. */

enum entry_kind { /* on disk: never renumber */
                  ENTRY_MESSAGE = 1,
                  ENTRY_CREATED = 2,
                  ENTRY_MEMBERS = 3,
                  ENTRY_SETTINGS = 4,
};
/* Why a message has no content any more. Such an entry is a stub: it keeps what makes it the entry that it was (seq,
 * ts, from, device, ordinal, cid and its hashes, the peer, expires_at) and nothing of what it said, answered or
 * mentioned. */
enum entry_gone { ENTRY_KEPT = 0, ENTRY_DELETED = 1, ENTRY_EXPIRED = 2 };
enum conv_kind { CONV_PAIR = 1, CONV_GROUP = 2 };
enum members_change { MEMBERS_ADDED = 1, MEMBERS_REMOVED = 2, MEMBERS_ROLE = 3 };

struct member_role {
    user_id user;
    enum role role;
};

/* Which settings a created or settings entry carries. */
struct group_settings {
    bool has_title, has_description, has_picture, has_announce, has_locked, has_history;
    struct str title, description, picture;
    bool announce, locked, history_all;
};

struct entry {
    struct conv_id conv;
    uint64_t seq;
    enum entry_kind kind;
    enum conv_kind conv_kind;
    user_id from;
    device_id device; /* that sent it; it gets the reply, not the event */
    int64_t ts;       /* ms since the epoch */
    uint64_t ordinal; /* how many of the entries 1..seq are messages */
    struct str cid;
    uint8_t cid_hash[16]; /* keyed hash of (conv, from, cid): the index key */
    uint64_t fingerprint; /* keyed hash of op, arguments and content */
    user_id peer;         /* one-to-one: the other side (oneself in a chat of one) */
    /* ENTRY_MESSAGE */
    enum entry_gone gone;
    int64_t expires_at; /* from this moment on nobody may read its content; 0: never. A stub keeps it */
    struct str content; /* raw JSON object */
    uint64_t reply_to;  /* 0: none */
    const user_id *mentions;
    size_t n_mentions;
    /* ENTRY_CREATED, ENTRY_MEMBERS */
    enum members_change change;
    const struct member_role *members;
    size_t n_members; /* REMOVED: role is unused. With a departure that hands the
                         ownership over, `heir` is the new owner. */
    user_id heir;     /* 0: none */
    bool history_all; /* ADDED: their range starts at 1, not at this seq */
    /* ENTRY_CREATED, ENTRY_SETTINGS */
    struct group_settings settings;
};

struct receipt_record {
    struct conv_id conv;
    user_id user;
    device_id device;         /* whose delivered moved; 0: none */
    uint64_t delivered, read; /* absolute; 0: unchanged */
    int64_t ts;
};
struct block_record {
    struct conv_id conv;
    user_id blocker, blocked;
    bool on;
    int64_t ts;
};
/* The stubs as they are to stand, so that applying it reads nothing. */
struct erase_record {
    struct conv_id conv;
    int64_t ts; /* of the erasing */
    const struct entry *stubs;
    size_t n; /* at most ERASE_MAX */
};
enum { ERASE_MAX = 256 };
struct retention_record {
    struct conv_id conv;
    int64_t ts;
    uint64_t retention_ms; /* RETENTION_SERVER, RETENTION_FOREVER, or an age */
};
#define RETENTION_SERVER 0ull /* as the server's option says */
#define RETENTION_FOREVER UINT64_MAX
/* What is kept of an entry that is no more: what a repeat of its write is answered with. */
struct forgotten {
    uint8_t cid_hash[16];
    uint64_t fingerprint;
    int64_t ts;
};
/* The entries from..from+n-1 are no more, and those from first_seq on are all that there is. first_seq is from + n, but
 * where a conversation begins that was imported: then what is between never was here. */
struct forget_record {
    struct conv_id conv;
    int64_t ts; /* of the forgetting */
    uint64_t from, first_seq;
    uint64_t ordinal; /* how many of the entries below first_seq are messages */
    const struct forgotten *v;
    size_t n; /* at most FORGET_MAX */
};
enum { FORGET_MAX = 256 };
struct account_record {
    user_id user;
    int64_t ts;
    struct str username, name, phone;
    struct str password; /* argon2id's encoded hash; empty: cannot log in by password */
};
struct device_record {
    user_id user;
    device_id device;
    uint8_t token_hash[32];
    int64_t ts;
};
struct device_gone_record {
    user_id user;
    device_id device;
    int64_t ts;
};
struct profile_record {
    user_id user;
    int64_t ts;
    bool has_name, has_status, has_picture, has_last_seen, has_read_receipts;
    struct str name, status, picture, last_seen;
    bool read_receipts;
};
struct contact_record {
    user_id user, other;
    bool on;
    int64_t ts;
};

struct record {
    enum record_kind kind;
    union {
        struct entry entry; /* RECORD_UNCHANGED too: of it conv, seq, from, cid_hash, fingerprint */
        struct receipt_record receipt;
        struct block_record block;
        struct erase_record erase;
        struct retention_record retention;
        struct forget_record forget;
        struct account_record account;
        struct device_record device;
        struct device_gone_record device_gone;
        struct profile_record profile;
        struct contact_record contact; /* RECORD_CONTACT and RECORD_BLOCKED */
    };
};

/* Appends the record's bytes (version first). */
void record_encode(const struct record *r, struct buf *out);
/* CORRUPT for bytes that no version wrote, UNSUPPORTED for a version or kind of a later program. Texts and lists are
 * borrowed from `bytes` or put into the arena. */
MUST_CHECK enum err record_decode(unsigned kind, struct str bytes, struct arena *arena, struct record *out);
/* The same of an entry's, for who decodes many; *out is garbage on failure. */
MUST_CHECK enum err entry_from_bytes(struct str bytes, struct arena *arena, struct entry *out);
/* Whom or what a record is about, of any version and without decoding it, borrowed from `bytes`: its conversation (16
 * bytes), or of the directory's kinds its user (8 bytes). So where they stand is the same in every version: behind the
 * version, of an entry behind three bytes more. Empty when the bytes end before. */
struct str record_subject(unsigned kind, struct str bytes);
/* True for what the user and group tables are fed from: the directory's kinds, and entries that create a conversation,
 * change members or settings (a pair's first message included). `sub` lets the log tell without decoding: see stream.h.
 */
bool record_is_for_tables(const struct record *r);
/* About how many rows applying it writes; 0: none, it isn't for the tables. */
size_t record_table_rows(const struct record *r);

/* Makes a message a stub. */
void entry_erase(struct entry *e, enum entry_gone gone);
/* Its time has come, and it has its content yet. */
static inline bool entry_is_due(const struct entry *e, int64_t now_ms)
{
    return e->expires_at && !e->gone && e->expires_at <= now_ms;
}

/* The value of an entry in the store is its record's bytes; so one codec serves log and store. */

/* One entry event as the client sees it: {"ev":"message","conv":…,"seq":…,"from":…,"ts":…,"cid":…,…}. */
void entry_print(const struct entry *e, struct buf *out);
/* The same for who prints many of one conversation: the texts of its id and of who wrote last are kept in `names`,
 * which is zeroed before the first. */
struct entry_names {
    struct conv_id conv;
    bool has_conv;
    unsigned n_from, oldest; /* of two, as there are in a pair */
    user_id from[2];
    char conv_text[CONV_TEXT], from_text[2][USER_TEXT];
};
void entry_print_with(struct entry_names *names, const struct entry *e, struct buf *out);
