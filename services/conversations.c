/* conversation.list and conversation.get.
 *
 * A list is newest activity first; its cursor is the (activity, conversation) of the last item given. What becomes
 * active meanwhile moves to the front, where a list that is begun anew finds it. */
#include "proto/jsonw.h"
#include "services/conv_view.h"
#include "services/survey.h"

enum { LIMIT_STANDARD = 50, PAGE_BYTES = 512 << 10, CURSOR_BYTES = 24, CURSOR_TEXT = 32 };

struct listing {
    struct survey survey;
    int64_t activity; /* the cursor: only what is behind it in the list */
    struct conv_id conv;
    size_t remaining;
};

static int by_activity(const void *x, const void *y)
{
    const struct inner_conv_row *a = x, *b = y;

    int open = survey_open_first(a, b);

    return open ? open : survey_compare(-a->activity, &a->conv, -b->activity, &b->conv);
}

static void on_listed(struct reactor *r, struct survey *s) { survey_look(r, s); }

static void on_looked(struct reactor *r, struct survey *s)
{
    struct listing *l = container_of(s, struct listing, survey);
    const struct args_conversation_list *a = &s->q->args->conversation_list;
    size_t limit = a->has_limit ? (size_t)a->limit : LIMIT_STANDARD;

    for (size_t i = 0; i < s->n; i++) {
        struct inner_conv_row *row = &s->v[i];

        row->is_open = row->is_visible &&
                       (!a->has_cursor || survey_compare(-row->activity, &row->conv, -l->activity, &l->conv) > 0);
        l->remaining += row->is_open;
    }
    qsort(s->v, s->n, sizeof *s->v, by_activity);
    jsonw_open(&s->q->out, '{');
    jsonw_key(&s->q->out, "conversations");
    jsonw_open(&s->q->out, '[');
    s->bytes = PAGE_BYTES;
    survey_print(r, s, CONV_LIST, limit < l->remaining ? limit : l->remaining);
}

static void print_cursor(const struct inner_conv_row *row, struct buf *out)
{
    uint8_t bytes[CURSOR_BYTES];
    char text[CURSOR_TEXT + 1];

    enc_u64(bytes, (uint64_t)row->activity);
    memcpy(bytes + 8, &row->conv, sizeof row->conv);
    jsonw_key_str(out, "cursor", str_of(text, enc_base64url(text, bytes, sizeof bytes)));
}

static bool parse_cursor(struct str text, struct listing *l)
{
    uint8_t bytes[CURSOR_BYTES];
    size_t n = 0;

    if (text.len != CURSOR_TEXT || !dec_base64url(bytes, sizeof bytes, &n, text) || n != sizeof bytes)
        return false;
    l->activity = (int64_t)dec_u64(bytes);
    memcpy(&l->conv, bytes + 8, sizeof l->conv);
    return l->activity >= 0;
}

static void on_printed(struct reactor *r, struct survey *s)
{
    const struct listing *l = container_of(s, struct listing, survey);
    struct buf *out = &s->q->out;
    bool more = s->done < l->remaining;

    jsonw_close(out, ']');
    jsonw_key_bool(out, "more", more);
    if (more && s->done)
        print_cursor(&s->v[s->done - 1], out);
    jsonw_close(out, '}');
    survey_ok(r, s);
}

void op_conversation_list(void *service, struct request *q)
{
    const struct args_conversation_list *a = &q->args->conversation_list;
    struct listing *l = arena_alloc(&q->arena, sizeof *l);

    l->survey =
        (struct survey){.q = q, .kind = CONV_LOOK_ALL, .listed = on_listed, .looked = on_looked, .printed = on_printed};
    if (a->has_cursor && !parse_cursor(a->cursor, l)) {
        reactor_fail(service, q, CODE_BAD_REQUEST, "cursor: not one of ours");
        return;
    }
    survey_start(service, &l->survey);
}

/* One. */
struct getting {
    struct request *q;
    struct conv *c;
};

static enum err get_step(struct reactor *r, void *arg, struct lsm_need *need)
{
    struct getting *g = arg;
    struct conv *c = g->c;
    const struct conv_view v = {r, c, authority_member(conv_committed(c), g->q->actor.user), need};
    enum err err = conv_view_list(&v, true, &g->q->out);

    if (err == ERR_AGAIN)
        return err;
    if (err == ERR_OK)
        reactor_ok(r, g->q);
    else
        reactor_broken(r, g->q, "conversation", err);
    conv_unpin(r, c);
    return err;
}

static void get_start(struct reactor *r, struct conv *c, struct request *q)
{
    struct getting *g;

    if (!shard_reader(r, c, q))
        return;
    g = arena_alloc(&q->arena, sizeof *g);
    *g = (struct getting){q, c};
    conv_pin(c);
    reactor_read(r, get_step, g);
}

void op_conversation_get(void *service, struct request *q)
{
    shard_read(service, &q->args->conversation_get.conv, q, get_start);
}
