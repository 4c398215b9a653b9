/* user: how a person is shown. Thread: pure functions. */
#pragma once
#include "schema/users.h"

void user_print_public(const struct user_row *u, struct buf *out); /* {id, username, name?, status?, picture?} */
void user_print_own(const struct user_row *u, struct buf *out);    /* and what only oneself sees */
