#include "conv_model.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct fixture {
    struct conv_model m;
    struct authority a;
    struct arena arena;
};

static int make_group(void **state)
{
    struct fixture *f = mem_new(struct fixture);

    model_init(&f->m, 1, CONV_GROUP);
    *state = f;
    return 0;
}

static int make_pair(void **state)
{
    make_group(state);
    model_init(&((struct fixture *)*state)->m, 1, CONV_PAIR);
    return 0;
}

static int drop(void **state)
{
    struct fixture *f = *state;

    arena_deinit(&f->arena);
    mem_free(f);
    return 0;
}

static void apply(struct fixture *f, struct record r) { authority_apply(&f->a, &r, &f->arena); }

static const struct member *member(struct fixture *f, user_id u)
{
    const struct member *m = authority_member(&f->a, u);

    assert_non_null(m);
    return m;
}

static struct record members(struct fixture *f, user_id from, enum members_change change, user_id u, enum role role)
{
    struct record r = model_entry(&f->m, ENTRY_MEMBERS, from);

    f->m.roles[0] = (struct member_role){u, role};
    r.entry.change = change;
    r.entry.members = f->m.roles;
    r.entry.n_members = 1;
    return r;
}

static struct record message(struct fixture *f, user_id from)
{
    struct record r = model_entry(&f->m, ENTRY_MESSAGE, from);

    r.entry.peer = f->m.kind == CONV_PAIR ? (from == 10 ? 20 : 10) : 0;
    return r;
}

/* from, to, from, to, …, closed by a from of 0 */
static void check_ranges(const struct member *m, const uint64_t *want)
{
    size_t n = 0;

    for (; want[2 * n]; n++) {
        assert_true(n < m->n_ranges);
        assert_int_equal(m->ranges[n].from, want[2 * n]);
        assert_int_equal(m->ranges[n].to, want[2 * n + 1]);
    }
    assert_int_equal(m->n_ranges, n);
}
#define RANGES(m, ...) check_ranges(m, (const uint64_t[]){__VA_ARGS__, 0, 0})

static struct record forgetting(struct fixture *f, uint64_t from, uint64_t first_seq, uint64_t ordinal)
{
    struct record r = {.kind = RECORD_FORGET};

    r.forget = (struct forget_record){.conv = f->m.conv, .from = from, .first_seq = first_seq, .ordinal = ordinal};
    return r;
}

static void what_is_forgotten_only_grows_and_leaves_the_rest(void **state)
{
    struct fixture *f = *state;

    apply(f, forgetting(f, 1, 5, 4)); /* of nothing it makes nothing */
    assert_int_equal(f->a.kind, 0);
    apply(f, model_created(&f->m, 10, 3));
    for (int i = 0; i < 9; i++)
        apply(f, message(f, 20));
    apply(f, forgetting(f, 1, 5, 3));
    apply(f, forgetting(f, 1, 3, 1)); /* given again by a replay */
    assert_true(f->a.first_seq == 5 && f->a.first_ordinal == 3 && f->a.head == 10 && f->a.ordinal == 9);
    RANGES(member(f, 30), 1, 0);
    apply(f, message(f, 20));
    assert_true(f->a.first_seq == 5 && f->a.head == 11);
    apply(f, forgetting(f, 5, 100, 80)); /* where an import begins */
    assert_true(f->a.first_seq == 100 && f->a.first_ordinal == 80 && f->a.head == 99 && f->a.ordinal == 80);
}

static void a_created_group_has_its_members_and_settings(void **state)
{
    struct fixture *f = *state;

    apply(f, model_created(&f->m, 10, 3));
    assert_int_equal(f->a.kind, CONV_GROUP);
    assert_int_equal(f->a.head, 1);
    assert_int_equal(f->a.first_seq, 1);
    assert_int_equal(f->a.ordinal, 0);
    assert_int_equal(f->a.n_members, 4);
    assert_true(str_eq(f->a.settings.title, STR("a title")));
    assert_false(f->a.locked);
    assert_int_equal(member(f, 10)->role, ROLE_OWNER);
    assert_int_equal(member(f, 10)->read, 1);
    assert_int_equal(member(f, 20)->role, ROLE_MEMBER);
    assert_int_equal(member(f, 20)->read, 0);
    RANGES(member(f, 30), 1, 0);
    assert_null(authority_member(&f->a, 50));
}

