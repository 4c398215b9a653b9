#include "cmd/parley_load_worker.h"
#include "cmd/parley_load_result.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOK_US = 100000, ALIVE_US = 1000000, BARRIER_TURN_US = 1000, JOB_MS = 60000, EXIT_USAGE = 2 };

struct worker {
    struct link link;
    uint64_t looked_us, alive_us;
    bool is_gone;
};

static struct worker *worker_of(struct run *r) { return r->stage_arg; }

static void tell(struct run *r, enum msg_type type)
{
    struct worker *w = worker_of(r);

    if (!w->is_gone && !link_send(&w->link, type, STR("")))
        w->is_gone = true;
}

/* What the coordinator says by now: MSG_GO, MSG_STOP, MSG_TOPS, or 0. *m is it. */
static unsigned listen_to(struct run *r, struct msg *m)
{
    struct worker *w = worker_of(r);

    switch (link_receive(&w->link, 0, m)) {
    case LINK_NOTHING:
        return 0;
    case LINK_MESSAGE:
        return m->type;
    case LINK_CLOSED:
    case LINK_BAD:
        break;
    }
    if (!w->is_gone)
        run_fault(r, NULL, "the coordinator is gone");
    w->is_gone = r->is_broken = true;
    return MSG_STOP;
}

static void say_alive(struct run *r)
{
    uint64_t now = net_clock_us();

    if (now < worker_of(r)->alive_us + ALIVE_US)
        return;
    tell(r, MSG_ALIVE);
    worker_of(r)->alive_us = now;
}

static void on_turn(struct run *r)
{
    struct worker *w = worker_of(r);
    uint64_t now = net_clock_us();
    struct msg m;

    if (now < w->looked_us + LOOK_US)
        return;
    w->looked_us = now;
    if (listen_to(r, &m) == MSG_STOP)
        run_stop();
    say_alive(r);
}

/* One turn of who waits for the coordinator. */
static unsigned wait_turn(struct run *r, struct msg *m)
{
    net_turn(&r->net, BARRIER_TURN_US);
    say_alive(r);
    return listen_to(r, m);
}

/* All begin together. Meanwhile connections are kept alive. */
static bool wait_for_all(struct run *r)
{
    unsigned said = 0;
    struct msg m;

    tell(r, MSG_READY);
    while (said != MSG_GO && said != MSG_STOP && !r->is_broken && !worker_of(r)->is_gone)
        said = wait_turn(r, &m);
    if (said != MSG_GO)
        run_fault(r, NULL, "stopped before the traffic");
    return said == MSG_GO;
}

/* Of a broken run too: the others wait for it. */
static void exchange_tops(struct run *r)
{
    struct worker *w = worker_of(r);
    struct buf mine = {0};
    unsigned said = 0;
    struct msg m;

    run_tops(r, &mine);
    if (!link_send(&w->link, MSG_TOPS, buf_get(&mine)))
        w->is_gone = true;
    buf_deinit(&mine);
    while (said != MSG_TOPS && !w->is_gone)
        said = wait_turn(r, &m);
    if (said == MSG_TOPS && !run_expect(r, m.body))
        run_fault(r, &r->faults.wrong, "other workers saw seqs that are absurdly far ahead of ours");
}

static bool at_stage(struct run *r, enum run_stage stage)
{
    switch (stage) {
    case RUN_READY:
    case RUN_LOGGED_IN:
        return wait_for_all(r);
    case RUN_ANSWERED:
        exchange_tops(r);
        return true;
    case RUN_TURN:
        on_turn(r);
        return true;
    case RUN_BEGUN:
        tell(r, MSG_BEGUN);
        return true;
    case RUN_ENDED:
        tell(r, MSG_ENDED);
        return true;
    }
    return true;
}

static bool say_failed(struct worker *w, struct str why)
{
    if (why.len > MSG_SMALL_MAX)
        why.len = MSG_SMALL_MAX;
    (void)!link_send(&w->link, MSG_FAILED, why);
    return false;
}

static bool do_run(struct worker *w, const struct job *j, const struct load_options *o)
{
    struct run r;
    struct buf result = {0};
    struct run_part part = {j->run, j->base, j->users, j->workers, j->at, j->ids};
    enum err err = run_init(&r, o, &part);
    bool is_done = false;

    r.at_stage = at_stage;
    r.stage_arg = w;
    if (err == ERR_OK)
        err = run_all(&r);
    if (err == ERR_OK) {
        result_encode(&r, &result);
        is_done = link_send(&w->link, MSG_RESULT, buf_get(&result));
    } else {
        is_done = say_failed(w, buf_get(&r.fault));
    }
    buf_deinit(&result);
    run_deinit(&r);
    return is_done;
}

