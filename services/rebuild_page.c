/* What some conversations are, as rows, for rebuild.h.
 *
 * A group's row says which entry changed it last, and what is owed begins at a message; the authority has neither. Both
 * are found by halving: of the entries 1..s, ordinal(s) are messages and s - ordinal(s) are changes, so each only
 * grows. Of what was forgotten (first_seq) only the counts are known, and so are who are in it and since when.
 *
 * A page is read in one turn: where a block must come from the disk it ends before the conversation that wants it, and
 * only the first conversation is waited for. So what notify gathers comes before all of the page or after it. */
#include "services/rebuild.h"
#include "services/inner.h"
#include "services/reactor.h"
#include "services/shard_log.h"
#include "services/notify.h"

enum { SEEN = 64 };

struct paging {
    struct reactor *r;
    struct request *q;
    struct inner_rebuild *a;
    size_t rows;
};

/* One conversation that is looked at. */
struct looking {
    struct lsm *store;
    struct lsm_need *need;
    struct arena *arena; /* gone with it */
    struct authority now;
    uint16_t shard;
    struct seen {
        uint64_t seq, ordinal;
        int64_t ts;
    } seen[SEEN];
};

static enum err look(struct looking *k, uint64_t seq, struct seen *out)
{
    struct seen *s = &k->seen[seq % SEEN];
    struct entry e;
    enum err err = ERR_OK;

    if (seq + 1 == k->now.first_seq) { /* before the first entry that is kept */
        *out = (struct seen){.seq = seq, .ordinal = k->now.first_ordinal};
        return ERR_OK;
    }
    if (s->seq != seq) {
        TRY(convlog_entry(k->store, k->shard, &k->now.id, seq, k->need, k->arena, &e));
        *s = (struct seen){seq, e.ordinal, e.ts};
    }
    *out = *s;
out:
    return err;
}

enum counted { MESSAGES, CHANGES };

static uint64_t count_of(enum counted what, const struct seen *s)
{
    return what == MESSAGES ? s->ordinal : s->seq - s->ordinal;
}

/* The first entry of low..high with which there are n of what is counted; with `high` there are. */
static enum err find(struct looking *k, enum counted what, uint64_t n, uint64_t low, uint64_t high, struct seen *out)
{
    enum err err = ERR_OK;

    TRY(look(k, low, out)); /* mostly it is the first */
    if (count_of(what, out) >= n)
        return ERR_OK;
    for (low++; low < high;) {
        uint64_t mid = low + (high - low) / 2;

        TRY(look(k, mid, out));
        if (count_of(what, out) >= n)
            high = mid;
        else
            low = mid + 1;
    }
    err = look(k, low, out);
out:
    return err;
}

/* --- what is owed --- */

static enum err owe_range(struct looking *k, uint64_t low, uint64_t high, struct owed_row *o)
{
    struct seen before, end, first, last;
    uint64_t n;
    enum err err = ERR_OK;

    if (low > high)
        return ERR_OK;
    TRY(look(k, low - 1, &before));
    TRY(look(k, high, &end));
    n = end.ordinal - before.ordinal;
    if (n == 0)
        return ERR_OK;
    TRY(find(k, MESSAGES, before.ordinal + 1, low, high, &first));
    TRY(find(k, MESSAGES, end.ordinal, low, high, &last));
    if (o->count == 0) {
        o->first_seq = first.seq;
        o->since = first.ts;
    }
    o->last_seq = last.seq;
    o->count += n;
out:
    return err;
}

/* Messages of one's own are confirmed by being written, so none of them is counted. */
static enum err owe_member(struct looking *k, const struct member *m, struct owed_row *o)
{
    enum err err = ERR_OK;

    *o = (struct owed_row){.user = m->user, .conv = k->now.id};
    for (size_t i = 0; i < m->n_ranges; i++) {
        const struct range *g = &m->ranges[i];
        uint64_t low = m->delivered + 1 > g->from ? m->delivered + 1 : g->from;

        low = low > k->now.first_seq ? low : k->now.first_seq;
        TRY(owe_range(k, low, g->to ? g->to : k->now.head, o));
    }
out:
    return err;
}

static enum err owe_all(struct looking *k, struct rebuilt *c)
{
    enum err err = ERR_OK;

    c->owed = arena_alloc(k->arena, k->now.n_members * sizeof *c->owed + 1);
    for (; c->n_owed < k->now.n_members; c->n_owed++)
        TRY(owe_member(k, &k->now.members[c->n_owed], &c->owed[c->n_owed]));
out:
    return err;
}

/* --- the tables --- */

static void take_members(const struct looking *k, struct rebuilt *c)
{
    c->n_members = k->now.n_members;
    c->members = arena_alloc(k->arena, c->n_members * sizeof *c->members + 1);
    for (size_t i = 0; i < c->n_members; i++) {
        const struct member *m = &k->now.members[i];

        c->members[i] = (struct member_row){.user = m->user,
                                            .role = m->role,
                                            .joined_seq = m->joined_seq,
                                            .left_seq = m->is_in ? 0 : m->ranges[m->n_ranges - 1].to,
                                            .joined_at = m->joined_ts};
    }
}

/* Who made the conversation, with whom, and when. Where the entry is forgotten that said so: the one who has been in it
 * for longest (of a pair the lower id; those whom a group's creator brought came with it). */
static enum err take_origin(struct looking *k, struct rebuilt *c)
{
    const struct authority *a = &k->now;
    const struct member *first = NULL;
    struct entry e;
    enum err err = ERR_OK;

