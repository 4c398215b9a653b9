/* Conversations that are loaded together (shard_load.c), where one of them is damaged on the disk. */
#include "services/shard.h"
#include "storage/convlog_codec.h"
#include "storage/sst_read.h"
#include "tests/unit/services/world_test.h"
#include "tests/unit/storage/quiet.h"
#include <dirent.h>
#include <stdlib.h>

/* Texts longer than a block, so that none holds a part of two conversations, and of digits enough that it stays so
 * after LZ4. */
enum { FIRST = 100, OTHERS = 40, TEXT = 8000 };

static void send_long(struct world_test *w, user_id to, unsigned n)
{
    struct buf json = {0};
    uint64_t dice = to * 1000 + n;
    struct answer *a;

    buf_printf(&json,
               "{\"op\":\"message.send\",\"user\":\"%s\",\"cid\":\"c%u\",\"content\":{\"type\":\"text\",\"text\":\"",
               user_z(to), n);
    for (int i = 0; i < TEXT; i++) {
        dice = dice * 6364136223846793005u + 1442695040888963407u;
        buf_char(&json, (char)('A' + (dice >> 33) % 26));
    }
    buf_str(&json, STR("\"}}"));
    buf_char(&json, '\0');
    a = ask(w, 0, ANN, 1, json.p);
    assert_int_equal(a->code, CODE_OK);
    answer_free(a);
    buf_deinit(&json);
}

struct flushing {
    struct world_test *w;
    bool are_clean;
};
static void flush_stores(void *arg)
{
    struct flushing *f = arg;

    f->are_clean = true;
    for (unsigned i = 0; i < STORES; i++) {
        if (lsm_is_clean(f->w->stores[i]))
            continue;
        f->are_clean = false;
        (void)!lsm_flush(f->w->stores[i]);
    }
}

/* All in tables, then everything but the files is gone. */
static void close_flushed(struct world_test *w)
{
    struct flushing f = {.w = w};

    while (!f.are_clean)
        on_reactor(w, 0, flush_stores, &f);
    world_close(w);
}

static uint16_t store_of(const struct world_test *w, const struct conv_id *c)
{
    return w->data.store_of[shard_of(&w->data, c)];
}

/* Turns a bit of the block that an authority stands in. */
static bool damage_in(const char *dir, uint64_t id, struct str key)
{
    struct block_iter index;
    struct sst *t = NULL;
    struct buf why = {0};
    uint64_t at;
    uint32_t len;
    FILE *f;
    int c;

    assert_ok(sst_open(env_posix()->fs, dir, id, 0, &t, &why));
    sst_index_seek(t, key, &index);
    if (!sst_may_have_range(t, key, (struct str){0}) || !index.is_valid) {
        sst_close(t);
        return false;
    }
    assert_true(sst_index_place(t, &index, &at, &len));
    f = fopen(t->path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)(at + len / 2), SEEK_SET), 0);
    c = fgetc(f);
    assert_int_equal(fseek(f, -1, SEEK_CUR), 0);
    assert_int_equal(fputc(c ^ 1, f), c ^ 1);
    assert_int_equal(fclose(f), 0);
    sst_close(t);
    return true;
}

static void damage(const char *root, char *const *stores, unsigned store, uint16_t shard, const struct conv_id *c)
{
    struct key key = key_of(shard, c, WHAT_STATE);
    char dir[300];
    struct dirent *e;
    unsigned n = 0;
    DIR *d;

    snprintf(dir, sizeof dir, "%s/stores/%s", root, stores[store]);
    d = opendir(dir);
    assert_non_null(d);
    while ((e = readdir(d)))
        if (strstr(e->d_name, ".sst"))
            n += damage_in(dir, strtoull(e->d_name, NULL, 16), key_str(&key));
    closedir(d);
    assert_int_equal(n, 1);
}

/* Each is asked for in the same turn; before that, with `ahead`, the first of them begins to load them all, as sync
 * does. */
struct asking {
    struct world_test *w;
    const struct conv_id *ids[LOAD_TOGETHER];
    struct answer *answers[LOAD_TOGETHER];
    size_t n;
    bool ahead, were_cold, are_loading;
};
static void load_and_ask(void *arg)
{
    struct asking *a = arg;

    a->were_cold = a->are_loading = true;
    for (size_t i = 0; i < a->n; i++)
        a->were_cold &= shard_is_cold(a->w->r[0], a->ids[i]);
    if (a->ahead)
        shard_load_ahead(a->w->r[0], a->ids, a->n);
    for (size_t i = 0; i < a->n; i++)
        a->are_loading &= !a->ahead || !shard_is_cold(a->w->r[0], a->ids[i]);
    for (size_t i = 0; i < a->n; i++)
        a->answers[i] = ask_start(a->w, 0, ANN, 1, JSON("{\"op\":\"history\",\"conv\":\"%s\"}", conv_z(a->ids[i])));
}

static void expect_all_but(struct asking *a, size_t damaged)
{
    on_reactor(a->w, 0, load_and_ask, a);
    assert_true(a->were_cold && a->are_loading);
    for (size_t i = 0; i < a->n; i++) {
        struct answer *answer = answer_wait(a->answers[i]);

        assert_int_equal(answer->code, i == damaged ? CODE_INTERNAL : CODE_OK);
        assert_int_equal(strstr(answer->text, "\"seq\":2") != NULL, i != damaged);
        answer_free(answer);
    }
}

PROMISE(damage_in_one_conversation_is_no_others_that_is_loaded_with_it)
{
    struct world_test *w = world_start(1);
    struct conv_id ids[OTHERS];
    struct asking a = {.w = w, .ahead = true};
    unsigned store;
    int kept;

    for (user_id u = 0; u < OTHERS; u++) {
        pair_conv(&w->data.keys, ANN, FIRST + u, &ids[u]);
        for (unsigned n = 0; n < 2; n++)
            send_long(w, FIRST + u, n);
    }
    store = store_of(w, &ids[0]);
    for (size_t i = 0; i < OTHERS && a.n < LOAD_TOGETHER; i++)
        if (store_of(w, &ids[i]) == store)
            a.ids[a.n++] = &ids[i];
    assert_true(a.n > 8);
    close_flushed(w);
    kept = quiet();
    world_open(w);
    damage(w->dir, w->data.stores, store, shard_of(&w->data, a.ids[a.n / 2]), a.ids[a.n / 2]);
    expect_all_but(&a, a.n / 2);
    world_crash(w); /* and at the next start it is no better and no worse */
    a.ahead = false;
    expect_all_but(&a, a.n / 2);
    world_end(w);
    loud(kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS(damage_in_one_conversation_is_no_others_that_is_loaded_with_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
