#include "cmd/parley_load_acts.h"
#include "base/hash.h"
#include <errno.h>

enum { PAGE = 50, SYNC_PAGE = 1000, SLOW_SHARE = 4, SINCE_MAX = 60000, CUTS_A_TURN = 32 };

/* `mixed`: how many of each for 100 entries. */
static const unsigned MIX[ACT_KINDS] = {
    [ACT_RECEIPT] = 60, [ACT_TYPING] = 20, [ACT_HISTORY] = 5, [ACT_SYNC] = 2, [ACT_RESUME] = 1};
enum { MIX_SUM = 88 };

static uint64_t next_random(struct run *r) { return hash_u64(r->random++ * 0x9e3779b97f4a7c15u + 1) >> 1; }

static size_t begin_request(struct peer *p, const char *op)
{
    size_t mark = net_begin(&p->conn);

    buf_printf(&p->conn.out, "{\"id\":%llu,\"op\":\"%s\"", (unsigned long long)ID_ACT, op);
    return mark;
}

static void put_conv(struct peer *p)
{
    buf_printf(&p->conn.out, ",\"conv\":\"%.*s\"", (int)p->room->conv_len, p->room->conv);
}

static void end_request(struct run *r, struct peer *p, size_t mark)
{
    buf_char(&p->conn.out, '}');
    net_end(&r->net, &p->conn, mark);
}

static void ask_history(struct run *r, struct peer *p)
{
    size_t mark = begin_request(p, "history");
    bool is_newest = next_random(r) % 4 == 0;

    put_conv(p);
    /* A random page ends anywhere, the newest behind the last entry. */
    p->act.before = is_newest ? 0 : 2 + next_random(r) % (p->view.next - 1);
    if (!is_newest)
        buf_printf(&p->conn.out, ",\"before\":%llu", (unsigned long long)p->act.before);
    buf_printf(&p->conn.out, ",\"limit\":%d", PAGE);
    end_request(r, p, mark);
}

static void ask_sync(struct run *r, struct peer *p, struct str cursor)
{
    size_t mark = begin_request(p, "sync");

    if (cursor.len)
        buf_printf(&p->conn.out, ",\"cursor\":\"" STR_FMT "\"", STR_ARG(cursor));
    else if (p->room)
        buf_printf(&p->conn.out, ",\"since\":{\"%.*s\":%llu" STR_FMT "}", (int)p->room->conv_len, p->room->conv,
                   (unsigned long long)p->view.next - 1, STR_ARG(buf_get(&p->since)));
    buf_printf(&p->conn.out, ",\"limit\":%d", SYNC_PAGE);
    end_request(r, p, mark);
}

static void ask_small(struct run *r, struct peer *p, bool is_receipt)
{
    size_t mark = begin_request(p, is_receipt ? "receipt" : "typing");

    put_conv(p);
    if (is_receipt)
        buf_printf(&p->conn.out, ",\"read\":%llu", (unsigned long long)p->view.next - 1);
    else
        buf_str(&p->conn.out, STR(",\"on\":true"));
    end_request(r, p, mark);
}

/* Going away is only put down here; acts_step does it. Until then nothing more is read: it counts as gone. */
static void drop(struct run *r, struct peer *p)
{
    net_pause(&r->net, &p->conn, true);
    r->comers[r->comers_end++ % r->n] = p;
    p->is_in = false;
    r->n_in--;
    r->n_away++;
}

static void start(struct run *r, struct peer *p, enum act_kind kind, uint64_t start_us)
{
    p->act.kind = kind;
    p->act.is_open = true;
    p->act.start_us = start_us;
    r->n_acts++;
    switch (kind) {
    case ACT_RECEIPT:
    case ACT_TYPING:
        ask_small(r, p, kind == ACT_RECEIPT);
        break;
    case ACT_HISTORY:
        ask_history(r, p);
        break;
    case ACT_SYNC:
        ask_sync(r, p, STR(""));
        break;
    case ACT_RESUME:
        drop(r, p);
        break;
    case ACT_KINDS:
        break;
    }
}

