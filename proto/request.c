#include "proto/request.h"
#include <stdarg.h>

/* FIRST is what nearly every request needs of its arena; what has grown beyond OUT_KEPT is not kept. */
enum { FIRST = 1536, OUT_KEPT = 1024 };
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
    struct pooled *whole = r ? container_of(r, struct pooled, r) : mem_new(struct pooled);
    struct buf out = whole->r.out;

    if (r) {
        p->spare = r->asker;
        p->n--;
    }
    whole->r = (struct request){.done = done, .asker = asker, .out = out, .home = p};
    arena_lend(&whole->r.arena, whole->first, FIRST);
    return &whole->r;
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

void request_pool_deinit(struct request_pool *p)
{
    while (p->spare) {
        struct request *r = p->spare;

        p->spare = r->asker;
        free_pooled(r);
    }
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
