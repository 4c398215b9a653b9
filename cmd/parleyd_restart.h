/* parleyd_restart: what a failed write or fsync leads to. The outcome of what was under way is unknown, so the process
 * says why, once, and becomes a fresh one that reads what the disk really holds. */
#pragma once
#include "base/err.h"

void restart_remember(char **argv); /* at start, before any thread */
/* Any thread; does not return. */
_Noreturn void restart_after(const char *what, enum err err);
