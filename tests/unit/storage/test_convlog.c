#include "conv_model.h"
#include "storage/convlog_codec.h"
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { SHARD = 200, CACHE_LARGE = 8 << 20 };

struct fixture {
    char dir[64];
    struct block_cache *cache;
    struct lsm *lsm;
    struct arena arena; /* of what is read */
    /* A conversation as a live shard has it. */
    struct conv_model m;
    struct authority a;
    struct arena mine;
    struct convlog_near near; /* never reset: where another conversation stands is no worse than nothing */
    uint64_t position;
};

static void open_store(struct fixture *f, size_t cache_bytes)
{
    struct lsm_conf conf = {
        .env = env_posix(), .dir = f->dir, .filter_prefix = CONVLOG_FILTER_PREFIX, .memtable_bytes = 1 << 20};
    char *why = NULL;

    block_cache_create(cache_bytes, &f->cache);
    conf.cache = f->cache;
    assert_int_equal(lsm_open(&conf, &f->lsm, &why), ERR_OK);
}

static void close_store(struct fixture *f)
{
    lsm_close(f->lsm);
    block_cache_destroy(f->cache);
}

static int make_store(void **state)
{
    struct fixture *f = mem_new(struct fixture);

    snprintf(f->dir, sizeof f->dir, "/tmp/parley-convlog-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    open_store(f, CACHE_LARGE);
    model_init(&f->m, 1, CONV_GROUP);
    *state = f;
    return 0;
}

static int remove_store(void **state)
{
    struct fixture *f = *state;
    char command[128];

    close_store(f);
    arena_deinit(&f->arena);
    arena_deinit(&f->mine);
    snprintf(command, sizeof command, "rm -rf %s", f->dir);
    assert_int_equal(system(command), 0);
    mem_free(f);
    return 0;
}

/* Everything to disk, and a cache that has none of it. */
static void to_disk(struct fixture *f, size_t cache_bytes)
{
    enum err err;

    while ((err = lsm_flush(f->lsm)) == ERR_AGAIN)
        ;
    assert_int_equal(err, ERR_OK);
    assert_true(lsm_is_clean(f->lsm));
    close_store(f);
    open_store(f, cache_bytes);
}

static void apply(struct fixture *f, struct record r)
{
    authority_apply(&f->a, &r, &f->mine);
    assert_int_equal(convlog_put(f->lsm, SHARD, &r, &f->a), ERR_OK);
    lsm_applied(f->lsm, 1, ++f->position);
}

static void come_back(struct lsm_need *need) { assert_int_equal(need->err, ERR_OK); }

static void start(struct fixture *f, uint64_t seed, enum conv_kind kind)
{
    model_init(&f->m, seed, kind);
    f->a = (struct authority){0};
}

/* An entry as who puts many at once does, without the state. */
static void apply_entry(struct fixture *f, struct record r)
{
    struct buf bytes = {0};
    struct lsm_near cid = {0};
    uint64_t seq, print;

    assert_int_equal(convlog_find_cid_near(f->lsm, SHARD, r.entry.cid_hash, NULL, &cid, &seq, &print), ERR_NOT_FOUND);
    authority_apply(&f->a, &r, &f->mine);
    record_encode(&r, &bytes);
    assert_int_equal(convlog_put_entry(f->lsm, SHARD, &r.entry, buf_get(&bytes), &f->a, &f->near, &cid), ERR_OK);
    buf_deinit(&bytes);
}

static void check_loads_as(struct fixture *f, const struct authority *want)
{
    struct authority got;

    assert_int_equal(convlog_load(f->lsm, SHARD, &want->id, NULL, &f->arena, &got), ERR_OK);
    assert_true(model_eq(&got, want));
}

static void an_authority_is_loaded_as_it_was_put(void **state)
{
    struct fixture *f = *state;

    for (uint64_t seed = 1; seed <= 20; seed++) {
        start(f, seed, seed % 2 ? CONV_GROUP : CONV_PAIR);
        for (int i = 0; i < 150; i++) {
            apply(f, model_next(&f->m));
            if (i % 10 == 0)
                check_loads_as(f, &f->a);
            if (i == 75)
                to_disk(f, CACHE_LARGE); /* half of it in tables, half in memory */
        }
        check_loads_as(f, &f->a);
        to_disk(f, CACHE_LARGE);
        check_loads_as(f, &f->a);
        arena_deinit(&f->arena);
        arena_deinit(&f->mine);
    }
}

/* Each message puts its state anew, so five tables have one. */
static void a_pair_is_loaded_by_one_block_whatever_tables_know_it(void **state)
{
    struct fixture *f = *state;
    struct lsm_need need = {.done = come_back};
    struct authority got;

    start(f, 4, CONV_PAIR);
    for (int i = 0; i < 5; i++) {
        apply(f, model_message(&f->m, 10));
        to_disk(f, CACHE_LARGE);
    }
    assert_int_equal(convlog_load(f->lsm, SHARD, &f->m.conv, &need, &f->arena, &got), ERR_AGAIN);
    assert_int_equal(need.n_missing, 1);
    lsm_need_load(&need);
    assert_int_equal(convlog_load(f->lsm, SHARD, &f->m.conv, &need, &f->arena, &got), ERR_OK);
    assert_true(model_eq(&got, &f->a));
    assert_int_equal(got.head, 5);
    lsm_need_deinit(&need);
}

static void one_state_stands_for_all_entries_put_before_it(void **state)
{
    struct fixture *f = *state;
    struct buf scratch = {0};

    for (uint64_t seed = 1; seed <= 20; seed++) {
        start(f, seed, seed % 2 ? CONV_GROUP : CONV_PAIR);
        for (int i = 0; i < 100; i++) {
            struct record r = model_next(&f->m);

            if (r.kind == RECORD_ENTRY)
                apply_entry(f, r);
            else
                apply(f, r);
        }
        assert_int_equal(convlog_put_state_near(f->lsm, SHARD, &f->a, &scratch, &f->near), ERR_OK);
        lsm_applied(f->lsm, 1, ++f->position);
        check_loads_as(f, &f->a);
        to_disk(f, CACHE_LARGE);
        check_loads_as(f, &f->a);
        arena_deinit(&f->arena);
        arena_deinit(&f->mine);
    }
    buf_deinit(&scratch);
}

static void a_block_before_the_first_message_is_loaded(void **state)
{
    struct fixture *f = *state;
    struct authority got;

    start(f, 3, CONV_PAIR);
    assert_int_equal(convlog_load(f->lsm, SHARD, &f->m.conv, NULL, &f->arena, &got), ERR_NOT_FOUND);
    apply(f, model_block(&f->m, 20, 10, true));
    assert_int_equal(convlog_load(f->lsm, SHARD, &f->m.conv, NULL, &f->arena, &got), ERR_OK);
    assert_int_equal(got.head, 0);
    assert_int_equal(got.kind, CONV_PAIR);
    assert_true(got.blocked[1]);
    apply(f, model_message(&f->m, 10));
    check_loads_as(f, &f->a);
    assert_int_equal(convlog_load(f->lsm, SHARD + 1, &f->m.conv, NULL, &f->arena, &got), ERR_NOT_FOUND);
}

static void neighbours_are_not_mixed_up(void **state)
{
    struct fixture *f = *state;
    struct authority all[3];

    for (uint8_t i = 0; i < 3; i++) { /* ids that follow each other, the last with the carry */
        start(f, 9, i == 1 ? CONV_PAIR : CONV_GROUP);
        memset(f->m.conv.b, 0xff, sizeof f->m.conv.b);
        f->m.conv.b[0] = 1;
        f->m.conv.b[15] = (uint8_t)(0xfd + i);
        for (int k = 0; k < 40; k++)
            apply(f, model_next(&f->m));
        all[i] = f->a;
    }
    to_disk(f, CACHE_LARGE);
    for (int i = 0; i < 3; i++)
        check_loads_as(f, &all[i]);
}

static void a_group_of_a_thousand_is_loaded(void **state)
{
    enum { MANY = 1024 };
    struct fixture *f = *state;
    struct member_role *roles = mem_new_array(struct member_role, MANY);
    struct record r;

    start(f, 5, CONV_GROUP);
    r = model_created(&f->m, 10, 0);
    for (size_t i = 0; i < MANY; i++)
        roles[i] = (struct member_role){(i * 7919 % MANY + 1) * 10, i ? ROLE_MEMBER : ROLE_OWNER};
    r.entry.members = roles;
    r.entry.n_members = MANY;
    apply(f, r);
    for (int i = 0; i < 300; i++) {
        apply(f, model_message(&f->m, roles[i].user));
        apply(f, model_receipt(&f->m, roles[MANY - 1 - i].user, f->m.head, f->m.head - 1));
    }
    assert_int_equal(f->a.n_members, MANY);
    to_disk(f, CACHE_LARGE);
    check_loads_as(f, &f->a);
    mem_free(roles);
}

static void a_cid_is_found_for_ever(void **state)
{
    struct fixture *f = *state;
    uint8_t hash[16] = {0};
    uint64_t seq, print;

    start(f, 7, CONV_GROUP);
    for (int i = 0; i < 100; i++)
        apply(f, model_next(&f->m));
    for (int round = 0; round < 2; round++, to_disk(f, CACHE_LARGE)) {
        for (uint64_t s = 1; s <= f->m.head; s++) {
            enc_u64(hash, s);
            memcpy(hash + 8, f->m.conv.b, 8);
            assert_int_equal(convlog_find_cid(f->lsm, SHARD, hash, NULL, &seq, &print), ERR_OK);
            assert_int_equal(seq, s);
            assert_int_equal(print, s * 7);
        }
        enc_u64(hash, f->m.head + 1);
        assert_int_equal(convlog_find_cid(f->lsm, SHARD, hash, NULL, &seq, &print), ERR_NOT_FOUND);
    }
}

static void an_entry_is_what_was_sent(void **state)
{
    struct fixture *f = *state;
    struct entry e;

    start(f, 8, CONV_PAIR);
    apply(f, model_message(&f->m, 10));
    apply(f, model_message(&f->m, 20));
    assert_int_equal(convlog_entry(f->lsm, SHARD, &f->m.conv, 2, NULL, &f->arena, &e), ERR_OK);
    assert_int_equal(e.seq, 2);
    assert_int_equal(e.from, 20);
    assert_int_equal(e.peer, 10);
    assert_int_equal(e.ordinal, 2);
    assert_true(str_eq(e.cid, STR("cid-2")));
    assert_true(str_eq(e.content, STR("{\"type\":\"text\",\"text\":\"number 2\"}")));
    assert_int_equal(convlog_entry(f->lsm, SHARD, &f->m.conv, 3, NULL, &f->arena, &e), ERR_NOT_FOUND);
}

struct page_case {
    uint64_t from, to;
    size_t max, bytes;
    bool newest;
    uint64_t first, last;
    bool more;
};

static void check_page(struct fixture *f, const struct page_case *c, struct lsm_need *need, unsigned *rounds)
{
    struct entry_list list;
    enum err err;

    while ((err = convlog_read(f->lsm, SHARD, &f->m.conv, c->from, c->to, c->max, c->bytes, c->newest, need, &f->arena,
                               &list)) == ERR_AGAIN) {
        ++*rounds;
        lsm_need_load(need);
    }
    assert_int_equal(err, ERR_OK);
    assert_int_equal(list.n, c->last + 1 - c->first);
    assert_int_equal(list.more, c->more);
    for (size_t i = 0; i < list.n; i++)
        assert_int_equal(list.v[i].seq, c->first + i);
}

static const struct page_case PAGES[] = {
    {1, 500, 50, 1 << 20, false, 1, 50, true},
    {1, 500, 50, 1 << 20, true, 451, 500, true},
    {1, 500, 1000, 1 << 20, false, 1, 500, false},
    {1, 500, 1000, 1 << 20, true, 1, 500, false},
    {77, 77, 50, 1 << 20, false, 77, 77, false},
    {77, 77, 50, 1 << 20, true, 77, 77, false},
    {480, 500, 50, 1 << 20, false, 480, 500, false},
    {480, 500, 50, 1 << 20, true, 480, 500, false},
    {100, 300, 200, 1 << 20, true, 101, 300, true},
    {100, 300, 201, 1 << 20, true, 100, 300, false},
    {1, 500, 50, 0, false, 1, 1, true},
    {1, 500, 50, 0, true, 500, 500, true},
    {1, 500, 0, 1 << 20, false, 1, 0, true},
    {5, 4, 10, 1 << 20, false, 5, 4, false},
    {5, 4, 10, 1 << 20, true, 5, 4, false},
};

static void pages_are_what_was_asked_for(void **state)
{
    struct fixture *f = *state;
    unsigned rounds = 0;

    start(f, 11, CONV_PAIR);
    for (int i = 0; i < 500; i++)
        apply(f, model_message(&f->m, 10));
    for (int round = 0; round < 2; round++, to_disk(f, CACHE_LARGE)) {
        for (size_t i = 0; i < sizeof PAGES / sizeof *PAGES; i++)
            check_page(f, &PAGES[i], NULL, &rounds);
    }
}

/* The same by blocks that are loaded aside, with a cache that keeps next to nothing. */
static void reads_come_through_a_tiny_cache(void **state)
{
    struct fixture *f = *state;
    unsigned rounds = 0;

    start(f, 12, CONV_PAIR);
    for (int i = 0; i < 500; i++) {
        apply(f, model_message(&f->m, 10));
        if (i % 100 == 99)
            to_disk(f, 1); /* several tables */
    }
    for (size_t i = 0; i < sizeof PAGES / sizeof *PAGES; i++) {
        struct lsm_need need = {.done = come_back};
        check_page(f, &PAGES[i], &need, &rounds);
        lsm_need_deinit(&need);
    }
    assert_true(rounds > 0);
}

/* Bytes end a page, from whichever end it is read. */
static void large_entries_end_a_page(void **state)
{
    struct fixture *f = *state;
    struct buf content = {0};
    struct entry_list list;

    start(f, 13, CONV_PAIR);
    memset(buf_reserve(&content, 40000), 'x', 40000);
    content.len = 40000;
    for (int i = 0; i < 100; i++) {
        struct record r = model_message(&f->m, 10);
        if (i % 2)
            r.entry.content = buf_get(&content);
        apply(f, r);
    }
    for (int newest = 0; newest < 2; newest++) {
        assert_int_equal(
            convlog_read(f->lsm, SHARD, &f->m.conv, 1, 100, 200, 512 * 1024, newest, NULL, &f->arena, &list), ERR_OK);
        assert_in_range(list.n, 25, 27); /* 13 large ones and the small between */
        assert_true(list.more);
        assert_int_equal(list.v[newest ? list.n - 1 : 0].seq, newest ? 100 : 1);
    }
    buf_deinit(&content);
}

static void a_hole_is_damage(void **state)
{
    struct fixture *f = *state;
    struct entry_list list;
    struct key key;

    start(f, 14, CONV_PAIR);
    for (int i = 0; i < 100; i++)
        apply(f, model_message(&f->m, 10));
    key = key_of_number(SHARD, &f->m.conv, WHAT_ENTRY, 60);
    assert_int_equal(lsm_delete(f->lsm, key_str(&key)), ERR_OK);
    for (int newest = 0; newest < 2; newest++)
        assert_int_equal(convlog_read(f->lsm, SHARD, &f->m.conv, 1, 100, 100, 1 << 20, newest, NULL, &f->arena, &list),
                         ERR_CORRUPT);
    assert_int_equal(convlog_read(f->lsm, SHARD, &f->m.conv, 61, 100, 100, 1 << 20, false, NULL, &f->arena, &list),
                     ERR_OK);
}

static void damaged_values_are_refused_at_every_length(void **state)
{
    struct fixture *f = *state;
    struct buf state_value = {0}, settings = {0}, member = {0}, cursors = {0};
    struct authority a = {0};
    struct member m = {0};

    start(f, 2, CONV_GROUP);
    for (int i = 0; i < 200; i++)
        apply(f, model_next(&f->m));
    state_encode(&f->a, &state_value);
    settings_encode(&f->a, &settings);
    member_encode(&f->a.members[1], &member);
    cursors_encode(&f->a.members[1], &cursors);
    for (size_t n = 0; n < state_value.len; n++)
        assert_int_equal(state_decode(str_of(state_value.p, n), &f->arena, &a), ERR_CORRUPT);
    for (size_t n = 0; n < settings.len; n++)
        assert_int_equal(settings_decode(str_of(settings.p, n), &f->arena, &a), ERR_CORRUPT);
    for (size_t n = 0; n < member.len; n++)
        assert_int_equal(member_decode(str_of(member.p, n), &f->arena, &m), ERR_CORRUPT);
    for (size_t n = 0; n < cursors.len; n++)
        assert_int_equal(cursors_decode(str_of(cursors.p, n), &f->arena, &m), ERR_CORRUPT);
    for (struct buf *const *b = (struct buf *const[]){&state_value, &settings, &member, &cursors, NULL}; *b; b++)
        (*b)->p[0] = 3; /* of a later program */
    assert_int_equal(state_decode(buf_get(&state_value), &f->arena, &a), ERR_UNSUPPORTED);
    assert_int_equal(settings_decode(buf_get(&settings), &f->arena, &a), ERR_UNSUPPORTED);
    assert_int_equal(member_decode(buf_get(&member), &f->arena, &m), ERR_UNSUPPORTED);
    assert_int_equal(cursors_decode(buf_get(&cursors), &f->arena, &m), ERR_UNSUPPORTED);
    buf_deinit(&state_value);
    buf_deinit(&settings);
    buf_deinit(&member);
    buf_deinit(&cursors);
}

/* ---- replay ---- */

static void remove_files(struct fixture *f)
{
    char command[128];

    close_store(f);
    snprintf(command, sizeof command, "rm -rf %s/*", f->dir);
    assert_int_equal(system(command), 0);
    open_store(f, CACHE_LARGE);
}

struct log {
    struct buf bytes; /* kind, length, record */
};

static void log_add(struct log *log, const struct record *r)
{
    struct buf body = {0};

    record_encode(r, &body);
    enc_add_u8(&log->bytes, (uint8_t)r->kind);
    enc_add_field(&log->bytes, buf_get(&body));
    buf_deinit(&body);
}

static void replay_all(struct fixture *f, const struct log *log)
{
    struct convlog_replay *p;
    struct dec d = dec_of(buf_get(&log->bytes));

    convlog_replay_create(&p);
    while (d.p < d.end) {
        unsigned kind = dec_get_u8(&d);
        assert_int_equal(convlog_replay_record(p, f->lsm, SHARD, kind, dec_get_field(&d)), ERR_OK);
        lsm_applied(f->lsm, 1, ++f->position);
    }
    convlog_replay_destroy(p);
}

/* As a start does: what can wait is put after every `every` records, and after the last of `max`. */
static void replay_late(struct fixture *f, const struct log *log, unsigned every, unsigned max)
{
    struct convlog_replay *p;
    struct dec d = dec_of(buf_get(&log->bytes));

    convlog_replay_create(&p);
    convlog_replay_defer(p);
    for (unsigned i = 1; d.p < d.end && i <= max; i++) {
        unsigned kind = dec_get_u8(&d);
        struct str body = dec_get_field(&d);
        convlog_replay_fetch(p, kind, body, i % 3);
        assert_int_equal(convlog_replay_record(p, f->lsm, SHARD, kind, body), ERR_OK);
        if (i % every && d.p < d.end)
            continue;
        assert_int_equal(convlog_replay_settle(p, NULL), ERR_OK);
        lsm_applied(f->lsm, 1, ++f->position);
    }
    convlog_replay_destroy(p);
}

static bool add_to(void *arg, struct str key, struct str value)
{
    struct buf *all = arg;

    buf_str(all, key);
    buf_str(all, value);
    return true;
}

/* Every key and value of the store. */
static void check_store_is(struct fixture *f, struct str want)
{
    struct buf all = {0};

    assert_int_equal(lsm_scan(f->lsm, STR("\x01"), STR(""), 0, NULL, add_to, &all), ERR_OK);
    assert_true(str_eq(buf_get(&all), want));
    buf_deinit(&all);
}

/* Twelve conversations whose records are mixed. */
static void make_log(uint64_t seed, struct log *log)
{
    struct conv_model m[12];

    for (unsigned i = 0; i < 12; i++)
        model_init(&m[i], seed * 100 + i, i % 2 ? CONV_GROUP : CONV_PAIR);
    for (unsigned i = 0; i < 600; i++) {
        struct record r = model_next(&m[(i * 7 + i / 13) % 12]);
        log_add(log, &r);
    }
}

static void what_is_put_late_makes_the_same_store(void **state)
{
    struct fixture *f = *state;

    for (uint64_t seed = 1; seed <= 5; seed++) {
        static const unsigned every[] = {1, 7, 100, 1000};
        struct buf want = {0};
        struct log log = {0};
        make_log(seed, &log);
        for (unsigned i = 0; i < 5; i++) {
            remove_files(f);
            if (i == 0)
                replay_all(f, &log);
            else
                replay_late(f, &log, every[i - 1], UINT_MAX);
            if (i == 0)
                assert_int_equal(lsm_scan(f->lsm, STR("\x01"), STR(""), 0, NULL, add_to, &want), ERR_OK);
            assert_true(want.len > 10000);
            check_store_is(f, buf_get(&want));
        }
        buf_deinit(&want);
        buf_deinit(&log.bytes);
    }
}

/* Whatever part of it became durable. */
static void a_crash_while_it_waits_is_mended_by_replay(void **state)
{
    struct fixture *f = *state;
    struct buf want = {0};
    struct log log = {0};

    make_log(9, &log);
    remove_files(f);
    replay_all(f, &log);
    assert_int_equal(lsm_scan(f->lsm, STR("\x01"), STR(""), 0, NULL, add_to, &want), ERR_OK);
    for (unsigned crash = 10; crash < 600; crash += 59) {
        remove_files(f);
        replay_late(f, &log, 50, crash);
        (void)!lsm_flush(f->lsm); /* AGAIN: since the last that was settled more was put, which may not be flushed */
        close_store(f);
        open_store(f, CACHE_LARGE);
        replay_late(f, &log, 50, UINT_MAX);
        check_store_is(f, buf_get(&want));
    }
    buf_deinit(&want);
    buf_deinit(&log.bytes);
}

static void replay_makes_what_the_live_shard_made(void **state)
{
    struct fixture *f = *state;

    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct log log = {0};
        start(f, seed, seed % 2 ? CONV_GROUP : CONV_PAIR);
        for (int i = 0; i < 200; i++) {
            struct record r = model_next(&f->m);
            authority_apply(&f->a, &r, &f->mine);
            log_add(&log, &r);
        }
        for (int round = 0; round < 3; round++) { /* a second and third time: nothing changes */
            replay_all(f, &log);
            check_loads_as(f, &f->a);
            if (round == 1)
                to_disk(f, CACHE_LARGE);
        }
        buf_deinit(&log.bytes);
    }
}

