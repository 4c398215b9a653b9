#include "cmd/parley_load_workers.h"
#include "base/env.h"
#include "cmd/parley_load_result.h"
#include "cmd/parley_load_worker.h"
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TURN_MS = 200 };
enum member_state { MEMBER_STARTING, MEMBER_READY, MEMBER_RUNNING, MEMBER_DONE, MEMBER_DEAD };

struct member {
    char name[300];
    pid_t pid; /* 0: on another machine, or not our child */
    struct link link;
    enum member_state state;
    bool has_ended, has_tops;
    uint64_t heard_us;
    struct buf result;
};
struct workers {
    struct run *sum;
    struct secret secret;
    struct member v[WORKERS_MAX];
    size_t n;
    size_t gates; /* how often all must still be ready */
    bool has_failed, is_begun, is_ended;
    bool is_shared, is_told; /* groups are shared; all were told how far they came */
    uint64_t *tops;
    size_t n_tops;
};

void workers_part(size_t users, size_t unit, size_t n, size_t at, size_t *from, size_t *to)
{
    size_t units = users / unit, each = units / n, more = units % n;

    *from = (at * each + (at < more ? at : more)) * unit;
    *to = *from + (each + (at < more)) * unit;
    if (at == n - 1)
        *to = users;
}

/* An equal share, the first ones one more. */
static int64_t share(int64_t amount, size_t n, size_t at)
{
    return amount / (int64_t)n + ((int64_t)at < amount % (int64_t)n);
}

static bool is_alive(const struct member *m) { return m->state < MEMBER_DONE; }

static bool all(const struct workers *w, bool (*is)(const struct member *))
{
    for (size_t i = 0; i < w->n; i++) {
        if (!is(&w->v[i]))
            return false;
    }
    return true;
}

static bool is_over(const struct member *m) { return !is_alive(m); }
static bool is_ready(const struct member *m) { return m->state == MEMBER_READY; }
static bool has_tops(const struct member *m) { return m->has_tops || !is_alive(m); }
static bool has_ended(const struct member *m) { return m->has_ended || !is_alive(m); }

static void send_all(struct workers *w, enum msg_type type, struct str body)
{
    for (size_t i = 0; i < w->n; i++) {
        if (is_alive(&w->v[i]))
            (void)!link_send(&w->v[i].link, type, body); /* if it is gone, receiving says so */
    }
}

/* A child is gone for good after this, even one that hangs: what is killed cannot keep us waiting. */
static bool reap(struct member *m, int *status)
{
    pid_t pid = m->pid;

    m->pid = 0;
    if (pid <= 0)
        return false;
    (void)kill(pid, SIGKILL);
    while (waitpid(pid, status, 0) < 0) {
        if (errno != EINTR)
            return false;
    }
    return true;
}

