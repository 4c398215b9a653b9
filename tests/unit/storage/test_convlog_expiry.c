/* The index of what expires: put with the message, gone with its content, and its shard's wherever that goes. */
#include "storage/convlog_expiry.h"
#include "storage/convlog_codec.h"
#include "storage/convlog_verify.h"
#include "storage/shard_copy.h"
#include "tests/unit/storage/conv_model.h"
#include "tests/unit/storage/lsm_rig.h"

enum { SHARD = 7, OTHER = 8, LOG = 3 };

struct made {
    struct rig rig;
    struct conv_model model;
    struct authority a;
    struct arena arena;
    struct entry sent[64];
    uint64_t pos;
};

static void make(struct made *m)
{
    memset(m, 0, sizeof *m);
    rig_make(&m->rig, 1 << 20, 1 << 20, false);
    model_init(&m->model, 5, CONV_PAIR);
}

static void drop(struct made *m)
{
    arena_deinit(&m->arena);
    rig_drop(&m->rig);
}

static void apply(struct made *m, const struct record *r)
{
    authority_apply(&m->a, r, &m->arena);
    assert_ok(convlog_put(m->rig.lsm, SHARD, r, &m->a));
    lsm_applied(m->rig.lsm, LOG, ++m->pos);
}

static const struct entry *send(struct made *m, int64_t expires_at)
{
    struct record r = model_message(&m->model, 10);
    struct entry *kept = &m->sent[r.entry.seq];

    r.entry.expires_at = expires_at;
    *kept = r.entry;
    kept->content = arena_dup(&m->arena, r.entry.content);
    kept->cid = arena_dup(&m->arena, r.entry.cid);
    apply(m, &r);
    return kept;
}

static void erase(struct made *m, uint64_t seq, enum entry_gone gone)
{
    struct entry stub = m->sent[seq];
    struct record r = {.kind = RECORD_ERASE};

    entry_erase(&stub, gone);
    r.erase = (struct erase_record){.conv = m->model.conv, .ts = 1, .stubs = &stub, .n = 1};
    apply(m, &r);
}

static struct expiring got[64];
static size_t n;
static int64_t next;

static void find(struct made *m, uint16_t shard, int64_t from, int64_t until, size_t max)
{
    assert_ok(convlog_expiring(m->rig.lsm, shard, from, until, max, NULL, got, &n, &next));
}

PROMISE(what_expires_is_found_in_the_order_of_its_time)
{
    static const int64_t times[] = {500, 0, 300, 256, 0, 300, 1000000};
    struct made m;

    make(&m);
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        send(&m, times[i]);
    find(&m, SHARD, 0, 299, 64);
    assert_true(n == 1 && got[0].at == 256 && got[0].seq == 4 && next == 300);
    assert_true(conv_eq(&got[0].conv, &m.model.conv));
    find(&m, SHARD, 0, 500, 64);
    assert_true(n == 4 && got[1].seq == 3 && got[2].seq == 6 && got[3].seq == 1 && next == 1000000);
    find(&m, SHARD, 301, 1000000, 64);
    assert_true(n == 2 && got[0].at == 500 && got[1].at == 1000000 && next == EXPIRY_NEVER);
    find(&m, SHARD, 0, 1000000, 2); /* no more than asked for: the next is of the same moment */
    assert_true(n == 2 && got[1].seq == 3 && next == 300);
    find(&m, SHARD, 0, 255, 64);
    assert_true(n == 0 && next == 256);
    find(&m, OTHER, 0, 1000000, 64);
    assert_true(n == 0 && next == EXPIRY_NEVER);
    drop(&m);
}

PROMISE(a_stub_is_in_no_index_whyever_it_is_one_and_replayed_or_not)
{
    struct made m;
    struct record again = {.kind = RECORD_ENTRY};

    make(&m);
    for (int i = 0; i < 4; i++)
        send(&m, 100);
    erase(&m, 1, ENTRY_EXPIRED);
    erase(&m, 2, ENTRY_DELETED);
    find(&m, SHARD, 0, 100, 64);
    assert_true(n == 2 && got[0].seq == 3 && got[1].seq == 4);
    for (int i = 0; i < 2; i++) { /* replay gives both again */
        again.entry = m.sent[1];
        apply(&m, &again);
        find(&m, SHARD, 0, 100, 64);
        assert_int_equal(n, 3);
        erase(&m, 1, ENTRY_EXPIRED);
        find(&m, SHARD, 0, 100, 64);
        assert_int_equal(n, 2);
    }
    drop(&m);
}