    if (a->first_seq == 1) {
        TRY(convlog_entry(k->store, k->shard, &a->id, 1, k->need, k->arena, &e));
        c->a = e.from;
        c->b = e.peer;
        c->created = e.ts;
        return ERR_OK;
    }
    for (size_t i = 0; i < a->n_members; i++)
        if (!first || a->members[i].joined_seq < first->joined_seq)
            first = &a->members[i];
    c->a = c->kind == CONV_GROUP && first ? first->user : a->pair[0];
    c->b = c->kind == CONV_GROUP ? 0 : a->pair[1];
    c->created = first ? first->joined_ts : a->last_ts;
out:
    return err;
}

static enum err take_tables(struct looking *k, struct rebuilt *c)
{
    const struct authority *a = &k->now;
    uint64_t low = a->first_seq > 1 ? a->first_seq - 1 : 1;
    struct seen changed;
    enum err err;

    TRY(take_origin(k, c));
    if (c->kind != CONV_GROUP)
        goto out;
    TRY(find(k, CHANGES, a->head - a->ordinal, low, a->head, &changed));
    c->group = (struct group_row){.seq = changed.seq,
                                  .title = a->settings.title,
                                  .description = a->settings.description,
                                  .picture = a->settings.picture,
                                  .announce = a->announce,
                                  .locked = a->locked,
                                  .history_all = a->history_all,
                                  .creator = c->a,
                                  .created = c->created};
    take_members(k, c);
out:
    return err;
}

/* --- a page --- */

static enum err read_conv(struct paging *p, struct looking *k, struct rebuilt *c)
{
    enum err err = ERR_OK;

    TRY(convlog_load(k->store, k->shard, &c->conv, k->need, k->arena, &k->now));
    if (k->now.head == 0)
        goto out; /* a block of somebody who never wrote */
    c->kind = k->now.kind;
    if (p->a->what & REBUILD_TABLES)
        TRY(take_tables(k, c));
    if (p->a->what & REBUILD_OWED)
        TRY(owe_all(k, c));
out:
    return err;
}

static void *dup(struct arena *to, const void *v, size_t n, size_t size)
{
    return n ? memcpy(arena_alloc(to, n * size), v, n * size) : NULL;
}

/* Only what was read as a whole goes into the request's memory, however often it was begun. */
static void keep(struct rebuilt *c, struct arena *to)
{
    c->group.title = arena_dup(to, c->group.title);
    c->group.description = arena_dup(to, c->group.description);
    c->group.picture = arena_dup(to, c->group.picture);
    c->members = dup(to, c->members, c->n_members, sizeof *c->members);
    c->owed = dup(to, c->owed, c->n_owed, sizeof *c->owed);
}

static enum err read_next(struct paging *p, struct lsm_need *need)
{
    struct inner_rebuild *a = p->a;
    const struct conv_id *after = a->n ? &a->v[a->n - 1].conv : a->has_after ? &a->after : NULL;
    struct arena arena = {0};
    struct looking k = {.store = reactor_store(p->r, a->shard), .need = need, .arena = &arena, .shard = a->shard};
    struct convlog_state next;
    struct rebuilt c = {0};
    enum err err;

    TRY(convlog_next(k.store, a->shard, after, false, need, &next));
    c.conv = next.id;
    err = read_conv(p, &k, &c);
    TRY(err == ERR_NOT_FOUND ? ERR_CORRUPT : err); /* only convlog_next says that there are no more */
    if (a->what & REBUILD_OWED)
        shards_unsettle(reactor_shards(p->r), &c.conv);
    keep(&c, &p->q->arena);
    a->v[a->n++] = c;
    p->rows += 1 + c.n_members + c.n_owed;
out:
    arena_deinit(&arena);
    return err;
}

static enum err read_all(struct paging *p, struct lsm_need *need)
{
    struct inner_rebuild *a = p->a;
    enum err err = ERR_OK;

    a->applied = shards_applied(reactor_shards(p->r));
    while (err == ERR_OK && a->n < REBUILD_PAGE_CONVS && p->rows < REBUILD_PAGE_ROWS)
        err = read_next(p, need);
    a->is_through = err == ERR_NOT_FOUND;
    return a->is_through || (err == ERR_AGAIN && a->n) ? ERR_OK : err;
}

static enum err read_page(struct reactor *r, void *arg, struct lsm_need *need)
{
    struct paging *p = arg;
    enum err err = ERR_OK;

    p->a->is_owner = atomic_load(&reactor_world(r)->owner_of[p->a->shard]) == port_index(reactor_port(r)) &&
                     reactor_store(r, p->a->shard);
    if (p->a->is_owner && !shards_are_between(reactor_shards(r))) { /* states may lack: it is asked again */
        reactor_broken(r, p->q, "rebuild", ERR_LIMIT);
        return ERR_OK;
    }
    if (p->a->is_owner)
        err = read_all(p, need);
    if (err == ERR_AGAIN)
        return err;
    if (err == ERR_OK)
        reactor_ok(r, p->q);
    else
        reactor_broken(r, p->q, "rebuild", err);
    return ERR_OK;
}

void inner_rebuild(void *service, struct request *q)
{
    struct reactor *r = service;
    struct inner_rebuild *a = q->result;
    struct paging *p;

    if (a->is_beginning) {
        notify_restart(reactor_notify(r), shards_applied(reactor_shards(r)));
        reactor_ok(r, q);
        return;
    }
    p = arena_alloc(&q->arena, sizeof *p);
    *p = (struct paging){.r = r, .q = q, .a = a};
    a->v = arena_alloc(&q->arena, REBUILD_PAGE_CONVS * sizeof *a->v);
    reactor_read(r, read_page, p);
}
