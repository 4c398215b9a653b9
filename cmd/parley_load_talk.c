/* talk: the traffic of one peer: what it sends, and what it makes of replies and events. This is the hot path. */
#include "cmd/parley_load_acts.h"
#include "cmd/parley_load_run.h"

enum { FIXED_MAX = 160, FRAME_TARGET = 96 << 10, BATCH_MAX = 256 };
/* The sender of entries in our rooms that this run did not send: all members see those as events. */
enum { SENDER_OTHER = UINT32_MAX };

#define PUT(p, literal) ((char *)memcpy(p, literal, sizeof(literal) - 1) + sizeof(literal) - 1)

static char *put(char *p, struct str s)
{
    memcpy(p, s.p, s.len);
    return p + s.len;
}

static char *put_u64(char *p, uint64_t v)
{
    char digits[20];
    size_t at = sizeof digits;

    do
        digits[--at] = (char)('0' + v % 10);
    while (v /= 10);
    return put(p, str_of(digits + at, sizeof digits - at));
}

/* When the entry should start: in an open loop by the schedule, which gives each sender every n_senders-th. */
static uint64_t start_of(const struct run *r, const struct peer *p, uint64_t counter)
{
    if (!r->o->rate || counter == 0 || !p->is_sender)
        return r->net.now_us;
    return schedule_at(r->start_us, (uint64_t)r->o->rate, (counter - p->first) * r->n_senders + p->place);
}

static void put_entry(struct run *r, struct peer *p, struct str to_user)
{
    uint32_t counter = (uint32_t)p->sent;
    struct slot *slot = &p->slots[p->sent & (r->slots - 1)];
    struct buf *out = &p->conn.out;
    char *at =
        buf_reserve(out, FIXED_MAX + ROOM_CONV_MAX + to_user.len + SCRIPT_CID_MAX + script_content_max(&r->script));
    char *start = at;

    *slot = (struct slot){start_of(r, p, p->sent), 0, false};
    at = PUT(at, "{\"id\":");
    at = put_u64(at, ID_ENTRY + p->sent);
    if (to_user.len) {
        at = PUT(at, ",\"op\":\"message.send\",\"user\":\"");
        at = put(at, to_user);
    } else {
        at = PUT(at, ",\"op\":\"message.send\",\"conv\":\"");
        at = put(at, str_of(p->room->conv, p->room->conv_len));
    }
    at = PUT(at, "\",\"cid\":\"");
    at += script_cid(&r->script, at, run_number(r, p), counter);
    at = PUT(at, "\",\"content\":");
    at += script_content(&r->script, at, run_number(r, p), counter, slot->start_us);
    *at++ = '}';
    out->len += (size_t)(at - start);
    p->sent++;
    r->tally.sent++;
    r->open_acks++;
}

void talk_send(struct run *r, struct peer *p, struct str to_user)
{
    size_t mark = net_begin(&p->conn);

    put_entry(r, p, to_user);
    net_end(&r->net, &p->conn, mark);
}

static uint64_t wanted(const struct run *r, const struct peer *p)
{
    uint64_t open = p->sent - p->done, window = (uint64_t)r->o->window, max = (uint64_t)r->o->max_entries, n;

    if (r->fill)
        max = r->fill;

    if (!r->is_sending || !p->is_sender || !p->is_in || open >= window)
        return 0;
    n = window - open;
    if (r->o->rate && !r->fill && n > p->due + p->first - p->sent)
        n = p->due + p->first - p->sent;
    if (max && n > max - r->tally.sent)
        n = max - r->tally.sent;
    return n;
}

static void send_batch(struct run *r, struct peer *p, uint64_t n)
{
    size_t mark = net_begin(&p->conn);

    for (uint64_t i = 0; i < n; i++) {
        buf_char(&p->conn.out, i ? ',' : '[');
        put_entry(r, p, STR(""));
    }
    buf_char(&p->conn.out, ']');
    net_end(&r->net, &p->conn, mark);
}

void talk_refill(struct run *r, struct peer *p)
{
    uint64_t n = wanted(r, p), most = FRAME_TARGET / (FIXED_MAX + script_content_max(&r->script)) + 1;

    if (most > BATCH_MAX)
        most = BATCH_MAX;
    while (n > 0) {
        uint64_t k = !r->o->batch ? 1 : n < most ? n : most;
        if (k > 1)
            send_batch(r, p, k);
        else
            talk_send(r, p, STR(""));
        n -= k;
    }
}

void talk_due(struct run *r)
{
    uint64_t due;

    if (!r->is_sending || r->net.now_us < r->start_us)
        return;
    due = schedule_due(r->start_us, (uint64_t)r->o->rate, r->net.now_us);
    for (; r->due < due; r->due++) {
        struct peer *p = r->senders[r->due % r->n_senders];
        p->due++;
        talk_refill(r, p);
    }
}

