/* The layout of records.
 *
 * The first byte is the version of the kind; all kinds are at version 1, but an entry that is a stub at 2, one that
 * expires or did at 3, and an erasing of such at 2. Then the fields in the order below, fixed-width ones little endian,
 * counts and lengths as varints. Optional fields are announced by a flags byte, and a flag that this version does not
 * define is damage: so is every value outside its range and every byte left over. A decoder therefore accepts nothing
 * that an encoder of this version would not have written, but for varints in a longer form.
 *
 * What it does not check is text: what came in was valid UTF-8, and the log's and the store's checksums keep it so. */
#include "proto/record_codec.h"

static void encode_receipt(const struct receipt_record *v, struct buf *out)
{
    enc_add_bytes(out, v->conv.b, sizeof v->conv.b);
    enc_add_u64(out, v->user);
    enc_add_u64(out, v->device);
    enc_add_varint(out, v->delivered);
    enc_add_varint(out, v->read);
    enc_add_varint(out, (uint64_t)v->ts);
}

static void decode_receipt(struct dec *d, struct receipt_record *v)
{
    v->conv = dec_get_conv(d);
    v->user = dec_get_u64(d);
    v->device = dec_get_u64(d);
    v->delivered = dec_get_varint(d);
    v->read = dec_get_varint(d);
    v->ts = dec_get_ts(d);
}

static void encode_block(const struct block_record *v, struct buf *out)
{
    enc_add_bytes(out, v->conv.b, sizeof v->conv.b);
    enc_add_u64(out, v->blocker);
    enc_add_u64(out, v->blocked);
    enc_add_u8(out, v->on);
    enc_add_varint(out, (uint64_t)v->ts);
}

static void decode_block(struct dec *d, struct block_record *v)
{
    v->conv = dec_get_conv(d);
    v->blocker = dec_get_u64(d);
    v->blocked = dec_get_u64(d);
    v->on = dec_get_bool(d);
    v->ts = dec_get_ts(d);
}

/* The cid's index entry, for ever: so a repeat finds its answer though there is no entry of its own. */
static void encode_unchanged(const struct entry *v, struct buf *out)
{
    enc_add_bytes(out, v->conv.b, sizeof v->conv.b);
    enc_add_u64(out, v->from);
    enc_add_bytes(out, v->cid_hash, sizeof v->cid_hash);
    enc_add_u64(out, v->fingerprint);
    enc_add_varint(out, v->seq);
}

static void decode_unchanged(struct dec *d, struct entry *v)
{
    v->conv = dec_get_conv(d);
    v->from = dec_get_u64(d);
    dec_copy_bytes(d, v->cid_hash, sizeof v->cid_hash);
    v->fingerprint = dec_get_u64(d);
    v->seq = dec_get_varint(d);
    d->failed |= v->seq == 0 || v->seq > SEQ_MAX;
}

/* In version 1 all stubs are entries of version 2; in version 2 each begins with its own. */
static uint8_t erase_version(const struct erase_record *v)
{
    for (size_t i = 0; i < v->n; i++)
        if (v->stubs[i].expires_at)
            return ERASE_VERSION;
    return 1;
}

static void encode_erase(const struct erase_record *v, struct buf *out)
{
    bool has_versions = erase_version(v) > 1;
    struct buf stub = {0};

    enc_add_bytes(out, v->conv.b, sizeof v->conv.b);
    enc_add_varint(out, (uint64_t)v->ts);
    enc_add_varint(out, v->n);
    for (size_t i = 0; i < v->n; i++) {
        buf_clear(&stub);
        if (has_versions)
            enc_add_u8(&stub, entry_version(&v->stubs[i]));
        entry_encode(&v->stubs[i], &stub);
        enc_add_field(out, buf_get(&stub));
    }
    buf_deinit(&stub);
}

static void decode_stub(struct dec *d, unsigned erase_version, const struct conv_id *conv, struct arena *arena,
                        struct entry *out)
{
    struct dec one = dec_of(dec_get_field(d));
    unsigned version = erase_version == 1 ? 2 : dec_get_u8(&one);

    d->failed |= version < 2 || version > ENTRY_VERSION;
    if (!dec_ok(d))
        return;
    entry_decode(&one, version, arena, out);
    d->failed |= !dec_done(&one) || !conv_eq(&out->conv, conv) || out->seq == 0 || !out->gone;
}

