/* moved_clock: the system's clocks, and how far the test has moved them: `advance` moves both as time does, `jump` the
 * wall clock alone. Thread: any. */
#pragma once
#include "base/env.h"

static struct {
    struct env env;
    _Atomic int64_t time_ms, jumped_ms;
} moved;

static inline int64_t moved_now_ms(struct env *e)
{
    (void)e;
    return env_now_ms(env_posix()) + moved.time_ms + moved.jumped_ms;
}
static inline uint64_t moved_mono_us(struct env *e)
{
    (void)e;
    return env_mono_us(env_posix()) + (uint64_t)moved.time_ms * 1000;
}
static inline void moved_random(struct env *e, void *p, size_t n)
{
    (void)e;
    env_random(env_posix(), p, n);
}
/* Not moved yet. */
static inline struct env *moved_env(void)
{
    static const struct env_ops ops = {moved_now_ms, moved_mono_us, moved_random};

    moved.env = (struct env){&ops, env_posix()->fs};
    moved.time_ms = moved.jumped_ms = 0;
    return &moved.env;
}
static inline void jump(int64_t ms) { moved.jumped_ms += ms; }
static inline void advance(int64_t ms) { moved.time_ms += ms; }
