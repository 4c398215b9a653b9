/* sync: what a device has missed, a page at a time.
 *
 * A page begins with a survey of all conversations, so it is of the moment when it is asked for; which are through is
 * told by the cursor (sync_cursor.h). What was committed before the survey's barrier is found by it; the session of who
 * asks joined before, so what is committed later is pushed to it. Both may be: (conv, seq) tells. */
#include "services/sync_cursor.h"
#include "proto/jsonw.h"
#include "services/survey.h"

enum {
    LIMIT_STANDARD = 200,
    PAGE_BYTES = 512 << 10,
    LISTED_KEPT = 256,   /* of those given in this pass */
    LISTED_PRINTED = 22, /* characters at most */
    GONE_EXTRA = 3,      /* beside the id */
};

struct sync {
    struct survey survey;
    struct sync_cursor cursor; /* as it came */
    struct str *gone;
    size_t n_gone, gone_bytes;
    size_t remaining; /* rows in front with something new */
};

static struct sync *sync_of(struct survey *s) { return container_of(s, struct sync, survey); }

/* Where each conversation goes on. */
static void set_position(const struct sync_cursor *c, struct inner_conv_row *row)
{
    const struct sync_listed *l = sync_cursor_find(c, sync_prefix(&row->conv));

    row->from_device = !c->is_since;
    row->is_named = l != NULL;
    row->position = l ? l->seq : 0;
}

static int conv_is(const void *key, const void *row)
{
    return memcmp(key, &((const struct inner_conv_row *)row)->conv, sizeof(struct conv_id));
}

/* Of what `since` names, that which the user never was in. Said once, in the first page. */
static void find_gone(struct sync *y)
{
    const struct args_sync *a = &y->survey.q->args->sync;

    if (a->has_cursor || !a->has_since)
        return;
    y->gone = arena_alloc(&y->survey.q->arena, a->since.n * sizeof *y->gone + 1);
    for (size_t i = 0; i < a->since.n; i++) {
        const struct position *p = &a->since.v[i];

        if (bsearch(&p->conv, y->survey.v, y->survey.n, sizeof *y->survey.v, conv_is))
            continue;
        y->gone[y->n_gone++] = p->text;
        y->gone_bytes += p->text.len + GONE_EXTRA;
    }
}

static void on_listed(struct reactor *r, struct survey *s)
{
    struct sync *y = sync_of(s);

    find_gone(y);
    for (size_t i = 0; i < s->n; i++)
        set_position(&y->cursor, &s->v[i]);
    survey_look(r, s);
}

/* The order of a pass: (activity, conv). */
static int by_activity(const void *x, const void *y)
{
    const struct inner_conv_row *a = x, *b = y;

    int open = survey_open_first(a, b);

    return open ? open : survey_compare(a->activity, &a->conv, b->activity, &b->conv);
}

static bool is_behind_mark(const struct sync_cursor *c, const struct inner_conv_row *row)
{
    return survey_compare(row->activity, &row->conv, c->activity, &c->conv) <= 0;
}

static size_t room(const struct sync *y)
{
    size_t besides = y->gone_bytes + (y->cursor.n + LISTED_KEPT) * LISTED_PRINTED;

    return besides < PAGE_BYTES ? PAGE_BYTES - besides : 1;
}

static void on_looked(struct reactor *r, struct survey *s)
{
    struct sync *y = sync_of(s);
    const struct args_sync *a = &s->q->args->sync;
    struct buf *out = &s->q->out;

    for (size_t i = 0; i < s->n; i++) {
        struct inner_conv_row *row = &s->v[i];

        row->is_open = row->is_visible && row->has_new && (row->is_named || !is_behind_mark(&y->cursor, row));
        row->reached = row->after;
        y->remaining += row->is_open;
    }
    qsort(s->v, s->n, sizeof *s->v, by_activity);
    jsonw_open(out, '{');
    jsonw_key_str(out, "epoch", str_c(reactor_world(r)->data->epoch));
    jsonw_key(out, "conversations");
    jsonw_open(out, '[');
    s->entries = a->has_limit ? (size_t)a->limit : LIMIT_STANDARD;
    s->bytes = room(y);
    survey_print(r, s, CONV_SYNC, y->remaining);
}

/* What is still to come stands before what is through, and of that the latest first: in this order they keep their
 * place in the list. */
static int by_need(const void *x, const void *y)
{
    const struct inner_conv_row *a = x, *b = y;

    int open = survey_open_first(a, b);

    return open ? open : survey_compare(b->activity, &b->conv, a->activity, &a->conv);
}

