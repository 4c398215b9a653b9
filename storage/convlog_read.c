/* Reading the message store. Every read is a few bounded scans or gets; when one answers AGAIN the whole read is
 * repeated after the missing blocks are loaded, and what it had put into the arena meanwhile is only memory. */
#include "storage/authority.h"
#include "storage/convlog_codec.h"

/* ---- an authority ---- */

struct loading {
    struct authority a;
    struct arena *arena;
    enum err err;
};

static enum err load_cursors(struct loading *g, user_id u, struct str value)
{
    struct member *m = authority_find(&g->a, u);

    return m ? cursors_decode(value, g->arena, m) : ERR_CORRUPT;
}

/* Keys come in the order settings, members (ascending by user, as they are kept), cursors. */
static enum err load_value(struct loading *g, struct str key, struct str value)
{
    enum what what;
    uint64_t user;

    if (!key_parse(key, &what, &user))
        return ERR_CORRUPT;
    switch (what) {
    case WHAT_SETTINGS:
        return settings_decode(value, g->arena, &g->a);
    case WHAT_MEMBER:
        return member_decode(value, g->arena, authority_append(&g->a, user, g->arena));
    case WHAT_CURSORS:
        return load_cursors(g, user, value);
    case WHAT_STATE:
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

static enum err load_state(struct lsm *l, uint16_t shard, const struct conv_id *c, struct lsm_need *need,
                           struct loading *g)
{
    struct key key = key_of(shard, c, WHAT_STATE);
    struct buf value = {0};
    enum err err;

    TRY(lsm_get(l, key_str(&key), need, &value));
    TRY(state_decode(buf_get(&value), g->arena, &g->a));
out:
    buf_deinit(&value);
    return err;
}

/* The state is put with every message, so most tables that know the conversation have one: the newest is asked for by
 * itself. A pair has nothing else; of a group the rest is in whichever tables it was put last. */
enum err convlog_load(struct lsm *l, uint16_t shard, const struct conv_id *c, struct lsm_need *need,
                      struct arena *arena, struct authority *out)
{
    struct key from = key_of(shard, c, WHAT_SETTINGS), to = key_of(shard, c, WHAT_ENTRY);
    struct loading g = {.a = {.id = *c}, .arena = arena};
    enum err err;

    TRY(load_state(l, shard, c, need, &g));
    if (g.a.kind == CONV_GROUP)
        TRY(lsm_scan(l, key_str(&from), key_str(&to), 0, need, load_each, &g));
    TRY(g.err);
    *out = g.a;
out:
    return err;
}

/* ---- single values ---- */

enum err convlog_find_cid_near(struct lsm *l, uint16_t shard, const uint8_t cid_hash[16], struct lsm_need *need,
                               struct lsm_near *near, uint64_t *seq, uint64_t *fingerprint)
{
    struct key key = key_of_cid(shard, cid_hash);
    struct buf value = {0};
    enum err err;

    TRY(lsm_get_near(l, key_str(&key), need, near, &value));
    TRY(cid_decode(buf_get(&value), seq, fingerprint));
out:
    buf_deinit(&value);
    return err;
}

enum err convlog_find_cid(struct lsm *l, uint16_t shard, const uint8_t cid_hash[16], struct lsm_need *need,
                          uint64_t *seq, uint64_t *fingerprint)
{
    struct lsm_near near = {0};

    return convlog_find_cid_near(l, shard, cid_hash, need, &near, seq, fingerprint);
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
enum err convlog_decode(struct str bytes, uint64_t seq, struct arena *arena, struct entry *out)
{
    enum err err = entry_from_bytes(bytes, arena, out);

    return err == ERR_OK && out->seq != seq ? ERR_CORRUPT : err;
}

enum err convlog_entry(struct lsm *l, uint16_t shard, const struct conv_id *c, uint64_t seq, struct lsm_need *need,
                       struct arena *arena, struct entry *out)
{
    struct key key = key_of_number(shard, c, WHAT_ENTRY, seq);
    struct buf value = {0};
    struct entry e;
    enum err err;

    TRY(lsm_get(l, key_str(&key), need, &value));
    TRY(convlog_decode(arena_dup(arena, buf_get(&value)), seq, arena, &e));
    *out = e;
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
    struct str *v; /* where the stretch's first entry goes */
    uint64_t seq;  /* of the stretch's first */
    size_t n;      /* so far in this stretch */
    enum err err;
};

static bool read_each(void *arg, struct str key, struct str value)
{
    struct reading *g = arg;
    enum what what;
    uint64_t seq;

    if (!key_parse(key, &what, &seq) || seq != g->seq + g->n) {
        g->err = ERR_CORRUPT;
        return false;
    }
    g->v[g->n++] = arena_dup(g->arena, value);
    return true;
}

struct page {
    struct lsm *lsm;
    uint16_t shard;
    const struct conv_id *conv;
    struct lsm_need *need;
    struct arena *arena;
    struct str *v;
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
    struct reading g = {.arena = p->arena, .v = p->v + at, .seq = first};
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
        size_t size = p->v[p->newest_first ? at + n - 1 - i : at + i].len;
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

enum err convlog_read_bytes(struct lsm *l, uint16_t shard, const struct conv_id *c, uint64_t from, uint64_t to,
                            size_t max_entries, size_t max_bytes, bool newest_first, struct lsm_need *need,
                            struct arena *arena, struct entry_bytes *out)
{
    uint64_t there = from <= to && from > 0 ? to - from + 1 : 0;
    size_t max = there < max_entries ? (size_t)there : max_entries, skipped;
    struct page p = {.lsm = l, .shard = shard, .conv = c, .need = need, .arena = arena};
    enum err err = ERR_OK;
    bool more = max > 0;

    p.base = newest_first ? to - max + 1 : from;
    p.max = max;
    p.max_bytes = max_bytes;
    p.newest_first = newest_first;
    p.v = arena_alloc(arena, max * sizeof *p.v);
    while (more) {
        size_t n = next_stretch(&p), at = newest_first ? p.max - p.n - n : p.n;
        TRY(read_stretch(&p, at, n));
        more = take_stretch(&p, at, n);
    }
    skipped = newest_first ? p.max - p.n : 0;
    *out = (struct entry_bytes){p.v + skipped, p.n, p.bytes, p.base + skipped, p.n < there};
out:
    return err;
}

enum err convlog_read(struct lsm *l, uint16_t shard, const struct conv_id *c, uint64_t from, uint64_t to,
                      size_t max_entries, size_t max_bytes, bool newest_first, struct lsm_need *need,
                      struct arena *arena, struct entry_list *out)
{
    struct entry_bytes all;
    struct entry *v;
    enum err err;

    TRY(convlog_read_bytes(l, shard, c, from, to, max_entries, max_bytes, newest_first, need, arena, &all));
    v = arena_alloc(arena, all.n * sizeof *v);
    for (size_t i = 0; i < all.n; i++)
        TRY(convlog_decode(all.v[i], all.seq + i, arena, &v[i]));
    *out = (struct entry_list){v, all.n, all.more};
out:
    return err;
}
