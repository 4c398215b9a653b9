/* auth: what comes back from checking a token (op auth), for the gateway.
 *
 * A token may die while it is being checked. The directory makes the death durable and visible, then counts
 * `revocations` up, then announces DELIVER_CLOSE. So a gateway that (1) has the result, (2) has joined the bus for this
 * user and listed the session, and (3) finds the counter as it was before the check, will see every later announcement;
 * if the counter moved, it checks again. (Counting before the death is visible would not do: a check between the two
 * would find the new count with the old token.) */
#pragma once
#include "proto/id.h"

enum { DEVICES_MAX = 32 }; /* of a user: tokens that live */

struct auth_result {
    user_id user;
    device_id device;
    uint64_t revocations; /* the counter, read before the token was looked up */
};
/* r->result of a successful OP_auth; r->out is the public user object {id, username, name?, …}. */
