/* The background: how a frozen memtable becomes a table, tables become one, and either becomes true.
 *
 *   flush   IDLE ──► READY ⇄ OUT ──► BUILT ──► COMMITTING ──► IDLE      task[0], the oldest frozen memtable
 *   merge   IDLE ──► READY ⇄ OUT ──► BUILT ──► COMMITTING ──► IDLE      task[1..], disjoint runs of neighbours
 *                       one step on     │           │
 *                       a worker        └── one manifest at a time takes all that are BUILT
 *
 * What always holds: a table counts (is read, is in `tables`) only when a synced manifest names it; a frozen memtable
 * and the inputs of a merge are given up only then. Flushes are committed in the order of freezing, so `durable` never
 * names a position whose entries are in memory only. `tables` is changed in one place, and that is the owner's thread:
 * a reader needs no lock, and what it still waits for it keeps by a reference.
 *
 * What failures do. No space (or no memory, or no descriptor): the half-made file goes, everything is tried again after
 * a second, said once; the store is busy until a flush succeeds. A merge that cannot read its inputs: said, merging
 * stops, the rest goes on, since a restart would not mend it. Any other failure of a write, a sync or a rename: the
 * outcome is unknown, nothing is tried again, on_failure is called once. */
#include "base/log.h"
#include "storage/compact.h"
#include "storage/lsm_store.h"

enum { FLUSH_STEP_BYTES = 2 << 20, RETRY_US = 1000000, SPARE_BYTES = 64 << 20 };

void lsm_table_unref(struct lsm *l, struct sst *t)
{
    if (--t->refs > 0)
        return;
    l->dead = mem_realloc(l->dead, (l->n_dead + 1) * sizeof(l->dead[0]));
    l->dead[l->n_dead++] = t;
}

static void fail(struct lsm *l, enum err err, const char *what)
{
    if (l->failed != ERR_OK)
        return;
    l->failed = err;
    log_error("store_failed", "dir=%s what=%s error=%s", l->dir, what, err_name(err));
    if (l->conf.on_failure)
        l->conf.on_failure(l->conf.arg, err);
}

static bool may_pass(enum err err) { return err == ERR_FULL || err == ERR_NOMEM || err == ERR_SCARCE; }

static void wait_for_space(struct lsm *l, enum err err)
{
    l->retry_at_us = env_mono_us(l->conf.env) + RETRY_US;
    if (!l->is_full)
        log_warn("store_full", "dir=%s error=%s", l->dir, err_name(err));
    l->is_full = true;
    l->is_scarce = err == ERR_SCARCE;
}

/* --- making tables --- */

static bool is_flush(const struct lsm_task *t) { return t == &t->lsm->task[0]; }

static void drop_inputs(struct lsm_task *t)
{
    for (size_t i = 0; i < t->n_inputs; i++) {
        t->inputs[i]->is_merging = false;
        lsm_table_unref(t->lsm, t->inputs[i]);
    }
    mem_free(t->inputs);
    t->inputs = NULL;
    t->n_inputs = 0;
}

static void task_end(struct lsm_task *t)
{
    build_destroy(t->build);
    t->build = NULL;
    t->made = NULL;
    lsm_purge_ended(t->lsm, t, false);
    drop_inputs(t);
    t->state = TASK_IDLE;
}

static void task_failed(struct lsm_task *t)
{
    struct lsm *l = t->lsm;
    enum err err = t->err;
    bool cannot_read = build_cannot_read(t->build);
    task_end(t);
    if (may_pass(err) && is_flush(t)) {
        wait_for_space(l, err);
    } else if (may_pass(err)) {
        l->merge_at_us = env_mono_us(l->conf.env) + RETRY_US;
        log_debug("merge_waits_for_space", "dir=%s", l->dir);
    } else if (cannot_read) {
        l->is_merge_off = true;
        log_error("merging_stopped", "dir=%s error=%s", l->dir, err_name(err));
    } else {
        fail(l, err, is_flush(t) ? "flush" : "merge");
    }
}

static void step_run(void *arg)
{
    struct lsm_task *t = arg;
    t->err = build_step(t->build, t->step_bytes);
}

static void step_done(void *arg)
{
    struct lsm_task *t = arg;
    if (t->err == ERR_AGAIN) {
        t->state = TASK_READY;
    } else if (t->err == ERR_OK) {
        t->made = build_take(t->build);
        t->state = TASK_BUILT;
    } else {
        task_failed(t);
    }
    lsm_poke(t->lsm);
}

/* Tables are a descriptor each, and memory; so many that merges hurry, and flushes wait for them. */
static bool has_many_tables(const struct lsm *l) { return l->n_tables >= l->conf.tables_max / 8 * 7; }
static bool has_most_tables(const struct lsm *l) { return l->n_tables >= l->conf.tables_max; }