static void leaving_and_returning_leaves_a_gap(void **state)
{
    struct fixture *f = *state;

    apply(f, model_created(&f->m, 10, 1));
    apply(f, message(f, 10));                                 /* 2 */
    apply(f, members(f, 10, MEMBERS_ADDED, 50, ROLE_MEMBER)); /* 3 */
    RANGES(member(f, 50), 3, 0);
    assert_int_equal(member(f, 50)->joined_seq, 3);
    apply(f, message(f, 50));                                   /* 4 */
    apply(f, members(f, 10, MEMBERS_REMOVED, 50, ROLE_MEMBER)); /* 5 */
    RANGES(member(f, 50), 3, 5);
    assert_false(member(f, 50)->is_in);
    apply(f, message(f, 10));                                /* 6 */
    apply(f, message(f, 10));                                /* 7 */
    apply(f, members(f, 10, MEMBERS_ADDED, 50, ROLE_ADMIN)); /* 8 */
    RANGES(member(f, 50), 3, 5, 8, 0);
    assert_int_equal(member(f, 50)->role, ROLE_ADMIN);
    assert_int_equal(member(f, 50)->joined_seq, 8);
    assert_int_equal(member(f, 50)->read, 4); /* cursors stay */
    for (uint64_t seq = 1; seq <= 9; seq++)
        assert_int_equal(member_sees(member(f, 50), seq), (seq >= 3 && seq <= 5) || seq >= 8);
    assert_int_equal(member_last_visible(member(f, 50), 8), 8);
    apply(f, members(f, 50, MEMBERS_REMOVED, 50, ROLE_MEMBER)); /* 9: leaves */
    apply(f, message(f, 10));                                   /* 10 */
    assert_int_equal(member_last_visible(member(f, 50), 10), 9);
    assert_int_equal(member(f, 50)->read, 4); /* leaving reads nothing */
    assert_int_equal(member_last_visible(member(f, 50), 7), 5);
    assert_int_equal(member_last_visible(member(f, 50), 2), 0);
}

/* A message says that its author has read what is before it; a new title doesn't. */
static void changing_a_group_reads_no_messages(void **state)
{
    struct fixture *f = *state;
    struct record r;

    apply(f, model_created(&f->m, 10, 2)); /* 1: nothing was before it */
    assert_int_equal(member(f, 10)->read, 1);
    apply(f, model_entry(&f->m, ENTRY_SETTINGS, 10)); /* 2: nor between */
    assert_int_equal(member(f, 10)->read, 2);
    apply(f, message(f, 20));                         /* 3 */
    apply(f, model_entry(&f->m, ENTRY_SETTINGS, 10)); /* 4 */
    assert_int_equal(member(f, 10)->read, 2);
    assert_int_equal(member(f, 10)->delivered, 2);
    r = model_entry(&f->m, ENTRY_SETTINGS, 20); /* 5: by a device that has all */
    apply(f, (struct record){.kind = RECORD_RECEIPT, .receipt = {f->m.conv, 20, r.entry.device, 4, 0, 1}});
    apply(f, r);
    assert_int_equal(member(f, 20)->read, 3);
    assert_int_equal(member(f, 20)->delivered, 5);
    apply(f, message(f, 10)); /* 6 */
    assert_int_equal(member(f, 10)->read, 6);
}

static void returning_at_once_leaves_no_gap(void **state)
{
    struct fixture *f = *state;

    apply(f, model_created(&f->m, 10, 1));
    apply(f, members(f, 10, MEMBERS_REMOVED, 20, ROLE_MEMBER));
    apply(f, members(f, 10, MEMBERS_ADDED, 20, ROLE_MEMBER));
    RANGES(member(f, 20), 1, 0);
}

static void all_history_opens_from_the_first_seq(void **state)
{
    struct fixture *f = *state;
    struct record r;

    apply(f, model_created(&f->m, 10, 0));
    apply(f, members(f, 10, MEMBERS_ADDED, 50, ROLE_MEMBER)); /* 2 */
    apply(f, members(f, 10, MEMBERS_REMOVED, 50, ROLE_MEMBER));
    apply(f, message(f, 10));
    r = members(f, 10, MEMBERS_ADDED, 50, ROLE_MEMBER); /* 5 */
    r.entry.history_all = true;
    apply(f, r);
    RANGES(member(f, 50), 1, 0);
    assert_int_equal(member(f, 50)->joined_seq, 5);
}

