#include "gateway/intake.h"
#include "tests/lib/unit.h"
#include <sys/socket.h>
#include <unistd.h>

enum { PEERS = 300 };

struct peer {
    struct intake_item item;
    int other; /* the end that the test holds */
    unsigned calls;
    bool is_kept; /* does not read */
};

static struct loop *loop;
static struct intake *intake;
static struct peer peers[PEERS];
static unsigned ended;

static void on_call(struct intake_item *it)
{
    struct peer *p = container_of(it, struct peer, item);
    char bytes[4];
    ssize_t n;

    p->calls++;
    if (p->is_kept)
        return;
    n = recv(it->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n > 0)
        return;
    intake_remove(intake, it);
    ended++;
}

static int begin(void **state)
{
    (void)state;
    ended = 0;
    assert_int_equal(loop_create(&loop), ERR_OK);
    assert_int_equal(intake_open(loop, on_call, &intake), ERR_OK);
    for (unsigned i = 0; i < PEERS; i++) {
        int ends[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        peers[i] = (struct peer){.other = ends[1]};
        intake_add(intake, &peers[i].item, ends[0], true);
    }
    loop_turn(loop);
    return 0;
}

static int end(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PEERS; i++) {
        intake_remove(intake, &peers[i].item);
        close(peers[i].item.fd);
        if (peers[i].other >= 0)
            close(peers[i].other);
    }
    intake_close(intake);
    loop_destroy(loop);
    return 0;
}

static void say(struct peer *p, const char *text, size_t n)
{
    assert_int_equal(send(p->other, text, n, MSG_NOSIGNAL), n);
}

static void hang_up(struct peer *p)
{
    close(p->other);
    p->other = -1;
}

PROMISE(who_talks_is_read_before_those_who_hung_up)
{
    unsigned turns = 0;

    for (unsigned i = 1; i < PEERS; i++)
        hang_up(&peers[i]);
    say(&peers[0], "x", 1);
    while (peers[0].calls == 0) {
        assert_true(turns++ < 2);
        loop_turn(loop);
    }
    assert_true(ended <= turns * HANGUPS_A_TURN);
    for (; ended < PEERS - 1; turns++)
        loop_turn(loop);
    assert_true(turns >= (PEERS - 1) / HANGUPS_A_TURN);
}

PROMISE(who_hung_up_is_read_to_the_end)
{
    say(&peers[0], "what was said last", 18);
    hang_up(&peers[0]);
    while (!ended)
        loop_turn(loop);
    assert_int_equal(peers[0].calls, 18 / 4 + 2);
}

PROMISE(what_is_not_read_is_told_again)
{
    peers[0].is_kept = true;
    say(&peers[0], "x", 1);
    for (int i = 0; i < 3; i++)
        loop_turn(loop);
    assert_true(peers[0].calls >= 2);
}

PROMISE(who_does_not_want_to_read_is_not_called_whatever_comes)
{
    intake_set(intake, &peers[0].item, false);
    say(&peers[0], "x", 1);
    hang_up(&peers[0]);
    for (int i = 0; i < 3; i++)
        loop_turn(loop);
    assert_int_equal(peers[0].calls, 0);
    intake_set(intake, &peers[0].item, true);
    while (!ended)
        loop_turn(loop);
    assert_int_equal(peers[0].calls, 2);
}

PROMISE(who_has_something_left_is_called_without_an_event)
{
    intake_again(intake, &peers[0].item);
    intake_again(intake, &peers[1].item);
    intake_remove(intake, &peers[1].item);
    peers[0].is_kept = true;
    loop_turn(loop);
    loop_turn(loop);
    assert_int_equal(peers[0].calls, 1);
    assert_int_equal(peers[1].calls, 0);
}

int main(void)
{
#define HERE(test) cmocka_unit_test_setup_teardown(test, begin, end)
    const struct CMUnitTest tests[] = {
        HERE(who_talks_is_read_before_those_who_hung_up),
        HERE(who_hung_up_is_read_to_the_end),
        HERE(what_is_not_read_is_told_again),
        HERE(who_does_not_want_to_read_is_not_called_whatever_comes),
        HERE(who_has_something_left_is_called_without_an_event),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
