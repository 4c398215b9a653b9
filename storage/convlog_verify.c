/* A conversation's entries may be in tables, in a log that no store has taken in yet, or in both. Of a log it is enough
 * to know which seqs it holds: a few ranges, nearly always one. A store's keys come in the order state, settings,
 * members, cursors, entries, conversation by conversation, so what is kept of one is forgotten with the next; behind
 * those of a shard stands its index of what expires. */
#include "storage/convlog_verify.h"
#include "base/map.h"
#include "storage/authority.h"
#include "storage/convlog_codec.h"
#include "storage/convlog_expiry.h"
#include "storage/convlog_verify_expiry.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum { RANGES_KEPT = 2, SAID_MAX = 20 /* gaps of one conversation */ };

/* What logs hold of a conversation. */
struct logged {
    struct conv_id id;
    bool was_met;
    uint64_t first_seq; /* as they say; 0: they don't */
    uint32_t n, cap;
    struct range few[RANGES_KEPT], *v; /* ascending, none touches the next */
};

struct convlog_verify {
    struct convlog_verify_conf conf;
    struct convlog_counts counts;
    struct map logged;
    struct arena arena;

    bool has_conv, has_state, has_entries;
    struct conv_id conv;
    struct authority now; /* in `arena_now` */
    struct arena arena_now;
    struct logged *also;       /* the same conversation in the logs; NULL: not there */
    uint32_t at;               /* its range to be asked next */
    uint64_t next, lost, gaps; /* the seq that must come next */

    uint8_t shard; /* whose keys come */
    struct expiry_check expiry;
};

static PRINTF_LIKE(3, 4) void say(struct convlog_verify *v, const struct conv_id *c, const char *fmt, ...)
{
    char text[160];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    v->conf.found(v->conf.arg, c, text);
}

void convlog_verify_create(const struct convlog_verify_conf *c, struct convlog_verify **out)
{
    *out = mem_new(struct convlog_verify);
    (*out)->conf = *c;
}

void convlog_verify_destroy(struct convlog_verify *v)
{
    if (!v)
        return;
    for (size_t at = 0;;) {
        struct logged *l = map_next(&v->logged, &at);
        if (!l)
            break;
        if (l->v != l->few)
            mem_free(l->v);
        mem_free(l);
    }
    map_deinit(&v->logged);
    arena_deinit(&v->arena);
    arena_deinit(&v->arena_now);
    expiry_check_deinit(&v->expiry);
    mem_free(v);
}

/* --- logs --- */

static bool is_conv(const void *value, const void *key) { return conv_eq(&((const struct logged *)value)->id, key); }

static struct logged *find_logged(struct convlog_verify *v, const struct conv_id *c, bool may_add)
{
    struct logged *l = map_get(&v->logged, dec_u64(c->b), is_conv, c);

    if (l || !may_add)
        return l;
    l = mem_new(struct logged);
    *l = (struct logged){.id = *c, .cap = RANGES_KEPT};
    l->v = l->few;
    map_add(&v->logged, dec_u64(c->b), l);
    return l;
}

static void insert(struct logged *l, uint32_t at, struct range r)
{
    if (l->n == l->cap) {
        struct range *more = mem_new_array(struct range, 2 * l->cap);
        memcpy(more, l->v, l->n * sizeof *more);
        if (l->v != l->few)
            mem_free(l->v);
        l->v = more;
        l->cap *= 2;
    }
    memmove(l->v + at + 1, l->v + at, (l->n - at) * sizeof *l->v);
    l->v[at] = r;
    l->n++;
}

static void add_seq(struct logged *l, uint64_t seq)
{
    uint32_t i = l->n;

    while (i > 0 && l->v[i - 1].from > seq)
        i--;
    if (i > 0 && l->v[i - 1].to >= seq)
        return;
    if (i > 0 && l->v[i - 1].to + 1 == seq)
        l->v[i - 1].to = seq;
    else if (i < l->n && l->v[i].from == seq + 1)
        l->v[i].from = seq;
    else
        insert(l, i, (struct range){seq, seq});
    if (i > 0 && i < l->n && l->v[i - 1].to + 1 == l->v[i].from) {
        l->v[i - 1].to = l->v[i].to;
        memmove(l->v + i, l->v + i + 1, (--l->n - i) * sizeof *l->v);
    }
}

/* A shard that moved has records in several logs, which are not read in their order. */
static void raise_first(struct logged *l, uint64_t first_seq)
{
    if (l->first_seq < first_seq)
        l->first_seq = first_seq;
}

