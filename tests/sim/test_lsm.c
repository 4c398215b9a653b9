/* The store on a simulated disk: it is written to, flushed and merged, killed, loses its power, is opened, which is cut
 * short too, and given again what its positions say it lacks. Beside it runs a model: the history of all batches, each
 * with its log and position; logs are taken to be perfect here. After each opening: the store holds exactly what the
 * first so many batches make, and its positions say how many; no opening finds fewer than one before it, or than was
 * told to be durable.
 *
 * Half of the seeds run without a pool, so that a flush is done when it is due; half with one that is stepped, so that
 * flushes, merges and manifests are under way while writing goes on. */
#include "base/enc.h"
#include "storage/lsm.h"
#include "tests/lib/sim.h"
#include "tests/lib/simdisk.h"
#include "tests/lib/simenv.h"
#include "tests/lib/simwalk.h"
#include <stdio.h>
#include <stdlib.h>

enum { KEYS = 120, LIVES_MAX = 16, PREFIX = 6, VALUE_MAX = 12000 };
#define STORE_DIR "/data/store"

struct batch {
    uint64_t log, pos; /* its end */
};

struct world {
    struct simdisk *disk;
    struct simenv env;
    struct simrand dice;
    struct mailbox *home; /* NULL: no pool */
    struct pool *pool;
    struct block_cache *cache;
    struct lsm *lsm;
    bool has_failed, is_stuck; /* stuck: the disk stays full in the middle of a batch */
    uint64_t seed, memtable_bytes;

    struct batch *history;
    size_t n, cap;
    size_t durable;                   /* so many batches were once said or found to be */
    uint64_t live;                    /* the log of this life */
    bool is_forgotten[LIVES_MAX + 1]; /* its position may be gone */
};

static bool percent(struct world *w, unsigned p) { return simrand_percent(&w->dice, p); }
static uint64_t below(struct world *w, uint64_t n) { return simrand_below(&w->dice, n); }

/* --- the model --- */

/* What batch b does: some puts and deletes, which follow from the seed and b. */
struct change {
    unsigned key;
    bool is_delete;
    size_t len;
    uint64_t content;
};
enum { CHANGES_MAX = 6 };

static size_t changes_of(const struct world *w, size_t b, struct change out[CHANGES_MAX])
{
    struct simrand dice = {w->seed << 24 ^ b};
    size_t n = 1 + simrand_below(&dice, CHANGES_MAX);

    for (size_t i = 0; i < n; i++) {
        uint64_t how = simrand_below(&dice, 100);
        out[i] = (struct change){
            .key = (unsigned)simrand_below(&dice, KEYS),
            .is_delete = simrand_percent(&dice, 20),
            .len = simrand_below(&dice, how < 90   ? 200
                                        : how < 99 ? 2000
                                                   : VALUE_MAX),
            .content = simrand_next(&dice),
        };
    }
    return n;
}

/* Keys of few prefixes and many lengths; they sort as they are numbered. */
static struct str key_of(unsigned key, char out[32])
{
    memset(out, 'k', 32);
    out[0] = (char)('a' + key / 30);
    out[PREFIX] = (char)(key % 30);
    return str_of(out, PREFIX + 1 + key % 20);
}

static struct str value_of(const struct change *c, char out[VALUE_MAX])
{
    struct simrand dice = {c->content};
    bool is_random = c->content % 2; /* or compressible */
    for (size_t at = 0; at < c->len; at++)
        out[at] = (char)(is_random ? simrand_next(&dice) : c->content >> (at % 8));
    return str_of(out, c->len);
}

/* What the first n batches make. */
struct state {
    bool has[KEYS];
    struct change value[KEYS];
};

static void state_after(const struct world *w, size_t n, struct state *s)
{
    struct change c[CHANGES_MAX];

    memset(s, 0, sizeof *s);
    for (size_t b = 0; b < n; b++) {
        size_t changes = changes_of(w, b, c);
        for (size_t i = 0; i < changes; i++) {
            s->has[c[i].key] = !c[i].is_delete;
            s->value[c[i].key] = c[i];
        }
    }
}

struct scanned {
    const struct state *s;
    unsigned next;
};