static void a_crash_anywhere_is_mended_by_replay(void **state)
{
    struct fixture *f = *state;

    for (int crash = 0; crash < 40; crash++) {
        struct log log = {0};
        start(f, 100 + (uint64_t)crash, CONV_GROUP);
        for (int i = 0; i < 60; i++) {
            struct record r = model_next(&f->m);
            log_add(&log, &r);
            apply(f, r);
            if (i == crash) {
                while (lsm_flush(f->lsm) == ERR_AGAIN)
                    ;
            }
        }
        close_store(f); /* what was not flushed is gone */
        open_store(f, CACHE_LARGE);
        replay_all(f, &log); /* from before what is durable */
        check_loads_as(f, &f->a);
        buf_deinit(&log.bytes);
    }
}

static struct entry stub_of(struct fixture *f, uint64_t seq)
{
    struct entry e;

    assert_int_equal(convlog_entry(f->lsm, SHARD, &f->m.conv, seq, NULL, &f->arena, &e), ERR_OK);
    entry_erase(&e, ENTRY_DELETED);
    return e;
}

static void an_erased_message_is_a_stub_and_its_cid_stays(void **state)
{
    struct fixture *f = *state;
    struct record r = {.kind = RECORD_ERASE};
    struct convlog_replay *replay;
    struct buf bytes = {0};
    struct entry stub, e;
    uint64_t seq, print;

    start(f, 9, CONV_PAIR);
    for (unsigned i = 0; i < 20; i++)
        apply(f, model_message(&f->m, 10));
    to_disk(f, CACHE_LARGE);
    stub = stub_of(f, 7);
    r.erase = (struct erase_record){.conv = f->m.conv, .ts = 1234, .stubs = &stub, .n = 1};
    apply(f, r);
    assert_int_equal(lsm_erased_since(f->lsm), 1234);
    check_loads_as(f, &f->a); /* heads, ordinals and cursors are what they were */
    to_disk(f, CACHE_LARGE);
    assert_int_equal(lsm_erased_since(f->lsm), 1234);
    record_encode(&r, &bytes); /* once more by replay: the same */
    convlog_replay_create(&replay);
    assert_int_equal(convlog_replay_record(replay, f->lsm, SHARD, RECORD_ERASE, buf_get(&bytes)), ERR_OK);
    convlog_replay_destroy(replay);
    assert_int_equal(convlog_entry(f->lsm, SHARD, &f->m.conv, 7, NULL, &f->arena, &e), ERR_OK);
    assert_true(e.gone == ENTRY_DELETED && e.content.len == 0 && e.ordinal == 7 && str_eq(e.cid, stub.cid));
    assert_int_equal(convlog_entry(f->lsm, SHARD, &f->m.conv, 8, NULL, &f->arena, &e), ERR_OK);
    assert_true(e.gone == ENTRY_KEPT && e.content.len > 0);
    assert_int_equal(convlog_find_cid(f->lsm, SHARD, stub.cid_hash, NULL, &seq, &print), ERR_OK);
    assert_true(seq == 7 && print == stub.fingerprint);
    buf_deinit(&bytes);
}

