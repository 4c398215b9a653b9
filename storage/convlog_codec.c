#include "storage/convlog_codec.h"
#include "storage/authority.h"

enum { VERSION = 1, STATE_VERSION = 2, SPACE_CONV = 'c', SPACE_CID = 'i', PREFIX = CONVLOG_FILTER_PREFIX };
enum { SPACE_RETENTION = 'r', SPACE_SWEPT = 't', STATE_FIXED_MAX = 50, CID_FORGOTTEN_BYTES = 24 };
enum { HAS_TITLE = 1, HAS_DESCRIPTION = 2, HAS_PICTURE = 4, HAS_ANNOUNCE = 8, HAS_LOCKED = 16, HAS_HISTORY = 32 };
enum { ANNOUNCE_ON = 1, LOCKED_ON = 2, HISTORY_ALL = 4 };
_Static_assert(MENTIONS_KEPT < 256 && DEVICES_KEPT < 256, "their counts are bytes");

static struct key prefix(uint16_t shard, char space, const uint8_t id[16])
{
    struct key k = {.len = PREFIX};

    k.b[0] = (char)shard;
    k.b[1] = space;
    memcpy(k.b + 2, id, 16);
    return k;
}

struct key key_of(uint16_t shard, const struct conv_id *c, enum what what)
{
    struct key k = prefix(shard, SPACE_CONV, c->b);

    k.b[k.len++] = (char)what;
    return k;
}

struct key key_of_number(uint16_t shard, const struct conv_id *c, enum what what, uint64_t n)
{
    struct key k = key_of(shard, c, what);

    enc_be64(k.b + k.len, n);
    k.len = (uint8_t)(k.len + 8);
    return k;
}

struct key key_of_cid(uint16_t shard, const uint8_t cid_hash[16]) { return prefix(shard, SPACE_CID, cid_hash); }

struct key key_of_retention(uint16_t shard, const struct conv_id *c) { return prefix(shard, SPACE_RETENTION, c->b); }

struct key key_of_swept(uint16_t shard) { return (struct key){{(char)shard, SPACE_SWEPT}, 2}; }

bool key_parse(struct str key, enum what *what, uint64_t *number)
{
    bool has_number = key.len == PREFIX + 9;

    if ((!has_number && key.len != PREFIX + 1) || key.p[1] != SPACE_CONV)
        return false;
    *what = (enum what)key.p[PREFIX];
    *number = has_number ? dec_be64(key.p + PREFIX + 1) : 0;
    return has_number == (*what >= WHAT_MEMBER);
}

/* ---- writing ---- */

/* Once for nearly every message, so values are written into one reservation. */
static char *put_u8(char *p, uint8_t v)
{
    *p = (char)v;
    return p + 1;
}

static char *put_u64(char *p, uint64_t v)
{
    enc_u64(p, v);
    return p + 8;
}

static size_t cursors_bytes(const struct member *m) { return 18 + 16 * m->n_devices + 8 * m->n_mentions; }

static char *put_cursors(char *p, const struct member *m)
{
    p = put_u64(p, m->delivered);
    p = put_u64(p, m->read);
    p = put_u8(p, (uint8_t)m->n_devices);
    for (size_t i = 0; i < m->n_devices; i++) {
        p = put_u64(p, m->devices[i].device);
        p = put_u64(p, m->devices[i].delivered);
    }
    p = put_u8(p, (uint8_t)m->n_mentions);
    for (size_t i = 0; i < m->n_mentions; i++)
        p = put_u64(p, m->mentions[i]);
    return p;
}

static void add_to(struct buf *out, const char *end) { out->len = (size_t)(end - out->p); }

void cursors_encode(const struct member *m, struct buf *out)
{
    char *p = buf_reserve(out, 1 + cursors_bytes(m));

    add_to(out, put_cursors(put_u8(p, VERSION), m));
}

static size_t pair_bytes(const struct authority *a)
{
    size_t bytes = 26;

    for (size_t i = 0; i < a->n_members; i++)
        bytes += cursors_bytes(&a->members[i]);
    return bytes;
}

