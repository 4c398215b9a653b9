#include "cmd/parley_load_link.h"
#include "base/env.h"
#include "cmd/parley_load_net.h"
#include <errno.h>
#include <poll.h>
#include <sys/time.h>
#include <unistd.h>

enum { READ_BYTES = 64 << 10 };

void link_open(struct link *l, int fd, bool is_known)
{
    struct timeval limit = {LINK_SEND_S, 0};

    *l = (struct link){.fd = fd, .is_known = is_known};
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

void link_close(struct link *l)
{
    if (l->fd >= 0)
        close(l->fd);
    buf_deinit(&l->in);
    *l = (struct link){.fd = -1};
}

static bool send_all(int fd, struct str bytes)
{
    while (bytes.len) {
        ssize_t sent = send(fd, bytes.p, bytes.len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        bytes = str_from(bytes, (size_t)sent);
    }
    return true;
}

bool link_send(struct link *l, enum msg_type type, struct str body)
{
    struct buf out = {0};
    size_t mark = msg_begin(&out, type);
    bool is_sent;

    buf_str(&out, body);
    msg_end(&out, mark);
    is_sent = l->fd >= 0 && send_all(l->fd, buf_get(&out));
    buf_deinit(&out);
    return is_sent;
}

/* LINK_MESSAGE here: some bytes came. */
static enum link_state read_more(struct link *l, int64_t wait_ms)
{
    struct pollfd p = {.fd = l->fd, .events = POLLIN};
    ssize_t got;

    if (poll(&p, 1, (int)wait_ms) <= 0)
        return LINK_NOTHING;
    got = recv(l->fd, buf_reserve(&l->in, READ_BYTES), READ_BYTES, MSG_DONTWAIT);
    if (got > 0) {
        l->in.len += (size_t)got;
        return LINK_MESSAGE;
    }
    return got < 0 && (errno == EAGAIN || errno == EINTR) ? LINK_NOTHING : LINK_CLOSED;
}

static void forget_taken(struct link *l)
{
    if (l->taken == 0)
        return;
    l->in.len -= l->taken;
    memmove(l->in.p, l->in.p + l->taken, l->in.len);
    l->taken = 0;
}

enum link_state link_receive(struct link *l, int64_t wait_ms, struct msg *out)
{
    uint64_t end_us = net_clock_us() + (uint64_t)wait_ms * 1000, now;

    forget_taken(l);
    for (;;) {
        switch (msg_parse(buf_get(&l->in), l->is_known, out)) {
        case MSG_WHOLE:
            l->taken = out->bytes;
            return LINK_MESSAGE;
        case MSG_BAD:
            return LINK_BAD;
        case MSG_PART:
            break;
        }
        now = net_clock_us();
        enum link_state s = read_more(l, now < end_us ? (int64_t)((end_us - now + 999) / 1000) : 0);
        if (s == LINK_CLOSED || (s == LINK_NOTHING && net_clock_us() >= end_us))
            return s;
    }
}

static bool expect(struct link *l, enum msg_type type, struct msg *m, struct buf *why)
{
    enum link_state s = link_receive(l, LINK_GREET_MS, m);

    if (s == LINK_MESSAGE && m->type == type)
        return true;
    if (s == LINK_MESSAGE && m->type == MSG_FAILED)
        buf_str(why, m->body);
    else
        buf_str(why, s == LINK_CLOSED    ? STR("it closed the connection")
                     : s == LINK_NOTHING ? STR("it does not answer; has it another job?")
                                         : STR("it does not speak as a parley-load does"));
    return false;
}

enum err link_greet_worker(struct link *l, const struct secret *s, struct buf *why)
{
    uint8_t answer[MSG_NONCE + MSG_PROOF_BYTES];
    struct hello hello;
    struct nonces n;
    struct msg m;

    if (!expect(l, MSG_HELLO, &m, why))
        return ERR_INVALID;
    if (hello_decode(m.body, &hello) != ERR_OK) {
        buf_str(why, STR("it does not speak as a parley-load does"));
        return ERR_INVALID;
    }
    if (hello.version != MSG_VERSION) {
        buf_printf(why, "it speaks version %u, not %d", hello.version, MSG_VERSION);
        return ERR_INVALID;
    }
    if (hello.has_secret != s->is_set) {
        buf_str(why, hello.has_secret ? STR("it wants a secret: --worker-secret-file") : STR("it has no secret"));
        return ERR_INVALID;
    }
    memcpy(n.worker, hello.nonce, sizeof n.worker);
    env_random(env_posix(), n.coordinator, sizeof n.coordinator);
    memcpy(answer, n.coordinator, MSG_NONCE);
    secret_prove(s, AUTH_COORDINATOR, &n, answer + MSG_NONCE);
    if (!link_send(l, MSG_PROOF, str_of(answer, sizeof answer))) {
        buf_str(why, STR("it closed the connection"));
        return ERR_INVALID;
    }
    if (!expect(l, MSG_WELCOME, &m, why))
        return ERR_INVALID;
    if (!secret_check(s, AUTH_WORKER, &n, m.body)) {
        buf_str(why, STR("it does not know the secret"));
        return ERR_INVALID;
    }
    l->is_known = true;
    return ERR_OK;
}

enum err link_greet_coordinator(struct link *l, const struct secret *s, struct buf *why)
{
    struct hello hello = {.version = MSG_VERSION, .has_secret = s->is_set};
    uint8_t answer[MSG_PROOF_BYTES];
    struct buf out = {0};
    struct nonces n;
    struct msg m;
    bool is_sent;

    env_random(env_posix(), hello.nonce, sizeof hello.nonce);
    memcpy(n.worker, hello.nonce, sizeof n.worker);
    hello_encode(&hello, &out);
    is_sent = link_send(l, MSG_HELLO, buf_get(&out));
    buf_deinit(&out);
    if (!is_sent || !expect(l, MSG_PROOF, &m, why))
        return ERR_INVALID;
    if (m.body.len == MSG_NONCE + MSG_PROOF_BYTES)
        memcpy(n.coordinator, m.body.p, MSG_NONCE);
    if (m.body.len != MSG_NONCE + MSG_PROOF_BYTES ||
        !secret_check(s, AUTH_COORDINATOR, &n, str_from(m.body, MSG_NONCE))) {
        buf_str(why, STR("the secret is wrong"));
        (void)!link_send(l, MSG_FAILED, STR("the secret is wrong"));
        return ERR_INVALID;
    }
    secret_prove(s, AUTH_WORKER, &n, answer);
    l->is_known = true;
    return link_send(l, MSG_WELCOME, str_of(answer, sizeof answer)) ? ERR_OK : ERR_INVALID;
}
