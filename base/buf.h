/* buf: bytes that grow. A zeroed buf is empty and valid. Not thread-safe. */
#pragma once
#include "base/mem.h"

struct buf {
    char *p;
    size_t len, cap;
};

void buf_deinit(struct buf *b);
void buf_clear(struct buf *b);              /* keeps the memory */
char *buf_grow(struct buf *b, size_t more); /* buf_reserve's, where there is no room yet */
/* Room for `more` behind len; returns p + len. */
static inline char *buf_reserve(struct buf *b, size_t more)
{
    return b->p && b->cap - b->len >= more ? b->p + b->len : buf_grow(b, more);
}
static inline void buf_add(struct buf *b, const void *p, size_t n)
{
    char *to = buf_reserve(b, n);
    if (n)
        memcpy(to, p, n);
    b->len += n;
}
static inline void buf_str(struct buf *b, struct str s) { buf_add(b, s.p, s.len); }
static inline void buf_char(struct buf *b, char c)
{
    *buf_reserve(b, 1) = c;
    b->len++;
}
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_i64(struct buf *b, int64_t v); /* decimal */
static inline struct str buf_get(const struct buf *b) { return (struct str){b->p, b->len}; }
