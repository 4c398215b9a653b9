/* import: what `parley export` wrote, into the folder of a stopped server.
 *
 *   people          by username: who is there stays as they are; others get their old id where it is free
 *   conversations   a pair's id follows from its two people, a group's from who made it and with which cid; so each has
 *                   its place here, the same one whenever it is imported
 *   entries         behind the last one that is here, if that is the one of the file; so a repeat adds nothing, and an
 *                   import that was cut goes on. What differs from the file is left alone, and said
 *   cursors         delivered and read, behind the entries
 *
 * A conversation whose beginning was forgotten begins with it being forgotten here, too: entries without content that
 * make its members, and a record that forgets them and says where it begins. The id of such a group is the one that it
 * had, since who made it is not known any more.
 *
 * Everything goes through a log of its own (parley_import_log.h), behind logs that were made sound as at a start;
 * nothing else in the folder changes. Ids of devices are not exported: an imported entry was sent by none. A retry of a
 * write from before the export, with its cid, is a conflict here, and no second entry. */
#include "cmd/parley_import.h"
#include "base/conf.h"
#include "base/map.h"
#include "cmd/parley_import_log.h"
#include "cmd/parley_tool.h"
#include "cmd/parley_view.h"
#include "proto/entry_parse.h"
#include "schema/users.h"
#include "services/account.h"
#include "services/tables.h"
#include "storage/manifest.h"
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

enum { NEW_STORES = 4, LINE_MAX_BYTES = 64 << 20, SAID_MAX = 50 };

struct import_options {
    const char *data;
};
static const struct conf_option options[] = {
    {"data", CONF_TEXT, offsetof(struct import_options, data), "data", 0, 0,
     "the data folder of a stopped server; made if there is none"},
};
enum { OPTIONS = sizeof options / sizeof options[0] };

void import_help(void)
{
    tool_help("parley import FILE --data DIR\n\n"
              "Takes in what `parley export` wrote (FILE `-`: stdin). People are known by their username. Only\n"
              "whole conversations, from their first entry on (or the first that was kept), can be imported;\n"
              "repeating it adds nothing.\n\n",
              options, OPTIONS);
}

/* Somebody of the file, and who that is here. */
struct known {
    user_id there, here;
};
struct cursors {
    user_id user;
    uint64_t delivered, read;
    /* Of a group, for where its beginning was forgotten. */
    bool has_visible, was_in; /* was_in: a member when the first entry came that is kept */
    enum role role;
    int64_t joined_ts;
    uint64_t joined_seq; /* below that entry */
};
struct importing {
    struct env *env;
    struct data_dir data;
    struct source source;
    struct view view;
    struct import_log *log;
    struct map people; /* struct known, by their id there */
    uint64_t line_no;
    uint64_t users, conversations, entries, skipped, faults;
    bool is_whole; /* the file's last line was met */

    /* The conversation under way. */
    bool has_conv, is_skipped, is_counted;
    enum conv_kind kind;
    struct conv_id there;
    uint64_t first_seq, before; /* where it begins, and how many messages were before */
    uint64_t retention_ms;
    struct group_settings settings; /* texts in the arena */
    bool is_new;
    struct cursors *cursors;
    size_t n_cursors, cap_cursors;
    struct authority now; /* id: here; zeroed until the first entry told it */
    bool is_found;
    struct arena arena; /* of `now` */
};

static void fault(struct importing *m, const char *what)
{
    if (m->faults++ < SAID_MAX)
        fprintf(stderr, "parley: line %" PRIu64 ": %s\n", m->line_no, what);
}

static void skip(struct importing *m, const char *why)
{
    char text[CONV_TEXT], what[160];

    snprintf(what, sizeof what, "conversation %.*s is left out: %s", (int)conv_text(text, &m->there), text, why);
    fault(m, what);
    m->is_skipped = true;
    m->skipped++;
}

/* --- people --- */

static bool is_there(const void *value, const void *key)
{
    return ((const struct known *)value)->there == *(const user_id *)key;
}

static void remember(struct importing *m, user_id there, user_id here)
{
    struct known *k = mem_new(struct known);

    *k = (struct known){there, here};
    map_add(&m->people, hash_u64(there), k);
}

