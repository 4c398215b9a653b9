/* How the owners are asked. Looking goes out in batches of rows of one owner, some at a time; the order of answers does
 * not matter. Printing goes row by row through the page, and what has room depends on what came before: so a batch is a
 * run of neighbours with one owner, and one is under way at a time. */
#include "services/survey.h"
#include "base/map.h"

enum { LOOKING_MAX = 4 /* batches under way */ };

/* A user who has surveys that run or wait. It is in `turns` while one waits and may run. */
struct surveyor {
    struct link turn;
    struct link waiting;
    user_id user;
    unsigned running;
};

struct surveys {
    unsigned running;
    struct map users;  /* struct surveyor */
    struct link turns; /* who waited longest is first */
};

void surveys_create(struct surveys **out)
{
    struct surveys *all = mem_new(struct surveys);

    list_init(&all->turns);
    *out = all;
}

void surveys_destroy(struct surveys *all)
{
    size_t at = 0;

    if (!all)
        return;
    for (struct surveyor *u; (u = map_next(&all->users, &at));)
        mem_free(u);
    map_deinit(&all->users);
    mem_free(all);
}

static void ask_which(struct reactor *r, struct survey *s);

static bool is_user(const void *value, const void *key)
{
    return ((const struct surveyor *)value)->user == *(const user_id *)key;
}

static struct surveyor *surveyor_of(struct surveys *all, user_id user)
{
    struct surveyor *u = map_get(&all->users, hash_u64(user), is_user, &user);

    if (u)
        return u;
    u = mem_new(struct surveyor);
    u->user = user;
    list_init(&u->waiting);
    map_add(&all->users, hash_u64(user), u);
    return u;
}

static void line_up(struct surveys *all, struct surveyor *u)
{
    if (!list_is_empty(&u->waiting) && u->running < SURVEYS_OF_USER && !link_is_in(&u->turn))
        list_push(&all->turns, &u->turn);
}

/* An answer may come before the asking returns, and end a survey: so all is in order before each. */
static void start_next(struct reactor *r)
{
    struct surveys *all = reactor_surveys(r);

    while (all->running < SURVEYS_MAX && !list_is_empty(&all->turns)) {
        struct surveyor *u = list_first(&all->turns, struct surveyor, turn);
        struct survey *s = list_first(&u->waiting, struct survey, link);

        list_remove(&u->turn);
        list_remove(&s->link);
        u->running++;
        all->running++;
        line_up(all, u);
        ask_which(r, s);
    }
}

static void leave(struct reactor *r, struct surveyor *u)
{
    struct surveys *all = reactor_surveys(r);

    all->running--;
    u->running--;
    line_up(all, u);
    if (u->running == 0 && list_is_empty(&u->waiting)) {
        map_take(&all->users, hash_u64(u->user), is_user, &u->user);
        mem_free(u);
    }
    start_next(r);
}

void survey_ok(struct reactor *r, struct survey *s)
{
    struct surveyor *by = s->by;

    reactor_ok(r, s->q); /* s may be gone */
    leave(r, by);
}

static void fail(struct reactor *r, struct survey *s)
{
    struct surveyor *by = s->by;

    s->q->retry_after_ms = s->retry_after_ms;
    reactor_fail(r, s->q, s->code, s->why);
    leave(r, by);
}

static void note_failure(struct survey *s, const struct request *sub)
{
    s->code = sub->code;
    s->retry_after_ms = sub->retry_after_ms;
    s->why = arena_dup(&s->q->arena, str_of(sub->why, strlen(sub->why) + 1)).p;
}

/* Which they are. */
static int by_conv(const void *x, const void *y)
{
    return memcmp(&((const struct inner_conv_row *)x)->conv, &((const struct inner_conv_row *)y)->conv,
                  sizeof(struct conv_id));
}

struct which {
    struct survey *s;
    struct inner_convs convs;
};

static void on_which(struct reactor *r, struct request *q, struct request *sub)
{
    const struct which *w = container_of(sub->result, struct which, convs);
    struct survey *s = w->s;

    if (sub->code != CODE_OK) {
        note_failure(s, sub);
        fail(r, s);
        return;
    }
    s->n = w->convs.n;
    s->v = arena_alloc(&q->arena, s->n * sizeof *s->v + 1);
    for (size_t i = 0; i < s->n; i++) {
        s->v[i].conv = w->convs.v[i].conv;
        s->v[i].owner = reactor_owner(r, &s->v[i].conv);
    }
    qsort(s->v, s->n, sizeof *s->v, by_conv);
    s->listed(r, s);
}