/* How a child ended, if it is one; it has closed its socket, so its end has begun. */
static void put_end(struct member *m, struct buf *out)
{
    int status = 0;

    if (!reap(m, &status))
        return;
    if (WIFSIGNALED(status))
        buf_printf(out, " by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        buf_printf(out, " with status %d", WEXITSTATUS(status));
}

/* is_dead: by itself; else it is let go. */
static void bury(struct workers *w, struct member *m, bool is_dead, const char *how)
{
    struct buf text = {0};

    m->state = MEMBER_DEAD;
    link_close(&m->link);
    buf_printf(&text, "%s %s", m->name, how);
    if (is_dead)
        put_end(m, &text);
    else
        (void)reap(m, &(int){0});
    run_fault(w->sum, &w->sum->faults.workers, STR_FMT, STR_ARG(buf_get(&text)));
    buf_deinit(&text);
    send_all(w, MSG_STOP, STR(""));
}

static void fail(struct workers *w, struct member *m, struct str why)
{
    m->state = MEMBER_DEAD;
    if (!w->sum->faults.workers)
        w->has_failed = true;
    run_fault(w->sum, NULL, "%s: " STR_FMT, m->name, STR_ARG(why));
    link_close(&m->link);
    send_all(w, MSG_STOP, STR(""));
}

static void begin(struct workers *w)
{
    if (w->is_begun)
        return;
    w->is_begun = true;
    run_snapshot(w->sum, &w->sum->begin);
    run_ask_server(w->sum, &w->sum->scrapes[0]);
}

static void hear_tops(struct workers *w, struct member *m, struct str body)
{
    if (!w->is_shared || m->has_tops || !tops_merge(body, w->tops, w->n_tops))
        bury(w, m, false, "says what cannot be read of how far its groups came, and was let go");
    m->has_tops = true;
}

static void hear(struct workers *w, struct member *m, const struct msg *msg)
{
    m->heard_us = net_clock_us();
    switch (msg->type) {
    case MSG_READY:
        if (m->state == MEMBER_STARTING)
            m->state = MEMBER_READY;
        return;
    case MSG_BEGUN:
        begin(w);
        return;
    case MSG_ENDED:
        m->has_ended = true;
        return;
    case MSG_RESULT:
        buf_str(&m->result, msg->body);
        m->state = MEMBER_DONE;
        return;
    case MSG_FAILED:
        fail(w, m, msg->body);
        return;
    case MSG_TOPS:
        hear_tops(w, m, msg->body);
        return;
    case MSG_ALIVE:
        return;
    default:
        bury(w, m, false, "says what a worker does not say, and was let go");
    }
}

static void receive(struct workers *w, struct member *m)
{
    struct msg msg;

    while (is_alive(m)) {
        switch (link_receive(&m->link, 0, &msg)) {
        case LINK_MESSAGE:
            hear(w, m, &msg);
            break;
        case LINK_NOTHING:
            if (net_clock_us() > m->heard_us + WORKER_SILENT_S * 1000000ull)
                bury(w, m, false, "said nothing for half a minute");
            return;
        case LINK_CLOSED:
            bury(w, m, true, m->pid ? "died" : "died, or its machine cannot be reached any more");
            return;
        case LINK_BAD:
            bury(w, m, false, "says what cannot be read, and was let go");
            return;
        }
    }
}

/* All are as far: they go on. */
static void open_gate(struct workers *w)
{
    w->gates--;
    for (size_t i = 0; i < w->n; i++)
        w->v[i].state = w->gates ? MEMBER_STARTING : MEMBER_RUNNING;
    send_all(w, MSG_GO, STR(""));
}

static void tell_tops(struct workers *w)
{
    struct buf body = {0};

    w->is_told = true;
    tops_encode(w->tops, w->n_tops, &body);
    send_all(w, MSG_TOPS, buf_get(&body));
    buf_deinit(&body);
}

static void turn(struct workers *w)
{
    struct pollfd p[WORKERS_MAX];
    nfds_t n = 0;

    for (size_t i = 0; i < w->n; i++) {
        if (is_alive(&w->v[i]))
            p[n++] = (struct pollfd){.fd = w->v[i].link.fd, .events = POLLIN};
    }
    (void)poll(p, n, TURN_MS);
    if (run_take_stop())
        send_all(w, MSG_STOP, STR(""));
    for (size_t i = 0; i < w->n; i++)
        receive(w, &w->v[i]);
    if (w->gates && all(w, is_ready))
        open_gate(w);
    if (w->is_shared && !w->is_told && all(w, has_tops))
        tell_tops(w);
    if (w->is_begun && !w->is_ended && all(w, has_ended)) {
        w->is_ended = true;
        run_snapshot(w->sum, &w->sum->end);
        run_ask_server(w->sum, &w->sum->scrapes[1]);
    }
}

/* Starting. */

static bool start_child(struct workers *w, size_t at)
{
    struct member *m = &w->v[at];
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        run_fault(w->sum, NULL, "worker %zu cannot be started: %s", at + 1, strerror(errno));
        return false;
    }
    fflush(NULL);
    m->pid = fork();
    if (m->pid == 0) {
        close(pair[0]);
        for (size_t i = 0; i < at; i++)
            close(w->v[i].link.fd);
        _exit(worker_serve(pair[1], true, &w->secret));
    }
    close(pair[1]);
    link_open(&m->link, pair[0], true);
    snprintf(m->name, sizeof m->name, "worker %zu (process %d)", at + 1, (int)m->pid);
    if (m->pid > 0)
        return true;
    m->pid = 0;
    run_fault(w->sum, NULL, "worker %zu cannot be started: %s", at + 1, strerror(errno));
    return false;
}

