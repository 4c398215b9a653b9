/* The log on a simulated disk: it is appended to, trimmed, killed, loses its power, is recovered, which is cut short
 * too, and goes on. Beside it runs a model: of each log the records that were appended, and how far it was told to be
 * durable. After each recovery: all that was told to be durable and not trimmed is there, as it was appended and in
 * order; behind it at most a prefix of the rest; nothing else. What one recovery found, every later one finds. */
#include "tests/lib/simwalk.h"
#include "tests/sim/simlog.h"
#include <inttypes.h>

enum { LOGS_MAX = 16 };
enum {
    TAKES_SPACE = FAULT_WRITE | FAULT_SYNC | FAULT_FILL | FAULT_TRUNCATE | FAULT_RENAME | FAULT_MKDIR | FAULT_SYNC_DIR
};

struct log {
    uint64_t *pos; /* of each record; pos[n] is the end */
    size_t n, cap;
    uint64_t committed, trimmed;
    bool is_fixed;   /* a recovery has found its end */
    bool is_leaving; /* its removal was begun */
    bool is_gone;    /* for good */
};

struct world {
    struct simlog log;
    struct log logs[LOGS_MAX]; /* by id; 0: none */
    uint64_t live;             /* the highest id */
};

/* --- the model --- */

static void log_add(struct log *m, uint64_t pos, uint64_t next)
{
    if (m->n + 2 > m->cap) {
        m->cap = m->cap ? m->cap * 2 : 64;
        m->pos = mem_realloc(m->pos, m->cap * sizeof m->pos[0]);
    }
    m->pos[m->n++] = pos;
    m->pos[m->n] = next;
}

static uint64_t log_end(const struct log *m) { return m->n ? m->pos[m->n] : 0; }

/* The first record at or behind pos. */
static size_t log_find(const struct log *m, uint64_t pos)
{
    size_t i = 0;
    while (i < m->n && m->pos[i] < pos)
        i++;
    return i;
}

/* Where some record stands, of those from `from` to before `to`, or `to` itself. */
static uint64_t some_pos(struct world *w, const struct log *m, uint64_t from, uint64_t to)
{
    size_t a = log_find(m, from), b = log_find(m, to);
    size_t i = a + dice_below(&w->log, b - a + 1);
    return m->n ? m->pos[i] : 0;
}

static void told(struct simlog *l, uint64_t end)
{
    struct world *w = container_of(l, struct world, log);
    struct log *m = &w->logs[w->live];

    assert_true(end <= log_end(m));
    assert_true(end == log_end(m) || m->pos[log_find(m, end)] == end);
    m->committed = end;
}

/* Records as they are read again. */
struct expecting {
    const struct log *m;
    uint64_t log_id, next;
    size_t i;
    uint8_t topics;
};

static void skip_others(struct expecting *e)
{
    struct simrecord r;
    for (; e->topics && e->i < e->m->n; e->i++) {
        simrecord_make(&r, e->log_id, e->i);
        if (r.topics & e->topics)
            break;
    }
}

static enum err expect(void *arg, const struct log_record *got)
{
    struct expecting *e = arg;

    skip_others(e);
    assert_true(e->i < e->m->n);
    assert_int_equal(got->pos, e->m->pos[e->i]);
    assert_is_simrecord(got, e->log_id, e->i);
    e->i++;
    e->next = got->next;
    return ERR_OK;
}

/* --- one process --- */

static enum err open_log(struct world *w)
{
    size_t in_flight = dice_percent(&w->log, 30) ? 4000 : 1 << 20;
    w->log.told = told;
    return simlog_open(&w->log, ++w->live, in_flight);
}

/* False: not now, or not any more. */
static bool append(struct world *w)
{
    struct log *m = &w->logs[w->live];
    struct simrecord r;
    uint64_t pos;

    simrecord_make(&r, w->live, m->n);
    enum err err = stream_append(w->log.stream, r.kind, r.shard, r.topics, str_of(r.body, r.len), &pos);
    if (err != ERR_OK) {
        assert_true(err == ERR_FULL || err == ERR_LIMIT || err == ERR_CLOSED);
        return false;
    }
    assert_int_equal(pos, log_end(m));
    log_add(m, pos, stream_end(w->log.stream));
    return true;
}

