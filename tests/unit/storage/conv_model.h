/* conv_model: what the tests of the message store share: a writer of records for one conversation, a random stream of
 * them from a seed, and equality of authorities. */
#pragma once
#include "storage/convlog.h"

enum { MODEL_USERS = 12 };
struct conv_model {
    uint64_t random; /* state; never 0 */
    struct conv_id conv;
    enum conv_kind kind;
    uint64_t head, ordinal;
    user_id mentions[4];
    struct member_role roles[MODEL_USERS];
    bool known[10 * (MODEL_USERS + 1)]; /* who was ever in: a receipt is a member's */
    char cid[24], content[512];
};

static inline uint64_t model_random(struct conv_model *m, uint64_t below)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return (m->random >> 11) % below;
}

static inline void model_init(struct conv_model *m, uint64_t seed, enum conv_kind kind)
{
    *m = (struct conv_model){.random = seed * 0x9e3779b97f4a7c15u + 1, .kind = kind};
    for (size_t i = 0; i < sizeof m->conv.b; i++)
        m->conv.b[i] = (uint8_t)model_random(m, 256);
}

/* Users are 10, 20, 30, …; device d of user u is 100 u + d. */
static inline user_id model_user(struct conv_model *m) { return 10 * (1 + model_random(m, MODEL_USERS)); }

static inline struct record model_entry(struct conv_model *m, enum entry_kind kind, user_id from)
{
    struct record r = {.kind = RECORD_ENTRY};
    struct entry *e = &r.entry;

    m->ordinal += kind == ENTRY_MESSAGE;
    *e = (struct entry){.conv = m->conv, .seq = ++m->head, .kind = kind, .conv_kind = m->kind, .from = from};
    e->device = from * 100 + m->head % 3;
    e->ts = 1700000000000 + (int64_t)m->head;
    e->ordinal = m->ordinal;
    snprintf(m->cid, sizeof m->cid, "cid-%llu", (unsigned long long)m->head);
    e->cid = str_c(m->cid);
    enc_u64(e->cid_hash, m->head);
    memcpy(e->cid_hash + 8, m->conv.b, 8);
    e->fingerprint = m->head * 7;
    if (kind == ENTRY_MESSAGE) {
        snprintf(m->content, sizeof m->content, "{\"type\":\"text\",\"text\":\"number %llu\"}",
                 (unsigned long long)m->head);
        e->content = str_c(m->content);
    }
    return r;
}

static inline struct record model_message(struct conv_model *m, user_id from)
{
    struct record r = model_entry(m, ENTRY_MESSAGE, from);

    if (model_random(m, 4) == 0)
        r.entry.expires_at = r.entry.ts + 1 + (int64_t)model_random(m, 1000);
    if (m->kind == CONV_PAIR) {
        r.entry.peer = from == 10 ? 20 : 10;
        return r;
    }
    r.entry.n_mentions = model_random(m, 4) ? 0 : 1 + model_random(m, 4);
    for (size_t i = 0; i < r.entry.n_mentions; i++)
        m->mentions[i] = model_user(m);
    r.entry.mentions = m->mentions;
    return r;
}

static inline struct record model_members(struct conv_model *m, enum members_change change, size_t n)
{
    struct record r = model_entry(m, ENTRY_MEMBERS, model_user(m));

    r.entry.change = change;
    r.entry.n_members = n;
    r.entry.history_all = change == MEMBERS_ADDED && model_random(m, 4) == 0;
    for (size_t i = 0; i < n; i++)
        m->roles[i] = (struct member_role){model_user(m),
                                           change == MEMBERS_REMOVED ? ROLE_MEMBER : (enum role)model_random(m, 3)};
    for (size_t i = 1; i < n; i++) { /* each user once */
        for (size_t k = 0; k < i; k++) {
            if (m->roles[k].user == m->roles[i].user) {
                r.entry.n_members = i;
                n = i;
                break;
            }
        }
    }
    r.entry.members = m->roles;
    for (size_t i = 0; i < n; i++)
        m->known[m->roles[i].user] |= change == MEMBERS_ADDED;
    return r;
}

static inline struct record model_created(struct conv_model *m, user_id creator, size_t others)
{
    struct record r = model_entry(m, ENTRY_CREATED, creator);

    m->roles[0] = (struct member_role){creator, ROLE_OWNER};
    for (size_t i = 1; i <= others; i++)
        m->roles[i] = (struct member_role){creator + 10 * i, ROLE_MEMBER};
    r.entry.members = m->roles;
    r.entry.n_members = others + 1;
    for (size_t i = 0; i <= others; i++)
        m->known[m->roles[i].user] = true;
    r.entry.settings = (struct group_settings){.has_title = true, .title = STR("a title")};
    return r;
}

