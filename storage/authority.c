/* What a record does to a conversation: the one place that says so.
 *
 * What always holds: members are sorted by user and each stands once; a member's ranges ascend, never overlap and never
 * touch (what touches is one range); exactly the members who are in have an open range, their last; read <= delivered;
 * mentions are above `read`, ascending, at most MENTIONS_KEPT; of a member's devices the DEVICES_KEPT furthest are kept
 * (by cursor, then by id: so what is kept depends on the receipts and not on their order or repetition).
 *
 * Replay may give what was applied before: entries at or below the head are skipped, receipts take the larger value,
 * and a block's or a retention's last record is always replayed too. So applying a sequence twice leaves what applying
 * it once leaves.
 *
 * A message costs O(log members) for its author and for each user it mentions. Only a change of members walks them
 * all. */
#include "storage/authority.h"

static int by_user(const void *x, const void *y)
{
    user_id a = ((const struct member *)x)->user, b = ((const struct member *)y)->user;

    return (a > b) - (a < b);
}

/* Among the first n members, which are sorted. */
static struct member *find(const struct authority *a, size_t n, user_id u)
{
    size_t low = 0, high = n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (a->members[mid].user < u)
            low = mid + 1;
        else
            high = mid;
    }
    return low < n && a->members[low].user == u ? &a->members[low] : NULL;
}

struct member *authority_find(struct authority *a, user_id u) { return find(a, a->n_members, u); }

const struct member *authority_member(const struct authority *a, user_id u) { return find(a, a->n_members, u); }

bool member_sees(const struct member *m, uint64_t seq)
{
    for (size_t i = m->n_ranges; i > 0; i--) { /* mostly the last one is asked for */
        const struct range *r = &m->ranges[i - 1];
        if (seq >= r->from)
            return r->to == 0 || seq <= r->to;
    }
    return false;
}

uint64_t member_last_visible(const struct member *m, uint64_t head)
{
    for (size_t i = m->n_ranges; i > 0; i--) {
        const struct range *r = &m->ranges[i - 1];
        if (r->from <= head)
            return r->to && r->to < head ? r->to : head;
    }
    return 0;
}

/* Room for one more behind n: v, or a copy twice as large. */
static void *room(struct arena *arena, void *v, size_t n, uint32_t *cap, size_t size)
{
    void *larger;

    if (n < *cap)
        return v;
    *cap = n ? (uint32_t)n * 2 : 1;
    larger = arena_alloc(arena, *cap * size);
    if (n)
        memcpy(larger, v, n * size);
    return larger;
}

/* ---- cursors ---- */

static void prune_mentions(struct member *m)
{
    size_t gone = 0;

    while (gone < m->n_mentions && m->mentions[gone] <= m->read)
        gone++;
    if (gone == 0)
        return;
    m->n_mentions -= gone;
    memmove(m->mentions, m->mentions + gone, m->n_mentions * sizeof *m->mentions);
}

static void move_cursors(struct member *m, uint64_t delivered, uint64_t read)
{
    if (read > m->read) {
        m->read = read;
        prune_mentions(m);
    }
    if (delivered < read)
        delivered = read;
    if (delivered > m->delivered)
        m->delivered = delivered;
}

static bool is_further(const struct device_cursor *a, const struct device_cursor *b)
{
    return a->delivered != b->delivered ? a->delivered > b->delivered : a->device > b->device;
}

static struct device_cursor *find_device(const struct member *m, device_id device)
{
    for (size_t i = 0; i < m->n_devices; i++) {
        if (m->devices[i].device == device)
            return &m->devices[i];
    }
    return NULL;
}

/* The bound: the one that is least far gives way. It then counts as having nothing, and syncs more than it must. */
static void replace_last_device(struct member *m, struct device_cursor c)
{
    struct device_cursor *last = &m->devices[0];

    for (size_t i = 1; i < m->n_devices; i++) {
        if (is_further(last, &m->devices[i]))
            last = &m->devices[i];
    }
    if (is_further(&c, last))
        *last = c;
}

static void move_device(struct member *m, device_id device, uint64_t delivered, struct arena *arena)
{
    struct device_cursor *known = find_device(m, device);

    if (known) {
        if (delivered > known->delivered)
            known->delivered = delivered;
    } else if (m->n_devices == DEVICES_KEPT) {
        replace_last_device(m, (struct device_cursor){device, delivered});
    } else {
        m->devices = room(arena, m->devices, m->n_devices, &m->devices_cap, sizeof *m->devices);
        m->devices[m->n_devices++] = (struct device_cursor){device, delivered};
    }
}

static void apply_receipt(struct authority *a, const struct receipt_record *r, struct arena *arena)
{
    struct member *m = authority_find(a, r->user);

    if (!m)
        return;
    if (r->device && r->delivered)
        move_device(m, r->device, r->delivered, arena);
    move_cursors(m, r->delivered, r->read);
}

/* The sending device gets a reply and no event. It has the entry, but its cursor may only follow when nothing before is
 * missing: a device's cursor says that it has everything. Who writes a message has read what is before; who changes the
 * group has not, so of such an entry the member's cursors, too, only follow when nothing before is missing. */
