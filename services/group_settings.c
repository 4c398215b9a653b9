/* Changing a group's settings. The entry carries what really changes; what is as it was makes none. */
#include "services/group.h"

static bool keep_text(bool has, struct str new, struct str old) { return has && !str_eq(new, old); }

/* Of what was asked for, that which differs. */
static struct group_settings changes(const struct authority *a, struct group_settings s)
{
    s.has_title = keep_text(s.has_title, s.title, a->settings.title);
    s.has_description = keep_text(s.has_description, s.description, a->settings.description);
    s.has_picture = keep_text(s.has_picture, s.picture, a->settings.picture);
    s.has_announce = s.has_announce && s.announce != a->announce;
    s.has_locked = s.has_locked && s.locked != a->locked;
    s.has_history = s.has_history && s.history_all != a->history_all;
    return s;
}

static bool is_for_admins(const struct group_settings *s) { return s->has_announce || s->has_locked || s->has_history; }
static bool is_any(const struct group_settings *s)
{
    return s->has_title || s->has_description || s->has_picture || is_for_admins(s);
}

/* When nothing changes, the newest entry is the one by which all is as asked. */
static void update_admit(struct reactor *r, struct conv *c, struct request *q)
{
    const struct authority *a = conv_admitted(c);
    struct entry *e = shard_entry(q);
    struct group_settings differ = changes(a, e->settings);

    if (!group_writer(r, c, q, a->locked || is_for_admins(&e->settings) ? ROLE_ADMIN : ROLE_MEMBER))
        return;
    if (!is_any(&differ)) {
        shard_unchanged(r, c, q, a->head, a->last_ts);
        return;
    }
    e->settings = differ;
    shard_append(r, c, q);
}

static const char *fault_of(const struct group_settings *s)
{
    if (!is_any(s))
        return "a setting is needed";
    if (s->has_title && s->title.len == 0)
        return "title: must not be empty";
    return NULL;
}

static void update_start(struct reactor *r, struct conv *c, struct request *q)
{
    const struct args_group_update *a = &q->args->group_update;
    struct entry *e = shard_entry(q);
    const char *fault;
    struct buf *b;

    e->kind = ENTRY_SETTINGS;
    e->conv_kind = CONV_GROUP;
    e->settings = GROUP_SETTINGS(a);
    fault = fault_of(&e->settings);
    if (fault) {
        reactor_fail(r, q, CODE_BAD_REQUEST, fault);
        return;
    }
    b = reactor_scratch(r);
    group_add_settings(b, &e->settings);
    shard_once(r, c, q, a->cid, buf_get(b), group_print, update_admit);
}

void op_group_update(void *service, struct request *q)
{
    shard_write(service, &q->args->group_update.conv, q, update_start);
}
