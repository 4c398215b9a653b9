/* typing: "is writing", said to the others who are online and kept nowhere else.
 *
 * Who said so and says nothing for TYPING_MS is announced to have stopped. Saying it again within TYPING_REPEAT_MS is
 * not announced again: half of TYPING_MS, so that nobody forgets it meanwhile. In large groups only who wrote lately is
 * told (EVERYBODY_MAX). At TYPING_MAX at a time it isn't announced. */
#pragma once
#include "services/shard.h"

enum { TYPING_MS = 6000, TYPING_REPEAT_MS = TYPING_MS / 2, TYPING_MAX = 4096 };

void typing_create(struct reactor *r, struct typing **out);
void typing_destroy(struct typing *t);
void typing_leave(struct typing *t, uint16_t shard); /* who writes in it is said to have stopped */
