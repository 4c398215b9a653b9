/* parleyd_options: every option of the server, declared once. */
#pragma once
#include "base/conf.h"

struct options {
    const char *listen, *data, *bus, *roles, *log_level, *tls_cert, *tls_key;
    int64_t stores, threads, group_members, convs_bytes, heads_bytes;
    int64_t memtable_bytes, merge_rate, cache_bytes, segment_bytes, in_flight_bytes;
    int64_t max_lag, linger_us, heartbeat_ms, erase_within_ms;
    const char *retention;
    uint64_t retention_ms; /* of `retention`; 0: forever */
    bool rate_limit, check;
};

/* Reads defaults, the file, the environment and the command line. On failure says why on stderr. */
MUST_CHECK enum err options_load(int argc, char **argv, struct options *out);
void options_help(void);
/* "127.0.0.1:7070" or "[::1]:7070" into host (without brackets) and port. */
MUST_CHECK enum err options_address(const char *listen, char host[64], int *port);
enum err options_log_level(const char *name, int *out);
/* `forever` (0) or an age. INVALID. */
MUST_CHECK enum err options_retention(const char *text, uint64_t *out);
