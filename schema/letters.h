/* letters: dead letters: records that the tables could not take, kept whole until somebody decides.
 *
 * They live in SQLite and not in files of their own, so that a letter, the passing over of its record and the position
 * that says so are one transaction: a crash leaves all of it or nothing, no record is kept twice or lost between two
 * files, and backups, verify and secure_delete hold for letters as for every other row.
 *
 * What always holds: as long as a subject (a conversation or a user, record_subject) has a letter, all later records
 * about it become letters, too. So those with one subject, by ascending id, are what the tables lack of it, in order,
 * and applying them in that order brings the tables to what they would have been.
 *
 * Bounds: LETTERS_MAX letters, LETTERS_BYTES_MAX bytes of bodies. At either nothing more is taken: the caller stops.
 * Thread: the db's; what changes rows is called inside a transaction. */
#pragma once
#include "proto/record.h"
#include "schema/db.h"

enum { LETTERS_MAX = 10000, LETTERS_BYTES_MAX = 64 << 20 };

struct letter {
    uint64_t id; /* given by letters_put */
    uint64_t log_id, pos;
    unsigned kind;
    uint16_t shard;
    int64_t kept_ms;
    uint32_t attempts;
    struct str why, body;
};
struct letters_total {
    uint64_t n, bytes;
    int64_t oldest_ms; /* 0: none */
};

/* The total is the caller's to keep (letters_total reads it anew). LIMIT: at a bound. One that is there stays. */
MUST_CHECK enum err letters_put(struct db *d, const struct letter *l, struct letters_total *total);
MUST_CHECK enum err letters_total(struct db *d, struct letters_total *out);
/* Whether a subject has one; an empty subject has none. */
MUST_CHECK enum err letters_hold(struct db *d, struct str subject, bool *out);
/* NOT_FOUND; CORRUPT: the body is not what was kept (`out` has all but the body). Texts go into the arena. */
MUST_CHECK enum err letters_get(struct db *d, uint64_t id, struct arena *a, struct letter *out);
/* The id of the first with the same subject: the one to be applied before any other of them. */
MUST_CHECK enum err letters_first(struct db *d, uint64_t id, uint64_t *out);
MUST_CHECK enum err letters_drop(struct db *d, uint64_t id);                  /* one that is not there is fine */
MUST_CHECK enum err letters_tried(struct db *d, uint64_t id, struct str why); /* once more, in vain */

/* By ascending id, behind `after`, without bodies: `bytes` is how long they are. False ends it. */
typedef bool letters_each_fn(void *arg, const struct letter *l, size_t bytes);
MUST_CHECK enum err letters_each(struct db *d, uint64_t after, letters_each_fn *fn, void *arg);

/* The content of erased messages leaves the letters: one that is such a message becomes its stub, and is applied as
 * that. A letter of an entry of that conversation that cannot be read goes: nobody can say that it is none of them.
 * *changed: how many are not what they were; totals are read anew then. */
MUST_CHECK enum err letters_erase(struct db *d, const struct erase_record *e, size_t *changed);
/* Those of conversations in shards whose tables are made anew (rebuild_rows.h): what they hold comes with that. */
MUST_CHECK enum err letters_drop_rebuilt(struct db *d);
/* Erasing: what was kept before, or is about a subject, goes for good (secure_delete overwrites it). The caller knows
 * that it is wanted nowhere else; totals are read anew afterwards. */
MUST_CHECK enum err letters_erase_before(struct db *d, int64_t ms);
MUST_CHECK enum err letters_erase_subject(struct db *d, struct str subject);
