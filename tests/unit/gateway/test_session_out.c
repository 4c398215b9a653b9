/* A turn that brings one connection more than its queue holds: who reads gets it all, who does not is told to sync.
 * Turns are made here, and between two of them entries come and peers read, as another core would have it. */
#include "gateway/outq.h"
#include "gateway/tls.h"
#include "tests/lib/certificate.h"
#include "tests/lib/gateway_rig.h"
#include "tests/lib/unit.h"
#include <linux/sockios.h>
#include <openssl/ssl.h>
#include <sys/ioctl.h>

enum { LARGE = 60000, SMALL = 40, NARROW = 32 << 10 };

struct scene {
    struct certificate certificate;
    struct tls *tls;
    SSL_CTX *context;
    struct rig *rig;
    struct audience *to; /* users 1 and 2 */
    int64_t emitted, before;
};
/* Reads when it is told to. */
struct reader {
    struct client c;
    SSL *ssl;   /* NULL: plain */
    int server; /* the server's end, which is in this process */
};

static void begin(struct scene *s, bool is_tls)
{
    char *why = NULL;

    *s = (struct scene){.to = audience_new(2)};
    s->to->users[0] = 1;
    s->to->users[1] = 2;
    if (is_tls) {
        certificate_make(&s->certificate);
        assert_ok(tls_load(env_posix(), s->certificate.cert, s->certificate.key, &s->tls, &why));
        s->context = SSL_CTX_new(TLS_client_method());
    }
    s->rig = rig_make_with(1, false, 60000, s->tls);
}

static void end(struct scene *s)
{
    rig_unmake(s->rig);
    audience_unref(s->to);
    if (s->tls)
        certificate_remove(&s->certificate);
    SSL_CTX_free(s->context);
    tls_unref(s->tls);
}

static void turn(struct scene *s) { loop_turn(s->rig->side[0].loop); }

static int64_t metric(const struct scene *s, enum metric_id id) { return rig_metric(s->rig, id); }

/* What was emitted and not given to the socket or libwebsockets. */
static size_t queued(const struct scene *s) { return (size_t)(s->emitted - (metric(s, METRIC_BYTES_OUT) - s->before)); }

static int other_end(const struct client *c)
{
    struct sockaddr_in mine, peer;
    socklen_t n = sizeof mine;

    assert_int_equal(getsockname(c->fd, (struct sockaddr *)&mine, &n), 0);
    for (int fd = 0; fd < 1024; fd++) {
        n = sizeof peer;
        if (getpeername(fd, (struct sockaddr *)&peer, &n) == 0 && peer.sin_family == AF_INET &&
            peer.sin_port == mine.sin_port)
            return fd;
    }
    fail_msg("no such connection");
    return -1;
}

static void pull(struct reader *r)
{
    ssize_t n;

    do {
        char *to = buf_reserve(&r->c.in, LARGE);

        n = r->ssl ? SSL_read(r->ssl, to, LARGE) : recv(r->c.fd, to, LARGE, MSG_DONTWAIT);
        r->c.in.len += n > 0 ? (size_t)n : 0;
    } while (n > 0);
}

/* All that the sockets between the two hold. */
static void pull_all(struct reader *r)
{
    int unsent;

    do {
        pull(r);
        assert_int_equal(ioctl(r->server, SIOCOUTQ, &unsent), 0);
    } while (unsent > 0);
    pull(r);
}

static void shake_hands(struct scene *s, struct reader *r)
{
    ioctl(r->c.fd, FIONBIO, &(int){1});
    r->ssl = SSL_new(s->context);
    SSL_set_fd(r->ssl, r->c.fd);
    while (SSL_connect(r->ssl) != 1)
        turn(s);
}

static struct reader login(struct scene *s, int user)
{
    struct reader r = {.c = client_open(s->rig)};
    struct buf text = {0};

