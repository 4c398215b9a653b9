/* An entry's layout: kind, conversation's kind and flags in a byte each; conv 16, seq varint, from 8, device 8, ts
 * varint, ordinal varint, cid as a field, cid_hash 16, fingerprint 8; then what the flags announce, in the order of the
 * flags; then what the kind has. A stub is of version 2, has one flag more and no content. A message that expires is of
 * version 3, has the flag of that and the moment, a varint; its stub has both. A message in a chat of two costs about
 * 100 bytes beside its content, 22 of them the cid. */
#include "proto/record_codec.h"

enum { /* on disk: never renumber */
       HAS_PEER = 1,
       HAS_REPLY = 2,
       HAS_MENTIONS = 4,
       HAS_HEIR = 8,
       HISTORY_ALL = 16,
       FLAGS_END_1 = 32, /* of version 1 */
       IS_DELETED = 32,
       IS_EXPIRED = 64,
       FLAGS_END_2 = 128,
       HAS_EXPIRY = 128,
       FLAGS_END_3 = 256,
};
enum {
    SET_TITLE = 1,
    SET_DESCRIPTION = 2,
    SET_PICTURE = 4,
    SET_ANNOUNCE = 8,
    SET_LOCKED = 16,
    SET_HISTORY = 32,
    ANNOUNCE_ON = 64,
    LOCKED_ON = 128,
};
enum { MEMBER_BYTES = 9, FIXED_MAX = 3 + 16 + 10 + 8 + 8 + 10 + 10 + 10 + 16 + 8 + 8 + 10 };

static uint8_t entry_flags(const struct entry *e)
{
    return (uint8_t)((e->peer ? HAS_PEER : 0) | (e->reply_to ? HAS_REPLY : 0) | (e->n_mentions ? HAS_MENTIONS : 0) |
                     (e->heir ? HAS_HEIR : 0) | (e->history_all ? HISTORY_ALL : 0) |
                     (e->gone == ENTRY_DELETED ? IS_DELETED : 0) | (e->gone == ENTRY_EXPIRED ? IS_EXPIRED : 0) |
                     (e->expires_at ? HAS_EXPIRY : 0));
}

static char *put(char *p, const void *from, size_t n)
{
    if (n)
        memcpy(p, from, n);
    return p + n;
}

/* Once per message, so it is written into one reservation. */
static void encode_head(const struct entry *e, uint8_t flags, struct buf *out)
{
    char *start = buf_reserve(out, FIXED_MAX + e->cid.len + e->content.len + 10), *p = start;

    *p++ = (char)e->kind;
    *p++ = (char)e->conv_kind;
    *p++ = (char)flags;
    p = put(p, e->conv.b, sizeof e->conv.b);
    p += enc_varint(p, e->seq);
    p = put(p, &e->from, sizeof e->from);
    p = put(p, &e->device, sizeof e->device);
    p += enc_varint(p, (uint64_t)e->ts);
    p += enc_varint(p, e->ordinal);
    p += enc_varint(p, e->cid.len);
    p = put(p, e->cid.p, e->cid.len);
    p = put(p, e->cid_hash, sizeof e->cid_hash);
    p = put(p, &e->fingerprint, sizeof e->fingerprint);
    if (flags & HAS_PEER)
        p = put(p, &e->peer, sizeof e->peer);
    if (flags & HAS_REPLY)
        p += enc_varint(p, e->reply_to);
    out->len += (size_t)(p - start);
}

static void encode_members(const struct entry *e, struct buf *out)
{
    enc_add_varint(out, e->n_members);
    for (size_t i = 0; i < e->n_members; i++) {
        enc_add_u64(out, e->members[i].user);
        enc_add_u8(out, (uint8_t)e->members[i].role);
    }
}

/* history_all needs a bit of its own: 0 or 1 follows where SET_HISTORY is set. */
static void encode_settings(const struct group_settings *s, struct buf *out)
{
    enc_add_u8(out, (uint8_t)((s->has_title ? SET_TITLE : 0) | (s->has_description ? SET_DESCRIPTION : 0) |
                              (s->has_picture ? SET_PICTURE : 0) | (s->has_announce ? SET_ANNOUNCE : 0) |
                              (s->has_locked ? SET_LOCKED : 0) | (s->has_history ? SET_HISTORY : 0) |
                              (s->has_announce && s->announce ? ANNOUNCE_ON : 0) |
                              (s->has_locked && s->locked ? LOCKED_ON : 0)));
    enc_add_optional(out, s->has_title, s->title);
    enc_add_optional(out, s->has_description, s->description);
    enc_add_optional(out, s->has_picture, s->picture);
    if (s->has_history)
        enc_add_u8(out, s->history_all);
}

void entry_encode(const struct entry *e, struct buf *out)
{
    uint8_t flags = entry_flags(e);

    encode_head(e, flags, out);
    if (flags & HAS_MENTIONS) {
        enc_add_varint(out, e->n_mentions);
        buf_add(out, e->mentions, e->n_mentions * sizeof e->mentions[0]);
    }
    if (flags & HAS_HEIR)
        enc_add_u64(out, e->heir);
    if (flags & HAS_EXPIRY)
        enc_add_varint(out, (uint64_t)e->expires_at);
    switch (e->kind) {
    case ENTRY_MESSAGE:
        if (!e->gone)
            enc_add_field(out, e->content);
        break;
    case ENTRY_CREATED:
        encode_members(e, out);
        encode_settings(&e->settings, out);
        break;
    case ENTRY_MEMBERS:
        enc_add_u8(out, (uint8_t)e->change);
        encode_members(e, out);
        break;
    case ENTRY_SETTINGS:
        encode_settings(&e->settings, out);
        break;
    }
}