static char *put_pair(char *p, const struct authority *a)
{
    p = put_u64(p, a->pair[0]);
    p = put_u64(p, a->pair[1]);
    p = put_u8(p, (uint8_t)(a->blocked[0] | a->blocked[1] << 1));
    p = put_u8(p, (uint8_t)a->n_members);
    p = put_u64(p, a->n_members ? (uint64_t)a->members[0].joined_ts : 0);
    for (size_t i = 0; i < a->n_members; i++)
        p = put_cursors(p, &a->members[i]);
    return p;
}

/* The least version that can say it: 2 for what only retention makes. */
static bool is_retained(const struct authority *a) { return a->first_seq > 1 || a->retention_ms != RETENTION_SERVER; }

void state_encode(const struct authority *a, struct buf *out)
{
    bool is_pair = a->kind == CONV_PAIR;
    char *p = buf_reserve(out, STATE_FIXED_MAX + (is_pair ? pair_bytes(a) : 0));

    p = put_u8(p, is_retained(a) ? STATE_VERSION : VERSION);
    p = put_u8(p, (uint8_t)a->kind);
    p = put_u64(p, a->head);
    p = put_u64(p, a->ordinal);
    p = put_u64(p, a->first_seq);
    p = put_u64(p, (uint64_t)a->last_ts);
    if (is_retained(a)) {
        p = put_u64(p, a->first_ordinal);
        p = put_u64(p, a->retention_ms);
    }
    add_to(out, is_pair ? put_pair(p, a) : p);
}

void settings_encode(const struct authority *a, struct buf *out)
{
    const struct group_settings *s = &a->settings;

    enc_add_u8(out, VERSION);
    enc_add_u8(out, (uint8_t)((s->has_title ? HAS_TITLE : 0) | (s->has_description ? HAS_DESCRIPTION : 0) |
                              (s->has_picture ? HAS_PICTURE : 0) | (s->has_announce ? HAS_ANNOUNCE : 0) |
                              (s->has_locked ? HAS_LOCKED : 0) | (s->has_history ? HAS_HISTORY : 0)));
    enc_add_u8(out, (uint8_t)((a->announce ? ANNOUNCE_ON : 0) | (a->locked ? LOCKED_ON : 0) |
                              (a->history_all ? HISTORY_ALL : 0)));
    enc_add_field(out, s->title);
    enc_add_field(out, s->description);
    enc_add_field(out, s->picture);
}

void member_encode(const struct member *m, struct buf *out)
{
    enc_add_u8(out, VERSION);
    enc_add_u8(out, (uint8_t)m->role);
    enc_add_u64(out, (uint64_t)m->joined_ts);
    enc_add_u64(out, m->joined_seq);
    enc_add_varint(out, m->n_ranges);
    for (size_t i = 0; i < m->n_ranges; i++) {
        enc_add_varint(out, m->ranges[i].from);
        enc_add_varint(out, m->ranges[i].to);
    }
}

void cid_write(const struct entry *e, char out[CID_BYTES])
{
    enc_u64(out, e->seq);
    enc_u64(out + 8, e->fingerprint);
}

void cid_encode(const struct entry *e, struct buf *out)
{
    cid_write(e, buf_reserve(out, CID_BYTES));
    out->len += CID_BYTES;
}

void cid_encode_forgotten(uint64_t seq, const struct forgotten *f, struct buf *out)
{
    enc_add_u64(out, seq);
    enc_add_u64(out, f->fingerprint);
    enc_add_u64(out, (uint64_t)f->ts);
}

/* ---- reading ---- */

static enum err get_version(struct dec *d, uint8_t most, uint8_t *version)
{
    *version = dec_get_u8(d);
    return !dec_ok(d) || *version == 0 ? ERR_CORRUPT : *version > most ? ERR_UNSUPPORTED : ERR_OK;
}

static enum err check_version(struct dec *d)
{
    uint8_t version;