static int connect_to(const struct address *a, bool has_secret, struct buf *why)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    struct timeval limit = {LINK_GREET_MS / 1000, 0};
    int fd = -1;

    if (getaddrinfo(a->host, a->port, &hints, &found) != 0 || !found) {
        buf_str(why, STR("its host is not known"));
        return -1;
    }
    if (!has_secret && !address_is_loopback(found->ai_addr)) {
        buf_str(why, STR("it is not on this machine, so a --worker-secret-file is needed"));
    } else {
        fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
            buf_str(why, str_c(strerror(errno)));
            if (fd >= 0)
                close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd;
}

static bool start_remote(struct workers *w, size_t at, struct str where)
{
    struct member *m = &w->v[at];
    struct buf why = {0};
    struct address a;
    int fd = -1;

    snprintf(m->name, sizeof m->name, "worker %zu (" STR_FMT ")", at + 1, STR_ARG(where));
    if (address_parse(where, &a) != ERR_OK)
        buf_str(&why, STR("HOST:PORT is wanted"));
    else
        fd = connect_to(&a, w->secret.is_set, &why);
    if (fd >= 0) {
        link_open(&m->link, fd, false);
        if (link_greet_worker(&m->link, &w->secret, &why) == ERR_OK)
            return true;
    }
    run_fault(w->sum, NULL, "%s: " STR_FMT, m->name, STR_ARG(buf_get(&why)));
    buf_deinit(&why);
    return false;
}

/* Of a reconnect those who stay are the first worker's alone: who drops thousands of connections and makes them anew is
 * late to read, and live messages would seem as late. So many users it has; 0: all workers are alike. */
static size_t apart(const struct workers *w)
{
    const struct load_options *o = w->sum->o;
    size_t stay = run_staying(o, w->sum->n) & ~(size_t)1;

    if (o->scenario != SCENARIO_RECONNECT || w->n < 2 || w->sum->n - stay < 2 * (w->n - 1))
        return 0;
    return stay;
}

/* By who sends: each of those who stay, and one of a group. 0 is no limit, and stays so. */
static int64_t share_apart(const struct workers *w, int64_t all, size_t at)
{
    int64_t stay = (int64_t)apart(w), others = (int64_t)w->n - 1, group = w->sum->o->group_size;
    int64_t groups = ((int64_t)w->sum->n - stay + group - 1) / group, of_stay = all * stay / (stay + groups);

    if (all == 0)
        return 0;
    of_stay = of_stay < 1 ? 1 : of_stay > all - others ? all - others : of_stay;
    return at == 0 ? of_stay : share(all - of_stay, w->n - 1, at - 1);
}

static void set_apart(const struct workers *w, size_t at, struct load_options *o)
{
    o->staying = at == 0 ? 100 : 0;
    o->rate = share_apart(w, o->rate, at);
    o->max_entries = share_apart(w, o->max_entries, at);
    o->act_rate = at == 0 ? 0 : share(o->act_rate, w->n - 1, at - 1);
}

