/* export: people and conversations as lines of JSON (NDJSON), in this order:
 *
 *   {"type":"export","version":1,"epoch":…,"ts":…,"user"?:…}         once, first
 *   {"type":"user","user":…,"username":…,…}                          each
 *   {"type":"conversation","conv":…,"kind":"pair"|"group",…}         each, followed by its
 *   {"type":"member","conv":…,"user":…,…}                            members, by user id, and
 *   {"type":"entry","ev":…,"conv":…,"seq":…,…}                       entries, ascending: the event that clients get
 *   {"type":"end","users":…,"conversations":…,"entries":…}           once, last: without it the rest is not whole
 *
 * docs/operations.md has every field. A new field may come at any time; what is there keeps its meaning while `version`
 * is 1. With a user only what that user may see is in it, and of others only what is public. */
#include "cmd/parley_export.h"
#include "base/conf.h"
#include "base/log.h"
#include "cmd/parley_backup_check.h"
#include "cmd/parley_tool.h"
#include "cmd/parley_view.h"
#include "proto/jsonw.h"
#include "schema/conversations.h"
#include "schema/users.h"
#include "storage/convlog_codec.h"
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>

enum { PAGE_ENTRIES = 500, PAGE_BYTES = 1 << 20, OUT_BYTES = 1 << 20 };

struct export_options {
    const char *data, *user;
    bool passwords;
};
#define AT(field) offsetof(struct export_options, field)
static const struct conf_option options[] = {
    {"data", CONF_TEXT, AT(data), "data", 0, 0, "a data folder, of a server that runs or not, or a backup"},
    {"user", CONF_TEXT, AT(user), "", 0, 0, "a username or user id: only what that user may see"},
    {"passwords", CONF_SWITCH, AT(passwords), "off", 0, 0,
     "the passwords' hashes, too, so that people can log in where it is imported"},
};
enum { OPTIONS = sizeof options / sizeof options[0] };

void export_help(void)
{
    tool_help("parley export [--user NAME|ID] --data DIR > FILE\n\n"
              "People, conversations, members and entries as lines of JSON on stdout. Of a server that runs it\n"
              "shows one moment; tables that are merged away meanwhile stay on the disk until it is done.\n\n",
              options, OPTIONS);
}

struct exporting {
    struct view view;
    const struct export_options *options;
    user_id user; /* 0: everybody */
    int64_t now;  /* what has expired by then is not in it */
    struct buf line;
    struct arena arena; /* of one conversation */
    uint64_t users, conversations, entries, damages;
};

static void put_line(struct exporting *x)
{
    buf_char(&x->line, '\n');
    fwrite(x->line.p, 1, x->line.len, stdout);
    buf_clear(&x->line);
}

static void begin_line(struct exporting *x, const char *type)
{
    jsonw_open(&x->line, '{');
    jsonw_key_str(&x->line, "type", str_c(type));
}

static void end_line(struct exporting *x)
{
    jsonw_close(&x->line, '}');
    put_line(x);
}

static void key_str_if(struct buf *b, const char *key, struct str s)
{
    if (s.len)
        jsonw_key_str(b, key, s);
}

static void put_head(struct exporting *x)
{
    begin_line(x, "export");
    jsonw_key_int(&x->line, "version", 1);
    jsonw_key_str(&x->line, "epoch", str_c(x->view.data.epoch));
    jsonw_key_int(&x->line, "ts", x->now);
    if (x->user)
        jsonw_key_user(&x->line, "user", x->user);
    end_line(x);
}

static void put_end(struct exporting *x)
{
    begin_line(x, "end");
    jsonw_key_int(&x->line, "users", (int64_t)x->users);
    jsonw_key_int(&x->line, "conversations", (int64_t)x->conversations);
    jsonw_key_int(&x->line, "entries", (int64_t)x->entries);
    if (x->damages)
        jsonw_key_int(&x->line, "damages", (int64_t)x->damages);
    end_line(x);
}

/* --- people --- */

static bool put_user(void *arg, const struct user_row *u)
{
    struct exporting *x = arg;
    struct buf *b = &x->line;

    begin_line(x, "user");
    jsonw_key_user(b, "user", u->user);
    jsonw_key_str(b, "username", u->username);
    key_str_if(b, "name", u->name);
    key_str_if(b, "status", u->status);
    key_str_if(b, "picture", u->picture);
    if (!x->user || u->user == x->user) {
        key_str_if(b, "phone", u->phone);
        jsonw_key_str(b, "last_seen", u->last_seen);
        jsonw_key_bool(b, "read_receipts", u->read_receipts);
        jsonw_key_int(b, "created", u->created);
        if (x->options->passwords)
            key_str_if(b, "password", u->password);
    }
    end_line(x);
    x->users++;
    return !ferror(stdout);
}