static void decode_erase(struct dec *d, unsigned version, struct arena *arena, struct erase_record *v)
{
    struct entry *stubs;
    size_t n;

    v->conv = dec_get_conv(d);
    v->ts = dec_get_ts(d);
    n = dec_get_count(d, 1);
    d->failed |= n == 0 || n > ERASE_MAX;
    if (!dec_ok(d))
        return;
    stubs = arena_alloc(arena, n * sizeof *stubs);
    memset(stubs, 0, n * sizeof *stubs);
    for (size_t i = 0; i < n && dec_ok(d); i++)
        decode_stub(d, version, &v->conv, arena, &stubs[i]);
    v->stubs = stubs;
    v->n = n;
}

static void encode_retention(const struct retention_record *v, struct buf *out)
{
    enc_add_bytes(out, v->conv.b, sizeof v->conv.b);
    enc_add_varint(out, (uint64_t)v->ts);
    enc_add_varint(out, v->retention_ms);
}

static void decode_retention(struct dec *d, struct retention_record *v)
{
    v->conv = dec_get_conv(d);
    v->ts = dec_get_ts(d);
    v->retention_ms = dec_get_varint(d);
    d->failed |= v->retention_ms > INT64_MAX && v->retention_ms != RETENTION_FOREVER;
}

enum { FORGOTTEN_LEAST = 16 + 8 + 1 };

static void encode_forget(const struct forget_record *v, struct buf *out)
{
    enc_add_bytes(out, v->conv.b, sizeof v->conv.b);
    enc_add_varint(out, (uint64_t)v->ts);
    enc_add_varint(out, v->from);
    enc_add_varint(out, v->first_seq);
    enc_add_varint(out, v->ordinal);
    enc_add_varint(out, v->n);
    for (size_t i = 0; i < v->n; i++) {
        enc_add_bytes(out, v->v[i].cid_hash, sizeof v->v[i].cid_hash);
        enc_add_u64(out, v->v[i].fingerprint);
        enc_add_varint(out, (uint64_t)v->v[i].ts);
    }
}

static void decode_forget(struct dec *d, struct arena *arena, struct forget_record *v)
{
    struct forgotten *list;
    size_t n;

    v->conv = dec_get_conv(d);
    v->ts = dec_get_ts(d);
    v->from = dec_get_varint(d);
    v->first_seq = dec_get_varint(d);
    v->ordinal = dec_get_varint(d);
    n = dec_get_count(d, FORGOTTEN_LEAST);
    d->failed |= v->from == 0 || v->first_seq > SEQ_MAX || n > FORGET_MAX || v->first_seq < v->from ||
                 v->first_seq - v->from < n || v->ordinal >= v->first_seq;
    if (!dec_ok(d))
        return;
    list = arena_alloc(arena, n * sizeof *list + 1);
    for (size_t i = 0; i < n && dec_ok(d); i++) {
        dec_copy_bytes(d, list[i].cid_hash, sizeof list[i].cid_hash);
        list[i].fingerprint = dec_get_u64(d);
        list[i].ts = dec_get_ts(d);
    }
    v->v = list;
    v->n = n;
}

static void encode_account(const struct account_record *v, struct buf *out)
{
    enc_add_u64(out, v->user);
    enc_add_varint(out, (uint64_t)v->ts);
    enc_add_field(out, v->username);
    enc_add_field(out, v->name);
    enc_add_field(out, v->phone);
    enc_add_field(out, v->password);
}

static void decode_account(struct dec *d, struct account_record *v)
{
    v->user = dec_get_u64(d);
    v->ts = dec_get_ts(d);
    v->username = dec_get_field(d);
    v->name = dec_get_field(d);
    v->phone = dec_get_field(d);
    v->password = dec_get_field(d);
}

static void encode_device(const struct device_record *v, struct buf *out)
{
    enc_add_u64(out, v->user);
    enc_add_u64(out, v->device);
    enc_add_bytes(out, v->token_hash, sizeof v->token_hash);
    enc_add_varint(out, (uint64_t)v->ts);
}