static void ask_which(struct reactor *r, struct survey *s)
{
    struct request *sub = reactor_ask_new(r, s->q, INNER_USER_CONVS, on_which);
    struct which *w = arena_alloc(&sub->arena, sizeof *w);

    w->s = s;
    w->convs.user = s->q->actor.user;
    sub->result = &w->convs;
    reactor_ask(r, sub, world_lookup(reactor_world(r)));
}

void survey_start(struct reactor *r, struct survey *s)
{
    struct surveys *all = reactor_surveys(r);

    s->by = surveyor_of(all, s->q->actor.user);
    list_push(&s->by->waiting, &s->link);
    line_up(all, s->by);
    start_next(r);
}

/* Asking the owners. */
static void pump(struct reactor *r, struct survey *s);

struct batch {
    struct survey *s;
    struct inner_conv_batch b;
};

static void take_printed(struct survey *s, const struct inner_conv_batch *b, const struct request *sub)
{
    struct buf *out = &s->q->out;

    if (sub->out.len && out->p[out->len - 1] != '[')
        buf_char(out, ',');
    buf_str(out, buf_get(&sub->out));
    s->done += b->done;
    s->entries = b->entries;
    s->bytes = b->bytes;
    s->is_first = b->is_first;
    s->is_full = b->is_full;
}

static void on_batch(struct reactor *r, struct request *q, struct request *sub)
{
    const struct batch *a = container_of(sub->result, struct batch, b);
    struct survey *s = a->s;

    (void)q;
    s->asking--;
    if (sub->code != CODE_OK)
        note_failure(s, sub);
    else if (s->is_printing)
        take_printed(s, &a->b, sub);
    pump(r, s);
}

static size_t run_length(const struct survey *s)
{
    size_t n = 1;

    while (n < CONV_BATCH_MAX && s->done + n < s->end && s->v[s->done + n].owner == s->v[s->done].owner)
        n++;
    return n;
}

static void ask_batch(struct reactor *r, struct survey *s)
{
    struct request *sub = reactor_ask_new(r, s->q, INNER_CONV_BATCH, on_batch);
    struct batch *a = arena_alloc(&sub->arena, sizeof *a);
    size_t n = run_length(s);
    unsigned to = s->v[s->done].owner;

    a->s = s;
    a->b = (struct inner_conv_batch){
        .kind = s->kind,
        .v = s->v + s->done,
        .n = n,
        .entries = s->entries,
        .bytes = s->bytes,
        .is_first = s->is_first,
    };
    sub->result = &a->b;
    s->asking++;
    if (!s->is_printing)
        s->done += n;
    reactor_ask(r, sub, to);
}

static bool may_ask(const struct survey *s)
{
    return s->code == CODE_OK && !s->is_full && s->done < s->end && s->asking < (s->is_printing ? 1 : LOOKING_MAX);
}

/* An answer may come before the asking returns: only the outermost goes on. */
static void pump(struct reactor *r, struct survey *s)
{
    if (s->is_pumping)
        return;
    s->is_pumping = true;
    while (may_ask(s))
        ask_batch(r, s);
    s->is_pumping = false;
    if (s->asking)
        return;
    if (s->code == CODE_OK)
        s->then(r, s);
    else
        fail(r, s);
}

static int by_owner(const void *x, const void *y)
{
    const struct inner_conv_row *a = x, *b = y;

    return (a->owner > b->owner) - (a->owner < b->owner);
}

void survey_look(struct reactor *r, struct survey *s)
{
    qsort(s->v, s->n, sizeof *s->v, by_owner);
    s->then = s->looked;
    s->end = s->n;
    pump(r, s);
}

void survey_print(struct reactor *r, struct survey *s, enum conv_batch_kind kind, size_t n)
{
    s->kind = kind;
    s->is_printing = s->is_first = true;
    s->then = s->printed;
    s->done = 0;
    s->end = n;
    pump(r, s);
}

int survey_compare(int64_t activity, const struct conv_id *c, int64_t other_activity, const struct conv_id *other)
{
    if (activity != other_activity)
        return activity < other_activity ? -1 : 1;
    return memcmp(c, other, sizeof *c);
}

int survey_open_first(const struct inner_conv_row *a, const struct inner_conv_row *b)
{
    return (int)b->is_open - (int)a->is_open;
}
