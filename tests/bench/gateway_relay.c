/* gateway_relay: what the gateway alone costs, before services that are made up (tests/lib/gateway_rig.h): CPU of its
 * thread for each message that one client of a pair sends, is answered for, and the other receives; and the resident
 * memory of idle sessions.
 *
 *   make build/release/libgateway.a && gcc -O2 -I. -D_GNU_SOURCE -include base/banned.h tests/bench/gateway_relay.c \
 *       -o build/gateway_relay build/release/lib{gateway,queue,proto,base}.a \
 *       -lwebsockets -luv -lsodium -lxxhash -ljansson -lz -lpthread
 *   build/gateway_relay relay CONNECTIONS WINDOW SECONDS
 *   build/gateway_relay idle CONNECTIONS */
#include "tests/lib/gateway_rig.h"
#include <sys/epoll.h>
#include <time.h>

struct peer_conn {
    struct client c;
    char *line; /* the frame it sends, again and again */
    size_t len;
};

static double seconds(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static long resident_bytes(void)
{
    long pages = 0, skip;
    FILE *f = fopen("/proc/self/statm", "r");

    if (!f || fscanf(f, "%ld %ld", &skip, &pages) != 2)
        abort();
    fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

/* A masked frame with a mask of zeroes: the server unmasks nothing, which is worth about 0.1 us here. */
static void make_line(struct peer_conn *p, int to)
{
    char user[USER_TEXT + 1], text[512];
    struct buf b = {0};
    int n;

    user[user_text(user, (user_id)to)] = '\0';
    n = snprintf(text, sizeof text,
                 "{\"id\":1234,\"op\":\"message.send\",\"user\":\"%s\",\"cid\":\"0123456789abcdef\",\"content\":{"
                 "\"type\":\"text\","
                 "\"text\":\"%0100d\"}}",
                 user, 7);
    buf_char(&b, (char)0x81);
    buf_char(&b, (char)(0x80 | 126));
    buf_char(&b, (char)(n >> 8));
    buf_char(&b, (char)n);
    buf_add(&b, "\1\2\3\4", 4);
    for (int i = 0; i < n; i++)
        buf_char(&b, (char)(text[i] ^ (i % 4 + 1)));
    p->line = b.p;
    p->len = b.len;
}

/* Takes the whole frames that have come; returns how many were replies. */
static unsigned take_frames(struct client *c, unsigned long *events)
{
    unsigned replies = 0;
    size_t at = 0;

    while (c->in.len - at >= 2) {
        const uint8_t *p = (const uint8_t *)c->in.p + at;
        size_t n = p[1], head = 2;

        if (n == 126) {
            if (c->in.len - at < 4)
                break;
            n = (size_t)p[2] << 8 | p[3];
            head = 4;
        }
        if (c->in.len - at < head + n)
            break;
        if (memcmp(p + head, "{\"re\"", 5) == 0)
            replies++;
        else
            ++*events;
        at += head + n;
    }
    client_take(c, at);
    return replies;
}

static void send_lines(struct peer_conn *p, unsigned n)
{
    char all[16 * 512];

    for (unsigned i = 0; i < n; i++)
        memcpy(all + i * p->len, p->line, p->len);
    client_write(&p->c, all, n * p->len);
}

static void relay(int n, unsigned window, double length)
{
    struct rig *rig = rig_start(1, false, 60000);
    struct peer_conn *peers = mem_new_array(struct peer_conn, (size_t)n);
    struct epoll_event got[256];
    int ep = epoll_create1(0);
    unsigned long acks = 0, events = 0;
    double start, cpu, wall;
    clockid_t clock;

    pthread_getcpuclockid(rig->side[0].thread, &clock);
    for (int i = 0; i < n; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &peers[i]};

        peers[i].c = client_login(rig, i + 1, 1, "");
        make_line(&peers[i], (i ^ 1) + 1);
        epoll_ctl(ep, EPOLL_CTL_ADD, peers[i].c.fd, &e);
    }
    for (int i = 0; i < n; i++)
        send_lines(&peers[i], window);
    start = seconds(CLOCK_MONOTONIC);
    cpu = seconds(clock);
    while (seconds(CLOCK_MONOTONIC) < start + length) {
        int ready = epoll_wait(ep, got, 256, 1000);

        for (int i = 0; i < ready; i++) {
            struct peer_conn *p = got[i].data.ptr;
            unsigned more;

            if (!client_more(&p->c))
                abort();
            more = take_frames(&p->c, &events);
            acks += more;
            if (more)
                send_lines(p, more);
        }
    }
    wall = seconds(CLOCK_MONOTONIC) - start;
    cpu = seconds(clock) - cpu;
    printf("connections=%d window=%u messages/s=%.0f server_cpu_us=%.2f writes_per_message=%.2f\n", n, window,
           (double)acks / wall, cpu * 1e6 / (double)acks,
           (double)rig_metric(rig, METRIC_WRITES) / (double)rig_metric(rig, METRIC_DELIVERIES));
    exit(0);
}

static void idle(int n)
{
    struct rig *rig = rig_start(1, false, 3600 * 1000);
    struct client *clients = mem_new_array(struct client, (size_t)n);
    long before, after;

    for (int i = 0; i < 100; i++)
        clients[i] = client_login(rig, i + 1, 1, "");
    before = resident_bytes();
    for (int i = 100; i < n; i++) {
        clients[i] = client_login(rig, i + 1, 1, "");
        buf_deinit(&clients[i].in);
    }
    after = resident_bytes();
    printf("connections=%d resident_bytes_each=%.0f (with 24 of the client)\n", n,
           (double)(after - before) / (n - 100));
    exit(0);
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "relay") == 0)
        relay((int)strtol(argv[2], NULL, 10), (unsigned)strtoul(argv[3], NULL, 10), strtod(argv[4], NULL));
    if (argc == 3 && strcmp(argv[1], "idle") == 0)
        idle((int)strtol(argv[2], NULL, 10));
    fputs("usage: gateway_relay relay CONNECTIONS WINDOW SECONDS | idle CONNECTIONS\n", stderr);
    return 2;
}
