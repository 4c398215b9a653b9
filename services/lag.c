/* A record stands before the first note whose end is behind it, and was committed at its time or earlier. */
#include "services/lag.h"
#include <string.h>

/* What comes before note i would be said to be as young as the next one: how much that is of its age. */
static double missed(const struct lag *l, size_t i, uint64_t now_ms)
{
    uint64_t before = l->v[i - 1].ms;

    return (double)(l->v[i + 1].ms - before) / (double)(now_ms - before + 1);
}

/* The first, by which the slowest view goes, and the last stay. */
static void forget_one(struct lag *l, uint64_t now_ms)
{
    size_t least = 1;

    for (size_t i = 2; i + 1 < l->n; i++) {
        if (missed(l, i, now_ms) < missed(l, least, now_ms))
            least = i;
    }
    l->n--;
    memmove(l->v + least, l->v + least + 1, (l->n - least) * sizeof l->v[0]);
}

void lag_note(struct lag *l, uint64_t end, uint64_t now_ms)
{
    if (l->n && l->v[l->n - 1].end == end)
        return;
    if (l->n == LAG_SAMPLES)
        forget_one(l, now_ms);
    l->v[l->n++] = (struct lag_sample){end, now_ms};
}

static size_t first_behind(const struct lag *l, uint64_t pos)
{
    size_t i = 0;

    while (i < l->n && l->v[i].end <= pos)
        i++;
    return i;
}

/* But the last: or the same end would be noted again, with a later time. */
void lag_forget(struct lag *l, uint64_t pos)
{
    size_t i = first_behind(l, pos);

    if (i && i == l->n)
        i--;
    l->n -= i;
    memmove(l->v, l->v + i, l->n * sizeof l->v[0]);
}

uint64_t lag_ms(const struct lag *l, uint64_t pos, uint64_t now_ms)
{
    size_t i = first_behind(l, pos);

    return i < l->n ? now_ms - l->v[i].ms : 0;
}