static enum err free_id(struct importing *m, user_id wanted, user_id *out)
{
    bool is_taken = true;
    enum err err = ERR_OK;

    for (*out = wanted; err == ERR_OK; env_random(m->env, out, sizeof *out)) {
        if (*out)
            err = users_exists(m->view.tables, *out, &is_taken);
        if (*out && !is_taken)
            break;
    }
    return err;
}

/* Who has no line of their own keeps an id that nobody has here: they were in a group once, and are not told of. */
static user_id here(struct importing *m, user_id there)
{
    struct known *k = map_get(&m->people, hash_u64(there), is_there, &there);
    user_id id = there;

    if (k)
        return k->here;
    if (free_id(m, there, &id) != ERR_OK)
        id = there;
    remember(m, there, id);
    return id;
}

static struct str text_of(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_string(v) ? str_of(json_string_value(v), json_string_length(v)) : (struct str){0};
}

static enum err add_profile(struct importing *m, const json_t *o, user_id user)
{
    struct record r = {.kind = RECORD_PROFILE};
    struct profile_record *p = &r.profile;

    *p = (struct profile_record){.user = user, .ts = env_now_ms(m->env)};
    p->status = text_of(o, "status");
    p->picture = text_of(o, "picture");
    p->last_seen = text_of(o, "last_seen");
    p->has_status = p->status.len > 0;
    p->has_picture = p->picture.len > 0;
    p->has_last_seen = str_eq(p->last_seen, STR("contacts")) || str_eq(p->last_seen, STR("nobody"));
    p->has_read_receipts = json_is_false(json_object_get(o, "read_receipts"));
    if (!p->has_status && !p->has_picture && !p->has_last_seen && !p->has_read_receipts)
        return ERR_OK;
    return import_log_add(m->log, &r, NULL);
}

static enum err add_user(struct importing *m, const json_t *o, user_id there, struct str username)
{
    struct record r = {.kind = RECORD_ACCOUNT};
    user_id id;
    enum err err;

    TRY(free_id(m, there, &id));
    r.account = (struct account_record){.user = id,
                                        .ts = json_integer_value(json_object_get(o, "created")),
                                        .username = username,
                                        .name = text_of(o, "name"),
                                        .phone = text_of(o, "phone"),
                                        .password = text_of(o, "password")};
    if (r.account.ts <= 0)
        r.account.ts = env_now_ms(m->env);
    TRY(import_log_add(m->log, &r, NULL));
    TRY(users_add(m->view.tables, &r.account)); /* in memory: for those that follow */
    TRY(add_profile(m, o, id));
    remember(m, there, id);
    m->users++;
out:
    return err;
}

static enum err take_user(struct importing *m, const json_t *o)
{
    char folded[USERNAME_MAX];
    struct str username;
    user_id there, id;
    enum err err;

    if (!user_parse(text_of(o, "user"), &there) || !there || !account_fold(text_of(o, "username"), folded, &username)) {
        fault(m, "no user is in this line");
        return ERR_OK;
    }
    if (map_get(&m->people, hash_u64(there), is_there, &there))
        return ERR_OK;
    err = users_id_of(m->view.tables, username, &id);
    if (err == ERR_OK)
        remember(m, there, id);
    else if (err == ERR_NOT_FOUND)
        err = add_user(m, o, there, username);
    return err;
}

/* --- conversations --- */

static enum err add_cursors(struct importing *m)
{
    enum err err = ERR_OK;

    for (size_t i = 0; i < m->n_cursors && m->now.head && !m->is_skipped; i++) {
        const struct cursors *c = &m->cursors[i];
        struct record r = {.kind = RECORD_RECEIPT};
        const struct member *now = authority_member(&m->now, here(m, c->user));

        r.receipt = (struct receipt_record){.conv = m->now.id, .user = here(m, c->user), .ts = env_now_ms(m->env)};
        r.receipt.delivered = c->delivered < m->now.head ? c->delivered : m->now.head;
        r.receipt.read = c->read < r.receipt.delivered ? c->read : r.receipt.delivered;
        if (!now || (now->delivered >= r.receipt.delivered && now->read >= r.receipt.read))
            continue;
        TRY(import_log_add(m->log, &r, &m->now.id));
    }
out:
    return err;
}

