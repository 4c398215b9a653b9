/* Reading the message store. Every read is a few bounded scans or gets; when one answers AGAIN the whole read is
 * repeated after the missing blocks are loaded, and what it had put into the arena meanwhile is only memory. */
#include "storage/authority.h"
#include "storage/convlog_codec.h"

/* ---- an authority ---- */

struct loading {
    struct authority a;
    struct arena *arena;
    bool has_state;
    enum err err;
};

static enum err load_cursors(struct loading *g, user_id u, struct str value)
{
    struct member *m = authority_find(&g->a, u);

    return m ? cursors_decode(value, g->arena, m) : ERR_CORRUPT;
}

/* Keys come in the order state, settings, members (ascending by user, as they are kept), cursors. */
static enum err load_value(struct loading *g, struct str key, struct str value)
{
    enum what what;
    uint64_t user;

    if (!key_parse(key, &what, &user) || (what == WHAT_STATE) == g->has_state)
        return ERR_CORRUPT;
    switch (what) {
    case WHAT_STATE:
        g->has_state = true;
        return state_decode(value, g->arena, &g->a);
    case WHAT_SETTINGS:
        return settings_decode(value, g->arena, &g->a);
    case WHAT_MEMBER:
        return member_decode(value, g->arena, authority_append(&g->a, user, g->arena));
    case WHAT_CURSORS:
        return load_cursors(g, user, value);
    case WHAT_ENTRY:
        break;
    }
    return ERR_CORRUPT;
}

static bool load_each(void *arg, struct str key, struct str value)
{
    struct loading *g = arg;

    g->err = load_value(g, key, value);
    return g->err == ERR_OK;
}

enum err convlog_load(struct lsm *l, uint16_t shard, const struct conv_id *c, struct lsm_need *need,
                      struct arena *arena, struct authority *out)
{
    struct key from = key_of(shard, c, WHAT_STATE), to = key_of(shard, c, WHAT_ENTRY);
    struct loading g = {.a = {.id = *c}, .arena = arena};
    enum err err;

    TRY(lsm_scan(l, key_str(&from), key_str(&to), 0, need, load_each, &g));
    TRY(g.err);
    TRY(g.has_state ? ERR_OK : ERR_NOT_FOUND);
    *out = g.a;
out:
    return err;
}

/* ---- single values ---- */

enum err convlog_find_cid(struct lsm *l, uint16_t shard, const uint8_t cid_hash[16], struct lsm_need *need,
                          uint64_t *seq, uint64_t *fingerprint)
{
    struct key key = key_of_cid(shard, cid_hash);
    struct buf value = {0};
    enum err err;

    TRY(lsm_get(l, key_str(&key), need, &value));
    TRY(cid_decode(buf_get(&value), seq, fingerprint));
out:
    buf_deinit(&value);
    return err;
}

enum err convlog_forgotten_ts(struct lsm *l, uint16_t shard, const uint8_t cid_hash[16], struct lsm_need *need,
                              int64_t *ts)
{
    struct key key = key_of_cid(shard, cid_hash);
    struct buf value = {0};
    enum err err;

    TRY(lsm_get(l, key_str(&key), need, &value));
    TRY(cid_decode_ts(buf_get(&value), ts));
out:
    buf_deinit(&value);
    return err;
}

/* The entry must be the one that its key says. */
static enum err decode_entry(struct str value, uint64_t seq, struct arena *arena, struct entry *out)
{
    struct record r;
    enum err err;

    TRY(record_decode(RECORD_ENTRY, arena_dup(arena, value), arena, &r));
    TRY(r.entry.seq == seq ? ERR_OK : ERR_CORRUPT);
    *out = r.entry;
out:
    return err;
}

enum err convlog_entry(struct lsm *l, uint16_t shard, const struct conv_id *c, uint64_t seq, struct lsm_need *need,
                       struct arena *arena, struct entry *out)
{
    struct key key = key_of_number(shard, c, WHAT_ENTRY, seq);
    struct buf value = {0};
    enum err err;

    TRY(lsm_get(l, key_str(&key), need, &value));
    TRY(decode_entry(buf_get(&value), seq, arena, out));
out:
    buf_deinit(&value);
    return err;
}

