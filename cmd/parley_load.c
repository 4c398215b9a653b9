/* parley-load: puts load on a Parley server, checks every entry, and measures. See --help. */
#include "cmd/parley_load_report.h"
#include "cmd/parley_load_worker.h"
#include "cmd/parley_load_workers.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>

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

typedef void report_fn(const struct run *r, struct buf *out);

/* False, said on stderr: the file cannot be written. */
static bool write_report(const struct run *r, report_fn *report, const char *path)
{
    struct buf text = {0};
    FILE *f = path ? fopen(path, "we") : stdout;
    bool is_written = false;

    report(r, &text);
    if (f)
        is_written = fwrite(text.p, 1, text.len, f) == text.len;
    if (path && f)
        is_written &= fclose(f) == 0;
    if (!is_written)
        fprintf(stderr, "parley-load: %s cannot be written: %s\n", path ? path : "the report", strerror(errno));
    buf_deinit(&text);
    return is_written;
}

static bool write_reports(const struct run *r)
{
    bool is_printed = str_eq(str_c(r->o->json), STR("-"));
    bool is_written = write_report(r, is_printed ? report_json : report_table, NULL);

    if (r->o->json[0] && !is_printed)
        is_written &= write_report(r, report_json, r->o->json);
    if (r->o->html[0])
        is_written &= write_report(r, report_html, r->o->html);
    return is_written;
}

static int load(const struct load_options *o)
{
    struct run r;
    enum err err = run_init(&r, o, NULL);
    int status = EXIT_USAGE;

    if (err == ERR_OK)
        err = o->workers[0] ? workers_run(&r) : run_all(&r);
    if (err != ERR_OK) {
        fprintf(stderr, "parley-load: " STR_FMT "\n", STR_ARG(buf_get(&r.fault)));
    } else {
        status = !write_reports(&r) ? EXIT_USAGE : faults_sum(&r.faults) ? EXIT_FAULTS : 0;
    }
    run_deinit(&r);
    return status;
}

int main(int argc, char **argv)
{
    struct sigaction stop = {.sa_handler = on_signal}, ignore = {.sa_handler = SIG_IGN};
    struct load_options o = {0};

    if (wants_help(argc, argv)) {
        load_options_help();
        return 0;
    }
    if (load_options_read(argc, argv, &o) != ERR_OK)
        return EXIT_USAGE;
    (void)sigaction(SIGPIPE, &ignore, NULL); /* a connection that is lost is counted; OpenSSL's writes would end us */
    if (o.worker_listen[0])
        return worker_listen(&o);
    (void)sigaction(SIGINT, &stop, NULL);
    (void)sigaction(SIGTERM, &stop, NULL);
    return load(&o);
}
