#include "proto/request.h"
#include <stdarg.h>

struct request *request_new(void (*done)(struct request *), void *asker)
{
    struct request *r = mem_new(struct request);

    r->done = done;
    r->asker = asker;
    return r;
}

void request_free(struct request *r)
{
    if (!r)
        return;
    buf_deinit(&r->out);
    arena_deinit(&r->arena);
    mem_free(r);
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
