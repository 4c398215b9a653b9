#include "proto/record.h"
#include <jansson.h>
#include "tests/lib/unit.h"

#define HEAD(ev)                                                                                         \
    "{\"ev\":\"" ev "\",\"conv\":\"c00000000000000000000000000\",\"seq\":7,\"from\":\"u0000000000002\"," \
    "\"ts\":1764000000000,\"cid\":\"k:1\""

static struct entry entry(enum entry_kind kind)
{
    return (struct entry){
        .kind = kind, .conv_kind = CONV_GROUP, .seq = 7, .from = 1, .ts = 1764000000000, .cid = STR("k:1")};
}

static void assert_prints(const struct entry *e, const char *want)
{
    struct buf b = {0};
    json_t *valid;

    entry_print(e, &b);
    if (!str_eq(buf_get(&b), str_c(want)))
        fail_msg("got    " STR_FMT "\nwanted %s", STR_ARG(buf_get(&b)), want);
    valid = json_loadb(b.p, b.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(valid);
    json_decref(valid);
    buf_deinit(&b);
}

PROMISE(a_message_carries_its_content_byte_for_byte)
{
    struct entry e = entry(ENTRY_MESSAGE);
    static const user_id mentions[] = {1, 2};

    e.content = STR("{ \"type\" : \"x\" }");
    assert_prints(&e, HEAD("message") ",\"content\":{ \"type\" : \"x\" }}");
    e.reply_to = 3;
    e.mentions = mentions;
    e.n_mentions = 2;
    assert_prints(&e, HEAD("message") ",\"content\":{ \"type\" : \"x\" },\"reply_to\":3,"
                                      "\"mentions\":[\"u0000000000002\",\"u0000000000004\"]}");
}

PROMISE(the_largest_message_fits_its_reservation)
{
    static user_id mentions[64];
    struct entry e = entry(ENTRY_MESSAGE);
    struct buf b = {0};

    e.seq = e.reply_to = UINT64_MAX;
    e.ts = INT64_MAX;
    e.mentions = mentions;
    e.n_mentions = 64;
    e.content = STR("{\"type\":\"x\"}");
    entry_print(&e, &b); /* under the address sanitizer this is the test */
    assert_true(b.len <= b.cap);
    buf_deinit(&b);
}

PROMISE(numbers_of_any_length_are_printed_as_they_are)
{
    struct entry e = entry(ENTRY_MESSAGE);
    char want[400];

    e.content = STR("{}");
    for (uint64_t v = 1; v < UINT64_MAX / 10; v *= 10) {
        const uint64_t near[] = {v - 1, v, v + 1, 7 * v + 3};

        for (size_t i = 0; i < sizeof near / sizeof near[0]; i++) {
            e.seq = near[i];
            e.ts = (int64_t)(near[i] & INT64_MAX);
            snprintf(want, sizeof want,
                     "{\"ev\":\"message\",\"conv\":\"c00000000000000000000000000\",\"seq\":%llu,"
                     "\"from\":\"u0000000000002\",\"ts\":%lld,\"cid\":\"k:1\",\"content\":{}}",
                     (unsigned long long)e.seq, (long long)e.ts);
            assert_prints(&e, want);
        }
    }
}

/* Whoever wrote before, and whichever conversation it was in. */
PROMISE(names_that_are_kept_change_nothing)
{
    static const user_id from[] = {1, 2, 1, 2, 3, 1, 3, 2, 2, 4, 3, 1, 5, 5};
    struct entry_names names = {0};
    struct buf kept = {0}, alone = {0};
    struct entry e = entry(ENTRY_MESSAGE);

    e.content = STR("{}");
    for (size_t i = 0; i < sizeof from / sizeof from[0]; i++) {
        e.from = from[i];
        e.conv.b[3] = (uint8_t)(i / 5);
        entry_print_with(&names, &e, &kept);
        entry_print(&e, &alone);
    }
    assert_true(str_eq(buf_get(&kept), buf_get(&alone)));
    buf_deinit(&kept);
    buf_deinit(&alone);
}

PROMISE(a_group_begins_with_all_its_settings)
{
    static const struct member_role members[] = {{1, ROLE_OWNER}, {2, ROLE_MEMBER}};
    struct entry e = entry(ENTRY_CREATED);

    e.members = members;
    e.n_members = 2;
    e.settings.has_title = true;
    e.settings.title = STR("A \"title\"");
    assert_prints(&e,
                  HEAD("created") ",\"members\":[{\"user\":\"u0000000000002\",\"role\":\"owner\"},"
                                  "{\"user\":\"u0000000000004\",\"role\":\"member\"}],\"title\":\"A \\\"title\\\"\","
                                  "\"announce\":false,\"locked\":false,\"history\":\"joined\"}");
}

PROMISE(a_change_of_members_says_who)
{
    static const struct member_role two[] = {{1, ROLE_ADMIN}, {2, ROLE_MEMBER}};
    struct entry e = entry(ENTRY_MEMBERS);

    e.members = two;
    e.n_members = 2;
    e.change = MEMBERS_ADDED;
    assert_prints(&e, HEAD("members") ",\"added\":[{\"user\":\"u0000000000002\",\"role\":\"admin\"},"
                                      "{\"user\":\"u0000000000004\",\"role\":\"member\"}]}");
    e.change = MEMBERS_REMOVED;
    assert_prints(&e, HEAD("members") ",\"removed\":[\"u0000000000002\",\"u0000000000004\"]}");
    e.n_members = 1;
    e.heir = 2;
    assert_prints(
        &e,
        HEAD("members") ",\"removed\":[\"u0000000000002\"],\"role\":{\"user\":\"u0000000000004\",\"role\":\"owner\"}}");
    e.heir = 0;
    e.change = MEMBERS_ROLE;
    assert_prints(&e, HEAD("members") ",\"role\":{\"user\":\"u0000000000002\",\"role\":\"admin\"}}");
}

PROMISE(settings_say_only_what_changed)
{
    struct entry e = entry(ENTRY_SETTINGS);

    assert_prints(&e, HEAD("settings") "}");
    e.settings = (struct group_settings){.has_description = true,
                                         .has_picture = true,
                                         .has_locked = true,
                                         .locked = true,
                                         .has_history = true,
                                         .history_all = true,
                                         .picture = STR("m1")};
    assert_prints(&e, HEAD("settings") ",\"description\":\"\",\"picture\":\"m1\",\"locked\":true,\"history\":\"all\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_message_carries_its_content_byte_for_byte),
        HOLDS(the_largest_message_fits_its_reservation),
        HOLDS(numbers_of_any_length_are_printed_as_they_are),
        HOLDS(names_that_are_kept_change_nothing),
        HOLDS(a_group_begins_with_all_its_settings),
        HOLDS(a_change_of_members_says_who),
        HOLDS(settings_say_only_what_changed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
