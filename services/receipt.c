/* receipt: a step is one move of the cursors of one device, on its way through the log.
 *
 *     (none) ── receipt ──► under way ── commit ──► resting ── RECEIPT_MERGE_MS, nothing new ──► (none)
 *                               │  ▲                   │
 *                               │  └── what was merged ┘  (when the time since the last record is over)
 *                               └ later receipts merge into `next`
 *
 * A step pins its conversation. There is at most one a (conversation, user, device). */
#include "services/receipt.h"
#include "proto/jsonw.h"
#include "services/shard_state.h"

struct receipts {
    struct reactor *r;
    struct map steps; /* by conversation, user and device */
};

struct cursors {
    uint64_t delivered, read;
}; /* 0: not moved */

struct step {
    uint64_t hash; /* in receipts.steps */
    struct reactor *r;
    user_id user;
    device_id device;
    struct appended log;               /* its record: what is under way */
    struct cursors next;               /* merged, not under way yet */
    struct link waiting, next_waiting; /* struct work: answered when that is committed */
    bool is_under_way;
    uint64_t sent_ms;
    struct timer rest;
};

static void step_committed(struct reactor *r, struct appended *a);
static void on_rested(struct timer *t);

struct step_key {
    const struct conv *c;
    const struct actor *who;
};

static bool is_step(const void *value, const void *key)
{
    const struct step *s = value;
    const struct step_key *k = key;

    return s->log.conv == k->c && s->user == k->who->user && s->device == k->who->device;
}

static bool is_same(const void *value, const void *key) { return value == key; }

static uint64_t step_hash(const struct conv *c, const struct actor *who)
{
    return hash_u64(hash_u64(c->hash ^ who->user) ^ who->device);
}

static struct step *step_find(struct reactor *r, const struct conv *c, const struct actor *who)
{
    return map_get(&reactor_receipts(r)->steps, step_hash(c, who), is_step, &(struct step_key){c, who});
}

static struct step *step_new(struct reactor *r, struct conv *c, const struct actor *who)
{
    struct step *s = mem_new(struct step);

    s->r = r;
    s->user = who->user;
    s->device = who->device;
    s->log.conv = c;
    s->log.committed = step_committed;
    s->rest.fn = on_rested;
    list_init(&s->waiting);
    list_init(&s->next_waiting);
    s->hash = step_hash(c, who);
    map_add(&reactor_receipts(r)->steps, s->hash, s);
    conv_pin(c);
    return s;
}

static void step_free(struct step *s)
{
    struct conv *c = s->log.conv;
    struct reactor *r = s->r;

    timer_stop(&s->rest);
    map_take(&reactor_receipts(r)->steps, s->hash, is_same, s);
    mem_free(s);
    conv_unpin(r, c);
}

static void answer_all(struct reactor *r, struct link *waiting, enum err err)
{
    while (!list_is_empty(waiting)) {
        struct work *w = list_first(waiting, struct work, link);

        list_remove(&w->link);
        if (err != ERR_OK) {
            shard_log_refuse(r, w->q, err);
            continue;
        }
        buf_str(&w->q->out, STR("{}"));
        reactor_ok(r, w->q);
    }
}

/* Sends what was merged. Frees the step when the log refuses. */
static void step_send(struct step *s)
{
    struct receipt_record *rec = &s->log.rec.receipt;
    struct link refused;
    enum err err;

    s->log.rec.kind = RECORD_RECEIPT;
    *rec = (struct receipt_record){
        .conv = s->log.conv->id,
        .user = s->user,
        .device = s->next.delivered ? s->device : 0,
        .delivered = s->next.delivered,
        .read = s->next.read,
        .ts = env_now_ms(reactor_env(s->r)),
    };
    s->log.is_applied = false;
    err = shard_log_append(s->r, &s->log);
    if (err != ERR_OK) {
        struct reactor *r = s->r;

        list_init(&refused);
        list_move(&refused, &s->next_waiting);
        step_free(s);
        answer_all(r, &refused, err);
        return;
    }
    s->next = (struct cursors){0};
    list_move(&s->waiting, &s->next_waiting);
    s->is_under_way = true;
    s->sent_ms = loop_now_ms(reactor_loop(s->r));
}

static void on_rested(struct timer *t)
{
    struct step *s = container_of(t, struct step, rest);

    if (s->next.delivered || s->next.read)
        step_send(s);
    else
        step_free(s);
}

static struct step *find_resting(struct receipts *s, uint16_t shard)
{
    size_t at = 0;

    for (struct step *step; (step = map_next(&s->steps, &at));) {
        if (step->log.conv->shard == shard && timer_is_set(&step->rest))
            return step;
    }
    return NULL;
}

void receipts_leave(struct receipts *s, uint16_t shard)
{
    for (struct step *step; (step = find_resting(s, shard));) {
        timer_stop(&step->rest);
        on_rested(&step->rest);
    }
}

/* Telling the others. */
static uint64_t slot_of(const struct reactor *r, const struct conv *c, user_id user)
{
    struct {
        struct conv_id conv;
        user_id user;
        char what[8];
    } k = {*conv_id(c), user, "receipt"};

    return hash_keyed64(&reactor_keys(r)->bus, &k, sizeof k);
}

