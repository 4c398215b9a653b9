/* history: a page of a conversation's entries, inside what the viewer may see.
 *
 * The page is read as a whole: while a block of the store is missing nothing is answered, and when it is there the
 * reading begins anew, so a page is always of one moment. Visible ranges are walked in the direction asked for; each
 * gives a run of entries, and the runs stand in ascending order in the answer. */
#include "proto/jsonw.h"
#include "services/expiry.h"
#include "services/tail.h"

enum {
    LIMIT_STANDARD = 50,
    PAGE_BYTES = 512 << 10,
    AROUND = 64, /* of these: what is not entries */
    RUNS_MAX = 64,
    PRINTED_MORE = 200, /* than is stored, about */
};

struct page {
    struct request *q;
    struct conv *c;
    uint64_t from, to; /* both included */
    size_t limit;
    bool newest_first;
};

struct pages {
    struct entry_bytes runs[RUNS_MAX]; /* in the order read */
    size_t n, entries, bytes;
    bool more;
};

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
        struct entry_bytes run = {0};
        uint64_t from, to;
        enum err err;

        if (!clip(p, range, &from, &to))
            continue;
        if (out->entries == p->limit || out->n == RUNS_MAX || out->bytes >= PAGE_BYTES) {
            out->more = true;
            break;
        }
        err = conv_read(r, p->c, from, to, p->limit - out->entries, PAGE_BYTES, p->newest_first, need, arena, &run);
        if (err != ERR_OK)
            return err;
        for (size_t j = 0; m->n_ranges > 1 && j < run.n; j++) /* the next read may move what the tail gave (tail.h) */
            run.v[j] = arena_dup(arena, run.v[j]);
        out->more |= run.more;
        out->entries += run.n;
        out->bytes += run.bytes;
        out->runs[out->n++] = run;
    }
    return ERR_OK;
}

/* Where each entry's text begins is kept, for cut. */
static enum err print_runs(const struct reactor *r, const struct page *p, const struct pages *pages,
                           struct arena *arena, size_t *starts, struct buf *out)
{
    struct entry_names names = {0};
    struct entry e;

    for (size_t i = 0; i < pages->n; i++) {
        const struct entry_bytes *run = &pages->runs[p->newest_first ? pages->n - 1 - i : i];

        for (size_t j = 0; j < run->n; j++) {
            enum err err = convlog_decode(run->v[j], run->seq + j, arena, &e);

            if (err != ERR_OK)
                return err;
            expiry_hide(r, &e, 1);
            *starts++ = out->len;
            entry_print_with(&names, &e, out);
            buf_char(out, ',');
        }
    }
    *starts = out->len;
    return ERR_OK;
}

/* What is stored of a page has room; should it not when it is printed, those nearest to where the reading began stay.
 * True: some went. */
static bool cut(const struct page *p, const size_t *starts, size_t n, struct buf *out)
{
    size_t first = 0, end = n;

    while (end - first > 1 && starts[end] - starts[first] > PAGE_BYTES - AROUND) {
        first += p->newest_first;
        end -= !p->newest_first;
    }
    if (first)
        memmove(out->p + starts[0], out->p + starts[first], starts[end] - starts[first]);
    out->len = starts[0] + (starts[end] - starts[first]);
    return end - first < n;
}

static enum err print_page(const struct reactor *r, const struct page *p, struct pages *pages, struct arena *arena,
                           struct buf *out)
{
    size_t *starts = arena_alloc(arena, (pages->entries + 1) * sizeof *starts);
    enum err err;

    buf_reserve(out, pages->bytes + pages->entries * PRINTED_MORE + 512);
    jsonw_open(out, '{');
    jsonw_key(out, "entries");
    jsonw_open(out, '[');
    TRY(print_runs(r, p, pages, arena, starts, out));
    pages->more |= cut(p, starts, pages->entries, out);
    out->len -= pages->entries > 0; /* the last comma */
    jsonw_close(out, ']');
    jsonw_key_bool(out, "more", pages->more);
    jsonw_close(out, '}');
out:
    return err;
}

static enum err page_step(struct reactor *r, void *arg, struct lsm_need *need)
{
    struct page *p = arg;
    struct conv *c = p->c;
    const struct member *m = authority_member(conv_committed(c), p->q->actor.user);
    struct pages pages = {0};
    struct arena arena = {0};
    enum err err;

    TRY(read_runs(r, p, m, need, &arena, &pages));
    TRY(print_page(r, p, &pages, &arena, &p->q->out));
    reactor_ok(r, p->q);
out:
    if (err != ERR_OK && err != ERR_AGAIN)
        reactor_broken(r, p->q, "history", err);
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