uint64_t talk_next_us(const struct run *r) { return schedule_at(r->start_us, (uint64_t)r->o->rate, r->due); }

static void note_latency(const struct run *r, struct hist *h, uint64_t start_us)
{
    if (start_us < r->from_us || start_us >= r->to_us)
        return;
    uint64_t now = net_clock_us();
    hist_add(h, now > start_us ? now - start_us : 0);
}

static void begin_room(struct run *r, struct peer *p, const struct event *e)
{
    if (!room_begin(p->room, &p->view, e->conv, e->seq)) {
        run_fault(r, &r->faults.wrong, "user %u was told of another first entry than its peers", p->index);
        return;
    }
    r->n_begun++;
    r->progress++;
}

/* All members that we have of the room have the entry now. */
static void note_reach(struct run *r, const struct room *room, const struct sighting *s)
{
    if (!room->is_live || s->start_us < r->from_us || s->start_us >= r->to_us)
        return;
    if (!r->crowd.n)
        note_latency(r, r->reach, s->start_us);
    else if (r->n_reaches < REACHES_MAX)
        r->reaches[r->n_reaches++] = (struct reach){(uint64_t)(room - r->rooms), s->seq, net_clock_us() - s->start_us};
}

typedef bool sight_fn(struct room *r, struct view *v, const struct sighting *s, struct faults *f);

/* Takes a sighting into the room, and keeps the number of entries that not everybody has seen. */
static bool sight(struct run *r, struct peer *p, const struct sighting *s, sight_fn *how)
{
    uint64_t open = room_open(p->room), faults = faults_sum(&r->faults);
    bool is_sound = how(p->room, &p->view, s, &r->faults);

    r->open_notes += room_open(p->room) - open;
    r->progress++;
    if (is_sound && room_all_have(p->room, s->seq))
        note_reach(r, p->room, s);
    if (faults_sum(&r->faults) != faults)
        run_fault(r, NULL,
                  "user %u, seq %llu (entry %u of user %u): repeated, out of order, or not what others were told",
                  p->index, (unsigned long long)s->seq, s->counter, s->sender);
    return is_sound;
}

/* Answered sends are popped in the order they were sent, since in that order they take effect. */
static void pop_answered(struct run *r, struct peer *p)
{
    for (; p->done < p->sent; p->done++) {
        struct slot *slot = &p->slots[p->done & (r->slots - 1)];
        struct sighting s = {slot->seq, slot->start_us, run_number(r, p), (uint32_t)p->done};
        if (!slot->is_answered)
            break;
        if (slot->seq)
            sight(r, p, &s, room_ack);
    }
}

static void hear_ack(struct run *r, struct peer *p, const struct event *e, struct slot *slot)
{
    slot->is_answered = true;
    r->open_acks--;
    r->progress++;
    if (!e->is_ok) {
        run_fault(r, &r->faults.refused, "an entry was refused: " STR_FMT ": " STR_FMT, STR_ARG(e->code),
                  STR_ARG(e->message));
    } else if (e->seq == 0 || e->is_dup || !str_eq(e->conv, str_of(p->room->conv, p->room->conv_len))) {
        run_fault(r, &r->faults.wrong,
                  "an ack of user %u has no seq, another conversation, or calls a new cid a repeat", p->index);
    } else {
        slot->seq = e->seq;
        r->tally.acked++;
        note_latency(r, r->ack, slot->start_us);
    }
    pop_answered(r, p);
    acts_acked(r, p);
}

/* The server knows all members of the group that p makes. */
static bool is_named(const struct run *r, const struct peer *p)
{
    return p->room->named == (r->crowd.n ? r->crowd.group : p->room->members);
}

static void hear_setup(struct run *r, struct peer *p, const struct event *e)
{
    if (!e->is_ok) {
        run_fault(r, &r->faults.refused, "setup was refused: " STR_FMT ": " STR_FMT, STR_ARG(e->code),
                  STR_ARG(e->message));
        r->is_broken = true;
        return;
    }
    struct event named = *e;
    if (!named.conv.len) /* that of group.add is known */
        named.conv = str_of(p->room->conv, p->room->conv_len);
    r->progress++;
    if (!room_name(p->room, named.conv))
        run_fault(r, &r->faults.wrong, "user %u was told of another conversation than it made", p->index);
    else if (!p->room->named || is_named(r, p))
        begin_room(r, p, &named);
    else
        setup_name(r, p);
}

static void hear_auth(struct run *r, struct peer *p, const struct event *e)
{
    if (!e->is_ok) {
        run_fault(r, &r->faults.lost, "user %u (" STR_FMT ") cannot log in: " STR_FMT ": " STR_FMT, p->index,
                  STR_ARG(r->users.v[p->index].name), STR_ARG(e->code), STR_ARG(e->message));
        r->is_broken = true;
        return;
    }
    p->is_in = true;
    r->n_in++;
    r->progress++;
    acts_logged_in(r, p);
}

