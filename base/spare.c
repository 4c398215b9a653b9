#include "base/spare.h"
#include <pthread.h>

#if defined __SANITIZE_ADDRESS__
#define NOTHING_IS_KEPT
#elif defined __has_feature
#if __has_feature(address_sanitizer)
#define NOTHING_IS_KEPT
#endif
#endif

enum { GRAIN = 128, CLASSES = SPARE_MAX / GRAIN };

static size_t class_of(size_t bytes) { return bytes ? (bytes - 1) / GRAIN : 0; }
static size_t size_of(size_t class) { return (class + 1) * GRAIN; }

size_t spare_room(size_t bytes) { return bytes > SPARE_MAX ? bytes : size_of(class_of(bytes)); }

#ifdef NOTHING_IS_KEPT

void *spare_alloc(size_t bytes) { return mem_realloc(NULL, bytes); }

void spare_free(void *p, size_t bytes)
{
    (void)bytes;
    mem_free(p);
}

size_t spare_kept(void) { return 0; }

#else

struct spare {
    struct spare *next;
};
struct spares {
    struct spare *first[CLASSES];
    uint32_t n[CLASSES];
    uint32_t bytes; /* of all */
    bool will_end;  /* the thread's end frees them */
};

/* The thread's, for what is freed comes from anywhere: who holds a frame does not know who made it. */
static _Thread_local struct spares mine;

static void *pop(struct spares *s, size_t class)
{
    struct spare *p = s->first[class];

    s->first[class] = p->next;
    __builtin_prefetch(p->next, 1); /* it left the cache long ago, and is asked for next */
    s->n[class]--;
    s->bytes -= (uint32_t)size_of(class);
    return p;
}

static void push(struct spares *s, size_t class, struct spare *p)
{
    p->next = s->first[class];
    s->first[class] = p;
    s->n[class]++;
    s->bytes += (uint32_t)size_of(class);
}

static void at_thread_end(void *spares)
{
    struct spares *s = spares;

    for (size_t c = 0; c < CLASSES; c++) {
        while (s->n[c])
            mem_free(pop(s, c));
    }
    s->will_end = false; /* what else ends may free more, and asks for this again */
}

/* A thread's end is told to keys of the process, and in no other way. Written once. */
static pthread_key_t end_key;
static bool has_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_key(void) { has_key = pthread_key_create(&end_key, at_thread_end) == 0; }

static bool will_end(struct spares *s)
{
    if (!s->will_end) {
        pthread_once(&once, make_key);
        s->will_end = has_key && pthread_setspecific(end_key, s) == 0;
    }
    return s->will_end;
}

static void give_back_some(struct spares *s)
{
    size_t most = 0;

    for (size_t c = 1; c < CLASSES; c++) {
        if (s->n[c] * size_of(c) > s->n[most] * size_of(most))
            most = c;
    }
    mem_free(pop(s, most));
}

void *spare_alloc(size_t bytes)
{
    size_t c = class_of(bytes);

    if (bytes <= SPARE_MAX && mine.n[c])
        return pop(&mine, c);
    return mem_realloc(NULL, spare_room(bytes));
}

void spare_free(void *p, size_t bytes)
{
    size_t c = class_of(bytes);

    if (!p || bytes > SPARE_MAX || !will_end(&mine)) {
        mem_free(p);
        return;
    }
    push(&mine, c, p);
    while (mine.bytes > SPARES_MAX)
        give_back_some(&mine);
}

size_t spare_kept(void) { return mine.bytes; }

#endif