static void move_author(struct authority *a, const struct entry *e, struct arena *arena)
{
    struct member *m = authority_find(a, e->from);
    const struct device_cursor *c;
    bool is_read, is_delivered;

    if (!m)
        return;
    c = find_device(m, e->device);
    is_delivered = e->device && (c ? c->delivered : 0) + 1 >= e->seq;
    is_read = e->kind == ENTRY_MESSAGE || m->read + 1 >= e->seq;
    if (is_delivered)
        move_device(m, e->device, e->seq, arena);
    move_cursors(m, is_read || is_delivered ? e->seq : 0, is_read ? e->seq : 0);
}

static void mention(struct member *m, uint64_t seq, struct arena *arena)
{
    if (m->n_mentions && m->mentions[m->n_mentions - 1] == seq)
        return;
    if (m->n_mentions == MENTIONS_KEPT) {
        m->n_mentions--;
        memmove(m->mentions, m->mentions + 1, m->n_mentions * sizeof *m->mentions);
    }
    m->mentions = room(arena, m->mentions, m->n_mentions, &m->mentions_cap, sizeof *m->mentions);
    m->mentions[m->n_mentions++] = seq;
}

static void apply_mentions(struct authority *a, const struct entry *e, struct arena *arena)
{
    for (size_t i = 0; i < e->n_mentions; i++) {
        struct member *m = e->mentions[i] == e->from ? NULL : authority_find(a, e->mentions[i]);
        if (m && m->is_in && e->seq > m->read)
            mention(m, e->seq, arena);
    }
}

/* ---- members ---- */

/* A range that touches those before it swallows them. */
static void let_in(struct member *m, const struct entry *e, enum role role, uint64_t from, struct arena *arena)
{
    if (m->is_in)
        return;
    for (; m->n_ranges && m->ranges[m->n_ranges - 1].to + 1 >= from; m->n_ranges--) {
        if (m->ranges[m->n_ranges - 1].from < from)
            from = m->ranges[m->n_ranges - 1].from;
    }
    m->ranges = room(arena, m->ranges, m->n_ranges, &m->ranges_cap, sizeof *m->ranges);
    m->ranges[m->n_ranges++] = (struct range){from, 0};
    m->is_in = true;
    m->role = role;
    m->joined_ts = e->ts;
    m->joined_seq = e->seq;
}

struct member *authority_append(struct authority *a, user_id user, struct arena *arena)
{
    a->members = room(arena, a->members, a->n_members, &a->members_cap, sizeof *a->members);
    a->members[a->n_members] = (struct member){.user = user};
    return &a->members[a->n_members++];
}

/* After members were appended in any order, maybe one twice. */
static void sort_members(struct authority *a)
{
    size_t n = 0;

    qsort(a->members, a->n_members, sizeof *a->members, by_user);
    for (size_t i = 0; i < a->n_members; i++) {
        if (n == 0 || a->members[n - 1].user != a->members[i].user)
            a->members[n++] = a->members[i];
    }
    a->n_members = n;
}

static void add_members(struct authority *a, const struct entry *e, uint64_t from, struct arena *arena)
{
    size_t known = a->n_members;

    for (size_t i = 0; i < e->n_members; i++) {
        struct member *m = find(a, known, e->members[i].user);
        let_in(m ? m : authority_append(a, e->members[i].user, arena), e, e->members[i].role, from, arena);
    }
    if (a->n_members > known)
        sort_members(a);
}

static void remove_members(struct authority *a, const struct entry *e)
{
    for (size_t i = 0; i < e->n_members; i++) {
        struct member *m = authority_find(a, e->members[i].user);
        if (!m || !m->is_in)
            continue;
        m->ranges[m->n_ranges - 1].to = e->seq;
        m->is_in = false;
        m->role = ROLE_MEMBER;
    }
}

static void set_role(struct authority *a, user_id user, enum role role)
{
    struct member *m = authority_find(a, user);

    if (m && m->is_in)
        m->role = role;
}

static void change_members(struct authority *a, const struct entry *e, struct arena *arena)
{
    switch (e->change) {
    case MEMBERS_ADDED:
        add_members(a, e, e->history_all ? 1 : e->seq, arena);
        break;
    case MEMBERS_REMOVED:
        remove_members(a, e);
        break;
    case MEMBERS_ROLE:
        for (size_t i = 0; i < e->n_members; i++)
            set_role(a, e->members[i].user, e->members[i].role);
        break;
    }
    if (e->heir)
        set_role(a, e->heir, ROLE_OWNER);
}

/* ---- conversations ---- */

static struct str copy_text(struct str s, struct arena *arena) { return s.len ? arena_dup(arena, s) : (struct str){0}; }

