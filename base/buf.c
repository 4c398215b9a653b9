#include "base/buf.h"
#include "base/enc.h"
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

enum { CAP_MIN = 64 };

void buf_deinit(struct buf *b)
{
    mem_free(b->p);
    *b = (struct buf){0};
}

void buf_clear(struct buf *b) { b->len = 0; }

char *buf_grow(struct buf *b, size_t more)
{
    size_t need, cap = b->cap ? b->cap : CAP_MIN;
    bool too_big = __builtin_add_overflow(b->len, more, &need) || need > SIZE_MAX / 2;

    assert(!too_big);
    while (cap < need)
        cap *= 2;
    b->p = mem_realloc(b->p, cap);
    b->cap = cap;
    return b->p + b->len;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args, again;

    va_start(args, fmt);
    va_copy(again, args);
    char *to = buf_reserve(b, CAP_MIN);
    size_t room = b->cap - b->len;
    int n = vsnprintf(to, room, fmt, args);
    assert(n >= 0); /* the format is ours */
    if ((size_t)n >= room)
        vsnprintf(buf_reserve(b, (size_t)n + 1), (size_t)n + 1, fmt, again);
    b->len += (size_t)n;
    va_end(again);
    va_end(args);
}

void buf_i64(struct buf *b, int64_t v)
{
    char *p = buf_reserve(b, 1 + DECIMAL_MAX);

    if (v < 0)
        *p = '-';
    b->len += v < 0;
    b->len += enc_decimal(p + (v < 0), v < 0 ? -(uint64_t)v : (uint64_t)v);
}