void convlog_verify_record(struct convlog_verify *v, unsigned kind, struct str body, bool is_wanted)
{
    struct record r;
    enum err err = record_decode(kind, body, &v->arena, &r);

    if (err != ERR_OK)
        say(v, &CONV_NONE, "a record of kind %u in a log is whole and cannot be read: %s", kind, err_text(err));
    else if (r.kind == RECORD_ENTRY && is_wanted)
        add_seq(find_logged(v, &r.entry.conv, true), r.entry.seq);
    else if (r.kind == RECORD_FORGET && is_wanted)
        raise_first(find_logged(v, &r.forget.conv, true), r.forget.first_seq);
    arena_deinit(&v->arena);
}

/* --- one conversation --- */

/* Seqs from v->next on that stand in a log only. */
static void take_logged(struct convlog_verify *v)
{
    const struct logged *l = v->also;

    for (; l && v->at < l->n && l->v[v->at].from <= v->next; v->at++) {
        if (l->v[v->at].to < v->next)
            continue;
        v->next = l->v[v->at].to + 1;
    }
}

/* Nothing has an entry from v->next up to `to`. */
static void gap(struct convlog_verify *v, uint64_t to)
{
    v->lost += to - v->next + 1;
    if (v->gaps++ < SAID_MAX)
        say(v, &v->conv, "entries %" PRIu64 " to %" PRIu64 " are missing", v->next, to);
    v->next = to + 1;
}

/* Comes to the seq before `seq`, saying what is missing on the way. */
static void come_to(struct convlog_verify *v, uint64_t seq)
{
    const struct logged *l = v->also;

    for (take_logged(v); v->next < seq; take_logged(v)) {
        uint64_t to = l && v->at < l->n && l->v[v->at].from < seq ? l->v[v->at].from - 1 : seq - 1;
        gap(v, to);
    }
}

static uint64_t head(const struct convlog_verify *v)
{
    uint64_t head = v->now.head;

    if (v->also && v->also->n && v->also->v[v->also->n - 1].to > head)
        head = v->also->v[v->also->n - 1].to;
    return head;
}

static void end_conv(struct convlog_verify *v)
{
    uint64_t last = head(v);

    if (!v->has_conv)
        return;
    if (!v->has_state && v->has_entries)
        say(v, &v->conv, "there are entries and no state");
    if (v->next <= last)
        come_to(v, last + 1);
    if (v->has_state && v->next > last + 1)
        say(v, &v->conv, "there are entries up to %" PRIu64 ", behind its head %" PRIu64, v->next - 1, last);
    if (v->gaps > SAID_MAX)
        say(v, &v->conv, "… and %" PRIu64 " more gaps; %" PRIu64 " entries are missing in all", v->gaps - SAID_MAX,
            v->lost);
    v->has_conv = false;
    arena_deinit(&v->arena_now);
    v->now = (struct authority){0};
}

static void begin_conv(struct convlog_verify *v, const struct conv_id *c)
{
    end_conv(v);
    v->conv = *c;
    v->has_conv = true;
    v->has_state = v->has_entries = false;
    v->now = (struct authority){.id = *c};
    v->also = find_logged(v, c, false);
    if (v->also)
        v->also->was_met = true;
    v->at = 0;
    v->next = v->also && v->also->first_seq ? v->also->first_seq : 1;
    v->lost = v->gaps = 0;
    v->counts.conversations++;
}

static enum err read_entry(struct convlog_verify *v, uint64_t seq, struct str value)
{
    struct record r;
    enum err err = record_decode(RECORD_ENTRY, value, &v->arena, &r);

    if (err == ERR_OK && (r.entry.seq != seq || !conv_eq(&r.entry.conv, &v->conv)))
        err = ERR_CORRUPT;
    if (err == ERR_OK)
        expiry_check_entry(&v->expiry, v->shard, &r.entry);
    arena_deinit(&v->arena);
    if (seq < v->now.first_seq)
        say(v, &v->conv, "entry %" PRIu64 " is there, though it was forgotten", seq);
    come_to(v, seq);
    if (v->next == seq)
        v->next = seq + 1;
    v->counts.entries++;
    v->has_entries = true;
    return err;
}

static enum err read_cursors(struct convlog_verify *v, user_id user, struct str value)
{
    struct member *m = authority_find(&v->now, user);

    return m ? cursors_decode(value, &v->arena_now, m) : ERR_CORRUPT;
}

