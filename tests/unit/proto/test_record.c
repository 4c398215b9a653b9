#include "proto/record.h"
#include "tests/lib/unit.h"

/* splitmix64: the tests' own randomness, from a fixed seed. */
static uint64_t seed;
static uint64_t rnd(void)
{
    uint64_t z = seed += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}
static bool coin(void) { return rnd() & 1; }
static uint64_t rnd_num(void) { return rnd() >> rnd() % 64; } /* of any length */
static int64_t rnd_ts(void) { return (int64_t)(rnd_num() & INT64_MAX); }

static struct str rnd_text(struct arena *a)
{
    size_t n = rnd() % 4 ? rnd() % 30 : rnd() % 300;
    char *p = arena_alloc(a, n);

    for (size_t i = 0; i < n; i++)
        p[i] = (char)rnd();
    return (struct str){p, n};
}

static void rnd_bytes(uint8_t *p, size_t n)
{
    while (n--)
        *p++ = (uint8_t)rnd();
}

static void rnd_settings(struct group_settings *s, struct arena *a)
{
    if ((s->has_title = coin()))
        s->title = rnd_text(a);
    if ((s->has_description = coin()))
        s->description = rnd_text(a);
    if ((s->has_picture = coin()))
        s->picture = rnd_text(a);
    s->announce = (s->has_announce = coin()) && coin();
    s->locked = (s->has_locked = coin()) && coin();
    s->history_all = (s->has_history = coin()) && coin();
}

static void rnd_members(struct entry *e, struct arena *a)
{
    struct member_role *v;

    e->n_members = rnd() % 8;
    v = arena_alloc(a, e->n_members * sizeof *v);
    for (size_t i = 0; i < e->n_members; i++)
        v[i] = (struct member_role){rnd(), (enum role)(rnd() % 3)};
    e->members = v;
}

static void rnd_message(struct entry *e, struct arena *a)
{
    user_id *v;

    e->content = rnd_text(a);
    e->reply_to = coin() ? rnd_num() : 0;
    e->n_mentions = rnd() % 4;
    v = arena_alloc(a, e->n_mentions * sizeof *v);
    for (size_t i = 0; i < e->n_mentions; i++)
        v[i] = rnd();
    e->mentions = v;
    e->expires_at = coin() ? 1 + (rnd_ts() >> 1) : 0;
}

static void rnd_entry(struct entry *e, struct arena *a)
{
    rnd_bytes(e->conv.b, sizeof e->conv.b);
    e->seq = rnd_num();
    e->kind = (enum entry_kind)(1 + rnd() % 4);
    e->conv_kind = coin() ? CONV_PAIR : CONV_GROUP;
    e->from = rnd();
    e->device = rnd();
    e->ts = rnd_ts();
    e->ordinal = rnd_num();
    e->cid = rnd_text(a);
    rnd_bytes(e->cid_hash, sizeof e->cid_hash);
    e->fingerprint = rnd();
    e->peer = coin() ? rnd() : 0;
    e->heir = coin() ? rnd() : 0;
    e->history_all = coin();
    if (e->kind == ENTRY_MESSAGE)
        rnd_message(e, a);
    if (e->kind == ENTRY_CREATED || e->kind == ENTRY_MEMBERS)
        rnd_members(e, a);
    if (e->kind == ENTRY_MEMBERS)
        e->change = (enum members_change)(1 + rnd() % 3);
    if (e->kind == ENTRY_CREATED || e->kind == ENTRY_SETTINGS)
        rnd_settings(&e->settings, a);
}

static void rnd_profile(struct profile_record *p, struct arena *a)
{
    p->user = rnd();
    p->ts = rnd_ts();
    if ((p->has_name = coin()))
        p->name = rnd_text(a);
    if ((p->has_status = coin()))
        p->status = rnd_text(a);
    if ((p->has_picture = coin()))
        p->picture = rnd_text(a);
    if ((p->has_last_seen = coin()))
        p->last_seen = rnd_text(a);
    p->read_receipts = (p->has_read_receipts = coin()) && coin();
}

static const enum record_kind kinds[] = {
    RECORD_ENTRY,       RECORD_RECEIPT, RECORD_BLOCK,   RECORD_ACCOUNT, RECORD_DEVICE,
    RECORD_DEVICE_GONE, RECORD_PROFILE, RECORD_CONTACT, RECORD_BLOCKED, RECORD_UNCHANGED,
};