static enum err add_retention(struct importing *m)
{
    struct record r = {.kind = RECORD_RETENTION};

    if (!m->is_new || m->retention_ms == RETENTION_SERVER)
        return ERR_OK;
    r.retention = (struct retention_record){m->now.id, env_now_ms(m->env), m->retention_ms};
    return import_log_add(m->log, &r, &m->now.id);
}

static enum err end_conv(struct importing *m)
{
    enum err err = m->has_conv ? add_cursors(m) : ERR_OK;

    if (err == ERR_OK && m->has_conv)
        err = add_retention(m);

    arena_deinit(&m->arena);
    m->now = (struct authority){0};
    m->n_cursors = 0;
    m->has_conv = m->is_skipped = m->is_found = m->is_counted = m->is_new = false;
    return err;
}

static uint64_t number_of(const json_t *o, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(o, key));
    return n < 0 ? 0 : (uint64_t)n;
}

static struct str keep_text(struct importing *m, const json_t *o, const char *key)
{
    struct str s = text_of(o, key);
    return s.len ? arena_dup(&m->arena, s) : (struct str){0};
}

static void take_settings(struct importing *m, const json_t *o)
{
    m->settings = (struct group_settings){.has_title = true,
                                          .title = keep_text(m, o, "title"),
                                          .description = keep_text(m, o, "description"),
                                          .picture = keep_text(m, o, "picture"),
                                          .has_announce = true,
                                          .announce = json_is_true(json_object_get(o, "announce")),
                                          .has_locked = true,
                                          .locked = json_is_true(json_object_get(o, "locked")),
                                          .has_history = true,
                                          .history_all = str_eq(text_of(o, "history"), STR("all"))};
    m->settings.has_description = m->settings.description.len > 0;
    m->settings.has_picture = m->settings.picture.len > 0;
}

static void take_beginning(struct importing *m, const json_t *o)
{
    m->first_seq = number_of(o, "first_seq");
    m->before = number_of(o, "messages_before");
    if (m->before >= m->first_seq)
        m->before = m->first_seq ? m->first_seq - 1 : 0;
    m->retention_ms = number_of(o, "retention");
    if (str_eq(text_of(o, "retention"), STR("forever")))
        m->retention_ms = RETENTION_FOREVER;
    take_settings(m, o);
}

static enum err take_conversation(struct importing *m, const json_t *o)
{
    struct str kind = text_of(o, "kind");
    enum err err = end_conv(m);

    if (err != ERR_OK)
        return err;
    if (!conv_parse(text_of(o, "conv"), &m->there) || (!str_eq(kind, STR("pair")) && !str_eq(kind, STR("group")))) {
        fault(m, "no conversation is in this line");
        return ERR_OK;
    }
    m->kind = str_eq(kind, STR("pair")) ? CONV_PAIR : CONV_GROUP;
    take_beginning(m, o);
    m->has_conv = true;
    return ERR_OK;
}

static bool is_of_conv(struct importing *m, const json_t *o)
{
    struct conv_id c;

    return m->has_conv && conv_parse(text_of(o, "conv"), &c) && conv_eq(&c, &m->there);
}

/* Whether one of their ranges goes on over the first entry that is kept. */
static bool was_in(const json_t *visible, uint64_t first_seq)
{
    for (size_t i = 0; i < json_array_size(visible); i++) {
        const json_t *range = json_array_get(visible, i), *to = json_array_get(range, 1);
        json_int_t from = json_integer_value(json_array_get(range, 0));

        if (from > 0 && (uint64_t)from < first_seq &&
            (json_is_null(to) || (uint64_t)json_integer_value(to) >= first_seq))
            return true;
    }
    return false;
}

static void take_standing(struct importing *m, const json_t *o, struct cursors *c)
{
    const json_t *visible = json_object_get(o, "visible");
    struct str role = text_of(o, "role");

    c->has_visible = json_is_array(visible);
    c->was_in = was_in(visible, m->first_seq);
    c->role = str_eq(role, STR("owner")) ? ROLE_OWNER : str_eq(role, STR("admin")) ? ROLE_ADMIN : ROLE_MEMBER;
    c->joined_ts = (int64_t)number_of(o, "joined_at");
    c->joined_seq = number_of(o, "joined_seq");
    if (c->joined_seq == 0)
        c->joined_seq = 1;
    if (c->joined_seq >= m->first_seq)
        c->joined_seq = m->first_seq - 1;
}

