#include "base/log.h"
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 1024 };

static _Atomic enum log_level max_level = LOG_INFO;

void log_set_level(enum log_level level) { atomic_store_explicit(&max_level, level, memory_order_relaxed); }

/* What snprintf wrote of what it would have written into `room` bytes. */
static size_t written(int n, size_t room) { return n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1; }

static size_t print_head(char *line, size_t room, enum log_level level, const char *name)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    struct timespec now;
    struct tm tm;

    clock_gettime(CLOCK_REALTIME, &now); /* not env's: a log tells when it really was */
    gmtime_r(&now.tv_sec, &tm);
    size_t n = strftime(line, room, "%Y-%m-%dT%H:%M:%S", &tm);
    return n + written(snprintf(line + n, room - n, ".%03dZ %s %s ", (int)(now.tv_nsec / 1000000), names[level], name),
                       room - n);
}

void log_event(enum log_level level, const char *name, const char *fmt, ...)
{
    char line[LINE_MAX_BYTES];
    va_list args;

    if (level > atomic_load_explicit(&max_level, memory_order_relaxed))
        return;
    size_t room = sizeof(line) - 1; /* one byte is the line's end */
    size_t n = print_head(line, room, level, name);
    va_start(args, fmt);
    n += written(vsnprintf(line + n, room - n, fmt, args), room - n);
    va_end(args);
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)line[i] < ' ')
            line[i] = ' '; /* one event, one line, whatever is in a value */
    }
    while (n > 0 && line[n - 1] == ' ')
        n--;
    line[n++] = '\n';
    (void)!write(STDERR_FILENO, line, n); /* there is nowhere to say that it failed */
}
