#include "cmd/parley_load_acts.h"
#include "base/env.h"
#include <signal.h>
#include <stdarg.h>

enum { TURN_MAX_US = 50000, TURN_BUSY_US = 500 };

/* Set by a signal handler, and a handler has no argument to hang it off. */
static volatile sig_atomic_t is_stopped;

void run_stop(void) { is_stopped = 1; }

bool run_take_stop(void)
{
    bool was = is_stopped;

    is_stopped = 0;
    return was;
}

static bool reach(struct run *r, enum run_stage stage) { return !r->at_stage || r->at_stage(r, stage); }

void run_fault(struct run *r, uint64_t *counter, const char *fmt, ...)
{
    va_list args;
    char text[400];

    if (counter)
        ++*counter;
    if (r->fault.len)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    buf_str(&r->fault, str_c(text));
}

static struct peer *peer_of(struct conn *c) { return container_of(c, struct peer, conn); }

static void on_open(void *arg, struct conn *c)
{
    struct run *r = arg;
    struct user *u = &r->users.v[peer_of(c)->index];
    size_t mark = net_begin(c);

    buf_printf(&c->out, "{\"id\":%d,\"op\":\"auth\",\"token\":\"" STR_FMT "\",\"batch\":%s}", ID_AUTH,
               STR_ARG(u->token), r->o->batch ? "true" : "false");
    net_end(&r->net, c, mark);
}

static void on_text(void *arg, struct conn *c, struct str text) { talk_hear(arg, peer_of(c), text); }

static void on_closed(void *arg, struct conn *c, const char *why)
{
    struct run *r = arg;
    const char *when = peer_of(c)->is_in ? "lost its connection" : "cannot log in";

    run_fault(r, &r->faults.lost, "user %u %s at %s: %s", peer_of(c)->index, when, r->o->url, why);
    r->is_broken = true;
}

const struct net_ops run_ops = {on_open, on_text, on_closed};

bool run_wait(struct run *r, bool (*is_done)(const struct run *r), void (*step)(struct run *r))
{
    uint64_t limit_us = (uint64_t)r->o->drain_ms * 1000, moved_us = net_clock_us(), progress = r->progress;

    while (!is_done(r)) {
        if (r->is_broken || is_stopped || r->net.now_us > moved_us + limit_us)
            return false;
        net_turn(&r->net, r->comers_begin < r->comers_end ? TURN_BUSY_US : TURN_MAX_US);
        acts_step(r);
        (void)reach(r, RUN_TURN);
        if (step)
            step(r);
        if (r->progress != progress) {
            progress = r->progress;
            moved_us = r->net.now_us;
        }
    }
    return true;
}

void run_snapshot(struct run *r, struct snapshot *s)
{
    *s = (struct snapshot){net_clock_us(), proc_own_cpu_us(), r->tally, proc_use(r->o->server_pid)};
}

/* Without a --server-pid the server is asked, aside: the traffic must not wait for the answer. */
void run_ask_server(struct run *r, struct scrape *s)
{
    if (r->o->server_pid == 0 && !r->target.is_tls && r->login.server.is_there)
        scrape_begin(s, &r->target);
}

void run_hear_server(struct run *r)
{
    if (r->o->server_pid)
        return;
    r->begin.server = scrape_end(&r->scrapes[0]);
    r->end.server = scrape_end(&r->scrapes[1]);
    r->end.server.is_there &= r->begin.server.is_there;
}

/* A worker leaves the server to its coordinator. */
void run_first_look(struct run *r)
{
    run_snapshot(r, &r->login);
    if (r->o->server_pid == 0 && !r->target.is_tls && !r->at_stage) {
        scrape_begin(&r->scrapes[0], &r->target);
        r->login.server = scrape_end(&r->scrapes[0]);
    }
}

static bool is_over(const struct run *r)
{
    bool is_enough = r->o->max_entries && r->tally.sent >= (uint64_t)r->o->max_entries;

    return r->is_broken || is_stopped || is_enough || r->net.now_us >= r->to_us;
}

static uint64_t wait_us(const struct run *r)
{
    uint64_t now = net_clock_us(), next = now + TURN_MAX_US;

    if (r->begin.at_us == 0 && r->from_us < next)
        next = r->from_us;
    if (r->to_us < next)
        next = r->to_us;
    if (r->is_sending && r->o->rate && talk_next_us(r) < next)
        next = talk_next_us(r);
    if (r->n_away || r->acts_from_us)
        next = next < now + TURN_BUSY_US ? next : now + TURN_BUSY_US;
    return next > now ? next - now : 0;
}