static struct frame *print_event(struct reactor *r, const struct conv *c, const struct member *m, int64_t ts)
{
    struct buf *b = reactor_scratch(r);

    jsonw_open(b, '{');
    jsonw_key_str(b, "ev", STR("receipt"));
    jsonw_key_conv(b, "conv", conv_id(c));
    jsonw_key_user(b, "user", m->user);
    jsonw_key_int(b, "delivered", (int64_t)m->delivered);
    jsonw_key_int(b, "read", (int64_t)m->read);
    jsonw_key_int(b, "ts", ts);
    jsonw_close(b, '}');
    return frame_text(buf_get(b));
}

/* The member's own other devices are told too, across whatever block: what was read here is read there. */
static void announce(struct reactor *r, struct conv *c, const struct member *m, const struct step *s)
{
    struct delivery d = {
        .class = DELIVER_EPHEMERAL,
        .frame = print_event(r, c, m, s->log.rec.receipt.ts),
        .to = conv_audience(c),
        .skip_user = s->user,
        .skip_device = s->device,
        .slot = slot_of(r, c, s->user),
    };

    if (authority_is_blocked(&c->now) || !m->is_in) {
        conv_tell_one(r, &d, s->user);
    } else if (d.to->n <= EVERYBODY_MAX) {
        bus_emit(reactor_port(r), &d, NULL, NULL);
    } else {
        conv_tell_one(r, &d, s->user);
        conv_tell_authors(r, c, &d, s->user);
    }
    frame_unref(d.frame);
}

static void step_committed(struct reactor *r, struct appended *a)
{
    struct step *s = container_of(a, struct step, log);
    struct conv *c = a->conv;
    const struct member *m = authority_member(&c->now, s->user);
    uint64_t since = loop_now_ms(reactor_loop(r)) - s->sent_ms;

    c->in_flight--;
    s->is_under_way = false;
    timer_set(reactor_loop(r), &s->rest, since < RECEIPT_MERGE_MS ? RECEIPT_MERGE_MS - since : 0);
    if (m) {
        notify_delivered(reactor_notify(r), &c->hint, s->user, &c->id, m->delivered, c->now.head);
        announce(r, c, m, s);
    }
    conv_pin(c); /* who is answered may ask for anything */
    answer_all(r, &s->waiting, ERR_OK);
    conv_unpin(r, c);
}

/* The op. */
static uint64_t device_delivered(const struct member *m, device_id device)
{
    for (size_t i = 0; i < m->n_devices; i++) {
        if (m->devices[i].device == device)
            return m->devices[i].delivered;
    }
    return 0;
}

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

static void move(struct reactor *r, struct conv *c, struct request *q, struct cursors to)
{
    struct step *s = step_find(r, c, &q->actor);
    const struct receipt_record *rec;

    if (!s)
        s = step_new(r, c, &q->actor);
    rec = &s->log.rec.receipt;
    if (s->is_under_way && to.delivered <= rec->delivered && to.read <= rec->read) {
        list_push(&s->waiting, &work_of(q)->link);
        return;
    }
    s->next = (struct cursors){larger(s->next.delivered, to.delivered), larger(s->next.read, to.read)};
    list_push(&s->next_waiting, &work_of(q)->link);
    if (!s->is_under_way && !timer_is_set(&s->rest))
        step_send(s);
}

static void receipt_start(struct reactor *r, struct conv *c, struct request *q)
{
    const struct args_receipt *a = &q->args->receipt;
    const struct member *m = shard_reader(r, c, q);
    struct cursors to;
    uint64_t last;

    if (!m)
        return;
    last = member_last_visible(m, c->now.head);
    if (!a->has_delivered && !a->has_read) {
        reactor_fail(r, q, CODE_BAD_REQUEST, "delivered or read is needed");
        return;
    }
    if ((a->has_delivered && a->delivered > last) || (a->has_read && a->read > last)) {
        reactor_fail(r, q, CODE_BAD_REQUEST, "delivered, read: not past the last entry");
        return;
    }
    to.delivered = a->has_delivered && a->delivered > device_delivered(m, q->actor.device) ? a->delivered : 0;
    to.read = a->has_read && a->read > m->read ? a->read : 0;
    if (to.delivered || to.read) {
        move(r, c, q, to);
        return;
    }
    buf_str(&q->out, STR("{}"));
    reactor_ok(r, q);
}

void op_receipt(void *service, struct request *q) { shard_write(service, &q->args->receipt.conv, q, receipt_start); }

/* Their life. */
void receipts_create(struct reactor *r, struct receipts **out)
{
    struct receipts *s = mem_new(struct receipts);

    s->r = r;
    *out = s;
}

void receipts_destroy(struct receipts *s)
{
    size_t at = 0;

    if (!s)
        return;
    for (struct step *step; (step = map_next(&s->steps, &at));) {
        timer_stop(&step->rest);
        mem_free(step);
    }
    map_deinit(&s->steps);
    mem_free(s);
}
