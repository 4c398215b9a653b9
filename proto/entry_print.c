/* An entry as its event. Every message passes here once, so a message is written in one go into one reservation; the
 * rarer kinds go through jsonw. */
#include "proto/record.h"
#include "proto/jsonw.h"

/* Names, punctuation, the two ids and four numbers of at most 20 digits come to 231 bytes; the rest is slack,
 * of which put_u64 uses 20 behind a number. */
enum { MESSAGE_FIXED = 300, MENTION_BYTES = USER_TEXT + 3 };

static char *put(char *p, struct str s)
{
    if (s.len)
        memcpy(p, s.p, s.len);
    return p + s.len;
}
#define PUT(p, literal) ((char *)memcpy(p, literal, sizeof(literal) - 1) + sizeof(literal) - 1)

static char *put_u64(char *p, uint64_t v) { return p + enc_decimal(p, v); }

static char *put_conv(char *p, struct entry_names *n, const struct conv_id *c)
{
    if (!n->has_conv || !conv_eq(&n->conv, c)) {
        conv_text(n->conv_text, c);
        n->conv = *c;
        n->has_conv = true;
    }
    return (char *)memcpy(p, n->conv_text, CONV_TEXT) + CONV_TEXT;
}

static char *put_from(char *p, struct entry_names *n, user_id from)
{
    unsigned i = 0;

    while (i < n->n_from && n->from[i] != from)
        i++;
    if (i == n->n_from) {
        i = n->n_from < 2 ? n->n_from++ : n->oldest++ % 2;
        n->from[i] = from;
        user_text(n->from_text[i], from);
    }
    return (char *)memcpy(p, n->from_text[i], USER_TEXT) + USER_TEXT;
}

/* What all entries begin with, up to and without the closing quote of cid. */
static char *put_head(char *p, struct entry_names *n, const struct entry *e, struct str ev)
{
    p = PUT(p, "{\"ev\":\"");
    p = put(p, ev);
    p = PUT(p, "\",\"conv\":\"");
    p = put_conv(p, n, &e->conv);
    p = PUT(p, "\",\"seq\":");
    p = put_u64(p, e->seq);
    p = PUT(p, ",\"from\":\"");
    p = put_from(p, n, e->from);
    p = PUT(p, "\",\"ts\":");
    p = put_u64(p, (uint64_t)e->ts);
    p = PUT(p, ",\"cid\":\"");
    return put(p, e->cid);
}

static void print_message(struct entry_names *n, const struct entry *e, struct buf *out)
{
    char *start = buf_reserve(out, MESSAGE_FIXED + e->cid.len + e->content.len + e->n_mentions * MENTION_BYTES);
    char *p = put_head(start, n, e, STR("message"));

    p = PUT(p, "\",\"content\":");
    p = put(p, e->content);
    if (e->reply_to) {
        p = PUT(p, ",\"reply_to\":");
        p = put_u64(p, e->reply_to);
    }
    if (e->expires_at) {
        p = PUT(p, ",\"expires_at\":");
        p = put_u64(p, (uint64_t)e->expires_at);
    }
    if (e->n_mentions) {
        p = PUT(p, ",\"mentions\":");
        for (size_t i = 0; i < e->n_mentions; i++) {
            *p++ = i ? ',' : '[';
            *p++ = '"';
            p += user_text(p, e->mentions[i]);
            *p++ = '"';
        }
        *p++ = ']';
    }
    *p++ = '}';
    out->len += (size_t)(p - start);
}

static void print_head(struct entry_names *n, const struct entry *e, struct str ev, struct buf *out)
{
    char *start = buf_reserve(out, MESSAGE_FIXED + e->cid.len);
    char *p = put_head(start, n, e, ev);

    *p++ = '"';
    out->len += (size_t)(p - start);
}

static void print_stub(struct entry_names *n, const struct entry *e, struct buf *out)
{
    print_head(n, e, STR("message"), out);
    jsonw_key_bool(out, e->gone == ENTRY_DELETED ? "deleted" : "expired", true);
    jsonw_close(out, '}');
}

static void print_settings(const struct group_settings *s, struct buf *out)
{
    if (s->has_title)
        jsonw_key_str(out, "title", s->title);
    if (s->has_description)
        jsonw_key_str(out, "description", s->description);
    if (s->has_picture)
        jsonw_key_str(out, "picture", s->picture);
    if (s->has_announce)
        jsonw_key_bool(out, "announce", s->announce);
    if (s->has_locked)
        jsonw_key_bool(out, "locked", s->locked);
    if (s->has_history)
        jsonw_key_str(out, "history", s->history_all ? STR("all") : STR("joined"));
}

static void print_role(user_id user, enum role role, struct buf *out)
{
    jsonw_open(out, '{');
    jsonw_key_user(out, "user", user);
    jsonw_key_str(out, "role", str_c(role_text(role)));
    jsonw_close(out, '}');
}

static void print_members(const struct entry *e, const char *key, struct buf *out)
{
    jsonw_key(out, key);
    jsonw_open(out, '[');
    for (size_t i = 0; i < e->n_members; i++)
        print_role(e->members[i].user, e->members[i].role, out);
    jsonw_close(out, ']');
}

static void print_removed(const struct entry *e, struct buf *out)
{
    jsonw_key(out, "removed");
    jsonw_open(out, '[');
    for (size_t i = 0; i < e->n_members; i++)
        jsonw_user(out, e->members[i].user);
    jsonw_close(out, ']');
}

static void print_change(const struct entry *e, struct buf *out)
{
    if (e->change == MEMBERS_ADDED)
        print_members(e, "added", out);
    if (e->change == MEMBERS_REMOVED)
        print_removed(e, out);
    if (e->change == MEMBERS_ROLE && e->n_members) {
        jsonw_key(out, "role");
        print_role(e->members[0].user, e->members[0].role, out);
    } else if (e->heir) {
        jsonw_key(out, "role");
        print_role(e->heir, ROLE_OWNER, out);
    }
}

/* A group's first entry says what all its settings are, given or not, but for texts that it has none of. */
static void print_created(const struct entry *e, struct buf *out)
{
    struct group_settings all = e->settings;

    all.has_title = all.has_announce = all.has_locked = all.has_history = true;
    print_members(e, "members", out);
    print_settings(&all, out);
}

void entry_print(const struct entry *e, struct buf *out)
{
    struct entry_names names;

    names.has_conv = false;
    names.n_from = 0;
    entry_print_with(&names, e, out);
}

void entry_print_with(struct entry_names *names, const struct entry *e, struct buf *out)
{
    switch (e->kind) {
    case ENTRY_MESSAGE:
        if (e->gone)
            print_stub(names, e, out);
        else
            print_message(names, e, out);
        return;
    case ENTRY_CREATED:
        print_head(names, e, STR("created"), out);
        print_created(e, out);
        break;
    case ENTRY_MEMBERS:
        print_head(names, e, STR("members"), out);
        print_change(e, out);
        break;
    case ENTRY_SETTINGS:
        print_head(names, e, STR("settings"), out);
        print_settings(&e->settings, out);
        break;
    }
    jsonw_close(out, '}');
}