static void trim(struct world *w)
{
    struct log *m = &w->logs[w->live];
    uint64_t pos = some_pos(w, m, m->trimmed, m->committed);

    stream_trim(w->log.stream, pos);
    m->trimmed = pos > m->trimmed ? pos : m->trimmed;
    assert_true(stream_trimmed(w->log.stream) <= m->trimmed);
}

/* A consumer from somewhere on sees what is committed, unless it was trimmed. */
static void consume(struct world *w)
{
    struct log *m = &w->logs[w->live];
    uint64_t from = some_pos(w, m, stream_trimmed(w->log.stream), stream_committed(w->log.stream)), pos = 0;
    struct expecting e = {.m = m, .log_id = w->live, .i = log_find(m, from)};
    struct consumer *c = NULL;

    if (dice_percent(&w->log, 50))
        e.topics = (uint8_t)(1u << dice_below(&w->log, 3));
    assert_ok(consumer_open(&(struct consumer_conf){w->log.stream, from, e.topics}, &c));
    enum err err = consumer_read(c, SIZE_MAX, expect, &e, &pos);
    consumer_close(c);
    if (err == ERR_OK)
        assert_int_equal(pos, stream_committed(w->log.stream));
    else
        assert_int_equal(err, ERR_IO); /* of a disk that fails on order */
}

static void move(struct world *w)
{
    uint64_t dice = dice_below(&w->log, 100);

    if (dice < 40) {
        for (uint64_t n = 1 + dice_below(&w->log, 8); n > 0 && append(w); n--)
            ;
    } else if (dice < 60) {
        stream_flush(w->log.stream);
    } else if (dice < 80) {
        stream_step(w->log.stream);
    } else if (dice < 87) {
        segpool_step(w->log.pool);
    } else if (dice < 94) {
        mailbox_drain(w->log.home);
    } else if (dice < 97) {
        trim(w);
    } else if (dice < 98) {
        (void)segpool_scrub(w->log.pool);
    } else {
        consume(w);
    }
}

static bool goes_on(const struct world *w) { return !w->log.has_failed && !simdisk_is_down(w->log.disk); }

/* --- recovery --- */

static uint64_t some_floor(struct world *w, const struct log *m)
{
    switch (dice_below(&w->log, 3)) {
    case 0:
        return 0;
    case 1:
        return m->trimmed;
    default:
        return m->committed; /* a view may be that far */
    }
}

static void check_report(struct log *m, const struct seglog_report *r)
{
    size_t n = log_find(m, r->end);

    assert_true(r->end >= m->committed && r->end <= log_end(m));
    assert_true(n == m->n || m->pos[n] == r->end);
    assert_true(r->start <= m->trimmed);
    if (m->is_fixed) {
        assert_int_equal(r->end, log_end(m));
        assert_false(r->was_torn);
    }
    if (m->n)
        m->n = n; /* the rest was never told to be durable, and is cut for ever */
    m->committed = r->end;
    m->is_fixed = true;
}

static enum err replay(struct world *w, uint64_t id)
{
    struct log *m = &w->logs[id];
    uint64_t from = some_pos(w, m, m->trimmed, log_end(m));
    struct expecting e = {.m = m, .log_id = id, .i = log_find(m, from), .next = from};
    enum err err = seglog_replay(&w->log.env.env, LOG_DIR, id, from, 0, expect, &e);

    if (err == ERR_OK) {
        assert_int_equal(e.i, m->n);
        assert_int_equal(e.next, m->n ? log_end(m) : from);
    }
    return err;
}

/* What is left of a log whose removal was cut short need not be anything, but it must not be an error. */
static enum err remove_log(struct world *w, uint64_t id)
{
    struct log *m = &w->logs[id];
    enum err err;

    m->is_leaving = true;
    TRY(seglog_remove(&w->log.env.env, LOG_DIR, id));
    m->is_gone = true;
out:
    return err;
}

static enum err recover_log(struct world *w, uint64_t id)
{
    struct log *m = &w->logs[id];
    struct seglog_report report;
    char *why = NULL;
    enum err err;

