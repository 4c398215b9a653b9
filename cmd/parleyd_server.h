/* parleyd_server: everything of one running server, opened in the order of its layers and closed in the other.
 *
 * The only file of the project that knows all parts; they know each other by their headers' seams alone. */
#pragma once
#include "cmd/parleyd_options.h"

struct server;

/* Opens the data folder, replays its logs, makes the threads' parts. On failure *why (mem_free) says it in words. */
MUST_CHECK enum err server_open(const struct options *o, struct server **out, char **why);
/* Starts the threads: from here on connections are accepted. */
MUST_CHECK enum err server_start(struct server *s, char **why);
const char *server_host(const struct server *s);
int server_port(const struct server *s);
/* Reads the certificate anew, for connections from now on. INVALID with *why (mem_free): the old one stays. */
MUST_CHECK enum err server_reload(struct server *s, const struct options *fresh, char **why);
/* Drains (1001 to everybody, at most 5 s) and ends the threads. */
void server_stop(struct server *s);
void server_close(struct server *s);
