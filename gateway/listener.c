#include "gateway/listener.h"
#include "base/log.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

enum { BACKLOG = 4096, ACCEPTS_A_TURN = 16, PAUSE_MS = 200 };

struct listener {
    uv_poll_t poll;
    struct loop *loop;
    struct timer pause;
    listener_fn *fn;
    void *ctx;
    int fd, port;
};

static void on_readable(uv_poll_t *poll, int status, int events);

static void resume(struct timer *t)
{
    struct listener *l = container_of(t, struct listener, pause);

    uv_poll_start(&l->poll, UV_READABLE, on_readable);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct listener *l = poll->data;
    const int yes = 1;

    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                log_warn("accept_paused", "errno=%d", errno);
                uv_poll_stop(&l->poll);
                timer_set(l->loop, &l->pause, PAUSE_MS);
            }
            return;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        l->fn(l->ctx, fd);
    }
}

static int port_of(int fd)
{
    struct sockaddr_storage a;
    socklen_t len = sizeof a;

    if (getsockname(fd, (struct sockaddr *)&a, &len) != 0)
        return -1;
    if (a.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)(void *)&a)->sin6_port);
    return ntohs(((struct sockaddr_in *)(void *)&a)->sin_port);
}

static enum err err_of_bind(int e)
{
    return e == EADDRINUSE ? ERR_LOCKED : e == EADDRNOTAVAIL ? ERR_NOT_FOUND : ERR_IO;
}

static enum err listen_on(const char *host, int port, bool reuse, int *out)
{
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
    struct addrinfo *a = NULL;
    const int yes = 1;
    char number[16];
    enum err err;
    int fd = -1;

    snprintf(number, sizeof number, "%d", port);
    if (getaddrinfo(host, number, &hints, &a) != 0)
        return ERR_IO;
    fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
        (reuse && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes) != 0) ||
        bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        err = err_of_bind(errno);
        log_error("listen_failed", "host=%s port=%d errno=%d", host, port, errno);
        goto out;
    }
    *out = fd;
    fd = -1;
    err = ERR_OK;
out:
    if (fd >= 0)
        close(fd);
    freeaddrinfo(a);
    return err;
}

/* With SO_REUSEPORT a second server would share the port of the first, and each would get half of the clients. */
enum err listener_try(const char *host, int port)
{
    int fd;
    enum err err;

    if (port == 0)
        return ERR_OK;
    err = listen_on(host, port, false, &fd);
    if (err == ERR_OK)
        close(fd);
    return err;
}

enum err listener_open(struct loop *loop, const char *host, int port, bool is_shared, listener_fn *fn, void *ctx,
                       struct listener **out)
{
    struct listener *l;
    int fd;
    enum err err = is_shared ? ERR_OK : listener_try(host, port);

    if (err == ERR_OK)
        err = listen_on(host, port, true, &fd);
    if (err != ERR_OK)
        return err;
    l = mem_new(struct listener);
    *l = (struct listener){.loop = loop, .fn = fn, .ctx = ctx, .fd = fd, .port = port_of(fd), .pause.fn = resume};
    uv_poll_init(loop_uv(loop), &l->poll, fd);
    l->poll.data = l;
    uv_poll_start(&l->poll, UV_READABLE, on_readable);
    *out = l;
    return ERR_OK;
}

static void on_closed(uv_handle_t *h) { mem_free(h->data); }

void listener_close(struct listener *l)
{
    if (!l)
        return;
    timer_stop(&l->pause);
    uv_poll_stop(&l->poll);
    close(l->fd);
    uv_close((uv_handle_t *)&l->poll, on_closed);
}

int listener_port(const struct listener *l) { return l->port; }
