#include "schema/apply.h"
#include "schema/contacts.h"
#include "schema/conversations.h"
#include "schema/devices.h"
#include "schema/users.h"
#include "tests/unit/schema/schema.h"

static const struct member_role founders[] = {{1, ROLE_OWNER}, {2, ROLE_MEMBER}, {3, ROLE_ADMIN}};
static const struct member_role late[] = {{4, ROLE_MEMBER}};
static const struct member_role second[] = {{2, ROLE_MEMBER}};
static const struct member_role promoted[] = {{2, ROLE_ADMIN}};

static struct record account(user_id user, const char *username)
{
    return (struct record){.kind = RECORD_ACCOUNT,
                           .account = {.user = user,
                                       .ts = 1000,
                                       .username = str_c(username),
                                       .name = STR("Ann"),
                                       .phone = STR("+49 30"),
                                       .password = STR("$argon2id$x")}};
}
static struct record device(user_id user, device_id id, uint8_t token)
{
    struct record r = {.kind = RECORD_DEVICE, .device = {.user = user, .device = id, .ts = 1000 + token}};
    memset(r.device.token_hash, token, sizeof r.device.token_hash);
    return r;
}
static struct record group(enum entry_kind kind, uint64_t seq, enum members_change change, const struct member_role *m,
                           size_t n)
{
    return (struct record){.kind = RECORD_ENTRY,
                           .entry = {.conv = conv(9),
                                     .seq = seq,
                                     .kind = kind,
                                     .conv_kind = CONV_GROUP,
                                     .from = 1,
                                     .ts = 5000 + (int64_t)seq,
                                     .change = change,
                                     .members = m,
                                     .n_members = n,
                                     .settings = {.has_title = kind != ENTRY_MEMBERS, .title = STR("Hikers")}}};
}
static struct record message(uint8_t c, enum conv_kind kind, uint64_t seq, user_id from, user_id peer)
{
    return (struct record){.kind = RECORD_ENTRY,
                           .entry = {.conv = conv(c),
                                     .seq = seq,
                                     .kind = ENTRY_MESSAGE,
                                     .conv_kind = kind,
                                     .from = from,
                                     .peer = peer,
                                     .ts = 7000,
                                     .content = STR("{\"type\":\"text\"}")}};
}
static struct record contact(enum record_kind kind, bool on)
{
    return (struct record){.kind = kind, .contact = {.user = 1, .other = 2, .on = on, .ts = 77}};
}
static struct record profile(void)
{
    return (struct record){.kind = RECORD_PROFILE,
                           .profile = {.user = 1,
                                       .ts = 2000,
                                       .has_status = true,
                                       .status = STR("away"),
                                       .has_last_seen = true,
                                       .last_seen = STR("nobody"),
                                       .has_read_receipts = true,
                                       .read_receipts = false}};
}

/* A life: every kind of record, in an order in which it can happen. */
static size_t life(struct record *v)
{
    size_t n = 0;

    v[n++] = account(1, "ann");
    v[n++] = account(2, "bob");
    v[n++] = device(1, 11, 1);
    v[n++] = device(1, 12, 2);
    v[n++] = device(1, 11, 3);
    v[n++] = (struct record){.kind = RECORD_DEVICE_GONE, .device_gone = {1, 12, 3000}};
    v[n++] = profile();
    v[n++] = contact(RECORD_CONTACT, true);
    v[n++] = contact(RECORD_CONTACT, false);
    v[n++] = contact(RECORD_BLOCKED, true);
    v[n++] = message(1, CONV_PAIR, 1, 2, 1);
    v[n++] = message(1, CONV_PAIR, 2, 1, 2);
    v[n++] = message(2, CONV_PAIR, 1, 1, 1); /* a chat of one */
    v[n++] = group(ENTRY_CREATED, 1, 0, founders, 3);
    v[n++] = message(9, CONV_GROUP, 2, 1, 0);
    v[n++] = group(ENTRY_MEMBERS, 3, MEMBERS_ADDED, late, 1);
    v[n++] = group(ENTRY_MEMBERS, 4, MEMBERS_REMOVED, second, 1);
    v[n++] = group(ENTRY_MEMBERS, 5, MEMBERS_ADDED, second, 1);
    v[n++] = group(ENTRY_MEMBERS, 6, MEMBERS_ROLE, promoted, 1);
    v[n++] = group(ENTRY_SETTINGS, 7, 0, NULL, 0);
    v[n - 1].entry.settings.title = STR("Climbers");
    v[n++] = (struct record){.kind = RECORD_RECEIPT, .receipt = {.conv = conv(1), .user = 1, .read = 2}};
    v[n++] = (struct record){.kind = RECORD_BLOCK, .block = {.conv = conv(1), .blocker = 1, .blocked = 2, .on = true}};
    return n;
}

