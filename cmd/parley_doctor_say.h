/* parley_doctor_say: the sentences that `parley doctor` has for a running and a stopped server alike. */
#pragma once
#include "base/buf.h"

struct diagnosis {
    const char *data;  /* the folder, for commands to be copied */
    unsigned findings; /* that need an operator */
};
/* `needs you: ` and the sentence, which says what is wrong and which command goes on. */
void say_finding(struct diagnosis *d, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "NAME has everything" or how much it lacks. `ms`: how old the oldest of it is; 0: unknown. */
void say_behind(const char *name, uint64_t bytes, uint64_t ms);
void say_letters(struct diagnosis *d, uint64_t n, uint64_t bytes);
/* Shards whose rows are made anew, of the tables and of what is owed: it heals by itself. */
void say_rebuild(uint64_t tables, uint64_t owed, bool is_running);
int say_end(const struct diagnosis *d); /* the last line, and the exit status */