static void rnd_record(struct record *r, struct arena *a)
{
    *r = (struct record){.kind = kinds[rnd() % (sizeof kinds / sizeof kinds[0])]};
    switch (r->kind) {
    case RECORD_ENTRY:
        rnd_entry(&r->entry, a);
        break;
    case RECORD_RECEIPT:
        r->receipt = (struct receipt_record){{{1}}, rnd(), rnd(), rnd_num(), rnd_num(), rnd_ts()};
        rnd_bytes(r->receipt.conv.b, 16);
        break;
    case RECORD_BLOCK:
        r->block = (struct block_record){{{1}}, rnd(), rnd(), coin(), rnd_ts()};
        rnd_bytes(r->block.conv.b, 16);
        break;
    case RECORD_UNCHANGED:
        r->entry = (struct entry){.from = rnd(), .fingerprint = rnd(), .seq = 1 + rnd() % SEQ_MAX};
        rnd_bytes(r->entry.conv.b, 16);
        rnd_bytes(r->entry.cid_hash, 16);
        break;
    case RECORD_ACCOUNT:
        r->account = (struct account_record){rnd(), rnd_ts(), rnd_text(a), rnd_text(a), rnd_text(a), rnd_text(a)};
        break;
    case RECORD_DEVICE:
        r->device = (struct device_record){.user = rnd(), .device = rnd(), .ts = rnd_ts()};
        rnd_bytes(r->device.token_hash, 32);
        break;
    case RECORD_DEVICE_GONE:
        r->device_gone = (struct device_gone_record){rnd(), rnd(), rnd_ts()};
        break;
    case RECORD_PROFILE:
        rnd_profile(&r->profile, a);
        break;
    default:
        r->contact = (struct contact_record){rnd(), rnd(), coin(), rnd_ts()};
        break;
    }
}

/* The encoding is one of all fields, so two records are equal when their encodings are; the fields that are plain
 * values are compared besides, so that a field that both sides forget is noticed. */
static void assert_same_entry(const struct entry *a, const struct entry *b)
{
    assert_true(conv_eq(&a->conv, &b->conv));
    assert_true(a->seq == b->seq && a->kind == b->kind && a->conv_kind == b->conv_kind && a->from == b->from);
    assert_true(a->device == b->device && a->ts == b->ts && a->ordinal == b->ordinal && a->peer == b->peer);
    assert_true(str_eq(a->cid, b->cid) && memcmp(a->cid_hash, b->cid_hash, 16) == 0 &&
                a->fingerprint == b->fingerprint);
    assert_true(str_eq(a->content, b->content) && a->reply_to == b->reply_to && a->n_mentions == b->n_mentions);
    assert_true(a->expires_at == b->expires_at && a->gone == b->gone);
    for (size_t i = 0; i < a->n_mentions; i++)
        assert_true(a->mentions[i] == b->mentions[i]);
    assert_true(a->change == b->change && a->n_members == b->n_members && a->heir == b->heir);
    for (size_t i = 0; i < a->n_members; i++)
        assert_true(a->members[i].user == b->members[i].user && a->members[i].role == b->members[i].role);
    assert_true(a->history_all == b->history_all);
    const struct group_settings *s = &a->settings, *t = &b->settings;
    assert_true(s->has_title == t->has_title && s->has_description == t->has_description);
    assert_true(s->has_picture == t->has_picture && s->has_announce == t->has_announce);
    assert_true(s->has_locked == t->has_locked && s->has_history == t->has_history);
    assert_true(str_eq(s->title, t->title) && str_eq(s->description, t->description) && str_eq(s->picture, t->picture));
    assert_true(s->announce == t->announce && s->locked == t->locked && s->history_all == t->history_all);
}

static void assert_same_profile(const struct profile_record *a, const struct profile_record *b)
{
    assert_true(a->user == b->user && a->ts == b->ts && a->read_receipts == b->read_receipts);
    assert_true(a->has_name == b->has_name && a->has_status == b->has_status && a->has_picture == b->has_picture);
    assert_true(a->has_last_seen == b->has_last_seen && a->has_read_receipts == b->has_read_receipts);
    assert_true(str_eq(a->name, b->name) && str_eq(a->status, b->status));
    assert_true(str_eq(a->picture, b->picture) && str_eq(a->last_seen, b->last_seen));
}