static void who_is_in_is_not_added_and_who_is_out_is_not_removed(void **state)
{
    struct fixture *f = *state;

    apply(f, model_created(&f->m, 10, 1));
    apply(f, members(f, 10, MEMBERS_ADDED, 20, ROLE_ADMIN));
    assert_int_equal(member(f, 20)->role, ROLE_MEMBER);
    RANGES(member(f, 20), 1, 0);
    apply(f, members(f, 10, MEMBERS_REMOVED, 20, ROLE_MEMBER)); /* 3 */
    apply(f, members(f, 10, MEMBERS_REMOVED, 20, ROLE_MEMBER)); /* 4 */
    apply(f, members(f, 10, MEMBERS_REMOVED, 90, ROLE_MEMBER)); /* never was in */
    RANGES(member(f, 20), 1, 3);
    apply(f, members(f, 10, MEMBERS_ROLE, 20, ROLE_ADMIN));
    assert_int_equal(member(f, 20)->role, ROLE_MEMBER);
    assert_null(authority_member(&f->a, 90));
}

static void a_leaving_owner_hands_over_to_the_heir(void **state)
{
    struct fixture *f = *state;
    struct record r;

    apply(f, model_created(&f->m, 10, 2));
    apply(f, members(f, 10, MEMBERS_ROLE, 30, ROLE_ADMIN));
    assert_int_equal(member(f, 30)->role, ROLE_ADMIN);
    r = members(f, 10, MEMBERS_REMOVED, 10, ROLE_MEMBER);
    r.entry.heir = 30;
    apply(f, r);
    assert_int_equal(member(f, 30)->role, ROLE_OWNER);
    assert_int_equal(member(f, 10)->role, ROLE_MEMBER);
    assert_false(member(f, 10)->is_in);
}

static void settings_change_only_what_they_name(void **state)
{
    struct fixture *f = *state;
    struct record r;

    apply(f, model_created(&f->m, 10, 0));
    r = model_entry(&f->m, ENTRY_SETTINGS, 10);
    r.entry.settings =
        (struct group_settings){.has_locked = true, .locked = true, .has_description = true, .description = STR("d")};
    apply(f, r);
    assert_true(f->a.locked);
    assert_false(f->a.announce);
    assert_true(str_eq(f->a.settings.title, STR("a title")));
    r = model_entry(&f->m, ENTRY_SETTINGS, 10);
    r.entry.settings = (struct group_settings){.has_title = true, .title = STR("new"), .has_locked = true};
    apply(f, r);
    assert_false(f->a.locked);
    assert_true(f->a.settings.has_locked);
    assert_true(str_eq(f->a.settings.title, STR("new")));
    assert_true(str_eq(f->a.settings.description, STR("d")));
}

static void the_first_message_of_a_pair_makes_both_members(void **state)
{
    struct fixture *f = *state;

    apply(f, message(f, 20));
    assert_int_equal(f->a.kind, CONV_PAIR);
    assert_int_equal(f->a.n_members, 2);
    assert_int_equal(f->a.pair[0], 10);
    assert_int_equal(f->a.pair[1], 20);
    RANGES(member(f, 10), 1, 0);
    assert_int_equal(member(f, 20)->read, 1);
    assert_int_equal(member(f, 10)->delivered, 0);
    assert_int_equal(f->a.ordinal, 1);
    assert_int_equal(f->a.last_ts, 1700000000001);
}

static void a_chat_with_oneself_has_one_member(void **state)
{
    struct fixture *f = *state;
    struct record r = message(f, 10);

    r.entry.peer = 10;
    apply(f, r);
    assert_int_equal(f->a.n_members, 1);
    assert_int_equal(f->a.pair[0], 10);
    assert_int_equal(f->a.pair[1], 10);
}

static void a_block_may_stand_before_the_first_message(void **state)
{
    struct fixture *f = *state;

    apply(f, model_block(&f->m, 20, 10, true));
    assert_int_equal(f->a.head, 0);
    assert_int_equal(f->a.kind, CONV_PAIR);
    assert_int_equal(f->a.n_members, 0);
    assert_false(f->a.blocked[0]);
    assert_true(f->a.blocked[1]);
    apply(f, model_block(&f->m, 20, 10, false));
    apply(f, model_block(&f->m, 10, 20, true));
    apply(f, message(f, 10));
    assert_int_equal(f->a.n_members, 2);
    assert_true(f->a.blocked[0]);
    assert_false(f->a.blocked[1]);
}

