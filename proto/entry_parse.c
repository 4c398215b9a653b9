#include "proto/entry_parse.h"
#include "proto/scan.h"
#include <jansson.h>

enum { CONTENT_MAX = 65536, TITLE_MAX = 256, DESCRIPTION_MAX = 2048, PICTURE_MAX = 512, LIST_MAX = 65536 };

struct parsing {
    json_t *root;
    struct arena *arena;
    struct entry *e;
    struct str text;
};

static bool get_str(const json_t *o, const char *key, struct str *out)
{
    const json_t *v = json_object_get(o, key);

    if (!json_is_string(v))
        return false;
    *out = str_of(json_string_value(v), json_string_length(v));
    return true;
}

static bool get_user(const json_t *v, user_id *out)
{
    return json_is_string(v) && user_parse(str_of(json_string_value(v), json_string_length(v)), out) && *out;
}

static bool get_role(const json_t *o, enum role *out)
{
    struct str s;

    if (!get_str(o, "role", &s))
        return false;
    for (int r = ROLE_MEMBER; r <= ROLE_OWNER; r++) {
        if (str_eq(s, str_c(role_text((enum role)r)))) {
            *out = (enum role)r;
            return true;
        }
    }
    return false;
}

static bool get_number(const json_t *o, const char *key, uint64_t max, uint64_t *out)
{
    const json_t *v = json_object_get(o, key);
    json_int_t n = json_integer_value(v);

    if (!json_is_integer(v) || n < 0 || (uint64_t)n > max)
        return false;
    *out = (uint64_t)n;
    return true;
}

static bool head(struct parsing *p)
{
    struct str conv, cid;
    uint64_t ts;

    if (!get_str(p->root, "conv", &conv) || !conv_parse(conv, &p->e->conv) ||
        !get_number(p->root, "seq", SEQ_MAX, &p->e->seq) || p->e->seq == 0 ||
        !get_number(p->root, "ts", INT64_MAX, &ts) || !get_str(p->root, "cid", &cid) || !cid_is_valid(cid))
        return false;
    p->e->ts = (int64_t)ts;
    p->e->cid = arena_dup(p->arena, cid);
    return get_user(json_object_get(p->root, "from"), &p->e->from);
}

static bool mentions(struct parsing *p)
{
    json_t *list = json_object_get(p->root, "mentions");
    user_id *v = arena_alloc(p->arena, json_array_size(list) * sizeof *v + 1);

    for (size_t i = 0; i < json_array_size(list); i++) {
        if (!get_user(json_array_get(list, i), &v[i]))
            return false;
    }
    p->e->mentions = v;
    p->e->n_mentions = json_array_size(list);
    return !list || (json_is_array(list) && p->e->n_mentions <= LIST_MAX);
}

/* Jansson would print it again in another way: so it is taken as it stands. */
/* What a stub says beside its head is why it is one. */
static enum entry_gone gone(const struct parsing *p)
{
    if (json_is_true(json_object_get(p->root, "deleted")))
        return ENTRY_DELETED;
    return json_is_true(json_object_get(p->root, "expired")) ? ENTRY_EXPIRED : ENTRY_KEPT;
}

static bool message(struct parsing *p)
{
    struct member content;
    json_t *reply = json_object_get(p->root, "reply_to"), *expiry = json_object_get(p->root, "expires_at");
    uint64_t expires_at = 0;

    p->e->gone = gone(p);
    if (p->e->gone)
        return true;
    if (!scan_find(p->text, "content", &content) || content.kind != SCAN_OBJECT || content.value.len > CONTENT_MAX)
        return false;
    p->e->content = content.value;
    if (reply && !get_number(p->root, "reply_to", SEQ_MAX, &p->e->reply_to))
        return false;
    if (expiry && (!get_number(p->root, "expires_at", INT64_MAX, &expires_at) || expires_at == 0))
        return false;
    p->e->expires_at = (int64_t)expires_at;
    return mentions(p);
}