/* ---- a page ----
 *
 * Seqs have no gaps, so both ends of a page are known before it is read, but for its bytes. It is read in stretches,
 * from the end that is wanted: the first is short, the others as long as the bytes left allow by the average so far. So
 * a page of large entries does not read many times what it gives. */
enum { FIRST_STRETCH = 50 }; /* what a page is by default: one scan */

struct reading {
    struct arena *arena;
    struct entry *v; /* where the stretch's first entry goes */
    size_t *sizes;   /* beside it: stored bytes */
    uint64_t seq;    /* of the stretch's first */
    size_t n;        /* so far in this stretch */
    enum err err;
};

static bool read_each(void *arg, struct str key, struct str value)
{
    struct reading *g = arg;
    enum what what;
    uint64_t seq;

    if (!key_parse(key, &what, &seq) || seq != g->seq + g->n)
        g->err = ERR_CORRUPT;
    else
        g->err = decode_entry(value, seq, g->arena, &g->v[g->n]);
    if (g->err != ERR_OK)
        return false;
    g->sizes[g->n++] = value.len;
    return true;
}

struct page {
    struct lsm *lsm;
    uint16_t shard;
    const struct conv_id *conv;
    struct lsm_need *need;
    struct arena *arena;
    struct entry *v;
    size_t *sizes;
    uint64_t base; /* the seq of v[0] */
    size_t max, n; /* entries: room, taken */
    size_t max_bytes, bytes;
    bool newest_first;
};

static enum err read_stretch(struct page *p, size_t at, size_t n)
{
    uint64_t first = p->base + at;
    struct key from = key_of_number(p->shard, p->conv, WHAT_ENTRY, first);
    struct key to = key_of_number(p->shard, p->conv, WHAT_ENTRY, first + n);
    struct reading g = {.arena = p->arena, .v = p->v + at, .sizes = p->sizes + at, .seq = first};
    enum err err;

    TRY(lsm_scan_run(p->lsm, key_str(&from), key_str(&to), n, p->need, read_each, &g));
    TRY(g.err);
    TRY(g.n == n ? ERR_OK : ERR_CORRUPT);
out:
    return err;
}

/* Takes what was read while there are bytes left; false when the page is full. */
static bool take_stretch(struct page *p, size_t at, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t size = p->sizes[p->newest_first ? at + n - 1 - i : at + i];
        if (p->n && p->bytes + size > p->max_bytes)
            return false;
        p->bytes += size;
        p->n++;
    }
    return p->n < p->max && p->bytes < p->max_bytes;
}

static size_t next_stretch(const struct page *p)
{
    size_t left = p->max - p->n, n = FIRST_STRETCH;

    if (p->n)
        n = (p->max_bytes - p->bytes) / (p->bytes / p->n + 1) + 1;
    return n < left ? n : left;
}

enum err convlog_read(struct lsm *l, uint16_t shard, const struct conv_id *c, uint64_t from, uint64_t to,
                      size_t max_entries, size_t max_bytes, bool newest_first, struct lsm_need *need,
                      struct arena *arena, struct entry_list *out)
{
    uint64_t there = from <= to && from > 0 ? to - from + 1 : 0;
    size_t max = there < max_entries ? (size_t)there : max_entries;
    struct page p = {.lsm = l, .shard = shard, .conv = c, .need = need, .arena = arena};
    enum err err = ERR_OK;
    bool more = max > 0;

    p.base = newest_first ? to - max + 1 : from;
    p.max = max;
    p.max_bytes = max_bytes;
    p.newest_first = newest_first;
    p.v = arena_alloc(arena, max * sizeof *p.v);
    p.sizes = arena_alloc(arena, max * sizeof *p.sizes);
    while (more) {
        size_t n = next_stretch(&p), at = newest_first ? p.max - p.n - n : p.n;
        TRY(read_stretch(&p, at, n));
        more = take_stretch(&p, at, n);
    }
    *out = (struct entry_list){newest_first ? p.v + (p.max - p.n) : p.v, p.n, p.n < there};
out:
    return err;
}