static void done(struct run *r, struct peer *p)
{
    uint64_t now = net_clock_us();

    p->act.is_open = false;
    r->n_acts--;
    r->progress++;
    if (p->act.kind == ACT_RESUME)
        r->n_away--;
    if (p->act.start_us >= r->from_us && p->act.start_us < r->to_us)
        hist_add(r->acts[p->act.kind], now - p->act.start_us);
    if (p->act.kind == ACT_RESUME && now > r->back_us)
        r->back_us = now;
    if (!r->is_sending)
        return;
    if (r->o->scenario == SCENARIO_HISTORY)
        start(r, p, ACT_HISTORY, now);
    else if (r->o->scenario == SCENARIO_LOGIN)
        start(r, p, ACT_RESUME, now);
    else if (r->o->scenario == SCENARIO_CHURN)
        talk_send(r, p, STR("")); /* and away again when it is acknowledged */
}

void acts_acked(struct run *r, struct peer *p)
{
    if (r->o->scenario == SCENARIO_CHURN && r->is_sending && p->is_actor && !p->act.is_open)
        start(r, p, ACT_RESUME, net_clock_us());
}

void acts_logged_in(struct run *r, struct peer *p)
{
    if (!p->act.is_open)
        return; /* the first login */
    r->n_coming--;
    if (r->o->scenario == SCENARIO_LOGIN)
        done(r, p);
    else
        ask_sync(r, p, STR(""));
}

bool acts_resync(struct run *r, struct peer *p)
{
    if (r->o->scenario != SCENARIO_SLOW || !p->is_actor)
        return false;
    r->tally.resyncs++;
    if (p->act.is_open)
        p->act.is_again = true; /* told anew while it syncs */
    else
        start(r, p, ACT_SYNC, net_clock_us());
    return true;
}

/* Is the entry what its sender wrote? Entries of others than this run are taken as they are. */
static bool entry_read(struct run *r, struct peer *p, const struct event *e, struct sighting *s)
{
    uint32_t at;

    *s = (struct sighting){.seq = e->seq, .sender = UINT32_MAX};
    if (!script_cid_read(&r->script, e->cid, &s->sender, &s->counter) || s->counter == 0)
        return true;
    at = s->sender - r->base;
    if (at < r->n && str_eq(e->from, r->users.v[at].id) &&
        script_content_read(&r->script, e->content, s->sender, s->counter, &s->start_us))
        return true;
    run_fault(r, &r->faults.wrong, "user %u was given seq %llu with another sender or content than was sent", p->index,
              (unsigned long long)e->seq);
    return false;
}

static void catch_up(struct run *r, struct peer *p, struct str entries)
{
    struct events list = events_of(entries);
    struct sighting s;
    struct event e;

    while (events_next(&list, &e)) {
        uint64_t open = room_open(p->room);
        if (e.seq < p->room->first || !entry_read(r, p, &e, &s))
            continue;
        if (e.seq > p->view.synced)
            p->view.synced = e.seq;
        if (view_has(&p->view, e.seq))
            continue;
        if (!room_catch(p->room, &p->view, &s, &r->faults))
            run_fault(r, NULL, "user %u: what sync says of seq %llu is not what others were told", p->index,
                      (unsigned long long)e.seq);
        r->tally.caught++;
        r->open_notes += room_open(p->room) - open;
        r->progress++;
    }
    r->faults.garbled += list.failed;
}

/* A conversation from before this run: like a client, the peer names from now on where it is in it. An item that comes
 * on several pages is kept with the position of its last. */
static void learn(struct peer *p, const struct event *conv)
{
    struct str known = buf_get(&p->since);
    const char *at = known.len ? memmem(known.p, known.len, conv->conv.p, conv->conv.len) : NULL;

    if (!at && p->since.len < SINCE_MAX)
        buf_printf(&p->since, ",\"" STR_FMT "\":%llu", STR_ARG(conv->conv), (unsigned long long)conv->last_seq);
}

