/* admin: the owner-only door of a running server: a Unix socket DIR/admin.sock, mode 0600, served by the directory.
 *
 * One line in, lines out, the last of them `ok` or `error CODE WHY`:
 *     seed PREFIX COUNT    makes accounts PREFIX000000 … ; a line `username TAB user TAB device TAB token` each, when
 * durable
 *     dead …               lists, shows, replays or drops dead letters (dead.h gives the lines)
 *     views                how everything stands (standing.h gives the lines)
 *     erase CONV FROM TO   messages of these seqs lose their content: `erased N`
 *     retention CONV, retention CONV server|forever|MS
 *                          shows, or sets and shows: `retention OWN SERVERS FIRST HEAD` (the ages as they are given,
 *                          the first and last seq that it has)
 *     erase-before CONV MS those sent before MS (since 1970); on the way `progress SEQ LAST ERASED`
 *     erase-user USER MS   those that this user (name or id) sent before MS (0: all) in any conversation; on the way
 *                          `progress CONVERSATIONS ALL ERASED`
 *     erase-status         `since MS`: when the oldest erasing was that may still be in the files; 0: none
 *     backup               holds everything in its place (hold.h gives the lines), then `held`; until the connection
 * ends ends                 after `held`, as often as is liked: hold.h's lines of where the logs end, then `ok`
 *     stores add NAME, stores drain NAME, stores status     mover.h
 *
 * Thread: the directory's, but for admin_connect, which is the client's side and blocks. */
#pragma once
#include "base/err.h"

struct admin;
struct directory;

MUST_CHECK enum err admin_open(struct directory *d, const char *folder, struct admin **out);
void admin_close(struct admin *a); /* frees itself when the loop has closed its handles */

/* A connected socket. NOT_FOUND: no server listens there. */
MUST_CHECK enum err admin_connect(const char *folder, int *fd);
