#include "cmd/parleyd_feed.h"
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

enum { BATCH_BYTES = 256 << 10, WAITING_MAX = 4, FETCHES = 3, FETCH_AHEAD = 2 };

struct item {
    uint64_t pos;
    uint32_t len; /* of the body, which follows */
    uint16_t shard;
    uint8_t kind;
};

/* What a thread has to do, and says. */
struct batch {
    struct buf bytes;
    uint64_t log_id, until;
    bool is_last; /* somebody waits for it */
};

struct hand {
    struct feed *feed;
    struct loop *home;
    size_t index;
    pthread_t thread;
    bool is_started;
    struct convlog_replay *convs; /* the thread's */
    struct batch next;            /* the caller's: is being filled */
    pthread_mutex_t lock;         /* guards what follows */
    pthread_cond_t moved;         /* of either side */
    struct batch waiting[WAITING_MAX];
    size_t n_waiting;
    bool is_busy, is_ending;
    enum err err;
    struct item refused; /* with an error: what it is of */
};

struct feed {
    struct feed_conf conf;
    atomic_bool is_ending; /* the start fails: nobody waits for a store any more */
    size_t n_hands, n;     /* wanted; made */
    struct hand hand[];
};

/* --- a thread --- */

/* Takes finished flushes home; waits a little when there was none: a flush takes milliseconds. */
static void let_stores_catch_up(struct hand *h)
{
    if (!h->home || mailbox_drain(loop_mailbox(h->home)) == 0)
        nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
}

static enum err put(struct hand *h, const struct item *i, const char *body)
{
    const struct feed_conf *c = &h->feed->conf;
    struct lsm *store = c->stores[c->data->store_of[i->shard]];
    enum err err;

    while ((err = convlog_replay_record(h->convs, store, i->shard, i->kind, str_of(body, i->len))) == ERR_LIMIT) {
        if (atomic_load(&h->feed->is_ending))
            return ERR_CLOSED;
        let_stores_catch_up(h);
    }
    return err;
}

/* What was put so far becomes one with its position: when the memtable is full, for then it is flushed, or at the end.
 * In between nobody needs it, and each conversation's state need not be put (convlog.h). */
static enum err settle(struct hand *h, const struct batch *b)
{
    const struct feed_conf *c = &h->feed->conf;
    enum err err = ERR_OK;

    for (size_t s = h->index; s < c->data->n_stores; s += h->feed->n_hands) {
        struct lsm *l = c->stores[s];
        if (!b->is_last && !lsm_is_ripe(l))
            continue;
        while ((err = convlog_replay_settle(h->convs, l)) == ERR_LIMIT) {
            TRY(atomic_load(&h->feed->is_ending) ? ERR_CLOSED : ERR_OK);
            let_stores_catch_up(h);
        }
        TRY(err);
        lsm_applied(l, b->log_id, b->until);
    }
out:
    return err;
}

/* Each record is about another conversation, which lies somewhere in memory. So while one is put, those that come
 * FETCH_AHEAD, twice and three times as far behind it are fetched, each a step further. */
struct ahead {
    size_t at[FETCHES];
    size_t n; /* records put */
};

static void fetch_ahead(struct hand *h, const struct batch *b, struct ahead *a)
{
    struct item i;

    for (unsigned step = 0; step < FETCHES; step++) {
        size_t distance = FETCH_AHEAD * (FETCHES - step), to = a->n == 0 ? distance : 1;
        for (; to > 0 && a->at[step] < b->bytes.len; to--) {
            memcpy(&i, b->bytes.p + a->at[step], sizeof i);
            convlog_replay_fetch(h->convs, i.kind, str_of(b->bytes.p + a->at[step] + sizeof i, i.len), step);
            a->at[step] += sizeof i + i.len;
        }
    }
    a->n++;
}

static enum err put_all(struct hand *h, const struct batch *b)
{
    struct item i = {.pos = b->until};
    struct ahead ahead = {0};
    enum err err = ERR_OK;

    for (size_t at = 0; at < b->bytes.len; at += sizeof i + i.len) {
        memcpy(&i, b->bytes.p + at, sizeof i);
        fetch_ahead(h, b, &ahead);
        TRY(put(h, &i, b->bytes.p + at + sizeof i));
    }
    TRY(settle(h, b));
    if (h->home)
        mailbox_drain(loop_mailbox(h->home)); /* a flush's next step begins when the last one came home */
out:
    if (err != ERR_OK) {
        pthread_mutex_lock(&h->lock);
        h->refused = i;
        pthread_mutex_unlock(&h->lock);
    }
    return err;
}

/* Under the lock. */
static struct batch take(struct hand *h)
{
    struct batch b = h->waiting[0];
    memmove(&h->waiting[0], &h->waiting[1], --h->n_waiting * sizeof h->waiting[0]);
    h->is_busy = true;
    pthread_cond_broadcast(&h->moved);
    return b;
}

