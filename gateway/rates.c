/* What the limits are, and whom they count. What else sign-up and login are held to: services/account_gate.c. */
#include "base/hash.h"
#include "gateway/inside.h"
#include "proto/jsonw.h"
#include <netinet/in.h>
#include <sys/socket.h>

static const struct limit_rate rates[LIMIT_COUNT] = {
    [RATE_LOGIN] = {60, 30},   /* by address: sign-up and login */
    [RATE_READ] = {3000, 600}, /* these by user */
    [RATE_WRITE] = {600, 120},        [RATE_SEND] = {1800, 300},
    [RATE_RECEIPT] = {6000, 1200},    [LIMIT_CONNECT] = {6000, 2000}, /* by address */
    [LIMIT_MEMBERSHIPS] = {84, 5000}, /* by user: people put into groups, 5,040 an hour */
};
enum { MEMBERS_A_WRITE = 16 /* as many named members cost one write more */ };

bool peer_of(int fd, struct peer *out)
{
    struct sockaddr_storage a = {0};
    socklen_t len = sizeof a;
    const struct sockaddr_in6 *six = (const void *)&a;
    const struct sockaddr_in *four = (const void *)&a;

    *out = (struct peer){0};
    if (getpeername(fd, (struct sockaddr *)&a, &len) != 0)
        return false;
    if (a.ss_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&six->sin6_addr)) {
        memcpy(out->b, six->sin6_addr.s6_addr, 8);
        out->loopback = IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
    } else if (a.ss_family == AF_INET6) {
        memcpy(out->b, six->sin6_addr.s6_addr + 12, 4);
        out->loopback = out->b[0] == 127;
    } else {
        memcpy(out->b, &four->sin_addr, 4);
        out->loopback = out->b[0] == 127;
    }
    return true;
}

static int64_t take(struct gateway *g, unsigned what, const void *who, size_t len, uint64_t n)
{
    int64_t wait;

    if (!g->conf.rate_limit)
        return 0;
    wait = limiter_take(&g->limiter, hash_keyed64(&g->limit_key, who, len) * LIMIT_COUNT + what, rates[what], n,
                        env_mono_us(g->conf.env));
    if (wait)
        count(g, METRIC_RATE_LIMITED, 1);
    return wait;
}

int64_t gateway_limit(struct gateway *g, unsigned what, const void *who, size_t len)
{
    return take(g, what, who, len, 1);
}

/* Each person named is a row of the tables to be written, whoever asks. */
static uint64_t named(const struct request *r)
{
    switch (r->op) {
    case OP_group_create:
        return r->args->group_create.members.n;
    case OP_group_add:
        return r->args->group_add.users.n;
    case OP_group_remove:
        return r->args->group_remove.users.n;
    default:
        return 0;
    }
}

/* One was taken already, so all that a full bucket still holds is the most that can be asked for. */
int64_t gateway_limit_members(struct gateway *g, const struct request *r, user_id user)
{
    uint64_t n = named(r), more = n / MEMBERS_A_WRITE, most = rates[op_table[r->op].rate].burst - 1;
    int64_t wait = 0;

    if (more)
        wait = take(g, op_table[r->op].rate, &user, sizeof user, more < most ? more : most);
    if (!wait && n && r->op != OP_group_remove)
        wait = take(g, LIMIT_MEMBERSHIPS, &user, sizeof user, n);
    return wait;
}

void gateway_print_rates(const struct gateway *g, struct buf *b)
{
    static const char *const names[] = {[RATE_READ] = "read",
                                        [RATE_WRITE] = "write",
                                        [RATE_SEND] = "send",
                                        [RATE_RECEIPT] = "receipt",
                                        [LIMIT_MEMBERSHIPS] = "memberships"};

    if (!g->conf.rate_limit)
        return;
    jsonw_key(b, "rates");
    jsonw_open(b, '{');
    for (unsigned i = RATE_READ; i < LIMIT_COUNT; i++) {
        if (!names[i])
            continue;
        jsonw_key(b, names[i]);
        jsonw_open(b, '{');
        jsonw_key_int(b, "per_minute", rates[i].per_minute);
        jsonw_key_int(b, "burst", rates[i].burst);
        jsonw_close(b, '}');
    }
    jsonw_close(b, '}');
}
