#include "cmd/parley_load_result.h"

enum { FAULT_TEXT_MAX = 2000 };

void hist_encode(const struct hist *h, struct buf *out)
{
    size_t used = 0, last = 0;

    for (size_t i = 0; i < HIST_CELLS; i++)
        used += h->cells[i] != 0;
    enc_add_varint(out, h->count);
    enc_add_varint(out, h->sum);
    enc_add_varint(out, h->max);
    enc_add_varint(out, used);
    for (size_t i = 0; i < HIST_CELLS; i++) {
        if (!h->cells[i])
            continue;
        enc_add_varint(out, i - last);
        enc_add_varint(out, h->cells[i]);
        last = i;
    }
}

bool hist_decode(struct dec *d, struct hist *into)
{
    uint64_t count = dec_get_varint(d), sum = dec_get_varint(d), max = dec_get_varint(d), used = dec_get_varint(d);
    uint64_t at = 0, seen = 0;

    if (!dec_ok(d) || used > HIST_CELLS)
        return false;
    for (uint64_t i = 0; i < used; i++) {
        uint64_t gap = dec_get_varint(d), n = dec_get_varint(d);
        if (!dec_ok(d) || gap >= HIST_CELLS - at)
            return false;
        at += gap;
        into->cells[at] += n;
        seen += n;
    }
    into->count += count;
    into->sum += sum;
    if (max > into->max)
        into->max = max;
    return seen == count;
}

void sample_encode(const struct sample *s, const struct hist *grown, struct buf *out)
{
    enc_add_varint(out, s->at_us);
    enc_add_varint(out, (uint64_t)(s->acked * 1000 + 0.5));
    enc_add_varint(out, (uint64_t)(s->delivered * 1000 + 0.5));
    hist_encode(grown, out);
}

static bool sample_decode(struct dec *d, struct sample *into, struct hist *h)
{
    uint64_t at_us = dec_get_varint(d);

    into->acked += (double)dec_get_varint(d) / 1000;
    into->delivered += (double)dec_get_varint(d) / 1000;
    if (at_us > into->at_us)
        into->at_us = at_us;
    return hist_decode(d, h);
}

/* The numbers, in the order of the bytes; all add up but the last two, whose greatest counts. */
enum {
    N_ROOMS,
    N_PEERS,
    N_SENDERS,
    N_ACTORS,
    SENT,
    ACKED,
    DELIVERED,
    ALL,
    CAUGHT,
    RESYNCS,
    OWN_US,
    SHAKES,
    RESUMED,
    ADDED
};
enum { LOGIN_US = ADDED, BACK_US, MEASURED_US, NUMBERS };

static void numbers_of(const struct run *r, uint64_t v[NUMBERS])
{
    const struct snapshot *a = &r->begin, *b = &r->end;

    v[N_ROOMS] = r->n_rooms;
    v[N_PEERS] = r->n;
    v[N_SENDERS] = r->n_senders;
    v[N_ACTORS] = r->n_actors;
    v[SENT] = b->tally.sent - a->tally.sent;
    v[ACKED] = b->tally.acked - a->tally.acked;
    v[DELIVERED] = b->tally.delivered - a->tally.delivered;
    v[ALL] = r->tally.delivered;
    v[CAUGHT] = r->tally.caught;
    v[RESYNCS] = r->tally.resyncs;
    v[OWN_US] = b->own_cpu_us - a->own_cpu_us;
    v[SHAKES] = r->net.handshakes;
    v[RESUMED] = r->net.resumed;
    v[LOGIN_US] = r->login_us;
    v[BACK_US] = r->back_us > a->at_us ? r->back_us - a->at_us : 0;
    v[MEASURED_US] = b->at_us - a->at_us;
}

static void numbers_put(struct run *sum, const uint64_t v[NUMBERS])
{
    sum->n_rooms = v[N_ROOMS];
    sum->n = v[N_PEERS];
    sum->n_senders = v[N_SENDERS];
    sum->n_actors = v[N_ACTORS];
    sum->begin.tally = (struct tally){0};
    sum->end.tally = (struct tally){.sent = v[SENT], .acked = v[ACKED], .delivered = v[DELIVERED]};
    sum->tally = (struct tally){.delivered = v[ALL], .caught = v[CAUGHT], .resyncs = v[RESYNCS]};
    sum->begin.own_cpu_us = 0;
    sum->end.own_cpu_us = v[OWN_US];
    sum->net.handshakes = v[SHAKES];
    sum->net.resumed = v[RESUMED];
    sum->login_us = v[LOGIN_US];
    sum->end.at_us = sum->begin.at_us + v[MEASURED_US];
    sum->back_us = v[BACK_US] ? sum->begin.at_us + v[BACK_US] : 0;
}

static void shared_encode(const struct run *r, struct buf *out)
{
    size_t rooms = r->crowd.n ? r->n_rooms : 0;

    enc_add_varint(out, rooms);
    for (size_t i = 0; i < rooms; i++) {
        enc_add_u8(out, room_open(&r->rooms[i]) == 0);
        enc_add_u64(out, r->rooms[i].digest);
    }
    enc_add_varint(out, r->n_reaches);
    for (size_t i = 0; i < r->n_reaches; i++) {
        enc_add_varint(out, r->reaches[i].room);
        enc_add_varint(out, r->reaches[i].seq);
        enc_add_varint(out, r->reaches[i].us);
    }
}