static void *run(void *arg)
{
    struct hand *h = arg;
    pthread_setname_np(pthread_self(), "feed");
    pthread_mutex_lock(&h->lock);
    for (;;) {
        while (h->n_waiting == 0 && !h->is_ending)
            pthread_cond_wait(&h->moved, &h->lock);
        if (h->n_waiting == 0)
            break;
        struct batch b = take(h);
        enum err err = h->err;
        pthread_mutex_unlock(&h->lock);
        if (err == ERR_OK)
            err = put_all(h, &b);
        buf_deinit(&b.bytes);
        pthread_mutex_lock(&h->lock);
        h->err = err;
        h->is_busy = false;
        pthread_cond_broadcast(&h->moved);
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

/* --- the caller's --- */

static enum err hand_over(struct hand *h, uint64_t log_id, uint64_t until, bool is_last)
{
    enum err err;
    pthread_mutex_lock(&h->lock);
    while (h->n_waiting == WAITING_MAX)
        pthread_cond_wait(&h->moved, &h->lock);
    err = h->err;
    h->next.log_id = log_id;
    h->next.until = until;
    h->next.is_last = is_last;
    h->waiting[h->n_waiting++] = h->next;
    h->next = (struct batch){0};
    pthread_cond_broadcast(&h->moved);
    pthread_mutex_unlock(&h->lock);
    return err;
}

enum err feed_record(struct feed *f, const struct log_record *r)
{
    struct hand *h = &f->hand[f->conf.data->store_of[r->shard] % f->n_hands];
    struct item i = {.pos = r->pos, .len = (uint32_t)r->body.len, .shard = r->shard, .kind = r->kind};
    enum err err = ERR_OK;

    if (h->next.bytes.len == 0)
        buf_reserve(&h->next.bytes, BATCH_BYTES + sizeof i + r->body.len);
    buf_add(&h->next.bytes, &i, sizeof i);
    buf_str(&h->next.bytes, r->body);
    if (h->next.bytes.len >= BATCH_BYTES)
        err = hand_over(h, r->log_id, r->next, false);
    return err;
}

static enum err wait_idle(struct hand *h)
{
    pthread_mutex_lock(&h->lock);
    while (h->n_waiting > 0 || h->is_busy)
        pthread_cond_wait(&h->moved, &h->lock);
    enum err err = h->err;
    pthread_mutex_unlock(&h->lock);
    return err;
}

enum err feed_wait(struct feed *f, uint64_t log_id, uint64_t pos)
{
    enum err err = ERR_OK;
    for (size_t i = 0; i < f->n; i++)
        (void)!hand_over(&f->hand[i], log_id, pos, true); /* the error stays, and is asked for below */
    for (size_t i = 0; i < f->n; i++) {
        enum err of = wait_idle(&f->hand[i]);
        err = err == ERR_OK ? of : err;
    }
    return err;
}

bool feed_refused(struct feed *f, uint16_t *shard, uint64_t *pos)
{
    bool is = false;

    for (size_t i = 0; i < f->n_hands && !is; i++) {
        struct hand *h = &f->hand[i];
        pthread_mutex_lock(&h->lock);
        is = h->err != ERR_OK && h->err != ERR_CLOSED;
        *shard = h->refused.shard;
        *pos = h->refused.pos;
        pthread_mutex_unlock(&h->lock);
    }
    return is;
}

static enum err start(struct hand *h)
{
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->moved, NULL);
    convlog_replay_create(&h->convs);
    convlog_replay_defer(h->convs);
    h->is_started = pthread_create(&h->thread, NULL, run, h) == 0;
    return h->is_started ? ERR_OK : ERR_LIMIT;
}

enum err feed_create(const struct feed_conf *c, struct feed **out)
{
    size_t n = c->n_homes ? c->n_homes : 1;
    struct feed *f = mem_alloc(sizeof *f + n * sizeof f->hand[0]);
    enum err err = ERR_OK;

    f->conf = *c;
    f->n_hands = n;
    for (; f->n < n && err == ERR_OK; f->n++) {
        f->hand[f->n].feed = f;
        f->hand[f->n].index = f->n;
        f->hand[f->n].home = c->n_homes ? c->homes[f->n] : NULL;
        err = start(&f->hand[f->n]);
    }
    if (err != ERR_OK) {
        feed_destroy(f);
        f = NULL;
    }
    *out = f;
    return err;
}

static void stop(struct hand *h)
{
    if (h->is_started) {
        pthread_mutex_lock(&h->lock);
        h->is_ending = true;
        pthread_cond_broadcast(&h->moved);
        pthread_mutex_unlock(&h->lock);
        pthread_join(h->thread, NULL);
    }
    buf_deinit(&h->next.bytes);
    convlog_replay_destroy(h->convs);
    pthread_cond_destroy(&h->moved);
    pthread_mutex_destroy(&h->lock);
}

void feed_destroy(struct feed *f)
{
    if (!f)
        return;
    atomic_store(&f->is_ending, true);
    for (size_t i = 0; i < f->n; i++)
        stop(&f->hand[i]);
    mem_free(f);
}