static void assert_same(const struct record *a, const struct record *b)
{
    switch (a->kind) {
    case RECORD_ENTRY:
    case RECORD_UNCHANGED:
        assert_same_entry(&a->entry, &b->entry);
        break;
    case RECORD_PROFILE:
        assert_same_profile(&a->profile, &b->profile);
        break;
    case RECORD_ACCOUNT:
        assert_true(a->account.user == b->account.user && a->account.ts == b->account.ts);
        assert_true(str_eq(a->account.username, b->account.username) && str_eq(a->account.name, b->account.name));
        assert_true(str_eq(a->account.phone, b->account.phone) && str_eq(a->account.password, b->account.password));
        break;
    case RECORD_RECEIPT:
        assert_memory_equal(&a->receipt, &b->receipt, sizeof a->receipt);
        break;
    case RECORD_BLOCK:
        assert_true(conv_eq(&a->block.conv, &b->block.conv) && a->block.blocker == b->block.blocker);
        assert_true(a->block.blocked == b->block.blocked && a->block.on == b->block.on && a->block.ts == b->block.ts);
        break;
    case RECORD_DEVICE:
        assert_memory_equal(&a->device, &b->device, sizeof a->device);
        break;
    case RECORD_DEVICE_GONE:
        assert_memory_equal(&a->device_gone, &b->device_gone, sizeof a->device_gone);
        break;
    default:
        assert_true(a->contact.user == b->contact.user && a->contact.other == b->contact.other);
        assert_true(a->contact.on == b->contact.on && a->contact.ts == b->contact.ts);
        break;
    }
}

PROMISE(what_is_written_is_read_back)
{
    seed = 1;
    for (int i = 0; i < 20000; i++) {
        struct arena arena = {0};
        struct buf bytes = {0}, again = {0};
        struct record r, back;

        rnd_record(&r, &arena);
        record_encode(&r, &bytes);
        assert_int_equal(record_decode(r.kind, buf_get(&bytes), &arena, &back), ERR_OK);
        assert_int_equal(back.kind, r.kind);
        assert_same(&r, &back);
        record_encode(&back, &again);
        assert_true(str_eq(buf_get(&bytes), buf_get(&again)));
        buf_deinit(&bytes);
        buf_deinit(&again);
        arena_deinit(&arena);
    }
}

/* From an allocation of its own of exactly that size, so that the address sanitizer sees a read past it. */
static enum err decode_copy(unsigned kind, struct str bytes)
{
    struct arena arena = {0};
    struct record out;
    char *copy = mem_alloc(bytes.len);
    enum err err;

    if (bytes.len)
        memcpy(copy, bytes.p, bytes.len);
    err = record_decode(kind, str_of(copy, bytes.len), &arena, &out);
    mem_free(copy);
    arena_deinit(&arena);
    return err;
}

PROMISE(a_cut_record_is_damage)
{
    seed = 2;
    for (int i = 0; i < 500; i++) {
        struct arena arena = {0};
        struct buf bytes = {0};
        struct record r;

        rnd_record(&r, &arena);
        record_encode(&r, &bytes);
        for (size_t n = 0; n < bytes.len; n++)
            assert_int_equal(decode_copy(r.kind, str_of(bytes.p, n)), ERR_CORRUPT);
        buf_char(&bytes, 0);
        assert_int_equal(decode_copy(r.kind, buf_get(&bytes)), ERR_CORRUPT);
        buf_deinit(&bytes);
        arena_deinit(&arena);
    }
}

PROMISE(a_flipped_bit_never_reads_past_the_end)
{
    seed = 3;
    for (int i = 0; i < 300; i++) {
        struct arena arena = {0};
        struct buf bytes = {0};
        struct record r;

        rnd_record(&r, &arena);
        record_encode(&r, &bytes);
        for (size_t bit = 0; bit < bytes.len * 8; bit++) {
            bytes.p[bit / 8] = (char)(bytes.p[bit / 8] ^ 1 << bit % 8);
            enum err err = decode_copy(r.kind, buf_get(&bytes));
            assert_true(err == ERR_OK || err == ERR_CORRUPT || (err == ERR_UNSUPPORTED && bit < 8));
            bytes.p[bit / 8] = (char)(bytes.p[bit / 8] ^ 1 << bit % 8);
        }
        buf_deinit(&bytes);
        arena_deinit(&arena);
    }
}

