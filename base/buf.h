/* buf: bytes that grow. A zeroed buf is empty and valid. Not thread-safe. */
#pragma once
#include "base/mem.h"

struct buf {
    char *p;
    size_t len, cap;
};

void buf_deinit(struct buf *b);
void buf_clear(struct buf *b);                 /* keeps the memory */
char *buf_reserve(struct buf *b, size_t more); /* room for `more` behind len; returns p + len */
void buf_add(struct buf *b, const void *p, size_t n);
void buf_str(struct buf *b, struct str s);
void buf_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_i64(struct buf *b, int64_t v); /* decimal */
static inline struct str buf_get(const struct buf *b) { return (struct str){b->p, b->len}; }
