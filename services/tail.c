/* A tail holds [first, first + n) of its conversation, one behind the other in one buffer; at[i] is where each begins,
 * at[n] the end. Whoever reads while more was committed than it holds reads what is missing and puts it behind; the
 * oldest make room. */
#include "services/tail.h"
#include "proto/metrics.h"
#include "services/shard_state.h"

struct tail {
    struct link used; /* in tails.recent, the latest first */
    struct conv *conv;
    uint64_t first;
    size_t n;
    uint32_t at[TAIL_ENTRIES + 1];
    struct buf bytes;
};

static size_t weight(const struct tail *t) { return sizeof *t + t->bytes.cap; }

static uint64_t end_of(const struct tail *t) { return t->first + t->n; }

static struct str entry_at(const struct tail *t, uint64_t seq)
{
    const uint32_t *at = &t->at[seq - t->first];

    return str_of(t->bytes.p + at[0], at[1] - at[0]);
}

static bool holds(const struct tail *t, uint64_t seq) { return t && seq >= t->first && seq < end_of(t); }

void tails_init(struct tails *all, uint64_t bytes_max)
{
    list_init(&all->recent);
    all->bytes_max = bytes_max;
}

void tail_drop(struct tails *all, struct conv *c)
{
    struct tail *t = c->tail;

    if (!t)
        return;
    c->tail = NULL;
    list_remove(&t->used);
    all->bytes -= weight(t);
    buf_deinit(&t->bytes);
    mem_free(t);
}

static void use(struct tails *all, struct tail *t)
{
    list_remove(&t->used);
    list_push_front(&all->recent, &t->used);
}

static void drop_oldest(struct tail *t, size_t n)
{
    uint32_t gone = t->at[n];

    memmove(t->bytes.p, t->bytes.p + gone, t->bytes.len - gone);
    t->bytes.len -= gone;
    t->first += n;
    t->n -= n;
    for (size_t i = 0; i <= t->n; i++)
        t->at[i] = t->at[i + n] - gone;
}

/* How many of those that it holds must go, so that the new ones have room; more than it holds: they never have. */
static size_t in_the_way(const struct tail *t, const struct entry_bytes *more)
{
    size_t n = t->n + more->n > TAIL_ENTRIES ? t->n + more->n - TAIL_ENTRIES : 0;

    while (n <= t->n && t->at[t->n] - t->at[n] + more->bytes > TAIL_BYTES)
        n++;
    return n;
}

/* False: it has no room for them, whatever goes. They follow what it holds. */
static bool append(struct tails *all, struct tail *t, const struct entry_bytes *more)
{
    size_t gone = in_the_way(t, more), before = weight(t);

    if (gone > t->n)
        return false;
    if (gone)
        drop_oldest(t, gone);
    buf_reserve(&t->bytes, more->bytes);
    for (size_t i = 0; i < more->n; i++) {
        buf_str(&t->bytes, more->v[i]);
        t->at[++t->n] = (uint32_t)t->bytes.len;
    }
    all->bytes += weight(t) - before;
    return true;
}

static void make_room(struct tails *all, const struct tail *but)
{
    while (all->bytes > all->bytes_max) {
        struct tail *t = list_last(&all->recent, struct tail, used);

        if (t == but)
            return;
        tail_drop(all, t->conv);
    }
}

/* Keeps what was read up to the head; at the first time only that it was. */
static void keep(struct tails *all, struct conv *c, const struct entry_bytes *read)
{
    bool is_second = c->end_was_read;
    struct tail *t;

    c->end_was_read = true;
    if (!is_second || read->n > TAIL_ENTRIES || read->bytes > TAIL_BYTES ||
        sizeof *t + 2 * read->bytes > all->bytes_max)
        return;
    tail_drop(all, c);
    t = c->tail = mem_new(struct tail);
    t->conv = c;
    t->first = read->seq;
    list_push_front(&all->recent, &t->used);
    all->bytes += weight(t);
    append(all, t, read); /* it fits, as was just asked */
    make_room(all, t);
}

/* Entries [first, first + n) out of it, until max_bytes from the end that is wanted. */
static void give(const struct tail *t, uint64_t first, size_t n, size_t max_bytes, bool newest_first,
                 struct arena *arena, struct entry_bytes *out)
{
    struct str *v = arena_alloc(arena, n * sizeof *v);
    size_t taken = 0, bytes = 0;

    for (; taken < n; taken++) {
        size_t i = newest_first ? n - 1 - taken : taken;

        v[i] = entry_at(t, first + i);
        if (taken && bytes + v[i].len > max_bytes)
            break;
        bytes += v[i].len;
    }
    *out = (struct entry_bytes){v, taken, bytes, first, false};
    if (newest_first) {
        out->v += n - taken;
        out->seq += n - taken;
    }
}

/* What was committed since it was read last. */
static enum err catch_up(const struct reactor *r, struct conv *c, struct lsm_need *need, struct arena *arena)
{
    struct tails *all = &reactor_shards(r)->tails;
    struct tail *t = c->tail;
    uint64_t head = c->now.head, from = end_of(t);
    struct entry_bytes more;
    enum err err;

    err = convlog_read_bytes(conv_store(r, c), c->shard, &c->id, from, head, TAIL_ENTRIES, TAIL_BYTES, false, need,
                             arena, &more);
    if (err != ERR_OK)
        return err;
    if (more.more || !append(all, t, &more))
        tail_drop(all, c);
    else
        make_room(all, t);
    return ERR_OK;
}

enum err conv_read(const struct reactor *r, struct conv *c, uint64_t from, uint64_t to, size_t max_entries,
                   size_t max_bytes, bool newest_first, struct lsm_need *need, struct arena *arena,
                   struct entry_bytes *out)
{
    struct tails *all = &reactor_shards(r)->tails;
    uint64_t there = from <= to ? to - from + 1 : 0;
    size_t n = there < max_entries ? (size_t)there : max_entries;
    uint64_t first = newest_first ? to - n + 1 : from;
    bool is_end = n > 0 && n <= TAIL_ENTRIES && first + n - 1 == c->now.head;
    enum err err = ERR_OK;

    if (n > 0 && c->tail && first >= c->tail->first && first + n > end_of(c->tail))
        TRY(catch_up(r, c, need, arena));
    if (n > 0 && holds(c->tail, first) && holds(c->tail, first + n - 1)) {
        give(c->tail, first, n, max_bytes, newest_first, arena, out);
        out->more = out->n < there;
        use(all, c->tail);
        metric_add(reactor_metrics(r), METRIC_TAILS_USED, 1);
        return ERR_OK;
    }
    TRY(convlog_read_bytes(conv_store(r, c), c->shard, &c->id, from, to, max_entries, max_bytes, newest_first, need,
                           arena, out));
    if (is_end && out->n == n)
        keep(all, c, out);
out:
    return err;
}

enum err conv_entry(const struct reactor *r, const struct conv *c, uint64_t seq, struct lsm_need *need,
                    struct arena *arena, struct entry *out)
{
    if (!holds(c->tail, seq))
        return convlog_entry(conv_store(r, c), c->shard, &c->id, seq, need, arena, out);
    return convlog_decode(arena_dup(arena, entry_at(c->tail, seq)), seq, arena, out);
}