static uint64_t merge_due(struct lsm_task *t)
{
    struct lsm *l = t->lsm;
    if (has_many_tables(l))
        return 0;
    return pace_due(&l->pace, env_mono_us(l->conf.env), t->step_bytes, build_written(t->build),
                    l->flushed_bytes - t->flushed_before);
}

static bool start_step(struct lsm_task *t)
{
    struct lsm *l = t->lsm;
    struct pace before = l->pace;
    enum job_class class = is_flush(t) ? JOB_FLUSH : JOB_MERGE;
    t->state = TASK_OUT;
    t->step_bytes = is_flush(t) ? FLUSH_STEP_BYTES : pace_step(&l->pace);
    uint64_t due_us = is_flush(t) ? 0 : merge_due(t);
    enum err err = background_start(&l->background, class, due_us, step_run, step_done, t);
    if (err != ERR_OK) { /* the pool is full: the next poke tries again */
        t->state = TASK_READY;
        l->pace = before;
    }
    return err == ERR_OK;
}

static struct build_conf build_conf(struct lsm *l)
{
    return (struct build_conf){
        .fs = l->fs, .dir = l->dir, .table = l->next_table++, .filter_prefix = l->conf.filter_prefix};
}

/* Without one there is nothing to wait for: merging is off, or waits for space, or all that could be merged was. */
static bool is_merging(const struct lsm *l)
{
    for (const struct lsm_task *t = &l->task[1]; t < l->task + TASKS; t++)
        if (t->state != TASK_IDLE)
            return true;
    return false;
}

static bool begin_flush(struct lsm_task *t)
{
    struct lsm *l = t->lsm;
    if (l->n_frozen == 0 || (has_most_tables(l) && is_merging(l)))
        return false;
    if (memtable_count(l->frozen[0].table) == 0) { /* only positions moved */
        t->state = TASK_BUILT;
        return true;
    }
    struct build_conf c = build_conf(l);
    c.memtable = l->frozen[0].table;
    build_create(&c, &t->build);
    t->state = TASK_READY;
    return true;
}

static bool pick_merge(const struct lsm *l, size_t *first, size_t *n)
{
    struct compact_table *tables = mem_new_array(struct compact_table, l->n_tables);
    for (size_t i = 0; i < l->n_tables; i++)
        tables[i] = (struct compact_table){l->tables[i]->bytes, l->tables[i]->filter.len + l->tables[i]->index.len,
                                           l->tables[i]->is_merging};
    bool found = compact_pick(tables, l->n_tables, l->conf.memtable_bytes, l->conf.table_memory, first, n);
    mem_free(tables);
    return found;
}

static bool is_merge_due(struct lsm *l)
{
    if (l->n_tables < COMPACT_RATIO || l->is_merge_off)
        return false;
    if (l->merge_at_us && env_mono_us(l->conf.env) < l->merge_at_us)
        return false;
    l->merge_at_us = 0;
    return true;
}

static bool begin_merge(struct lsm_task *t)
{
    struct lsm *l = t->lsm;
    size_t first, n;
    if (l->purge.is_wanted && !l->purge.task) {
        if (!lsm_purge_pick(l, &first, &n))
            return false;
        l->purge.task = t;
    } else if (!is_merge_due(l) || !pick_merge(l, &first, &n)) {
        return false;
    }
    t->inputs = mem_new_array(struct sst *, n);
    t->n_inputs = n;
    t->flushed_before = l->flushed_bytes;
    struct build_conf c = build_conf(l);
    c.room = SPARE_BYTES;
    for (size_t i = 0; i < n; i++) {
        t->inputs[i] = l->tables[first + i];
        t->inputs[i]->is_merging = true;
        lsm_table_ref(t->inputs[i]);
        c.room += t->inputs[i]->bytes;
    }
    c.tables = t->inputs;
    c.n_tables = n;
    c.drop_tombstones = first + n == l->n_tables;
    build_create(&c, &t->build);
    t->state = TASK_READY;
    return true;
}

static bool advance(struct lsm_task *t)
{
    if (t->state == TASK_IDLE)
        return is_flush(t) ? begin_flush(t) : begin_merge(t);
    return t->state == TASK_READY && start_step(t);
}

/* --- making them count --- */

/* The tables as they will be, newest first. A flush's goes to the front, a merge's where its inputs stood. Writes at
 * most one more than there are. */