static enum err take_member(struct importing *m, const json_t *o)
{
    struct cursors c = {.delivered = number_of(o, "delivered"), .read = number_of(o, "read")};

    if (!is_of_conv(m, o) || !user_parse(text_of(o, "user"), &c.user) || !c.user) {
        fault(m, "no member of the conversation before is in this line");
        return ERR_OK;
    }
    take_standing(m, o, &c);
    if (m->n_cursors == m->cap_cursors) {
        m->cap_cursors = m->cap_cursors ? 2 * m->cap_cursors : 16;
        m->cursors = mem_realloc(m->cursors, m->cap_cursors * sizeof *m->cursors);
    }
    m->cursors[m->n_cursors++] = c;
    return ERR_OK;
}

/* The other one of a pair; oneself in a chat of one; 0: it has not the members of a pair. */
static user_id peer_of(struct importing *m, user_id from)
{
    if (m->n_cursors == 0 || m->n_cursors > 2)
        return 0;
    if (m->cursors[0].user == from)
        return m->cursors[m->n_cursors - 1].user;
    return m->n_cursors == 2 && m->cursors[1].user == from ? m->cursors[0].user : 0;
}

/* Where the conversation is here, and how far. The first entry says it. */
static enum err find_conv(struct importing *m, const struct entry *e)
{
    struct conv_id id;
    enum err err;

    if (m->kind == CONV_PAIR)
        pair_conv(&m->data.keys, here(m, e->from), here(m, peer_of(m, e->from)), &id);
    else if (e->seq > 1)
        id = m->there;
    else
        group_conv(&m->data.keys, here(m, e->from), e->cid, &id);
    err = convlog_load(view_store(&m->view, &id), shard_of(&m->data, &id), &id, NULL, &m->arena, &m->now);
    if (err == ERR_NOT_FOUND) {
        m->now = (struct authority){.id = id};
        err = ERR_OK;
    }
    m->is_found = err == ERR_OK;
    m->is_new = m->is_found && m->now.head == 0;
    m->conversations += m->is_new;
    return err;
}

/* --- where the beginning was forgotten --- */

static enum err emit(struct importing *m, const struct record *r)
{
    enum err err = import_log_add(m->log, r, &m->now.id);

    if (err == ERR_OK)
        authority_apply(&m->now, r, &m->arena);
    return err;
}

/* An entry that only makes members, to be forgotten at once. It has no cid that anybody could repeat. */
static enum err emit_makeshift(struct importing *m, struct entry *e, struct forgotten *out)
{
    struct record r = {.kind = RECORD_ENTRY};

    e->conv = m->now.id;
    e->conv_kind = m->kind;
    e->seq = m->now.head + 1;
    env_random(m->env, e->cid_hash, sizeof e->cid_hash);
    *out = (struct forgotten){.ts = e->ts};
    memcpy(out->cid_hash, e->cid_hash, sizeof out->cid_hash);
    r.entry = *e;
    return emit(m, &r);
}

static enum err make_pair(struct importing *m, const struct entry *first, struct forgotten *out, size_t *n)
{
    struct entry e = {.kind = ENTRY_MESSAGE, .gone = ENTRY_EXPIRED, .ts = first->ts};

    e.from = here(m, first->from);
    e.peer = here(m, peer_of(m, first->from));
    *n = 1;
    return emit_makeshift(m, &e, out);
}

static int by_standing(const void *x, const void *y)
{
    const struct cursors *a = x, *b = y;

    if (a->was_in != b->was_in)
        return a->was_in ? -1 : 1;
    return (a->joined_seq > b->joined_seq) - (a->joined_seq < b->joined_seq);
}

/* Who joined together is added together, so that the longest standing is that still. */
static enum err make_group(struct importing *m, struct forgotten *out, size_t *n)
{
    struct member_role *members = arena_alloc(&m->arena, m->n_cursors * sizeof *members + 1);
    enum err err = ERR_OK;

