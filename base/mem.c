#include "base/mem.h"
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { LARGE = (1 << 20) + MEM_PAGES, KEPT_AT_THE_TOP = 2 << 20 };

static void *must(void *p)
{
    if (!p) {
        fputs("parley: out of memory\n", stderr);
        abort();
    }
    return p;
}

/* Nothing is never NULL here: a size of 0 gets a byte, so that NULL means failure and nothing else. */
static size_t at_least_one(size_t bytes) { return bytes ? bytes : 1; }

void *mem_alloc(size_t bytes) { return must(calloc(1, at_least_one(bytes))); }

void *mem_realloc(void *p, size_t bytes) { return must(realloc(p, at_least_one(bytes))); }

void mem_free(void *p) { free(p); }

void *mem_try(size_t bytes) { return malloc(at_least_one(bytes)); }

char *mem_dup(struct str s)
{
    char *p = must(malloc(s.len + 1));
    if (s.len)
        memcpy(p, s.p, s.len);
    p[s.len] = 0;
    return p;
}

void *mem_pages(size_t bytes)
{
    if (bytes < MEM_PAGES)
        return mem_try(bytes);
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void mem_pages_free(void *p, size_t bytes)
{
    if (bytes < MEM_PAGES)
        mem_free(p);
    else if (p)
        munmap(p, bytes);
}

/* Other libraries have no such bounds. */
void mem_return_large(void)
{
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, LARGE);
    mallopt(M_TRIM_THRESHOLD, KEPT_AT_THE_TOP);
#endif
}

/* The newest chunk is the first. Its header is 16 bytes, so what follows is aligned as malloc aligned it. */
struct arena_chunk {
    _Alignas(16) struct arena_chunk *next;
    size_t size;
};

enum { CHUNK_MIN = 1024, CHUNK_MAX = 65536 };

void arena_lend(struct arena *a, void *p, size_t bytes) { *a = (struct arena){.at = p, .end = (char *)p + bytes}; }

void arena_deinit(struct arena *a)
{
    for (struct arena_chunk *c = a->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    *a = (struct arena){0};
}

static void add_chunk(struct arena *a, size_t size)
{
    struct arena_chunk *c = must(malloc(size));
    *c = (struct arena_chunk){a->chunks, size};
    a->chunks = c;
    a->bytes += size;
    a->at = (char *)(c + 1);
    a->end = (char *)c + size;
}

static void arena_grow(struct arena *a, size_t bytes)
{
    size_t size = a->chunks ? a->chunks->size * 2 : CHUNK_MIN;
    if (size > CHUNK_MAX)
        size = CHUNK_MAX;
    if (size < bytes + sizeof(struct arena_chunk))
        size = bytes + sizeof(struct arena_chunk);
    add_chunk(a, size);
}

void arena_begin(struct arena *a, size_t bytes)
{
    *a = (struct arena){0};
    add_chunk(a, bytes + sizeof(struct arena_chunk));
}

static char *take(struct arena *a, size_t bytes)
{
    size_t need = (at_least_one(bytes) + 15) & ~(size_t)15;
    must(need >= bytes ? a : NULL); /* the rounding overflowed */
    if (!a->at || (size_t)(a->end - a->at) < need)
        arena_grow(a, need);
    a->at += need;
    return a->at - need;
}

void *arena_alloc(struct arena *a, size_t bytes) { return memset(take(a, bytes), 0, bytes); }

void *arena_room(struct arena *a, size_t bytes) { return take(a, bytes); }

struct str arena_dup(struct arena *a, struct str s)
{
    char *p = take(a, s.len);
    if (s.len)
        memcpy(p, s.p, s.len);
    return str_of(p, s.len);
}