static void damaged(struct exporting *x, const struct conv_id *c, const char *what, enum err err)
{
    char text[CONV_TEXT];

    x->damages++;
    fprintf(stderr, "parley: damaged: conversation %.*s: %s: %s\n", (int)conv_text(text, c), text, what, err_text(err));
}

/* --- a conversation --- */

static void put_group(const struct authority *a, struct buf *b)
{
    jsonw_key_str(b, "title", a->settings.title);
    key_str_if(b, "description", a->settings.description);
    key_str_if(b, "picture", a->settings.picture);
    jsonw_key_bool(b, "announce", a->announce);
    jsonw_key_bool(b, "locked", a->locked);
    jsonw_key_str(b, "history", a->history_all ? STR("all") : STR("joined"));
}

static void put_conversation(struct exporting *x, const struct authority *a, const struct member *viewer)
{
    struct buf *b = &x->line;
    uint64_t last = viewer ? member_last_visible(viewer, a->head) : a->head;

    begin_line(x, "conversation");
    jsonw_key_conv(b, "conv", &a->id);
    jsonw_key_str(b, "kind", a->kind == CONV_PAIR ? STR("pair") : STR("group"));
    jsonw_key_int(b, "first_seq", (int64_t)a->first_seq);
    jsonw_key_int(b, "last_seq", (int64_t)last);
    if (a->first_seq > 1)
        jsonw_key_int(b, "messages_before", (int64_t)a->first_ordinal);
    if (a->retention_ms == RETENTION_FOREVER)
        jsonw_key_str(b, "retention", STR("forever"));
    else if (a->retention_ms != RETENTION_SERVER)
        jsonw_key_int(b, "retention", (int64_t)a->retention_ms);
    if (a->kind == CONV_GROUP && (!viewer || viewer->is_in)) /* who left may not know what became of it */
        put_group(a, b);
    end_line(x);
    x->conversations++;
}

static void put_visible(const struct member *m, struct buf *b)
{
    jsonw_key(b, "visible");
    jsonw_open(b, '[');
    for (size_t i = 0; i < m->n_ranges; i++) {
        jsonw_open(b, '[');
        jsonw_int(b, (int64_t)m->ranges[i].from);
        if (m->ranges[i].to)
            jsonw_int(b, (int64_t)m->ranges[i].to);
        else
            jsonw_raw(b, STR("null"));
        jsonw_close(b, ']');
    }
    jsonw_close(b, ']');
}

static void put_member(struct exporting *x, const struct authority *a, const struct member *m)
{
    struct buf *b = &x->line;

    begin_line(x, "member");
    jsonw_key_conv(b, "conv", &a->id);
    jsonw_key_user(b, "user", m->user);
    jsonw_key_bool(b, "in", m->is_in);
    if (a->kind == CONV_GROUP) {
        jsonw_key_str(b, "role", str_c(role_text(m->role)));
        jsonw_key_int(b, "joined_at", m->joined_ts);
        jsonw_key_int(b, "joined_seq", (int64_t)m->joined_seq);
        if (!x->user || m->user == x->user)
            put_visible(m, b);
    }
    if (!x->user || m->user == x->user) {
        jsonw_key_int(b, "delivered", (int64_t)m->delivered);
        jsonw_key_int(b, "read", (int64_t)m->read);
    }
    end_line(x);
}

static void put_entry(struct exporting *x, const struct entry *e)
{
    struct buf *b = &x->line;
    size_t at;

    begin_line(x, "entry");
    if (e->kind == ENTRY_MEMBERS && e->change == MEMBERS_ADDED)
        jsonw_key_str(b, "history", e->history_all ? STR("all") : STR("joined"));
    at = b->len;
    entry_print(e, b); /* its brace becomes the comma */
    b->p[at] = ',';
    put_line(x);
    x->entries++;
}

