/* parley-load: puts load on a Parley server, checks every entry, and measures. See --help. */
#include "cmd/parley_load_report.h"
#include <signal.h>

enum { EXIT_FAULTS = 1, EXIT_USAGE = 2 };

static void on_signal(int signal_number)
{
    (void)signal_number;
    run_stop();
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (str_eq(str_c(argv[i]), STR("--help")) || str_eq(str_c(argv[i]), STR("-h")))
            return true;
    }
    return false;
}

static void print_report(const struct run *r)
{
    struct buf text = {0};

    if (r->o->json)
        report_json(r, &text);
    else
        report_table(r, &text);
    fwrite(text.p, 1, text.len, stdout);
    buf_deinit(&text);
}

static int load(const struct load_options *o)
{
    struct run r;
    enum err err = run_init(&r, o);
    int status = EXIT_USAGE;

    if (err == ERR_OK)
        err = run_all(&r);
    if (err != ERR_OK) {
        fprintf(stderr, "parley-load: " STR_FMT "\n", STR_ARG(buf_get(&r.fault)));
    } else {
        print_report(&r);
        status = faults_sum(&r.faults) ? EXIT_FAULTS : 0;
    }
    run_deinit(&r);
    return status;
}

int main(int argc, char **argv)
{
    struct sigaction stop = {.sa_handler = on_signal};
    struct load_options o = {0};

    if (wants_help(argc, argv)) {
        load_options_help();
        return 0;
    }
    if (load_options_read(argc, argv, &o) != ERR_OK)
        return EXIT_USAGE;
    (void)sigaction(SIGINT, &stop, NULL);
    (void)sigaction(SIGTERM, &stop, NULL);
    return load(&o);
}
