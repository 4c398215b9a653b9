#include "storage/convlog_verify.h"
#include "storage/convlog_codec.h"
#include "tests/unit/storage/conv_model.h"
#include "tests/unit/storage/lsm_rig.h"

struct findings {
    unsigned n;
    struct conv_id conv;
    char text[200];
};

static void found(void *arg, const struct conv_id *c, const char *what)
{
    struct findings *f = arg;

    f->n++;
    f->conv = *c;
    snprintf(f->text, sizeof f->text, "%s", what);
}

/* A conversation whose records go into a store up to `stored`, and from `logged` on into a log. */
struct made {
    struct rig rig;
    struct conv_model model;
    struct convlog_verify *v;
    struct findings f;
};

static void make(struct made *m, enum conv_kind kind, unsigned n, unsigned stored, unsigned logged)
{
    struct convlog_replay *replay;

    memset(m, 0, sizeof *m);
    rig_make(&m->rig, 1 << 20, 1 << 20, false);
    model_init(&m->model, 7, kind);
    convlog_verify_create(&(struct convlog_verify_conf){found, &m->f}, &m->v);
    convlog_replay_create(&replay);
    for (unsigned i = 1; i <= n; i++) {
        struct record r = kind == CONV_GROUP && i == 1 ? model_created(&m->model, 10, 3) : model_message(&m->model, 10);
        struct buf bytes = {0};

        record_encode(&r, &bytes);
        if (i <= stored)
            assert_ok(convlog_replay_record(replay, m->rig.lsm, 0, r.kind, buf_get(&bytes)));
        if (i >= logged)
            convlog_verify_record(m->v, r.kind, buf_get(&bytes), true);
        buf_deinit(&bytes);
    }
    convlog_replay_destroy(replay);
}

static bool give(void *arg, struct str key, struct str value)
{
    convlog_verify_key(arg, key, value);
    return true;
}

static struct convlog_counts check(struct made *m)
{
    struct convlog_counts counts = {0};

    assert_ok(lsm_scan(m->rig.lsm, STR(""), STR(""), 0, NULL, give, m->v));
    convlog_verify_store_end(m->v);
    convlog_verify_end(m->v, &counts);
    return counts;
}

static void end(struct made *m)
{
    convlog_verify_destroy(m->v);
    rig_drop(&m->rig);
}

static void forget_entry(struct made *m, uint64_t seq)
{
    struct key k = key_of_number(0, &m->model.conv, WHAT_ENTRY, seq);
    assert_ok(lsm_delete(m->rig.lsm, key_str(&k)));
}

PROMISE(a_conversation_in_store_and_log_is_whole_wherever_the_two_meet)
{
    static const struct {
        unsigned stored, logged;
    } cases[] = {{40, 41}, {40, 1}, {40, 20}, {0, 1}, {50, 51}, {1, 2}};

    for (int kind = CONV_PAIR; kind <= CONV_GROUP; kind++) {
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            struct made m;
            make(&m, (enum conv_kind)kind, 50, cases[i].stored, cases[i].logged);
            struct convlog_counts c = check(&m);
            assert_int_equal(m.f.n, 0);
            assert_int_equal(c.conversations, 1);
            assert_int_equal(c.entries, cases[i].stored);
            end(&m);
        }
    }
}

/* A conversation of 20 begins at 8: so it is whole, in the store or by a record that only the log has, and what stands
 * below is said. */
PROMISE(what_was_forgotten_is_no_gap_and_what_is_still_there_is_named)
{
    for (int in_log = 0; in_log < 2; in_log++) {
        struct forgotten v[7] = {{{0}, 0, 0}};
        struct record r = {.kind = RECORD_FORGET};
        struct convlog_replay *replay;
        struct buf bytes = {0};
        struct made m;

        make(&m, CONV_PAIR, 20, 20, 21);
        for (uint64_t seq = 1; seq < 8 && in_log; seq++) /* as of an import, whose log has no such entries */
            forget_entry(&m, seq);
        r.forget = (struct forget_record){m.model.conv, 1, 1, 8, 7, v, 7};
        record_encode(&r, &bytes);
        convlog_replay_create(&replay);
        if (in_log)
            convlog_verify_record(m.v, r.kind, buf_get(&bytes), true);
        else
            assert_ok(convlog_replay_record(replay, m.rig.lsm, 0, r.kind, buf_get(&bytes)));
        check(&m);
        assert_int_equal(m.f.n, 0);
        convlog_replay_destroy(replay);
        buf_deinit(&bytes);
        end(&m);
    }
    struct made m;
    make(&m, CONV_PAIR, 20, 20, 21);
    struct authority a = {0};
    struct arena arena = {0};
    struct buf value = {0};
    struct key key = key_of(0, &m.model.conv, WHAT_STATE);
    assert_ok(convlog_load(m.rig.lsm, 0, &m.model.conv, NULL, &arena, &a));
    a.first_seq = 4;
    for (uint64_t seq = 1; seq < 3; seq++)
        forget_entry(&m, seq);
    state_encode(&a, &value);
    assert_ok(lsm_put(m.rig.lsm, key_str(&key), buf_get(&value)));
    check(&m);
    assert_int_equal(m.f.n, 1);
    assert_string_equal(m.f.text, "entry 3 is there, though it was forgotten");
    buf_deinit(&value);
    arena_deinit(&arena);
    end(&m);
}