static void put_range(struct exporting *x, const struct authority *a, uint64_t from, uint64_t to)
{
    struct lsm *store = view_store(&x->view, &a->id);
    uint16_t shard = shard_of(&x->view.data, &a->id);

    while (from <= to && !ferror(stdout)) {
        struct arena arena = {0};
        struct entry_list page = {0};
        struct entry one;
        enum err err =
            convlog_read(store, shard, &a->id, from, to, PAGE_ENTRIES, PAGE_BYTES, false, NULL, &arena, &page);

        if (err != ERR_OK) { /* one by one over what is damaged */
            err = convlog_entry(store, shard, &a->id, from, NULL, &arena, &one);
            page = (struct entry_list){&one, err == ERR_OK, true};
        }
        if (err != ERR_OK) {
            char what[48];
            snprintf(what, sizeof what, "entry %" PRIu64, from);
            damaged(x, &a->id, what, err);
        }
        for (size_t i = 0; i < page.n; i++) {
            if (entry_is_due(&page.v[i], x->now))
                entry_erase(&page.v[i], ENTRY_EXPIRED);
            put_entry(x, &page.v[i]);
        }
        from += page.n ? page.n : 1;
        arena_deinit(&arena);
    }
}

/* A member is known to the viewer who is in; who left knows themselves. */
static void put_members(struct exporting *x, const struct authority *a, const struct member *viewer)
{
    for (size_t i = 0; i < a->n_members; i++) {
        if (!viewer || (viewer->is_in && a->members[i].is_in) || viewer == &a->members[i])
            put_member(x, a, &a->members[i]);
    }
}

static void put_conv(struct exporting *x, const struct conv_id *c)
{
    const struct member *viewer = NULL;
    struct authority a = {0};
    enum err err = convlog_load(view_store(&x->view, c), shard_of(&x->view.data, c), c, NULL, &x->arena, &a);

    if (err == ERR_OK && x->user)
        viewer = authority_member(&a, x->user);
    if (err != ERR_OK && err != ERR_NOT_FOUND)
        damaged(x, c, "it cannot be read", err);
    if (err != ERR_OK || a.head == 0 || (x->user && !viewer))
        goto out;
    put_conversation(x, &a, viewer);
    put_members(x, &a, viewer);
    if (!viewer)
        put_range(x, &a, a.first_seq ? a.first_seq : 1, a.head);
    for (size_t i = 0; viewer && i < viewer->n_ranges; i++) {
        const struct range *r = &viewer->ranges[i];
        uint64_t from = r->from < a.first_seq ? a.first_seq : r->from;
        put_range(x, &a, from, r->to && r->to < a.head ? r->to : a.head);
    }
out:
    arena_deinit(&x->arena);
}

/* --- all of them --- */

/* The first key at or behind a place, if it is a conversation's. */
struct seeking {
    struct conv_id conv;
    bool is_there;
};

static bool on_key(void *arg, struct str key, struct str value)
{
    struct seeking *s = arg;

    (void)value;
    memcpy(s->conv.b, key.p + 2, sizeof s->conv.b);
    s->is_there = true;
    return false;
}

/* Steps from conversation to conversation: behind one's last possible key stands the next. A damaged block hides what
 * is in it; the step then goes on behind the shard. */
static void put_shard(struct exporting *x, uint16_t shard)
{
    struct lsm *store = x->view.stores[x->view.data.store_of[shard]];
    struct conv_id none = {{0}};
    struct key from = key_of(shard, &none, WHAT_STATE), to = from;

    from.len = 2;
    to.len = 2;
    to.b[1]++;
    for (;;) {
        struct seeking s = {.is_there = false};
        enum err err = lsm_scan(store, key_str(&from), key_str(&to), 1, NULL, on_key, &s);

        if (err != ERR_OK)
            damaged(x, &CONV_NONE, "the rest of a shard's conversations cannot be found", err);
        if (err != ERR_OK || !s.is_there || ferror(stdout))
            return;
        put_conv(x, &s.conv);
        from = key_of(shard, &s.conv, (enum what)255);
    }
}

static void put_everybody(struct exporting *x)
{
    enum err err = users_each(x->view.tables, put_user, x);

    if (err != ERR_OK)
        damaged(x, &CONV_NONE, "the users cannot be read", err);
    for (uint16_t shard = 0; shard < SHARD_COUNT; shard++)
        put_shard(x, shard);
}

/* --- one user --- */

struct people {
    user_id *v;
    size_t n, cap;
};

static void add_person(struct people *p, user_id u)
{
    if (p->n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 64;
        p->v = mem_realloc(p->v, p->cap * sizeof *p->v);
    }
    p->v[p->n++] = u;
}

static int by_id(const void *a, const void *b)
{
    user_id x = *(const user_id *)a, y = *(const user_id *)b;
    return (x > y) - (x < y);
}