struct findings {
    unsigned n;
    char text[200];
};

static void found(void *arg, const struct conv_id *c, const char *what)
{
    struct findings *f = arg;

    (void)c;
    f->n++;
    snprintf(f->text, sizeof f->text, "%s", what);
}

static bool give(void *arg, struct str key, struct str value)
{
    convlog_verify_key(arg, key, value);
    return true;
}

static struct findings verify(struct made *m)
{
    struct convlog_verify *v;
    struct convlog_counts counts;
    struct findings f = {0};

    convlog_verify_create(&(struct convlog_verify_conf){found, &f}, &v);
    assert_ok(lsm_scan(m->rig.lsm, STR(""), STR(""), 0, NULL, give, v));
    convlog_verify_store_end(v);
    convlog_verify_end(v, &counts);
    convlog_verify_destroy(v);
    return f;
}

PROMISE(a_message_that_the_index_does_not_name_is_found_by_verify)
{
    struct made m;
    struct findings f;

    make(&m);
    for (int i = 0; i < 10; i++)
        send(&m, i % 2 ? 100 + i : 0);
    erase(&m, 2, ENTRY_EXPIRED);
    assert_int_equal(verify(&m).n, 0);
    /* a key too many is nobody's loss */
    assert_ok(convlog_expiry_put(m.rig.lsm, SHARD, &(struct entry){.expires_at = 5, .seq = 90}));
    assert_int_equal(verify(&m).n, 0);
    assert_ok(convlog_expiry_delete(m.rig.lsm, SHARD, &(struct expiring){105, m.model.conv, 6}));
    f = verify(&m);
    assert_int_equal(f.n, 1);
    assert_string_equal(f.text,
                        "1 messages of shard 7 are to expire, and its index of what expires does not name them");
    /* in another shard's index it does not count */
    assert_ok(convlog_expiry_put(m.rig.lsm, OTHER, &m.sent[6]));
    assert_int_equal(verify(&m).n, 1);
    assert_ok(convlog_expiry_put(m.rig.lsm, SHARD, &m.sent[6]));
    assert_int_equal(verify(&m).n, 0);
    drop(&m);
}

PROMISE(a_shard_takes_its_index_along)
{
    struct made m, to;
    struct shard_copy copy;
    struct shard_clean clean = {.shard = SHARD};
    size_t at = 0;

    make(&m);
    make(&to);
    for (int i = 0; i < 20; i++)
        send(&m, 100 + i);
    shard_copy_begin(&copy, m.rig.lsm, SHARD);
    while (!copy.is_through)
        assert_ok(shard_copy_scan(&copy, 1024, NULL));
    send(&m, 50); /* while it moves */
    erase(&m, 3, ENTRY_EXPIRED);
    assert_ok(shard_copy_apply(to.rig.lsm, buf_get(&copy.out), &at));
    shard_copy_end(&copy);
    find(&to, SHARD, 0, 1000, 64);
    assert_true(n == 20 && got[0].at == 50 && got[0].seq == 21 && got[2].seq == 2 && got[3].seq == 4);
    assert_int_equal(verify(&to).n, 0);
    while (!clean.is_done)
        assert_ok(shard_clean_some(m.rig.lsm, &clean, NULL));
    find(&m, SHARD, 0, 1000, 64);
    assert_int_equal(n, 0);
    drop(&m);
    drop(&to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(what_expires_is_found_in_the_order_of_its_time),
        HOLDS(a_stub_is_in_no_index_whyever_it_is_one_and_replayed_or_not),
        HOLDS(a_message_that_the_index_does_not_name_is_found_by_verify),
        HOLDS(a_shard_takes_its_index_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
