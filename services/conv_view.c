#include "services/conv_view.h"
#include "proto/jsonw.h"
#include "services/expiry.h"
#include "services/receipt.h"
#include "services/tail.h"
#include "services/unread.h"

static const struct authority *authority_of(const struct conv_view *v) { return conv_committed(v->c); }
static uint64_t last_of(const struct conv_view *v) { return member_last_visible(v->m, authority_of(v)->head); }
/* What they saw last is no more: they left, and it was forgotten since. */
static bool sees_nothing(const struct conv_view *v) { return last_of(v) < authority_of(v)->first_seq; }
static int64_t cut(uint64_t cursor, uint64_t last) { return (int64_t)(cursor < last ? cursor : last); }

static enum err read_entry(const struct conv_view *v, uint64_t seq, struct arena *arena, struct entry *out)
{
    enum err err = conv_entry(v->r, v->c, seq, v->need, arena, out);

    if (err == ERR_OK)
        expiry_hide(v->r, out, 1);
    return err == ERR_NOT_FOUND ? ERR_CORRUPT : err; /* seqs have no gaps */
}

enum err conv_view_activity(const struct conv_view *v, int64_t *out)
{
    uint64_t last = last_of(v);
    struct arena arena = {0};
    struct entry e;
    enum err err;

    if (last == authority_of(v)->head) {
        *out = authority_of(v)->last_ts;
        return ERR_OK;
    }
    if (sees_nothing(v)) {
        *out = v->m->joined_ts;
        return ERR_OK;
    }
    err = read_entry(v, last, &arena, &e);
    if (err == ERR_OK)
        *out = e.ts;
    arena_deinit(&arena);
    return err;
}

/* Parts of the objects. */
static void print_head(const struct conv_view *v, struct buf *out)
{
    jsonw_open(out, '{');
    jsonw_key_conv(out, "conv", conv_id(v->c));
    jsonw_key_str(out, "kind", authority_of(v)->kind == CONV_PAIR ? STR("pair") : STR("group"));
}

/* [[from, to], …]; null instead of the last `to` while they are in. */
static void print_visible(const struct member *m, struct buf *out)
{
    jsonw_key(out, "visible");
    jsonw_open(out, '[');
    for (size_t i = 0; i < m->n_ranges; i++) {
        jsonw_open(out, '[');
        jsonw_int(out, (int64_t)m->ranges[i].from);
        if (m->ranges[i].to)
            jsonw_int(out, (int64_t)m->ranges[i].to);
        else
            jsonw_raw(out, STR("null"));
        jsonw_close(out, ']');
    }
    jsonw_close(out, ']');
}

static void print_cursors(const struct conv_view *v, uint64_t unread, struct buf *out)
{
    uint64_t last = last_of(v);

    jsonw_key_int(out, "delivered", cut(v->m->delivered, last));
    jsonw_key_int(out, "read", cut(v->m->read, last));
    jsonw_key_int(out, "unread", (int64_t)unread);
}

static void print_text(const char *key, struct str s, struct buf *out)
{
    if (s.len)
        jsonw_key_str(out, key, s);
}

static void print_name(const struct conv_view *v, struct buf *out)
{
    const struct authority *a = authority_of(v);

    if (a->kind == CONV_PAIR)
        jsonw_key_user(out, "peer", a->pair[a->pair[0] == v->m->user]);
    else if (v->m->is_in)
        jsonw_key_str(out, "title", a->settings.title);
}

static void print_settings(const struct conv_view *v, struct buf *out)
{
    const struct authority *a = authority_of(v);

    if (a->kind != CONV_GROUP || !v->m->is_in)
        return;
    print_text("description", a->settings.description, out);
    print_text("picture", a->settings.picture, out);
    jsonw_key_bool(out, "announce", a->announce);
    jsonw_key_bool(out, "locked", a->locked);
    jsonw_key_str(out, "history", a->history_all ? STR("all") : STR("joined"));
    jsonw_key_str(out, "role", str_c(role_text(v->m->role)));
}

static void print_member_count(const struct conv_view *v, struct buf *out)
{
    const struct authority *a = authority_of(v);
    int64_t n = 0;

    if (!v->m->is_in)
        return;
    for (size_t i = 0; i < a->n_members; i++)
        n += a->members[i].is_in;
    jsonw_key_int(out, "member_count", n);
}

static int64_t count_mentions(const struct conv_view *v)
{
    int64_t n = 0;

    for (size_t i = 0; i < v->m->n_mentions; i++)
        n += v->m->mentions[i] >= authority_of(v)->first_seq;
    return n;
}

/* conversation.list and conversation.get. */
static void print_item(const struct conv_view *v, bool is_full, uint64_t unread, const struct entry *last,
                       struct buf *out)
{
    print_head(v, out);
    print_name(v, out);
    if (is_full)
        jsonw_key_int(out, "first_seq", (int64_t)authority_of(v)->first_seq);
    jsonw_key_int(out, "last_seq", (int64_t)last_of(v));
    if (is_full)
        print_visible(v->m, out);
    print_cursors(v, unread, out);
    jsonw_key_int(out, "mentions", count_mentions(v));
    if (is_full) {
        print_settings(v, out);
        print_member_count(v, out);
    }
    if (last) {
        jsonw_key(out, "last");
        entry_print(last, out);
    }
    jsonw_close(out, '}');
}

enum err conv_view_list(const struct conv_view *v, bool is_full, struct buf *out)
{
    struct arena arena = {0};
    struct entry last;
    uint64_t unread = 0;
    enum err err;

    TRY(unread_count(v->r, v->c, v->m, v->need, &unread));
    if (!sees_nothing(v))
        TRY(read_entry(v, last_of(v), &arena, &last));
    print_item(v, is_full, unread, sees_nothing(v) ? NULL : &last, out);
out:
    arena_deinit(&arena);
    return err;
}