static void decode_device(struct dec *d, struct device_record *v)
{
    v->user = dec_get_u64(d);
    v->device = dec_get_u64(d);
    dec_copy_bytes(d, v->token_hash, sizeof v->token_hash);
    v->ts = dec_get_ts(d);
}

static void encode_device_gone(const struct device_gone_record *v, struct buf *out)
{
    enc_add_u64(out, v->user);
    enc_add_u64(out, v->device);
    enc_add_varint(out, (uint64_t)v->ts);
}

static void decode_device_gone(struct dec *d, struct device_gone_record *v)
{
    v->user = dec_get_u64(d);
    v->device = dec_get_u64(d);
    v->ts = dec_get_ts(d);
}

enum { PROFILE_NAME = 1, PROFILE_STATUS = 2, PROFILE_PICTURE = 4, PROFILE_LAST_SEEN = 8, PROFILE_READ_RECEIPTS = 16 };

static void encode_profile(const struct profile_record *v, struct buf *out)
{
    enc_add_u64(out, v->user);
    enc_add_varint(out, (uint64_t)v->ts);
    enc_add_u8(out, (uint8_t)((v->has_name ? PROFILE_NAME : 0) | (v->has_status ? PROFILE_STATUS : 0) |
                              (v->has_picture ? PROFILE_PICTURE : 0) | (v->has_last_seen ? PROFILE_LAST_SEEN : 0) |
                              (v->has_read_receipts ? PROFILE_READ_RECEIPTS : 0)));
    enc_add_optional(out, v->has_name, v->name);
    enc_add_optional(out, v->has_status, v->status);
    enc_add_optional(out, v->has_picture, v->picture);
    enc_add_optional(out, v->has_last_seen, v->last_seen);
    if (v->has_read_receipts)
        enc_add_u8(out, v->read_receipts);
}

static void decode_profile(struct dec *d, struct profile_record *v)
{
    unsigned flags;

    v->user = dec_get_u64(d);
    v->ts = dec_get_ts(d);
    flags = dec_get_below(d, 2 * PROFILE_READ_RECEIPTS);
    v->has_name = dec_get_optional(d, flags & PROFILE_NAME, &v->name);
    v->has_status = dec_get_optional(d, flags & PROFILE_STATUS, &v->status);
    v->has_picture = dec_get_optional(d, flags & PROFILE_PICTURE, &v->picture);
    v->has_last_seen = dec_get_optional(d, flags & PROFILE_LAST_SEEN, &v->last_seen);
    v->has_read_receipts = flags & PROFILE_READ_RECEIPTS;
    if (v->has_read_receipts)
        v->read_receipts = dec_get_bool(d);
}

static void encode_contact(const struct contact_record *v, struct buf *out)
{
    enc_add_u64(out, v->user);
    enc_add_u64(out, v->other);
    enc_add_u8(out, v->on);
    enc_add_varint(out, (uint64_t)v->ts);
}

static void decode_contact(struct dec *d, struct contact_record *v)
{
    v->user = dec_get_u64(d);
    v->other = dec_get_u64(d);
    v->on = dec_get_bool(d);
    v->ts = dec_get_ts(d);
}

enum { USUAL = 256 }; /* bytes of most, so that memory is asked for once */

static uint8_t version_of(const struct record *r)
{
    return r->kind == RECORD_ENTRY   ? entry_version(&r->entry)
           : r->kind == RECORD_ERASE ? erase_version(&r->erase)
                                     : RECORD_VERSION;
}

static unsigned version_max(unsigned kind)
{
    return kind == RECORD_ENTRY ? ENTRY_VERSION : kind == RECORD_ERASE ? ERASE_VERSION : RECORD_VERSION;
}