    assert_true(id > 0 && id <= w->live);
    assert_false(m->is_gone);
    uint64_t renames = faults_calls(simdisk_faults(w->log.disk), FAULT_RENAME);
    err = seglog_recover(&w->log.env.env, LOG_DIR, id, m->is_leaving ? 0 : some_floor(w, m), &report, &why);
    if (m->is_fixed && !m->is_leaving) /* it is sealed, so it is not copied again */
        assert_int_equal(faults_calls(simdisk_faults(w->log.disk), FAULT_RENAME), renames);
    if (err == ERR_CORRUPT)
        fail_msg("%s", why);
    mem_free(why);
    TRY(err);
    if (!m->is_leaving) {
        check_report(m, &report);
        TRY(replay(w, id));
    }
    if (m->is_leaving || dice_percent(&w->log, 20))
        TRY(remove_log(w, id));
out:
    return err;
}

/* As a server does at its start. An error is one that the disk was ordered to make. */
static enum err recover(struct world *w)
{
    bool found[LOGS_MAX] = {false};
    uint64_t *ids = NULL;
    size_t n = 0;
    enum err err;

    TRY(fs_mkdirs(w->log.env.env.fs, DATA_DIR)); /* level by level: see fs_mkdirs */
    TRY(fs_mkdirs(w->log.env.env.fs, LOG_DIR));
    TRY(seglog_list(&w->log.env.env, LOG_DIR, &ids, &n));
    for (size_t i = 0; i < n; i++) {
        TRY(recover_log(w, ids[i]));
        found[ids[i]] = true;
    }
    for (uint64_t id = 1; id <= w->live; id++)
        assert_true(found[id] || w->logs[id].is_leaving || w->logs[id].committed == 0);
out:
    mem_free(ids);
    return err;
}

/* --- lives and deaths --- */

static void world_start(struct world *w, uint64_t seed)
{
    *w = (struct world){0};
    simlog_start(&w->log, seed);
}

static void world_end(struct world *w)
{
    simlog_end(&w->log);
    for (size_t i = 0; i < LOGS_MAX; i++)
        mem_free(w->logs[i].pos);
}

static enum death some_death(struct world *w) { return dice_percent(&w->log, 50) ? DEATH_KILL : DEATH_CUT; }

/* Whatever is open is closed by a process that cannot reach the disk any more. */
static void die_and_boot(struct world *w, enum death how)
{
    simdisk_die(w->log.disk, how);
    simlog_close(&w->log);
    simdisk_boot(w->log.disk);
}

/* Something may go wrong at one of the next `calls` calls. */
static void order_trouble(struct world *w, uint64_t calls)
{
    static const unsigned kinds[] = {FAULT_ALL, FAULT_WRITE, FAULT_SYNC, FAULT_SYNC_DIR | FAULT_RENAME, FAULT_FILL};
    uint64_t n = 1 + dice_below(&w->log, calls), dice = dice_below(&w->log, 100);
    unsigned ops = kinds[dice_below(&w->log, sizeof kinds / sizeof kinds[0])];

    if (dice < 50)
        simdisk_die_at(w->log.disk, FAULT_ALL, n, some_death(w));
    else if (dice < 65)
        faults_fail(simdisk_faults(w->log.disk), ops, 1 + n / 4, 1, ERR_IO);
    else if (dice < 75)
        faults_fail(simdisk_faults(w->log.disk), ops & TAKES_SPACE, 1 + n / 4, 1 + dice_below(&w->log, 5), ERR_FULL);
}

/* Recovers until it works: a server that is started again and again. */
static void come_up(struct world *w)
{
    for (unsigned tries = 0;; tries++) {
        if (tries < 4 && dice_percent(&w->log, 50))
            order_trouble(w, 60);
        if (tries == 4)
            simdisk_set_capacity(w->log.disk, UINT64_MAX); /* somebody made space */
        enum err err = recover(w);
        if (err == ERR_OK && !simdisk_is_down(w->log.disk))
            return;
        assert_true(tries < 4);
        die_and_boot(w, some_death(w));
    }
}

/* A clean end: all that was appended is committed, if nothing failed. */
static void end_cleanly(struct world *w)
{
    struct log *m = &w->logs[w->live];

    simlog_close(&w->log);
    if (goes_on(w))
        assert_int_equal(m->committed, log_end(m));
    die_and_boot(w, some_death(w));
}

static void live(struct world *w)
{
    uint64_t moves = 10 + dice_below(&w->log, 200);

    order_trouble(w, 150);
    if (open_log(w) != ERR_OK) {
        die_and_boot(w, some_death(w));
        return;
    }
    while (moves-- > 0 && goes_on(w))
        move(w);
    if (goes_on(w) && dice_percent(&w->log, 40))
        end_cleanly(w);
    else
        die_and_boot(w, some_death(w));
}

