#include "cmd/parley_load_series.h"
#include <stdio.h>
#include <unistd.h>

void series_begin(struct series *s, uint64_t now_us, uint64_t duration_us, uint64_t acked, uint64_t delivered)
{
    s->step_us = duration_us / SERIES_MAX + 1;
    if (s->step_us < SERIES_STEP_US)
        s->step_us = SERIES_STEP_US;
    s->from_us = s->last_us = now_us;
    s->acked = acked;
    s->delivered = delivered;
    s->is_live = isatty(STDERR_FILENO);
}

uint64_t series_next_us(const struct series *s) { return s->from_us ? s->last_us + s->step_us : UINT64_MAX; }

/* What `now` has beyond `before`. Its max is that of the whole run, which is an upper bound only. */
static void grow(struct series *s, const struct hist *now)
{
    s->grown.count = now->count - s->before.count;
    s->grown.max = now->max;
    for (size_t i = 0; i < HIST_CELLS; i++)
        s->grown.cells[i] = now->cells[i] - s->before.cells[i];
    s->before = *now;
}

void series_step(struct series *s, uint64_t now_us, uint64_t acked, uint64_t delivered, const struct hist *delivery)
{
    double seconds = (double)(now_us - s->last_us) / 1e6;
    struct sample *at;

    if (now_us < series_next_us(s) || s->n == SERIES_MAX)
        return;
    grow(s, delivery);
    at = &s->v[s->n++];
    *at = (struct sample){now_us - s->from_us,
                          (double)(acked - s->acked) / seconds,
                          (double)(delivered - s->delivered) / seconds,
                          hist_at(&s->grown, 50),
                          hist_at(&s->grown, 99),
                          hist_at(&s->grown, 99.9)};
    s->last_us = now_us;
    s->acked = acked;
    s->delivered = delivered;
    if (s->is_live)
        fprintf(stderr, "\r%6.1f s  %9.0f delivered/s  p50 %.2f ms  p99 %.2f ms  p99.9 %.2f ms  ",
                (double)at->at_us / 1e6, at->delivered, (double)at->p50 / 1e3, (double)at->p99 / 1e3,
                (double)at->p999 / 1e3);
}

void series_end(const struct series *s)
{
    if (s->is_live && s->n)
        fputs("\n", stderr);
}