/* The logs of a shard that moved are read by their ids, not in the order in which they were written. */
static void give_forgets(const struct made *m, bool is_later_first)
{
    struct forgotten v[4] = {{{0}, 0, 0}};

    for (unsigned i = 0; i < 2; i++) {
        bool is_later = (i == 0) == is_later_first;
        struct record r = {.kind = RECORD_FORGET};
        struct buf bytes = {0};

        r.forget = is_later ? (struct forget_record){m->model.conv, 2, 5, 8, 7, v, 3}
                            : (struct forget_record){m->model.conv, 1, 1, 5, 4, v, 4};
        record_encode(&r, &bytes);
        convlog_verify_record(m->v, r.kind, buf_get(&bytes), true);
        buf_deinit(&bytes);
    }
}

PROMISE(what_several_logs_forgot_is_no_gap_in_whatever_order_they_are_read)
{
    for (int how = 0; how < 4; how++) {
        bool is_stored = how & 2;
        struct made m;

        make(&m, CONV_PAIR, 20, is_stored ? 20 : 0,
             is_stored ? 21 : 8); /* all that is kept: in the store, or in logs */
        for (uint64_t seq = 1; seq < 8 && is_stored; seq++)
            forget_entry(&m, seq);
        give_forgets(&m, how & 1);
        check(&m);
        assert_int_equal(m.f.n, 0);
        end(&m);
    }
}

PROMISE(each_gap_is_named_with_its_ends)
{
    struct made m;

    make(&m, CONV_GROUP, 50, 40, 45); /* 41 to 44 are nowhere */
    check(&m);
    assert_int_equal(m.f.n, 1);
    assert_true(conv_eq(&m.f.conv, &m.model.conv));
    assert_string_equal(m.f.text, "entries 41 to 44 are missing");
    end(&m);

    make(&m, CONV_PAIR, 50, 50, 51);
    forget_entry(&m, 1);
    forget_entry(&m, 20);
    forget_entry(&m, 21);
    forget_entry(&m, 50);
    check(&m);
    assert_int_equal(m.f.n, 3);
    assert_string_equal(m.f.text, "entries 50 to 50 are missing");
    end(&m);

    make(&m, CONV_PAIR, 10, 0, 5); /* of which a log alone knows */
    check(&m);
    assert_int_equal(m.f.n, 1);
    assert_string_equal(m.f.text, "entries 1 to 4 are missing");
    end(&m);
}

PROMISE(what_the_log_has_fills_a_gap_of_the_store)
{
    struct made m;

    make(&m, CONV_PAIR, 50, 50, 20);
    forget_entry(&m, 30);
    check(&m);
    assert_int_equal(m.f.n, 0);
    end(&m);
}

PROMISE(a_lost_state_and_values_that_cannot_be_read_are_named)
{
    struct made m;
    struct key k;

    make(&m, CONV_GROUP, 20, 20, 21);
    k = key_of(0, &m.model.conv, WHAT_STATE);
    assert_ok(lsm_delete(m.rig.lsm, key_str(&k)));
    check(&m);
    assert_true(m.f.n > 0);
    end(&m);

    for (int what = WHAT_STATE; what <= WHAT_ENTRY; what++) {
        if (what > WHAT_CURSORS && what < WHAT_ENTRY)
            continue;
        make(&m, CONV_GROUP, 20, 20, 21);
        k = what >= WHAT_MEMBER ? key_of_number(0, &m.model.conv, (enum what)what, 10)
                                : key_of(0, &m.model.conv, (enum what)what);
        assert_ok(lsm_put(m.rig.lsm, key_str(&k), STR("\1nonsense")));
        check(&m);
        assert_true(m.f.n > 0);
        assert_non_null(strstr(m.f.text, "cannot be read") ? m.f.text
                        : strstr(m.f.text, "head")         ? m.f.text
                                                           : strstr(m.f.text, "state"));
        end(&m);
    }
}

PROMISE(lost_keys_are_told_in_words)
{
    struct conv_id c = {{1, 2, 3}};
    struct key a = key_of_number(5, &c, WHAT_ENTRY, 7), b = key_of_number(5, &c, WHAT_ENTRY, 9);
    struct buf text = {0};

    convlog_verify_lost(key_str(&a), key_str(&b), &text);
    buf_char(&text, '\0');
    assert_non_null(strstr(text.p, "entry 7"));
    assert_non_null(strstr(text.p, "entry 9"));
    buf_clear(&text);
    convlog_verify_lost((struct str){0}, STR("short"), &text);
    assert_true(text.len > 0);
    buf_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(a_conversation_in_store_and_log_is_whole_wherever_the_two_meet),
        HOLDS(what_several_logs_forgot_is_no_gap_in_whatever_order_they_are_read),
        HOLDS(each_gap_is_named_with_its_ends),
        HOLDS(what_was_forgotten_is_no_gap_and_what_is_still_there_is_named),
        HOLDS(what_the_log_has_fills_a_gap_of_the_store),
        HOLDS(a_lost_state_and_values_that_cannot_be_read_are_named),
        HOLDS(lost_keys_are_told_in_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