    return get_version(d, VERSION, &version);
}

static enum err finish(const struct dec *d) { return dec_done(d) ? ERR_OK : ERR_CORRUPT; }

static int64_t get_ts(struct dec *d) { return (int64_t)dec_get_u64(d); }

/* How many items of at least `size` bytes follow, refused where there are not so many bytes. */
static size_t get_count(struct dec *d, uint64_t n, size_t size)
{
    d->failed |= n > (uint64_t)(d->end - d->p) / size;
    return d->failed ? 0 : (size_t)n;
}

static void get_cursors(struct dec *d, struct arena *arena, struct member *m)
{
    m->delivered = dec_get_u64(d);
    m->read = dec_get_u64(d);
    m->n_devices = get_count(d, dec_get_u8(d), 16);
    m->devices_cap = (uint32_t)m->n_devices;
    if (m->n_devices)
        m->devices = arena_alloc(arena, m->n_devices * sizeof *m->devices);
    for (size_t i = 0; i < m->n_devices; i++) {
        m->devices[i].device = dec_get_u64(d);
        m->devices[i].delivered = dec_get_u64(d);
    }
    m->n_mentions = get_count(d, dec_get_u8(d), 8);
    m->mentions_cap = (uint32_t)m->n_mentions;
    if (m->n_mentions)
        m->mentions = arena_alloc(arena, m->n_mentions * sizeof *m->mentions);
    for (size_t i = 0; i < m->n_mentions; i++)
        m->mentions[i] = dec_get_u64(d);
    d->failed |= m->n_devices > DEVICES_KEPT || m->n_mentions > MENTIONS_KEPT || m->read > m->delivered;
}

enum err cursors_decode(struct str value, struct arena *arena, struct member *m)
{
    struct dec d = dec_of(value);
    enum err err = check_version(&d);

    if (err != ERR_OK)
        return err;
    get_cursors(&d, arena, m);
    return finish(&d);
}

/* A pair's members see everything and have no roles; so nothing of that is stored. */
static void get_pair(struct dec *d, struct arena *arena, struct authority *a)
{
    uint8_t blocked, n;
    int64_t joined_ts;

    a->pair[0] = dec_get_u64(d);
    a->pair[1] = dec_get_u64(d);
    blocked = dec_get_u8(d);
    n = dec_get_u8(d);
    joined_ts = get_ts(d);
    a->blocked[0] = blocked & 1;
    a->blocked[1] = blocked & 2;
    d->failed |= blocked > 3 || a->pair[0] > a->pair[1] || (n && n != (a->pair[0] == a->pair[1] ? 1 : 2));
    if (n)
        authority_expect(a, n, arena);
    for (uint8_t i = 0; i < n && dec_ok(d); i++) {
        struct member *m = authority_append(a, a->pair[i], arena);
        m->ranges = arena_alloc(arena, sizeof *m->ranges);
        m->ranges[0] = (struct range){1, 0};
        m->n_ranges = m->ranges_cap = 1;
        m->is_in = true;
        m->joined_ts = joined_ts;
        m->joined_seq = 1;
        get_cursors(d, arena, m);
    }
}

/* first_seq is at most the head, but between the records that an import begins with. */
static void get_retained(struct dec *d, struct authority *a)
{
    a->first_ordinal = dec_get_u64(d);
    a->retention_ms = dec_get_u64(d);
    d->failed |= a->first_seq == 0 || a->first_seq > a->head + 1 || a->first_ordinal >= a->first_seq ||
                 a->first_ordinal > a->ordinal;
    d->failed |= a->retention_ms > INT64_MAX && a->retention_ms != RETENTION_FOREVER;
}

enum err state_decode(struct str value, struct arena *arena, struct authority *a)
{
    struct dec d = dec_of(value);
    uint8_t version;
    enum err err = get_version(&d, STATE_VERSION, &version);

