/* parley_tool: what the subcommands of `parley` share.
 *
 * Exit statuses: 0 done, 1 failed (or damage was found), 2 it was called wrongly or could not begin. */
#pragma once
#include "base/buf.h"
#include "base/conf.h"
#include "base/env.h"

/* Says `parley: WHAT: WHY` on stderr; WHY may be NULL. Returns 1. */
int tool_complain(const char *what, const char *why);
/* The text and then the options of a subcommand, on stdout. */
void tool_help(const char *text, const struct conf_option *options, size_t n);
/* DIR/NAME; mem_free it. */
char *tool_path(const char *dir, const char *name);
/* Gives way to everything else on the machine, for CPU and, where the system has that, for its disks. */
void tool_be_nice(void);
bool tool_is_there(struct env *env, const char *path); /* a file */
/* Asks a running server by its admin socket, which is closed then. Its lines go to `out`; `ok` or `error CODE WHY` ends
 * them. 0, or 1 and it was said. */
int tool_ask(int fd, const char *line, struct buf *out);
/* Bytes in the largest fitting unit, as people read it. */
void tool_bytes(uint64_t n, char out[16]);
