#include "cmd/parley_load_options.h"
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#define AT(field) offsetof(struct load_options, field)
#define HOUR_MS ((int64_t)3600000)

static const struct conf_option table[] = {
    {"url", CONF_TEXT, AT(url), "ws://127.0.0.1:7070/v1/ws", 0, 0, "the server's WebSocket address"},
    {"insecure", CONF_SWITCH, AT(insecure), "off", 0, 0, "wss: take any certificate, as a self-signed one of a test"},
    {"users", CONF_TEXT, AT(users), "", 0, 0, "file of users, as `parley users seed --out FILE` writes it (needed)"},
    {"scenario", CONF_TEXT, AT(scenario_name), "pairs", 0, 0,
     "pairs, groups, idle, mixed, login, reconnect, history, slow or churn"},
    {"connections", CONF_INT, AT(connections), "0", 0, 1000000, "connections, one a user; 0: all users of the file"},
    {"connecting", CONF_INT, AT(connecting), "64", 1, 10000, "most connections between connect and login at a time"},
    {"group-size", CONF_INT, AT(group_size), "100", 2, 100000, "groups: members of each group, the sender included"},
    {"senders", CONF_INT, AT(senders), "0", 0, 100000, "groups: members of each group that send; 0: all"},
    {"spread", CONF_SWITCH, AT(spread), "off", 0, 0,
     "groups: sizes from 2 to --group-size, 2/s of them with s or more"},
    {"depth", CONF_INT, AT(depth), "1000", 0, 10000000,
     "history: entries that each conversation is given first; 0: none, it has them"},
    {"resume-rate", CONF_INT, AT(act_rate), "0", 0, 1000000,
     "reconnect: how many drop and come back a second; 0: all at once, when measuring begins"},
    {"staying", CONF_INT, AT(staying), "10", 0, 100,
     "reconnect: percent of the users who stay and write in pairs; with --workers they have a process of their own"},
    {"window", CONF_INT, AT(window), "0", 0, 4096, "entries of a sender without an ack; 0: 8, or 1024 with --rate"},
    {"rate", CONF_INT, AT(rate), "0", 0, 10000000,
     "entries a second over all senders; 0: as fast as the window allows"},
    {"size", CONF_INT, AT(size), "64", 16, 16384, "bytes of text in a message"},
    {"warmup", CONF_MS, AT(warmup_ms), "2s", 0, HOUR_MS, "traffic before anything is measured"},
    {"duration", CONF_MS, AT(duration_ms), "10s", 0, 24 * HOUR_MS, "how long to measure, or to stay idle"},
    {"drain-timeout", CONF_MS, AT(drain_ms), "10s", 1, HOUR_MS,
     "how long to wait without progress: for logins, setup, the last deliveries"},
    {"max-entries", CONF_INT, AT(max_entries), "0", 0, INT64_MAX, "stop after so many entries; 0: no limit"},
    {"server-pid", CONF_INT, AT(server_pid), "0", 0, INT32_MAX,
     "a server on this machine: report its CPU and memory; 0: as its /metrics tells"},
    {"seed", CONF_INT, AT(seed), "1", 0, INT64_MAX, "of the order of senders and the texts; cids differ in every run"},
    {"batch", CONF_SWITCH, AT(batch), "off", 0, 0, "accept and send several requests and events in one frame"},
    {"json", CONF_TEXT, AT(json), "", 0, 0,
     "write the result as one JSON object to this file; -: print it in place of the table"},
    {"html", CONF_TEXT, AT(html), "", 0, 0,
     "write the result with plots over time to this file: one page that needs nothing else"},
    {"workers", CONF_TEXT, AT(workers), "", 0, 0,
     "share the users among processes: a number (1 to 64) of them here, or HOST:PORT,… of others that wait there"},
    {"shared-groups", CONF_SWITCH, AT(shared_groups), "off", 0, 0,
     "groups: with --workers, each has a part of every group; by itself where there are fewer groups than workers"},
    {"worker-listen", CONF_TEXT, AT(worker_listen), "", 0, 0,
     "be a worker: wait at this HOST:PORT for a run's part, again and again"},
    {"worker-secret-file", CONF_TEXT, AT(worker_secret_file), "", 0, 0,
     "what both sides must know, 16 bytes or more; needed unless workers are on loopback"},
};
enum { OPTIONS = sizeof table / sizeof table[0], WINDOW_CLOSED = 8, WINDOW_OPEN = 1024, RATE_STANDARD = 1000 };