/* The options of its part: everything that counts over all users is shared. */
static void put_options(const struct workers *w, size_t at, struct buf *out)
{
    struct load_options o = *w->sum->o;

    o.connections = 0;
    o.users = "-";
    o.connecting = share(o.connecting, w->n, at) ? share(o.connecting, w->n, at) : 1;
    if (apart(w)) {
        set_apart(w, at, &o);
    } else {
        o.rate = share(o.rate, w->n, at);
        o.act_rate = share(o.act_rate, w->n, at);
        o.max_entries = share(o.max_entries, w->n, at);
    }
    o.shared_groups = w->is_shared;
    if (!w->is_shared) /* the texts of who writes to another worker's users must be known there */
        o.seed = (o.seed + (int64_t)at) & INT64_MAX;
    load_options_args(&o, out);
}

static void put_ids(const struct run *r, struct buf *out)
{
    for (size_t i = 0; i < r->n; i++) {
        buf_str(out, r->users.v[i].id);
        buf_char(out, '\n');
    }
}

/* The users [*from, *to) of worker `at`. */
static void part_of(const struct workers *w, size_t at, size_t *from, size_t *to)
{
    size_t group = (size_t)w->sum->o->group_size, stay = apart(w), first = stay > 0; /* of those who share the rest */

    if (at < first) {
        *from = 0;
        *to = stay;
    } else if (w->is_shared) {
        *from = crowd_first(group, w->n_tops, w->n, at);
        *to = crowd_first(group, w->n_tops, w->n, at + 1);
    } else {
        workers_part(w->sum->n - stay, run_unit(w->sum->o), w->n - first, at - first, from, to);
        *from += stay;
        *to += stay;
    }
}

static bool send_job(struct workers *w, size_t at, uint32_t run)
{
    struct buf options = {0}, lines = {0}, ids = {0}, body = {0};
    const struct run *r = w->sum;
    struct job job;
    size_t from, to;
    bool is_sent;

    part_of(w, at, &from, &to);
    for (size_t i = from; i < to; i++) {
        const struct user *u = &r->users.v[i];
        buf_printf(&lines, STR_FMT "\t" STR_FMT "\t" STR_FMT "\t" STR_FMT "\n", STR_ARG(u->name), STR_ARG(u->id),
                   STR_ARG(u->device), STR_ARG(u->token));
    }
    put_options(w, at, &options);
    job = (struct job){.run = run, .base = (uint32_t)from, .options = buf_get(&options), .users = buf_get(&lines)};
    if (w->is_shared) {
        put_ids(r, &ids);
        job.workers = (uint32_t)w->n;
        job.at = (uint32_t)at;
        job.ids = buf_get(&ids);
    }
    job_encode(&job, &body);
    is_sent = body.len <= MSG_JOB_MAX && link_send(&w->v[at].link, MSG_JOB, buf_get(&body));
    if (!is_sent)
        run_fault(w->sum, NULL, "%s does not take its job", w->v[at].name);
    w->v[at].heard_us = net_clock_us();
    buf_deinit(&options);
    buf_deinit(&lines);
    buf_deinit(&ids);
    buf_deinit(&body);
    return is_sent;
}

/* Whether groups are shared, and can be. */
static enum err plan_groups(struct workers *w, bool is_here)
{
    const struct load_options *o = w->sum->o;
    size_t groups = w->sum->n / run_unit(o);

    w->gates = 1;
    w->is_shared = o->shared_groups || (o->scenario == SCENARIO_GROUPS && !o->spread && groups < w->n);
    if (!w->is_shared)
        return ERR_OK;
    if (!is_here || (size_t)o->group_size < w->n) {
        run_fault(w->sum, NULL, "a group can be shared among processes of this machine only, each with a member of it");
        return ERR_INVALID;
    }
    if ((o->rate || o->max_entries) && (size_t)o->senders < w->n) {
        run_fault(w->sum, NULL, "--rate and --max-entries are shared by the writers: each worker needs one of a group");
        return ERR_INVALID;
    }
    w->gates = 2;
    w->sum->crowd.n = w->n;
    w->n_tops = groups;
    w->tops = mem_new_array(uint64_t, groups);
    return ERR_OK;
}