void result_encode(const struct run *r, struct buf *out)
{
    uint64_t v[NUMBERS], faults[sizeof(struct faults) / sizeof(uint64_t)];
    struct str text = buf_get(&r->fault);

    numbers_of(r, v);
    for (size_t i = 0; i < NUMBERS; i++)
        enc_add_varint(out, v[i]);
    memcpy(faults, &r->faults, sizeof faults);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        enc_add_varint(out, faults[i]);
    if (text.len > FAULT_TEXT_MAX)
        text.len = FAULT_TEXT_MAX;
    enc_add_field(out, text);
    hist_encode(r->ack, out);
    hist_encode(r->delivery, out);
    hist_encode(r->reach, out);
    for (size_t i = 0; i < ACT_KINDS; i++)
        hist_encode(r->acts[i], out);
    shared_encode(r, out);
    enc_add_varint(out, r->series->n);
    buf_str(out, buf_get(&r->series->kept));
}

static bool faults_add(struct dec *d, struct faults *into)
{
    uint64_t v[sizeof(struct faults) / sizeof(uint64_t)];

    memcpy(v, into, sizeof v);
    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++)
        v[i] += dec_get_varint(d);
    memcpy(into, v, sizeof v);
    return dec_ok(d);
}

/* What is gathered of shared groups: the digest of each room that a worker has seen whole, and all reaches. */
struct shared {
    struct account {
        uint64_t digest;
        bool is_known;
    } * rooms;
    size_t n_rooms;
    struct reach *v;
    size_t n, cap;
};

static bool merge_rooms(struct run *sum, struct dec *d, struct shared *s)
{
    uint64_t n = dec_get_varint(d);

    if (!dec_ok(d) || n > sum->users.n || (s->rooms && n != s->n_rooms))
        return false;
    if (!s->rooms) {
        s->rooms = mem_new_array(struct account, n + 1);
        s->n_rooms = (size_t)n;
    }
    for (size_t i = 0; i < n; i++) {
        bool is_whole = dec_get_u8(d) != 0;
        uint64_t digest = dec_get_u64(d);
        if (!is_whole)
            continue;
        if (s->rooms[i].is_known && s->rooms[i].digest != digest)
            run_fault(sum, &sum->faults.wrong,
                      "the members of group %zu were told another log in one process than in "
                      "another",
                      i);
        s->rooms[i] = (struct account){digest, true};
    }
    return dec_ok(d);
}

static bool merge_reaches(struct dec *d, struct shared *s)
{
    uint64_t n = dec_get_varint(d);

    if (!dec_ok(d) || n > REACHES_MAX)
        return false;
    if (n)
        s->v = mem_realloc(s->v, (s->n + (size_t)n) * sizeof *s->v);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t room = dec_get_varint(d), seq = dec_get_varint(d), us = dec_get_varint(d);
        s->v[s->n++] = (struct reach){room, seq, us};
    }
    return dec_ok(d);
}

/* Everything before the series; *d is left at it, *samples says how many there are. */
static bool merge_head(struct run *sum, struct dec *d, uint64_t v[NUMBERS], struct shared *s, uint64_t *samples)
{
    bool is_sound = true;
    struct str text;

    for (size_t i = 0; i < NUMBERS; i++) {
        uint64_t n = dec_get_varint(d);
        v[i] = i < ADDED ? v[i] + n : n > v[i] ? n : v[i];
    }
    is_sound &= faults_add(d, &sum->faults);
    text = dec_get_field(d);
    if (dec_ok(d) && text.len && sum->fault.len == 0)
        buf_str(&sum->fault, text);
    is_sound = is_sound && hist_decode(d, sum->ack) && hist_decode(d, sum->delivery) && hist_decode(d, sum->reach);
    for (size_t i = 0; i < ACT_KINDS; i++)
        is_sound = is_sound && hist_decode(d, sum->acts[i]);
    is_sound = is_sound && merge_rooms(sum, d, s) && merge_reaches(d, s);
    *samples = dec_get_varint(d);
    return is_sound && dec_ok(d) && *samples <= SERIES_MAX;
}

/* The k-th interval of all. */
static bool merge_sample(struct series *s, size_t k, struct dec *d, const uint64_t *samples, size_t n, size_t *which)
{
    struct sample *at = &s->v[k];

    s->grown = (struct hist){0};
    for (*which = 0; *which < n; ++*which) {
        if (k < samples[*which] && !sample_decode(&d[*which], at, &s->grown))
            return false;
    }
    at->p50 = hist_at(&s->grown, 50);
    at->p99 = hist_at(&s->grown, 99);
    at->p999 = hist_at(&s->grown, 99.9);
    return true;
}

enum err result_merge(struct run *sum, const struct str *results, size_t n, size_t *which)
{
    struct dec *d = mem_new_array(struct dec, n + 1);
    uint64_t *samples = mem_new_array(uint64_t, n + 1), v[NUMBERS] = {0};
    struct shared shared = {0};
    enum err err = ERR_INVALID;

    for (*which = 0; *which < n; ++*which) {
        d[*which] = dec_of(results[*which]);
        if (!merge_head(sum, &d[*which], v, &shared, &samples[*which]))
            goto out;
        if (samples[*which] > sum->series->n)
            sum->series->n = (size_t)samples[*which];
    }
    for (size_t k = 0; k < sum->series->n; k++) {
        if (!merge_sample(sum->series, k, d, samples, n, which))
            goto out;
    }
    for (*which = 0; *which < n; ++*which) {
        if (!dec_done(&d[*which]))
            goto out;
    }
    if (sum->crowd.n && n)
        v[N_ROOMS] /= n; /* each has a part of all */
    numbers_put(sum, v);
    reaches_merge(shared.v, shared.n, n, sum->reach);
    err = ERR_OK;
out:
    mem_free(shared.rooms);
    mem_free(shared.v);
    mem_free(d);
    mem_free(samples);
    return err;
}
