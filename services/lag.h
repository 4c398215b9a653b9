/* lag: since when a log has what a view of it lacks.
 *
 * The log's end is noted with the time, now and then. When LAG_SAMPLES notes are there, the one goes that is missed
 * least: so what is remembered reaches back as far as the slowest view, the coarser the longer ago it was, and one that
 * is long behind costs the others nothing.
 *
 * What is said is never more than it is, and less by at most a third and the time between two notes.
 * Thread: one. Memory: its own; zeroed it is empty and valid. */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum { LAG_SAMPLES = 128 };

struct lag {
    struct lag_sample {
        uint64_t end, ms;
    } v[LAG_SAMPLES];
    size_t n;
};
void lag_note(struct lag *l, uint64_t end, uint64_t now_ms); /* the end never moves back, nor does time */
void lag_forget(struct lag *l, uint64_t pos);                /* nobody asks about anything before it any more */
/* How old the oldest record behind `pos` is; 0: none is known. */
uint64_t lag_ms(const struct lag *l, uint64_t pos, uint64_t now_ms);
