#include "cmd/parleyd_options.h"
#include "base/log.h"
#include <stdio.h>

#define AT(field) offsetof(struct options, field)
#define GIB ((int64_t)1 << 30)

static const struct conf_option table[] = {
    {"listen", CONF_TEXT, AT(listen), "127.0.0.1:7070", 0, 0,
     "address and port of WebSocket and HTTP; port 0 takes a free one"},
    {"tls-cert", CONF_TEXT, AT(tls_cert), "", 0, 0,
     "file of the certificate and its chain (PEM): wss and https are served in place of ws and http"},
    {"tls-key", CONF_TEXT, AT(tls_key), "", 0, 0, "file of the certificate's private key (PEM)"},
    {"data", CONF_TEXT, AT(data), "data", 0, 0, "the data folder, made when it is not there"},
    {"bus", CONF_TEXT, AT(bus), "local", 0, 0, "how the parts talk: local (threads of this process)"},
    {"roles", CONF_TEXT, AT(roles), "all", 0, 0, "which parts run here: all"},
    {"stores", CONF_INT, AT(stores), "0", 0, 64, "message stores; 0: what the data folder has, 4 for a new one"},
    {"threads", CONF_INT, AT(threads), "0", 0, 62, "reactors; 0: one a core"},
    {"rate-limit", CONF_SWITCH, AT(rate_limit), "on", 0, 0,
     "limits a user's and an address's requests; off for tests and load"},
    {"group-members", CONF_INT, AT(group_members), "1024", 1, 1000000, "most members of a group"},
    {"conversations-memory", CONF_BYTES, AT(convs_bytes), "256m", 1 << 20, 1024 * GIB,
     "bytes of conversations held in memory, over all reactors; their last entries may take a quarter more"},
    {"heads-memory", CONF_BYTES, AT(heads_bytes), "32m", 1 << 16, 1024 * GIB,
     "bytes of how far conversations are that had to leave memory, over all reactors"},
    {"memtable", CONF_BYTES, AT(memtable_bytes), "16m", 1 << 16, GIB, "size at which a store's memtable is flushed"},
    {"merge-rate", CONF_BYTES, AT(merge_rate), "64m", 0, 1024 * GIB,
     "bytes a second that merges of all stores take while they keep up with the writers; 0: no bound"},
    {"cache", CONF_BYTES, AT(cache_bytes), "128m", 1 << 20, 1024 * GIB, "blocks of the stores held in memory"},
    {"segment", CONF_BYTES, AT(segment_bytes), "16m", 4 << 20, GIB, "size of a segment of the log"},
    {"in-flight", CONF_BYTES, AT(in_flight_bytes), "32m", 1 << 20, GIB,
     "bytes of a log appended and not yet durable; then writes are refused"},
    {"max-lag", CONF_BYTES, AT(max_lag), "1g", 1 << 20, 1024 * GIB,
     "bytes of a log that the tables, or what is owed, may lack; then they are made anew from the conversations"},
    {"linger-us", CONF_INT, AT(linger_us), "500", 0, 10000, "how long a busy log may wait for company before an fsync"},
    {"heartbeat", CONF_MS, AT(heartbeat_ms), "30s", 1000, 3600000, "how often an idle connection is pinged"},
    {"erase-within", CONF_MS, AT(erase_within_ms), "24h", 10000, 30 * 86400000LL,
     "how long until what was erased has left the log and the stores"},
    {"retention", CONF_TEXT, AT(retention), "forever", 0, 0,
     "how old an entry may get where its conversation says nothing: forever, or an age such as 90d"},
    {"log-level", CONF_TEXT, AT(log_level), "info", 0, 0, "error, warn, info or debug"},
    {"check", CONF_SWITCH, AT(check), "off", 0, 0, "check the options and stop"},
};
enum { OPTIONS = sizeof table / sizeof table[0] };

enum err options_log_level(const char *name, int *out)
{
    static const char *const names[] = {
        [LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug"};
    for (int i = 0; i < (int)(sizeof names / sizeof names[0]); i++) {
        if (str_eq(str_c(name), str_c(names[i]))) {
            *out = i;
            return ERR_OK;
        }
    }
    return ERR_INVALID;
}

enum err options_address(const char *listen, char host[64], int *port)
{
    struct str s = str_c(listen);
    size_t colon = s.len;
    int64_t number;

    while (colon > 0 && s.p[colon - 1] != ':')
        colon--;
    if (colon < 2 || !str_to_i64(str_from(s, colon), 0, 65535, &number))
        return ERR_INVALID;
    s.len = colon - 1;
    if (s.len >= 2 && s.p[0] == '[' && s.p[s.len - 1] == ']')
        s = str_of(s.p + 1, s.len - 2);
    if (s.len == 0 || s.len >= 64)
        return ERR_INVALID;
    memcpy(host, s.p, s.len);
    host[s.len] = '\0';
    *port = (int)number;
    return ERR_OK;
}

enum { RETENTION_MIN_MS = 1000 };
#define RETENTION_MAX_MS (100000 * 86400000LL)

enum err options_retention(const char *text, uint64_t *out)
{
    int64_t ms = 0;

    if (!str_eq(str_c(text), STR("forever")) && !conf_parse_ms(str_c(text), &ms))
        return ERR_INVALID;
    if (ms && (ms < RETENTION_MIN_MS || ms > RETENTION_MAX_MS))
        return ERR_INVALID;
    *out = (uint64_t)ms;
    return ERR_OK;
}

static const char *complaint(const struct options *o)
{
    char host[64];
    uint64_t retention_ms;
    int level, port;

    if (options_address(o->listen, host, &port) != ERR_OK)
        return "listen: an address and a port are wanted, as in 127.0.0.1:7070";
    if (!str_eq(str_c(o->bus), STR("local")))
        return "bus: this version knows only local";
    if (!str_eq(str_c(o->roles), STR("all")))
        return "roles: this version knows only all";
    if (!o->tls_cert[0] != !o->tls_key[0])
        return "tls-cert and tls-key: both are needed, or none";
    if (options_retention(o->retention, &retention_ms) != ERR_OK)
        return "retention: forever, or an age from 1s to 100000d, as in 90d";
    if (options_log_level(o->log_level, &level) != ERR_OK)
        return "log-level: error, warn, info or debug";
    return NULL;
}

enum err options_load(int argc, char **argv, struct options *out)
{
    char *why = NULL,
         **left = mem_new_array(char *, (size_t)argc + 1); /* conf_load takes arguments out; they are needed again */
    const char *wrong, *what;
    enum err err;

    memcpy(left, argv, (size_t)argc * sizeof *left);
    err = conf_load(table, OPTIONS, out, &argc, left, &why);
    what = argc > 1 ? left[1] : NULL;
    mem_free(left);

    if (err != ERR_OK) {
        fprintf(stderr, "parleyd: %s (see --help)\n", why);
        mem_free(why);
        return err;
    }
    if (what) {
        fprintf(stderr, "parleyd: what is '%s'? (see --help)\n", what);
        return ERR_INVALID;
    }
    wrong = complaint(out);
    if (wrong) {
        fprintf(stderr, "parleyd: %s\n", wrong);
        return ERR_INVALID;
    }
    return options_retention(out->retention, &out->retention_ms);
}

void options_help(void)
{
    struct buf text = {0};

    buf_str(&text,
            STR("parleyd: a chat server. Options, each also as a line `name = value` of the file that --config names,\n"
                "and as PARLEY_NAME in the environment; the command line wins.\n\n"));
    conf_help(table, OPTIONS, &text);
    fwrite(text.p, 1, text.len, stdout);
    buf_deinit(&text);
}