/* What a sweep would append for the entries from..from+n-1. */
static struct record forgetting(struct fixture *f, uint64_t from, size_t n)
{
    struct forgotten *v = arena_alloc(&f->arena, n * sizeof *v);
    struct record r = {.kind = RECORD_FORGET};
    struct entry e = {0};

    for (size_t i = 0; i < n; i++) {
        assert_int_equal(convlog_entry(f->lsm, SHARD, &f->m.conv, from + i, NULL, &f->arena, &e), ERR_OK);
        memcpy(v[i].cid_hash, e.cid_hash, sizeof v[i].cid_hash);
        v[i].fingerprint = e.fingerprint;
        v[i].ts = e.ts;
    }
    r.forget = (struct forget_record){f->m.conv, 1234, from, from + n, e.ordinal, v, n};
    return r;
}

static void check_forgotten(struct fixture *f, uint64_t first)
{
    struct entry_list list;
    struct entry e;

    check_loads_as(f, &f->a);
    assert_int_equal(f->a.first_seq, first);
    for (uint64_t seq = 1; seq <= f->a.head; seq++) {
        uint8_t hash[16];
        uint64_t found, print;
        int64_t ts = 0;
        bool is_gone = seq < first;

        enc_u64(hash, seq);
        memcpy(hash + 8, f->m.conv.b, 8);
        assert_int_equal(convlog_entry(f->lsm, SHARD, &f->m.conv, seq, NULL, &f->arena, &e),
                         is_gone ? ERR_NOT_FOUND : ERR_OK);
        assert_int_equal(convlog_find_cid(f->lsm, SHARD, hash, NULL, &found, &print), ERR_OK);
        assert_true(found == seq && print == seq * 7);
        assert_int_equal(convlog_forgotten_ts(f->lsm, SHARD, hash, NULL, &ts), is_gone ? ERR_OK : ERR_NOT_FOUND);
        assert_int_equal(ts, is_gone ? 1700000000000 + (int64_t)seq : 0);
    }
    assert_int_equal(
        convlog_read(f->lsm, SHARD, &f->m.conv, first, f->a.head, 1000, 1 << 20, false, NULL, &f->arena, &list),
        ERR_OK);
    assert_int_equal(list.n, f->a.head - first + 1);
}