static bool copy(char *to, size_t room, struct str s)
{
    if (s.len == 0 || s.len >= room)
        return false;
    memcpy(to, s.p, s.len);
    to[s.len] = '\0';
    return true;
}

enum err target_parse(const char *url, struct target *out)
{
    bool is_tls = str_starts(str_c(url), STR("wss://"));
    struct str rest = str_c(url), host, path = STR("/"), port = is_tls ? STR("443") : STR("80");
    const char *slash;
    int64_t number;

    if (!is_tls && !str_starts(rest, STR("ws://")))
        return ERR_INVALID;
    out->is_tls = is_tls;
    host = rest = str_from(rest, is_tls ? 6 : 5);
    slash = memchr(rest.p, '/', rest.len);
    if (slash) {
        host.len = (size_t)(slash - rest.p);
        path = str_from(rest, host.len);
    }
    if (str_starts(host, STR("["))) { /* [::1]:7070 */
        if (!str_cut(str_from(host, 1), ']', &host, &rest))
            return ERR_INVALID;
        if (rest.len)
            port = str_from(rest, 1);
    } else {
        (void)str_cut(host, ':', &host, &port);
    }
    if (!str_to_i64(port, 1, 65535, &number) || !copy(out->host, sizeof out->host, host) ||
        !copy(out->port, sizeof out->port, port) || !copy(out->path, sizeof out->path, path))
        return ERR_INVALID;
    return ERR_OK;
}

static const char *complaint(struct load_options *o)
{
    static const char *const names[] = {
        [SCENARIO_PAIRS] = "pairs",     [SCENARIO_GROUPS] = "groups", [SCENARIO_IDLE] = "idle",
        [SCENARIO_MIXED] = "mixed",     [SCENARIO_LOGIN] = "login",   [SCENARIO_RECONNECT] = "reconnect",
        [SCENARIO_HISTORY] = "history", [SCENARIO_SLOW] = "slow",     [SCENARIO_CHURN] = "churn"};
    struct target target;
    size_t i = 0;

    if (o->worker_listen[0])
        return o->workers[0] ? "worker-listen: a worker has no workers" : NULL;
    while (i < sizeof names / sizeof names[0] && !str_eq(str_c(o->scenario_name), str_c(names[i])))
        i++;
    if (i == sizeof names / sizeof names[0])
        return "scenario: pairs, groups, idle, mixed, login, reconnect, history, slow or churn";
    o->scenario = (enum scenario)i;
    if (target_parse(o->url, &target) != ERR_OK)
        return "url: ws://HOST:PORT/PATH is wanted, or wss://, as in ws://127.0.0.1:7070/v1/ws";
    if (!o->users[0])
        return "users: a file is needed; `parley users seed --data DIR --count N --prefix load- --out FILE` makes one";
    if (o->shared_groups && (o->scenario != SCENARIO_GROUPS || o->spread))
        return "shared-groups: only scenario groups, without --spread, can share them";
    if (o->senders > o->group_size)
        return "senders: more than a group has members";
    return NULL;
}

enum err load_options_read(int argc, char **argv, struct load_options *out)
{
    char *why = NULL;
    const char *wrong;
    enum err err = conf_load(table, OPTIONS, out, &argc, argv, &why);

    if (err != ERR_OK) {
        fprintf(stderr, "parley-load: %s (see --help)\n", why);
        mem_free(why);
        return err;
    }
    if (argc > 1) {
        fprintf(stderr, "parley-load: what is '%s'? (see --help)\n", argv[1]);
        return ERR_INVALID;
    }
    wrong = complaint(out);
    if (wrong) {
        fprintf(stderr, "parley-load: %s\n", wrong);
        return ERR_INVALID;
    }
    if (out->rate == 0 && (out->scenario == SCENARIO_MIXED || out->scenario == SCENARIO_RECONNECT))
        out->rate = RATE_STANDARD;
    if (out->window == 0)
        out->window = out->rate ? WINDOW_OPEN : WINDOW_CLOSED;
    if (out->senders == 0)
        out->senders = out->group_size;
    return ERR_OK;
}

