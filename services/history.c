/* history: a page of a conversation's entries, inside what the viewer may see.
 *
 * The page is read as a whole: while a block of the store is missing nothing is answered, and when it is there the
 * reading begins anew, so a page is always of one moment. Visible ranges are walked in the direction asked for; each
 * gives a run of entries, and the runs stand in ascending order in the answer. */
#include "proto/jsonw.h"
#include "services/shard.h"

enum { LIMIT_STANDARD = 50, PAGE_BYTES = 512 << 10, RUNS_MAX = 64, PRINT_FIXED = 320, PRINT_MEMBER = 48, ESCAPED = 6 };

struct page {
    struct request *q;
    struct conv *c;
    uint64_t from, to; /* both included */
    size_t limit;
    bool newest_first;
};

struct pages {
    struct entry_list runs[RUNS_MAX]; /* in the order read */
    size_t n, entries, bytes;
    bool more;
};

/* At least what entry_print will write. */
static size_t printed_size(const struct entry *e)
{
    return PRINT_FIXED + e->cid.len + e->content.len + e->n_mentions * PRINT_MEMBER + e->n_members * PRINT_MEMBER +
           ESCAPED * (e->settings.title.len + e->settings.description.len + e->settings.picture.len);
}

/* Cuts a run to what still fits: the entries nearest to where the reading began. */
static void take_run(const struct page *p, struct pages *out, struct entry_list *run)
{
    size_t fit = 0;

    for (; fit < run->n; fit++) {
        size_t size = printed_size(&run->v[p->newest_first ? run->n - 1 - fit : fit]);

        if (out->entries + fit > 0 && out->bytes + size > PAGE_BYTES)
            break;
        out->bytes += size;
    }
    if (fit < run->n) {
        out->more = true;
        run->v += p->newest_first ? run->n - fit : 0;
        run->n = fit;
    }
    out->more |= run->more;
    out->entries += run->n;
    out->runs[out->n++] = *run;
}

static bool clip(const struct page *p, const struct range *range, uint64_t *from, uint64_t *to)
{
    uint64_t first = conv_committed(p->c)->first_seq; /* it may have risen while the page was read */

    *from = range->from > p->from ? range->from : p->from;
    *from = *from > first ? *from : first;
    *to = range->to && range->to < p->to ? range->to : p->to;
    return *from <= *to;
}

static enum err read_runs(const struct reactor *r, const struct page *p, const struct member *m, struct lsm_need *need,
                          struct arena *arena, struct pages *out)
{
    for (size_t i = 0; i < m->n_ranges && !out->more; i++) {
        const struct range *range = &m->ranges[p->newest_first ? m->n_ranges - 1 - i : i];
        struct entry_list run = {0};
        uint64_t from, to;
        enum err err;

        if (!clip(p, range, &from, &to))
            continue;
        if (out->entries == p->limit || out->n == RUNS_MAX || out->bytes >= PAGE_BYTES) {
            out->more = true;
            break;
        }
        err = convlog_read(conv_store(r, p->c), conv_shard(p->c), conv_id(p->c), from, to, p->limit - out->entries,
                           PAGE_BYTES, p->newest_first, need, arena, &run);
        if (err != ERR_OK)
            return err;
        take_run(p, out, &run);
    }
    return ERR_OK;
}

static void print_page(const struct page *p, const struct pages *pages, struct buf *out)
{
    buf_reserve(out, pages->bytes + 32);
    jsonw_open(out, '{');
    jsonw_key(out, "entries");
    jsonw_open(out, '[');
    for (size_t i = 0; i < pages->n; i++) {
        const struct entry_list *run = &pages->runs[p->newest_first ? pages->n - 1 - i : i];

        for (size_t j = 0; j < run->n; j++) {
            if (out->p[out->len - 1] != '[')
                buf_char(out, ',');
            entry_print(&run->v[j], out);
        }
    }
    jsonw_close(out, ']');
    jsonw_key_bool(out, "more", pages->more);
    jsonw_close(out, '}');
}

static enum err page_step(struct reactor *r, void *arg, struct lsm_need *need)
{
    struct page *p = arg;
    struct conv *c = p->c;
    const struct member *m = authority_member(conv_committed(c), p->q->actor.user);
    struct pages pages = {0};
    struct arena arena = {0};
    enum err err = read_runs(r, p, m, need, &arena, &pages);

    if (err == ERR_OK) {
        print_page(p, &pages, &p->q->out);
        reactor_ok(r, p->q);
    } else if (err != ERR_AGAIN) {
        reactor_broken(r, p->q, "history", err);
    }
    arena_deinit(&arena);
    if (err != ERR_AGAIN)
        conv_unpin(r, c);
    return err;
}

static void history_start(struct reactor *r, struct conv *c, struct request *q)
{
    const struct args_history *a = &q->args->history;
    uint64_t head = conv_committed(c)->head;
    struct page *p;

    if (!shard_reader(r, c, q))
        return;
    p = arena_alloc(&q->arena, sizeof *p);
    p->q = q;
    p->c = c;
    p->from = a->has_after ? a->after + 1 : 1;
    p->to = a->has_before && a->before <= head ? a->before - (a->before > 0) : head;
    p->limit = a->has_limit ? (size_t)a->limit : LIMIT_STANDARD;
    p->newest_first = !a->has_after;
    conv_pin(c);
    reactor_read(r, page_step, p);
}

void op_history(void *service, struct request *q) { shard_read(service, &q->args->history.conv, q, history_start); }
