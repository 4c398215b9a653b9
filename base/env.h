/* env: what a program gets from outside, so that a test can own it: time, randomness, files. */
#pragma once
#include "base/fs.h"

struct env {
    const struct env_ops *ops;
    struct fs *fs;
};
struct env_ops {
    int64_t (*now_ms)(struct env *);   /* wall clock, ms since 1970; may jump */
    uint64_t (*mono_us)(struct env *); /* never goes back */
    void (*random)(struct env *, void *, size_t);
};
static inline int64_t env_now_ms(struct env *e) { return e->ops->now_ms(e); }
static inline uint64_t env_mono_us(struct env *e) { return e->ops->mono_us(e); }
static inline void env_random(struct env *e, void *p, size_t n) { e->ops->random(e, p, n); }

/* The system's clock, libsodium's randomness, POSIX files. Never freed. Calls sodium_init. */
struct env *env_posix(void);
