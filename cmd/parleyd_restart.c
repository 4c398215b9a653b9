#include "cmd/parleyd_restart.h"
#include "base/log.h"
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

static char **arguments; /* written once, before any thread */
static atomic_flag under_way = ATOMIC_FLAG_INIT;

void restart_remember(char **argv) { arguments = argv; }

_Noreturn void restart_after(const char *what, enum err err)
{
    sigset_t none;

    while (atomic_flag_test_and_set(&under_way))
        pause(); /* another thread is at it */
    log_error("restarting", "because=%s error=%s", what, err_name(err));
    nanosleep(&(struct timespec){.tv_sec = 1}, NULL); /* a disk that stays broken must not make a busy loop */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execv("/proc/self/exe", arguments); /* every descriptor is close-on-exec, the data folder's lock too */
    _exit(70);
}