    qsort(m->cursors, m->n_cursors, sizeof *m->cursors, by_standing);
    for (size_t i = 0, next; i < m->n_cursors && m->cursors[i].was_in; i = next) {
        struct entry e = {.kind = i ? ENTRY_MEMBERS : ENTRY_CREATED, .ts = m->cursors[i].joined_ts};

        e.from = here(m, m->cursors[i].user);
        for (next = i; next < m->n_cursors && by_standing(&m->cursors[i], &m->cursors[next]) == 0; next++)
            members[next] = (struct member_role){here(m, m->cursors[next].user), m->cursors[next].role};
        e.change = i ? MEMBERS_ADDED : 0;
        e.members = members + i;
        e.n_members = next - i;
        if (i == 0)
            e.settings = m->settings;
        TRY(emit_makeshift(m, &e, &out[(*n)++]));
    }
out:
    return err;
}

static enum err forget_makeshifts(struct importing *m, const struct forgotten *v, size_t n)
{
    enum err err = ERR_OK;

    for (size_t at = 0, some; at < n; at += some) {
        struct record r = {.kind = RECORD_FORGET};
        bool is_last = n - at <= FORGET_MAX;

        some = is_last ? n - at : FORGET_MAX;
        r.forget = (struct forget_record){.conv = m->now.id,
                                          .ts = env_now_ms(m->env),
                                          .from = at + 1,
                                          .first_seq = is_last ? m->first_seq : at + some + 1,
                                          .ordinal = is_last ? m->before : 0,
                                          .v = v + at,
                                          .n = some};
        TRY(emit(m, &r));
    }
out:
    return err;
}

static enum err begin_later(struct importing *m, const struct entry *first)
{
    struct forgotten *v = arena_alloc(&m->arena, (m->n_cursors + 1) * sizeof *v);
    size_t n = 0;
    enum err err;

    TRY(m->kind == CONV_PAIR ? make_pair(m, first, v, &n) : make_group(m, v, &n));
    TRY(forget_makeshifts(m, v, n));
out:
    return err;
}

/* The file has all that is kept, and of a group who was in it when that began. */
static bool may_begin(const struct importing *m, const struct entry *e)
{
    bool any = false;

    if (e->seq == 1 || m->kind == CONV_PAIR)
        return e->seq == 1 || e->seq == m->first_seq;
    for (size_t i = 0; i < m->n_cursors; i++) {
        if (!m->cursors[i].has_visible)
            return false;
        any |= m->cursors[i].was_in;
    }
    return any && e->seq == m->first_seq;
}

/* Is the last entry that is here the one of the file? */
static bool is_same(struct importing *m, const struct entry *e)
{
    struct arena arena = {0};
    struct entry have = {0};
    enum err err = convlog_entry(view_store(&m->view, &m->now.id), shard_of(&m->data, &m->now.id), &m->now.id, e->seq,
                                 NULL, &arena, &have);
    bool same = err == ERR_OK && str_eq(have.cid, e->cid) && have.from == here(m, e->from) && have.ts == e->ts &&
                (have.gone || e->gone || str_eq(have.content, e->content)); /* erased in one of them */

    arena_deinit(&arena);
    return same;
}

static void translate_lists(struct importing *m, struct entry *e, struct arena *arena)
{
    user_id *mentions = arena_alloc(arena, e->n_mentions * sizeof *mentions + 1);
    struct member_role *members = arena_alloc(arena, e->n_members * sizeof *members + 1);

    for (size_t i = 0; i < e->n_mentions; i++)
        mentions[i] = here(m, e->mentions[i]);
    for (size_t i = 0; i < e->n_members; i++)
        members[i] = (struct member_role){here(m, e->members[i].user), e->members[i].role};
    e->mentions = mentions;
    e->members = members;
    e->heir = e->heir ? here(m, e->heir) : 0;
}

static enum err add_entry(struct importing *m, const struct entry *from, struct arena *arena)
{
    struct record r = {.kind = RECORD_ENTRY, .entry = *from};
    struct entry *e = &r.entry;
    enum err err;