static bool is_next(void *arg, struct str key, struct str value)
{
    struct scanned *at = arg;
    char k[32], v[VALUE_MAX];

    while (at->next < KEYS && !at->s->has[at->next])
        at->next++;
    assert_true(at->next < KEYS);
    assert_true(str_eq(key, key_of(at->next, k)));
    assert_true(str_eq(value, value_of(&at->s->value[at->next], v)));
    at->next++;
    return true;
}

/* An error only where the disk was ordered to make one. */
static enum err check_scan(struct world *w, const struct state *s)
{
    struct scanned at = {.s = s};
    enum err err = lsm_scan(w->lsm, STR("a"), STR("z"), 0, NULL, is_next, &at);

    for (; err == ERR_OK && at.next < KEYS; at.next++)
        assert_false(s->has[at.next]);
    return err;
}

static enum err check_get(struct world *w, const struct state *s, unsigned key)
{
    struct buf got = {0};
    char k[32], v[VALUE_MAX];
    enum err err = lsm_get(w->lsm, key_of(key, k), NULL, &got);

    if (err == ERR_OK)
        assert_true(s->has[key] && str_eq(buf_get(&got), value_of(&s->value[key], v)));
    else if (err == ERR_NOT_FOUND)
        assert_false(s->has[key]);
    buf_deinit(&got);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static enum err check_is_at(struct world *w, size_t n)
{
    struct state s;
    enum err err;

    state_after(w, n, &s);
    TRY(check_scan(w, &s));
    for (unsigned key = 0; key < KEYS; key++)
        TRY(check_get(w, &s, key));
out:
    return err;
}

/* How far log `id` is when the first n batches are in. */
static uint64_t position_after(const struct world *w, size_t n, uint64_t id)
{
    while (n > 0 && w->history[n - 1].log != id)
        n--;
    return n ? w->history[n - 1].pos : 0;
}

static bool positions_say(const struct world *w, size_t n)
{
    for (uint64_t id = 1; id <= w->live; id++) {
        uint64_t pos = lsm_durable(w->lsm, id);
        if (pos != position_after(w, n, id) && !(pos == 0 && w->is_forgotten[id]))
            return false;
    }
    return true;
}

/* How many batches the store says to have durably. */
static size_t durable_batches(const struct world *w)
{
    for (size_t n = w->n + 1; n > w->durable; n--)
        if (positions_say(w, n - 1))
            return n - 1;
    fail_msg("the positions are those of no moment from batch %zu to %zu", w->durable, w->n);
    return 0;
}

/* --- one process --- */

static void no_wake(void *arg) { (void)arg; }

static void on_durable(void *arg)
{
    struct world *w = arg;
    w->durable = durable_batches(w);
}

static void on_failure(void *arg, enum err err)
{
    struct world *w = arg;
    assert_int_not_equal(err, ERR_OK);
    assert_false(w->has_failed);
    w->has_failed = true;
}

static enum err open_store(struct world *w)
{
    struct lsm_conf c = {
        .env = &w->env.env,
        .dir = STORE_DIR,
        .pool = w->pool,
        .home = w->home,
        .cache = w->cache,
        .memtable_bytes = w->memtable_bytes,
        .filter_prefix = PREFIX,
        .on_durable = on_durable,
        .on_failure = on_failure,
        .arg = w,
    };
    char *why = NULL;
    enum err err;

    w->has_failed = w->is_stuck = false;
    TRY(fs_mkdirs(w->env.env.fs, "/data"));
    err = lsm_open(&c, &w->lsm, &why);
    if (err == ERR_CORRUPT)
        fail_msg("%s", why);
    mem_free(why);
out:
    return err;
}

static bool step(struct world *w)
{
    bool moved = w->pool && pool_step(w->pool);
    return (w->home && mailbox_drain(w->home) > 0) || moved;
}

static void close_store(struct world *w)
{
    while (w->pool && pool_step(w->pool)) /* closing waits for what a worker has */
        ;
    lsm_close(w->lsm);
    w->lsm = NULL;
    while (step(w)) /* given up, on its way home */
        ;
}

static bool goes_on(const struct world *w) { return !w->has_failed && !w->is_stuck && !simdisk_is_down(w->disk); }

static enum err put_batch(struct world *w, size_t b)
{
    struct change c[CHANGES_MAX];
    size_t n = changes_of(w, b, c);
    char k[32], v[VALUE_MAX];
    enum err err = ERR_OK;

