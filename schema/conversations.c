/* A group's row says up to which entry it was applied, so an entry that comes a second time, or after a later one,
 * leaves everything as it is. A pair's row never changes, so it may be written any number of times. */
#include "schema/conversations.h"

static struct str bytes_of(const struct conv_id *c) { return str_of(c->b, sizeof c->b); }

enum err conversations_of(struct db *d, user_id user, struct conv_id **out, size_t *n)
{
    struct rows q = {0};
    struct buf found = {0};
    enum err err;

    TRY(rows_begin(&q, d,
                   "SELECT conv FROM chats WHERE a = ?1 UNION SELECT conv FROM chats WHERE b = ?1"
                   " UNION ALL SELECT conv FROM group_members WHERE user_id = ?1",
                   "u", user));
    for (err = rows_next(&q); err == ERR_OK; err = rows_next(&q)) {
        struct str conv = rows_str(&q, 0);
        if (conv.len != sizeof(struct conv_id))
            TRY(ERR_CORRUPT);
        buf_str(&found, conv);
    }
    if (err != ERR_NOT_FOUND)
        goto out;
    *n = found.len / sizeof(struct conv_id);
    *out = (struct conv_id *)(void *)found.p;
    found = (struct buf){0};
    err = ERR_OK;
out:
    buf_deinit(&found);
    rows_end(&q);
    return err;
}

enum err conversations_has_groups(struct db *d, user_id user, uint64_t n, bool *out)
{
    struct rows q = {0};
    enum err err;

    TRY(rows_begin(&q, d, "SELECT 1 FROM group_members WHERE user_id = ? LIMIT 1 OFFSET ?", "uu", user, n - 1));
    err = rows_next(&q);
    if (err == ERR_OK || err == ERR_NOT_FOUND) {
        *out = err == ERR_OK;
        err = ERR_OK;
    }
out:
    rows_end(&q);
    return err;
}

enum err conversations_group(struct db *d, const struct conv_id *c, struct arena *a, struct group_row *out)
{
    struct rows q = {0};
    enum err err;

    TRY(rows_begin(&q, d,
                   "SELECT seq, title, description, picture, announce, locked, history_all, creator, created"
                   " FROM groups WHERE conv = ?",
                   "x", bytes_of(c)));
    TRY(rows_next(&q));
    *out = (struct group_row){
        .seq = rows_u64(&q, 0),
        .title = arena_dup(a, rows_str(&q, 1)),
        .description = arena_dup(a, rows_str(&q, 2)),
        .picture = arena_dup(a, rows_str(&q, 3)),
        .announce = rows_i64(&q, 4) != 0,
        .locked = rows_i64(&q, 5) != 0,
        .history_all = rows_i64(&q, 6) != 0,
        .creator = rows_u64(&q, 7),
        .created = rows_i64(&q, 8),
    };
out:
    rows_end(&q);
    return err;
}

enum err conversations_member(struct db *d, const struct conv_id *c, user_id user, struct member_row *out)
{
    struct rows q = {0};
    enum err err;

    TRY(rows_begin(&q, d,
                   "SELECT role, joined_seq, left_seq, joined_at FROM group_members WHERE conv = ? AND user_id = ?",
                   "xu", bytes_of(c), user));
    TRY(rows_next(&q));
    *out = (struct member_row){user, (enum role)rows_i64(&q, 0), rows_u64(&q, 1), rows_u64(&q, 2), rows_i64(&q, 3)};
out:
    rows_end(&q);
    return err;
}

enum err conversations_pair(struct db *d, const struct conv_id *c, user_id *a, user_id *b)
{
    struct rows q = {0};
    enum err err;

    TRY(rows_begin(&q, d, "SELECT a, b FROM chats WHERE conv = ?", "x", bytes_of(c)));
    TRY(rows_next(&q));
    *a = rows_u64(&q, 0);
    *b = rows_u64(&q, 1);
out:
    rows_end(&q);
    return err;
}

static enum err add_pair(struct db *d, const struct entry *e)
{
    return db_run(d, "INSERT INTO chats (conv, a, b, created) VALUES (?, ?, ?, ?) ON CONFLICT (conv) DO NOTHING",
                  "xuui", bytes_of(&e->conv), e->from, e->peer, e->ts);
}

static enum err add_members(struct db *d, const struct entry *e)
{
    enum err err = ERR_OK;

    for (size_t i = 0; i < e->n_members && err == ERR_OK; i++) {
        const struct member_role *m = &e->members[i];
        err =
            db_run(d,
                   "INSERT INTO group_members (conv, user_id, role, joined_seq, joined_at) VALUES (?, ?, ?, ?, ?)"
                   " ON CONFLICT (conv, user_id) DO UPDATE SET role = excluded.role, joined_seq = excluded.joined_seq,"
                   " joined_at = excluded.joined_at, left_seq = NULL",
                   "xuiui", bytes_of(&e->conv), m->user, (int64_t)m->role, e->seq, e->ts);
    }
    return err;
}

static enum err remove_members(struct db *d, const struct entry *e)
{
    enum err err = ERR_OK;

    for (size_t i = 0; i < e->n_members && err == ERR_OK; i++)
        err = db_run(d, "UPDATE group_members SET left_seq = ?, role = 0 WHERE conv = ? AND user_id = ?", "uxu", e->seq,
                     bytes_of(&e->conv), e->members[i].user);
    return err;
}