static void forgotten_entries_are_no_more_and_their_cids_keep_the_time(void **state)
{
    struct fixture *f = *state;
    struct convlog_replay *replay;
    struct record r, first;
    struct buf bytes = {0}, old = {0};

    for (enum conv_kind kind = CONV_PAIR; kind <= CONV_GROUP; kind++) {
        start(f, 9 + kind, kind);
        apply(f, first = kind == CONV_GROUP ? model_created(&f->m, 10, 3) : model_message(&f->m, 10));
        buf_clear(&old);
        record_encode(&first, &old);
        for (unsigned i = 0; i < 30; i++)
            apply(f, model_message(&f->m, 10));
        to_disk(f, CACHE_LARGE);
        r = forgetting(f, 1, 12);
        apply(f, r);
        assert_int_equal(lsm_erased_since(f->lsm), 1234);
        assert_int_equal(f->a.first_ordinal, kind == CONV_GROUP ? 11 : 12);
        check_forgotten(f, 13);
        apply(f, model_message(&f->m, 10));
        apply(f, forgetting(f, 13, 5));
        check_forgotten(f, 18);
        to_disk(f, CACHE_LARGE);
        check_forgotten(f, 18);
        /* Replay may begin before all that: an entry does not come back, nor as a stub. */
        convlog_replay_create(&replay);
        assert_int_equal(convlog_replay_record(replay, f->lsm, SHARD, RECORD_ENTRY, buf_get(&old)), ERR_OK);
        struct record erase = {.kind = RECORD_ERASE};
        struct entry stub = stub_of(f, 20);
        stub.seq = 3;
        erase.erase = (struct erase_record){.conv = f->m.conv, .ts = 1234, .stubs = &stub, .n = 1};
        buf_clear(&bytes);
        record_encode(&erase, &bytes);
        assert_int_equal(convlog_replay_record(replay, f->lsm, SHARD, RECORD_ERASE, buf_get(&bytes)), ERR_OK);
        check_forgotten(f, 18);
        buf_clear(&bytes);
        record_encode(&r, &bytes);
        assert_int_equal(convlog_replay_record(replay, f->lsm, SHARD, RECORD_FORGET, buf_get(&bytes)), ERR_OK);
        convlog_replay_destroy(replay);
        check_forgotten(f, 18);
    }
    buf_deinit(&bytes);
    buf_deinit(&old);
}

