/* sizes: group sizes as they are met: many small ones, few large. At least s members has a share of 2 / s of the groups
 * (a power law of exponent 1, cut at `max`), so about half are pairs or threes, and members are spread evenly over the
 * orders of magnitude. */
#pragma once
#include <stddef.h>
#include <stdint.h>

static inline size_t sizes_draw(uint32_t random, size_t max)
{
    uint64_t size = ((uint64_t)2 << 32) / ((uint64_t)random + 1);

    return size < max ? (size_t)size : max;
}
