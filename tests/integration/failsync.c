/* failsync: preloaded into a server, makes one fdatasync of its log fail: the next one after the file $FAILSYNC appears. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_log(int fd)
{
    char name[64], path[4096];
    ssize_t n;

    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    n = readlink(name, path, sizeof path - 1);
    if (n < 0)
        return 0;
    path[n] = '\0';
    return strstr(path, "/log/") && strstr(path, ".seg") && !strstr(path, "/ready/");
}

int fdatasync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    const char *trigger = getenv("FAILSYNC");

    if (trigger && is_log(fd) && unlink(trigger) == 0) {
        errno = EIO;
        return -1;
    }
    return real(fd);
}
