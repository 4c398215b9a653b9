/* The descriptor is level-triggered: who is not read to the end is told of again. Who has hung up would be told of
 * for ever, so its socket is taken out of the epoll, and from then on it is read at the ends of turns, up to the end of
 * the stream. */
#include "gateway/intake.h"
#include <sys/epoll.h>
#include <unistd.h>
#include <uv.h>

enum { BATCH = 64 };

struct intake {
    uv_poll_t poll;
    struct loop *loop;
    intake_fn *fn;
    int fd;
    struct turn_hook turn_end;
    struct link again, hung; /* struct intake_item, by `wait` */
    struct epoll_event ready[BATCH];
    int n_ready;
};

static void control(struct intake *i, int op, struct intake_item *it)
{
    struct epoll_event e = {.events = it->is_on ? EPOLLIN | EPOLLRDHUP : 0, .data.ptr = it};

    (void)!epoll_ctl(i->fd, op, it->fd, &e); /* the socket is open, and in or not as is_hung says */
}

static void hang(struct intake *i, struct intake_item *it)
{
    it->is_hung = true;
    control(i, EPOLL_CTL_DEL, it);
    if (it->is_on)
        list_push(&i->hung, &it->wait);
}

static void serve_ready(struct intake *i)
{
    for (int k = 0; k < i->n_ready; k++) {
        struct intake_item *it = i->ready[k].data.ptr;

        if (!it || link_is_in(&it->wait))
            continue;
        if (i->ready[k].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
            hang(i, it);
        else if (it->is_on)
            i->fn(it);
    }
    i->n_ready = 0;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct intake *i = poll->data;
    bool is_full = true;

    (void)status;
    (void)events;
    for (unsigned n = 0; is_full && n < READS_A_TURN; n += BATCH) {
        int ready = epoll_wait(i->fd, i->ready, BATCH, 0);

        i->n_ready = ready > 0 ? ready : 0;
        is_full = ready == BATCH;
        serve_ready(i);
    }
}

static void serve_again(struct intake *i)
{
    struct link all;

    list_init(&all);
    list_move(&all, &i->again);
    while (!list_is_empty(&all)) {
        struct intake_item *it = list_first(&all, struct intake_item, wait);

        list_remove(&it->wait);
        if (it->is_hung)
            list_push(&i->hung, &it->wait);
        else
            i->fn(it);
    }
}

static void serve_hung(struct intake *i)
{
    for (unsigned n = 0; n < HANGUPS_A_TURN && !list_is_empty(&i->hung); n++) {
        struct intake_item *it = list_first(&i->hung, struct intake_item, wait);

        list_remove(&it->wait);
        list_push(&i->hung, &it->wait); /* until its owner takes it out, or has enough */
        i->fn(it);
    }
}

static void on_turn_end(struct turn_hook *h)
{
    struct intake *i = container_of(h, struct intake, turn_end);

    if (list_is_empty(&i->again) && list_is_empty(&i->hung))
        return;
    serve_again(i);
    serve_hung(i);
    loop_again(i->loop); /* for those who still wait, and because hooks before this one have run */
}

enum err intake_open(struct loop *l, intake_fn *fn, struct intake **out)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);
    struct intake *i;

    if (fd < 0)
        return ERR_IO;
    i = mem_new(struct intake);
    i->loop = l;
    i->fn = fn;
    i->fd = fd;
    list_init(&i->again);
    list_init(&i->hung);
    i->turn_end.fn = on_turn_end;
    loop_hook(l, &i->turn_end);
    uv_poll_init(loop_uv(l), &i->poll, fd);
    i->poll.data = i;
    uv_poll_start(&i->poll, UV_READABLE, on_readable);
    *out = i;
    return ERR_OK;
}

static void on_closed(uv_handle_t *h) { mem_free(h->data); }

void intake_close(struct intake *i)
{
    if (!i)
        return;
    loop_unhook(&i->turn_end);
    uv_poll_stop(&i->poll);
    close(i->fd);
    uv_close((uv_handle_t *)&i->poll, on_closed);
}

void intake_add(struct intake *i, struct intake_item *it, int fd, bool is_on)
{
    *it = (struct intake_item){.fd = fd, .is_in = true, .is_on = is_on};
    control(i, EPOLL_CTL_ADD, it);
}

void intake_remove(struct intake *i, struct intake_item *it)
{
    if (!it->is_in)
        return;
    if (!it->is_hung)
        control(i, EPOLL_CTL_DEL, it);
    for (int k = 0; k < i->n_ready; k++)
        if (i->ready[k].data.ptr == it)
            i->ready[k].data.ptr = NULL;
    list_remove(&it->wait);
    it->is_in = false;
}

void intake_set(struct intake *i, struct intake_item *it, bool is_on)
{
    if (!it->is_in || it->is_on == is_on)
        return;
    it->is_on = is_on;
    if (!it->is_hung) {
        control(i, EPOLL_CTL_MOD, it);
        return;
    }
    list_remove(&it->wait);
    if (!is_on)
        return;
    list_push(&i->hung, &it->wait);
    loop_again(i->loop); /* another hook may have taken up reading again, behind this one's */
}

void intake_again(struct intake *i, struct intake_item *it)
{
    if (!it->is_in || link_is_in(&it->wait))
        return;
    list_push(&i->again, &it->wait);
    loop_again(i->loop);
}