static void hear_sync(struct run *r, struct peer *p, const struct event *e)
{
    struct events convs = events_of(e->conversations);
    struct event conv;

    while (e->conversations.len && events_next(&convs, &conv)) {
        if (p->room && str_eq(conv.conv, str_of(p->room->conv, p->room->conv_len)))
            catch_up(r, p, conv.entries);
        else if (r->is_learning)
            learn(p, &conv);
    }
    if (e->cursor.len || p->act.is_again) {
        p->act.is_again &= e->cursor.len > 0;
        ask_sync(r, p, e->cursor);
    } else {
        done(r, p);
    }
}

/* A page holds the last 50 entries before `before`, every one of them. */
static void hear_history(struct run *r, struct peer *p, const struct event *e)
{
    struct events list = events_of(e->entries);
    uint64_t last = 0, n = 0, wanted = p->act.before ? p->act.before - 1 : p->room->top - 1;
    struct sighting s;
    struct event entry;
    bool is_sound = true;

    while (events_next(&list, &entry) && is_sound) {
        is_sound = (n == 0 || entry.seq == last + 1) && entry_read(r, p, &entry, &s);
        last = entry.seq;
        n++;
    }
    is_sound = is_sound && !list.failed && (r->is_quiet ? last == wanted : last > 0);
    if (!is_sound || n != (last < PAGE ? last : PAGE))
        run_fault(r, &r->faults.wrong, "user %u got a page of %llu entries up to %llu where %d before %llu are right",
                  p->index, (unsigned long long)n, (unsigned long long)last, PAGE, (unsigned long long)wanted + 1);
    done(r, p);
}

void acts_hear(struct run *r, struct peer *p, const struct event *e)
{
    if (!e->is_ok) {
        run_fault(r, &r->faults.refused, "an act of user %u was refused: " STR_FMT ": " STR_FMT, p->index,
                  STR_ARG(e->code), STR_ARG(e->message));
        done(r, p);
    } else if (p->act.kind == ACT_SYNC || p->act.kind == ACT_RESUME) {
        hear_sync(r, p, e);
    } else if (p->act.kind == ACT_HISTORY) {
        hear_history(r, p, e);
    } else {
        done(r, p);
    }
}

static bool all_have_learned(const struct run *r) { return r->n_acts == 0; }

enum err acts_learn(struct run *r)
{
    if (!r->n_rooms || (r->o->scenario != SCENARIO_RECONNECT && r->o->scenario != SCENARIO_MIXED &&
                        r->o->scenario != SCENARIO_SLOW && r->o->scenario != SCENARIO_CHURN))
        return ERR_OK;
    r->is_learning = true;
    for (size_t i = 0; i < r->n_actors; i++)
        start(r, r->actors[i], ACT_SYNC, r->net.now_us);
    if (!run_wait(r, all_have_learned, NULL)) {
        run_fault(r, NULL, "%zu users never learned where they are", r->n_acts);
        return ERR_INVALID;
    }
    r->is_learning = false;
    return ERR_OK;
}

/* Who takes part. */

static bool is_actor(const struct run *r, const struct peer *p)
{
    switch (r->o->scenario) {
    case SCENARIO_HISTORY:
    case SCENARIO_LOGIN:
    case SCENARIO_MIXED:
        return true;
    case SCENARIO_RECONNECT:
        return !p->is_sender;
    case SCENARIO_CHURN:
        return p->is_first;
    case SCENARIO_SLOW: /* the last quarter of a group, which never writes */
        return !p->is_sender && p->index - p->room->peer_first >= p->room->members - p->room->members / SLOW_SHARE;
    default:
        return false;
    }
}

void acts_prepare(struct run *r)
{
    r->comers = mem_new_array(struct peer *, r->n);
    r->actors = mem_new_array(struct peer *, r->n);
    r->random = (uint64_t)r->o->seed;
    for (size_t i = 0; i < r->n; i++) {
        if (!is_actor(r, &r->peers[i]))
            continue;
        r->peers[i].is_actor = true;
        r->actors[r->n_actors++] = &r->peers[i];
    }
    for (size_t i = 0; i < ACT_KINDS; i++)
        r->acts[i] = mem_new(struct hist);
}