static uint64_t play(uint64_t seed)
{
    struct world w;

    world_start(&w, seed);
    if (dice_percent(&w.log, 25))
        simdisk_set_capacity(w.log.disk, w.log.segment_bytes * (2 + dice_below(&w.log, 8)));
    for (uint64_t lives = 1 + dice_below(&w.log, 6); lives > 0; lives--) {
        come_up(&w);
        live(&w);
    }
    come_up(&w);
    die_and_boot(&w, DEATH_CUT); /* what was served before is still there */
    assert_ok(recover(&w));
    uint64_t sum = simdisk_sum(w.log.disk);
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

enum { SCRIPT_RECORDS = 60, DISKS = 3 };

static bool push(struct world *w)
{
    for (unsigned tries = 0; tries < 8 && goes_on(w); tries++) {
        if (append(w))
            return true;
        stream_flush(w->log.stream);
        stream_step(w->log.stream);
        segpool_step(w->log.pool);
    }
    return false;
}

/* A life that appends, fills segments, trims, and ends cleanly if nothing stops it. */
static void run_script(struct world *w, bool trims)
{
    if (open_log(w) != ERR_OK)
        return;
    for (unsigned i = 1; i <= SCRIPT_RECORDS && push(w); i++) {
        if (i % 3 == 0)
            stream_flush(w->log.stream);
        if (i % 4 == 0)
            stream_step(w->log.stream);
        if (i % 8 == 0)
            mailbox_drain(w->log.home);
        if (trims && i % 20 == 0)
            trim(w);
        if (i % 10 == 0)
            segpool_step(w->log.pool);
    }
    simlog_close(&w->log);
}

static void must_recover(struct world *w)
{
    simdisk_boot(w->log.disk);
    assert_ok(recover(w));
    die_and_boot(w, DEATH_CUT);
    assert_ok(recover(w)); /* and finds the same */
}

/* One run with trouble at call n of a life; false when the life has fewer calls. */
static bool live_with(const struct trouble *t, uint64_t seed, uint64_t n)
{
    struct world w;

    world_start(&w, seed);
    assert_ok(recover(&w));
    trouble_order(t, w.log.disk, n);
    run_script(&w, true);
    bool met = trouble_was_met(t, w.log.disk);
    simdisk_die(w.log.disk, DEATH_CUT);
    must_recover(&w);
    world_end(&w);
    return met;
}

/* The same with trouble in the recovery, of a log with a torn tail and one that was ended, and in their removal. */
static bool recover_with(const struct trouble *t, uint64_t seed, uint64_t n)
{
    struct world w;
    bool met = false;

    world_start(&w, seed);
    assert_ok(recover(&w));
    run_script(&w, false); /* so that many segments are to be removed */
    simdisk_die_at(w.log.disk, FAULT_SYNC, 10, DEATH_CUT);
    run_script(&w, true);
    simdisk_die(w.log.disk, DEATH_CUT);
    simdisk_boot(w.log.disk);
    trouble_order(t, w.log.disk, n);
    if (recover(&w) == ERR_OK)
        (void)!remove_log(&w, 1);
    met = trouble_was_met(t, w.log.disk);
    simdisk_die(w.log.disk, DEATH_CUT);
    must_recover(&w);
    world_end(&w);
    return met;
}

PROMISE(what_was_committed_survives_trouble_at_any_call_of_a_life) { walk_calls(live_with, DISKS, 30); }

PROMISE(recovery_cut_short_at_any_call_comes_to_the_same_end) { walk_calls(recover_with, DISKS, 10); }

/* --- old bytes --- */

/* How many bytes stand behind the end of a log's segments that are not zero. */
static uint64_t old_bytes(struct world *w, uint64_t id)
{
    char *dir = segment_log_dir(LOG_DIR, id);
    uint64_t *numbers, found = 0;
    size_t n;

    assert_ok(segment_list(w->log.env.env.fs, dir, ".seg", &numbers, &n));
    for (size_t i = 0; i < n; i++) {
        char *path = segment_path(LOG_DIR, id, numbers[i]);
        uint64_t off = SEGMENT_HEADER;
        struct segment_header h;
        struct batch b;
        struct str all;
        assert_ok(fs_read_all(w->log.env.env.fs, path, SEGMENT_MAX, &all));
        const uint8_t *p = (const uint8_t *)all.p;
        assert_ok(segment_header_read(p, &h));
        while (off + BATCH_HEADER <= all.len && batch_read(p + off, &h, off, &b))
            off = batch_end(off, b.bytes);
        assert_true(segment_ends_at(p, all.len, off));
        for (; off < all.len; off++)
            found += p[off] != 0;
        mem_free((char *)(uintptr_t)all.p);
        mem_free(path);
    }
    mem_free(numbers);
    mem_free(dir);
    return found;
}

/* So busy that the pool is asked only when nothing is ready. */
static void run_busily(struct world *w)
{
    assert_ok(open_log(w));
    for (unsigned i = 1; i <= 5 * SCRIPT_RECORDS && push(w); i++) {
        if (i % 4 == 0) {
            stream_flush(w->log.stream);
            stream_step(w->log.stream);
            mailbox_drain(w->log.home);
        }
        if (i % 20 == 0)
            trim(w);
    }
}

PROMISE(a_log_goes_on_in_segments_that_hold_what_another_left_and_always_ends_in_zeros)
{
    unsigned met = 0;

    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world w;
        world_start(&w, seed);
        assert_ok(recover(&w));
        run_busily(&w);
        met += old_bytes(&w, 1) > 0;
        die_and_boot(&w, DEATH_CUT);
        assert_ok(recover(&w));
        world_end(&w);
    }
    assert_true(met > 5);
}

