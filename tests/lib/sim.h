/* sim: what a simulation's main is: seeds, one after the other, and the promises that need none.
 *
 *     test_x                          the promises, then seeds 1 to 200
 *     test_x --seeds N [--from M]     N seeds, from M on
 *     test_x --seed N                 one seed, with what the code under test says on stderr
 *
 * A seed that fails, by an assertion of the test or of the code or by hanging, is named with the call that replays it.
 * Thread: main's. */
#pragma once
#include "tests/lib/unit.h"

typedef void sim_seed_fn(uint64_t seed);
int sim_main(int argc, char **argv, sim_seed_fn *fn, const struct CMUnitTest *tests, size_t n_tests);

/* Keep stderr quiet while a test provokes errors: they are not news. */
int sim_quiet(void **state);
int sim_loud(void **state);
#define SIM_HOLDS(name) cmocka_unit_test_setup_teardown(name, sim_quiet, sim_loud)