PROMISE(every_kind_of_record_applied_twice_is_applied_once)
{
    struct fixture once, twice;
    struct record v[32];
    size_t n = life(v);

    fixture_init(&once);
    fixture_init(&twice);
    for (size_t i = 0; i < n; i++) {
        apply(&once, &v[i]);
        apply(&twice, &v[i]);
        apply(&twice, &v[i]);
    }
    assert_true(str_eq(dump(&once), dump(&twice)));
    fixture_deinit(&once);
    fixture_deinit(&twice);
}

PROMISE(a_log_replayed_from_its_start_changes_nothing)
{
    struct fixture f;
    struct record v[32];
    size_t n = life(v);
    struct str before;

    fixture_init(&f);
    for (size_t i = 0; i < n; i++)
        apply(&f, &v[i]);
    before = dump(&f);
    for (size_t i = 0; i < n; i++)
        apply(&f, &v[i]);
    assert_true(str_eq(before, dump(&f)));
    fixture_deinit(&f);
}

PROMISE(an_account_is_found_by_id_and_by_username)
{
    struct fixture f;
    struct record a = account(UINT64_MAX - 3, "ann");
    struct user_row u;
    bool exists = true;
    user_id id;

    fixture_init(&f);
    apply(&f, &a);
    assert_ok(users_get(f.db, a.account.user, &f.arena, &u));
    assert_true(str_eq(u.username, STR("ann")) && str_eq(u.name, STR("Ann")) && str_eq(u.phone, STR("+49 30")));
    assert_true(str_eq(u.last_seen, STR("everyone")) && u.read_receipts && u.status.len == 0);
    assert_ok(users_find(f.db, STR("ann"), &f.arena, &u));
    assert_true(u.user == UINT64_MAX - 3);
    assert_ok(users_id_of(f.db, STR("ann"), &id));
    assert_true(id == UINT64_MAX - 3);
    assert_int_equal(users_id_of(f.db, STR("an"), &id), ERR_NOT_FOUND);
    assert_int_equal(users_get(f.db, 5, &f.arena, &u), ERR_NOT_FOUND);
    assert_ok(users_exists(f.db, 5, &exists));
    assert_false(exists);
    fixture_deinit(&f);
}

PROMISE(a_username_cannot_be_two_peoples)
{
    struct fixture f;
    struct record a = account(1, "ann"), b = account(2, "ann");

    fixture_init(&f);
    apply(&f, &a);
    assert_ok(db_begin(f.db));
    assert_int_equal(apply_record(f.db, &b), ERR_EXISTS);
    db_rollback(f.db);
    fixture_deinit(&f);
}

PROMISE(a_profile_changes_only_what_it_names_and_an_empty_text_clears)
{
    struct fixture f;
    struct record a = account(1, "ann"), p = profile(),
                  clear = {.kind = RECORD_PROFILE, .profile = {.user = 1, .has_name = true}};
    struct user_row u;

    fixture_init(&f);
    apply(&f, &a);
    apply(&f, &p);
    assert_ok(users_get(f.db, 1, &f.arena, &u));
    assert_true(str_eq(u.name, STR("Ann")) && str_eq(u.status, STR("away")) && str_eq(u.last_seen, STR("nobody")));
    assert_false(u.read_receipts);
    apply(&f, &clear);
    assert_ok(users_get(f.db, 1, &f.arena, &u));
    assert_true(u.name.len == 0 && str_eq(u.status, STR("away")));
    fixture_deinit(&f);
}

PROMISE(a_devices_new_token_kills_its_old_one_and_a_gone_devices_token_is_dead)
{
    struct fixture f;
    struct record a = account(1, "ann"), old = device(1, 11, 1), again = device(1, 11, 2);
    struct record gone = {.kind = RECORD_DEVICE_GONE, .device_gone = {1, 11, 3000}};
    user_id user = 0;
    device_id d = 0;
    bool exists = true;

    fixture_init(&f);
    apply(&f, &a);
    apply(&f, &old);
    assert_ok(devices_find_token(f.db, old.device.token_hash, &user, &d));
    assert_int_equal(user, 1);
    assert_int_equal(d, 11);
    apply(&f, &again);
    assert_int_equal(devices_find_token(f.db, old.device.token_hash, &user, &d), ERR_NOT_FOUND);
    assert_ok(devices_find_token(f.db, again.device.token_hash, &user, &d));
    apply(&f, &gone);
    assert_int_equal(devices_find_token(f.db, again.device.token_hash, &user, &d), ERR_NOT_FOUND);
    assert_ok(devices_exists(f.db, 1, 11, &exists));
    assert_false(exists);
    fixture_deinit(&f);
}

PROMISE(devices_are_listed_in_pages_without_gap_or_repeat)
{
    struct fixture f;
    struct record a = account(1, "ann");
    struct device_row page[3];
    uint64_t seen = 0;
    device_id after = 0;
    size_t n = 3, total = 0;

    fixture_init(&f);
    apply(&f, &a);
    for (uint8_t i = 1; i <= 10; i++) {
        struct record d = device(1, i % 2 ? i : UINT64_MAX - i, i); /* half of them are negative to SQLite */
        apply(&f, &d);
    }
    while (n == 3) {
        assert_ok(devices_list(f.db, 1, after, page, 3, &n));
        for (size_t i = 0; i < n; i++, total++) {
            uint64_t bit = (uint64_t)1 << (page[i].created - 1000);
            assert_false(seen & bit);
            seen |= bit;
            after = page[i].device;
        }
    }
    assert_int_equal(total, 10);
    fixture_deinit(&f);
}