    if (s->tls)
        shake_hands(s, &r);
    buf_printf(&text,
               "GET /v1/ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
               "Authorization: Bearer good-%d-1\r\n\r\n",
               user);
    if (s->tls)
        assert_int_equal(SSL_write(r.ssl, text.p, (int)text.len), text.len);
    else
        client_write(&r.c, text.p, text.len);
    for (; r.c.in.len == 0; pull(&r))
        turn(s);
    assert_memory_equal(r.c.in.p, "HTTP/1.1 101 ", 13);
    client_take(&r.c, (size_t)((char *)memmem(r.c.in.p, r.c.in.len, "\r\n\r\n", 4) + 4 - r.c.in.p));
    buf_deinit(&text);
    r.server = other_end(&r.c);
    s->before = metric(s, METRIC_BYTES_OUT);
    return r;
}

static void logout(struct reader *r)
{
    SSL_free(r->ssl);
    client_close(&r->c);
}

/* The server's socket holds little, whatever the system's setting. */
static void narrow(const struct reader *r)
{
    assert_int_equal(setsockopt(r->server, SOL_SOCKET, SO_SNDBUF, &(int){NARROW}, sizeof(int)), 0);
}

static struct frame *entry(int seq, size_t size)
{
    struct buf b = {0};
    struct frame *f;

    buf_printf(&b, "{\"ev\":\"message\",\"seq\":%06d,\"x\":\"", seq);
    memset(buf_reserve(&b, size), 'x', size);
    b.len += size;
    buf_str(&b, STR("\"}"));
    f = frame_text(buf_get(&b));
    buf_deinit(&b);
    return f;
}

static void emit(struct scene *s, struct frame *f)
{
    const struct delivery d = {.class = DELIVER_ENTRY, .frame = f, .to = s->to};

    bus_emit(s->rig->side[0].port, &d, NULL, NULL);
    s->emitted += f->len;
}

static bool is_full(const struct scene *s, size_t len)
{
    return queued(s) + len > OUTQ_BYTES_MAX || queued(s) / len >= OUTQ_ENTRIES_MAX;
}

static void expect_in_order(struct reader *r, int n)
{
    struct buf text = {0};
    char want[32];

    for (int i = 0; i < n; i++) {
        snprintf(want, sizeof want, "\"seq\":%06d,", i);
        assert_int_equal(client_next(&r->c, &text), 0x81);
        assert_non_null(strstr(text.p, want));
    }
    assert_int_equal(r->c.in.len, 0);
    buf_deinit(&text);
}

/* In one turn; whenever the queue is full the peer has read what its socket had. */
static void come_all(struct scene *s, struct reader *r, int n, size_t size)
{
    size_t len = 0;

    for (int i = 0; i < n; i++) {
        struct frame *f = entry(i, size);

        len = f->len;
        if (is_full(s, len))
            pull_all(r);
        emit(s, f);
        frame_unref(f);
        assert_int_equal(metric(s, METRIC_RESYNCS), 0);
        assert_true(queued(s) <= OUTQ_BYTES_MAX);
    }
    for (; r->c.in.len < (size_t)n * len; pull(r))
        turn(s);
    expect_in_order(r, n);
}

PROMISE(more_than_a_queue_holds_reaches_who_reads_in_one_turn)
{
    for (unsigned way = 0; way < 8; way++) {
        bool is_tls = way & 1, is_narrow = way & 2, is_small = way & 4;
        struct scene s;
        struct reader r;

        begin(&s, is_tls);
        r = login(&s, 1);
        if (is_narrow)
            narrow(&r);
        come_all(&s, &r, is_small ? OUTQ_ENTRIES_MAX + 1000 : 100, is_small ? SMALL : LARGE);
        assert_int_equal(metric(&s, METRIC_RESYNCS), 0);
        logout(&r);
        end(&s);
    }
}

static bool is_resync(const struct buf *text) { return strcmp(text->p, "{\"ev\":\"resync\"}") == 0; }

/* Its queue never held more than the bound, and holds nothing afterwards. */
static int flood(struct scene *s, struct frame *f)
{
    while (metric(s, METRIC_RESYNCS) == 0) {
        assert_true(s->emitted < 100 << 20);
        emit(s, f);
        assert_true((size_t)(atomic_load(&f->refs) - 1) * f->len <= OUTQ_BYTES_MAX);
    }
    assert_int_equal(atomic_load(&f->refs), 1);
    for (int i = 0; i < 100; i++)
        emit(s, f);
    assert_int_equal(atomic_load(&f->refs), 1);
    return (int)((metric(s, METRIC_BYTES_OUT) - s->before) / f->len);
}