    if (percent(w, 40))
        lsm_defer(w->lsm);
    for (size_t i = 0; i < n && err == ERR_OK; i++) {
        if (percent(w, 2))
            (void)!lsm_flush(w->lsm); /* it waits for the batch's end */
        err = c[i].is_delete ? lsm_delete(w->lsm, key_of(c[i].key, k))
                             : lsm_put(w->lsm, key_of(c[i].key, k), value_of(&c[i], v));
    }
    return err;
}

/* The whole batch, after waiting for as long as it takes; false: no more in this life. */
static bool apply(struct world *w, size_t b)
{
    enum err err;

    for (unsigned tries = 0; (err = put_batch(w, b)) == ERR_LIMIT && goes_on(w); tries++) {
        if (!step(w))
            w->env.now_us += 1000000;
        w->is_stuck = tries > 50;
    }
    if (err == ERR_OK)
        lsm_applied(w->lsm, w->history[b].log, w->history[b].pos);
    else
        assert_false(goes_on(w));
    return err == ERR_OK && goes_on(w);
}

static bool write_batch(struct world *w)
{
    if (w->n == w->cap) {
        w->cap = w->cap ? 2 * w->cap : 256;
        w->history = mem_realloc(w->history, w->cap * sizeof w->history[0]);
    }
    w->history[w->n] = (struct batch){w->live, position_after(w, w->n, w->live) + 1 + below(w, 3)};
    return apply(w, w->n++);
}

/* --- opening and catching up --- */

static void count_table(void *arg, const char *name) { *(size_t *)arg += strstr(name, ".sst") != NULL; }

/* Opens, looks, and replays what is missing. Not OK: the disk was ordered to fail, or there is no space. */
static enum err come_up_once(struct world *w)
{
    bool is_down = false;
    enum err err;