static void a_state_is_of_version_1_until_retention_needs_more(void **state)
{
    struct fixture *f = *state;
    struct buf value = {0};
    struct authority a = {0};

    start(f, 3, CONV_PAIR);
    for (unsigned i = 0; i < 5; i++)
        apply(f, model_message(&f->m, 10));
    state_encode(&f->a, &value);
    assert_int_equal(value.p[0], 1);
    value.p[0] = 2; /* it lacks what a version 2 has */
    assert_int_equal(state_decode(buf_get(&value), &f->arena, &a), ERR_CORRUPT);
    apply(f, model_retention(&f->m, 90 * 86400000ull));
    check_loads_as(f, &f->a);
    buf_clear(&value);
    state_encode(&f->a, &value);
    assert_int_equal(value.p[0], 2);
    for (size_t n = 0; n < value.len; n++)
        assert_int_equal(state_decode(str_of(value.p, n), &f->arena, &a), ERR_CORRUPT);
    apply(f, model_retention(&f->m, RETENTION_SERVER));
    buf_clear(&value);
    state_encode(&f->a, &value);
    assert_int_equal(value.p[0], 1);
    apply(f, forgetting(f, 1, 2));
    apply(f, model_retention(&f->m, RETENTION_FOREVER));
    check_loads_as(f, &f->a);
    f->a.first_seq = f->a.head + 2;
    buf_clear(&value);
    state_encode(&f->a, &value);
    assert_int_equal(state_decode(buf_get(&value), &f->arena, &a), ERR_CORRUPT);
    f->a.first_seq = 3;
    f->a.first_ordinal = 3;
    buf_clear(&value);
    state_encode(&f->a, &value);
    assert_int_equal(state_decode(buf_get(&value), &f->arena, &a), ERR_CORRUPT);
    buf_deinit(&value);
}

