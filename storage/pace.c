#include "storage/pace.h"

enum { STEP_MIN = 64 << 10, STEP_MAX = 2 << 20, STEPS_A_SECOND = 16 };

void pace_init(struct pace *p, uint64_t rate)
{
    *p = (struct pace){.rate = rate && rate < PACE_RATE_MIN ? PACE_RATE_MIN : rate};
}

size_t pace_step(const struct pace *p)
{
    uint64_t step = p->rate / STEPS_A_SECOND;
    if (p->rate == 0 || step > STEP_MAX)
        return STEP_MAX;
    return step < STEP_MIN ? STEP_MIN : (size_t)step;
}

uint64_t pace_due(struct pace *p, uint64_t now_us, size_t step, uint64_t merged, uint64_t flushed)
{
    if (p->rate == 0 || merged / 2 < flushed)
        return 0;
    uint64_t due_us = p->paid_until_us > now_us ? p->paid_until_us : now_us;
    p->paid_until_us = due_us + (uint64_t)step * 1000000 / p->rate;
    return due_us == now_us ? 0 : due_us;
}