static bool is_of_the_run(const char *name)
{
    static const char *const others[] = {"server-pid", "json",          "html",
                                         "workers",    "worker-listen", "worker-secret-file"};

    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (str_eq(str_c(name), str_c(others[i])))
            return false;
    }
    return true;
}

void load_options_args(const struct load_options *o, struct buf *out)
{
    for (size_t i = 0; i < OPTIONS; i++) {
        const void *at = (const char *)o + table[i].offset;
        if (!is_of_the_run(table[i].name))
            continue;
        buf_printf(out, "--%s=", table[i].name);
        if (table[i].type == CONF_TEXT)
            buf_str(out, str_c(*(const char *const *)at));
        else if (table[i].type == CONF_SWITCH)
            buf_str(out, *(const bool *)at ? STR("on") : STR("off"));
        else
            buf_printf(out, "%" PRId64 "%s", *(const int64_t *)at, table[i].type == CONF_MS ? "ms" : "");
        buf_char(out, '\0');
    }
}

bool address_is_loopback(const struct sockaddr *a)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    if (a->sa_family == AF_INET) {
        memcpy(&v4, a, sizeof v4);
        return ntohl(v4.sin_addr.s_addr) >> 24 == 127;
    }
    if (a->sa_family != AF_INET6)
        return false;
    memcpy(&v6, a, sizeof v6);
    return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
}

enum err address_parse(struct str text, struct address *out)
{
    const char *colon = text.len ? memrchr(text.p, ':', text.len) : NULL;
    struct str host, port;
    int64_t number;

    if (!colon)
        return ERR_INVALID;
    host = str_of(text.p, (size_t)(colon - text.p));
    port = str_from(text, host.len + 1);
    if (host.len > 2 && host.p[0] == '[' && host.p[host.len - 1] == ']')
        host = str_of(host.p + 1, host.len - 2);
    else if (host.len && memchr(host.p, ':', host.len))
        return ERR_INVALID;
    return str_to_i64(port, 0, 65535, &number) && copy(out->host, sizeof out->host, host) &&
                   copy(out->port, sizeof out->port, port)
               ? ERR_OK
               : ERR_INVALID;
}

void load_options_help(void)
{
    struct buf text = {0};

    buf_str(
        &text,
        STR("parley-load: puts load on a Parley server, checks every entry, and measures.\n\n"
            "Every user of a file logs in once over WebSocket. Then\n"
            "  pairs   users 1 and 2, 3 and 4, ... write to each other, both ways\n"
            "  groups  each user is in one new group; its first members write, all receive\n"
            "  idle    nobody writes\n"
            "  mixed   groups with --spread, entries at --rate (1000), and for 100 of them 60 receipts, 20 typings, "
            "5 pages\n"
            "          of history, 2 syncs and 1 drop with reconnect and sync\n"
            "  login   all connect, authenticate and drop, over and over\n"
            "  reconnect  --staying percent write in pairs (only their latency is reported); the rest are groups whose "
            "first member\n"
            "          writes and whose others drop, log in with their token and sync, at once or at --resume-rate\n"
            "  history pages of 50 entries of conversations of --depth: random ones, each fourth the newest\n"
            "  slow    groups whose last quarter stops reading; in the end it reads, and syncs what it was not given\n"
            "  churn   pairs whose first connects, sends, waits for the ack and drops, over and over\n\n"
            "A sender keeps --window entries unacknowledged (closed loop), or entries start at a fixed --rate "
            "(open loop);\n"
            "then latency counts from when an entry should have started, so a stall of the server is not hidden.\n"
            "Checked always: each acknowledged entry reaches every other member once, in order, with the content "
            "that was\n"
            "sent, and the seqs of each conversation have no gap.\n\n"
            "Exit status: 0 all is well, 1 something was lost, repeated, refused or wrong, 2 it could not start.\n"
            "The server limits users unless it runs with --rate-limit off.\n\n"
            "Options, each also as PARLEY_NAME in the environment and as a line `name = value` in the file that "
            "--config\n"
            "names; the command line wins.\n\n"));
    conf_help(table, OPTIONS, &text);
    fwrite(text.p, 1, text.len, stdout);
    buf_deinit(&text);
}