static void gather_people(struct exporting *x, const struct conv_id *v, size_t n, struct people *out)
{
    for (size_t i = 0; i < n; i++) {
        struct authority a = {0};
        enum err err =
            convlog_load(view_store(&x->view, &v[i]), shard_of(&x->view.data, &v[i]), &v[i], NULL, &x->arena, &a);
        const struct member *viewer = err == ERR_OK ? authority_member(&a, x->user) : NULL;

        for (size_t k = 0; viewer && k < a.n_members; k++) {
            if (viewer->is_in && a.members[k].is_in)
                add_person(out, a.members[k].user);
        }
        arena_deinit(&x->arena);
    }
    add_person(out, x->user);
    qsort(out->v, out->n, sizeof *out->v, by_id);
}

static void put_one(struct exporting *x)
{
    struct conv_id *v = NULL;
    struct people people = {0};
    size_t n = 0;
    enum err err;

    TRY(conversations_of(x->view.tables, x->user, &v, &n));
    gather_people(x, v, n, &people);
    for (size_t i = 0; i < people.n; i++) {
        struct user_row row;
        if (i && people.v[i] == people.v[i - 1])
            continue;
        err = users_get(x->view.tables, people.v[i], &x->arena, &row);
        if (err == ERR_OK)
            put_user(x, &row);
        arena_deinit(&x->arena);
    }
    err = ERR_OK;
    for (size_t i = 0; i < n; i++)
        put_conv(x, &v[i]);
out:
    if (err != ERR_OK)
        damaged(x, &CONV_NONE, "the user's conversations cannot be listed", err);
    mem_free(people.v);
    mem_free(v);
}

/* A name can look like an id; then the name wins. */
static enum err find_user(struct exporting *x)
{
    struct str said = str_c(x->options->user);
    bool is_there = false;
    enum err err;

    if (!said.len)
        return ERR_OK;
    err = users_id_of(x->view.tables, said, &x->user);
    if (err == ERR_NOT_FOUND && user_parse(said, &x->user) &&
        users_exists(x->view.tables, x->user, &is_there) == ERR_OK && is_there)
        err = ERR_OK;
    return err;
}

static int run(struct exporting *x)
{
    enum err err = find_user(x);

    if (err != ERR_OK)
        return tool_complain(x->options->user, err == ERR_NOT_FOUND ? "there is no such user" : err_text(err));
    setvbuf(stdout, NULL, _IOFBF, OUT_BYTES);
    x->now = env_now_ms(x->view.env);
    put_head(x);
    if (x->user)
        put_one(x);
    else
        put_everybody(x);
    put_end(x);
    if ((fflush(stdout) | ferror(stdout)) != 0)
        return tool_complain("stdout", "it could not be written");
    return x->damages || x->view.is_damaged ? 1 : 0;
}

/* A backup's files are a folder that stands still. */
static enum err open_source(struct env *env, const char *data, struct source *out, char **why)
{
    struct backup_list list = {0};
    char *files = tool_path(data, BACKUP_FILES);
    enum err err = backup_list_read(env->fs, data, &list);

    if (err == ERR_NOT_FOUND)
        err = source_open(env, data, out, why);
    else if (err == ERR_OK)
        err = source_open_still(env, files, out, why);
    else
        *why = mem_dup(str_c(err_text(err)));
    backup_list_deinit(&list);
    mem_free(files);
    return err;
}

static int export_from(const struct export_options *o)
{
    struct exporting x = {.options = o};
    struct source source = {0};
    char *why = NULL;
    int result = 2;
    enum err err;

    TRY(open_source(env_posix(), o->data, &source, &why));
    TRY(view_open(&source, &x.view, &why));
    source_close(&source); /* what is read on is in memory, or open: it stays, though its name may go */
    result = run(&x);
    view_close(&x.view);
out:
    if (err != ERR_OK)
        tool_complain(o->data, why);
    source_close(&source);
    buf_deinit(&x.line);
    mem_free(why);
    return result;
}

int export_all(int argc, char **argv)
{
    struct export_options o = {0};
    char *why = NULL;
    int result = 2;

    tool_be_nice();
    if (conf_load(options, OPTIONS, &o, &argc, argv, &why) != ERR_OK)
        tool_complain(why, NULL);
    else if (argc != 1)
        tool_complain("what is wanted: parley export [--user NAME|ID] --data DIR", NULL);
    else
        result = export_from(&o);
    mem_free(why);
    return result;
}
