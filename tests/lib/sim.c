#include "tests/lib/sim.h"
#include "base/mem.h"
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { SEEDS = 200, HANGS_AFTER_S = 60 };

/* Not const: cmocka's tests and a signal handler get no argument. */
static struct {
    const char *program;
    sim_seed_fn *fn;
    uint64_t first, n, at; /* at: the seed that runs; meaningful while is_in_seed */
    volatile sig_atomic_t is_in_seed;
    bool is_verbose;
    int kept_stderr;
} sim = {.first = 1, .n = SEEDS, .kept_stderr = -1};

int sim_quiet(void **state)
{
    (void)state;
    if (sim.is_verbose)
        return 0;
    int nowhere = open("/dev/null", O_WRONLY);
    sim.kept_stderr = dup(2);
    dup2(nowhere, 2);
    close(nowhere);
    return 0;
}

int sim_loud(void **state)
{
    (void)state;
    if (sim.kept_stderr >= 0) {
        dup2(sim.kept_stderr, 2);
        close(sim.kept_stderr);
        sim.kept_stderr = -1;
    }
    return 0;
}

static void say_seed(void)
{
    if (sim.is_in_seed)
        dprintf(2, "seed %" PRIu64 " failed; replay it: %s --seed %" PRIu64 "\n", sim.at, sim.program, sim.at);
}

static void on_abort(int signal_number)
{
    sim_loud(NULL);
    say_seed();
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

/* Of this process: a machine that does other work does not make a seed dearer. */
static uint64_t cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void what_was_acknowledged_survives_every_seed(void **state)
{
    uint64_t begun = cpu_us(), worst = 0, worst_seed = 0;

    (void)state;
    for (sim.at = sim.first; sim.at < sim.first + sim.n; sim.at++) {
        uint64_t from = cpu_us();
        sim.is_in_seed = true;
        alarm(HANGS_AFTER_S);
        sim.fn(sim.at);
        alarm(0);
        sim.is_in_seed = false;
        if (cpu_us() - from > worst) {
            worst = cpu_us() - from;
            worst_seed = sim.at;
        }
    }
    printf("seeds %" PRIu64 " to %" PRIu64 ": %.2f ms of CPU each, at most %.1f ms (seed %" PRIu64 ")\n", sim.first,
           sim.first + sim.n - 1, (double)(cpu_us() - begun) / 1000 / (double)sim.n, (double)worst / 1000, worst_seed);
}

static bool read_options(int argc, char **argv, bool *seeds_only)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t n = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--seed") == 0) {
            sim.first = n;
            sim.n = 1;
            sim.is_verbose = true;
        } else if (strcmp(argv[i], "--seeds") == 0) {
            sim.n = n;
        } else if (strcmp(argv[i], "--from") == 0) {
            sim.first = n;
        } else {
            return false;
        }
    }
    *seeds_only = argc > 1;
    return argc % 2 == 1 && sim.n > 0;
}

int sim_main(int argc, char **argv, sim_seed_fn *fn, const struct CMUnitTest *tests, size_t n_tests)
{
    struct CMUnitTest all[64] = {SIM_HOLDS(what_was_acknowledged_survives_every_seed)};
    bool seeds_only;

    sim.program = argv[0];
    sim.fn = fn;
    if (!read_options(argc, argv, &seeds_only) || n_tests >= sizeof all / sizeof all[0]) {
        fprintf(stderr, "usage: %s [--seed N | --seeds N [--from N]]\n", argv[0]);
        return 2;
    }
    if (seeds_only)
        n_tests = 0;
    memcpy(all + 1, tests, n_tests * sizeof all[0]);
    signal(SIGABRT, on_abort);
    signal(SIGALRM, on_abort);
    int failed = _cmocka_run_group_tests("sim", all, n_tests + 1, NULL, NULL);
    if (failed)
        say_seed();
    return failed;
}