    TRY(open_store(w));
    w->durable = durable_batches(w);
    TRY(check_is_at(w, w->durable));
    for (size_t b = w->durable; b < w->n && !is_down; b++)
        is_down = !apply(w, b);
    TRY(is_down || !goes_on(w) ? ERR_IO : ERR_OK);
    TRY(check_is_at(w, w->n));
out:
    return err;
}

static enum death some_death(struct world *w) { return percent(w, 50) ? DEATH_KILL : DEATH_CUT; }

static void die_and_boot(struct world *w, enum death how)
{
    simdisk_die(w->disk, how);
    close_store(w);
    simdisk_boot(w->disk);
}

static void order_trouble(struct world *w, uint64_t calls)
{
    static const unsigned kinds[] = {FAULT_ALL, FAULT_WRITE, FAULT_SYNC, FAULT_SYNC_DIR | FAULT_RENAME, FAULT_READ};
    uint64_t n = 1 + below(w, calls), dice = below(w, 100);
    unsigned ops = kinds[below(w, sizeof kinds / sizeof kinds[0])];

    if (dice < 50)
        simdisk_die_at(w->disk, FAULT_ALL, n, some_death(w));
    else if (dice < 65)
        faults_fail(simdisk_faults(w->disk), ops, 1 + n / 8, 1, ERR_IO);
    else if (dice < 75)
        faults_fail(simdisk_faults(w->disk), ops & FAULT_TAKES_SPACE, 1 + n / 8, 1 + below(w, 5), ERR_FULL);
}

static void come_up(struct world *w)
{
    for (unsigned tries = 0;; tries++) {
        if (tries < 4 && percent(w, 50))
            order_trouble(w, 100);
        if (tries == 4)
            simdisk_set_capacity(w->disk, UINT64_MAX); /* somebody made space */
        enum err err = come_up_once(w);
        if (err == ERR_OK && goes_on(w))
            return;
        assert_true(tries < 4);
        die_and_boot(w, some_death(w));
    }
}

/* --- a life --- */

static void forget_old_logs(struct world *w)
{
    for (uint64_t id = 1; id < w->live; id++) {
        if (lsm_durable(w->lsm, id) != position_after(w, w->n, id))
            continue;
        lsm_forget_log(w->lsm, id);
        w->is_forgotten[id] = true;
    }
}

static void move(struct world *w)
{
    uint64_t dice = below(w, 100);

    if (dice < 70) {
        write_batch(w);
    } else if (dice < 85) {
        step(w);
    } else if (dice < 90) {
        (void)!lsm_flush(w->lsm); /* an error that counts comes as a failure */
    } else if (dice < 92) {
        forget_old_logs(w);
    } else if (dice < 94) {
        w->env.now_us += 500000;
    } else if (dice < 99) {
        struct state s;
        state_after(w, w->n, &s);
        (void)!check_get(w, &s, (unsigned)below(w, KEYS));
    } else {
        (void)!check_is_at(w, w->n);
    }
}

static void live(struct world *w)
{
    uint64_t moves = 10 + below(w, 250);

    w->live++;
    simdisk_die_at(w->disk, 0, 0, DEATH_KILL);
    faults_heal(simdisk_faults(w->disk));
    order_trouble(w, 250);
    while (moves-- > 0 && goes_on(w))
        move(w);
    die_and_boot(w, some_death(w));
}

static void world_start(struct world *w, uint64_t seed)
{
    *w = (struct world){.dice = {seed}, .seed = seed};
    simdisk_create(seed ^ 0xd15c, &w->disk);
    simenv_init(&w->env, seed ^ 0xe4f, simdisk_fs(w->disk));
    w->memtable_bytes = 3000 + below(w, 10000);
    block_cache_create(percent(w, 50) ? 1 << 20 : 0, &w->cache);
    if (percent(w, 50)) {
        mailbox_create(no_wake, NULL, &w->home);
        assert_ok(pool_create("sim", 0, 1 + below(w, 8), &w->pool));
    }
}

static void world_end(struct world *w)
{
    if (w->lsm)
        close_store(w);
    pool_destroy(w->pool);
    mailbox_destroy(w->home);
    block_cache_destroy(w->cache);
    simdisk_destroy(w->disk);
    mem_free(w->history);
}

/* Nothing is left lying about that no manifest names. */
static void check_files(struct world *w)
{
    struct lsm_stats s;
    size_t files = 0;

    lsm_stats(w->lsm, &s);
    assert_ok(fs_list(w->env.env.fs, STORE_DIR, count_table, &files));
    assert_int_equal(files, s.tables);
}

static uint64_t play(uint64_t seed)
{
    struct world w;

    world_start(&w, seed);
    if (percent(&w, 15))
        simdisk_set_capacity(w.disk, 10000 + below(&w, 100000));
    for (uint64_t lives = 1 + below(&w, 6); lives > 0; lives--) {
        come_up(&w);
        live(&w);
    }
    come_up(&w);
    die_and_boot(&w, DEATH_CUT); /* what was found before is still there */
    simdisk_set_capacity(w.disk, UINT64_MAX);
    assert_ok(open_store(&w));
    check_files(&w);
    w.durable = durable_batches(&w);
    assert_ok(check_is_at(&w, w.durable));
    uint64_t sum = simdisk_sum(w.disk) + w.durable;
    world_end(&w);
    return sum;
}

static void play_seed(uint64_t seed) { (void)play(seed); }

PROMISE(a_seed_replays_exactly)
{
    for (uint64_t seed = 1; seed <= 20; seed++)
        assert_int_equal(play(seed), play(seed));
}

/* --- walks: what happens once at each call in turn --- */

enum { SCRIPT_BATCHES = 150, DISKS = 2 };

/* Ten flushes and a merge, if nothing stops it. */
static void run_script(struct world *w)
{
    w->live++;
    for (unsigned i = 1; i <= SCRIPT_BATCHES && goes_on(w) && write_batch(w); i++) {
        if (i % 15 == 0)
            (void)!lsm_flush(w->lsm);
        if (i % 2 == 0)
            step(w);
    }
    while (goes_on(w) && step(w))
        ;
}

static void must_come_up(struct world *w)
{
    simdisk_boot(w->disk);
    assert_ok(come_up_once(w));
    die_and_boot(w, DEATH_CUT);
    assert_ok(come_up_once(w)); /* and finds as much */
    check_files(w);
}

static bool live_with(const struct trouble *t, uint64_t seed, uint64_t n)
{
    struct world w;

    world_start(&w, seed);
    assert_ok(come_up_once(&w));
    trouble_order(t, w.disk, n);
    run_script(&w);
    bool met = trouble_was_met(t, w.disk);
    simdisk_die(w.disk, DEATH_CUT);
    close_store(&w);
    must_come_up(&w);
    world_end(&w);
    return met;
}

/* The same while it opens and catches up, after a kill in the middle of things. */
static bool open_with(const struct trouble *t, uint64_t seed, uint64_t n)
{
    struct world w;

    world_start(&w, seed);
    assert_ok(come_up_once(&w));
    simdisk_die_at(w.disk, FAULT_SYNC_DIR, 8, DEATH_KILL);
    run_script(&w);
    die_and_boot(&w, DEATH_KILL);
    trouble_order(t, w.disk, n);
    enum err err = come_up_once(&w);
    bool met = trouble_was_met(t, w.disk);
    assert_true(met || err == ERR_OK);
    simdisk_die(w.disk, DEATH_CUT);
    close_store(&w);
    must_come_up(&w);
    world_end(&w);
    return met;
}

PROMISE(what_a_position_says_survives_trouble_at_any_call_of_a_life) { walk_calls(live_with, DISKS, 5); }

PROMISE(an_opening_cut_short_at_any_call_loses_nothing) { walk_calls(open_with, DISKS, 5); }

/* A manifest is switched, and its folder not yet synced, when the process is killed. The next one trusts it. */
PROMISE(positions_that_were_read_from_the_page_cache_only_are_made_durable)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct world w;
        world_start(&w, seed);
        assert_ok(come_up_once(&w));
        w.live++;
        simdisk_die_at(w.disk, FAULT_SYNC_DIR, 2, DEATH_KILL); /* the first is for the table */
        while (goes_on(&w) && write_batch(&w)) {
            (void)!lsm_flush(w.lsm);
            step(&w);
        }
        close_store(&w);
        simdisk_boot(w.disk);
        assert_ok(open_store(&w));
        w.durable = durable_batches(&w);
        assert_true(w.durable > 0);
        die_and_boot(&w, DEATH_CUT);
        assert_ok(open_store(&w));
        w.durable = durable_batches(&w); /* at least as many */
        world_end(&w);
    }
}