static void begin_measuring(struct run *r)
{
    run_snapshot(r, &r->begin);
    run_ask_server(r, &r->scrapes[0]);
    series_begin(r->series, r->begin.at_us, (uint64_t)r->o->duration_ms * 1000, r->tally.acked, r->tally.delivered);
    r->series->is_live &= !r->at_stage;
    r->series->is_kept = r->at_stage != NULL;
    acts_begin(r);
    (void)reach(r, RUN_BEGUN);
}

/* Traffic until its time is over. A scenario without senders just waits, and answers pings. */
static void run_traffic(struct run *r)
{
    r->start_us = r->net.now_us = net_clock_us();
    r->from_us = r->start_us + (uint64_t)r->o->warmup_ms * 1000;
    r->to_us = r->from_us + (uint64_t)r->o->duration_ms * 1000;
    r->is_sending = true;
    if (!r->o->rate) {
        for (size_t i = 0; i < r->n_senders; i++)
            talk_refill(r, r->senders[i]);
    }
    while (!is_over(r)) {
        if (r->begin.at_us == 0 && r->net.now_us >= r->from_us)
            begin_measuring(r);
        acts_step(r);
        (void)reach(r, RUN_TURN);
        net_turn(&r->net, wait_us(r));
        if (r->net.now_us >= series_next_us(r->series))
            series_step(r->series, r->net.now_us, r->tally.acked, r->tally.delivered, r->delivery);
        if (r->n_senders && r->o->rate)
            talk_due(r);
    }
    r->is_sending = false;
    acts_end(r);
    series_end(r->series);
    run_snapshot(r, &r->end);
    run_ask_server(r, &r->scrapes[1]);
    if (r->begin.at_us == 0) /* it ended during the warm-up: nothing was measured */
        r->begin = r->end;
    (void)reach(r, RUN_ENDED);
}

static bool all_have_arrived(const struct run *r) { return r->open_acks == 0 && r->open_notes == 0 && r->n_acts == 0; }

static bool all_are_answered(const struct run *r) { return r->open_acks == 0; }

void run_tops(const struct run *r, struct buf *out)
{
    uint64_t *v = mem_new_array(uint64_t, r->n_rooms + 1);

    for (size_t i = 0; i < r->n_rooms; i++)
        v[i] = r->rooms[i].top;
    tops_encode(v, r->n_rooms, out);
    mem_free(v);
}

bool run_expect(struct run *r, struct str tops)
{
    uint64_t *v = mem_new_array(uint64_t, r->n_rooms + 1);
    bool is_sound = tops_merge(tops, v, r->n_rooms);

    for (size_t i = 0; is_sound && i < r->n_rooms; i++) {
        uint64_t open = room_open(&r->rooms[i]);
        is_sound = room_expect(&r->rooms[i], v[i]);
        r->open_notes += room_open(&r->rooms[i]) - open;
    }
    mem_free(v);
    return is_sound;
}

static void audit(struct run *r)
{
    uint64_t missing = r->faults.missing;

    r->faults.unacked += r->open_acks + r->n_acts;
    for (size_t i = 0; i < r->n; i++) {
        if (r->peers[i].room)
            room_audit(r->peers[i].room, &r->peers[i].view, &r->faults);
    }
    if (r->faults.missing > missing)
        run_fault(r, NULL, "%llu deliveries never came", (unsigned long long)(r->faults.missing - missing));
    if (r->n_acts)
        run_fault(r, NULL, "%zu acts beside sending never ended", r->n_acts);
    if (r->open_acks)
        run_fault(r, NULL, "%llu entries were never acknowledged", (unsigned long long)r->open_acks);
}

enum err run_all(struct run *r)
{
    enum err err;

    run_first_look(r);
    TRY(login_all(r));
    r->login_us = net_clock_us() - r->login.at_us;
    setup_places(r); /* another worker may be told first that all are there: its group's first entry comes at once */
    if (r->crowd.n && !reach(r, RUN_LOGGED_IN)) /* who is not there yet would not hear of its group */
        return ERR_INVALID;
    TRY(setup_rooms(r));
    acts_prepare(r);
    TRY(acts_learn(r));
    if (!reach(r, RUN_READY))
        return ERR_INVALID;
    run_traffic(r);
    is_stopped = 0; /* a stop ends the traffic; the drain goes on, and a second stop ends that */
    if (r->crowd.n) {
        (void)run_wait(r, all_are_answered, NULL);
        (void)reach(r, RUN_ANSWERED);
    }
    (void)run_wait(r, all_have_arrived, NULL);
    run_hear_server(r);
    if (!r->is_broken) /* else what is missing says nothing beyond what broke it */
        audit(r);
out:
    return err;
}

