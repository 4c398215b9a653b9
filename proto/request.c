#include "proto/request.h"
#include <stdarg.h>

/* FIRST is what nearly every request needs of its arena; what has grown beyond OUT_KEPT is not kept. */
enum { FIRST = 1536, FIRST_FETCHED = 512, OUT_KEPT = 1024 };
struct pooled {
    _Alignas(16) char first[FIRST];
    struct request r;
};

struct request *request_new(void (*done)(struct request *), void *asker)
{
    struct request *r = mem_new(struct request);

    r->done = done;
    r->asker = asker;
    return r;
}

struct request *request_new_from(struct request_pool *p, void (*done)(struct request *), void *asker)
{
    struct request *r = p->spare;
    struct buf out = {0};

    if (r) {
        p->spare = r->asker;
        p->n--;
        out = r->out;
        if (p->spare) { /* with thousands under way it has left the cache; it comes while this one is filled */
            mem_fetch(p->spare, offsetof(struct request, why));
            mem_fetch(container_of(p->spare, struct pooled, r)->first, FIRST_FETCHED);
        }
    } else {
        r = &((struct pooled *)mem_realloc(NULL, sizeof(struct pooled)))->r; /* not zeroed */
    }
    p->least = p->n < p->least ? p->n : p->least;
    memset(r, 0, offsetof(struct request, why));
    r->why[0] = '\0';
    r->done = done;
    r->asker = asker;
    r->out = out;
    r->home = p;
    arena_lend(&r->arena, container_of(r, struct pooled, r)->first, FIRST);
    return r;
}

static void free_pooled(struct request *r)
{
    buf_deinit(&r->out);
    mem_free(container_of(r, struct pooled, r));
}

void request_free(struct request *r)
{
    if (!r)
        return;
    arena_deinit(&r->arena);
    if (!r->home) {
        buf_deinit(&r->out);
        mem_free(r);
    } else if (r->home->n == REQUEST_SPARES || r->out.cap > OUT_KEPT) {
        free_pooled(r);
    } else {
        buf_clear(&r->out);
        r->asker = r->home->spare;
        r->home->spare = r;
        r->home->n++;
    }
}

static void free_spares(struct request_pool *p, unsigned n)
{
    for (; n; n--) {
        struct request *r = p->spare;

        p->spare = r->asker;
        p->n--;
        free_pooled(r);
    }
}

void request_pool_shrink(struct request_pool *p)
{
    if (p->least > REQUEST_SPARES_QUIET)
        free_spares(p, (p->least - REQUEST_SPARES_QUIET + 1) / 2);
    p->least = p->n;
}

void request_pool_deinit(struct request_pool *p)
{
    free_spares(p, p->n);
    *p = (struct request_pool){0};
}

void request_ok(struct request *r)
{
    r->code = CODE_OK;
    r->why[0] = '\0';
}

/* A sentence that was cut may end inside a character, and what goes to a client is UTF-8. */
static void drop_partial_char(char *s, size_t len)
{
    size_t at = len;

    while (at > 0 && ((uint8_t)s[at - 1] & 0xc0) == 0x80)
        at--;
    if (at > 0 && ((uint8_t)s[at - 1] & 0x80) && !str_is_utf8(str_of(s + at - 1, len - at + 1)))
        s[at - 1] = '\0';
}

void request_fail(struct request *r, enum code code, const char *fmt, ...)
{
    va_list ap;

    r->code = code;
    buf_clear(&r->out);
    va_start(ap, fmt);
    if (vsnprintf(r->why, sizeof r->why, fmt, ap) >= (int)sizeof r->why)
        drop_partial_char(r->why, sizeof r->why - 1);
    va_end(ap);
}
