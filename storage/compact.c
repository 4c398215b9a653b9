/* Tiers. A table of less than `unit` bytes is of tier 0, of less than unit * RATIO of tier 1, and so on; and no table
 * is of a lower tier than a newer one, so that a tier is a run of neighbours and a merge keeps the order of ages. A
 * tier of RATIO tables is merged into one, which then belongs to the next tier. So a byte is written once by its flush
 * and once by a merge a tier, log(size / unit) / log(RATIO) times, and there are at most RATIO tables a tier to look
 * into.
 *
 * A table that has outgrown half the bound of its weight stays as it is for ever, and the tables before it are merged
 * as if it were not there. Any two others may be merged, so what is left of a tier is always less than RATIO.
 *
 * If the merge's result would fill the next tier, that tier is taken along at once: one pass instead of two. */
#include "storage/compact.h"

static unsigned tier_of(uint64_t bytes, uint64_t unit)
{
    unsigned tier = 0;
    for (; bytes >= unit && tier < 32; tier++)
        bytes /= COMPACT_RATIO;
    return tier;
}

static bool is_taken(const struct compact_table *t, uint64_t weight_max)
{
    return t->is_merging || t->weight > weight_max / 2;
}

/* How many of the n tables may be one. */
static size_t light_part(const struct compact_table *t, size_t from, size_t n, uint64_t weight_max)
{
    uint64_t sum = 0;
    size_t i = 0;
    while (i < n && t[from + i].weight <= weight_max - sum)
        sum += t[from + i++].weight;
    return i;
}

/* The run of tables of one tier that starts at `from`: its length. *is_free: no merge has any of them. */
static size_t tier_run(const struct compact_table *t, size_t n, size_t from, uint64_t unit, uint64_t weight_max,
                       unsigned *tier, bool *is_free)
{
    size_t i = from;
    *is_free = true;
    if (tier_of(t[i].bytes, unit) > *tier)
        *tier = tier_of(t[i].bytes, unit);
    for (; i < n && tier_of(t[i].bytes, unit) <= *tier; i++)
        *is_free = *is_free && !is_taken(&t[i], weight_max);
    return i - from;
}

/* Of a tier that a merge works on, the newer tables that it has not taken may fill a run of their own. */
static size_t free_part(const struct compact_table *t, size_t from, size_t n, uint64_t weight_max)
{
    size_t i = 0;
    while (i < n && !is_taken(&t[from + i], weight_max))
        i++;
    return i;
}

bool compact_pick(const struct compact_table *t, size_t n_tables, uint64_t unit, uint64_t weight_max, size_t *first,
                  size_t *n)
{
    unsigned tier = 0;
    size_t from = 0, run;
    bool is_free;

    for (; from < n_tables; from += run) {
        run = tier_run(t, n_tables, from, unit, weight_max, &tier, &is_free);
        size_t take = free_part(t, from, run, weight_max);
        if (take < COMPACT_RATIO)
            continue;
        while (is_free && from + take < n_tables) {
            size_t more = tier_run(t, n_tables, from + take, unit, weight_max, &tier, &is_free);
            if (!is_free || more + 1 < COMPACT_RATIO)
                break;
            take += more;
        }
        *first = from;
        *n = light_part(t, from, take, weight_max);
        return true;
    }
    return false;
}
