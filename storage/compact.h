/* compact: which tables to merge next. A pure function of their sizes. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { COMPACT_RATIO = 8 };
struct compact_table {
    uint64_t bytes;
    uint64_t weight; /* what it keeps in memory: filter and index; a merged table keeps the sum at most */
    bool is_merging; /* taken by a merge that runs */
};
/* Finds a run of neighbours worth merging among tables given newest first: [*first, *first + *n). False: none. `unit`
 * is what a flush writes, a little more or less. No merge's tables weigh more than `weight_max` together; a table of
 * more than half of that is not merged any more. */
bool compact_pick(const struct compact_table *tables, size_t n_tables, uint64_t unit, uint64_t weight_max,
                  size_t *first, size_t *n);