static bool text_setting(struct parsing *p, const char *key, size_t max, bool *has, struct str *out)
{
    struct str s;

    *has = json_object_get(p->root, key) != NULL;
    if (!*has)
        return true;
    if (!get_str(p->root, key, &s) || s.len > max)
        return false;
    *out = arena_dup(p->arena, s);
    return true;
}

static bool flag_setting(struct parsing *p, const char *key, bool *has, bool *out)
{
    const json_t *v = json_object_get(p->root, key);

    *has = v != NULL;
    *out = json_is_true(v);
    return !v || json_is_boolean(v);
}

static bool settings(struct parsing *p)
{
    struct group_settings *s = &p->e->settings;
    struct str history;

    s->has_history = get_str(p->root, "history", &history);
    s->history_all = s->has_history && str_eq(history, STR("all"));
    return text_setting(p, "title", TITLE_MAX, &s->has_title, &s->title) &&
           text_setting(p, "description", DESCRIPTION_MAX, &s->has_description, &s->description) &&
           text_setting(p, "picture", PICTURE_MAX, &s->has_picture, &s->picture) &&
           flag_setting(p, "announce", &s->has_announce, &s->announce) &&
           flag_setting(p, "locked", &s->has_locked, &s->locked);
}

/* [{user, role}] or [user]. */
static bool members(struct parsing *p, const char *key)
{
    json_t *list = json_object_get(p->root, key);
    size_t n = json_array_size(list);
    struct member_role *v;

    if (!json_is_array(list) || n == 0 || n > LIST_MAX)
        return false;
    v = arena_alloc(p->arena, n * sizeof *v);
    for (size_t i = 0; i < n; i++) {
        const json_t *m = json_array_get(list, i);
        bool ok = json_is_object(m) ? get_user(json_object_get(m, "user"), &v[i].user) && get_role(m, &v[i].role)
                                    : get_user(m, &v[i].user);
        if (!ok)
            return false;
    }
    p->e->members = v;
    p->e->n_members = n;
    return true;
}

static bool role_change(struct parsing *p, const json_t *role)
{
    struct member_role *v = arena_alloc(p->arena, sizeof *v);

    p->e->change = MEMBERS_ROLE;
    p->e->members = v;
    p->e->n_members = 1;
    return get_user(json_object_get(role, "user"), &v->user) && get_role(role, &v->role);
}

static bool change(struct parsing *p)
{
    const json_t *role = json_object_get(p->root, "role");
    struct str history;

    if (json_object_get(p->root, "added")) {
        p->e->change = MEMBERS_ADDED;
        p->e->history_all = get_str(p->root, "history", &history) && str_eq(history, STR("all"));
        return members(p, "added");
    }
    if (json_object_get(p->root, "removed")) {
        p->e->change = MEMBERS_REMOVED;
        return members(p, "removed") && (!role || get_user(json_object_get(role, "user"), &p->e->heir));
    }
    return role && role_change(p, role);
}

static bool body(struct parsing *p)
{
    struct str ev;

    if (!get_str(p->root, "ev", &ev))
        return false;
    if (str_eq(ev, STR("message"))) {
        p->e->kind = ENTRY_MESSAGE;
        return message(p);
    }
    if (str_eq(ev, STR("created"))) {
        p->e->kind = ENTRY_CREATED;
        return members(p, "members") && settings(p);
    }
    if (str_eq(ev, STR("members"))) {
        p->e->kind = ENTRY_MEMBERS;
        return change(p);
    }
    p->e->kind = ENTRY_SETTINGS;
    return str_eq(ev, STR("settings")) && settings(p);
}

enum err entry_parse(struct str event, struct arena *arena, struct entry *out)
{
    struct scan scan = {0};
    struct entry e = {0};
    struct parsing p = {.arena = arena, .e = &e, .text = event};
    bool ok;

    if (!scan_text(&scan, event))
        return ERR_INVALID;
    p.root = json_loadb(event.p, event.len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
    ok = p.root && head(&p) && body(&p);
    json_decref(p.root);
    if (ok)
        *out = e;
    return ok ? ERR_OK : ERR_INVALID;
}
