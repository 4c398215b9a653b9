/* An entry as its event. Every message passes here once, so a message is written in one go into one reservation; the
 * rarer kinds go through jsonw. */
#include "proto/record.h"
#include "proto/jsonw.h"

/* Names, punctuation, the two ids and three numbers of at most 20 digits come to 197 bytes; the rest is slack. */
enum { MESSAGE_FIXED = 300, MENTION_BYTES = USER_TEXT + 3 };

static char *put(char *p, struct str s)
{
    if (s.len)
        memcpy(p, s.p, s.len);
    return p + s.len;
}
#define PUT(p, literal) ((char *)memcpy(p, literal, sizeof(literal) - 1) + sizeof(literal) - 1)

static char *put_u64(char *p, uint64_t v) { return p + enc_decimal(p, v); }

/* What all entries begin with, up to and without the closing quote of cid. */
static char *put_head(char *p, const struct entry *e, struct str ev)
{
    p = PUT(p, "{\"ev\":\"");
    p = put(p, ev);
    p = PUT(p, "\",\"conv\":\"");
    p += conv_text(p, &e->conv);
    p = PUT(p, "\",\"seq\":");
    p = put_u64(p, e->seq);
    p = PUT(p, ",\"from\":\"");
    p += user_text(p, e->from);
    p = PUT(p, "\",\"ts\":");
    p = put_u64(p, (uint64_t)e->ts);
    p = PUT(p, ",\"cid\":\"");
    return put(p, e->cid);
}

static void print_message(const struct entry *e, struct buf *out)
{
    char *start = buf_reserve(out, MESSAGE_FIXED + e->cid.len + e->content.len + e->n_mentions * MENTION_BYTES);
    char *p = put_head(start, e, STR("message"));

    p = PUT(p, "\",\"content\":");
    p = put(p, e->content);
    if (e->reply_to) {
        p = PUT(p, ",\"reply_to\":");
        p = put_u64(p, e->reply_to);
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

static void print_head(const struct entry *e, struct str ev, struct buf *out)
{
    char *start = buf_reserve(out, MESSAGE_FIXED + e->cid.len);
    char *p = put_head(start, e, ev);

    *p++ = '"';
    out->len += (size_t)(p - start);
}

static void print_stub(const struct entry *e, struct buf *out)
{
    print_head(e, STR("message"), out);
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
    switch (e->kind) {
    case ENTRY_MESSAGE:
        if (e->gone)
            print_stub(e, out);
        else
            print_message(e, out);
        return;
    case ENTRY_CREATED:
        print_head(e, STR("created"), out);
        print_created(e, out);
        break;
    case ENTRY_MEMBERS:
        print_head(e, STR("members"), out);
        print_change(e, out);
        break;
    case ENTRY_SETTINGS:
        print_head(e, STR("settings"), out);
        print_settings(&e->settings, out);
        break;
    }
    jsonw_close(out, '}');
}