PROMISE(a_user_is_in_their_pairs_and_groups_also_after_leaving_each_once)
{
    struct fixture f;
    struct record v[32];
    size_t n = life(v), got = 0;
    struct conv_id *convs = NULL;

    fixture_init(&f);
    for (size_t i = 0; i < n; i++)
        apply(&f, &v[i]);
    assert_ok(conversations_of(f.db, 1, &convs, &got)); /* pair, chat of one, group */
    assert_int_equal(got, 3);
    mem_free(convs);
    assert_ok(conversations_of(f.db, 2, &convs, &got));
    assert_int_equal(got, 2);
    mem_free(convs);
    assert_ok(conversations_of(f.db, 99, &convs, &got));
    assert_int_equal(got, 0);
    mem_free(convs);
    fixture_deinit(&f);
}

PROMISE(a_groups_row_follows_its_settings_and_members)
{
    struct fixture f;
    struct record v[32];
    size_t n = life(v);
    struct conv_id c = conv(9);
    struct group_row g;
    struct member_row m;
    user_id a, b;

    fixture_init(&f);
    for (size_t i = 0; i < n; i++)
        apply(&f, &v[i]);
    assert_ok(conversations_group(f.db, &c, &f.arena, &g));
    assert_true(str_eq(g.title, STR("Climbers")));
    assert_int_equal(g.seq, 7);
    assert_ok(conversations_member(f.db, &c, 2, &m));
    assert_int_equal(m.role, ROLE_ADMIN);
    assert_int_equal(m.joined_seq, 5);
    assert_int_equal(m.left_seq, 0);
    assert_ok(conversations_member(f.db, &c, 1, &m));
    assert_int_equal(m.role, ROLE_OWNER);
    c = conv(1);
    assert_ok(conversations_pair(f.db, &c, &a, &b));
    assert_int_equal(a, 2);
    assert_int_equal(b, 1);
    fixture_deinit(&f);
}

PROMISE(an_owner_who_leaves_hands_over)
{
    struct fixture f;
    struct record made = group(ENTRY_CREATED, 1, 0, founders, 3),
                  left = group(ENTRY_MEMBERS, 2, MEMBERS_REMOVED, founders, 1);
    struct conv_id c = conv(9);
    struct member_row m;

    fixture_init(&f);
    left.entry.heir = 3;
    apply(&f, &made);
    apply(&f, &left);
    assert_ok(conversations_member(f.db, &c, 1, &m));
    assert_int_equal(m.left_seq, 2);
    assert_ok(conversations_member(f.db, &c, 3, &m));
    assert_int_equal(m.role, ROLE_OWNER);
    fixture_deinit(&f);
}

PROMISE(members_of_a_group_that_is_not_there_cannot_be_applied)
{
    struct fixture f;
    struct record r = group(ENTRY_MEMBERS, 3, MEMBERS_ADDED, late, 1);

    fixture_init(&f);
    assert_ok(db_begin(f.db));
    assert_int_equal(apply_record(f.db, &r), ERR_EXISTS);
    db_rollback(f.db);
    fixture_deinit(&f);
}

PROMISE(contacts_and_blocks_come_and_go)
{
    struct fixture f;
    struct record on = contact(RECORD_CONTACT, true), off = contact(RECORD_CONTACT, false),
                  block = contact(RECORD_BLOCKED, true);
    bool has = false;

    fixture_init(&f);
    apply(&f, &on);
    assert_ok(contacts_has(f.db, 1, 2, &has));
    assert_true(has);
    assert_ok(contacts_has_blocked(f.db, 1, 2, &has));
    assert_false(has);
    apply(&f, &block);
    assert_ok(contacts_has_blocked(f.db, 1, 2, &has));
    assert_true(has);
    apply(&f, &off);
    assert_ok(contacts_has(f.db, 1, 2, &has));
    assert_false(has);
    fixture_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(every_kind_of_record_applied_twice_is_applied_once),
        HOLDS(a_log_replayed_from_its_start_changes_nothing),
        HOLDS(an_account_is_found_by_id_and_by_username),
        HOLDS(a_username_cannot_be_two_peoples),
        HOLDS(a_profile_changes_only_what_it_names_and_an_empty_text_clears),
        HOLDS(a_devices_new_token_kills_its_old_one_and_a_gone_devices_token_is_dead),
        HOLDS(devices_are_listed_in_pages_without_gap_or_repeat),
        HOLDS(a_user_is_in_their_pairs_and_groups_also_after_leaving_each_once),
        HOLDS(a_groups_row_follows_its_settings_and_members),
        HOLDS(an_owner_who_leaves_hands_over),
        HOLDS(members_of_a_group_that_is_not_there_cannot_be_applied),
        HOLDS(contacts_and_blocks_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