/* Ten conversations; every third has a retention of its own. */
static void a_walk_meets_each_conversation_once_or_those_with_a_retention(void **state)
{
    struct fixture *f = *state;
    struct convlog_state s;
    struct conv_id at;

    for (unsigned i = 0; i < 10; i++) {
        start(f, 50 + i, i % 2 ? CONV_GROUP : CONV_PAIR);
        apply(f, i % 2 ? model_created(&f->m, 10, 3) : model_message(&f->m, 10));
        for (unsigned n = 0; n < i; n++)
            apply(f, model_message(&f->m, 10));
        if (i % 3 == 0)
            apply(f, model_retention(&f->m, i + 1));
        if (i == 3) /* and no longer */
            apply(f, model_retention(&f->m, RETENTION_SERVER));
    }
    to_disk(f, CACHE_LARGE);
    for (int own = 0; own < 2; own++) {
        uint64_t heads = 0, ages = 0, n = 0;
        enum err err;

        while ((err = convlog_next(f->lsm, SHARD, n ? &at : NULL, own, NULL, &s)) == ERR_OK) {
            assert_true(n == 0 || memcmp(&at, &s.id, sizeof at) < 0);
            assert_int_equal(s.first_seq, 1);
            at = s.id;
            heads += s.head;
            ages += s.retention_ms;
            n++;
        }
        assert_int_equal(err, ERR_NOT_FOUND);
        assert_int_equal(n, own ? 3 : 10);
        assert_int_equal(heads, own ? 1 + 7 + 10 : 55);
        assert_int_equal(ages, 1 + 7 + 10);
    }
    assert_int_equal(convlog_next(f->lsm, SHARD + 1, NULL, false, NULL, &s), ERR_NOT_FOUND);
}

