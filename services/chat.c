/* chat: sending a message. */
#include "proto/jsonw.h"
#include "services/inner.h"
#include "services/shard.h"

enum { SENT_BYTES = 128 }; /* at most what a reply holds */
static const char BLOCKED[] = "one of you blocked the other";

static void print_sent(const struct entry *e, bool dup, struct buf *out)
{
    buf_reserve(out, SENT_BYTES);
    jsonw_open(out, '{');
    jsonw_key_conv(out, "conv", &e->conv);
    jsonw_key_int(out, "seq", (int64_t)e->seq);
    jsonw_key_int(out, "ts", e->ts);
    if (dup)
        jsonw_key_bool(out, "dup", true);
    jsonw_close(out, '}');
}

/* Everything that makes two sends the same; whether the conversation was named by itself or by the other person does
 * not. */
static struct str canonical(struct reactor *r, const struct args_message_send *a)
{
    struct buf *b = reactor_scratch(r);

    enc_add_varint(b, a->reply_to);
    enc_add_varint(b, a->mentions.n);
    buf_add(b, a->mentions.v, a->mentions.n * sizeof a->mentions.v[0]);
    buf_str(b, a->content);
    if (a->has_expires_in) { /* no content goes on like this, and without it all is as it always was */
        buf_char(b, '\0');
        enc_add_varint(b, a->expires_in);
    }
    return buf_get(b);
}

/* What is written: NULL, or why it may not be. */
static const char *fault_of(const struct authority *a, const struct member *m, const struct args_message_send *args)
{
    if (args->has_reply_to &&
        (args->reply_to > a->head || args->reply_to < a->first_seq || !member_sees(m, args->reply_to)))
        return "reply_to: there is no such message";
    for (size_t i = 0; i < args->mentions.n; i++) {
        const struct member *who = authority_member(a, args->mentions.v[i]);

        if (!who || !who->is_in)
            return "mentions: not a member of this conversation";
    }
    return NULL;
}

static void send_to_members(struct reactor *r, struct conv *c, struct request *q)
{
    const struct authority *a = conv_admitted(c);
    const struct member *m = shard_writer(r, c, q);
    const char *fault;

    if (!m)
        return;
    if (authority_is_blocked(a)) {
        reactor_fail(r, q, CODE_FORBIDDEN, BLOCKED);
        return;
    }
    if (a->announce && m->role < ROLE_ADMIN) {
        reactor_fail(r, q, CODE_FORBIDDEN, "only admins write here");
        return;
    }
    fault = fault_of(a, m, &q->args->message_send);
    if (fault) {
        reactor_fail(r, q, CODE_BAD_REQUEST, fault);
        return;
    }
    shard_append(r, c, q);
}

/* The first message of two people makes their conversation. */
static void send_first(struct reactor *r, struct conv *c, struct request *q)
{
    const struct args_message_send *a = &q->args->message_send;
    struct entry *e = shard_entry(q);

    if (a->has_reply_to) {
        reactor_fail(r, q, CODE_BAD_REQUEST, "reply_to: there is no such message");
        return;
    }
    for (size_t i = 0; i < a->mentions.n; i++) {
        if (a->mentions.v[i] != a->user && a->mentions.v[i] != q->actor.user) {
            reactor_fail(r, q, CODE_BAD_REQUEST, "mentions: not a member of this conversation");
            return;
        }
    }
    e->peer = a->user;
    shard_append(r, c, q);
}

static void no_user(struct reactor *r, struct conv *c, struct request *q)
{
    (void)c;
    reactor_fail(r, q, CODE_NOT_FOUND, "no such user");
}

static void lookup_failed(struct reactor *r, struct conv *c, struct request *q)
{
    (void)c;
    reactor_fail(r, q, CODE_UNAVAILABLE, "the server is busy; try again");
}

struct looking {
    struct conv *c;
    struct inner_users users;
};

static void on_looked_up(struct reactor *r, struct request *q, struct request *sub)
{
    const struct looking *l = container_of(sub->result, struct looking, users);

    shard_continue(r, l->c, q, sub->code != CODE_OK ? lookup_failed : l->users.exists[0] ? send_first : no_user);
}

/* Nobody is asked about a person that one already talks to. */
static void ask_for_user(struct reactor *r, struct conv *c, struct request *q)
{
    struct request *sub = reactor_ask_new(r, q, INNER_USERS_EXIST, on_looked_up);
    struct looking *l = arena_alloc(&sub->arena, sizeof *l);

    l->c = c;
    l->users = (struct inner_users){
        .v = &q->args->message_send.user, .n = 1, .exists = arena_alloc(&sub->arena, sizeof(bool))};
    sub->result = &l->users;
    shard_hold(c);
    reactor_ask(r, sub, world_lookup(reactor_world(r)));
}

static void send_admit(struct reactor *r, struct conv *c, struct request *q)
{
    const struct args_message_send *a = &q->args->message_send;

    if (conv_admitted(c)->head || !a->has_user)
        send_to_members(r, c, q);
    else if (authority_is_blocked(conv_admitted(c))) /* before they ever wrote to each other */
        reactor_fail(r, q, CODE_FORBIDDEN, BLOCKED);
    else if (a->user == q->actor.user)
        send_first(r, c, q);
    else
        ask_for_user(r, c, q);
}

static void send_start(struct reactor *r, struct conv *c, struct request *q)
{
    const struct args_message_send *a = &q->args->message_send;
    struct entry *e = shard_entry(q);

    e->kind = ENTRY_MESSAGE;
    e->conv_kind = conv_admitted(c)->head ? conv_admitted(c)->kind : CONV_PAIR;
    e->content = a->content;
    e->reply_to = a->reply_to;
    e->mentions = a->mentions.v;
    e->n_mentions = a->mentions.n;
    e->expires_at = (int64_t)a->expires_in * 1000;
    shard_once(r, c, q, a->cid, canonical(r, a), print_sent, send_admit);
}

void op_message_send(void *service, struct request *q)
{
    shard_write(service, &q->args->message_send.conv, q, send_start);
}
