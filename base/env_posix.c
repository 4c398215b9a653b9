#include "base/env.h"
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <time.h>

static int64_t posix_now_ms(struct env *e)
{
    struct timespec t;
    (void)e;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static uint64_t posix_mono_us(struct env *e)
{
    struct timespec t;
    (void)e;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void posix_random(struct env *e, void *p, size_t n)
{
    (void)e;
    randombytes_buf(p, n);
}

/* The one mutable static of this file: written once, under pthread_once. */
static struct env posix_env;

static void set_up(void)
{
    static const struct env_ops ops = {posix_now_ms, posix_mono_us, posix_random};
    if (sodium_init() < 0)
        abort(); /* no source of randomness: nothing may run */
    posix_env = (struct env){&ops, fs_posix()};
}

struct env *env_posix(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, set_up);
    return &posix_env;
}