/* How many, and are the shares whole? */
static enum err plan(struct workers *w)
{
    const struct load_options *o = w->sum->o;
    struct str rest = str_c(o->workers), one;
    int64_t n = 0;
    bool is_here = str_to_i64(rest, 1, WORKERS_MAX, &n);

    if (!is_here) {
        for (n = 1; str_cut(rest, ',', &one, &rest);)
            n++;
    }
    if (n > WORKERS_MAX) {
        run_fault(w->sum, NULL, "%lld workers are too many; %d are the most", (long long)n, WORKERS_MAX);
        return ERR_INVALID;
    }
    w->n = (size_t)n;
    if (plan_groups(w, is_here) != ERR_OK)
        return ERR_INVALID;
    if ((!w->is_shared && w->sum->n / run_unit(o) < w->n) || w->sum->n / w->n < 2) {
        run_fault(w->sum, NULL, "%zu connections are too few for %zu workers: each has whole rooms", w->sum->n, w->n);
        return ERR_INVALID;
    }
    if ((o->rate && o->rate < n) || (o->act_rate && o->act_rate < n) || (o->max_entries && o->max_entries < n)) {
        run_fault(w->sum, NULL, "--rate, --resume-rate and --max-entries are shared: at least one for each worker");
        return ERR_INVALID;
    }
    return secret_load(o->worker_secret_file, &w->secret, &w->sum->fault);
}

static enum err start(struct workers *w)
{
    struct str rest = str_c(w->sum->o->workers), one;
    bool is_local = str_to_i64(rest, 1, WORKERS_MAX, &(int64_t){0});
    uint32_t run;

    env_random(env_posix(), &run, sizeof run);
    for (size_t i = 0; i < w->n; i++) {
        if (!str_cut(rest, ',', &one, &rest))
            one = rest;
        if (is_local ? !start_child(w, i) : !start_remote(w, i, one))
            return ERR_INVALID;
    }
    for (size_t i = 0; i < w->n; i++) {
        if (!send_job(w, i, run))
            return ERR_INVALID;
    }
    return ERR_OK;
}

static enum err add_up(struct workers *w)
{
    struct str results[WORKERS_MAX];
    struct member *of[WORKERS_MAX];
    size_t n = 0, which;
    enum err err;

    run_hear_server(w->sum);
    for (size_t i = 0; i < w->n; i++) {
        if (w->v[i].state != MEMBER_DONE)
            continue;
        of[n] = &w->v[i];
        results[n++] = buf_get(&w->v[i].result);
    }
    err = result_merge(w->sum, results, n, &which);
    if (err != ERR_OK)
        run_fault(w->sum, NULL, "what %s found cannot be read", of[which]->name);
    return err;
}

static void end(struct workers *w)
{
    for (size_t i = 0; i < w->n; i++) {
        struct member *m = &w->v[i];
        link_close(&m->link);
        (void)reap(m, &(int){0});
        buf_deinit(&m->result);
    }
    mem_free(w->tops);
    mem_free(w);
}

enum err workers_run(struct run *sum)
{
    struct workers *w = mem_new(struct workers);
    enum err err;

    w->sum = sum;
    mem_free(sum->peers); /* its workers have them; sum->n becomes what they say */
    sum->peers = NULL;
    for (size_t i = 0; i < WORKERS_MAX; i++)
        w->v[i].link.fd = -1;
    for (size_t i = 0; i < ACT_KINDS; i++)
        sum->acts[i] = mem_new(struct hist);
    TRY(plan(w));
    TRY(start(w)); /* children are made before any thread is */
    run_first_look(sum);
    while (!all(w, is_over))
        turn(w);
    err = w->has_failed ? ERR_INVALID : add_up(w);
out:
    end(w);
    return err;
}