PROMISE(later_versions_and_kinds_are_told_from_damage)
{
    struct record r = {.kind = RECORD_CONTACT, .contact = {1, 2, true, 3}};
    struct buf bytes = {0};

    record_encode(&r, &bytes);
    assert_int_equal(decode_copy(0, buf_get(&bytes)), ERR_CORRUPT);
    assert_int_equal(decode_copy(128, buf_get(&bytes)), ERR_CORRUPT);
    assert_int_equal(decode_copy(63, buf_get(&bytes)), ERR_UNSUPPORTED);
    assert_int_equal(decode_copy(RECORD_KIND_MAX, buf_get(&bytes)), ERR_UNSUPPORTED);
    bytes.p[0] = 2;
    assert_int_equal(decode_copy(RECORD_CONTACT, buf_get(&bytes)), ERR_UNSUPPORTED);
    bytes.p[0] = 0;
    assert_int_equal(decode_copy(RECORD_CONTACT, buf_get(&bytes)), ERR_CORRUPT);
    buf_deinit(&bytes);
}

/* The bytes of version 1 are on people's disks: they may never change. */
PROMISE(version_1_is_laid_out_for_ever)
{
    struct record r = {.kind = RECORD_ENTRY};
    struct buf bytes = {0};
    static const char expected[] = "\x01\x01\x01\x03"
                                   "CCCCCCCCCCCCCCCC"
                                   "\x05"
                                   "\x02\0\0\0\0\0\0\0"
                                   "\x03\0\0\0\0\0\0\0"
                                   "\x80\x01"
                                   "\x04"
                                   "\x03"
                                   "cid"
                                   "HHHHHHHHHHHHHHHH"
                                   "\x07\0\0\0\0\0\0\0"
                                   "\x09\0\0\0\0\0\0\0"
                                   "\x02"
                                   "\x02"
                                   "{}";

    memset(r.entry.conv.b, 'C', 16);
    memset(r.entry.cid_hash, 'H', 16);
    r.entry.kind = ENTRY_MESSAGE;
    r.entry.conv_kind = CONV_PAIR;
    r.entry.seq = 5;
    r.entry.from = 2;
    r.entry.device = 3;
    r.entry.ts = 128;
    r.entry.ordinal = 4;
    r.entry.cid = STR("cid");
    r.entry.fingerprint = 7;
    r.entry.peer = 9;
    r.entry.reply_to = 2;
    r.entry.content = STR("{}");
    record_encode(&r, &bytes);
    assert_int_equal(bytes.len, sizeof expected - 1);
    assert_memory_equal(bytes.p, expected, bytes.len);
    buf_deinit(&bytes);
}

static struct entry expiring_message(void)
{
    struct entry e = {.kind = ENTRY_MESSAGE, .conv_kind = CONV_PAIR, .seq = 3, .from = 7, .device = 8, .ts = 9};

    e.cid = STR("cid");
    e.peer = 12;
    e.content = STR("{\"type\":\"secret\"}");
    e.expires_at = 300;
    return e;
}

PROMISE(version_3_of_an_entry_is_laid_out_for_ever)
{
    struct record r = {.kind = RECORD_ENTRY, .entry = expiring_message()};
    static const char head[] = "\x03\x01\x01\x81", tail[] = "\x0c\0\0\0\0\0\0\0\xac\x02\x11{\"type\":\"secret\"}";
    struct buf bytes = {0};

    record_encode(&r, &bytes);
    assert_memory_equal(bytes.p, head, 4);
    assert_memory_equal(bytes.p + bytes.len - (sizeof tail - 1), tail, sizeof tail - 1);
    entry_erase(&r.entry, ENTRY_EXPIRED);
    buf_clear(&bytes);
    record_encode(&r, &bytes);
    assert_memory_equal(bytes.p, "\x03\x01\x01\xc1", 4);
    assert_memory_equal(bytes.p + bytes.len - 10, tail, 10);
    buf_deinit(&bytes);
}