static void receipts_never_move_back(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 9; i++)
        apply(f, message(f, 10));
    apply(f, model_receipt(&f->m, 20, 5, 0));
    assert_int_equal(member(f, 20)->delivered, 5);
    assert_int_equal(member(f, 20)->read, 0);
    apply(f, model_receipt(&f->m, 20, 0, 7));
    assert_int_equal(member(f, 20)->delivered, 7); /* read is delivered */
    assert_int_equal(member(f, 20)->read, 7);
    apply(f, model_receipt(&f->m, 20, 3, 2));
    assert_int_equal(member(f, 20)->delivered, 7);
    assert_int_equal(member(f, 20)->read, 7);
    apply(f, model_receipt(&f->m, 99, 3, 2)); /* a stranger */
    assert_int_equal(f->a.n_members, 2);
}

static struct record device_receipt(struct fixture *f, user_id u, device_id d, uint64_t delivered)
{
    struct record r = model_receipt(&f->m, u, delivered, 0);

    r.receipt.device = d;
    return r;
}

static uint64_t device(struct fixture *f, user_id u, device_id d)
{
    const struct member *m = member(f, u);

    for (size_t i = 0; i < m->n_devices; i++) {
        if (m->devices[i].device == d)
            return m->devices[i].delivered;
    }
    return 0;
}

static void a_member_has_what_the_furthest_device_has(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 9; i++)
        apply(f, message(f, 10));
    apply(f, device_receipt(f, 20, 1, 4));
    apply(f, device_receipt(f, 20, 2, 6));
    apply(f, device_receipt(f, 20, 2, 5));
    assert_int_equal(member(f, 20)->delivered, 6);
    assert_int_equal(device(f, 20, 1), 4);
    assert_int_equal(device(f, 20, 2), 6);
}

static void sending_moves_a_device_only_past_what_it_has(void **state)
{
    struct fixture *f = *state;
    struct record r;

    r = message(f, 10); /* 1 */
    r.entry.device = 7;
    apply(f, r);
    assert_int_equal(device(f, 10, 7), 1);
    apply(f, message(f, 20)); /* 2 */
    r = message(f, 10);       /* 3, by a device that may not have 2 */
    r.entry.device = 7;
    apply(f, r);
    assert_int_equal(device(f, 10, 7), 1);
    assert_int_equal(member(f, 10)->read, 3);
    apply(f, device_receipt(f, 10, 7, 3));
    r = message(f, 10); /* 4 */
    r.entry.device = 7;
    apply(f, r);
    assert_int_equal(device(f, 10, 7), 4);
}

static void the_furthest_devices_are_kept(void **state)
{
    struct fixture *f = *state;
    struct authority again = {0};

    apply(f, message(f, 10));
    for (int round = 0; round < 2; round++) { /* the second changes nothing */
        for (device_id d = 1; d <= 3 * DEVICES_KEPT; d++)
            apply(f, device_receipt(f, 20, d, 1 + d * 7919 % (3 * DEVICES_KEPT)));
        if (round == 0)
            authority_copy(&f->a, &f->arena, &again);
    }
    assert_true(model_eq(&f->a, &again));
    assert_int_equal(member(f, 20)->n_devices, DEVICES_KEPT);
    for (size_t i = 0; i < DEVICES_KEPT; i++)
        assert_true(member(f, 20)->devices[i].delivered > 2 * DEVICES_KEPT);
}

static void mentions_last_until_read_and_are_bounded(void **state)
{
    struct fixture *f = *state;
    user_id mentioned[] = {20, 20, 10, 90};
    uint64_t first;

    apply(f, model_created(&f->m, 10, 1));
    for (int i = 0; i < MENTIONS_KEPT + 5; i++) {
        struct record r = message(f, 10);
        r.entry.mentions = mentioned;
        r.entry.n_mentions = 4;
        apply(f, r);
    }
    assert_int_equal(member(f, 20)->n_mentions, MENTIONS_KEPT);
    assert_int_equal(member(f, 10)->n_mentions, 0); /* oneself, and what one wrote is read */
    first = member(f, 20)->mentions[0];
    assert_int_equal(first, f->a.head - MENTIONS_KEPT + 1);
    apply(f, model_receipt(&f->m, 20, 0, first + 9));
    assert_int_equal(member(f, 20)->n_mentions, MENTIONS_KEPT - 10);
    assert_int_equal(member(f, 20)->mentions[0], first + 10);
    apply(f, message(f, 20));
    assert_int_equal(member(f, 20)->n_mentions, 0);
}