static size_t next_tables(const struct lsm *l, struct sst **out)
{
    size_t n = 0;
    if (l->task[0].state == TASK_COMMITTING && l->task[0].made)
        out[n++] = l->task[0].made;
    for (size_t i = 0; i < l->n_tables; i++) {
        const struct lsm_task *by = NULL;
        for (const struct lsm_task *t = &l->task[1]; t < l->task + TASKS; t++)
            for (size_t k = 0; t->state == TASK_COMMITTING && k < t->n_inputs; k++)
                by = t->inputs[k] == l->tables[i] ? t : by;
        if (!by)
            out[n++] = l->tables[i];
        else if (by->inputs[0] == l->tables[i] && by->made)
            out[n++] = by->made;
    }
    return n;
}

static void install_tables(struct lsm *l)
{
    struct sst **old = l->tables;
    size_t n_old = l->n_tables;
    struct sst **tables = mem_new_array(struct sst *, n_old + 1);
    size_t n = next_tables(l, tables);
    for (size_t i = 0; i < n; i++)
        lsm_table_ref(tables[i]);
    l->tables = tables;
    l->n_tables = n;
    for (size_t i = 0; i < n_old; i++)
        lsm_table_unref(l, old[i]);
    mem_free(old);
}

struct freeing {
    struct job job;
    struct memtable *memtable;
};

static void free_run(struct job *j) { memtable_destroy(container_of(j, struct freeing, job)->memtable); }
static void free_done(struct job *j) { mem_free(container_of(j, struct freeing, job)); }

/* Giving 16 MiB back to the system takes longer than a batch of puts: a worker does it. Nobody else knows the memtable
 * any more, so the job comes home to nobody, and may outlive the store. */
static void free_memtable(struct lsm *l, struct memtable *m)
{
    if (!l->conf.home) {
        memtable_destroy(m);
        return;
    }
    struct freeing *f = mem_new(struct freeing);
    *f = (struct freeing){.job = {.run = free_run, .done = free_done, .class = JOB_FLUSH}, .memtable = m};
    if (pool_submit(l->conf.pool, &f->job) == ERR_OK)
        return;
    memtable_destroy(m);
    mem_free(f);
}

static void install_flush(struct lsm *l)
{
    struct lsm_frozen *f = &l->frozen[0];
    lsm_purge_flushed(l, f);
    positions_deinit(&l->durable);
    l->durable = f->positions;
    free_memtable(l, f->table);
    l->n_frozen--;
    memmove(f, f + 1, l->n_frozen * sizeof(*f));
    l->frozen[l->n_frozen] = (struct lsm_frozen){0};
    l->flushes++;
    if (l->busy_since_us)
        l->stalled_us += env_mono_us(l->conf.env) - l->busy_since_us;
    l->busy_since_us = 0;
}

static void say_space(struct lsm *l)
{
    if (l->is_full)
        log_info("store_has_space", "dir=%s", l->dir);
    l->is_full = false;
}

static void install(struct lsm *l)
{
    bool flushed = l->task[0].state == TASK_COMMITTING;
    l->generation = l->commit.next.generation;
    install_tables(l);
    for (struct lsm_task *t = l->task; t < l->task + TASKS; t++) {
        if (t->state != TASK_COMMITTING)
            continue;
        if (!is_flush(t)) {
            l->compactions++;
            l->compacted_bytes += t->made ? t->made->bytes : 0;
        }
        if (t->made && is_flush(t))
            l->flushed_bytes += t->made->bytes;
        if (t->made) {
            t->made->cache_id = block_cache_new_table(l->conf.cache);
            lsm_table_unref(l, t->made); /* the list has its own */
        }
        lsm_purge_ended(l, t, true);
        task_end(t);
    }
    if (flushed)
        install_flush(l);
    if (flushed || l->n_frozen == 0)
        say_space(l);
    if (flushed && l->conf.on_durable)
        l->conf.on_durable(l->conf.arg);
}

static void commit_run(void *arg)
{
    struct lsm *l = arg;
    l->commit.err = manifest_switch(l->fs, l->dir, buf_get(&l->commit.encoded));
}

static void commit_done(void *arg)
{
    struct lsm *l = arg;
    enum err err = l->commit.err;
    l->commit.is_out = false;
    if (err == ERR_OK) {
        install(l);
    } else if (may_pass(err)) {
        for (struct lsm_task *t = l->task; t < l->task + TASKS; t++)
            if (t->state == TASK_COMMITTING)
                t->state = TASK_BUILT;
        wait_for_space(l, err);
    } else {
        fail(l, err, "manifest");
    }
    lsm_poke(l);
}