static void a_shard_keeps_when_it_was_swept(void **state)
{
    struct fixture *f = *state;
    int64_t ms = 7;

    assert_int_equal(convlog_swept(f->lsm, SHARD, NULL, &ms), ERR_OK);
    assert_int_equal(ms, 0);
    assert_int_equal(convlog_put_swept(f->lsm, SHARD, 1764000000000), ERR_OK);
    lsm_applied(f->lsm, 1, ++f->position);
    to_disk(f, CACHE_LARGE);
    assert_int_equal(convlog_swept(f->lsm, SHARD, NULL, &ms), ERR_OK);
    assert_int_equal(ms, 1764000000000);
    assert_int_equal(convlog_swept(f->lsm, SHARD - 1, NULL, &ms), ERR_OK);
    assert_int_equal(ms, 0);
}

static void replay_takes_nothing_else(void **state)
{
    struct fixture *f = *state;
    struct convlog_replay *p;
    struct record r = {.kind = RECORD_CONTACT, .contact = {1, 2, true, 3}};
    struct buf body = {0};

    convlog_replay_create(&p);
    record_encode(&r, &body);
    assert_int_equal(convlog_replay_record(p, f->lsm, SHARD, RECORD_CONTACT, buf_get(&body)), ERR_INVALID);
    assert_int_equal(convlog_replay_record(p, f->lsm, SHARD, RECORD_ENTRY, STR("\x01nonsense")), ERR_CORRUPT);
    assert_int_equal(convlog_replay_record(p, f->lsm, SHARD, RECORD_ENTRY, STR("\x07")), ERR_UNSUPPORTED);
    buf_clear(&body);
    r = model_receipt(&f->m, 10, 3, 2); /* of a conversation that never was */
    record_encode(&r, &body);
    assert_int_equal(convlog_replay_record(p, f->lsm, SHARD, RECORD_RECEIPT, buf_get(&body)), ERR_OK);
    buf_deinit(&body);
    convlog_replay_destroy(p);
    convlog_replay_destroy(NULL);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, make_store, remove_store)
    const struct CMUnitTest tests[] = {
        T(an_authority_is_loaded_as_it_was_put),
        T(a_pair_is_loaded_by_one_block_whatever_tables_know_it),
        T(one_state_stands_for_all_entries_put_before_it),
        T(a_block_before_the_first_message_is_loaded),
        T(neighbours_are_not_mixed_up),
        T(a_group_of_a_thousand_is_loaded),
        T(a_cid_is_found_for_ever),
        T(an_entry_is_what_was_sent),
        T(pages_are_what_was_asked_for),
        T(reads_come_through_a_tiny_cache),
        T(large_entries_end_a_page),
        T(a_hole_is_damage),
        T(damaged_values_are_refused_at_every_length),
        T(replay_makes_what_the_live_shard_made),
        T(a_crash_anywhere_is_mended_by_replay),
        T(what_is_put_late_makes_the_same_store),
        T(a_crash_while_it_waits_is_mended_by_replay),
        T(an_erased_message_is_a_stub_and_its_cid_stays),
        T(replay_takes_nothing_else),
        T(forgotten_entries_are_no_more_and_their_cids_keep_the_time),
        T(a_state_is_of_version_1_until_retention_needs_more),
        T(a_walk_meets_each_conversation_once_or_those_with_a_retention),
        T(a_shard_keeps_when_it_was_swept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