static void hear_reply(struct run *r, struct peer *p, const struct event *e)
{
    uint64_t counter = (uint64_t)e->re - ID_ENTRY;

    if (e->re == ID_AUTH && !p->is_in) {
        hear_auth(r, p, e);
    } else if (e->re == (int64_t)ID_ACT && p->act.is_open) {
        acts_hear(r, p, e);
    } else if (e->re == ID_ENTRY && p->room && p->is_first && !p->view.begun) {
        hear_setup(r, p, e);
    } else if (e->re > ID_ENTRY && p->room && counter >= p->done && counter < p->sent &&
               !p->slots[counter & (r->slots - 1)].is_answered) {
        hear_ack(r, p, e, &p->slots[counter & (r->slots - 1)]);
    } else {
        run_fault(r, &r->faults.repeats,
                  "user %u got a reply to what it did not ask, or a second one: re %lld, " STR_FMT, p->index,
                  (long long)e->re, STR_ARG(e->code));
    }
}

/* Is the entry what its sender wrote, and for this peer? */
static bool is_sound(struct run *r, const struct peer *p, const struct event *e, struct sighting *s)
{
    uint32_t at = s->sender - r->base; /* of another worker: beyond all of ours */
    bool is_near = at < r->n;
    bool is_ours = p->room && (is_near ? r->peers[at].room == p->room && at != p->index
                                       : crowd_room(&r->crowd, s->sender) == (size_t)(p->room - r->rooms));

    if (!is_ours || (s->counter && !str_eq(e->conv, str_of(p->room->conv, p->room->conv_len)))) {
        run_fault(r, &r->faults.strays, "user %u got an entry that is not for it, from user %u", p->index, s->sender);
        return false;
    }
    if (!str_eq(e->from, is_near ? r->users.v[at].id : r->crowd.ids[s->sender])) {
        run_fault(r, &r->faults.wrong, "entry %u of user %u is said to be from " STR_FMT, s->counter, s->sender,
                  STR_ARG(e->from));
        return false;
    }
    return true;
}

static void hear_message(struct run *r, struct peer *p, const struct event *e, struct sighting *s)
{
    if (!script_content_read(&r->script, e->content, s->sender, s->counter, &s->start_us)) {
        run_fault(r, &r->faults.wrong, "entry %u of user %u has another content than was sent", s->counter, s->sender);
        return;
    }
    if (s->counter == 0) {
        begin_room(r, p, e);
    } else if (!p->view.begun) {
        run_fault(r, &r->faults.missing, "user %u got entry %u of user %u without the first", p->index, s->counter,
                  s->sender);
    } else if (sight(r, p, s, room_event)) {
        r->tally.delivered++;
        if (p->room->is_live && !(p->is_actor && r->o->scenario == SCENARIO_SLOW)) /* a stopped reader's own wait */
            note_latency(r, r->delivery, s->start_us);
    }
}

/* What others did in our room has a seq too. */
static void hear_other(struct run *r, struct peer *p, const struct event *e)
{
    struct sighting s = {.seq = e->seq, .sender = SENDER_OTHER};

    r->tally.others++;
    r->progress += !p->view.begun; /* a large group is made in steps */
    if (e->seq && p->view.begun && str_eq(e->conv, str_of(p->room->conv, p->room->conv_len)))
        sight(r, p, &s, room_event);
}

static void hear_event(struct run *r, struct peer *p, const struct event *e)
{
    struct sighting s = {.seq = e->seq};
    bool is_ours = e->seq && script_cid_read(&r->script, e->cid, &s.sender, &s.counter);

    if (str_eq(e->ev, STR("resync")) && acts_resync(r, p)) {
        return;
    } else if (str_eq(e->ev, STR("resync"))) {
        run_fault(r, &r->faults.resyncs, "the server dropped events for user %u (resync)", p->index);
        r->is_broken = true;
    } else if (!is_ours) {
        hear_other(r, p, e);
    } else if (!is_sound(r, p, e, &s)) {
        return;
    } else if (str_eq(e->ev, STR("message"))) {
        hear_message(r, p, e, &s);
    } else if ((str_eq(e->ev, STR("created")) || str_eq(e->ev, STR("members"))) && s.counter == 0) {
        begin_room(r, p, e);
    } else {
        run_fault(r, &r->faults.wrong, "user %u got " STR_FMT " under the cid of a message", p->index, STR_ARG(e->ev));
    }
}

void talk_hear(struct run *r, struct peer *p, struct str text)
{
    struct events list = events_of(text);
    struct event e;

    while (events_next(&list, &e)) {
        if (e.is_reply)
            hear_reply(r, p, &e);
        else
            hear_event(r, p, &e);
    }
    if (list.failed)
        run_fault(r, &r->faults.garbled, "user %u got a frame that cannot be read: %.*s", p->index,
                  (int)(text.len < 200 ? text.len : 200), text.p);
    talk_refill(r, p);
}