static void start_all(struct run *r, enum act_kind kind)
{
    for (size_t i = 0; i < r->n_actors; i++) {
        if (!r->actors[i]->act.is_open)
            start(r, r->actors[i], kind, net_clock_us());
    }
}

void acts_begin(struct run *r)
{
    enum scenario what = r->o->scenario;

    r->acts_from_us = net_clock_us();
    if (what == SCENARIO_HISTORY)
        start_all(r, ACT_HISTORY);
    else if (what == SCENARIO_LOGIN || what == SCENARIO_CHURN || (what == SCENARIO_RECONNECT && !r->o->act_rate))
        start_all(r, ACT_RESUME);
    for (size_t i = 0; what == SCENARIO_SLOW && i < r->n_actors; i++)
        net_pause(&r->net, &r->actors[i]->conn, true);
}

void acts_end(struct run *r)
{
    for (size_t i = 0; r->o->scenario == SCENARIO_SLOW && i < r->n_actors; i++)
        net_pause(&r->net, &r->actors[i]->conn, false);
}

/* By weight, without looking at what the peer did before. */
static enum act_kind choose(struct run *r)
{
    uint64_t at = next_random(r) % MIX_SUM;

    if (r->o->scenario != SCENARIO_MIXED)
        return ACT_RESUME;
    for (unsigned kind = 0;; kind++) {
        if (at < MIX[kind])
            return (enum act_kind)kind;
        at -= MIX[kind];
    }
}

/* The next free peer at or behind a random one. One that waits for an ack may not go away: it could not know. */
static struct peer *free_actor(struct run *r, enum act_kind kind)
{
    size_t from = (size_t)(next_random(r) % r->n_actors);

    for (size_t i = 0; i < r->n_actors; i++) {
        struct peer *p = r->actors[(from + i) % r->n_actors];
        if (p->is_in && !p->act.is_open && (kind != ACT_RESUME || p->sent == p->done))
            return p;
    }
    return NULL;
}

/* Open loop: what cannot start now, since all are busy, starts later and counts from its time all the same. */
static void start_due(struct run *r)
{
    uint64_t rate = (uint64_t)r->o->act_rate, due;

    if (r->o->scenario == SCENARIO_MIXED)
        rate = (uint64_t)r->o->rate * MIX_SUM / 100;
    if (!rate || !r->n_actors || !r->is_sending || !r->acts_from_us)
        return;
    due = schedule_due(r->acts_from_us, rate, r->net.now_us);
    for (; r->acts_due < due; r->acts_due++) {
        enum act_kind kind = choose(r);
        struct peer *p = free_actor(r, kind);
        if (!p)
            return;
        start(r, p, kind, schedule_at(r->acts_from_us, rate, r->acts_due));
    }
}

/* A close takes the kernel some 15 us. Thousands in one go would be a stall of this program, which an open loop would
 * count as the server's. */
static void cut_some(struct run *r)
{
    for (unsigned n = 0; n < CUTS_A_TURN && r->comers_cut < r->comers_end; n++, r->comers_cut++)
        net_close(&r->net, &r->comers[r->comers_cut % r->n]->conn);
}

void acts_step(struct run *r)
{
    if (r->o->scenario == SCENARIO_RECONNECT || r->o->scenario == SCENARIO_MIXED)
        start_due(r);
    cut_some(r);
    while (r->comers_begin < r->comers_cut && r->n_coming < (size_t)r->o->connecting) {
        struct peer *p = r->comers[r->comers_begin++ % r->n];
        if (net_connect(&r->net, &p->conn) != ERR_OK) {
            run_fault(r, &r->faults.lost, "user %u cannot connect again: %s", p->index, strerror(errno));
            r->is_broken = true;
            return;
        }
        r->n_coming++;
    }
}
