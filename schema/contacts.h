/* contacts: a user's contacts, and whom they block (their own list; the shard of the pair enforces it).
 * Thread: the db's. */
#pragma once
#include "proto/record.h"
#include "schema/db.h"

MUST_CHECK enum err contacts_apply(struct db *d, const struct contact_record *r);
MUST_CHECK enum err contacts_apply_blocked(struct db *d, const struct contact_record *r);
MUST_CHECK enum err contacts_has(struct db *d, user_id user, user_id other, bool *out);
MUST_CHECK enum err contacts_has_blocked(struct db *d, user_id user, user_id other, bool *out);
