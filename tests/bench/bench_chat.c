/* bench_chat: what a message costs the services, the log and the store, without sockets.
 *
 *   bench_chat [messages] [members] [window] [conversations] [active] [memory] [cache]
 *
 * One reactor. Each conversation has `window` sends under way; members are online, and a delivery is a call that
 * counts. With `active` (chats of two only) each of the conversations is there, with one message, before anything is
 * counted; then so many of them, spread evenly over all, get one message each, which is told by itself, for where they
 * are many it finds them on the disk; then they are written to at random. FLIGHT messages are under way. Memory is for
 * conversations, cache for blocks of the stores, both in MiB and without a word as of the server. CPU of the whole
 * process is reported per entry and per delivery: requests, admission, log with fsync, store with its flushes and
 * merges, printing, fan-out. */
#include "services/reactor_state.h"
#include "tests/unit/services/group_fixture.h"
#include <sys/resource.h>
#include <time.h>

enum { FLIGHT = 256, QUIET_US = 5000, QUIET_LOOKS = 3, LOOK_NS = 100000000 };

static struct bench {
    struct world_test *w;
    struct reactor *r;
    uint64_t total, members, window, convs, active;
    uint64_t sent, answered, goal, delivered, failed;
    enum { MAKING, WAKING, TALKING } phase;
    struct conv_id *ids;
    sem_t done;
} b;

static const char CONTENT[] =
    "{\"type\":\"text\",\"text\":\"The quick brown fox jumps over the lazy dog, and the dog, being "
    "lazy, lets it pass; a message like most of the messages that people send.\"}";

static user_id user_of(uint64_t conv, uint64_t member) { return 100 + conv * b.members + member; }

static void send_one(uint64_t conv);

/* From one conversation that is written to, to the next. */
static uint64_t apart(void) { return b.active ? b.convs / b.active : 1; }

/* Where there are active ones: all in turn while they are made, then each active one, then any of these. */
static uint64_t next_conv(uint64_t conv)
{
    if (!b.active)
        return conv;
    if (b.phase == MAKING)
        return b.sent;
    return (b.phase == WAKING ? b.sent : hash_u64(b.sent) % b.active) * apart();
}

static void on_sent(struct request *q)
{
    uint64_t conv = (uint64_t)(uintptr_t)q->asker;

    if (q->code != CODE_OK && !b.failed++)
        fprintf(stderr, "refused: %s\n", q->why);
    request_free(q);
    if (++b.answered == b.goal)
        sem_post(&b.done);
    else if (b.sent < b.goal)
        send_one(next_conv(conv));
}

static void send_one(uint64_t conv)
{
    struct request *q = request_new(on_sent, (void *)(uintptr_t)conv);
    uint64_t n = b.sent++;
    struct args_message_send *a;
    char cid[32];
    int len = snprintf(cid, sizeof cid, "%c-%016llx-%llu", "cwm"[b.phase], (unsigned long long)hash_u64(n),
                       (unsigned long long)n);

    q->op = OP_message_send;
    q->args = arena_alloc(&q->arena, sizeof *q->args);
    a = &q->args->message_send;
    q->actor.user = user_of(conv, n % b.members);
    q->actor.device = q->actor.user;
    if (b.members == 2) {
        a->user = user_of(conv, (n + 1) % 2);
        a->has_user = true;
    } else {
        a->conv = b.ids[conv];
        a->has_conv = true;
    }
    a->cid = arena_dup(&q->arena, str_of(cid, (size_t)len));
    a->content = arena_dup(&q->arena, STR(CONTENT));
    bus_request(reactor_port(b.r), 0, q);
}

static void count_delivery(void *ctx, const struct delivery *d)
{
    (void)ctx;
    for (uint32_t i = 0; d->to && i < d->to->n; i++)
        b.delivered += d->to->users[i] != d->skip_user;
}

static void start(void *arg)
{
    (void)arg;
    for (uint64_t i = 0; b.active && i < FLIGHT && b.sent < b.goal; i++)
        send_one(next_conv(0));
    for (uint64_t c = 0; !b.active && c < b.convs; c++)
        for (uint64_t i = 0; i < b.window && b.sent < b.goal; i++)
            send_one(c);
}