/* --- bits --- */

/* Of a log that was ended, for it is known how far it goes. */
PROMISE(a_bit_that_flips_on_reading_is_an_error_and_never_a_wrong_record)
{
    struct world w;
    struct seglog_report report;
    char *why = NULL;
    uint64_t found = 0;

    world_start(&w, 1);
    assert_ok(recover(&w));
    run_script(&w, true);
    for (uint64_t n = 0; n < 500; n++) {
        uint64_t before = simdisk_flipped(w.log.disk);
        simdisk_flip(w.log.disk, 1 + n % 25, 1);
        enum err err = replay(&w, 1); /* which looks at each record */
        if (err == ERR_OK)
            err = seglog_recover(&w.log.env.env, LOG_DIR, 1, 0, &report, &why);
        assert_true(err == ERR_OK || (err == ERR_CORRUPT && simdisk_flipped(w.log.disk) > before));
        assert_true(err != ERR_OK || report.end == log_end(&w.logs[1]));
        found += err == ERR_CORRUPT;
        mem_free(why);
        why = NULL;
    }
    assert_true(found > 50);
    simdisk_boot(w.log.disk);
    assert_ok(recover(&w));
    world_end(&w);
}

/* The sync that ends a log may fail, and leave in the page cache a seal that the disk does not have. */
PROMISE(a_seal_that_was_read_from_the_page_cache_only_is_made_durable)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world w;
        world_start(&w, seed);
        assert_ok(recover(&w));
        assert_ok(open_log(&w));
        for (unsigned i = 0; i < 5; i++)
            assert_true(push(&w));
        stream_flush(w.log.stream);
        stream_step(w.log.stream);
        faults_fail(simdisk_faults(w.log.disk), FAULT_SYNC, 1, 1, ERR_IO);
        simlog_close(&w.log);
        assert_true(faults_has_failed(simdisk_faults(w.log.disk)));
        die_and_boot(&w, DEATH_KILL);
        assert_ok(recover(&w));
        die_and_boot(&w, DEATH_CUT);
        assert_ok(recover(&w)); /* which expects what was fixed to be sealed */
        world_end(&w);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        SIM_HOLDS(a_seed_replays_exactly),
        SIM_HOLDS(what_was_committed_survives_trouble_at_any_call_of_a_life),
        SIM_HOLDS(recovery_cut_short_at_any_call_comes_to_the_same_end),
        SIM_HOLDS(a_log_goes_on_in_segments_that_hold_what_another_left_and_always_ends_in_zeros),
        SIM_HOLDS(a_bit_that_flips_on_reading_is_an_error_and_never_a_wrong_record),
        SIM_HOLDS(a_seal_that_was_read_from_the_page_cache_only_is_made_durable),
    };
    return sim_main(argc, argv, play_seed, tests, sizeof tests / sizeof tests[0]);
}