static enum err set_role(struct db *d, const struct conv_id *c, user_id user, enum role role)
{
    return db_run(d, "UPDATE group_members SET role = ? WHERE conv = ? AND user_id = ?", "ixu", (int64_t)role,
                  bytes_of(c), user);
}

static enum err change_members(struct db *d, const struct entry *e)
{
    enum err err = ERR_OK;

    switch (e->change) {
    case MEMBERS_ADDED:
        TRY(add_members(d, e));
        break;
    case MEMBERS_REMOVED:
        TRY(remove_members(d, e));
        break;
    case MEMBERS_ROLE:
        for (size_t i = 0; i < e->n_members; i++)
            TRY(set_role(d, &e->conv, e->members[i].user, e->members[i].role));
        break;
    }
    if (e->heir)
        TRY(set_role(d, &e->conv, e->heir, ROLE_OWNER));
out:
    return err;
}

static enum err create_group(struct db *d, const struct entry *e)
{
    const struct group_settings *s = &e->settings;
    enum err err;

    TRY(db_run(d,
               "INSERT INTO groups (conv, seq, title, description, picture, announce, locked, history_all, creator,"
               " created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
               "xutnnbbbui", bytes_of(&e->conv), e->seq, s->title, s->description, s->picture, s->announce, s->locked,
               s->history_all, e->from, e->ts));
    TRY(add_members(d, e));
out:
    return err;
}

static enum err change_settings(struct db *d, const struct entry *e)
{
    const struct group_settings *s = &e->settings;

    return db_run(d,
                  "UPDATE groups SET title = iif(?1, ?2, title), description = iif(?3, ?4, description),"
                  " picture = iif(?5, ?6, picture), announce = iif(?7, ?8, announce), locked = iif(?9, ?10, locked),"
                  " history_all = iif(?11, ?12, history_all) WHERE conv = ?13",
                  "btbnbnbbbbbbx", s->has_title, s->title, s->has_description, s->description, s->has_picture,
                  s->picture, s->has_announce, s->announce, s->has_locked, s->locked, s->has_history, s->history_all,
                  bytes_of(&e->conv));
}

/* How far a group was applied; 0: it is not there. */
static enum err applied_seq(struct db *d, const struct conv_id *c, uint64_t *out)
{
    struct rows q = {0};
    enum err err;

    TRY(rows_begin(&q, d, "SELECT seq FROM groups WHERE conv = ?", "x", bytes_of(c)));
    err = rows_next(&q);
    if (err == ERR_OK || err == ERR_NOT_FOUND) {
        *out = err == ERR_OK ? rows_u64(&q, 0) : 0;
        err = ERR_OK;
    }
out:
    rows_end(&q);
    return err;
}

static enum err apply_to_group(struct db *d, const struct entry *e)
{
    uint64_t seq = 0;
    enum err err;

    if (e->kind == ENTRY_MESSAGE)
        return ERR_OK;
    TRY(applied_seq(d, &e->conv, &seq));
    if (e->seq <= seq)
        return ERR_OK;
    switch (e->kind) {
    case ENTRY_CREATED:
        TRY(create_group(d, e));
        break;
    case ENTRY_MEMBERS:
        TRY(change_members(d, e));
        break;
    case ENTRY_SETTINGS:
        TRY(change_settings(d, e));
        break;
    case ENTRY_MESSAGE:
        break;
    }
    TRY(db_run(d, "UPDATE groups SET seq = ? WHERE conv = ?", "ux", e->seq, bytes_of(&e->conv)));
out:
    return err;
}

enum err conversations_apply(struct db *d, const struct entry *e)
{
    if (e->conv_kind == CONV_GROUP)
        return apply_to_group(d, e);
    return e->seq == 1 ? add_pair(d, e) : ERR_OK;
}

enum err conversations_put_pair(struct db *d, const struct conv_id *c, user_id a, user_id b, int64_t created)
{
    return db_run(d, "INSERT OR REPLACE INTO chats (conv, a, b, created) VALUES (?, ?, ?, ?)", "xuui", bytes_of(c), a,
                  b, created);
}

enum err conversations_put_group(struct db *d, const struct conv_id *c, const struct group_row *g)
{
    return db_run(d,
                  "INSERT INTO groups (conv, seq, title, description, picture, announce, locked, history_all, creator,"
                  " created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (conv) DO UPDATE SET seq = excluded.seq,"
                  " title = excluded.title, description = excluded.description, picture = excluded.picture,"
                  " announce = excluded.announce, locked = excluded.locked, history_all = excluded.history_all,"
                  " creator = excluded.creator, created = excluded.created",
                  "xutnnbbbui", bytes_of(c), g->seq, g->title, g->description, g->picture, g->announce, g->locked,
                  g->history_all, g->creator, g->created);
}

enum err conversations_put_member(struct db *d, const struct conv_id *c, const struct member_row *m)
{
    return db_run(d,
                  "INSERT INTO group_members (conv, user_id, role, joined_seq, joined_at, left_seq)"
                  " VALUES (?, ?, ?, ?, ?, nullif(?, 0)) ON CONFLICT (conv, user_id) DO UPDATE SET"
                  " role = excluded.role, joined_seq = excluded.joined_seq, joined_at = excluded.joined_at,"
                  " left_seq = excluded.left_seq",
                  "xuiuiu", bytes_of(c), m->user, (int64_t)m->role, m->joined_seq, m->joined_at, m->left_seq);
}
