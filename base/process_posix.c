#include "base/process.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static void print_cpu(struct buf *out)
{
    struct rusage u;

    if (getrusage(RUSAGE_SELF, &u) != 0)
        return;
    long long us =
        (long long)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
    buf_printf(out,
               "# HELP process_cpu_seconds_total User and system CPU time\n# TYPE process_cpu_seconds_total counter\n"
               "process_cpu_seconds_total %lld.%06lld\n",
               us / 1000000, us % 1000000);
}

/* The second number of statm: resident pages. */
static void print_memory(struct buf *out)
{
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    unsigned long pages = 0;
    char text[128];
    ssize_t n;

    if (fd < 0)
        return;
    n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    if (sscanf(text, "%*u %lu", &pages) != 1)
        return;
    buf_printf(out,
               "# HELP process_resident_memory_bytes Resident memory\n# TYPE process_resident_memory_bytes gauge\n"
               "process_resident_memory_bytes %llu\n",
               (unsigned long long)pages * (unsigned long long)sysconf(_SC_PAGESIZE));
}

void process_print(struct buf *out)
{
    print_cpu(out);
    print_memory(out);
}
