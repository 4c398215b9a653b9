/* damage: how a check of files says what it found, and goes on.
 *
 * Thread: the check's. Memory: what `found` is given lasts for the call. */
#pragma once
#include "base/err.h"
#include "base/str.h"

struct damage_sink {
    /* `at`: the offset in the file; `what`: a clause. */
    void (*found)(void *arg, const char *file, uint64_t at, const char *what);
    void *arg;
};
static inline void damage_found(const struct damage_sink *s, const char *file, uint64_t at, const char *what)
{
    s->found(s->arg, file, at, what);
}
