/* registry: which sessions of a user are on this reactor.
 *
 * It knows links, not sessions: whoever lists a session embeds the link and finds the session by container_of.
 * Thread: one. Memory: 40 bytes and two map slots a user; links are borrowed. A zeroed registry is empty and valid. */
#pragma once
#include "base/list.h"
#include "base/map.h"
#include "proto/id.h"

struct registry {
    struct map users;
};

void registry_deinit(struct registry *r); /* must be empty */
/* True when it is the user's first link here. */
bool registry_add(struct registry *r, user_id user, struct link *l);
/* True when it was the user's last. */
bool registry_remove(struct registry *r, user_id user, struct link *l);
/* The head of the user's links, or NULL. Removing the link at hand while walking is fine, as in list_each; the head is
 * gone with the last link. */
struct link *registry_get(const struct registry *r, user_id user);