PROMISE(what_expires_is_said_in_one_version_and_never_expires_at_the_beginning_of_time)
{
    struct record r = {.kind = RECORD_ENTRY, .entry = expiring_message()};
    struct buf bytes = {0};
    char *moment;

    record_encode(&r, &bytes);
    assert_int_equal(decode_copy(RECORD_ENTRY, buf_get(&bytes)), ERR_OK);
    for (char version = 1; version <= 2; version++) {
        bytes.p[0] = version;
        assert_int_equal(decode_copy(RECORD_ENTRY, buf_get(&bytes)), ERR_CORRUPT);
    }
    bytes.p[0] = 4;
    assert_int_equal(decode_copy(RECORD_ENTRY, buf_get(&bytes)), ERR_UNSUPPORTED);
    bytes.p[0] = 3;
    bytes.p[3] = (char)(bytes.p[3] | 96); /* deleted and expired */
    assert_int_equal(decode_copy(RECORD_ENTRY, buf_get(&bytes)), ERR_CORRUPT);
    bytes.p[3] = (char)0x81;
    moment = memmem(bytes.p, bytes.len, "\xac\x02", 2);
    moment[0] = (char)0x80;
    moment[1] = 0;
    assert_int_equal(decode_copy(RECORD_ENTRY, buf_get(&bytes)), ERR_CORRUPT);
    r.entry.expires_at = 0; /* as it was written before */
    buf_clear(&bytes);
    record_encode(&r, &bytes);
    assert_int_equal(bytes.p[0], 1);
    bytes.p[0] = 3;
    assert_int_equal(decode_copy(RECORD_ENTRY, buf_get(&bytes)), ERR_CORRUPT);
    buf_deinit(&bytes);
}

PROMISE(an_erasing_has_stubs_that_expired_beside_such_that_never_would)
{
    struct entry stubs[2] = {expiring_message(), expiring_message()};
    struct record r = {.kind = RECORD_ERASE, .erase = {.ts = 99, .stubs = stubs, .n = 2}}, back;
    struct arena arena = {0};
    struct buf bytes = {0};

    entry_erase(&stubs[0], ENTRY_EXPIRED);
    entry_erase(&stubs[1], ENTRY_DELETED);
    stubs[1].seq = 4;
    stubs[1].expires_at = 0;
    record_encode(&r, &bytes);
    assert_int_equal(bytes.p[0], 2);
    assert_null(memmem(bytes.p, bytes.len, "secret", 6));
    assert_ok(record_decode(RECORD_ERASE, buf_get(&bytes), &arena, &back));
    assert_true(back.erase.n == 2 && back.erase.ts == 99);
    assert_true(back.erase.stubs[0].expires_at == 300 && back.erase.stubs[0].gone == ENTRY_EXPIRED);
    assert_true(back.erase.stubs[1].expires_at == 0 && back.erase.stubs[1].gone == ENTRY_DELETED);
    for (size_t n = 0; n < bytes.len; n++)
        assert_int_not_equal(record_decode(RECORD_ERASE, str_of(bytes.p, n), &arena, &back), ERR_OK);
    stubs[0].gone = ENTRY_KEPT; /* no stub */
    buf_clear(&bytes);
    record_encode(&r, &bytes);
    assert_int_equal(record_decode(RECORD_ERASE, buf_get(&bytes), &arena, &back), ERR_CORRUPT);
    stubs[0].expires_at = 0; /* none of them expires: the version that was always there */
    entry_erase(&stubs[0], ENTRY_DELETED);
    buf_clear(&bytes);
    record_encode(&r, &bytes);
    assert_int_equal(bytes.p[0], 1);
    assert_ok(record_decode(RECORD_ERASE, buf_get(&bytes), &arena, &back));
    arena_deinit(&arena);
    buf_deinit(&bytes);
}