size_t run_unit(const struct load_options *o)
{
    if (o->scenario == SCENARIO_PAIRS || o->scenario == SCENARIO_CHURN || o->scenario == SCENARIO_HISTORY)
        return 2;
    if ((o->scenario == SCENARIO_GROUPS && !o->spread) || o->scenario == SCENARIO_SLOW)
        return (size_t)o->group_size;
    return 1;
}

size_t run_staying(const struct load_options *o, size_t users) { return users * (size_t)o->staying / 100; }

static enum err choose_users(struct run *r)
{
    size_t wanted = (size_t)r->o->connections;
    size_t unit = r->crowd.n ? crowd_share(r->crowd.group, r->crowd.n, r->crowd.at) : run_unit(r->o);

    if (wanted == 0)
        wanted = r->users.n;
    if (wanted > r->users.n || wanted == 0) {
        run_fault(r, NULL, "%s has %zu users, %zu are wanted", r->o->users, r->users.n, wanted);
        return ERR_INVALID;
    }
    if (wanted % unit != 0) {
        run_fault(r, NULL, "%zu connections cannot be divided into rooms of %zu", wanted, unit);
        return ERR_INVALID;
    }
    r->n = wanted;
    return ERR_OK;
}

enum err run_init(struct run *r, const struct load_options *o, const struct run_part *part)
{
    uint32_t run_id;
    enum err err;

    *r = (struct run){.o = o, .net.epoll = -1};
    if (part && part->workers) {
        r->crowd = (struct crowd){.n = part->workers, .at = part->at, .group = (size_t)o->group_size};
        TRY(crowd_init(&r->crowd, part->ids));
    }
    TRY(part ? users_parse(part->users, &r->users, &r->fault) : users_load(o->users, &r->users, &r->fault));
    TRY(choose_users(r));
    TRY(target_parse(o->url, &r->target));
    r->net.ops = &run_ops;
    r->net.arg = r;
    err = net_init(&r->net, r->target.host, r->target.port, r->target.path);
    if (err != ERR_OK) {
        run_fault(r, NULL, "the host of %s is not known", o->url);
        return err;
    }
    if (r->target.is_tls)
        TRY(net_secure(&r->net, r->target.host, o->insecure));
    env_random(env_posix(), &run_id, sizeof run_id);
    script_init(&r->script, part ? part->run : run_id, (uint64_t)o->seed, (size_t)o->size);
    r->base = part ? part->base : 0;
    for (r->slots = 1; r->slots < (size_t)o->window;)
        r->slots *= 2;
    r->peers = mem_new_array(struct peer, r->n);
    for (size_t i = 0; i < r->n; i++)
        r->peers[i].index = (uint32_t)i;
    r->ack = mem_new(struct hist);
    r->series = mem_new(struct series);
    r->delivery = mem_new(struct hist);
    r->reach = mem_new(struct hist);
    if (r->crowd.n)
        r->reaches = mem_new_array(struct reach, REACHES_MAX);
out:
    return err;
}

void run_deinit(struct run *r)
{
    for (size_t i = 0; i < 2; i++)
        (void)scrape_end(&r->scrapes[i]);
    for (size_t i = 0; i < r->n && r->peers; i++) {
        net_forget(&r->net, &r->peers[i].conn);
        view_deinit(&r->peers[i].view);
        mem_free(r->peers[i].slots);
        buf_deinit(&r->peers[i].since);
    }
    for (size_t i = 0; i < r->n_rooms && r->rooms; i++)
        room_deinit(&r->rooms[i]);
    mem_free(r->rooms);
    mem_free(r->peers);
    mem_free(r->senders);
    mem_free(r->comers);
    mem_free(r->actors);
    for (size_t i = 0; i < ACT_KINDS; i++)
        mem_free(r->acts[i]);
    mem_free(r->ack);
    if (r->series)
        buf_deinit(&r->series->kept);
    mem_free(r->series);
    mem_free(r->delivery);
    mem_free(r->reach);
    mem_free(r->reaches);
    crowd_deinit(&r->crowd);
    net_deinit(&r->net);
    script_deinit(&r->script);
    users_deinit(&r->users);
    buf_deinit(&r->fault);
}
