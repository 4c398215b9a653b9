/* parleyd: the server. Reads its options, opens, runs until a signal: TERM and INT drain and end it, HUP reads the
 * options again and takes over what can change while it runs (the log level, the certificate). */
#include "cmd/parleyd_restart.h"
#include "cmd/parleyd_server.h"
#include "base/log.h"
#include "base/mem.h"
#include <signal.h>
#include <stdio.h>

static void reload(struct server *server, int argc, char **argv)
{
    struct options fresh = {0};
    char *why = NULL;
    int level;

    if (options_load(argc, argv, &fresh) != ERR_OK || options_log_level(fresh.log_level, &level) != ERR_OK) {
        log_warn("reload_refused", "reason=options");
        return;
    }
    if (server_reload(server, &fresh, &why) != ERR_OK) {
        log_warn("reload_refused", "reason=tls why=\"%s\"", why);
        mem_free(why);
        return;
    }
    log_set_level((enum log_level)level);
    log_info("reloaded", "log_level=%s", fresh.log_level);
}

/* Signals are blocked in every thread and taken here, one after the other. */
static void wait_for_end(struct server *server, const sigset_t *signals, int argc, char **argv)
{
    for (;;) {
        int number = 0;
        if (sigwait(signals, &number) != 0)
            continue;
        if (number != SIGHUP) {
            log_info("stopping", "signal=%d", number);
            return;
        }
        reload(server, argc, argv);
    }
}

static int run(const struct options *o, int argc, char **argv)
{
    struct server *server = NULL;
    char *why = NULL;
    sigset_t signals;
    enum err err;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);

    TRY(server_open(o, &server, &why));
    TRY(server_start(server, &why));
    printf("parleyd listening on %s:%d\n", server_host(server), server_port(server));
    fflush(stdout);
    wait_for_end(server, &signals, argc, argv);
    server_stop(server);
out:
    if (err != ERR_OK)
        fprintf(stderr, "parleyd: %s\n", why ? why : err_text(err));
    mem_free(why);
    server_close(server);
    return err == ERR_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    int level;

    for (int i = 1; i < argc; i++) {
        if (str_eq(str_c(argv[i]), STR("--help")) || str_eq(str_c(argv[i]), STR("-h"))) {
            options_help();
            return 0;
        }
    }
    if (options_load(argc, argv, &options) != ERR_OK || options_log_level(options.log_level, &level) != ERR_OK)
        return 2;
    if (options.check) {
        printf("parleyd: the options are fine\n");
        return 0;
    }
    mem_return_large();
    log_set_level((enum log_level)level);
    restart_remember(argv);
    return run(&options, argc, argv);
}