PROMISE(a_stub_keeps_what_it_is_and_nothing_of_what_it_said)
{
    static const user_id mentions[] = {1, 2};
    struct entry stubs[2] = {
        {.kind = ENTRY_MESSAGE, .conv_kind = CONV_PAIR, .seq = 3, .from = 7, .device = 8, .ts = 9}};
    struct record r = {.kind = RECORD_ERASE, .erase = {.ts = 99, .stubs = stubs, .n = 2}}, back;
    struct arena arena = {0};
    struct buf bytes = {0};

    stubs[0].cid = STR("cid");
    stubs[0].peer = 12;
    stubs[0].reply_to = 1;
    stubs[0].content = STR("{\"type\":\"secret\"}");
    stubs[0].mentions = mentions;
    stubs[0].n_mentions = 2;
    stubs[1] = stubs[0];
    stubs[1].seq = 4;
    entry_erase(&stubs[0], ENTRY_DELETED);
    entry_erase(&stubs[1], ENTRY_EXPIRED);
    record_encode(&r, &bytes);
    assert_null(memmem(bytes.p, bytes.len, "secret", 6));
    assert_ok(record_decode(RECORD_ERASE, buf_get(&bytes), &arena, &back));
    assert_true(back.erase.n == 2 && back.erase.ts == 99);
    assert_true(back.erase.stubs[0].gone == ENTRY_DELETED && back.erase.stubs[1].gone == ENTRY_EXPIRED);
    assert_true(back.erase.stubs[1].seq == 4 && back.erase.stubs[1].from == 7 && back.erase.stubs[1].device == 8 &&
                back.erase.stubs[1].ts == 9 && back.erase.stubs[1].peer == 12);
    assert_true(str_eq(back.erase.stubs[0].cid, STR("cid")));
    for (size_t n = 0; n < bytes.len; n++)
        assert_int_not_equal(record_decode(RECORD_ERASE, str_of(bytes.p, n), &arena, &back), ERR_OK);
    stubs[1].conv.b[0] = 1; /* of another conversation */
    buf_clear(&bytes);
    record_encode(&r, &bytes);
    assert_int_equal(record_decode(RECORD_ERASE, buf_get(&bytes), &arena, &back), ERR_CORRUPT);
    stubs[1].conv.b[0] = 0;
    stubs[1].gone = ENTRY_KEPT; /* no stub */
    buf_clear(&bytes);
    record_encode(&r, &bytes);
    assert_int_equal(record_decode(RECORD_ERASE, buf_get(&bytes), &arena, &back), ERR_CORRUPT);
    arena_deinit(&arena);
    buf_deinit(&bytes);
}

static struct record forgetting(const struct forgotten *v, size_t n)
{
    struct record r = {.kind = RECORD_FORGET};

    r.forget = (struct forget_record){.ts = 99, .from = 5, .first_seq = 5 + n, .ordinal = 3, .v = v, .n = n};
    r.forget.conv.b[3] = 7;
    return r;
}

PROMISE(what_is_forgotten_comes_back_as_it_was_and_nothing_else_is_taken)
{
    static const struct forgotten v[2] = {{{1, 2}, 77, 1764000000000}, {{3}, 78, 1764000000001}};
    struct record r = forgetting(v, 2), back;
    struct arena arena = {0};
    struct buf bytes = {0};

    record_encode(&r, &bytes);
    assert_true(bytes.len < 100);
    assert_ok(record_decode(RECORD_FORGET, buf_get(&bytes), &arena, &back));
    assert_true(back.forget.ts == 99 && back.forget.from == 5 && back.forget.first_seq == 7 &&
                back.forget.ordinal == 3 && back.forget.n == 2 && conv_eq(&back.forget.conv, &r.forget.conv));
    assert_memory_equal(back.forget.v, v, sizeof v);
    assert_memory_equal(record_subject(RECORD_FORGET, buf_get(&bytes)).p, r.forget.conv.b, sizeof r.forget.conv.b);
    for (size_t n = 0; n < bytes.len; n++)
        assert_int_not_equal(record_decode(RECORD_FORGET, str_of(bytes.p, n), &arena, &back), ERR_OK);
    const struct record wrong[] = {
        {.kind = RECORD_FORGET, .forget = {.from = 0, .first_seq = 3, .v = v, .n = 2}},
        {.kind = RECORD_FORGET, .forget = {.from = 5, .first_seq = 6, .v = v, .n = 2}},
        {.kind = RECORD_FORGET, .forget = {.from = 5, .first_seq = 7, .ordinal = 7, .v = v, .n = 2}},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        buf_clear(&bytes);
        record_encode(&wrong[i], &bytes);
        assert_int_equal(record_decode(RECORD_FORGET, buf_get(&bytes), &arena, &back), ERR_CORRUPT);
    }
    arena_deinit(&arena);
    buf_deinit(&bytes);
}