static void describe(struct lsm *l, struct manifest *m)
{
    struct sst **tables = mem_new_array(struct sst *, l->n_tables + 1);
    manifest_deinit(m);
    m->generation = l->generation + 1;
    m->next_table = l->next_table;
    m->erased_ms = lsm_purge_next(l);
    m->n_tables = next_tables(l, tables);
    m->tables = mem_new_array(struct manifest_table, m->n_tables);
    for (size_t i = 0; i < m->n_tables; i++)
        m->tables[i] = (struct manifest_table){tables[i]->id, tables[i]->bytes};
    positions_copy(l->task[0].state == TASK_COMMITTING ? &l->frozen[0].positions : &l->durable, &m->durable);
    mem_free(tables);
}

static bool start_commit(struct lsm *l)
{
    size_t n = 0;
    if (l->commit.is_out)
        return false;
    for (struct lsm_task *t = l->task; t < l->task + TASKS; t++)
        n += t->state == TASK_BUILT;
    if (n == 0)
        return false;
    for (struct lsm_task *t = l->task; t < l->task + TASKS; t++)
        t->state = t->state == TASK_BUILT ? TASK_COMMITTING : t->state;
    describe(l, &l->commit.next);
    buf_clear(&l->commit.encoded);
    manifest_encode(&l->commit.next, &l->commit.encoded);
    l->commit.is_out = true;
    if (background_start(&l->background, JOB_FLUSH, 0, commit_run, commit_done, l) == ERR_OK)
        return true;
    l->commit.is_out = false;
    for (struct lsm_task *t = l->task; t < l->task + TASKS; t++)
        t->state = t->state == TASK_COMMITTING ? TASK_BUILT : t->state;
    return false;
}

/* --- removing files --- */

struct burial {
    struct fs *fs;
    struct sst **tables;
    size_t n;
};

static void bury_run(void *arg)
{
    struct burial *b = arg;
    for (size_t i = 0; i < b->n; i++) {
        (void)!fs_remove(b->fs, b->tables[i]->path); /* if it stays, the next opening removes it */
        sst_close(b->tables[i]);
    }
    mem_free(b->tables);
    mem_free(b);
}

static void bury_done(void *arg) { (void)arg; }

static bool start_burial(struct lsm *l)
{
    if (l->n_dead == 0)
        return false;
    struct burial *b = mem_new(struct burial);
    *b = (struct burial){l->fs, l->dead, l->n_dead};
    if (background_start(&l->background, JOB_MERGE, 0, bury_run, bury_done, b) != ERR_OK) {
        mem_free(b);
        return false;
    }
    l->dead = NULL;
    l->n_dead = 0;
    return true;
}

/* --- */

static bool is_waiting(struct lsm *l)
{
    if (l->retry_at_us && env_mono_us(l->conf.env) < l->retry_at_us)
        return true;
    l->retry_at_us = 0;
    return false;
}

static bool poke_once(struct lsm *l)
{
    bool moved = start_burial(l);
    if (l->failed != ERR_OK || is_waiting(l))
        return moved;
    for (struct lsm_task *t = l->task; t < l->task + TASKS; t++)
        moved = advance(t) || moved;
    return start_commit(l) || moved;
}

void lsm_poke(struct lsm *l)
{
    if (l->is_poking)
        return; /* without a pool, what was started is done, and comes by here, before it returns */
    l->is_poking = true;
    while (poke_once(l))
        ;
    l->is_poking = false;
}

void lsm_tasks_stats(const struct lsm *l, struct lsm_stats *out)
{
    size_t first, n = 0;
    out->compactions = l->compactions;
    out->compacted_bytes = l->compacted_bytes;
    out->flushed_bytes = l->flushed_bytes;
    out->stalled_us = l->stalled_us + (l->busy_since_us ? env_mono_us(l->conf.env) - l->busy_since_us : 0);
    out->files = l->n_tables + l->n_dead;
    for (const struct lsm_task *t = l->task; t < l->task + TASKS; t++) {
        out->files += t->state != TASK_IDLE;
        out->merges += t->n_inputs > 0;
        for (size_t i = 0; i < t->n_inputs; i++)
            out->merge_debt += t->inputs[i]->bytes;
    }
    if (pick_merge(l, &first, &n))
        for (size_t i = 0; i < n; i++)
            out->merge_debt += l->tables[first + i]->bytes;
}

void lsm_tasks_deinit(struct lsm *l)
{
    for (struct lsm_task *t = l->task; t < l->task + TASKS; t++) {
        sst_close(t->made); /* its file stays: the manifest may name it already */
        task_end(t);
    }
    for (size_t i = 0; i < l->n_dead; i++) {
        (void)!fs_remove(l->fs, l->dead[i]->path);
        sst_close(l->dead[i]);
    }
    mem_free(l->dead);
    manifest_deinit(&l->commit.next);
    buf_deinit(&l->commit.encoded);
}