    e->conv = m->now.id;
    e->conv_kind = m->kind;
    e->ordinal = m->now.ordinal + (e->kind == ENTRY_MESSAGE);
    if (m->kind == CONV_PAIR)
        e->peer = here(m, peer_of(m, from->from));
    e->from = here(m, from->from);
    if (entry_is_due(e, env_now_ms(m->env)))
        entry_erase(e, ENTRY_EXPIRED);
    if (e->gone)
        e->expires_at = 0; /* nothing is left to be erased */
    translate_lists(m, e, arena);
    cid_hash(&m->data.keys, &e->conv, e->from, e->cid, e->cid_hash);
    TRY(import_log_add(m->log, &r, &m->now.id));
    authority_apply(&m->now, &r, &m->arena);
    m->entries++;
    m->is_counted = true;
out:
    return err;
}

static const char *misfit(struct importing *m, const struct entry *e)
{
    if (m->kind == CONV_PAIR && (e->kind != ENTRY_MESSAGE || !peer_of(m, e->from)))
        return "its entries do not fit its members";
    if (m->kind == CONV_GROUP && (e->kind == ENTRY_CREATED) != (e->seq == 1))
        return "a group begins with its creation";
    return NULL;
}

static enum err place_entry(struct importing *m, const struct entry *e, struct arena *arena)
{
    const char *why = misfit(m, e);
    enum err err = ERR_OK;

    if (!why && !m->is_found && !may_begin(m, e))
        why = "it does not begin with its first entry";
    if (why) {
        skip(m, why);
        return ERR_OK;
    }
    if (!m->is_found) {
        TRY(find_conv(m, e));
        if (m->is_new && e->seq > 1)
            TRY(begin_later(m, e));
    }
    if (e->seq == m->now.head && !m->is_counted && !is_same(m, e))
        skip(m, "it went on in another way here");
    else if (e->seq > m->now.head + 1)
        skip(m, "an entry is missing before this line");
    else if (e->seq > m->now.head)
        err = add_entry(m, e, arena);
out:
    return err;
}

static enum err take_entry(struct importing *m, const json_t *o, struct str line)
{
    struct arena arena = {0};
    struct entry e;
    enum err err = ERR_OK;

    if (!is_of_conv(m, o)) {
        fault(m, "this entry is not of the conversation before it");
    } else if (!m->is_skipped) {
        if (entry_parse(line, &arena, &e) == ERR_OK)
            err = place_entry(m, &e, &arena);
        else
            skip(m, "a line cannot be read");
    }
    arena_deinit(&arena);
    return err;
}

/* --- lines --- */

static enum err take_line(struct importing *m, struct str line)
{
    json_t *o = json_loadb(line.p, line.len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
    struct str type = text_of(o, "type");
    enum err err = ERR_OK;

    if (m->line_no == 1 && (!str_eq(type, STR("export")) || number_of(o, "version") != 1)) {
        fault(m, "this is no export, or one of a later program");
        err = ERR_UNSUPPORTED;
    } else if (str_eq(type, STR("user"))) {
        err = take_user(m, o);
    } else if (str_eq(type, STR("conversation"))) {
        err = take_conversation(m, o);
    } else if (str_eq(type, STR("member"))) {
        err = take_member(m, o);
    } else if (str_eq(type, STR("entry"))) {
        err = take_entry(m, o, line);
    } else if (str_eq(type, STR("end"))) {
        m->is_whole = true;
    } else if (!o) {
        fault(m, "this is no JSON");
    }
    json_decref(o);
    return err;
}

static enum err take_all(struct importing *m, FILE *in)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    enum err err = ERR_OK;

    while (err == ERR_OK && (n = getline(&line, &cap, in)) > 0) {
        size_t len = (size_t)n - (line[n - 1] == '\n');
        m->line_no++;
        err = len > LINE_MAX_BYTES ? ERR_LIMIT : take_line(m, str_of(line, len));
    }
    free(line); /* getline's */
    if (err == ERR_OK)
        err = end_conv(m);
    if (err == ERR_OK && ferror(in))
        err = ERR_IO;
    if (err == ERR_OK && !m->is_whole)
        fault(m, "the file is not whole: its last line is missing");
    return err;
}

/* --- the folder --- */