static size_t list_bound(const struct sync_cursor *c)
{
    size_t n = (c->n > LISTED_KEPT ? c->n : LISTED_KEPT) + 1; /* one more, so that every page gets further */

    return n < SYNC_LISTED_MAX ? n : SYNC_LISTED_MAX;
}

/* The rows that were worked on are named from now on; those not yet keep the position that they had, so that one which
 * is to be reset still is. */
static void set_reached(struct sync *y)
{
    struct survey *s = &y->survey;

    for (size_t i = 0; i < y->remaining && i <= s->done; i++) {
        struct inner_conv_row *row = &s->v[i];

        if (i < s->done || row->reached > row->after) {
            row->is_named = true;
            row->position = row->reached;
        }
        row->is_open = i >= s->done;
    }
}

static void next_cursor(struct sync *y, struct sync_cursor *next)
{
    struct survey *s = &y->survey;
    size_t max = list_bound(&y->cursor);

    *next = (struct sync_cursor){y->cursor.epoch, y->cursor.is_since, y->cursor.activity, y->cursor.conv, NULL, 0};
    if (s->done && !is_behind_mark(&y->cursor, &s->v[s->done - 1])) {
        next->activity = s->v[s->done - 1].activity;
        next->conv = s->v[s->done - 1].conv;
    }
    set_reached(y);
    qsort(s->v, s->n, sizeof *s->v, by_need);
    next->v = arena_alloc(&s->q->arena, max * sizeof *next->v);
    for (size_t i = 0; i < s->n && next->n < max; i++) {
        const struct inner_conv_row *row = &s->v[i];

        if (row->is_named && row->is_visible)
            next->v[next->n++] = (struct sync_listed){sync_prefix(&row->conv), row->position};
    }
    sync_cursor_order(next);
}

static void on_printed(struct reactor *r, struct survey *s)
{
    struct sync *y = sync_of(s);
    struct buf *out = &s->q->out;
    bool more = s->done < y->remaining;
    struct sync_cursor next;

    jsonw_close(out, ']');
    if (y->n_gone) {
        jsonw_key(out, "gone");
        jsonw_open(out, '[');
        for (size_t i = 0; i < y->n_gone; i++)
            jsonw_str(out, y->gone[i]);
        jsonw_close(out, ']');
    }
    jsonw_key_bool(out, "more", more);
    if (more) {
        next_cursor(y, &next);
        jsonw_key(out, "cursor");
        buf_char(out, '"');
        sync_cursor_encode(&next, out);
        buf_char(out, '"');
    }
    jsonw_close(out, '}');
    survey_ok(r, s);
}

/* The beginning of a pass. */
static void begin_since(struct sync *y)
{
    const struct args_sync *a = &y->survey.q->args->sync;
    struct sync_cursor *c = &y->cursor;

    c->is_since = true;
    c->v = arena_alloc(&y->survey.q->arena, a->since.n * sizeof *c->v + 1);
    c->n = a->since.n;
    for (size_t i = 0; i < c->n; i++)
        c->v[i] = (struct sync_listed){sync_prefix(&a->since.v[i].conv), a->since.v[i].seq};
    sync_cursor_order(c);
}

static uint64_t epoch_hash(const struct reactor *r)
{
    struct str epoch = str_c(reactor_world(r)->data->epoch);

    return hash_keyed64(&reactor_keys(r)->bus, epoch.p, epoch.len);
}

static void foreign(struct reactor *r, struct request *q)
{
    reactor_fail(r, q, CODE_CONFLICT, "epoch: not this server's history; forget all positions and sync without");
}

void op_sync(void *service, struct request *q)
{
    struct reactor *r = service;
    const struct args_sync *a = &q->args->sync;
    struct sync *y = arena_alloc(&q->arena, sizeof *y);

    y->survey =
        (struct survey){.q = q, .kind = CONV_LOOK_NEW, .listed = on_listed, .looked = on_looked, .printed = on_printed};
    if (a->has_epoch && !str_eq(a->epoch, str_c(reactor_world(r)->data->epoch))) {
        foreign(r, q);
        return;
    }
    if (a->has_cursor && !sync_cursor_decode(a->cursor, &q->arena, &y->cursor)) {
        reactor_fail(r, q, CODE_BAD_REQUEST, "cursor: not one of ours");
        return;
    }
    if (a->has_cursor && y->cursor.epoch != epoch_hash(r)) {
        foreign(r, q);
        return;
    }
    y->cursor.epoch = epoch_hash(r);
    if (!a->has_cursor && a->has_since)
        begin_since(y);
    survey_start(r, &y->survey);
}
