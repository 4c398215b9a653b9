/* mem: allocation that can't fail, allocation that can, and the arena of one request.
 *
 * Thread: an arena belongs to one thread at a time; it may be handed over whole. */
#pragma once
#include "base/err.h"
#include "base/str.h"

/* Aborts when there is none: for sizes that we chose. Zeroed. */
void *mem_alloc(size_t bytes);
void *mem_realloc(void *p, size_t bytes);
void mem_free(void *p);
/* For sizes that a peer or a file chose, bounded by the caller: NULL when there is none. Not zeroed. */
void *mem_try(size_t bytes);
/* For what is large, lives long and goes as a whole (a table's filter and index): from MEM_PAGES on it has pages of its
 * own, which go back to the system at once and leave no hole between what is small. Not zeroed; NULL when there is
 * none. Who frees it says how much was asked for. */
enum { MEM_PAGES = 64 << 10 };
void *mem_pages(size_t bytes);
void mem_pages_free(void *p, size_t bytes);
/* For a process that lives long: malloc maps pieces above any buffer of a request, 1 MiB, and gives back what is free
 * at the end of its memory. glibc, left alone, moves both bounds up by what was freed last, to 32 and 64 MiB, and keeps
 * what the largest merge needed. Once, before any other thread. */
void mem_return_large(void);
char *mem_dup(struct str s); /* with a zero behind; aborts when there is none */

#define mem_new(type) ((type *)mem_alloc(sizeof(type)))
#define mem_new_array(type, n) ((type *)mem_alloc(sizeof(type) * (n)))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Bump allocation, freed as a whole. A zeroed arena is empty and valid; chunks of 1 KiB grow to 64 KiB. */
struct arena_chunk;
struct arena {
    struct arena_chunk *chunks;
    char *at, *end;
    size_t bytes; /* of all chunks */
};
void arena_deinit(struct arena *a);
/* An empty arena whose first chunk has room for `bytes`: for what is small and many. Later chunks double as ever. */
void arena_begin(struct arena *a, size_t bytes);
/* An empty arena that begins with memory of the caller's, aligned to 16, which outlives what is taken from it. */
void arena_lend(struct arena *a, void *p, size_t bytes);
void *arena_alloc(struct arena *a, size_t bytes); /* zeroed, aligned to 16 */
void *arena_room(struct arena *a, size_t bytes);  /* the same, not zeroed: for who writes all of it */
struct str arena_dup(struct arena *a, struct str s);

/* Has memory that will be needed soon come into the cache meanwhile, line by line; it need not be there at all.
 * (Inlined by force, as whoever does nothing else has to be: gcc drops calls of a function that only prefetches.) */
enum { MEM_LINE = 64 };
static inline __attribute__((always_inline)) void mem_fetch(const void *p, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += MEM_LINE)
        __builtin_prefetch((const char *)p + at);
}