static void change_settings(struct authority *a, const struct group_settings *s, struct arena *arena)
{
    struct group_settings *mine = &a->settings;

    if (s->has_title)
        mine->title = copy_text(s->title, arena);
    if (s->has_description)
        mine->description = copy_text(s->description, arena);
    if (s->has_picture)
        mine->picture = copy_text(s->picture, arena);
    if (s->has_announce)
        a->announce = mine->announce = s->announce;
    if (s->has_locked)
        a->locked = mine->locked = s->locked;
    if (s->has_history)
        a->history_all = mine->history_all = s->history_all;
    mine->has_title |= s->has_title;
    mine->has_description |= s->has_description;
    mine->has_picture |= s->has_picture;
    mine->has_announce |= s->has_announce;
    mine->has_locked |= s->has_locked;
    mine->has_history |= s->has_history;
}

static void become(struct authority *a, const struct conv_id *id, enum conv_kind kind)
{
    a->id = *id;
    a->kind = kind;
    if (a->first_seq == 0)
        a->first_seq = 1;
}

static void become_pair(struct authority *a, const struct conv_id *id, user_id x, user_id y)
{
    become(a, id, CONV_PAIR);
    a->pair[0] = x < y ? x : y;
    a->pair[1] = x < y ? y : x;
}

void authority_expect(struct authority *a, size_t n, struct arena *arena)
{
    if (a->members_cap)
        return;
    a->members = arena_alloc(arena, n * sizeof *a->members);
    a->members_cap = (uint32_t)n;
}

/* The first message makes both of the pair members, from the first seq on. */
static void join_pair(struct authority *a, const struct entry *e, struct arena *arena)
{
    become_pair(a, &e->conv, e->from, e->peer);
    authority_expect(a, 2, arena);
    for (size_t i = 0; i < (a->pair[0] == a->pair[1] ? 1 : 2); i++)
        let_in(authority_append(a, a->pair[i], arena), e, ROLE_MEMBER, 1, arena);
}

static void apply_entry(struct authority *a, const struct entry *e, struct arena *arena)
{
    if (e->seq <= a->head)
        return;
    if (e->conv_kind == CONV_GROUP)
        become(a, &e->conv, CONV_GROUP);
    else if (a->n_members == 0)
        join_pair(a, e, arena);
    switch (e->kind) {
    case ENTRY_MESSAGE:
        apply_mentions(a, e, arena);
        break;
    case ENTRY_CREATED:
        add_members(a, e, 1, arena);
        change_settings(a, &e->settings, arena);
        break;
    case ENTRY_MEMBERS:
        change_members(a, e, arena);
        break;
    case ENTRY_SETTINGS:
        change_settings(a, &e->settings, arena);
        break;
    }
    move_author(a, e, arena);
    a->head = e->seq;
    a->ordinal = e->ordinal;
    a->last_ts = e->ts;
}

/* The head never falls, and rises only where an import begins. */
static void apply_forget(struct authority *a, const struct forget_record *f)
{
    if (f->first_seq <= a->first_seq)
        return;
    a->first_seq = f->first_seq;
    a->first_ordinal = f->ordinal;
    if (a->head + 1 < f->first_seq) {
        a->head = f->first_seq - 1;
        a->ordinal = f->ordinal;
    }
}

static void apply_block(struct authority *a, const struct block_record *b)
{
    if (a->kind == 0)
        become_pair(a, &b->conv, b->blocker, b->blocked);
    for (size_t i = 0; i < 2; i++) {
        if (a->pair[i] == b->blocker)
            a->blocked[i] = b->on;
    }
}

void authority_apply(struct authority *a, const struct record *r, struct arena *arena)
{
    if (r->kind == RECORD_ENTRY)
        apply_entry(a, &r->entry, arena);
    else if (r->kind == RECORD_RECEIPT)
        apply_receipt(a, &r->receipt, arena);
    else if (r->kind == RECORD_BLOCK)
        apply_block(a, &r->block);
    else if (r->kind == RECORD_RETENTION && a->kind)
        a->retention_ms = r->retention.retention_ms;
    else if (r->kind == RECORD_FORGET && a->kind)
        apply_forget(a, &r->forget);
}

static void *copy(struct arena *arena, const void *v, size_t n, size_t size)
{
    return n ? memcpy(arena_alloc(arena, n * size), v, n * size) : NULL;
}

static void copy_member(struct member *m, struct arena *arena)
{
    m->ranges = copy(arena, m->ranges, m->n_ranges, sizeof *m->ranges);
    m->devices = copy(arena, m->devices, m->n_devices, sizeof *m->devices);
    m->mentions = copy(arena, m->mentions, m->n_mentions, sizeof *m->mentions);
    m->ranges_cap = (uint32_t)m->n_ranges;
    m->devices_cap = (uint32_t)m->n_devices;
    m->mentions_cap = (uint32_t)m->n_mentions;
}

void authority_copy(const struct authority *a, struct arena *arena, struct authority *out)
{
    struct authority c = *a;

    c.members = copy(arena, a->members, a->n_members, sizeof *a->members);
    c.members_cap = (uint32_t)a->n_members;
    for (size_t i = 0; i < c.n_members; i++)
        copy_member(&c.members[i], arena);
    c.settings.title = copy_text(a->settings.title, arena);
    c.settings.description = copy_text(a->settings.description, arena);
    c.settings.picture = copy_text(a->settings.picture, arena);
    *out = c;
}
