#include "cmd/parley_load_hist.h"

enum { LINEAR_BITS = 11, STEP_BITS = 10 };

static size_t cell_of(uint64_t value)
{
    if (value < HIST_LINEAR)
        return (size_t)value;
    unsigned doubling = 63u - (unsigned)__builtin_clzll(value) - LINEAR_BITS;
    if (doubling >= HIST_DOUBLINGS)
        return HIST_CELLS - 1;
    return HIST_LINEAR + doubling * HIST_STEPS + (size_t)(value >> (doubling + 1)) - HIST_STEPS;
}

/* The largest value that is counted in this cell. */
static uint64_t top_of(size_t cell)
{
    if (cell < HIST_LINEAR)
        return cell;
    uint64_t doubling = (cell - HIST_LINEAR) / HIST_STEPS, step = (cell - HIST_LINEAR) % HIST_STEPS;
    return ((step + HIST_STEPS + 1) << (doubling + 1)) - 1;
}

void hist_add(struct hist *h, uint64_t value)
{
    h->count++;
    h->sum += value;
    if (value > h->max)
        h->max = value;
    h->cells[cell_of(value)]++;
}

void hist_merge(struct hist *into, const struct hist *from)
{
    into->count += from->count;
    into->sum += from->sum;
    if (from->max > into->max)
        into->max = from->max;
    for (size_t i = 0; i < HIST_CELLS; i++)
        into->cells[i] += from->cells[i];
}

/* The rank, rounded up; what is a whole number but for the double's last bits is not rounded up. */
static uint64_t rank_of(double percent, uint64_t count)
{
    double exact = percent / 100 * (double)count;
    uint64_t below = (uint64_t)exact;

    return exact - (double)below > 1e-9 * (double)count ? below + 1 : below;
}

uint64_t hist_at(const struct hist *h, double percent)
{
    uint64_t wanted = rank_of(percent, h->count), seen = 0;

    for (size_t i = 0; i < HIST_CELLS; i++) {
        seen += h->cells[i];
        if (seen > 0 && seen >= wanted && i < HIST_CELLS - 1)
            return top_of(i) < h->max ? top_of(i) : h->max;
    }
    return h->max;
}

double hist_mean(const struct hist *h) { return h->count ? (double)h->sum / (double)h->count : 0; }
