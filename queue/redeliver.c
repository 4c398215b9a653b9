#include "queue/redeliver.h"

static uint64_t delay(const struct redeliver_conf *c, uint32_t failures, struct env *env)
{
    uint64_t ms = c->first_ms, random = 0;

    for (uint32_t i = 1; i < failures && ms < c->most_ms; i++)
        ms *= 2;
    if (ms > c->most_ms)
        ms = c->most_ms;
    env_random(env, &random, sizeof random);
    return ms - random % (ms / 2 + 1);
}

enum redeliver_verdict redeliver_failed(struct redeliver *r, const struct redeliver_conf *c, struct env *env,
                                        uint64_t id, uint64_t now_ms)
{
    if (r->failures == 0 || r->id != id)
        *r = (struct redeliver){.id = id};
    if (r->failures < UINT32_MAX)
        r->failures++;
    if (c->attempts && r->failures >= c->attempts)
        return REDELIVER_NEVER;
    r->due_ms = now_ms + delay(c, r->failures, env);
    return REDELIVER_LATER;
}

void redeliver_done(struct redeliver *r) { *r = (struct redeliver){0}; }
