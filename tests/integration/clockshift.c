/* clockshift: preloaded into a program, moves its wall clock ahead by as many seconds as the file $CLOCKSHIFT says, from
 * the moment on at which it says so. System calls only: it is called before anything else is ready. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long shift(void)
{
    const char *path = getenv("CLOCKSHIFT");
    char text[24];
    long fd = path ? syscall(SYS_openat, AT_FDCWD, path, O_RDONLY) : -1, n = 0, seconds = 0;

    if (fd < 0)
        return 0;
    n = syscall(SYS_read, fd, text, sizeof text);
    syscall(SYS_close, fd);
    for (long i = 0; i < n && text[i] >= '0' && text[i] <= '9'; i++)
        seconds = seconds * 10 + (text[i] - '0');
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *t)
{
    int result = (int)syscall(SYS_clock_gettime, clock, t);

    if (result == 0 && clock == CLOCK_REALTIME)
        t->tv_sec += shift();
    return result;
}
