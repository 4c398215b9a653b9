/* users: the table of people. Texts of a row are in the arena; an absent one is empty. Thread: the db's. */
#pragma once
#include "proto/record.h"
#include "schema/db.h"

struct user_row {
    user_id user;
    struct str username, name, status, picture, phone, last_seen;
    struct str password; /* encoded hash; empty: no login by password */
    bool read_receipts;
    int64_t created;
};
/* NOT_FOUND: nobody. */
MUST_CHECK enum err users_get(struct db *d, user_id user, struct arena *a, struct user_row *out);
MUST_CHECK enum err users_find(struct db *d, struct str username, struct arena *a, struct user_row *out); /* folded */
MUST_CHECK enum err users_exists(struct db *d, user_id user, bool *out);
MUST_CHECK enum err users_id_of(struct db *d, struct str username, user_id *out); /* NOT_FOUND */

/* Every user, by id, until fn answers false; the row's texts last for the call. */
typedef bool users_each_fn(void *arg, const struct user_row *u);
MUST_CHECK enum err users_each(struct db *d, users_each_fn *fn, void *arg);

/* Applying. EXISTS: the username is somebody else's, which admission ruled out. */
MUST_CHECK enum err users_add(struct db *d, const struct account_record *r);
MUST_CHECK enum err users_change(struct db *d, const struct profile_record *r);