PROMISE(who_does_not_read_is_told_to_sync_however_much_comes_in_one_turn)
{
    for (unsigned way = 0; way < 4; way++) {
        struct frame *f = entry(0, LARGE);
        struct buf text = {0};
        struct scene s;
        struct reader r;
        int written, got = 0;

        begin(&s, way & 1);
        r = login(&s, 1);
        if (way & 2)
            narrow(&r);
        written = flood(&s, f);
        assert_true(written > 0);
        for (size_t all = (size_t)written * f->len + 2 + strlen("{\"ev\":\"resync\"}"); r.c.in.len < all; pull(&r))
            turn(&s);
        while (client_next(&r.c, &text) == 0x81 && !is_resync(&text))
            got++;
        assert_int_equal(got, written);
        assert_int_equal(r.c.in.len, 0);
        assert_int_equal(metric(&s, METRIC_RESYNCS), 1);
        buf_deinit(&text);
        frame_unref(f);
        logout(&r);
        end(&s);
    }
}

static struct scene *checked;
static unsigned checks;

/* The second time, when the session may be delivered to and not yet be written to, more than a queue holds comes. */
static void serve(void *ctx, struct request *r)
{
    if (r->op == OP_auth && ++checks == 2) {
        struct frame *f = entry(0, LARGE);

        while (checked->emitted < 2 * OUTQ_BYTES_MAX)
            emit(checked, f);
        assert_int_equal(atomic_load(&f->refs), 1);
        frame_unref(f);
    }
    rig_serve(ctx, r);
}

PROMISE(nothing_is_written_before_the_token_is_known_to_be_good_however_much_comes)
{
    struct buf text = {0};
    struct scene s;
    struct reader r;

    begin(&s, false);
    checked = &s;
    checks = 0;
    bus_serve(s.rig->side[0].port, serve, &s.rig->side[0]);
    atomic_store(&s.rig->revoke_in_check, true);
    r = login(&s, 1); /* its answer is the first that comes */
    assert_int_equal(checks, 2);
    assert_int_equal(client_next(&r.c, &text), 0x81);
    assert_true(is_resync(&text));
    assert_int_equal(r.c.in.len, 0);
    buf_deinit(&text);
    logout(&r);
    end(&s);
}

/* Until the server's end knows. */
static void hang_up(struct reader *r)
{
    struct pollfd p = {.fd = r->server};

    setsockopt(r->c.fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    logout(r);
    while (poll(&p, 1, 0) == 0)
        sched_yield();
}

/* Of a user who has no other: with it goes what the delivery was walking along. */
PROMISE(a_write_that_fails_while_entries_come_ends_its_session_and_no_other)
{
    enum { MANY = 60, FULL = OUTQ_BYTES_MAX / LARGE };

    for (unsigned way = 0; way < 4; way++) {
        bool is_tls = way & 1, is_blocked = way & 2; /* it breaks when a part of its queue is written, or nothing */
        struct scene s;
        struct reader broken, whole;

        begin(&s, is_tls);
        broken = login(&s, 1);
        whole = login(&s, 2);
        narrow(&broken);
        for (int n = 0; n < MANY; n++) {
            struct frame *f = entry(n, LARGE);

            if (n == FULL + (is_blocked ? 1 : -1))
                hang_up(&broken);
            pull_all(&whole);
            emit(&s, f);
            frame_unref(f);
        }
        assert_int_equal(metric(&s, METRIC_SESSIONS), 1);
        assert_int_equal(metric(&s, METRIC_RESYNCS), 0);
        while (metric(&s, METRIC_CONNECTIONS) > 1)
            turn(&s);
        for (size_t all = (size_t)s.emitted; whole.c.in.len < all; pull(&whole))
            turn(&s);
        expect_in_order(&whole, MANY);
        logout(&whole);
        end(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(more_than_a_queue_holds_reaches_who_reads_in_one_turn),
        HOLDS(who_does_not_read_is_told_to_sync_however_much_comes_in_one_turn),
        HOLDS(nothing_is_written_before_the_token_is_known_to_be_good_however_much_comes),
        HOLDS(a_write_that_fails_while_entries_come_ends_its_session_and_no_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