    if (err != ERR_OK)
        return err;
    a->kind = (enum conv_kind)dec_get_u8(&d);
    a->head = dec_get_u64(&d);
    a->ordinal = dec_get_u64(&d);
    a->first_seq = dec_get_u64(&d);
    a->last_ts = get_ts(&d);
    d.failed |= a->kind != CONV_PAIR && a->kind != CONV_GROUP;
    d.failed |= a->ordinal > a->head || a->head > SEQ_MAX;
    if (version >= 2)
        get_retained(&d, a);
    if (a->kind == CONV_PAIR && dec_ok(&d))
        get_pair(&d, arena, a);
    return finish(&d);
}

static struct str get_text(struct dec *d, struct arena *arena)
{
    struct str s = dec_get_field(d);

    return s.len ? arena_dup(arena, s) : (struct str){0};
}

enum err settings_decode(struct str value, struct arena *arena, struct authority *a)
{
    struct dec d = dec_of(value);
    struct group_settings *s = &a->settings;
    enum err err = check_version(&d);
    uint8_t has, on;

    if (err != ERR_OK)
        return err;
    has = dec_get_u8(&d);
    on = dec_get_u8(&d);
    s->has_title = has & HAS_TITLE;
    s->has_description = has & HAS_DESCRIPTION;
    s->has_picture = has & HAS_PICTURE;
    s->has_announce = has & HAS_ANNOUNCE;
    s->has_locked = has & HAS_LOCKED;
    s->has_history = has & HAS_HISTORY;
    a->announce = s->announce = on & ANNOUNCE_ON;
    a->locked = s->locked = on & LOCKED_ON;
    a->history_all = s->history_all = on & HISTORY_ALL;
    s->title = get_text(&d, arena);
    s->description = get_text(&d, arena);
    s->picture = get_text(&d, arena);
    d.failed |= has >= 2 * HAS_HISTORY || on >= 2 * HISTORY_ALL;
    return finish(&d);
}

/* Ascending, with a gap between, and only the last may be open. */
static bool ranges_are_sane(const struct member *m)
{
    for (size_t i = 0; i < m->n_ranges; i++) {
        const struct range *r = &m->ranges[i];
        if (r->from == 0 || (r->to == 0 ? i + 1 < m->n_ranges : r->to < r->from))
            return false;
        if (i && r->from <= r[-1].to + 1)
            return false;
    }
    return m->n_ranges > 0;
}

enum err member_decode(struct str value, struct arena *arena, struct member *m)
{
    struct dec d = dec_of(value);
    enum err err = check_version(&d);

    if (err != ERR_OK)
        return err;
    m->role = (enum role)dec_get_u8(&d);
    m->joined_ts = get_ts(&d);
    m->joined_seq = dec_get_u64(&d);
    m->n_ranges = get_count(&d, dec_get_varint(&d), 2);
    m->ranges_cap = (uint32_t)m->n_ranges;
    if (m->n_ranges)
        m->ranges = arena_alloc(arena, m->n_ranges * sizeof *m->ranges);
    for (size_t i = 0; i < m->n_ranges; i++) {
        m->ranges[i].from = dec_get_varint(&d);
        m->ranges[i].to = dec_get_varint(&d);
    }
    if (!dec_done(&d) || m->role > ROLE_OWNER || !ranges_are_sane(m))
        return ERR_CORRUPT;
    m->is_in = m->ranges[m->n_ranges - 1].to == 0;
    return ERR_OK;
}

enum err cid_decode(struct str value, uint64_t *seq, uint64_t *fingerprint)
{
    if (value.len != CID_BYTES && value.len != CID_FORGOTTEN_BYTES)
        return ERR_CORRUPT;
    *seq = dec_u64(value.p);
    *fingerprint = dec_u64(value.p + 8);
    return ERR_OK;
}

enum err cid_decode_ts(struct str value, int64_t *ts)
{
    if (value.len != CID_FORGOTTEN_BYTES)
        return value.len == CID_BYTES ? ERR_NOT_FOUND : ERR_CORRUPT;
    *ts = (int64_t)dec_u64(value.p + CID_BYTES);
    return ERR_OK;
}