static void come_online(void *arg)
{
    (void)arg;
    bus_sink(reactor_port(b.r), count_delivery, NULL);
    for (uint64_t c = 0; c < b.convs; c += apart())
        for (uint64_t m = 0; m < b.members; m++)
            bus_join(reactor_port(b.r), user_of(c, m));
}

static void thread_cpu(void *arg)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    *(double *)arg = (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double process_cpu(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

/* What the making leaves to the threads behind (flushes, merges, tables) is not to be counted with what follows. */
static void settle(void)
{
    const struct timespec look = {0, LOOK_NS};
    double last = process_cpu(), now;

    for (int quiet = 0; quiet < QUIET_LOOKS; last = now) {
        nanosleep(&look, NULL);
        now = process_cpu();
        quiet = now - last < QUIET_US ? quiet + 1 : 0;
    }
}

struct cost {
    double seconds, cpu, reactor; /* us of CPU */
};

/* `goal` messages, and what they cost until the last is answered. */
static struct cost run(uint64_t goal)
{
    double before = process_cpu(), reactor[2];
    uint64_t started = env_mono_us(b.w->world.env);

    b.goal = goal;
    b.sent = b.answered = b.delivered = 0;
    on_reactor(b.w, 0, thread_cpu, &reactor[0]);
    on_reactor(b.w, 0, start, NULL);
    sem_wait(&b.done);
    on_reactor(b.w, 0, thread_cpu, &reactor[1]);
    return (struct cost){(double)(env_mono_us(b.w->world.env) - started) / 1e6, process_cpu() - before,
                         reactor[1] - reactor[0]};
}

/* All conversations get their first message, then the active ones another. */
static void make_all(void)
{
    struct cost c;

    (void)run(b.convs);
    settle();
    b.phase = WAKING;
    on_reactor(b.w, 0, come_online, NULL);
    c = run(b.active);
    printf("the first message to each of %llu: CPU %.2f us\n", (unsigned long long)b.active, c.cpu / (double)b.active);
    settle();
    b.phase = TALKING;
}

static uint64_t number(int argc, char **argv, int i, uint64_t otherwise)
{
    return argc > i ? strtoull(argv[i], NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
    struct cost c;

    b.total = number(argc, argv, 1, 1000000);
    b.members = number(argc, argv, 2, 2);
    b.window = number(argc, argv, 3, 8);
    b.convs = number(argc, argv, 4, 500);
    b.active = number(argc, argv, 5, 0);
    if (b.active > b.convs)
        b.active = b.convs;
    if (b.active && b.members != 2) {
        fputs("bench_chat: active ones are chats of two\n", stderr);
        return 2;
    }
    b.ids = mem_new_array(struct conv_id, b.convs);
    b.w = world_new(1);
    b.w->memtable_bytes = 16 << 20;
    b.w->limits = (struct world_limits){.convs_bytes = number(argc, argv, 6, 256) << 20,
                                        .heads_bytes = 32 << 20}; /* as of the server */
    b.w->cache_bytes = number(argc, argv, 7, 128) << 20;
    b.w->segment_bytes = 64 << 20;
    b.w->ops[OP_group_create] = fixture_op_create;
    b.w->any_user = true;
    world_open(b.w);
    b.r = b.w->r[0];
    sem_init(&b.done, 0, 0);
    for (uint64_t i = 0; b.members > 2 && i < b.convs; i++) {
        char cid[32];

        snprintf(cid, sizeof cid, "g%llu", (unsigned long long)i);
        group_new(b.w, user_of(i, 0), cid, user_of(i, 1), (unsigned)b.members - 1, false);
        group_conv(&b.w->data.keys, user_of(i, 0), str_c(cid), &b.ids[i]);
    }
    if (b.active)
        make_all();
    else
        on_reactor(b.w, 0, come_online, NULL);
    c = run(b.total);
    printf(
        "%llu entries, %llu members, window %llu, %llu conversations: %.0f entries/s, CPU %.2f us an entry (reactor's "
        "thread %.2f), %.3f us a delivery, failed %llu\n",
        (unsigned long long)b.total, (unsigned long long)b.members, (unsigned long long)b.window,
        (unsigned long long)b.convs, (double)b.total / c.seconds, c.cpu / (double)b.total, c.reactor / (double)b.total,
        c.cpu / (double)b.delivered, (unsigned long long)b.failed);
    world_end(b.w);
    sem_destroy(&b.done);
    mem_free(b.ids);
    return b.failed != 0;
}