void record_encode(const struct record *r, struct buf *out)
{
    buf_reserve(out, USUAL);
    enc_add_u8(out, version_of(r));
    switch (r->kind) {
    case RECORD_ENTRY:
        entry_encode(&r->entry, out);
        break;
    case RECORD_RECEIPT:
        encode_receipt(&r->receipt, out);
        break;
    case RECORD_BLOCK:
        encode_block(&r->block, out);
        break;
    case RECORD_UNCHANGED:
        encode_unchanged(&r->entry, out);
        break;
    case RECORD_ERASE:
        encode_erase(&r->erase, out);
        break;
    case RECORD_RETENTION:
        encode_retention(&r->retention, out);
        break;
    case RECORD_FORGET:
        encode_forget(&r->forget, out);
        break;
    case RECORD_ACCOUNT:
        encode_account(&r->account, out);
        break;
    case RECORD_DEVICE:
        encode_device(&r->device, out);
        break;
    case RECORD_DEVICE_GONE:
        encode_device_gone(&r->device_gone, out);
        break;
    case RECORD_PROFILE:
        encode_profile(&r->profile, out);
        break;
    case RECORD_CONTACT:
    case RECORD_BLOCKED:
        encode_contact(&r->contact, out);
        break;
    case RECORD_KIND_MAX:
        break;
    }
}

/* False for a kind that this program does not know. */
static bool decode_body(struct dec *d, unsigned version, struct arena *arena, struct record *out)
{
    switch (out->kind) {
    case RECORD_ENTRY:
        entry_decode(d, version, arena, &out->entry);
        return true;
    case RECORD_RECEIPT:
        decode_receipt(d, &out->receipt);
        return true;
    case RECORD_BLOCK:
        decode_block(d, &out->block);
        return true;
    case RECORD_UNCHANGED:
        decode_unchanged(d, &out->entry);
        return true;
    case RECORD_ERASE:
        decode_erase(d, version, arena, &out->erase);
        return true;
    case RECORD_RETENTION:
        decode_retention(d, &out->retention);
        return true;
    case RECORD_FORGET:
        decode_forget(d, arena, &out->forget);
        return true;
    case RECORD_ACCOUNT:
        decode_account(d, &out->account);
        return true;
    case RECORD_DEVICE:
        decode_device(d, &out->device);
        return true;
    case RECORD_DEVICE_GONE:
        decode_device_gone(d, &out->device_gone);
        return true;
    case RECORD_PROFILE:
        decode_profile(d, &out->profile);
        return true;
    case RECORD_CONTACT:
    case RECORD_BLOCKED:
        decode_contact(d, &out->contact);
        return true;
    case RECORD_KIND_MAX:
        break;
    }
    return false;
}

enum err record_decode(unsigned kind, struct str bytes, struct arena *arena, struct record *out)
{
    struct dec d = dec_of(bytes);
    struct record r = {.kind = (enum record_kind)kind};
    unsigned version;

    if (kind == 0 || kind > RECORD_KIND_MAX)
        return ERR_CORRUPT;
    version = dec_get_u8(&d);
    if (!dec_ok(&d) || version == 0)
        return ERR_CORRUPT;
    if (version > version_max(kind) || !decode_body(&d, version, arena, &r))
        return ERR_UNSUPPORTED;
    if (!dec_done(&d))
        return ERR_CORRUPT;
    *out = r;
    return ERR_OK;
}

enum err entry_from_bytes(struct str bytes, struct arena *arena, struct entry *out)
{
    struct dec d = dec_of(bytes);
    unsigned version = dec_get_u8(&d);

    if (!dec_ok(&d) || version == 0)
        return ERR_CORRUPT;
    if (version > ENTRY_VERSION)
        return ERR_UNSUPPORTED;
    *out = (struct entry){0};
    entry_decode(&d, version, arena, out);
    return dec_done(&d) ? ERR_OK : ERR_CORRUPT;
}

struct str record_subject(unsigned kind, struct str bytes)
{
    size_t at = kind == RECORD_ENTRY ? 4 : 1, len = kind < RECORD_ACCOUNT ? sizeof(struct conv_id) : sizeof(user_id);

    return at + len <= bytes.len ? str_of(bytes.p + at, len) : STR("");
}

bool record_is_for_tables(const struct record *r)
{
    if (r->kind != RECORD_ENTRY)
        return r->kind >= RECORD_ACCOUNT || r->kind == RECORD_ERASE; /* the tables' dead letters have content */
    return r->entry.kind != ENTRY_MESSAGE || (r->entry.conv_kind == CONV_PAIR && r->entry.seq == 1);
}

size_t record_table_rows(const struct record *r)
{
    if (!record_is_for_tables(r))
        return 0;
    return r->kind == RECORD_ENTRY ? 1 + r->entry.n_members : 1;
}
