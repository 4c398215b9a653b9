#include "cmd/parley_load_proc.h"
#include <fcntl.h>
#include <inttypes.h>
#include <sys/resource.h>
#include <unistd.h>

enum { TEXT_MAX = 8192 };

static bool read_text(int64_t pid, const char *name, char text[TEXT_MAX])
{
    char path[64];
    ssize_t n;
    int fd;

    snprintf(path, sizeof path, "/proc/%" PRId64 "/%s", pid, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    n = read(fd, text, TEXT_MAX - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* Fields 14 and 15 of `stat`; the name, field 2, is in brackets and may hold anything. */
static uint64_t cpu_of(const char *stat)
{
    const char *p = strrchr(stat, ')');
    unsigned long user = 0, system = 0;

    if (!p || sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        return 0;
    return (uint64_t)(user + system) * 1000000 / (uint64_t)sysconf(_SC_CLK_TCK);
}

static uint64_t kb_of(const char *status, const char *name)
{
    const char *p = strstr(status, name);
    unsigned long kb = 0;

    return p && sscanf(p + strlen(name), " %lu", &kb) == 1 ? kb : 0;
}

struct proc_use proc_use(int64_t pid)
{
    struct proc_use use = {0};
    char text[TEXT_MAX];

    if (pid <= 0 || !read_text(pid, "stat", text))
        return use;
    use.is_there = true;
    use.cpu_us = cpu_of(text);
    if (read_text(pid, "status", text)) {
        use.rss_kb = kb_of(text, "VmRSS:");
        use.rss_top_kb = kb_of(text, "VmHWM:");
    }
    return use;
}

uint64_t proc_own_cpu_us(void)
{
    struct rusage u;

    if (getrusage(RUSAGE_SELF, &u) != 0)
        return 0;
    return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}