static void who_is_out_is_not_mentioned(void **state)
{
    struct fixture *f = *state;
    user_id mentioned[] = {20};
    struct record r;

    apply(f, model_created(&f->m, 10, 1));
    apply(f, members(f, 10, MEMBERS_REMOVED, 20, ROLE_MEMBER));
    r = message(f, 10);
    r.entry.mentions = mentioned;
    r.entry.n_mentions = 1;
    apply(f, r);
    assert_int_equal(member(f, 20)->n_mentions, 0);
}

static void a_copy_shares_nothing(void **state)
{
    struct fixture *f = *state;
    struct authority copy;
    struct arena own = {0};

    for (int i = 0; i < 300; i++)
        apply(f, model_next(&f->m));
    authority_copy(&f->a, &own, &copy);
    assert_true(model_eq(&f->a, &copy));
    for (int i = 0; i < 100; i++) { /* both grow on, and apart */
        struct record r = model_next(&f->m);
        authority_apply(&f->a, &r, &f->arena);
        authority_apply(&copy, &r, &own);
    }
    assert_true(model_eq(&f->a, &copy));
    arena_deinit(&f->arena);
    f->a = copy;
    assert_int_equal(f->a.head, f->m.head);
    member(f, 10);
    arena_deinit(&own);
}

/* ---- random records against a model that remembers everything, seq by seq ---- */

enum { STEPS = 400, DEVICES = 3 };
struct naive {
    bool is_in, ever, sees[STEPS + 2], mentioned[STEPS + 2];
    enum role role;
    uint64_t delivered, read, joined, device[DEVICES];
};

static void naive_read(struct naive *n, uint64_t delivered, uint64_t read)
{
    n->read = read > n->read ? read : n->read;
    n->delivered = delivered > n->delivered ? delivered : n->delivered;
    n->delivered = n->read > n->delivered ? n->read : n->delivered;
}

static void naive_add(struct naive *n, const struct entry *e, enum role role)
{
    if (n->is_in)
        return;
    n->ever = n->is_in = true;
    n->role = role;
    n->joined = e->seq;
    for (uint64_t s = 1; e->history_all && s < e->seq; s++)
        n->sees[s] = true;
}

static void naive_apply(struct naive *all, const struct record *r)
{
    const struct entry *e = &r->entry;

    if (r->kind == RECORD_RECEIPT) {
        struct naive *n = &all[r->receipt.user / 10];
        uint64_t *device = &n->device[r->receipt.device % DEVICES];
        if (n->ever && r->receipt.delivered && *device < r->receipt.delivered)
            *device = r->receipt.delivered;
        if (n->ever)
            naive_read(n, r->receipt.delivered, r->receipt.read);
        return;
    }
    for (size_t i = 0; i < e->n_members && (e->kind == ENTRY_CREATED || e->change == MEMBERS_ADDED); i++)
        naive_add(&all[e->members[i].user / 10], e, e->members[i].role);
    for (size_t u = 1; u <= MODEL_USERS; u++)
        all[u].sees[e->seq] = all[u].is_in;
    for (size_t i = 0; i < e->n_members; i++) {
        struct naive *n = &all[e->members[i].user / 10];
        if (e->change == MEMBERS_REMOVED) {
            n->is_in = false;
            n->role = ROLE_MEMBER;
        } else if (e->change == MEMBERS_ROLE && n->is_in) {
            n->role = e->members[i].role;
        }
    }
    for (size_t i = 0; i < e->n_mentions; i++)
        all[e->mentions[i] / 10].mentioned[e->seq] = all[e->mentions[i] / 10].is_in;
    if (all[e->from / 10].ever) {
        uint64_t *device = &all[e->from / 10].device[e->device % DEVICES];
        bool is_next = *device + 1 == e->seq;
        bool is_read = e->kind == ENTRY_MESSAGE || all[e->from / 10].read + 1 == e->seq;
        if (is_next)
            *device = e->seq;
        naive_read(&all[e->from / 10], is_next || is_read ? e->seq : 0, is_read ? e->seq : 0);
    }
}

