/* authority: what loading shares with applying. Internal to the message store; the rest stands in convlog.h. */
#pragma once
#include "storage/convlog.h"

struct member *authority_find(struct authority *a, user_id u); /* NULL: never was one */
/* A new member behind the others: who appends keeps or restores the order. The pointer is good until the next. */
struct member *authority_append(struct authority *a, user_id user, struct arena *arena);
/* Room for n members, where there is none yet: else it grows by doubling. */
void authority_expect(struct authority *a, size_t n, struct arena *arena);