/* The options are read by whom reads the command line, so they are checked as those are. */
static bool do_job(struct worker *w)
{
    struct load_options o = {0};
    char *argv[MSG_ARGS_MAX + 2] = {"worker"};
    struct job j;
    struct msg m;

    if (link_receive(&w->link, JOB_MS, &m) != LINK_MESSAGE)
        return false;
    if (m.type != MSG_JOB || job_decode(m.body, &j) != ERR_OK)
        return say_failed(w, STR("what came is not a job"));
    /* The message's memory is used again by the next one. */
    struct buf kept = {0};
    buf_str(&kept, m.body);
    (void)!job_decode(buf_get(&kept), &j);
    for (size_t i = 0; i < j.n_args; i++)
        argv[i + 1] = (char *)(uintptr_t)j.args[i];
    bool is_done = load_options_read((int)j.n_args + 1, argv, &o) == ERR_OK
                       ? do_run(w, &j, &o)
                       : say_failed(w, STR("the options are wrong for this worker: its stderr says more"));
    buf_deinit(&kept);
    return is_done;
}

/* Until the coordinator closes: it must not lose what is under way. */
static void linger(struct worker *w)
{
    struct msg m;

    while (!w->is_gone && link_receive(&w->link, LINK_GREET_MS, &m) == LINK_MESSAGE)
        continue;
}

int worker_serve(int fd, bool is_child, const struct secret *s)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}, end = {.sa_handler = SIG_DFL};
    struct worker w = {0};
    struct buf why = {0};
    bool is_done = false;

    (void)sigaction(SIGINT, &ignore, NULL); /* the coordinator's to handle: it asks all to stop */
    (void)sigaction(SIGTERM, &end, NULL);
    link_open(&w.link, fd, is_child);
    if (!is_child && link_greet_coordinator(&w.link, s, &why) != ERR_OK)
        fprintf(stderr, "parley-load: a coordinator was refused: " STR_FMT "\n", STR_ARG(buf_get(&why)));
    else
        is_done = do_job(&w);
    if (w.link.is_known)
        linger(&w);
    link_close(&w.link);
    buf_deinit(&why);
    return is_done ? 0 : 1;
}

static int complain(const char *what, const char *detail)
{
    fprintf(stderr, "parley-load: worker-listen: %s%s%s\n", what, detail[0] ? ": " : "", detail);
    return EXIT_USAGE;
}

/* -1, said on stderr. */
static int open_socket(const struct address *a, bool has_secret)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found = NULL;
    int fd = -1, on = 1;

    if (getaddrinfo(a->host, a->port, &hints, &found) != 0 || !found) {
        complain(a->host, "not known");
        return -1;
    }
    if (!has_secret && !address_is_loopback(found->ai_addr)) {
        complain("that is not a loopback address, so a --worker-secret-file is needed", "");
    } else {
        fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, 8) != 0) {
            complain(a->host, strerror(errno));
            if (fd >= 0)
                close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd;
}

static void say_where(int fd)
{
    struct sockaddr_storage at = {0};
    socklen_t len = sizeof at;
    char host[64] = "", port[8] = "";

    (void)getsockname(fd, (struct sockaddr *)&at, &len);
    (void)getnameinfo((struct sockaddr *)&at, len, host, sizeof host, port, sizeof port,
                      NI_NUMERICHOST | NI_NUMERICSERV);
    printf("parley-load: a worker is listening on %s:%s\n", host, port);
    fflush(stdout);
}

static void serve_in_child(int listener, int fd, const struct secret *s)
{
    pid_t parent = getpid(), pid = fork();

    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
        close(listener);
        _exit(getppid() == parent ? worker_serve(fd, false, s) : 1);
    }
    close(fd);
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

int worker_listen(const struct load_options *o)
{
    struct sigaction end = {.sa_handler = SIG_DFL};
    struct secret secret;
    struct address a;
    struct buf why = {0};
    int fd, got;

    (void)sigaction(SIGINT, &end, NULL);
    (void)sigaction(SIGTERM, &end, NULL);
    if (secret_load(o->worker_secret_file, &secret, &why) != ERR_OK) {
        fprintf(stderr, "parley-load: " STR_FMT "\n", STR_ARG(buf_get(&why)));
        buf_deinit(&why);
        return EXIT_USAGE;
    }
    if (address_parse(str_c(o->worker_listen), &a) != ERR_OK)
        return complain("HOST:PORT is wanted, as in 127.0.0.1:7080", "");
    fd = open_socket(&a, secret.is_set);
    if (fd < 0)
        return EXIT_USAGE;
    say_where(fd);
    for (;;) {
        got = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        if (got >= 0)
            serve_in_child(fd, got, &secret);
        else if (errno != EINTR && errno != ECONNABORTED)
            return complain("no more connections can be taken", strerror(errno));
    }
}