static inline struct record model_receipt(struct conv_model *m, user_id u, uint64_t delivered, uint64_t read)
{
    struct record r = {.kind = RECORD_RECEIPT};

    r.receipt = (struct receipt_record){m->conv, u, delivered ? u * 100 + model_random(m, 3) : 0, delivered, read, 1};
    return r;
}

static inline struct record model_block(struct conv_model *m, user_id blocker, user_id blocked, bool on)
{
    struct record r = {.kind = RECORD_BLOCK};

    r.block = (struct block_record){m->conv, blocker, blocked, on, 1};
    return r;
}

static inline struct record model_retention(struct conv_model *m, uint64_t ms)
{
    struct record r = {.kind = RECORD_RETENTION};

    r.retention = (struct retention_record){m->conv, 1, ms};
    return r;
}

static inline struct record model_settings(struct conv_model *m)
{
    struct record r = model_entry(m, ENTRY_SETTINGS, model_user(m));
    struct group_settings *s = &r.entry.settings;

    s->has_title = model_random(m, 2);
    s->title = s->has_title ? STR("another title") : (struct str){0};
    s->has_description = !s->has_title;
    s->description = s->has_description ? STR("what it is about") : (struct str){0};
    s->has_locked = model_random(m, 2);
    s->locked = s->has_locked && model_random(m, 2);
    s->has_history = model_random(m, 2);
    s->history_all = s->has_history && model_random(m, 2);
    return r;
}

static inline struct record model_next(struct conv_model *m)
{
    uint64_t dice = model_random(m, 20);
    user_id reader = m->kind == CONV_PAIR ? 10 * (1 + model_random(m, 2)) : model_user(m);

    if (m->head == 0 && m->kind == CONV_GROUP)
        return model_created(m, 10, 5);
    if (m->kind == CONV_PAIR && dice < 2)
        return dice ? model_block(m, 10, 20, model_random(m, 2)) : model_block(m, 20, 10, model_random(m, 2));
    if (dice < 6 && m->head && (m->kind == CONV_PAIR || m->known[reader]))
        return model_receipt(m, reader, model_random(m, m->head + 1),
                             model_random(m, 2) ? 0 : model_random(m, m->head + 1));
    if (m->kind == CONV_PAIR || dice < 14)
        return model_message(m, m->kind == CONV_PAIR ? 10 * (1 + model_random(m, 2)) : model_user(m));
    if (dice < 15)
        return model_settings(m);
    if (dice < 17)
        return model_members(m, MEMBERS_ADDED, 1 + model_random(m, 4));
    return model_members(m, dice < 19 ? MEMBERS_REMOVED : MEMBERS_ROLE, 1 + model_random(m, 2));
}

static inline bool model_member_eq(const struct member *a, const struct member *b)
{
    return a->user == b->user && a->role == b->role && a->is_in == b->is_in && a->joined_ts == b->joined_ts &&
           a->joined_seq == b->joined_seq && a->delivered == b->delivered && a->read == b->read &&
           a->n_ranges == b->n_ranges && memcmp(a->ranges, b->ranges, a->n_ranges * sizeof *a->ranges) == 0 &&
           a->n_devices == b->n_devices &&
           (!a->n_devices || memcmp(a->devices, b->devices, a->n_devices * sizeof *a->devices) == 0) &&
           a->n_mentions == b->n_mentions &&
           (!a->n_mentions || memcmp(a->mentions, b->mentions, a->n_mentions * sizeof *a->mentions) == 0);
}

static inline bool model_eq(const struct authority *a, const struct authority *b)
{
    bool same = conv_eq(&a->id, &b->id) && a->kind == b->kind && a->head == b->head && a->ordinal == b->ordinal &&
                a->first_seq == b->first_seq && a->first_ordinal == b->first_ordinal &&
                a->retention_ms == b->retention_ms && a->last_ts == b->last_ts && a->announce == b->announce &&
                a->locked == b->locked && a->history_all == b->history_all && a->pair[0] == b->pair[0] &&
                a->pair[1] == b->pair[1] && a->blocked[0] == b->blocked[0] && a->blocked[1] == b->blocked[1] &&
                a->n_members == b->n_members && a->settings.has_title == b->settings.has_title &&
                a->settings.has_history == b->settings.has_history && str_eq(a->settings.title, b->settings.title) &&
                str_eq(a->settings.description, b->settings.description);

    for (size_t i = 0; same && i < a->n_members; i++)
        same = model_member_eq(&a->members[i], &b->members[i]);
    return same;
}