PROMISE(a_bit_that_flips_on_reading_is_an_error_and_never_a_wrong_value)
{
    struct world w;
    uint64_t found = 0;

    world_start(&w, 3);
    assert_ok(come_up_once(&w));
    run_script(&w);
    while (lsm_flush(w.lsm) == ERR_AGAIN)
        step(&w);
    close_store(&w);
    block_cache_destroy(w.cache);
    for (uint64_t n = 0; n < 500; n++) {
        struct lsm_conf c = {.env = &w.env.env, .dir = STORE_DIR, .filter_prefix = PREFIX};
        char *why = NULL;
        block_cache_create(0, &w.cache);
        c.cache = w.cache;
        uint64_t before = simdisk_flipped(w.disk);
        simdisk_flip(w.disk, 1 + n % 40, 1);
        enum err err = lsm_open(&c, &w.lsm, &why);
        if (err == ERR_OK)
            err = check_is_at(&w, durable_batches(&w));
        assert_true(err == ERR_OK || (err == ERR_CORRUPT && simdisk_flipped(w.disk) > before));
        found += err == ERR_CORRUPT;
        mem_free(why);
        lsm_close(w.lsm);
        w.lsm = NULL;
        block_cache_destroy(w.cache);
    }
    assert_true(found > 50);
    w.cache = NULL;
    world_end(&w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        SIM_HOLDS(a_seed_replays_exactly),
        SIM_HOLDS(what_a_position_says_survives_trouble_at_any_call_of_a_life),
        SIM_HOLDS(an_opening_cut_short_at_any_call_loses_nothing),
        SIM_HOLDS(positions_that_were_read_from_the_page_cache_only_are_made_durable),
        SIM_HOLDS(a_bit_that_flips_on_reading_is_an_error_and_never_a_wrong_value),
    };
    return sim_main(argc, argv, play_seed, tests, sizeof tests / sizeof tests[0]);
}
