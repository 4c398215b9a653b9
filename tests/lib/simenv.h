/* simenv: clock, randomness and files of a simulated process. The clock stands still unless the test moves it. */
#pragma once
#include "base/env.h"
#include "base/mem.h"
#include "tests/lib/simrand.h"

struct simenv {
    struct env env;
    uint64_t now_us;
    struct simrand rand;
};

static inline int64_t simenv_now_ms(struct env *e)
{
    return 1700000000000 + (int64_t)(container_of(e, struct simenv, env)->now_us / 1000);
}

static inline uint64_t simenv_mono_us(struct env *e) { return container_of(e, struct simenv, env)->now_us; }

static inline void simenv_random(struct env *e, void *p, size_t n)
{
    struct simenv *s = container_of(e, struct simenv, env);
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)p)[i] = (uint8_t)simrand_next(&s->rand);
}

static inline void simenv_init(struct simenv *s, uint64_t seed, struct fs *fs)
{
    static const struct env_ops ops = {simenv_now_ms, simenv_mono_us, simenv_random};
    *s = (struct simenv){{&ops, fs}, 1, {seed}};
}