/* How far anybody has a log durably. */
static uint64_t floor_of(const struct importing *m, const struct tables *t, uint64_t log_id)
{
    struct tables_position p = tables_position(t, log_id);
    uint64_t floor = p.durable > p.owed_durable ? p.durable : p.owed_durable;

    for (size_t i = 0; i < m->source.n_stores; i++) {
        struct manifest manifest = {0};
        uint64_t has = 0;
        if (manifest_decode(buf_get(&m->source.stores[i].manifest), &manifest) == ERR_OK)
            has = positions_get(&manifest.durable, log_id);
        floor = has > floor ? has : floor;
        manifest_deinit(&manifest);
    }
    return floor;
}

/* What was left by a kill is made durable before anything is put behind it, as a server does at its start. */
static enum err recover_logs(struct importing *m, const struct tables *t, char **why)
{
    char *dir = tool_path(m->source.data, "log");
    enum err err = ERR_OK;

    for (size_t i = 0; i < m->source.n_logs && err == ERR_OK; i++) {
        struct seglog_report report;
        uint64_t id = m->source.logs[i].id;
        err = seglog_recover(m->env, dir, id, floor_of(m, t, id), &report, why);
    }
    mem_free(dir);
    return err;
}

static enum err open_folder(struct importing *m, const char *path, char **why)
{
    char *tables_path = tool_path(path, "tables.db");
    struct tables *tables = NULL;
    enum err err = data_dir_open(m->env, path, 0, &m->data, why);

    if (err == ERR_INVALID) { /* there is none: made as a server would */
        mem_free(*why);
        *why = NULL;
        err = data_dir_open(m->env, path, NEW_STORES, &m->data, why);
    }
    TRY(err);
    TRY(tables_open(m->env, tables_path, &tables, why));
    TRY(source_open_still(m->env, path, &m->source, why));
    TRY(recover_logs(m, tables, why));
    tables_close(tables);
    tables = NULL;
    TRY(view_open(&m->source, &m->view, why));
    if (m->view.is_damaged) {
        *why = mem_dup(STR("the folder is damaged; parley verify says more"));
        err = ERR_CORRUPT;
    }
    TRY(err);
    TRY(import_log_open(m->env, &m->data, &m->log));
out:
    tables_close(tables);
    mem_free(tables_path);
    return err;
}

static void close_all(struct importing *m)
{
    struct known *k;

    import_log_close(m->log);
    view_close(&m->view);
    source_close(&m->source);
    data_dir_close(&m->data);
    for (size_t at = 0; (k = map_next(&m->people, &at)) != NULL;)
        mem_free(k);
    map_deinit(&m->people);
    arena_deinit(&m->arena);
    mem_free(m->cursors);
}

static int import_from(const struct import_options *o, FILE *in)
{
    struct importing m = {.env = env_posix()};
    char *why = NULL;
    int result = 1;
    enum err err;

    TRY(open_folder(&m, o->data, &why));
    TRY(take_all(&m, in));
    TRY(import_log_end(m.log));
    printf("new: %" PRIu64 " users, %" PRIu64 " conversations, %" PRIu64 " entries\n", m.users, m.conversations,
           m.entries);
    result = m.faults ? 1 : 0;
out:
    if (err != ERR_OK)
        tool_complain(o->data, why ? why : err_text(err));
    if (m.faults)
        fprintf(stderr,
                "parley: %" PRIu64 " complaints; %" PRIu64 " conversations were left out, wholly or from a line on\n",
                m.faults, m.skipped);
    close_all(&m);
    mem_free(why);
    return result;
}

int import_file(int argc, char **argv)
{
    struct import_options o = {0};
    char *why = NULL;
    FILE *in = NULL;
    int result = 2;

    if (conf_load(options, OPTIONS, &o, &argc, argv, &why) != ERR_OK)
        tool_complain(why, NULL);
    else if (argc != 2)
        tool_complain("what is wanted: parley import FILE --data DIR", NULL);
    else if ((in = str_eq(str_c(argv[1]), STR("-")) ? stdin : fopen(argv[1], "r")) == NULL)
        tool_complain(argv[1], "it cannot be opened");
    else
        result = import_from(&o, in);
    if (in && in != stdin)
        fclose(in);
    mem_free(why);
    return result;
}