static enum err read_state(struct convlog_verify *v, struct str value)
{
    enum err err = state_decode(value, &v->arena_now, &v->now);

    v->has_state = err == ERR_OK;
    if (err == ERR_OK && v->now.first_seq > v->next)
        v->next = v->now.first_seq;
    return err;
}

static const char *const names[] = {[WHAT_STATE] = "its state",
                                    [WHAT_SETTINGS] = "its settings",
                                    [WHAT_MEMBER] = "a member",
                                    [WHAT_CURSORS] = "a member's cursors",
                                    [WHAT_ENTRY] = "an entry"};

static enum err read_value(struct convlog_verify *v, enum what what, uint64_t number, struct str value)
{
    switch (what) {
    case WHAT_STATE:
        return read_state(v, value);
    case WHAT_SETTINGS:
        return settings_decode(value, &v->arena_now, &v->now);
    case WHAT_MEMBER:
        return member_decode(value, &v->arena_now, authority_append(&v->now, number, &v->arena_now));
    case WHAT_CURSORS:
        return read_cursors(v, number, value);
    case WHAT_ENTRY:
        return read_entry(v, number, value);
    }
    return ERR_OK; /* of a later program: its own to judge */
}

static bool conv_of(struct str key, struct conv_id *out)
{
    if (key.len <= CONVLOG_FILTER_PREFIX || key.p[1] != 'c')
        return false;
    memcpy(out->b, key.p + 2, sizeof out->b);
    return true;
}

static void end_shard(struct convlog_verify *v)
{
    uint64_t missing = expiry_check_end(&v->expiry);

    if (missing)
        say(v, &CONV_NONE,
            "%" PRIu64 " messages of shard %u are to expire, and its index of what expires does not name them", missing,
            v->shard);
}

/* A key that is of no conversation. */
static void read_index(struct convlog_verify *v, struct str key, struct str value)
{
    struct expiring x;
    uint64_t seq, print;

    if (key.len == CONVLOG_FILTER_PREFIX && key.p[1] == 'i' && cid_decode(value, &seq, &print) != ERR_OK)
        say(v, &CONV_NONE, "a value of the cid index cannot be read");
    if (expiry_key_parse(key, &x))
        expiry_check_key(&v->expiry, key);
}

void convlog_verify_key(struct convlog_verify *v, struct str key, struct str value)
{
    struct conv_id c;
    enum what what;
    uint64_t number;
    enum err err;

    if ((uint8_t)key.p[0] != v->shard) {
        end_shard(v);
        v->shard = (uint8_t)key.p[0];
    }
    if (!conv_of(key, &c)) {
        read_index(v, key, value);
        return;
    }
    if (!v->has_conv || !conv_eq(&c, &v->conv))
        begin_conv(v, &c);
    if (!key_parse(key, &what, &number))
        return;
    err = read_value(v, what, number, value);
    if (err != ERR_OK && what == WHAT_ENTRY)
        say(v, &c, "entry %" PRIu64 " is there and cannot be read: %s", number, err_text(err));
    else if (err != ERR_OK)
        say(v, &c, "%s cannot be read: %s", names[what], err_text(err));
}

void convlog_verify_store_end(struct convlog_verify *v)
{
    end_conv(v);
    end_shard(v);
}

void convlog_verify_end(struct convlog_verify *v, struct convlog_counts *out)
{
    struct logged *l;

    end_conv(v);
    for (size_t at = 0; (l = map_next(&v->logged, &at)) != NULL;) {
        if (!l->was_met) {
            begin_conv(v, &l->id);
            end_conv(v);
        }
    }
    *out = v->counts;
}

/* --- in words --- */

static void say_key(struct str key, struct buf *out)
{
    struct conv_id c;
    enum what what;
    uint64_t number;
    char text[CONV_TEXT];

    if (!conv_of(key, &c)) {
        buf_str(out, key.len > 1 && key.p[1] == 'x' ? STR("the index of what expires") : STR("the cid index"));
        return;
    }
    buf_add(out, text, conv_text(text, &c));
    if (key_parse(key, &what, &number) && what == WHAT_ENTRY)
        buf_printf(out, " entry %" PRIu64, number);
}

void convlog_verify_lost(struct str after, struct str last, struct buf *out)
{
    buf_str(out, STR("; it held "));
    if (after.len == 0) {
        buf_str(out, STR("everything up to "));
    } else {
        buf_str(out, STR("what stands behind "));
        say_key(after, out);
        buf_str(out, STR(", up to "));
    }
    say_key(last, out);
}
