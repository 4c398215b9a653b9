#include "cmd/parley_load_scrape.h"
#include "base/buf.h"
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* The number behind "\nNAME ". */
static bool read_metric(struct str text, const char *name, double *out)
{
    size_t len = strlen(name);
    char number[64] = "";

    for (const char *p = text.p; (p = memmem(p, text.len - (size_t)(p - text.p), name, len)); p += len) {
        struct str rest = str_from(text, (size_t)(p - text.p) + len);
        if (p == text.p || p[-1] != '\n' || !str_starts(rest, STR(" ")))
            continue;
        rest = str_from(rest, 1);
        for (size_t i = 0; i < rest.len && rest.p[i] != '\n' && i < sizeof number - 1; i++)
            number[i] = rest.p[i];
        char *end;
        *out = strtod(number, &end);
        return end != number && (*end == '\0' || *end == '\r') && *out >= 0 && *out < 1e15;
    }
    return false;
}

bool scrape_read(struct str answer, struct proc_use *out)
{
    double cpu_s, bytes;

    if (!str_starts(answer, STR("HTTP/1.1 200 ")) || !read_metric(answer, "process_cpu_seconds_total", &cpu_s) ||
        !read_metric(answer, "process_resident_memory_bytes", &bytes))
        return false;
    *out = (struct proc_use){true, (uint64_t)(cpu_s * 1e6 + 0.5), (uint64_t)bytes / 1024, (uint64_t)bytes / 1024};
    return true;
}

static int connect_to(const struct target *t)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    struct timeval limit = {SCRAPE_MS / 1000, 0};
    int fd = -1;

    if (getaddrinfo(t->host, t->port, &hints, &found) != 0 || !found)
        return -1;
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        if (connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd;
}

static void *run(void *arg)
{
    struct scrape *s = arg;
    struct buf text = {0};
    int fd = connect_to(s->target);
    ssize_t got;

    if (fd < 0)
        return NULL;
    buf_printf(&text, "GET /metrics HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", s->target->host);
    if (send(fd, text.p, text.len, MSG_NOSIGNAL) == (ssize_t)text.len) {
        buf_clear(&text);
        while (text.len < SCRAPE_MAX_BYTES && (got = recv(fd, buf_reserve(&text, 16384), 16384, 0)) > 0)
            text.len += (size_t)got;
        (void)scrape_read(buf_get(&text), &s->use);
    }
    buf_deinit(&text);
    close(fd);
    return NULL;
}

void scrape_begin(struct scrape *s, const struct target *target)
{
    *s = (struct scrape){.target = target};
    s->is_running = pthread_create(&s->thread, NULL, run, s) == 0;
}

struct proc_use scrape_end(struct scrape *s)
{
    if (s->is_running)
        pthread_join(s->thread, NULL);
    s->is_running = false;
    return s->use;
}
