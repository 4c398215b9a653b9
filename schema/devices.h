/* devices: a device of a user is a token that lives. Thread: the db's. */
#pragma once
#include "proto/record.h"
#include "schema/db.h"

struct device_row {
    device_id device;
    int64_t created;
};

/* Whose token this is; NOT_FOUND: nobody's. */
MUST_CHECK enum err devices_find_token(struct db *d, const uint8_t token_hash[32], user_id *user, device_id *device);
MUST_CHECK enum err devices_exists(struct db *d, user_id user, device_id device, bool *out);
/* A user's devices by id, those after `after`, at most `max`; *n says how many. */
MUST_CHECK enum err devices_list(struct db *d, user_id user, device_id after, struct device_row *out, size_t max,
                                 size_t *n);

/* Applying. A device that is there gets the new token; its old one is dead. */
MUST_CHECK enum err devices_put(struct db *d, const struct device_record *r);
MUST_CHECK enum err devices_remove(struct db *d, const struct device_gone_record *r);