/* Receipts in sync: each one's in a small conversation, else how far all the others are. */
static bool is_told(const struct conv_view *v, const struct member *m)
{
    return receipt_is_listed(v->m, m, last_of(v)) && receipt_is_visible(authority_of(v), v->m->user, m->user);
}

static void print_each_receipt(const struct conv_view *v, struct buf *out)
{
    const struct authority *a = authority_of(v);

    jsonw_open(out, '[');
    for (size_t i = 0; i < a->n_members; i++) {
        if (is_told(v, &a->members[i]))
            receipt_print(&a->members[i], last_of(v), out);
    }
    jsonw_close(out, ']');
}

/* What was before they joined keeps nobody waiting. */
static uint64_t not_before(const struct member *m, uint64_t cursor)
{
    uint64_t from = m->n_ranges ? m->ranges[m->n_ranges - 1].from : 1;

    return cursor < from ? from - 1 : cursor;
}

static void print_least_receipts(const struct conv_view *v, struct buf *out)
{
    const struct authority *a = authority_of(v);
    uint64_t delivered = last_of(v), read = delivered;

    for (size_t i = 0; i < a->n_members; i++) {
        const struct member *m = &a->members[i];

        if (m == v->m || !is_told(v, m))
            continue;
        delivered = (uint64_t)cut(not_before(m, m->delivered), delivered);
        read = (uint64_t)cut(not_before(m, m->read), read);
    }
    jsonw_open(out, '{');
    jsonw_key_int(out, "delivered_all", (int64_t)delivered);
    jsonw_key_int(out, "read_all", (int64_t)read);
    jsonw_close(out, '}');
}

static void print_receipts(const struct conv_view *v, struct buf *out)
{
    const struct authority *a = authority_of(v);
    size_t n = 0;

    for (size_t i = 0; i < a->n_members && n <= EVERYBODY_MAX; i++)
        n += is_told(v, &a->members[i]);
    jsonw_key(out, "receipts");
    if (n <= EVERYBODY_MAX)
        print_each_receipt(v, out);
    else
        print_least_receipts(v, out);
}

/* Entries in sync. */
struct filling {
    const struct conv_room *room;
    struct buf *out;
    size_t start; /* of the item in `out` */
    size_t n;
    uint64_t reached;
    bool is_full;
    struct entry_names names;
};

static enum err print_entries(const struct reactor *r, struct filling *f, const struct entry_bytes *list,
                              struct arena *arena)
{
    struct entry e;

    for (size_t i = 0; i < list->n && !f->is_full; i++) {
        size_t before = f->out->len;
        enum err err = convlog_decode(list->v[i], list->seq + i, arena, &e);

        if (err != ERR_OK)
            return err;
        expiry_hide(r, &e, 1);
        if (f->n)
            buf_char(f->out, ',');
        entry_print_with(&f->names, &e, f->out);
        f->is_full = f->out->len - f->start > f->room->bytes && !(f->room->is_first && f->n == 0);
        if (f->is_full) {
            f->out->len = before;
            return ERR_OK;
        }
        f->reached = e.seq;
        f->n++;
    }
    f->is_full |= list->more || f->n == f->room->entries;
    return ERR_OK;
}

/* The bytes of what is stored are about those of what is printed: no more is read than could have room. */
static enum err fill_from(const struct conv_view *v, uint64_t from, uint64_t to, struct filling *f)
{
    size_t used = f->out->len - f->start, bytes = used < f->room->bytes ? f->room->bytes - used : 1;
    struct entry_bytes list = {0};
    struct arena arena = {0};
    enum err err;

    TRY(conv_read(v->r, v->c, from, to, f->room->entries - f->n, bytes, false, v->need, &arena, &list));
    TRY(print_entries(v->r, f, &list, &arena));
out:
    arena_deinit(&arena);
    return err;
}

static enum err fill(const struct conv_view *v, uint64_t after, struct filling *f)
{
    uint64_t head = authority_of(v)->head;
    enum err err = ERR_OK;

    for (size_t i = 0; i < v->m->n_ranges && !f->is_full; i++) {
        const struct range *range = &v->m->ranges[i];
        uint64_t from = range->from > after ? range->from : after + 1;
        uint64_t to = range->to && range->to < head ? range->to : head;

        if (from <= to)
            TRY(fill_from(v, from, to, f));
    }
out:
    return err;
}

enum err conv_view_sync(const struct conv_view *v, uint64_t after, bool is_reset, const struct conv_room *room,
                        struct buf *out, size_t *n, uint64_t *reached)
{
    struct filling f = {.room = room, .out = out, .start = out->len};
    uint64_t unread = 0, first = authority_of(v)->first_seq;
    enum err err;

    if (after + 1 < first) {
        after = first - 1;
        is_reset = true;
    }
    f.reached = after;
    TRY(unread_count(v->r, v->c, v->m, v->need, &unread));
    print_head(v, out);
    jsonw_key_int(out, "first_seq", (int64_t)authority_of(v)->first_seq);
    jsonw_key_int(out, "last_seq", (int64_t)last_of(v));
    print_visible(v->m, out);
    print_cursors(v, unread, out);
    if (is_reset)
        jsonw_key_bool(out, "reset", true);
    print_receipts(v, out);
    jsonw_key(out, "entries");
    jsonw_open(out, '[');
    TRY(fill(v, after, &f));
    jsonw_close(out, ']');
    jsonw_close(out, '}');
    *n = f.n;
    *reached = f.reached;
out:
    if (err != ERR_OK || f.n == 0)
        out->len = f.start;
    return err;
}
