/* What an owner of conversations answers about many of them at once (inner.h): for sync and conversation.list, which
 * run where the user is connected and go from owner to owner.
 *
 * Rows are served one after the other. One that is in memory is served at once, by a call from the one before: so calls
 * nest, at most CONV_BATCH_MAX deep. One that must be read from the disk goes on from the loop. Looking reads no more
 * than a conversation's authority, except for who left; nothing of one that left memory, if what stayed behind
 * (heads.h) says enough; and those that must be read are asked of the disk together. */
#include "proto/metrics.h"
#include "services/conv_view.h"

static void next(struct reactor *r, struct request *q);

/* A row that is under way at its conversation. */
struct at {
    struct request *q;
    struct conv *c;
};

static struct inner_conv_row *row_of(const struct request *q)
{
    const struct inner_conv_batch *b = q->result;

    return &b->v[b->done];
}

static void find_after(const struct glance *g, struct inner_conv_row *row)
{
    uint64_t own = row->from_device ? g->delivered : 0;

    row->after = row->position > own ? row->position : own;
    row->is_reset = row->after > g->last || row->after + 1 < g->first_seq;
    if (row->is_reset)
        row->after = g->first_seq - 1;
    row->has_new = row->after < g->last;
}

static bool is_printed(const struct conv_view *v, const struct inner_conv_row *row)
{
    return row->reached >= member_last_visible(v->m, conv_committed(v->c)->head);
}

static enum err sync_row(const struct conv_view *v, struct inner_conv_batch *b, struct buf *out)
{
    struct inner_conv_row *row = &b->v[b->done];
    const struct conv_room room = {b->entries, b->bytes, b->is_first};
    size_t before = out->len, n = 0, used;
    enum err err = conv_view_sync(v, row->after, row->is_reset, &room, out, &n, &row->reached);

    if (err != ERR_OK)
        return err;
    used = out->len - before;
    b->entries -= n;
    b->bytes -= used < b->bytes ? used : b->bytes;
    b->is_first &= n == 0;
    b->is_full = !is_printed(v, row) || b->entries == 0 || b->bytes == 0;
    return ERR_OK;
}

static enum err list_row(const struct conv_view *v, struct inner_conv_batch *b, struct buf *out)
{
    size_t before = out->len, used;
    enum err err = conv_view_list(v, false, out);

    if (err != ERR_OK)
        return err;
    used = out->len - before;
    if (used > b->bytes && !b->is_first) {
        out->len = before;
        b->is_full = true;
        return ERR_OK;
    }
    b->bytes -= used < b->bytes ? used : b->bytes;
    b->is_first = false;
    return ERR_OK;
}

static enum err serve(const struct conv_view *v, struct request *q)
{
    struct inner_conv_batch *b = q->result;

    if (b->kind == CONV_SYNC)
        return sync_row(v, b, &q->out);
    if (b->kind == CONV_LIST)
        return list_row(v, b, &q->out);
    return conv_view_activity(v, &row_of(q)->activity);
}

/* Whether a row is done with: a printed one may have had no room, or not for all. */
static bool is_through(const struct inner_conv_batch *b, const struct conv_view *v)
{
    return b->kind == CONV_SYNC ? is_printed(v, &b->v[b->done]) : !b->is_full;
}

static enum err step(struct reactor *r, void *arg, struct lsm_need *need)
{
    struct at *at = arg;
    struct request *q = at->q;
    struct conv *c = at->c;
    struct inner_conv_batch *b = q->result;
    const struct conv_view v = {r, c, authority_member(conv_committed(c), q->actor.user), need};
    enum err err = serve(&v, q);

    if (err == ERR_AGAIN)
        return err;
    if (err == ERR_OK)
        b->done += is_through(b, &v);
    conv_unpin(r, c);
    if (err == ERR_OK)
        next(r, q);
    else
        reactor_broken(r, q, "conv_batch", err);
    return ERR_OK;
}

static bool is_look(const struct inner_conv_batch *b) { return b->kind == CONV_LOOK_NEW || b->kind == CONV_LOOK_ALL; }

/* True when that is all there is to do. */
static bool look(const struct glance *g, struct request *q)
{
    const struct inner_conv_batch *b = q->result;
    struct inner_conv_row *row = row_of(q);

    row->is_visible = g->is_member;
    if (!g->is_member)
        return true;
    find_after(g, row);
    row->activity = g->is_in ? g->last_ts : 0;
    return g->is_in || (b->kind == CONV_LOOK_NEW && !row->has_new);
}

/* Those that are not in memory, but what is known of them says it all. */
static void look_at_heads(struct reactor *r, struct request *q)
{
    struct inner_conv_batch *b = q->result;
    struct glance g;

    while (b->done < b->n && shard_glance(r, &row_of(q)->conv, &q->actor, &g) && look(&g, q)) {
        b->done++;
        metric_add(reactor_metrics(r), METRIC_HEADS_USED, 1);
    }
}

/* A row that must be read takes those behind it along. */
static void load_ahead(struct reactor *r, const struct inner_conv_batch *b)
{
    const struct conv_id *ids[LOAD_TOGETHER];
    size_t n = 0;

    if (!shard_is_cold(r, &b->v[b->done].conv))
        return;
    for (size_t i = b->done; i < b->n && n < LOAD_TOGETHER; i++)
        if (shard_is_cold(r, &b->v[i].conv))
            ids[n++] = &b->v[i].conv;
    shard_load_ahead(r, ids, n);
}

static void on_conv(struct reactor *r, struct conv *c, struct request *q)
{
    struct inner_conv_batch *b = q->result;
    const struct authority *a = conv_committed(c);
    const struct member *m = a->head ? authority_member(a, q->actor.user) : NULL;
    struct glance g;
    struct at *at;

    glance_at(a, q->actor.user, q->actor.device, &g);
    row_of(q)->is_visible = m != NULL;
    if (!m || (is_look(b) && look(&g, q))) {
        b->done++;
        next(r, q);
        return;
    }
    at = arena_alloc(&q->arena, sizeof *at);
    *at = (struct at){q, c};
    conv_pin(c);
    reactor_read(r, step, at);
}

static void next(struct reactor *r, struct request *q)
{
    const struct inner_conv_batch *b = q->result;

    if (is_look(b))
        look_at_heads(r, q);
    if (b->done == b->n || b->is_full) {
        reactor_ok(r, q);
        return;
    }
    if (is_look(b))
        load_ahead(r, b);
    shard_read(r, &row_of(q)->conv, q, on_conv);
}

void inner_conv_batch(void *service, struct request *q) { next(service, q); }
