/* typing: "is writing", said to the others who are online and kept nowhere else.
 *
 * Who said so and says nothing for TYPING_MS is announced to have stopped. At TYPING_MAX at a time it isn't announced.
 */
#pragma once
#include "services/shard.h"

enum { TYPING_MS = 6000, TYPING_MAX = 4096 };

void typing_create(struct reactor *r, struct typing **out);
void typing_destroy(struct typing *t);