static void compare(struct fixture *f, const struct naive *n, user_id u)
{
    const struct member *m = authority_member(&f->a, u);
    uint64_t last = 0;

    assert_int_equal(m != NULL, n->ever);
    if (!m)
        return;
    assert_int_equal(m->is_in, n->is_in);
    assert_int_equal(m->role, n->role);
    assert_int_equal(m->delivered, n->delivered);
    assert_int_equal(m->read, n->read);
    assert_int_equal(m->joined_seq, n->joined);
    for (uint64_t s = 1; s <= f->a.head; s++) {
        assert_int_equal(member_sees(m, s), n->sees[s]);
        last = n->sees[s] ? s : last;
    }
    assert_int_equal(member_last_visible(m, f->a.head), last);
    for (device_id d = 0; d < DEVICES; d++)
        assert_int_equal(device(f, u, u * 100 + (d + DEVICES - u * 100 % DEVICES) % DEVICES), n->device[d]);
    size_t k = 0;
    for (uint64_t s = m->read + 1; s <= f->a.head; s++) {
        if (n->mentioned[s] && k < m->n_mentions)
            assert_int_equal(m->mentions[k++], s);
    }
    assert_int_equal(k, m->n_mentions);
}

static void random_records_do_what_a_plain_model_does(void **state)
{
    struct fixture *f = *state;

    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct naive *all = mem_new_array(struct naive, MODEL_USERS + 1);
        f->a = (struct authority){0};
        model_init(&f->m, seed, CONV_GROUP);
        for (int i = 0; i < STEPS; i++) {
            struct record r = model_next(&f->m);
            authority_apply(&f->a, &r, &f->arena);
            naive_apply(all, &r);
        }
        for (user_id u = 1; u <= MODEL_USERS; u++)
            compare(f, &all[u], u * 10);
        mem_free(all);
        arena_deinit(&f->arena);
    }
}

static void what_was_applied_changes_nothing_when_applied_again(void **state)
{
    struct fixture *f = *state;

    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct authority once = {0};
        enum conv_kind kind = seed % 2 ? CONV_GROUP : CONV_PAIR;
        f->a = (struct authority){0};
        for (int round = 0; round < 2; round++) {
            model_init(&f->m, seed, kind);
            for (int i = 0; i < STEPS; i++)
                apply(f, model_next(&f->m));
            if (round == 0)
                authority_copy(&f->a, &f->arena, &once);
        }
        assert_true(model_eq(&f->a, &once));
        arena_deinit(&f->arena);
    }
}

int main(void)
{
#define GROUP(t) cmocka_unit_test_setup_teardown(t, make_group, drop)
#define PAIR(t) cmocka_unit_test_setup_teardown(t, make_pair, drop)
    const struct CMUnitTest tests[] = {
        GROUP(a_created_group_has_its_members_and_settings),
        GROUP(leaving_and_returning_leaves_a_gap),
        GROUP(changing_a_group_reads_no_messages),
        GROUP(returning_at_once_leaves_no_gap),
        GROUP(all_history_opens_from_the_first_seq),
        GROUP(what_is_forgotten_only_grows_and_leaves_the_rest),
        GROUP(who_is_in_is_not_added_and_who_is_out_is_not_removed),
        GROUP(a_leaving_owner_hands_over_to_the_heir),
        GROUP(settings_change_only_what_they_name),
        PAIR(the_first_message_of_a_pair_makes_both_members),
        PAIR(a_chat_with_oneself_has_one_member),
        PAIR(a_block_may_stand_before_the_first_message),
        PAIR(receipts_never_move_back),
        PAIR(a_member_has_what_the_furthest_device_has),
        PAIR(sending_moves_a_device_only_past_what_it_has),
        PAIR(the_furthest_devices_are_kept),
        GROUP(mentions_last_until_read_and_are_bounded),
        GROUP(who_is_out_is_not_mentioned),
        GROUP(a_copy_shares_nothing),
        GROUP(random_records_do_what_a_plain_model_does),
        GROUP(what_was_applied_changes_nothing_when_applied_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