PROMISE(a_page_of_what_is_forgotten_has_a_bound)
{
    struct forgotten v[FORGET_MAX + 1] = {{{0}, 0, 0}};
    struct record r = forgetting(v, FORGET_MAX), back;
    struct arena arena = {0};
    struct buf bytes = {0};

    record_encode(&r, &bytes);
    assert_ok(record_decode(RECORD_FORGET, buf_get(&bytes), &arena, &back));
    assert_int_equal(back.forget.n, FORGET_MAX);
    r = forgetting(v, FORGET_MAX + 1);
    buf_clear(&bytes);
    record_encode(&r, &bytes);
    assert_int_equal(record_decode(RECORD_FORGET, buf_get(&bytes), &arena, &back), ERR_CORRUPT);
    arena_deinit(&arena);
    buf_deinit(&bytes);
}

PROMISE(a_retention_is_the_servers_an_age_or_forever)
{
    static const uint64_t ages[] = {RETENTION_SERVER, 1000, INT64_MAX, RETENTION_FOREVER};
    struct arena arena = {0};
    struct buf bytes = {0};

    for (size_t i = 0; i < sizeof ages / sizeof ages[0]; i++) {
        struct record r = {.kind = RECORD_RETENTION, .retention = {.ts = 5, .retention_ms = ages[i]}}, back;

        buf_clear(&bytes);
        record_encode(&r, &bytes);
        assert_ok(record_decode(RECORD_RETENTION, buf_get(&bytes), &arena, &back));
        assert_true(back.retention.retention_ms == ages[i] && back.retention.ts == 5);
        r.retention.retention_ms = RETENTION_FOREVER - 1;
        buf_clear(&bytes);
        record_encode(&r, &bytes);
        assert_int_equal(record_decode(RECORD_RETENTION, buf_get(&bytes), &arena, &back), ERR_CORRUPT);
    }
    buf_deinit(&bytes);
}

PROMISE(a_message_costs_at_most_110_bytes_beside_its_content)
{
    struct record r = {.kind = RECORD_ENTRY};
    struct buf bytes = {0};

    r.entry = (struct entry){.kind = ENTRY_MESSAGE,
                             .conv_kind = CONV_PAIR,
                             .seq = 100000,
                             .from = ~0ull,
                             .device = ~0ull,
                             .ts = 1764000000000,
                             .ordinal = 100000,
                             .cid = STR("0123456789abcdef012345"),
                             .peer = ~0ull};
    record_encode(&r, &bytes);
    assert_true(bytes.len <= 110);
    buf_deinit(&bytes);
}

PROMISE(tables_are_fed_by_what_changes_them)
{
    struct record r = {.kind = RECORD_ENTRY, .entry = {.kind = ENTRY_MESSAGE, .conv_kind = CONV_PAIR, .seq = 1}};

    assert_true(record_is_for_tables(&r));
    r.entry.seq = 2;
    assert_false(record_is_for_tables(&r));
    r.entry.conv_kind = CONV_GROUP;
    r.entry.seq = 1;
    assert_false(record_is_for_tables(&r));
    r.entry.kind = ENTRY_MEMBERS;
    assert_true(record_is_for_tables(&r));
    r.kind = RECORD_RECEIPT;
    assert_false(record_is_for_tables(&r));
    r.kind = RECORD_BLOCK;
    assert_false(record_is_for_tables(&r));
    r.kind = RECORD_BLOCKED;
    assert_true(record_is_for_tables(&r));
    r.kind = RECORD_ERASE;
    assert_true(record_is_for_tables(&r));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(what_is_written_is_read_back),
        HOLDS(a_cut_record_is_damage),
        HOLDS(a_flipped_bit_never_reads_past_the_end),
        HOLDS(later_versions_and_kinds_are_told_from_damage),
        HOLDS(version_3_of_an_entry_is_laid_out_for_ever),
        HOLDS(what_expires_is_said_in_one_version_and_never_expires_at_the_beginning_of_time),
        HOLDS(an_erasing_has_stubs_that_expired_beside_such_that_never_would),
        HOLDS(a_stub_keeps_what_it_is_and_nothing_of_what_it_said),
        HOLDS(what_is_forgotten_comes_back_as_it_was_and_nothing_else_is_taken),
        HOLDS(a_page_of_what_is_forgotten_has_a_bound),
        HOLDS(a_retention_is_the_servers_an_age_or_forever),
        HOLDS(version_1_is_laid_out_for_ever),
        HOLDS(a_message_costs_at_most_110_bytes_beside_its_content),
        HOLDS(tables_are_fed_by_what_changes_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
