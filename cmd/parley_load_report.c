#include "cmd/parley_load_report.h"
#include "proto/jsonw.h"
#include <inttypes.h>

static const struct {
    const char *name;
    double percent;
} PERCENTILES[] = {{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99.9", 99.9}, {"max", 100}};
enum { N_PERCENTILES = sizeof PERCENTILES / sizeof PERCENTILES[0] };

static const struct {
    const char *name;
    size_t at;
    const char *meaning;
} FAULTS[] = {
    {"missing", offsetof(struct faults, missing), "deliveries that never came"},
    {"repeats", offsetof(struct faults, repeats), "entries or replies seen twice"},
    {"disorder", offsetof(struct faults, disorder), "entries or acks out of order"},
    {"wrong", offsetof(struct faults, wrong), "entries with another sender, content or seq than told before"},
    {"strays", offsetof(struct faults, strays), "entries for somebody else"},
    {"resyncs", offsetof(struct faults, resyncs), "connections for which the server dropped events"},
    {"refused", offsetof(struct faults, refused), "requests answered with an error"},
    {"unacked", offsetof(struct faults, unacked), "entries never answered"},
    {"lost", offsetof(struct faults, lost), "connections lost"},
    {"garbled", offsetof(struct faults, garbled), "frames that cannot be read"},
    {"workers", offsetof(struct faults, workers), "processes of the run that died; what they found is not counted"},
};
enum { N_FAULTS = sizeof FAULTS / sizeof FAULTS[0] };

static uint64_t fault_get(const struct run *r, size_t i)
{
    uint64_t v;

    memcpy(&v, (const char *)&r->faults + FAULTS[i].at, sizeof v);
    return v;
}

static const char *const ACTS[ACT_KINDS] = {[ACT_RECEIPT] = "receipt",
                                            [ACT_TYPING] = "typing",
                                            [ACT_HISTORY] = "history",
                                            [ACT_SYNC] = "sync",
                                            [ACT_RESUME] = "resume"};

/* From the beginning of the measured time until the last one who dropped was back. */
static double back_s(const struct run *r)
{
    return r->back_us > r->begin.at_us ? (double)(r->back_us - r->begin.at_us) / 1e6 : 0;
}

static double per(uint64_t amount, uint64_t of) { return of ? (double)amount / (double)of : 0; }

/* Differences over the measured time. */
struct measured {
    double seconds;
    uint64_t sent, acked, delivered, own_us, server_us;
};
static struct measured measured_of(const struct run *r)
{
    const struct snapshot *a = &r->begin, *b = &r->end;

    return (struct measured){
        .seconds = (double)(b->at_us - a->at_us) / 1e6,
        .sent = b->tally.sent - a->tally.sent,
        .acked = b->tally.acked - a->tally.acked,
        .delivered = b->tally.delivered - a->tally.delivered,
        .own_us = b->own_cpu_us - a->own_cpu_us,
        .server_us = b->server.cpu_us - a->server.cpu_us,
    };
}

static double rate_of(uint64_t n, const struct measured *m) { return m->seconds > 0 ? (double)n / m->seconds : 0; }

/* Bytes of the server's memory for each connection: what it grew by since before the first one. */
static double rss_each(const struct run *r)
{
    double grown = ((double)r->end.server.rss_kb - (double)r->login.server.rss_kb) * 1024;

    return r->n ? grown / (double)r->n : 0;
}

static void table_latency(struct buf *out, const char *name, const struct hist *h)
{
    buf_printf(out, "  %-10s", name);
    for (size_t i = 0; i < N_PERCENTILES; i++)
        buf_printf(out, " %9.3f", (double)hist_at(h, PERCENTILES[i].percent) / 1000);
    buf_printf(out, " %10" PRIu64 "\n", h->count);
}

static void table_acts(const struct run *r, const struct measured *m, struct buf *out)
{
    for (size_t i = 0; i < ACT_KINDS; i++) {
        if (r->acts[i]->count == 0)
            continue;
        table_latency(out, ACTS[i], r->acts[i]);
        buf_printf(out, "  %-10s %9.0f /s\n", "", rate_of(r->acts[i]->count, m));
    }
    if (r->back_us)
        buf_printf(out, "  the last to come back was back after %.3f s\n", back_s(r));
    if (r->tally.caught)
        buf_printf(out, "  %" PRIu64 " deliveries came by sync; %" PRIu64 " resyncs\n", r->tally.caught,
                   r->tally.resyncs);
}

static void table_traffic(const struct run *r, const struct measured *m, struct buf *out)
{
    buf_printf(out, "  acked      %10" PRIu64 "  %10.0f /s\n", m->acked, rate_of(m->acked, m));
    buf_printf(out, "  delivered  %10" PRIu64 "  %10.0f /s\n\n", m->delivered, rate_of(m->delivered, m));
    buf_printf(out, "  %-10s", "latency ms");
    for (size_t i = 0; i < N_PERCENTILES; i++)
        buf_printf(out, " %9s", PERCENTILES[i].name);
    buf_printf(out, " %10s\n", "samples");
    table_latency(out, "ack", r->ack);
    table_latency(out, "delivery", r->delivery);
    table_latency(out, "to all", r->reach);
    table_acts(r, m, out);
    buf_char(out, '\n');
}

static void table_cost(const struct run *r, const struct measured *m, struct buf *out)
{
    const struct proc_use *s = &r->end.server;

    if (r->n_senders)
        buf_printf(out, "  own CPU    %10.2f us per delivery, %.0f %% of a core\n", per(m->own_us, m->delivered),
                   m->seconds > 0 ? (double)m->own_us / m->seconds / 1e4 : 0);
    if (!s->is_there)
        return;
    if (r->n_senders)
        buf_printf(out, "  server CPU %10.2f us per delivery, %.0f %% of a core\n", per(m->server_us, m->delivered),
                   m->seconds > 0 ? (double)m->server_us / m->seconds / 1e4 : 0);
    else
        buf_printf(out, "  server CPU %10.2f %% of a core\n",
                   m->seconds > 0 ? (double)m->server_us / m->seconds / 1e4 : 0);
    buf_printf(
        out, "  server RSS %10" PRIu64 " KiB, %" PRIu64 " before the first connection, %.0f bytes more a connection\n",
        s->rss_kb, r->login.server.rss_kb, rss_each(r));
}

static void table_verdict(const struct run *r, struct buf *out)
{
    if (faults_sum(&r->faults) == 0) {
        buf_str(out, r->tally.delivered ? STR("  verified: every entry once, in order, at every member\n")
                                        : STR("  no fault\n"));
        return;
    }
    buf_str(out, STR("  NOT AS IT MUST BE\n"));
    for (size_t i = 0; i < N_FAULTS; i++) {
        if (fault_get(r, i))
            buf_printf(out, "  %10" PRIu64 "  %s: %s\n", fault_get(r, i), FAULTS[i].name, FAULTS[i].meaning);
    }
    buf_printf(out, "  first: " STR_FMT "\n", STR_ARG(buf_get(&r->fault)));
}

void report_table(const struct run *r, struct buf *out)
{
    const struct load_options *o = r->o;
    struct measured m = measured_of(r);

    buf_printf(out, "\n%s: %zu connections (logged in in %.2f s)", o->scenario_name, r->n, (double)r->login_us / 1e6);
    if (r->n_senders) {
        buf_printf(out, ", %zu senders in %zu rooms of %.3g on average, %" PRId64 " bytes, window %" PRId64,
                   r->n_senders, r->n_rooms, (double)r->n / (double)r->n_rooms, o->size, o->window);
        if (o->rate)
            buf_printf(out, ", %" PRId64 " entries/s wanted", o->rate);
    }
    buf_printf(out, ", measured for %.2f s\n\n", m.seconds);
    if (r->n_actors || r->n_senders)
        table_traffic(r, &m, out);
    table_cost(r, &m, out);
    table_verdict(r, out);
}

static void json_real(struct buf *out, const char *key, double v)
{
    char text[64];
    int n = snprintf(text, sizeof text, "%.3f", v);

    jsonw_key(out, key);
    jsonw_raw(out, str_of(text, (size_t)n));
}

static void json_percentiles(struct buf *out, const struct hist *h)
{
    for (size_t i = 0; i < N_PERCENTILES; i++)
        json_real(out, PERCENTILES[i].name, (double)hist_at(h, PERCENTILES[i].percent) / 1000);
    json_real(out, "mean", hist_mean(h) / 1000);
    jsonw_key_int(out, "samples", (int64_t)h->count);
}

static void json_latency(struct buf *out, const char *key, const struct hist *h)
{
    jsonw_key(out, key);
    jsonw_open(out, '{');
    json_percentiles(out, h);
    jsonw_close(out, '}');
}

static void json_acts(struct buf *out, const struct run *r, const struct measured *m)
{
    jsonw_key(out, "acts");
    jsonw_open(out, '{');
    for (size_t i = 0; i < ACT_KINDS; i++) {
        if (r->acts[i]->count == 0)
            continue;
        jsonw_key(out, ACTS[i]);
        jsonw_open(out, '{');
        json_percentiles(out, r->acts[i]);
        json_real(out, "per_s", rate_of(r->acts[i]->count, m));
        jsonw_close(out, '}');
    }
    jsonw_close(out, '}');
}

static void json_series(struct buf *out, const struct series *s)
{
    jsonw_key(out, "series");
    jsonw_open(out, '[');
    for (size_t i = 0; i < s->n; i++) {
        const struct sample *at = &s->v[i];
        jsonw_open(out, '{');
        json_real(out, "at_s", (double)at->at_us / 1e6);
        json_real(out, "acked_per_s", at->acked);
        json_real(out, "delivered_per_s", at->delivered);
        json_real(out, "p50", (double)at->p50 / 1000);
        json_real(out, "p99", (double)at->p99 / 1000);
        json_real(out, "p99.9", (double)at->p999 / 1000);
        jsonw_close(out, '}');
    }
    jsonw_close(out, ']');
}

static void json_settings(struct buf *out, const struct run *r)
{
    const struct load_options *o = r->o;

    jsonw_key_str(out, "scenario", str_c(o->scenario_name));
    jsonw_key_int(out, "connections", (int64_t)r->n);
    jsonw_key_int(out, "rooms", (int64_t)r->n_rooms);
    jsonw_key_int(out, "senders", (int64_t)r->n_senders);
    jsonw_key_int(out, "window", o->window);
    jsonw_key_int(out, "rate", o->rate);
    jsonw_key_int(out, "size", o->size);
    jsonw_key_int(out, "seed", o->seed);
    jsonw_key_bool(out, "batch", o->batch);
}

static void json_traffic(struct buf *out, const struct run *r, const struct measured *m)
{
    json_real(out, "login_s", (double)r->login_us / 1e6);
    json_real(out, "measured_s", m->seconds);
    jsonw_key_int(out, "sent", (int64_t)m->sent);
    jsonw_key_int(out, "acked", (int64_t)m->acked);
    jsonw_key_int(out, "delivered", (int64_t)m->delivered);
    json_real(out, "acked_per_s", rate_of(m->acked, m));
    json_real(out, "delivered_per_s", rate_of(m->delivered, m));
    json_latency(out, "ack_ms", r->ack);
    json_latency(out, "delivery_ms", r->delivery);
    json_latency(out, "reach_ms", r->reach);
    json_real(out, "own_cpu_us_per_delivery", per(m->own_us, m->delivered));
    json_real(out, "back_s", back_s(r));
    jsonw_key_int(out, "caught_up", (int64_t)r->tally.caught);
    jsonw_key_int(out, "resyncs_wanted", (int64_t)r->tally.resyncs);
    json_acts(out, r, m);
    json_series(out, r->series);
}

static void json_tls(struct buf *out, const struct run *r)
{
    if (!r->target.is_tls)
        return;
    jsonw_key(out, "tls");
    jsonw_open(out, '{');
    jsonw_key_int(out, "handshakes", (int64_t)r->net.handshakes);
    jsonw_key_int(out, "resumed", (int64_t)r->net.resumed);
    jsonw_close(out, '}');
}

static void json_server(struct buf *out, const struct run *r, const struct measured *m)
{
    if (!r->end.server.is_there)
        return;
    jsonw_key(out, "server");
    jsonw_open(out, '{');
    json_real(out, "cpu_us", (double)m->server_us);
    json_real(out, "cpu_us_per_delivery", per(m->server_us, m->delivered));
    jsonw_key_int(out, "rss_before_kib", (int64_t)r->login.server.rss_kb);
    jsonw_key_int(out, "rss_kib", (int64_t)r->end.server.rss_kb);
    jsonw_key_int(out, "rss_top_kib", (int64_t)r->end.server.rss_top_kb);
    json_real(out, "rss_bytes_per_connection", rss_each(r));
    jsonw_close(out, '}');
}

void report_json(const struct run *r, struct buf *out)
{
    struct measured m = measured_of(r);

    jsonw_open(out, '{');
    json_settings(out, r);
    json_traffic(out, r, &m);
    json_server(out, r, &m);
    json_tls(out, r);
    jsonw_key_bool(out, "verified", faults_sum(&r->faults) == 0);
    jsonw_key(out, "faults");
    jsonw_open(out, '{');
    for (size_t i = 0; i < N_FAULTS; i++)
        jsonw_key_int(out, FAULTS[i].name, (int64_t)fault_get(r, i));
    jsonw_close(out, '}');
    if (r->fault.len)
        jsonw_key_str(out, "first_fault", buf_get(&r->fault));
    jsonw_close(out, '}');
    buf_char(out, '\n');
}
