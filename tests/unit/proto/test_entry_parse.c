#include "proto/entry_parse.h"
#include "tests/lib/unit.h"

static const user_id mentions[] = {3, 4};
static const struct member_role members[] = {{1, ROLE_OWNER}, {2, ROLE_ADMIN}, {3, ROLE_MEMBER}};

static struct entry base(enum entry_kind kind)
{
    return (struct entry){.conv = {{1, 2, 3}},
                          .seq = 77,
                          .kind = kind,
                          .from = 0xfedcba9876543210u,
                          .ts = 1700000000000,
                          .cid = STR("c.1")};
}

/* One of each shape that is ever printed. */
static size_t shapes(struct entry *out)
{
    size_t n = 0;
    struct entry e = base(ENTRY_MESSAGE);

    e.content = STR("{\"type\":\"text\",\"text\":\"a \\u0000 \\\"b\\\" \xc3\xa4\", \"n\": 2.50e0 ,\"content\":{}}");
    out[n++] = e;
    e.reply_to = 5;
    e.mentions = mentions;
    e.n_mentions = 2;
    out[n++] = e;
    e.expires_at = 1700000060000;
    out[n++] = e;
    e.expires_at = 0;
    entry_erase(&e, ENTRY_DELETED);
    out[n++] = e;
    e.gone = ENTRY_EXPIRED;
    out[n++] = e;
    e = base(ENTRY_CREATED);
    e.members = members;
    e.n_members = 3;
    e.settings = (struct group_settings){.has_title = true,
                                         .title = STR("a \"title\"\n"),
                                         .has_description = true,
                                         .description = STR("d"),
                                         .has_announce = true,
                                         .announce = true,
                                         .has_locked = true,
                                         .has_history = true,
                                         .history_all = true};
    out[n++] = e;
    for (int change = MEMBERS_ADDED; change <= MEMBERS_ROLE; change++) {
        e = base(ENTRY_MEMBERS);
        e.change = (enum members_change)change;
        e.members = members + 1;
        e.n_members = change == MEMBERS_ROLE ? 1 : 2;
        out[n++] = e;
        if (change == MEMBERS_REMOVED) {
            e.heir = 2;
            out[n++] = e;
        }
    }
    e = base(ENTRY_SETTINGS);
    e.settings = (struct group_settings){.has_picture = true, .picture = STR("p"), .has_locked = true, .locked = true};
    out[n++] = e;
    return n;
}

PROMISE(what_is_printed_is_read_and_printed_again_as_it_was)
{
    struct entry v[16];
    size_t n = shapes(v);

    for (size_t i = 0; i < n; i++) {
        struct buf text = {0}, again = {0};
        struct arena arena = {0};
        struct entry e;

        entry_print(&v[i], &text);
        assert_ok(entry_parse(buf_get(&text), &arena, &e));
        assert_int_equal(e.kind, v[i].kind);
        assert_int_equal(e.seq, 77);
        assert_true(str_eq(e.content, v[i].content)); /* byte for byte */
        assert_int_equal(e.expires_at, v[i].expires_at);
        entry_print(&e, &again);
        assert_true(str_eq(buf_get(&text), buf_get(&again)));
        buf_deinit(&text);
        buf_deinit(&again);
        arena_deinit(&arena);
    }
}

PROMISE(added_members_say_how_far_back_they_see)
{
    struct arena arena = {0};
    struct entry e = base(ENTRY_MEMBERS);
    struct buf text = {0};

    e.change = MEMBERS_ADDED;
    e.members = members;
    e.n_members = 1;
    entry_print(&e, &text);
    text.len--;
    buf_str(&text, STR(",\"history\":\"all\"}"));
    assert_ok(entry_parse(buf_get(&text), &arena, &e));
    assert_true(e.history_all);
    buf_deinit(&text);
    arena_deinit(&arena);
}

/* Whatever is cut or changed: it is refused, or read as something that is printed in some way. */
PROMISE(no_text_does_harm)
{
    struct entry v[16];
    size_t n = shapes(v);

    for (size_t i = 0; i < n; i++) {
        struct buf text = {0}, out = {0};
        struct arena arena = {0};
        struct entry e;

        entry_print(&v[i], &text);
        for (size_t len = 0; len < text.len; len++)
            assert_int_equal(entry_parse(str_of(text.p, len), &arena, &e), ERR_INVALID);
        for (size_t at = 0; at < text.len; at++) {
            char was = text.p[at];
            for (const char *c = "\"{}[]:,0x\\ "; *c; c++) {
                text.p[at] = *c;
                if (entry_parse(buf_get(&text), &arena, &e) == ERR_OK)
                    entry_print(&e, &out);
                buf_clear(&out);
            }
            text.p[at] = was;
        }
        buf_deinit(&text);
        buf_deinit(&out);
        arena_deinit(&arena);
    }
}

PROMISE(what_is_no_entry_is_refused)
{
    static const char *const bad[] = {"",
                                      "{}",
                                      "[]",
                                      "null",
                                      "{\"ev\":\"message\"}",
                                      "{\"ev\":\"typing\",\"conv\":\"c04040000000000000000000000\",\"seq\":1,\"from\":"
                                      "\"u0000000000001\",\"ts\":1,\"cid\":\"a\"}",
                                      "{\"ev\":\"message\",\"conv\":\"x\",\"seq\":1,\"from\":\"u0000000000001\",\"ts\":"
                                      "1,\"cid\":\"a\",\"content\":{}}"};
    struct arena arena = {0};
    struct entry e;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(entry_parse(str_c(bad[i]), &arena, &e), ERR_INVALID);
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(what_is_printed_is_read_and_printed_again_as_it_was),
        HOLDS(added_members_say_how_far_back_they_see),
        HOLDS(no_text_does_harm),
        HOLDS(what_is_no_entry_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
