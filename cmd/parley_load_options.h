/* parley_load_options: what the load generator can be asked for, declared once. */
#pragma once
#include "base/conf.h"

enum scenario {
    SCENARIO_PAIRS,
    SCENARIO_GROUPS,
    SCENARIO_IDLE,
    SCENARIO_MIXED,
    SCENARIO_LOGIN,
    SCENARIO_RECONNECT,
    SCENARIO_HISTORY,
    SCENARIO_SLOW,
    SCENARIO_CHURN
};

struct load_options {
    const char *url, *users, *scenario_name;
    int64_t connections, connecting, group_size, senders, depth, act_rate, staying;
    int64_t window, rate, size, seed;
    int64_t warmup_ms, duration_ms, drain_ms, max_entries;
    int64_t server_pid;
    const char *json, *html;
    const char *workers, *worker_listen, *worker_secret_file;
    bool batch, spread, shared_groups, insecure;
    enum scenario scenario; /* from scenario_name */
};
struct address {
    char host[256], port[6];
};
/* Where the server is: from "ws://127.0.0.1:7070/v1/ws". */
struct target {
    char host[256], port[6], path[256];
    bool is_tls;
};

/* Reads defaults, the environment and the command line. On failure says why on stderr. */
MUST_CHECK enum err load_options_read(int argc, char **argv, struct load_options *out);
void load_options_help(void);
/* The options of the run itself, each "--name=value" with a NUL behind: load_options_read makes the same of them. */
void load_options_args(const struct load_options *o, struct buf *out);
struct sockaddr;
bool address_is_loopback(const struct sockaddr *a);
/* INVALID: not HOST:PORT, or [HOST]:PORT for IPv6. */
MUST_CHECK enum err address_parse(struct str text, struct address *out);
/* INVALID: not ws://HOST[:PORT][/PATH], or wss://. */
MUST_CHECK enum err target_parse(const char *url, struct target *out);
