/* Page after page, one asked when the one before is answered: so an operator's erasing of much leaves room for all
 * else, and what it did so far is done when it is cancelled. */
#include "services/directory_state.h"
#include "services/erase.h"
#include "services/inner.h"
#include "storage/lsm.h"

enum { PROGRESS_MS = 300 };

struct erase_run {
    struct directory *d;
    struct erase_conf conf;
    struct erase_range range;
    uint64_t erased, said_ms;
    int64_t since_ms;
    unsigned pending;
    bool is_cancelled, has_failed;
};

static void next_page(struct erase_run *e);

static void end(struct erase_run *e, enum code code, const char *why, uint64_t n)
{
    if (!e->is_cancelled)
        e->conf.done(e->conf.arg, code, why, n);
    mem_free(e);
}

static void say_progress(struct erase_run *e, const struct inner_erase *p)
{
    uint64_t now = loop_now_ms(e->d->loop);

    if (!e->conf.progress || e->is_cancelled || now < e->said_ms + PROGRESS_MS)
        return;
    e->said_ms = now;
    e->conf.progress(e->conf.arg, p->next - 1, p->to, e->erased);
}

static void on_page(struct request *q)
{
    struct erase_run *e = q->asker;
    const struct inner_erase *p = q->result;

    e->erased += p->erased;
    e->range.from = p->next;
    if (q->code != CODE_OK || !p->next || e->is_cancelled || (e->conf.is_over && *e->conf.is_over)) {
        end(e, q->code, q->why, e->erased);
    } else {
        say_progress(e, p);
        next_page(e);
    }
    request_free(q);
}

static struct inner_erase *ask_new(struct erase_run *e, void (*done)(struct request *), struct request **q)
{
    struct inner_erase *p;

    *q = request_new(done, e);
    p = arena_alloc(&(*q)->arena, sizeof *p);
    *p = (struct inner_erase){.conv = e->range.conv,
                              .from = e->range.from,
                              .to = e->range.to,
                              .before_ms = e->range.before_ms,
                              .user = e->range.user};
    (*q)->inner = INNER_ERASE;
    (*q)->result = p;
    return p;
}

static void next_page(struct erase_run *e)
{
    const struct world *w = e->d->world;
    struct request *q;

    ask_new(e, on_page, &q);
    bus_request(e->d->port, w->owner_of[shard_of(w->data, &e->range.conv)], q);
}

static struct erase_run *run_new(struct directory *d, const struct erase_conf *c)
{
    struct erase_run *e = mem_new(struct erase_run);

    e->d = d;
    e->conf = *c;
    return e;
}

struct erase_run *erase_start(struct directory *d, const struct erase_range *range, const struct erase_conf *c)
{
    struct erase_run *e = run_new(d, c);

    e->range = *range;
    next_page(e);
    return e;
}

static void add_since(struct erase_run *e, int64_t since_ms) { e->since_ms = lsm_older(e->since_ms, since_ms); }

/* The directory's own comes last: its tables know of an erasing before the log that had it may be rid of it. */
static void on_status(struct request *q)
{
    struct erase_run *e = q->asker;
    const struct inner_erase *p = q->result;

    e->has_failed |= q->code != CODE_OK;
    add_since(e, p->since_ms);
    request_free(q);
    if (--e->pending > 0)
        return;
    add_since(e, directory_stale_since(e->d));
    if (e->has_failed)
        end(e, CODE_UNAVAILABLE, "the server is busy", 0);
    else
        end(e, CODE_OK, "", (uint64_t)e->since_ms);
}

struct erase_run *erase_ask_status(struct directory *d, const struct erase_conf *c)
{
    struct erase_run *e = run_new(d, c);

    e->pending = d->world->reactors;
    for (unsigned i = 0; i < d->world->reactors; i++) {
        struct request *q;
        ask_new(e, on_status, &q)->is_status = true;
        bus_request(d->port, i, q);
    }
    return e;
}

void erase_cancel(struct erase_run *e)
{
    if (e)
        e->is_cancelled = true;
}