/* A stub is a message and says no more than a stub may. */
static void decode_gone(struct dec *d, unsigned flags, struct entry *e)
{
    unsigned gone = flags & (IS_DELETED | IS_EXPIRED);

    d->failed |= gone != IS_DELETED && gone != IS_EXPIRED;
    d->failed |= e->kind != ENTRY_MESSAGE || (flags & ~(gone | HAS_PEER | HAS_EXPIRY));
    e->gone = gone == IS_DELETED ? ENTRY_DELETED : ENTRY_EXPIRED;
}

/* Each version has what the one before could not say, so that a thing is said in one way. */
static void decode_what_version_allows(struct dec *d, unsigned version, unsigned flags, struct entry *e)
{
    static const unsigned ends[] = {[1] = FLAGS_END_1, [2] = FLAGS_END_2, [3] = FLAGS_END_3};

    d->failed |= flags >= ends[version];
    if (version == 2 || (flags & (IS_DELETED | IS_EXPIRED)))
        decode_gone(d, flags, e);
    if (version == 3)
        d->failed |= e->kind != ENTRY_MESSAGE || !(flags & HAS_EXPIRY);
}

static unsigned decode_head(struct dec *d, unsigned version, struct entry *e)
{
    unsigned flags;

    e->kind = (enum entry_kind)dec_get_below(d, ENTRY_SETTINGS + 1);
    e->conv_kind = (enum conv_kind)dec_get_below(d, CONV_GROUP + 1);
    d->failed |= e->kind == 0 || e->conv_kind == 0;
    flags = dec_get_u8(d);
    decode_what_version_allows(d, version, flags, e);
    e->conv = dec_get_conv(d);
    e->seq = dec_get_varint(d);
    e->from = dec_get_u64(d);
    e->device = dec_get_u64(d);
    e->ts = dec_get_ts(d);
    e->ordinal = dec_get_varint(d);
    e->cid = dec_get_field(d);
    dec_copy_bytes(d, e->cid_hash, sizeof e->cid_hash);
    e->fingerprint = dec_get_u64(d);
    return flags;
}

static void decode_mentions(struct dec *d, struct arena *arena, struct entry *e)
{
    size_t n = dec_get_count(d, sizeof(user_id));
    user_id *v = n ? arena_alloc(arena, n * sizeof *v) : NULL;

    if (n)
        dec_copy_bytes(d, v, n * sizeof *v);
    e->mentions = v;
    e->n_mentions = n;
}

static void decode_members(struct dec *d, struct arena *arena, struct entry *e)
{
    size_t n = dec_get_count(d, MEMBER_BYTES);
    struct member_role *v = n ? arena_alloc(arena, n * sizeof *v) : NULL;

    for (size_t i = 0; i < n; i++) {
        v[i].user = dec_get_u64(d);
        v[i].role = (enum role)dec_get_below(d, ROLE_OWNER + 1);
    }
    e->members = v;
    e->n_members = n;
}

static void decode_settings(struct dec *d, struct group_settings *s)
{
    unsigned flags = dec_get_u8(d);

    s->has_title = dec_get_optional(d, flags & SET_TITLE, &s->title);
    s->has_description = dec_get_optional(d, flags & SET_DESCRIPTION, &s->description);
    s->has_picture = dec_get_optional(d, flags & SET_PICTURE, &s->picture);
    s->has_announce = flags & SET_ANNOUNCE;
    s->announce = flags & ANNOUNCE_ON;
    s->has_locked = flags & SET_LOCKED;
    s->locked = flags & LOCKED_ON;
    s->has_history = flags & SET_HISTORY;
    if (s->has_history)
        s->history_all = dec_get_bool(d);
    d->failed |= (s->announce && !s->has_announce) || (s->locked && !s->has_locked);
}

static void decode_by_kind(struct dec *d, struct arena *arena, struct entry *e)
{
    switch (e->kind) {
    case ENTRY_MESSAGE:
        if (!e->gone)
            e->content = dec_get_field(d);
        break;
    case ENTRY_CREATED:
        decode_members(d, arena, e);
        decode_settings(d, &e->settings);
        break;
    case ENTRY_MEMBERS:
        e->change = (enum members_change)dec_get_below(d, MEMBERS_ROLE + 1);
        d->failed |= e->change == 0;
        decode_members(d, arena, e);
        break;
    case ENTRY_SETTINGS:
        decode_settings(d, &e->settings);
        break;
    }
}

void entry_decode(struct dec *d, unsigned version, struct arena *arena, struct entry *e)
{
    unsigned flags = decode_head(d, version, e);

    if (!dec_ok(d))
        return;
    if (flags & HAS_PEER)
        e->peer = dec_get_u64(d);
    if (flags & HAS_REPLY)
        e->reply_to = dec_get_varint(d);
    if (flags & HAS_MENTIONS)
        decode_mentions(d, arena, e);
    if (flags & HAS_HEIR)
        e->heir = dec_get_u64(d);
    if (flags & HAS_EXPIRY) {
        e->expires_at = dec_get_ts(d);
        d->failed |= e->expires_at == 0;
    }
    e->history_all = flags & HISTORY_ALL;
    if (dec_ok(d))
        decode_by_kind(d, arena, e);
}

void entry_erase(struct entry *e, enum entry_gone gone)
{
    e->gone = gone;
    e->content = (struct str){0};
    e->reply_to = 0;
    e->mentions = NULL;
    e->n_mentions = 0;
}
